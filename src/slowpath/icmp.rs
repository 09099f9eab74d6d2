//! ICMP errors (RFC 792, RFC 1812 4.3, RFC 4443): which packets may be answered by one, how often,
//! and what it says.

use std::collections::HashMap;
use std::net::IpAddr;

use etherparse::{
    IpDscp, IpFragOffset, IpHeaders, IpNumber, Ipv4Header, Ipv6Header, PacketBuilder,
};

use super::egress::Ingress;
use super::packet::{ICMP, ICMPV6, Packet, own_address};
use super::{Output, SlowPath};
use crate::shares::{Pool, SharedRate, Taken};
use crate::tables::rules::{is_host_in, is_ours, is_subnet_broadcast};
use crate::tables::{SlowOutcome, VifId};

/// ICMP errors to senders behind a VIF (RFC 1812 4.3.2.8, RFC 4443 2.4 (f)). Those of one kind about
/// packets for one VIF alone: 200 a second, 50 at once.
const ERRORS: SharedRate =
    SharedRate { pool: Pool::IcmpErrors, tokens: 100, window_ns: 250_000_000 };
/// TTL and hop limit of what the router sends.
pub const TTL: u8 = 64;
/// Longest ICMP error about an IPv4 packet: what every host can receive (RFC 1812 4.3.2.3).
const MAX_ERROR4: usize = 576;
/// Longest ICMPv6 error: the minimum MTU (RFC 4443 2.4 (c)).
const MAX_ERROR6: usize = 1280;
/// Internetwork control (RFC 1812 4.3.2.5).
const CONTROL: u8 = 48;

/// What is wrong with a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Problem {
    /// TTL or hop limit ran out.
    TtlExceeded,
    /// No route.
    NoRoute,
    /// The destination, or the next hop to it, does not answer; or the route says so.
    HostUnreachable,
    /// The route is `prohibit`.
    Prohibited,
    /// Nothing listens there.
    PortUnreachable,
    /// A link-local source would have to leave its link (IPv6).
    BeyondScope,
    /// Longer than this MTU.
    TooBig(u16),
    /// The octet at this offset is wrong (IPv4 options, IPv6 routing header).
    Parameter(u16),
}

impl Problem {
    /// Type, code and the word behind the checksum.
    fn icmp4(self) -> Option<(u8, u8, [u8; 4])> {
        let (kind, code) = match self {
            Problem::TtlExceeded => (11, 0),
            Problem::NoRoute => (3, 0),
            Problem::HostUnreachable => (3, 1),
            Problem::PortUnreachable => (3, 3),
            Problem::Prohibited => (3, 13),
            Problem::BeyondScope => return None,
            Problem::TooBig(mtu) => {
                let [high, low] = mtu.to_be_bytes();
                return Some((3, 4, [0, 0, high, low]));
            }
            Problem::Parameter(at) => {
                return Some((12, 0, [u8::try_from(at).ok()?, 0, 0, 0]));
            }
        };
        Some((kind, code, [0; 4]))
    }

    fn icmp6(self) -> (u8, u8, [u8; 4]) {
        match self {
            Problem::TtlExceeded => (3, 0, [0; 4]),
            Problem::NoRoute => (1, 0, [0; 4]),
            Problem::Prohibited => (1, 1, [0; 4]),
            Problem::BeyondScope => (1, 2, [0; 4]),
            Problem::HostUnreachable => (1, 3, [0; 4]),
            Problem::PortUnreachable => (1, 4, [0; 4]),
            Problem::TooBig(mtu) => (2, 0, u32::from(mtu).to_be_bytes()),
            Problem::Parameter(at) => (4, 0, u32::from(at).to_be_bytes()),
        }
    }
}

/// Whether an ICMP error may answer the packet (RFC 1122 3.2.2, RFC 1812 4.3.2.7, RFC 4443 2.4 (e)).
pub fn allowed(from: &Ingress<'_>, packet: &Packet<'_>) -> bool {
    let (source, destination) = (packet.source, packet.destination);
    !from.group
        && is_host_in(from.view.snapshot, from.vif.vrf, source)
        && !is_subnet_broadcast(from.vif, source)
        && !is_ours(from.vif, source)
        && !destination.is_multicast()
        && destination != IpAddr::from([0xff; 4])
        && !is_subnet_broadcast(from.vif, destination)
        && may_have_no_error(packet)
        && !is_icmp_error(packet)
}

/// Whether it can be told that the packet is no ICMP error, or need not: of IPv4 fragments the first alone is answered (RFC
/// 1122 3.2.2), of IPv6 ones all (RFC 4443 2.4 (e) excepts none; an error is too short to be fragmented).
fn may_have_no_error(packet: &Packet<'_>) -> bool {
    packet.upper.is_some() || packet.later_fragment && packet.source.is_ipv6()
}

/// An ICMP error, or ICMP that cannot be told from one.
fn is_icmp_error(packet: &Packet<'_>) -> bool {
    let kind = packet.payload().first();
    match packet.protocol() {
        // Queries and their replies; a new kind might be an error (RFC 1122 3.2.2).
        ICMP if packet.source.is_ipv4() => {
            !matches!(kind, Some(0 | 8 | 9 | 10 | 13 | 14 | 15 | 16 | 17 | 18))
        }
        ICMPV6 if packet.source.is_ipv6() => matches!(kind, None | Some(0..=127 | 137)),
        _ => false,
    }
}

/// What an ICMP message says.
#[derive(Clone, Copy)]
pub struct Message<'a> {
    /// Type, code, word.
    pub head: (u8, u8, [u8; 4]),
    /// What follows the first 8 octets.
    pub body: &'a [u8],
}

