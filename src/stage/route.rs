//! Longest-prefix match of every destination and checked source of the burst, each in its own VRF.

use super::{Burst, Context};

/// Looks up all destinations of a family, and all sources where one of the burst is checked.
#[inline(always)]
pub fn run(burst: &mut Burst, c: &mut Context<'_>) {
    let checked = burst.checked;
    let (v4, v6) = (burst.v4.span(), burst.v6.span());
    let Burst { vrf, v4_addresses, v6_addresses, to_group, back_group, .. } = burst;
    if !v4.is_empty() {
        let (vrfs, to, back) =
            (&vrf[v4.clone()], &mut to_group[v4.clone()], &mut back_group[v4.clone()]);
        c.fib.lookup4_burst(vrfs, &v4_addresses.destination[v4.clone()], to);
        if checked {
            c.fib.lookup4_burst(vrfs, &v4_addresses.source[v4], back);
        }
    }
    if !v6.is_empty() {
        let (vrfs, to, back) =
            (&vrf[v6.clone()], &mut to_group[v6.clone()], &mut back_group[v6.clone()]);
        c.fib.lookup6_burst(vrfs, &v6_addresses.destination[v6.clone()], to);
        if checked {
            c.fib.lookup6_burst(vrfs, &v6_addresses.source[v6], back);
        }
    }
}
