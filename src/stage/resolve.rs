//! Next-hop group -> adjacency, and what that adjacency means for the packet.

use super::{Burst, Context, Flags, Lane};
use crate::tables::{
    Adjacency, AdjacencyKind, DropReason, PuntReason, Snapshot, Verdict, Vif, VrfKind,
};
use crate::wire::ipv4::Ipv4;
use crate::wire::ipv6::Ipv6;

/// Chooses the group's member by flow; settles every lane that no adjacency forwards.
#[inline(never)]
pub fn run(burst: &mut Burst, c: &mut Context<'_>) {
    for lane in burst.live {
        let id = c
            .tables
            .groups
            .choose(burst.group(lane), || flow(burst.l3(c.pool.area(), lane), burst.v4.has(lane)));
        let state = &mut burst.lanes[lane];
        state.adjacency = id;
        if !is_plain(c.tables.adjacency(id), state) {
            burst.odd.insert(lane);
        }
    }
    for lane in burst.live.and(burst.odd) {
        let state = &burst.lanes[lane];
        let Some(vif) = state.vif.and_then(|id| c.tables.vif(id)) else { continue };
        let adjacency = c.tables.adjacency(state.adjacency);
        if let Err(verdict) = meet(c.tables, adjacency, state, vif, burst.v4.has(lane)) {
            burst.settle(lane, verdict);
        }
    }
}

/// Whether neither this stage nor those after it have anything against forwarding the packet.
#[inline(always)]
fn is_plain(adjacency: &Adjacency, state: &Lane) -> bool {
    adjacency.kind == AdjacencyKind::Forward
        && adjacency.vrf == state.vrf
        && !(adjacency.to_customer && state.from_customer)
        && state.ip_len <= adjacency.mtu
        && state.ttl > 1
        && state.flags == Flags::default()
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
fn flow(packet: &[u8], is_v4: bool) -> u32 {
    let (addresses, ports) = if is_v4 {
        let Ok(packet) = Ipv4::parse(packet) else { return 0 };
        let addresses = packet.source() ^ packet.destination().rotate_left(16);
        (addresses, packet.ports() ^ u32::from(packet.protocol()))
    } else {
        let Ok(packet) = Ipv6::parse(packet) else { return 0 };
        let addresses = fold(packet.source()) ^ fold(packet.destination()).rotate_left(16);
        (addresses, packet.ports() ^ packet.flow_label())
    };
    let mixed = u64::from(addresses).wrapping_mul(0x9e37_79b9_7f4a_7c15)
        ^ u64::from(ports).wrapping_mul(0xc2b2_ae3d_27d4_eb4f);
    (mixed >> 32) as u32
}

/// 128 bits in 32.
fn fold(address: u128) -> u32 {
    let [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p] = address.to_be_bytes();
    u32::from_be_bytes([a, b, c, d])
        ^ u32::from_be_bytes([e, f, g, h])
        ^ u32::from_be_bytes([i, j, k, l])
        ^ u32::from_be_bytes([m, n, o, p])
}
