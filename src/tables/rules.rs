//! The rules of forwarding that stages, slow path and control plane share: kinds of addresses, who is on a link, what
//! may leave by an adjacency, and which member of a group a flow takes. Each is written here and nowhere else.

mod flow;
mod kinds;
mod source;

use std::net::IpAddr;

use ipnet::IpNet;

use super::adjacency::{Adjacency, AdjacencyKind};
use super::group::Way;
use super::ids::{AdjacencyId, ExchangeId, GroupId, VifId, VrfId};
use super::snapshot::{Snapshot, VrfKind};
use super::verdict::{DropReason, PuntReason, Verdict};
use super::vif::Vif;

pub use flow::{FlowKeys, flow, flow_of_start};
pub use kinds::{
    AddressKind, LINK_LOCAL, NO_HOSTS, RESERVED, in_reserved, is_host, is_host_in, may_name,
    reserved,
};
pub use source::admit;

/// Whether the VIF has this address.
pub fn is_ours(vif: &Vif, address: IpAddr) -> bool {
    vif.addresses.iter().any(|net| net.addr() == address)
}

/// The Subnet-Router anycast address of an IPv6 subnet, which all routers on it have besides their own
/// (RFC 4291 2.6.1). A /127 has none (RFC 6164 section 5).
pub fn subnet_router_anycast(net: &IpNet) -> Option<IpAddr> {
    (net.addr().is_ipv6() && net.prefix_len() < 127).then(|| net.network())
}

/// Whether this is the Subnet-Router anycast address of one of the VIF's subnets, and no address of its own.
pub fn is_anycast(vif: &Vif, address: IpAddr) -> bool {
    vif.addresses.iter().any(|net| subnet_router_anycast(net) == Some(address))
        && !is_ours(vif, address)
}

/// Whether the router answers to this address on the VIF: one of its own, or an anycast one.
pub fn is_router(vif: &Vif, address: IpAddr) -> bool {
    is_ours(vif, address) || is_anycast(vif, address)
}

/// The broadcast address of an IPv4 subnet that has one: a /31 has none (RFC 3021).
pub fn broadcast(net: &IpNet) -> Option<IpAddr> {
    match net {
        IpNet::V4(v4) if v4.prefix_len() < 31 => Some(v4.broadcast().into()),
        _ => None,
    }
}

/// Whether this is the broadcast address of one of the VIF's subnets.
pub fn is_subnet_broadcast(vif: &Vif, address: IpAddr) -> bool {
    vif.addresses.iter().any(|net| broadcast(net) == Some(address))
}

/// Whether a host on one of the VIF's subnets may have this address.
pub fn is_on_subnet(vif: &Vif, address: IpAddr) -> bool {
    is_host(address)
        && vif.addresses.iter().any(|net| net.contains(&address))
        && !is_subnet_broadcast(vif, address)
}

/// Whether a neighbor on the VIF may have this address: on a subnet, or an IPv6 link-local one.
pub fn is_on_link(vif: &Vif, address: IpAddr) -> bool {
    crate::wire::ipv6::is_link_local(address) || is_on_subnet(vif, address)
}

/// Whether the route of an address, a group, leads to a subnet that has it.
pub fn is_on_subnet_of(tables: &Snapshot, route: GroupId, address: IpAddr) -> bool {
    let members = tables.groups.members(route).iter().map(|id| tables.adjacency(*id));
    let mut vifs = members.filter(|adjacency| adjacency.kind.is_on_vif());
    vifs.any(|to| tables.vif(to.vif).is_some_and(|vif| is_on_subnet(vif, address)))
}

/// The only VRF whose adjacencies a packet of a VRF may leave by: this one, or by an exchange into it the one that the
/// exchange leads from.
fn bound(tables: &Snapshot, vrf: VrfId, permit: Option<ExchangeId>) -> Option<VrfId> {
    let Some(id) = permit else { return Some(vrf) };
    let exchange = tables.exchange(id)?;
    (exchange.importer == vrf).then_some(exchange.exporter)
}

