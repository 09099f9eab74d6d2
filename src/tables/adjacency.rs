//! Adjacencies: the resolved egress of a next hop, ready to be written in front of a packet.

use std::net::{IpAddr, Ipv4Addr};
use std::ops::Deref;

use super::ids::{ExchangeId, PortId, VifId, VrfId};
use super::meter::Direction;
use super::verdict::{DropReason, PuntReason, Verdict};
use super::vif::{Ingress, MAX_MTU, NOWHERE, Pcp, Vif, place};
use crate::wire::ethernet::Mac;

/// What an adjacency does with a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum AdjacencyKind {
    /// No route leads here; answered with ICMP.
    NoRoute,
    /// Rewrite and transmit.
    Forward,
    /// The next hop is known but its MAC is not yet.
    Unresolved,
    /// A connected subnet: the destination itself is the next hop and has to be resolved.
    Glean,
    /// An address of the router.
    Local,
    /// The broadcast address of a connected subnet.
    Broadcast,
    /// Drop silently.
    Blackhole,
    /// Answer with ICMP unreachable.
    Unreachable,
    /// Answer with ICMP administratively prohibited.
    Prohibited,
    /// The egress VIF or its port is down: drop. Everything else in the adjacency stays as it is.
    EgressDown,
    /// A permit: go on in the VRF that the exchange leads from.
    Exchange(ExchangeId),
}

impl AdjacencyKind {
    /// Whether the adjacency is on a VIF, where packets would leave.
    pub const fn is_on_vif(self) -> bool {
        use AdjacencyKind::{EgressDown, Forward, Glean, Unresolved};
        matches!(self, Forward | Unresolved | Glean | EgressDown)
    }

    /// What a packet meets here, everything else being in order.
    #[inline(always)]
    pub const fn verdict(self) -> Verdict {
        match self {
            AdjacencyKind::NoRoute => Verdict::Punt(PuntReason::NoRoute),
            AdjacencyKind::Forward => Verdict::Forward,
            AdjacencyKind::Unresolved | AdjacencyKind::Glean => {
                Verdict::Punt(PuntReason::NextHopUnresolved)
            }
            AdjacencyKind::Local => Verdict::Punt(PuntReason::Local),
            AdjacencyKind::Broadcast => Verdict::Drop(DropReason::DirectedBroadcast),
            AdjacencyKind::Blackhole => Verdict::Drop(DropReason::Blackhole),
            AdjacencyKind::Unreachable => Verdict::Punt(PuntReason::Unreachable),
            AdjacencyKind::Prohibited => Verdict::Punt(PuntReason::Prohibited),
            AdjacencyKind::EgressDown => Verdict::Drop(DropReason::EgressDown),
            // What may pass is no more at its permit: see `rules::cross`.
            AdjacencyKind::Exchange(_) => Verdict::Drop(DropReason::ExchangeSource),
        }
    }
}

/// Octets of what stands in front of an ethertype at most: MACs and two tags.
pub const MAX_L2: usize = 20;

/// One egress. A cache line, so that a packet's rewrite touches one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(align(64))]
pub struct Adjacency {
    /// What to do.
    pub kind: AdjacencyKind,
    /// Octets of the L2 header with the ethertype: 14, 18 or 22; 0 where nothing is sent.
    pub l2_len: u8,
    /// The egress port (meaningful for `Forward`).
    pub port: PortId,
    /// The operator configured the MAC: the slow path neither ages nor replaces it.
    pub static_neighbor: bool,
    /// The egress VIF is a customer's.
    pub to_customer: bool,
    /// The egress VIF's tunnels lead to another station.
    pub to_station: bool,
    /// What came from another station may leave by the egress VIF.
    pub joins_stations: bool,
    /// What leaves by the egress VIF is policed: as a whole, or by its addresses.
    pub metered: bool,
    /// An access list judges what leaves by the egress VIF.
    pub has_acl: bool,
    /// What leaves by the egress VIF has its destination translated.
    pub translated: bool,
    /// Some packets of what leaves by the egress VIF are looked at: for flow logs, or for top talkers.
    pub logged: bool,
    /// Frames keep the priority (PCP) they came with; else `l2` holds it.
    pub preserve_pcp: bool,
    /// The egress VIF (also for `Unresolved`, `Glean`, `Local` and `Broadcast`).
    pub vif: VifId,
    /// The VRF this adjacency belongs to: a frame of another VRF never leaves here.
    pub vrf: VrfId,
    /// Longest IP packet, in octets, without L2 header.
    pub mtu: u16,
    /// What stands in front of the ethertype, at the end. See [`Adjacency::l2`].
    pub front: [u8; MAX_L2],
    /// The next hop (`Forward`, `Unresolved`) or the router's address (`Local`).
    pub address: IpAddr,
}

