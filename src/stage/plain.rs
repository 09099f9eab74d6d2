//! The short way: most packets pass all checks that are left, and one look tells which. The stages up to
//! [`super::rewrite`] see the others only.

use super::{Burst, Context, Flags, Lane};
use crate::tables::{Adjacency, AdjacencyKind};

/// Sets apart the lanes against which a stage after this one may have something.
#[inline(never)]
pub fn run(burst: &mut Burst, c: &mut Context<'_>) {
    for lane in burst.live {
        let state = &burst.lanes[lane];
        let to = c.tables.adjacency(state.adjacency);
        c.counters.prefetch_vif(to.vif);
        let belongs = !burst.checked.has(lane) || is_back(c.tables.adjacency(state.back), state);
        if !(belongs && is_plain(to, state)) {
            burst.odd.insert(lane);
        }
    }
}

/// Whether the one way back to the source is the VIF that it came by: `source` has nothing against it.
#[inline(always)]
fn is_back(back: &Adjacency, state: &Lane) -> bool {
    back.kind == AdjacencyKind::Forward && Some(back.vif) == state.vif
}

/// Whether `resolve`, `ttl`, `mtu` and `rewrite` have nothing against forwarding the packet.
#[inline(always)]
fn is_plain(to: &Adjacency, state: &Lane) -> bool {
    to.kind == AdjacencyKind::Forward
        && to.vrf == state.ingress.vrf
        && !(to.to_customer && state.ingress.from_customer)
        && state.ip_len <= to.mtu
        && state.ttl > 1
        && state.flags == Flags::default()
}
