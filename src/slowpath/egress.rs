//! The way out: which VIF and neighbor a packet leaves by, and the frame around it. Every packet that is
//! sent because of another one passes [`rules::may_leave`], which keeps VRFs apart.

use std::borrow::Cow;
use std::net::IpAddr;

use super::neighbor::{Action, Key, Lookup, Waiting};
use super::packet::Packet;
use super::{Output, SlowPath, Told, View, fragment, tunnel};
use crate::tables::qos::MARKED;
use crate::tables::{
    Adjacency, AdjacencyKind, Choice, Direction, DropReason, ExchangeId, Pcp, Port, PuntReason,
    SlowOutcome, Snapshot, Verdict, Vif, VifId, rules,
};
use crate::wire::ethernet::{ETHERTYPE_IPV4, ETHERTYPE_IPV6, MIN_PAYLOAD, Mac};
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
    /// 802.1Q priority and drop eligibility, as a TCI's upper four bits have them.
    pub priority: u8,
    /// The adjacency that the fast path chose.
    pub choice: Option<Choice>,
}

impl Ingress<'_> {
    /// Whether the tables are still those by which the fast path chose the adjacency.
    pub fn is_chosen(&self) -> bool {
        self.choice.is_some_and(|choice| choice.in_tables(self.view.snapshot).is_some())
    }
}

/// Where a packet goes.
pub enum Route<'a> {
    /// To this neighbor by this VIF; its MAC where the tables have it, and the exchange by which that is, if it is.
    Via(Key, Option<Mac>, &'a Vif, Option<ExchangeId>),
    /// To the router itself.
    Local,
    /// Nowhere: what the fast path would say.
    No(Verdict),
}

/// The route of a packet that came by `from`: by the adjacency that the fast path chose, where the tables are still those
/// by which it did.
pub fn route<'a>(from: &Ingress<'a>, packet: &Packet<'_>) -> Route<'a> {
    let tables = from.view.snapshot;
    let chosen = from.choice.and_then(|choice| choice.in_tables(tables));
    let adjacency = chosen.unwrap_or_else(|| {
        let group = (from.view.fib)(from.vif.vrf, packet.destination);
        tables.adjacency(rules::member(tables, tables.groups.way(group), packet.bytes))
    });
    let AdjacencyKind::Exchange(id) = adjacency.kind else {
        return way_out(from, packet.destination, None, adjacency);
    };
    let ends = [packet.source, packet.destination];
    match rules::cross(tables, id, from.vif.vrf, ends, packet.bytes, from.view.fib) {
        Some(to) => way_out(from, packet.destination, Some(id), tables.adjacency(to)),
        None => way_out(from, packet.destination, None, adjacency),
    }
}

/// The route of a packet of the router itself to the sender of one that came by `from`: back where that came from if a
/// route leads there, else by the VRF's best route.
pub fn route_back<'a>(from: &Ingress<'a>, to: IpAddr, packet: &[u8]) -> Route<'a> {
    if is_link_local(to) {
        return Route::Via((from.id, to), None, from.vif, None);
    }
    let tables = from.view.snapshot;
    let group = (from.view.fib)(from.vif.vrf, to);
    let mut buckets = tables.groups.buckets(group).iter().map(|id| tables.adjacency(*id));
    let back = buckets.find(|to| {
        use AdjacencyKind::{Forward, Glean, Unresolved};
        to.vif == from.id && matches!(to.kind, Forward | Unresolved | Glean)
    });
    let adjacency = back.unwrap_or_else(|| {
        tables.adjacency(rules::member(tables, tables.groups.way(group), packet))
    });
    way_to(rules::meet_answer(tables, from.id, adjacency), to, None, adjacency)
}

/// Where an adjacency leads what came by `from`, by an exchange if there is a permit.
fn way_out<'a>(
    from: &Ingress<'a>,
    destination: IpAddr,
    permit: Option<ExchangeId>,
    adjacency: &Adjacency,
) -> Route<'a> {
    let met = rules::meet(from.view.snapshot, from.id, permit, adjacency);
    way_to(met, destination, permit, adjacency)
}

/// Where an adjacency leads, of which a rule said whether it does.
fn way_to<'a>(
    met: Result<&'a Vif, Verdict>,
    destination: IpAddr,
    permit: Option<ExchangeId>,
    adjacency: &Adjacency,
) -> Route<'a> {
    match met {
        Ok(vif) => {
            let glean = adjacency.kind == AdjacencyKind::Glean;
            let next_hop = if glean { destination } else { adjacency.address };
            Route::Via((adjacency.vif, next_hop), adjacency.next_hop(), vif, permit)
        }
        Err(Verdict::Punt(PuntReason::Local)) => Route::Local,
        Err(verdict) => Route::No(verdict),
    }
}

/// What a packet counts as that the fast path would have dropped, had the tables been what they are now.
pub const fn dropped(reason: DropReason) -> SlowOutcome {
    match reason {
        DropReason::PeerIsolation => SlowOutcome::PeerIsolation,
        _ => SlowOutcome::NoEgress,
    }
}

