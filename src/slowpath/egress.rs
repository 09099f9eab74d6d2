//! The way out: which VIF and neighbor a packet leaves by, and the frame around it. The guard that
//! keeps VRFs apart is here: every packet sent because of another one passes [`may_leave`].

use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::IpAddr;

use super::neighbor::{Action, Key, Lookup, Waiting};
use super::packet::Packet;
use super::{Output, SlowPath, View, fragment};
use crate::tables::{Adjacency, AdjacencyKind, Port, Snapshot, Vif, VifId, VrfKind};
use crate::wire::ethernet::{ETHERTYPE_IPV4, ETHERTYPE_IPV6, Mac};
use crate::wire::ipv6::is_link_local;

/// Where a frame came from.
#[derive(Clone, Copy)]
pub struct Ingress<'a> {
    /// The time and the tables.
    pub view: &'a View<'a>,
    /// Its VIF.
    pub id: VifId,
    /// The same.
    pub vif: &'a Vif,
    /// The Ethernet source.
    pub sender: Mac,
    /// Sent to a group MAC.
    pub group: bool,
    /// 802.1Q priority.
    pub priority: u8,
}

/// Where a packet goes.
pub enum Route {
    /// To this neighbor; its MAC where the tables have it.
    Via(Key, Option<Mac>),
    /// To the router itself.
    Local,
    /// Nowhere.
    No(AdjacencyKind),
}

/// The adjacency for a destination. ECMP members are chosen by addresses and protocol; one that
/// leaves by `prefer` comes first.
pub fn route(from: &Ingress<'_>, packet: Flow, prefer: Option<VifId>) -> Route {
    let view = from.view;
    if is_link_local(packet.destination) {
        return Route::Via((from.id, packet.destination), None);
    }
    let group = (view.fib)(from.vif.vrf, packet.destination);
    let buckets = view.snapshot.groups.buckets(group);
    let preferred = buckets.iter().find(|id| {
        let adjacency = view.snapshot.adjacency(**id);
        prefer == Some(adjacency.vif) && has_egress(adjacency.kind)
    });
    let mut hasher = DefaultHasher::new();
    packet.hash(&mut hasher);
    let spread = usize::try_from(hasher.finish() >> 32).unwrap_or(0) % buckets.len().max(1);
    let Some(id) = preferred.or_else(|| buckets.get(spread)) else {
        return Route::No(AdjacencyKind::NoRoute);
    };
    let adjacency = view.snapshot.adjacency(*id);
    match adjacency.kind {
        AdjacencyKind::Forward => {
            Route::Via((adjacency.vif, adjacency.address), adjacency.next_hop())
        }
        AdjacencyKind::Unresolved => Route::Via((adjacency.vif, adjacency.address), None),
        AdjacencyKind::Glean => Route::Via((adjacency.vif, packet.destination), None),
        AdjacencyKind::Local => Route::Local,
        kind => Route::No(kind),
    }
}

/// What ECMP members are chosen by.
#[derive(Clone, Copy, Hash)]
pub struct Flow {
    source: Option<IpAddr>,
    destination: IpAddr,
    protocol: u8,
}

impl Flow {
    /// The flow of a packet that is forwarded.
    pub fn of(packet: &Packet<'_>) -> Flow {
        let protocol = packet.protocol();
        Flow { source: Some(packet.source), destination: packet.destination, protocol }
    }

    /// Everything that the router itself sends there.
    pub fn to(destination: IpAddr) -> Flow {
        Flow { source: None, destination, protocol: 0 }
    }
}

fn has_egress(kind: AdjacencyKind) -> bool {
    matches!(kind, AdjacencyKind::Forward | AdjacencyKind::Unresolved | AdjacencyKind::Glean)
}

/// A VIF that frames may be sent to now, and its port.
pub fn live(snapshot: &Snapshot, id: VifId) -> Option<(&Vif, &Port)> {
    let vif = snapshot.vif(id).filter(|vif| vif.up)?;
    let port = snapshot.ports.get(vif.port.index()).filter(|port| port.up)?;
    Some((vif, port))
}

/// Why a packet may not leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// The VIF is down or gone, or in another VRF.
    NoEgress,
    /// Another customer's VIF of a public VRF.
    PeerIsolation,
}

/// Whether what came by `ingress` may leave by `egress`: the same VRF, and in a public VRF, which
/// many customers share, not from one customer to another.
pub fn may_leave(snapshot: &Snapshot, ingress: VifId, egress: VifId) -> Result<&Vif, Refused> {
    let from = snapshot.vif(ingress).ok_or(Refused::NoEgress)?;
    let (to, _) = live(snapshot, egress).ok_or(Refused::NoEgress)?;
    if from.vrf != to.vrf {
        return Err(Refused::NoEgress);
    }
    let vrf = snapshot.vrfs.get(to.vrf.index()).and_then(Option::as_ref);
    let public = vrf.is_none_or(|vrf| vrf.kind == VrfKind::Public);
    if public && ingress != egress && from.kind.is_some() && to.kind.is_some() {
        return Err(Refused::PeerIsolation);
    }
    Ok(to)
}

