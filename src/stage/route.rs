//! Longest-prefix match of every destination and checked source of the burst, each in its own VRF.

use super::{Burst, Context};

/// Looks up all destinations of a family, and all sources where one of the burst is checked.
#[inline(always)]
pub fn run(burst: &mut Burst, c: &mut Context<'_>) {
    let checked = burst.checked;
    let (v4, v6) = (burst.v4.span(), burst.v6.span());
    let Burst { vrf, v4_addresses, v6_addresses, to_group, back_group, .. } = burst;
    if !v4.is_empty() {
        let (vrfs, addresses) = (&vrf[v4.clone()], v4_addresses);
        let (to, back) = (&mut to_group[v4.clone()], &mut back_group[v4.clone()]);
        let (destinations, sources) = (&addresses.destination[v4.clone()], &addresses.source[v4]);
        match checked {
            true => c.fib.lookup4_sets(vrfs, [destinations, sources], [to, back]),
            false => c.fib.lookup4_burst(vrfs, destinations, to),
        }
    }
    if !v6.is_empty() {
        let (vrfs, addresses) = (&vrf[v6.clone()], v6_addresses);
        let (to, back) = (&mut to_group[v6.clone()], &mut back_group[v6.clone()]);
        let (destinations, sources) = (&addresses.destination[v6.clone()], &addresses.source[v6]);
        match checked {
            true => c.fib.lookup6_sets(vrfs, [destinations, sources], [to, back]),
            false => c.fib.lookup6_burst(vrfs, destinations, to),
        }
    }
}