/// Whether a packet may pass from one VIF to another as far as other stations go: what came from one leaves by VIFs that
/// join them, and what comes by these alone leaves to one. Nothing passes from station to station, and so in no circle.
fn between_stations(from: &Vif, to: &Vif) -> Result<(), DropReason> {
    match (from.station(), to.station()) {
        (Some(_), Some(_)) => Err(DropReason::StationLoop),
        (Some(_), None) if !to.joins_stations => Err(DropReason::NotJoined),
        (None, Some(_)) if !from.joins_stations => Err(DropReason::NotJoined),
        _ => Ok(()),
    }
}

/// Whether a packet that came by `ingress` may leave by `egress`, which is returned: where the router's answer to it may
/// ([`may_answer`]), and as other stations are joined.
///
/// # Errors
/// As [`may_answer`], and `StationLoop` or `NotJoined`.
pub fn may_leave(
    tables: &Snapshot,
    ingress: VifId,
    permit: Option<ExchangeId>,
    egress: VifId,
) -> Result<&Vif, DropReason> {
    let to = may_answer(tables, ingress, permit, egress)?;
    tables.vif(ingress).map_or(Err(DropReason::EgressDown), |from| between_stations(from, to))?;
    Ok(to)
}

/// Whether what the router says because of a packet that came by `ingress` may leave by `egress`, which is returned: it is
/// up, in the same VRF or in that which the permit names, and in a public VRF, which many customers share, not another
/// customer's. It may go back where that came from.
///
/// # Errors
/// `EgressDown`, `VrfMismatch` or `PeerIsolation`.
pub fn may_answer(
    tables: &Snapshot,
    ingress: VifId,
    permit: Option<ExchangeId>,
    egress: VifId,
) -> Result<&Vif, DropReason> {
    let (Some(from), Some(to)) = (tables.vif(ingress), tables.vif(egress)) else {
        return Err(DropReason::EgressDown);
    };
    if bound(tables, from.vrf, permit) != Some(to.vrf) {
        return Err(DropReason::VrfMismatch);
    }
    let vrf = tables.vrfs.get(to.vrf.index()).and_then(Option::as_ref);
    let shared = vrf.is_none_or(|vrf| vrf.kind == VrfKind::Public);
    if shared && ingress != egress && from.kind.is_some() && to.kind.is_some() {
        return Err(DropReason::PeerIsolation);
    }
    let port = tables.ports.get(to.port.index());
    if to.up && port.is_some_and(|port| port.up) { Ok(to) } else { Err(DropReason::EgressDown) }
}

/// The VIF that a route of `vrf` leads to by an adjacency, whoever sends; its next hop may be unresolved.
///
/// # Errors
/// What becomes of a packet that meets the adjacency.
pub fn leads(adjacency: &Adjacency, vrf: Option<VrfId>) -> Result<VifId, Verdict> {
    // The guard behind the tables: whatever a route says, nothing leaves the one VRF that it is bound to. "No route" is
    // all VRFs'.
    if adjacency.kind != AdjacencyKind::NoRoute && vrf != Some(adjacency.vrf) {
        return Err(Verdict::Drop(DropReason::VrfMismatch));
    }
    match adjacency.kind.verdict() {
        Verdict::Forward | Verdict::Punt(PuntReason::NextHopUnresolved) => Ok(adjacency.vif),
        settled => Err(settled),
    }
}

/// The egress VIF of a packet that came by `ingress` and whose route leads to `adjacency`, by an exchange if there is a
/// permit; its next hop may be unresolved.
///
/// # Errors
/// What becomes of a packet that does not leave there.
pub fn meet<'a>(
    tables: &'a Snapshot,
    ingress: VifId,
    permit: Option<ExchangeId>,
    adjacency: &Adjacency,
) -> Result<&'a Vif, Verdict> {
    let egress = led_to(tables, ingress, permit, adjacency)?;
    may_leave(tables, ingress, permit, egress).map_err(Verdict::Drop)
}

/// As [`meet`], of what the router says because of that packet.
///
/// # Errors
/// What becomes of what does not leave there.
pub fn meet_answer<'a>(
    tables: &'a Snapshot,
    ingress: VifId,
    adjacency: &Adjacency,
) -> Result<&'a Vif, Verdict> {
    let egress = led_to(tables, ingress, None, adjacency)?;
    may_answer(tables, ingress, None, egress).map_err(Verdict::Drop)
}

