//! Adjacencies: the resolved egress of a next hop, ready to be written in front of a packet.

use std::net::{IpAddr, Ipv4Addr};

use super::ids::{PortId, VifId, VrfId};
use super::verdict::{DropReason, PuntReason, Verdict};
use super::vif::{Pcp, Vif};
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
}

impl AdjacencyKind {
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
        }
    }
}

/// The longest L2 header in front of an IP packet: MACs, two tags, ethertype. Octets.
pub const MAX_L2: usize = 22;

/// One egress. A cache line, so that a packet's rewrite touches one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(align(64))]
pub struct Adjacency {
    /// What to do.
    pub kind: AdjacencyKind,
    /// Length of `l2` in use: 14, 18 or 22 octets.
    pub l2_len: u8,
    /// The egress port (meaningful for `Forward`).
    pub port: PortId,
    /// The operator configured the MAC: the slow path neither ages nor replaces it.
    pub static_neighbor: bool,
    /// The egress VIF is a customer's.
    pub to_customer: bool,
    /// Frames keep the priority (PCP) they came with; else `l2` holds it.
    pub preserve_pcp: bool,
    /// The egress VIF (also for `Unresolved`, `Glean`, `Local` and `Broadcast`).
    pub vif: VifId,
    /// The VRF this adjacency belongs to: a frame of another VRF never leaves here.
    pub vrf: VrfId,
    /// Longest IP packet, in octets, without L2 header.
    pub mtu: u16,
    /// Destination MAC, source MAC, tags, and room for the ethertype at `l2_len - 2`.
    pub l2: [u8; MAX_L2],
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
            preserve_pcp: false,
            vif: VifId(0),
            vrf,
            mtu: 0,
            l2: [0; MAX_L2],
            address: IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        }
    }

    /// An adjacency on a VIF that has no MAC (`Unresolved`, `Glean`, `Local`, `Broadcast`).
    pub fn on_vif(kind: AdjacencyKind, id: VifId, vif: &Vif, address: IpAddr) -> Self {
        Adjacency {
            port: vif.port,
            vif: id,
            to_customer: vif.kind.is_some(),
            mtu: vif.mtu,
            address,
            ..Adjacency::special(kind, vif.vrf)
        }
    }

    /// The adjacency of a next hop whose MAC is known. `source` is the egress port's MAC.
    pub fn forward(id: VifId, vif: &Vif, address: IpAddr, next_hop: Mac, source: Mac) -> Self {
        let mut adjacency = Adjacency::on_vif(AdjacencyKind::Forward, id, vif, address);
        adjacency.preserve_pcp = vif.pcp == Pcp::Preserve;
        adjacency.l2[..6].copy_from_slice(&next_hop.0);
        adjacency.l2[6..12].copy_from_slice(&source.0);
        let mut at = 12;
        for (tpid, vid) in vif.tags.iter() {
            let tci = vid | u16::from(vif.pcp.egress()) << 13;
            adjacency.l2[at..at + 2].copy_from_slice(&tpid.to_be_bytes());
            adjacency.l2[at + 2..at + 4].copy_from_slice(&tci.to_be_bytes());
            at += 4;
        }
        adjacency.l2_len = u8::try_from(at + 2).unwrap_or(14);
        adjacency
    }
}