impl Adjacency {
    /// An adjacency without an egress: a verdict for every packet of `vrf` that reaches it.
    pub const fn special(kind: AdjacencyKind, vrf: VrfId) -> Self {
        Adjacency {
            kind,
            l2_len: 0,
            port: PortId(0),
            static_neighbor: false,
            to_customer: false,
            to_station: false,
            joins_stations: false,
            metered: false,
            has_acl: false,
            translated: false,
            logged: false,
            preserve_pcp: false,
            vif: VifId(0),
            vrf,
            mtu: 0,
            front: [0; MAX_L2],
            address: IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        }
    }

    /// An adjacency on a VIF that has no MAC (`Unresolved`, `Glean`, `Local`, `Broadcast`).
    pub fn on_vif(kind: AdjacencyKind, id: VifId, vif: &Vif, address: IpAddr) -> Self {
        Adjacency {
            port: vif.port,
            vif: id,
            to_customer: vif.kind.is_some(),
            to_station: vif.station().is_some(),
            joins_stations: vif.joins_stations,
            metered: vif.metered[Direction::Tx as usize] || vif.limited[Direction::Tx as usize],
            has_acl: vif.acl_out.is_some(),
            translated: vif.translations.is_some(),
            logged: vif.is_sampled(),
            mtu: vif.mtu,
            address,
            ..Adjacency::special(kind, vif.vrf)
        }
    }

    /// The adjacency of a next hop whose MAC is known. `source` is the egress port's MAC.
    pub fn forward(id: VifId, vif: &Vif, address: IpAddr, next_hop: Mac, source: Mac) -> Self {
        let mut adjacency = Adjacency::on_vif(AdjacencyKind::Forward, id, vif, address);
        adjacency.preserve_pcp = vif.pcp == Pcp::Preserve;
        let tags = vif.tags.iter().map(|(tpid, vid)| {
            let tci = vid | u16::from(vif.pcp.egress()) << 13;
            u32::from(tpid) << 16 | u32::from(tci)
        });
        let mut l2 = [next_hop.0, source.0].concat();
        l2.extend(tags.flat_map(u32::to_be_bytes));
        adjacency.front[MAX_L2 - l2.len()..].copy_from_slice(&l2);
        adjacency.l2_len = u8::try_from(l2.len() + 2).unwrap_or(0);
        adjacency
    }

    /// Destination MAC, source MAC and tags; empty where nothing is sent.
    pub fn l2(&self) -> &[u8] {
        let len = usize::from(self.l2_len).saturating_sub(2);
        &self.front[MAX_L2.saturating_sub(len)..]
    }

    /// The MAC of the next hop, where packets are sent to one.
    pub fn next_hop(&self) -> Option<Mac> {
        let mac = self.l2().first_chunk().filter(|_| self.kind == AdjacencyKind::Forward);
        mac.map(|mac| Mac(*mac))
    }
}

/// What decides whether a packet may leave by an adjacency, in two words: those of a burst are compared in columns.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(8))]
pub struct Facts {
    /// The egress VIF and its VRF, see [`place`]; [`NOWHERE`] where nothing is sent.
    pub place: u32,
    /// The MTU in the lower 14 bits, two flags, the port in 8 bits, a flag, the length of the L2 header by fours in 3 bits;
    /// above it more flags.
    pub rules: u32,
}

impl Facts {
    /// Flag: the egress VIF is a customer's.
    pub const CUSTOMER: u32 = Ingress::CUSTOMER;
    /// Flag: what leaves is policed, as a whole or by its addresses.
    pub const METERED: u32 = 1 << 30;
    /// Flag: an access list judges what leaves.
    pub const ACL: u32 = 1 << 29;
    /// Flag: destinations are translated.
    pub const TRANSLATED: u32 = 1 << 28;
    /// Flag: some packets of what leaves are looked at, for flow logs or for top talkers.
    pub const LOGGED: u32 = 1 << 24;
    /// Flag: the egress VIF's tunnels lead to another station.
    pub const TO_STATION: u32 = Ingress::STAYS;
    /// Flag: what came from another station may not leave.
    pub const STAYS: u32 = Ingress::FROM_STATION;
    /// Those of an adjacency that does not send.
    pub const NOWHERE: Facts = Facts { place: NOWHERE, rules: 0 };