/// One Ethernet frame with the VIF's tags. Does nothing where the VIF is down.
pub fn transmit(
    snapshot: &Snapshot,
    id: VifId,
    to: Mac,
    ethertype: u16,
    payload: &[u8],
    priority: u8,
    out: &mut Vec<Output>,
) {
    let Some((vif, port)) = live(snapshot, id) else { return };
    let head = Adjacency::forward(id, vif, IpAddr::from([0; 4]), to, port.mac);
    let mut frame = Vec::with_capacity(usize::from(head.l2_len) + payload.len());
    frame.extend_from_slice(head.l2());
    if matches!(vif.pcp, crate::tables::Pcp::Preserve) {
        for tag in frame[12..].chunks_exact_mut(4) {
            tag[2] |= priority << 5;
        }
    }
    frame.extend_from_slice(&ethertype.to_be_bytes());
    frame.extend_from_slice(payload);
    out.push(Output::Transmit { vif: id, port: vif.port, frame });
}

/// Sends a finished IP packet to a neighbor, in fragments where it is IPv4 and too long. Returns
/// whether it could.
pub fn transmit_ip(
    snapshot: &Snapshot,
    egress: VifId,
    to: Mac,
    packet: &[u8],
    priority: u8,
    out: &mut Vec<Output>,
) -> bool {
    let Some((vif, _)) = live(snapshot, egress) else { return false };
    let v4 = packet.first().is_some_and(|first| first >> 4 == 4);
    let ethertype = if v4 { ETHERTYPE_IPV4 } else { ETHERTYPE_IPV6 };
    if packet.len() <= usize::from(vif.mtu) {
        transmit(snapshot, egress, to, ethertype, packet, priority, out);
        return true;
    }
    let fragments = if v4 { fragment::fragment(packet, vif.mtu.into()) } else { Vec::new() };
    for fragment in &fragments {
        transmit(snapshot, egress, to, ethertype, fragment, priority, out);
    }
    !fragments.is_empty()
}

impl SlowPath {
    /// What a packet for a neighbor should do, static neighbors first: they are never asked.
    pub(super) fn lookup(
        &mut self,
        view: &View<'_>,
        key: Key,
        table: Option<Mac>,
        packet: Waiting,
        out: &mut Vec<Output>,
    ) -> Lookup {
        if let Some(mac) = static_mac(view.snapshot, key).or(table) {
            return Lookup::Known(mac, packet);
        }
        let mut actions = Vec::new();
        let lookup = self.neighbors.send(view.now_ns, key, packet, &mut actions);
        if matches!(lookup, Lookup::Known(..)) && !in_tables(view.snapshot, key) {
            self.neighbors.tell_again(view.now_ns, key, &mut actions);
        }
        self.act(view, actions, out);
        lookup
    }

    /// Does what the neighbor table asks for.
    pub(super) fn act(&mut self, view: &View<'_>, actions: Vec<Action>, out: &mut Vec<Output>) {
        for action in actions {
            match action {
                Action::Ask(key, at) => ask(view.snapshot, key, at, out),
                Action::Event(event) => out.push(Output::Neighbor(event)),
                Action::Send(key, mac, packet) => self.send_waiting(view, key, mac, &packet, out),
                Action::GiveUp(packet) => self.give_up(view, &packet, out),
            }
        }
    }
}

/// Whether the workers know the neighbor's MAC. Link-local ones come by the slow path even so.
fn in_tables(snapshot: &Snapshot, key: Key) -> bool {
    let id = snapshot.neighbors.get(&key);
    id.is_some_and(|id| snapshot.adjacency(*id).kind == AdjacencyKind::Forward)
}

/// The MAC that the operator configured for a neighbor.
pub fn static_mac(snapshot: &Snapshot, key: Key) -> Option<Mac> {
    let adjacency = snapshot.adjacency(*snapshot.neighbors.get(&key)?);
    adjacency.next_hop().filter(|_| adjacency.static_neighbor)
}

fn ask(snapshot: &Snapshot, (id, target): Key, at: Option<Mac>, out: &mut Vec<Output>) {
    let Some((vif, port)) = live(snapshot, id) else { return };
    match target {
        IpAddr::V4(target) => {
            if let Some(arp) = super::arp::request(vif, port.mac, target) {
                let to = at.unwrap_or(Mac::BROADCAST);
                transmit(snapshot, id, to, crate::wire::ethernet::ETHERTYPE_ARP, &arp, 0, out);
            }
        }
        IpAddr::V6(target) => {
            if let Some((to, packet)) = super::nd::solicitation(vif, port.mac, target, at) {
                transmit(snapshot, id, to, ETHERTYPE_IPV6, &packet, 0, out);
            }
        }
    }
}