/// An IP packet with an ICMP message of the addresses' family. `class`: DSCP and identification.
/// `None` where it is too long.
pub fn build(
    source: IpAddr,
    destination: IpAddr,
    hop_limit: u8,
    class: (u8, u16),
    message: Message<'_>,
) -> Option<Vec<u8>> {
    let protocol = if source.is_ipv4() { ICMP } else { ICMPV6 };
    build_in(ip_headers(source, destination, hop_limit, class, protocol)?, message)
}

/// The same in an IP header of the family's ICMP.
pub fn build_in(ip: IpHeaders, message: Message<'_>) -> Option<Vec<u8>> {
    let (kind, code, word) = message.head;
    let v4 = matches!(ip, IpHeaders::Ipv4(..));
    let builder = PacketBuilder::ip(ip);
    let mut bytes = Vec::new();
    match v4 {
        true => builder.icmpv4_raw(kind, code, word).write(&mut bytes, message.body),
        false => builder.icmpv6_raw(kind, code, word).write(&mut bytes, message.body),
    }
    .ok()?;
    Some(bytes)
}

/// The IP header of a packet of the router itself, between addresses of one family. `class`: DSCP and identification.
pub fn ip_headers(
    source: IpAddr,
    destination: IpAddr,
    hop_limit: u8,
    class: (u8, u16),
    protocol: u8,
) -> Option<IpHeaders> {
    let (dscp, id) = class;
    let protocol = IpNumber(protocol);
    match (source, destination) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => {
            let header = Ipv4Header {
                dscp: IpDscp::try_new(dscp).ok()?,
                identification: id,
                dont_fragment: false,
                fragment_offset: IpFragOffset::ZERO,
                ..Ipv4Header::new(0, hop_limit, protocol, source.octets(), destination.octets())
                    .ok()?
            };
            Some(IpHeaders::Ipv4(header, Default::default()))
        }
        (IpAddr::V6(source), IpAddr::V6(destination)) => {
            let header = Ipv6Header {
                traffic_class: dscp << 2,
                next_header: protocol,
                hop_limit,
                source: source.octets(),
                destination: destination.octets(),
                ..Default::default()
            };
            Some(IpHeaders::Ipv6(header, Default::default()))
        }
        _ => None,
    }
}

/// The kinds of errors that do not use up each other's budget.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Kind {
    Expired,
    TooBig,
    Other,
}

impl Problem {
    const fn kind(self) -> Kind {
        match self {
            Problem::TtlExceeded => Kind::Expired,
            Problem::TooBig(_) => Kind::TooBig,
            _ => Kind::Other,
        }
    }
}

/// The ICMP errors to senders behind one VIF.
#[derive(Debug, Default)]
struct VifErrors {
    all: Taken,
    window: u64,
    /// Those of the window, by the VIF that the packets were for and by kind.
    shares: HashMap<(VifId, Kind), Taken>,
}

/// The budgets of ICMP errors, by ingress VIF.
#[derive(Debug, Default)]
pub struct Errors(Vec<VifErrors>);

impl Errors {
    fn take(&mut self, from: &Ingress<'_>, tenant: VifId, kind: Kind) -> bool {
        let now = from.view.now_ns;
        if self.0.len() <= from.id.index() {
            self.0.resize_with(from.id.index() + 1, VifErrors::default);
        }
        let errors = &mut self.0[from.id.index()];
        if errors.window != ERRORS.window(now) {
            errors.window = ERRORS.window(now);
            errors.shares.clear();
        }
        let share = errors.shares.entry((tenant, kind)).or_default();
        ERRORS.take(now, &mut errors.all, share)
    }
}

/// The VIF that a packet is for, as far as a route says; else its own.
fn tenant(from: &Ingress<'_>, packet: &Packet<'_>) -> VifId {
    let snapshot = from.view.snapshot;
    let group = (from.view.fib)(from.vif.vrf, packet.destination);
    let adjacency = snapshot.groups.buckets(group).first().map(|id| snapshot.adjacency(*id));
    let leads = adjacency.filter(|adjacency| adjacency.mtu > 0);
    leads.map_or(from.id, |adjacency| adjacency.vif)
}

impl SlowPath {
    /// Answers a packet with an ICMP error, if that is allowed and not too often.
    pub(super) fn error(
        &mut self,
        from: &Ingress<'_>,
        packet: &Packet<'_>,
        problem: Problem,
        out: &mut Vec<Output>,
    ) -> SlowOutcome {
        if !allowed(from, packet) {
            return SlowOutcome::IcmpNotAllowed;
        }
        let (head, longest) = match packet.source {
            IpAddr::V4(_) => (problem.icmp4(), MAX_ERROR4 - 28),
            IpAddr::V6(_) => (Some(problem.icmp6()), MAX_ERROR6 - 48),
        };
        let (Some(own), Some(head)) = (own_address(from.vif, packet.source), head) else {
            return SlowOutcome::IcmpNotAllowed;
        };
        if !self.errors.take(from, tenant(from, packet), problem.kind()) {
            return SlowOutcome::IcmpRate;
        }
        let body = &packet.bytes[..packet.bytes.len().min(longest)];
        let class = (CONTROL, self.next_id());
        match build(own, packet.source, TTL, class, Message { head, body }) {
            Some(answer) => self.answer(from, packet.source, answer, out),
            None => SlowOutcome::IcmpNotAllowed,
        }
    }

    /// The identification of the next IPv4 packet that the router itself sends.
    pub(super) fn next_id(&mut self) -> u16 {
        self.id = self.id.wrapping_add(1);
        self.id
    }
}