fn led_to(
    tables: &Snapshot,
    ingress: VifId,
    permit: Option<ExchangeId>,
    adjacency: &Adjacency,
) -> Result<VifId, Verdict> {
    let vrf = tables.vif(ingress).and_then(|vif| bound(tables, vif.vrf, permit));
    leads(adjacency, vrf)
}

/// Whether what comes by an exchange into `importer` may have a source whose route in the exporting VRF is this group:
/// that VRF has no route to it, or one back by an exchange.
pub fn leads_back(tables: &Snapshot, group: GroupId, importer: VrfId) -> bool {
    let is_back = |id: &AdjacencyId| match tables.adjacency(*id).kind {
        AdjacencyKind::NoRoute => true,
        AdjacencyKind::Exchange(back) => {
            tables.exchange(back).is_some_and(|back| back.exporter == importer)
        }
        _ => false,
    };
    tables.groups.members(group).iter().all(is_back)
}

/// The adjacency by which a packet leaves that meets the permit of an exchange in the VRF `importer`: the exporting VRF's
/// route says. `None` where that VRF routes the packet's source elsewhere than back by an exchange, and so has addresses of
/// its own there, or answers would go to others; where it has no route back, the exchange is one way.
///
/// Nothing is passed on to a third VRF, and the station's own addresses are those of the VRF that they are in.
pub fn cross(
    tables: &Snapshot,
    id: ExchangeId,
    importer: VrfId,
    [source, destination]: [IpAddr; 2],
    packet: &[u8],
    fib: impl Fn(VrfId, IpAddr) -> GroupId,
) -> Option<AdjacencyId> {
    let exchange = tables.exchange(id).filter(|exchange| exchange.importer == importer)?;
    if !leads_back(tables, fib(exchange.exporter, source), importer) {
        return None;
    }
    let group = tables.groups.way(fib(exchange.exporter, destination));
    let to = member(tables, group, packet);
    match tables.adjacency(to).kind {
        AdjacencyKind::Exchange(_) | AdjacencyKind::Local => Some(AdjacencyId(0)),
        _ => Some(to),
    }
}

/// The member of a group that a packet, from its IP header on, leaves by.
#[inline(always)]
pub fn member(tables: &Snapshot, group: Way, packet: &[u8]) -> AdjacencyId {
    match group.only() {
        Some(only) => only,
        None => tables.groups.choose(group, flow(&tables.flow_keys, packet)),
    }
}

/// The adjacency of the underlay by which a tunnel to a VTEP leaves, whose route leads this way, with inner packets
/// of a flow. Nothing of a tenant is in the underlay but in tunnels, and each tunnel is in its own underlay.
///
/// # Errors
/// `EgressDown` where nothing can be sent there now.
#[inline(always)]
pub fn under(
    tables: &Snapshot,
    underlay: VrfId,
    way: Way,
    flow: u32,
) -> Result<&Adjacency, DropReason> {
    // Other bits of the number than those that chose the tunnel: else the flows of a tunnel took one way of many.
    let member = || tables.groups.choose(way, flow.rotate_left(16));
    let to = tables.adjacency(way.only().unwrap_or_else(member));
    if sends_under(to, underlay) { Ok(to) } else { Err(DropReason::EgressDown) }
}

/// Whether a tunnel may leave by this adjacency.
#[inline(always)]
pub fn sends_under(to: &Adjacency, underlay: VrfId) -> bool {
    to.kind == AdjacencyKind::Forward && to.vrf == underlay
}

/// The adjacency that the fast path chose for a packet, and the generation of the tables by which it did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Choice {
    /// [`Snapshot::generation`].
    pub generation: u64,
    /// The adjacency, in those tables.
    pub adjacency: AdjacencyId,
}

impl Choice {
    /// The adjacency in these tables; `None` where they are others: the id may be another egress there.
    pub fn in_tables(self, tables: &Snapshot) -> Option<&Adjacency> {
        (self.generation == tables.generation).then(|| tables.adjacency(self.adjacency))
    }
}
