//! What stands in front of a copy, and by which way it goes.

use std::net::IpAddr;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering::Relaxed;

use crate::fib::FibReader;
use crate::port::{Octets, Packet};
use crate::tables::mirrors::{Carrier, Destination};
use crate::tables::rules::under;
use crate::tables::tunnel::{Dscp, Inner, Marking, OUTER4, OUTER6, Outer, UDP_AND_VXLAN};
use crate::tables::{Adjacency, GroupId, MAX_L2, PortId, Snapshot};
use crate::wire::Start;
use crate::wire::erspan::{self, GRE};
use crate::wire::ethernet::{
    ETHERTYPE_IPV4, ETHERTYPE_IPV6, ETHERTYPE_SERVICE_TAG, ETHERTYPE_VLAN, TAG_LEN, be16,
};
use crate::wire::ipv6::is_link_local;
use crate::wire::{checksum, ipv4, ipv6};

/// MACs, which stand before a frame's first tag.
const MACS: usize = 12;
/// The hop limit and TTL of copies.
const TTL: u8 = 64;
/// Octets in front of a copy at most: MACs, two tags and ethertype, IPv6, GRE and ERSPAN type III.
const MOST: usize = MAX_L2 + 2 + ipv6::HEADER_LEN + erspan::TYPE3;

/// By which way copies of a mirror go.
#[derive(Debug)]
pub(super) struct Way {
    /// The port.
    pub port: PortId,
    /// Octets of a mirrored frame that there is room for.
    pub room: usize,
    /// By which adjacency, and from where to where, in a VRF.
    tunnel: Option<(Adjacency, [IpAddr; 2])>,
}

/// A way as it was found.
#[derive(Debug, Default)]
pub(super) struct Known {
    way: Option<Way>,
    /// By which tables, and after how many changes of routes. None before the first look.
    by: Option<(u64, u64)>,
}

impl Known {
    /// The way, found anew where tables or routes are others; `None` where there is none.
    pub fn now(&mut self, to: &Destination, tables: &Snapshot, fib: &FibReader) -> Option<&Way> {
        let changes = match to {
            Destination::Vlan { .. } => 0,
            Destination::Tunnel { vrf, .. } => fib.changes(vrf.0.into()),
        };
        let now = Some((tables.generation, changes));
        if self.by != now {
            *self = Known { way: Way::find(to, tables, fib), by: now };
        }
        self.way.as_ref()
    }
}

/// What is copied.
pub(super) struct Copied<'a> {
    /// The frame.
    pub packet: Packet<'a>,
    /// Octets of it that are copied.
    pub kept: usize,
    /// It left.
    pub outbound: bool,
    /// When.
    pub now_ns: u64,
}

/// What stands in front of a copy.
pub(super) struct Front {
    octets: [u8; MOST],
    len: usize,
    /// Octets of the frame in whose stead it stands.
    instead_of: usize,
}

impl Front {
    const NONE: Front = Front { octets: [0; MOST], len: 0, instead_of: 0 };

    fn push(&mut self, octets: &[u8]) {
        if let Some(room) = self.octets.get_mut(self.len..self.len + octets.len()) {
            room.copy_from_slice(octets);
            self.len += octets.len();
        }
    }

    /// All of it.
    pub fn octets(&self) -> &[u8] {
        &self.octets[..self.len]
    }

    /// How many octets of the frame it stands for.
    pub const fn instead_of(&self) -> usize {
        self.instead_of
    }
}

impl Way {
    fn find(to: &Destination, tables: &Snapshot, fib: &FibReader) -> Option<Way> {
        match *to {
            Destination::Vlan { port, room, .. } => {
                let is_up = tables.ports.get(port.index()).is_some_and(|port| port.up);
                let room = room.saturating_sub(TAG_LEN);
                is_up.then_some(Way { port, room, tunnel: None })
            }
            Destination::Tunnel { vrf, remote, carrier, .. } => {
                let way = tables.groups.way(GroupId(fib.lookup(vrf.0.into(), remote)));
                // All copies take one way, so that they come in their order.
                let to = under(tables, vrf, way, 0).ok()?;
                let vif = tables.vif(to.vif).filter(|_| to.port < PortId::FIRST_VTEP)?;
                let fits = |own: &IpAddr| own.is_ipv4() == remote.is_ipv4() && !is_link_local(*own);
                let own = vif.addresses.iter().map(ipnet::IpNet::addr).find(fits)?;
                let room = usize::from(to.mtu).checked_sub(overhead(carrier, remote))?;
                Some(Way { port: to.port, room, tunnel: Some((*to, [own, remote])) })
            }
        }
    }