    const PORT: u32 = 16;
    /// The length is two more than a multiple of four, whose lower bits are the flag's and the highest of the port's.
    const L2_LEN: u32 = 23;
    const L2_LEN_MASK: u32 = 0b11100;
    const L2_LEN_REST: u32 = 0b10;

    fn of(adjacency: &Adjacency) -> Facts {
        let Adjacency { kind, l2_len, port, metered, has_acl, vif, vrf, mtu, .. } = *adjacency;
        let Adjacency { to_customer, to_station, joins_stations, translated, logged, .. } =
            *adjacency;
        let rules = u32::from(mtu).min(MAX_MTU)
            | u32::from(port.0) << Facts::PORT
            | (u32::from(l2_len) & Facts::L2_LEN_MASK) << Facts::L2_LEN
            | if to_customer { Facts::CUSTOMER } else { 0 }
            | if to_station { Facts::TO_STATION } else { 0 }
            | if joins_stations { 0 } else { Facts::STAYS }
            | if metered { Facts::METERED } else { 0 }
            | if has_acl { Facts::ACL } else { 0 }
            | if translated { Facts::TRANSLATED } else { 0 }
            | if logged { Facts::LOGGED } else { 0 };
        let sends = kind == AdjacencyKind::Forward;
        Facts { place: if sends { place(vif, vrf) } else { NOWHERE }, rules }
    }

    /// The MTU of an adjacency with these rules, in octets of IP packet.
    #[inline(always)]
    pub const fn mtu(rules: u32) -> u32 {
        rules & MAX_MTU
    }

    /// The egress port of an adjacency with these rules.
    #[inline(always)]
    #[expect(clippy::cast_possible_truncation, reason = "it has 8 bits")]
    pub const fn port(rules: u32) -> PortId {
        PortId((rules >> Facts::PORT) as u8)
    }

    /// The same rules by another port.
    #[inline(always)]
    pub const fn by_port(rules: u32, port: PortId) -> u32 {
        rules & !(0xff << Facts::PORT) | (port.0 as u32) << Facts::PORT
    }

    /// Octets of the L2 header, of an adjacency that sends.
    #[inline(always)]
    pub const fn l2_len(rules: u32) -> u32 {
        rules >> Facts::L2_LEN & Facts::L2_LEN_MASK | Facts::L2_LEN_REST
    }
}

/// All adjacencies by [`super::AdjacencyId`]: a slice of them, of which the first is "no route", and their facts.
#[derive(Clone, Debug)]
pub struct AdjacencyTable {
    adjacencies: Box<[Adjacency]>,
    facts: Box<[Facts]>,
    translates: bool,
}

impl AdjacencyTable {
    /// The table of these; of "no route" alone where there are none.
    pub fn new(adjacencies: impl Into<Vec<Adjacency>>) -> AdjacencyTable {
        let mut adjacencies = adjacencies.into();
        if adjacencies.is_empty() {
            adjacencies.push(Adjacency::special(AdjacencyKind::NoRoute, VrfId(0)));
        }
        let facts = adjacencies.iter().map(Facts::of).collect();
        let translates = adjacencies.iter().any(|adjacency| adjacency.translated);
        AdjacencyTable { adjacencies: adjacencies.into(), facts, translates }
    }

    /// What leaves by some adjacency has its destination translated.
    #[inline(always)]
    pub const fn translates(&self) -> bool {
        self.translates
    }

    /// The facts of all.
    #[inline(always)]
    pub fn facts(&self) -> &[Facts] {
        &self.facts
    }
}

impl Default for AdjacencyTable {
    fn default() -> Self {
        AdjacencyTable::new([])
    }
}

impl Deref for AdjacencyTable {
    type Target = [Adjacency];

    #[inline(always)]
    fn deref(&self) -> &[Adjacency] {
        &self.adjacencies
    }
}
