//! The packets of requests, and what is read of their answers.

use std::net::IpAddr;

use etherparse::{IpHeaders, PacketBuilder, TcpOptionElement};

use super::super::icmp::{Message, TTL, build_in, ip_headers};
use super::super::packet::{ICMP, ICMPV6, Packet, ipv4_at, ipv6_at};
use super::{ECHO4, ECHO6, Probe, Tag};
use crate::probes::Question;
use crate::wire::ethernet::{be16, be32};
use crate::wire::ipv4::{TCP, TCP_FLAGS, UDP};

/// The window that a connection is asked with, and the longest segment (RFC 9293 3.7.1): what any host takes.
const WINDOW: u16 = 64_240;
const LONGEST_SEGMENT: u16 = 1220;
/// Flags of TCP.
const RST: u8 = 4;
const SYN: u8 = 2;
const ACK: u8 = 16;

/// The IP header of a request.
pub(super) fn headers(own: IpAddr, probe: &Probe, id: u16) -> Option<IpHeaders> {
    let protocol = match probe.question {
        Question::Echo(_) if own.is_ipv4() => ICMP,
        Question::Echo(_) => ICMPV6,
        Question::Syn(_) => TCP,
        Question::Twamp(..) => UDP,
    };
    let mut ip = ip_headers(own, probe.to, probe.hop_limit, (0, id), protocol)?;
    if let IpHeaders::Ipv4(header, _) = &mut ip {
        header.dont_fragment = probe.dont_fragment;
    }
    Some(ip)
}

/// An ICMP echo request.
pub(super) fn echo(ip: IpHeaders, id: u16, sequence: u16, data: u16) -> Option<Vec<u8>> {
    let ([a, b], [c, d]) = (id.to_be_bytes(), sequence.to_be_bytes());
    let body: Vec<u8> = (0..=u8::MAX).cycle().take(data.into()).collect();
    let kind = if matches!(ip, IpHeaders::Ipv4(..)) { ECHO4.0 } else { ECHO6.0 };
    build_in(ip, Message { head: (kind, 0, [a, b, c, d]), body: &body })
}

/// The segment that asks for a connection (RFC 9293 3.5).
pub(super) fn syn(ip: IpHeaders, [from, to]: [u16; 2], sequence: u32) -> Option<Vec<u8>> {
    let options = [TcpOptionElement::MaximumSegmentSize(LONGEST_SEGMENT)];
    let builder = PacketBuilder::ip(ip).tcp(from, to, sequence, WINDOW).syn();
    let mut bytes = Vec::new();
    builder.options(&options).ok()?.write(&mut bytes, &[]).ok()?;
    Some(bytes)
}

/// A TCP segment that says something of a connection that was asked for.
pub(super) struct Segment {
    pub from: u16,
    pub to: u16,
    pub acknowledged: u32,
    /// It accepts the connection, or refuses it.
    pub accepts: bool,
}

impl Segment {
    /// Of a packet with a right checksum; `None` where the segment says nothing of this kind.
    pub fn of(packet: &Packet<'_>) -> Option<Segment> {
        let header: &[u8; 20] = packet.payload().first_chunk()?;
        let accepts = match header[TCP_FLAGS] & (SYN | ACK | RST) {
            flags if flags == SYN | ACK => true,
            flags if flags == RST | ACK => false,
            _ => return None,
        };
        let [from, to] = [be16(header, 0), be16(header, 2)];
        let acknowledged = be32(header, 8);
        (packet.upper_sum() == 0xffff).then_some(Segment { from, to, acknowledged, accepts })
    }

    /// What says to the sender that there is no connection (RFC 9293 3.5.2, 3.10.7.3).
    pub fn reset(&self, packet: &Packet<'_>, id: u16) -> Option<Vec<u8>> {
        let (own, to) = (packet.destination, packet.source);
        let ip = ip_headers(own, to, TTL, (packet.dscp(), id), TCP)?;
        let builder = PacketBuilder::ip(ip).tcp(self.to, self.from, self.acknowledged, 0).rst();
        let mut bytes = Vec::new();
        builder.write(&mut bytes, &[]).ok()?;
        Some(bytes)
    }
}

/// A request that an ICMP error quotes; the quote may end behind the first eight octets of its upper layer.
pub(super) struct Quoted {
    pub source: IpAddr,
    pub to: IpAddr,
    pub tag: Tag,
    /// The port that was asked; 0 where there are none.
    pub port: u16,
    /// TCP's sequence number.
    pub sequence: Option<u32>,
}

impl Quoted {
    pub fn of(quoted: &[u8]) -> Option<Quoted> {
        let (source, to, protocol, at, echo): (IpAddr, IpAddr, _, _, _) = match quoted.first()? >> 4
        {
            4 => {
                let header = usize::from(quoted[0] & 15) * 4;
                let (source, to) = (ipv4_at(quoted, 12)?.into(), ipv4_at(quoted, 16)?.into());
                (source, to, *quoted.get(9)?, header, (ICMP, ECHO4.0))
            }
            6 => {
                let (source, to) = (ipv6_at(quoted, 8)?.into(), ipv6_at(quoted, 24)?.into());
                (source, to, *quoted.get(6)?, 40, (ICMPV6, ECHO6.0))
            }
            _ => return None,
        };
        let request = quoted.get(at..)?.first_chunk::<8>()?;
        let (tag, port, sequence) = match protocol {
            TCP | UDP => {
                let tag = Tag::Port(protocol, be16(request, 0));
                (tag, be16(request, 2), (protocol == TCP).then(|| be32(request, 4)))
            }
            _ if (protocol, request[0]) == echo => {
                (Tag::Echo(be16(request, 4), be16(request, 6)), 0, None)
            }
            _ => return None,
        };
        Some(Quoted { source, to, tag, port, sequence })
    }
}
