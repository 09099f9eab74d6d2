//! Longest-prefix match of every destination and checked source of the burst, each in its own VRF.

use super::{Burst, Context, IS_SOURCE, Keys, Lane};

/// Looks up all keys, and hands the answers to their lanes.
#[inline]
pub fn run(burst: &mut Burst, c: &mut Context<'_>) {
    let keys = &mut burst.keys4;
    if keys.count > 0 {
        let n = keys.count;
        c.fib.lookup4_burst(&keys.vrfs[..n], &keys.addresses[..n], &mut keys.groups[..n]);
        scatter(keys, &mut burst.lanes);
    }
    let keys = &mut burst.keys6;
    if keys.count > 0 {
        let n = keys.count;
        c.fib.lookup6_burst(&keys.vrfs[..n], &keys.addresses[..n], &mut keys.groups[..n]);
        scatter(keys, &mut burst.lanes);
    }
}

#[inline(always)]
fn scatter<A>(keys: &Keys<A>, lanes: &mut [Lane]) {
    for (owner, group) in keys.owner[..keys.count].iter().zip(&keys.groups) {
        let lane = &mut lanes[usize::from(owner & !IS_SOURCE)];
        if owner & IS_SOURCE == 0 {
            lane.group = *group;
        } else {
            lane.source_group = *group;
        }
    }
}
