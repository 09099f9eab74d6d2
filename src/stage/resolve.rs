//! What the chosen adjacency means for the packet.

use super::{Burst, Context, Flags};
use crate::tables::{
    Adjacency, AdjacencyId, AdjacencyKind, DropReason, PuntReason, Snapshot, Verdict, Vif, VrfKind,
};

/// Settles every lane that no adjacency forwards.
#[inline(always)]
pub fn run(burst: &mut Burst, c: &mut Context<'_>) {
    for lane in burst.live.and(burst.odd) {
        let Some(vif) = burst.vif(lane).and_then(|id| c.tables.vif(id)) else { continue };
        let adjacency = c.tables.adjacency(AdjacencyId(burst.adjacency[lane]));
        if let Err(verdict) = meet(c.tables, adjacency, burst.flags(lane), vif, burst.v4.has(lane))
        {
            burst.settle(lane, verdict);
        }
    }
}

/// What becomes of a packet that entered by `vif` and whose route is `adjacency`.
fn meet(
    tables: &Snapshot,
    adjacency: &Adjacency,
    flags: Flags,
    vif: &Vif,
    is_v4: bool,
) -> Result<(), Verdict> {
    // The guard behind the tables: whatever a route says, nothing leaves its VRF.
    if adjacency.kind != AdjacencyKind::NoRoute && adjacency.vrf != vif.vrf {
        return Err(Verdict::Drop(DropReason::VrfMismatch));
    }
    match adjacency.kind {
        AdjacencyKind::Local if flags.has(Flags::DISCOVERY) => {
            return Err(Verdict::Punt(PuntReason::NeighborDiscovery));
        }
        AdjacencyKind::Local | AdjacencyKind::Broadcast => {}
        // RFC 3927 2.7, RFC 4291 2.5.6: nothing link-local goes further than this.
        _ if flags.has(Flags::LINK_LOCAL) && is_v4 => {
            return Err(Verdict::Drop(DropReason::LinkLocalOffLink));
        }
        _ if flags.has(Flags::LINK_LOCAL) => {
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
fn is_public(tables: &Snapshot, vif: &Vif) -> bool {
    matches!(tables.vrfs.get(vif.vrf.index()), Some(Some(vrf)) if vrf.kind == VrfKind::Public)
}