/// A VIF that frames may be sent to now, and its port.
pub fn live(snapshot: &Snapshot, id: VifId) -> Option<(&Vif, &Port)> {
    let vif = snapshot.vif(id).filter(|vif| vif.up)?;
    let port = snapshot.ports.get(vif.port.index()).filter(|port| port.up)?;
    Some((vif, port))
}

/// Longest IP packet to a neighbor by a VIF, in octets: into a tunnel it may be less than by the VIF's others.
pub fn mtu(snapshot: &Snapshot, key: Key, vif: &Vif) -> u16 {
    let tunnel = vif.tunnel().and_then(|_| snapshot.neighbors.get(&key));
    tunnel.map_or(vif.mtu, |id| snapshot.adjacency(*id).mtu.min(vif.mtu))
}

/// One Ethernet frame to a neighbor, with the VIF's tags or in its tunnel, padded with zeros to the shortest that
/// Ethernet carries. Does nothing where the VIF is down, or its tunnel has no way.
pub fn transmit(
    view: &View<'_>,
    (id, neighbor): Key,
    to: Mac,
    ethertype: u16,
    payload: &[u8],
    priority: u8,
    out: &mut Vec<Output>,
) {
    let Some((vif, port)) = live(view.snapshot, id) else { return };
    let head = Adjacency::forward(id, vif, IpAddr::from([0; 4]), to, port.mac);
    let mut frame = Vec::with_capacity(usize::from(head.l2_len) + payload.len());
    frame.extend_from_slice(head.l2());
    if vif.pcp == Pcp::Preserve || u32::from(priority) & MARKED != 0 {
        for tag in frame[12..].chunks_exact_mut(4) {
            tag[2] = tag[2] & 0x0f | priority << 4;
        }
    }
    frame.extend_from_slice(&ethertype.to_be_bytes());
    frame.extend_from_slice(payload);
    frame.resize(frame.len().max(usize::from(head.l2_len) + MIN_PAYLOAD), 0);
    let sent = match vif.tunnel() {
        Some(tunnel) => tunnel::wrap(view, tunnel, neighbor, &frame, priority),
        None => Some((vif.port, id, frame)),
    };
    out.extend(sent.map(|(port, by, frame)| {
        let through = (by != id).then_some(by);
        Output::Transmit { vif: id, through, port, frame }
    }));
}

/// Marks a packet that is forwarded as its class at the VIF does that it leaves by; gives its priority.
pub fn marked(view: &View<'_>, vif: VifId, packet: &mut [u8], priority: u8) -> u8 {
    view.snapshot.qos.as_ref().map_or(priority, |qos| qos.mark(vif, packet, priority))
}

/// A packet as it leaves by a VIF; `None` where that cannot translate it.
pub fn translated<'p>(vif: &Vif, packet: &'p [u8]) -> Option<Cow<'p, [u8]>> {
    let Some(translations) = &vif.translations else { return Some(packet.into()) };
    let mut packet = packet.to_vec();
    translations.translate(Direction::Tx, &mut packet).ok()?;
    Some(packet.into())
}

/// Sends a finished IP packet to a neighbor, translated where the VIF does that, and in fragments where it is IPv4 and too
/// long. Returns whether it could.
pub fn transmit_ip(
    view: &View<'_>,
    key: Key,
    to: Mac,
    packet: &[u8],
    priority: u8,
    out: &mut Vec<Output>,
) -> bool {
    let Some((vif, _)) = live(view.snapshot, key.0) else { return false };
    let Some(packet) = translated(vif, packet) else { return false };
    let packet = &*packet;
    let v4 = packet.first().is_some_and(|first| first >> 4 == 4);
    let ethertype = if v4 { ETHERTYPE_IPV4 } else { ETHERTYPE_IPV6 };
    let sent = out.len();
    let mtu = usize::from(mtu(view.snapshot, key, vif));
    if packet.len() <= mtu {
        transmit(view, key, to, ethertype, packet, priority, out);
    } else if v4 {
        for fragment in &fragment::fragment(packet, mtu) {
            transmit(view, key, to, ethertype, fragment, priority, out);
        }
    }
    out.len() > sent
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
                Action::Ask(key, at) => ask(view, key, at, out),
                Action::Event(event) => out.push(Output::Tell(Told::Neighbor(event))),
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

fn ask(view: &View<'_>, key: Key, at: Option<Mac>, out: &mut Vec<Output>) {
    let Some((vif, port)) = live(view.snapshot, key.0) else { return };
    match key.1 {
        IpAddr::V4(target) => {
            if let Some(arp) = super::arp::request(vif, port.mac, target) {
                let to = at.unwrap_or(Mac::BROADCAST);
                transmit(view, key, to, crate::wire::ethernet::ETHERTYPE_ARP, &arp, 0, out);
            }
        }
        IpAddr::V6(target) => {
            if let Some((to, packet)) = super::nd::solicitation(vif, port.mac, target, at) {
                transmit(view, key, to, ETHERTYPE_IPV6, &packet, 0, out);
            }
        }
    }
}
