//! Next-hop group -> adjacency, and what that adjacency means for the packet.

use super::{Burst, Context, Flags, Lane};
use crate::tables::{
    Adjacency, AdjacencyKind, DropReason, GroupId, PuntReason, Snapshot, Verdict, Vif, VrfKind,
};

/// Chooses the group's member by flow; settles every lane that is not to be forwarded.
#[inline]
pub fn run(burst: &mut Burst, c: &mut Context<'_>) {
    for lane in burst.live {
        let state = &mut burst.lanes[lane];
        let buckets = c.tables.groups.buckets(GroupId(state.group));
        // The number of buckets is a power of two.
        state.adjacency = buckets[state.flow as usize & (buckets.len() - 1)];
    }
    for lane in burst.live {
        let state = &burst.lanes[lane];
        let Some(vif) = state.vif.and_then(|id| c.tables.vif(id)) else { continue };
        let adjacency = c.tables.adjacency(state.adjacency);
        let is_v4 = burst.v4.0 & (1 << lane) != 0;
        if let Err(verdict) = meet(c.tables, adjacency, state, vif, is_v4) {
            burst.settle(lane, verdict);
        }
    }
}

/// What becomes of a packet that entered by `vif` and whose route is `adjacency`.
#[inline(always)]
fn meet(
    tables: &Snapshot,
    adjacency: &Adjacency,
    state: &Lane,
    vif: &Vif,
    is_v4: bool,
) -> Result<(), Verdict> {
    // The guard behind the tables: whatever a route says, nothing leaves its VRF.
    if adjacency.kind != AdjacencyKind::NoRoute && adjacency.vrf != vif.vrf {
        return Err(Verdict::Drop(DropReason::VrfMismatch));
    }
    match adjacency.kind {
        AdjacencyKind::Local if state.flags.has(Flags::DISCOVERY) => {
            return Err(Verdict::Punt(PuntReason::NeighborDiscovery));
        }
        AdjacencyKind::Local | AdjacencyKind::Broadcast => {}
        // RFC 3927 2.7, RFC 4291 2.5.6: nothing link-local goes further than this.
        _ if state.flags.has(Flags::LINK_LOCAL) && is_v4 => {
            return Err(Verdict::Drop(DropReason::LinkLocalOffLink));
        }
        _ if state.flags.has(Flags::LINK_LOCAL) => {
            return Err(Verdict::Punt(PuntReason::LinkLocal));
        }
        _ => {}
    }
    match adjacency.kind.verdict() {
        // The next hop is resolved last: a packet that must be answered needs none.
        Verdict::Forward | Verdict::Punt(PuntReason::NextHopUnresolved) => {}
        settled => return Err(settled),
    }
    let Some(egress) = tables.vif(adjacency.vif) else {
        return Err(Verdict::Drop(DropReason::EgressDown));
    };
    if vif.kind.is_some() && egress.kind.is_some() && is_public(tables, vif) {
        return Err(Verdict::Drop(DropReason::PeerIsolation));
    }
    Ok(())
}

/// Whether a VIF is in a VRF that tenants share.
#[inline(always)]
fn is_public(tables: &Snapshot, vif: &Vif) -> bool {
    matches!(tables.vrfs.get(vif.vrf.index()), Some(Some(vrf)) if vrf.kind == VrfKind::Public)
}

/// Spreads flows: the same flow always gives the same number, near flows give far numbers.
#[inline(always)]
pub fn flow_hash(addresses: u32, ports: u32) -> u32 {
    let mixed = u64::from(addresses).wrapping_mul(0x9e37_79b9_7f4a_7c15)
        ^ u64::from(ports).wrapping_mul(0xc2b2_ae3d_27d4_eb4f);
    (mixed >> 32) as u32
}