    /// What stands in front of a copy; `None` where the frame has no room for it, or no MACs. Copies in GRE are
    /// numbered.
    pub fn front(&self, to: &Destination, of: &Copied<'_>, numbered: &AtomicU32) -> Option<Front> {
        let mut front = Front::NONE;
        let Start { octets, len } = of.packet.start();
        let packet = octets.get(..of.kept.min(octets.len()))?;
        let (carrier, (egress, ends)) = match (to, &self.tunnel) {
            (Destination::Tunnel { carrier, .. }, Some(tunnel)) => (*carrier, *tunnel),
            (Destination::Tunnel { .. }, None) => return None,
            (Destination::Vlan { vlan, .. }, _) => {
                front.push(packet.get(..MACS)?);
                front.push(&ETHERTYPE_VLAN.to_be_bytes());
                front.push(&vlan.to_be_bytes());
                front.instead_of = MACS;
                return Some(front);
            }
        };
        front.push(egress.l2());
        let kind = if ends[0].is_ipv4() { ETHERTYPE_IPV4 } else { ETHERTYPE_IPV6 };
        front.push(&kind.to_be_bytes());
        let gre = |front: &mut Front, header: &[u8]| {
            push_ip(front, ends, header.len() + of.kept);
            front.push(header);
        };
        let copied = |session| {
            let tag = packet.get(MACS..MACS + TAG_LEN);
            let is_tag = |kind| matches!(kind, ETHERTYPE_VLAN | ETHERTYPE_SERVICE_TAG);
            erspan::Copied {
                session,
                sequence: numbered.fetch_add(1, Relaxed),
                tci: tag.filter(|tag| is_tag(be16(tag, 0))).map(|tag| be16(tag, 2)),
                truncated: of.kept < len,
                outbound: of.outbound,
                now_ns: of.now_ns,
            }
        };
        match carrier {
            Carrier::Erspan2(session) => gre(&mut front, &copied(session).type2()),
            Carrier::Erspan3(session) => gre(&mut front, &copied(session).type3()),
            Carrier::Vxlan(vni) => {
                let inner = Inner { octets: of.kept, class: 0, flow: 0 };
                match Outer::new(ends, vni, Marking::new(Dscp::Pipe(0)))? {
                    Outer::V4(outer) => {
                        let mut octets = [0; OUTER4];
                        outer.write(&mut octets, inner);
                        front.push(&octets);
                    }
                    Outer::V6(outer) => {
                        let mut octets = [0; OUTER6];
                        let end = u32::try_from(of.kept).ok()?;
                        outer.write(&mut octets, inner, of.packet.sum(0, end));
                        front.push(&octets);
                    }
                }
            }
        }
        Some(front)
    }
}

/// Octets that a carrier puts in front of a frame, from the IP header on.
const fn overhead(carrier: Carrier, remote: IpAddr) -> usize {
    let ip = if remote.is_ipv4() { ipv4::HEADER_LEN } else { ipv6::HEADER_LEN };
    match carrier {
        Carrier::Vxlan(_) => ip + UDP_AND_VXLAN,
        Carrier::Erspan2(_) => ip + erspan::TYPE2,
        Carrier::Erspan3(_) => ip + erspan::TYPE3,
    }
}

/// The IP header of GRE with so many octets behind it. It is never fragmented: DF is set in IPv4, and so the
/// identification means nothing (RFC 6864 4.1).
#[expect(clippy::cast_possible_truncation, reason = "a frame has at most 4096 octets")]
fn push_ip(front: &mut Front, ends: [IpAddr; 2], payload: usize) {
    match ends {
        [IpAddr::V4(own), IpAddr::V4(remote)] => {
            let first = 0x4500_0000 | (ipv4::HEADER_LEN + payload) as u32;
            let protocol = u32::from(TTL) << 24 | u32::from(GRE) << 16;
            let mut words = [first, 0x4000, protocol, own.to_bits(), remote.to_bits()];
            words[2] |= u32::from(!checksum::fold(checksum::halves(words)));
            front.push(words.map(u32::to_be_bytes).as_flattened());
        }
        [own, remote] => {
            let second = (payload as u32) << 16 | u32::from(GRE) << 8 | u32::from(TTL);
            front.push([6 << 28, second].map(u32::to_be_bytes).as_flattened());
            for address in [own, remote] {
                if let IpAddr::V6(address) = address {
                    front.push(&address.octets());
                }
            }
        }
    }
}
