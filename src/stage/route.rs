//! Longest-prefix match of every destination and checked source of the burst, each in its own VRF.

use super::{Burst, Context};

/// Looks up all keys.
#[inline(never)]
pub fn run(burst: &mut Burst, c: &mut Context<'_>) {
    let keys = &mut burst.keys4;
    if keys.count > 0 {
        let n = keys.count;
        c.fib.lookup4_burst(&keys.vrfs[..n], &keys.addresses[..n], &mut keys.groups[..n]);
    }
    let keys = &mut burst.keys6;
    if keys.count > 0 {
        let n = keys.count;
        c.fib.lookup6_burst(&keys.vrfs[..n], &keys.addresses[..n], &mut keys.groups[..n]);
    }
}
