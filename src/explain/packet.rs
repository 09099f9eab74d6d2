//! A frame made from addresses, protocol and ports.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use etherparse::{IpNumber, Ipv4Header, Ipv6Header, PacketBuilder, PacketBuilderStep};

use super::LONGEST;
use crate::tables::{Port, Vif};
use crate::wire::ethernet::{
    ETHERTYPE_IPV4, ETHERTYPE_IPV6, HEADER_LEN, MIN_PAYLOAD, Mac, TAG_LEN,
};
use crate::wire::ipv4::{ICMP, TCP, UDP};
use crate::wire::ipv6::ICMPV6;

/// A sender's MAC: of those that are for documentation (RFC 7042 2.1.2).
const SENDER: Mac = Mac([0, 0, 0x5e, 0, 0x53, 1]);
/// Identifier and sequence number of an echo request.
const ECHO: u16 = 1;

/// A packet, as far as its sender chooses it.
#[derive(Clone, Copy, Debug)]
pub struct Synthetic {
    /// The source address.
    pub from: IpAddr,
    /// The destination address, of the same family.
    pub to: IpAddr,
    /// The IP protocol: TCP begins a connection, ICMP is an echo request, others have a payload of zeros.
    pub protocol: u8,
    /// The source port, where the protocol is TCP or UDP.
    pub source_port: u16,
    /// The destination port, likewise.
    pub destination_port: u16,
    /// TTL or hop limit.
    pub ttl: u8,
    /// Octets of IP packet; the headers alone if not given.
    pub length: Option<u16>,
}

/// Why there is no such packet.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum PacketError {
    /// IPv4 to IPv6, or the other way round.
    #[error("from {0} to {1}: write two addresses of one family")]
    Families(IpAddr, IpAddr),
    /// Shorter than its headers.
    #[error("such a packet has {0} octets or more, not {1}")]
    Short(usize, u16),
    /// Longer than a frame.
    #[error("a packet has {0} octets at most here, not {1}")]
    Long(usize, u16),
    /// It cannot be written.
    #[error("cannot make the packet: {0}")]
    Unwritable(String),
}

/// The frame in which a neighbor on the VIF would send a packet.
pub fn framed(port: &Port, vif: &Vif, is_v4: bool, packet: &[u8]) -> Vec<u8> {
    let ethertype = if is_v4 { ETHERTYPE_IPV4 } else { ETHERTYPE_IPV6 };
    let mut frame = [port.mac.0, SENDER.0].concat();
    for (tpid, vid) in vif.tags.iter() {
        frame.extend([tpid, vid].iter().flat_map(|word| word.to_be_bytes()));
    }
    frame.extend(ethertype.to_be_bytes());
    let head = frame.len();
    frame.extend(packet);
    frame.resize(frame.len().max(head + MIN_PAYLOAD), 0);
    frame
}

impl Synthetic {
    /// The frame that a neighbor on the VIF would send.
    ///
    /// # Errors
    /// [`PacketError`].
    pub fn frame(&self, port: &Port, vif: &Vif) -> Result<Vec<u8>, PacketError> {
        let packet = match (self.from, self.to) {
            (IpAddr::V4(from), IpAddr::V4(to)) => self.v4(from, to)?,
            (IpAddr::V6(from), IpAddr::V6(to)) => self.v6(from, to)?,
            (from, to) => return Err(PacketError::Families(from, to)),
        };
        let frame = framed(port, vif, self.from.is_ipv4(), &packet);
        let head = HEADER_LEN + TAG_LEN * vif.tags.iter().count();
        match self.length {
            Some(length) if frame.len() > LONGEST => Err(PacketError::Long(LONGEST - head, length)),
            _ => Ok(frame),
        }
    }

    fn v4(&self, from: Ipv4Addr, to: Ipv4Addr) -> Result<Vec<u8>, PacketError> {
        let build = PacketBuilder::ipv4(from.octets(), to.octets(), self.ttl);
        match self.protocol {
            TCP => self.write(build.tcp(self.source_port, self.destination_port, 0, 0).syn()),
            UDP => self.write(build.udp(self.source_port, self.destination_port)),
            ICMP => self.write(build.icmpv4_echo_request(ECHO, ECHO)),
            other => {
                let body = self.body(Ipv4Header::MIN_LEN)?;
                let length = u16::try_from(body.len()).unwrap_or(u16::MAX);
                let (from, to) = (from.octets(), to.octets());
                let header = Ipv4Header::new(length, self.ttl, IpNumber(other), from, to);
                let mut header = header.map_err(unwritable)?;
                header.header_checksum = header.calc_header_checksum();
                Ok([&header.to_bytes()[..], &body].concat())
            }
        }
    }

    fn v6(&self, from: Ipv6Addr, to: Ipv6Addr) -> Result<Vec<u8>, PacketError> {
        let build = PacketBuilder::ipv6(from.octets(), to.octets(), self.ttl);
        match self.protocol {
            TCP => self.write(build.tcp(self.source_port, self.destination_port, 0, 0).syn()),
            UDP => self.write(build.udp(self.source_port, self.destination_port)),
            ICMPV6 => self.write(build.icmpv6_echo_request(ECHO, ECHO)),
            other => {
                let body = self.body(Ipv6Header::LEN)?;
                let header = Ipv6Header {
                    payload_length: u16::try_from(body.len()).unwrap_or(u16::MAX),
                    next_header: IpNumber(other),
                    hop_limit: self.ttl,
                    source: from.octets(),
                    destination: to.octets(),
                    ..Default::default()
                };
                Ok([&header.to_bytes()[..], &body].concat())
            }
        }
    }

    /// The zeros behind so many octets of headers.
    fn body(&self, headers: usize) -> Result<Vec<u8>, PacketError> {
        let Some(length) = self.length else { return Ok(Vec::new()) };
        let octets = usize::from(length).checked_sub(headers);
        octets.map(|octets| vec![0; octets]).ok_or(PacketError::Short(headers, length))
    }

    fn write<S: Step>(&self, build: S) -> Result<Vec<u8>, PacketError> {
        let body = self.body(build.headers())?;
        build.packet(&body)
    }
}

/// A packet that needs its payload alone.
trait Step {
    /// Octets of its headers.
    fn headers(&self) -> usize;
    /// The packet.
    fn packet(self, body: &[u8]) -> Result<Vec<u8>, PacketError>;
}

macro_rules! step {
    ($($header:ty),+) => {$(
        impl Step for PacketBuilderStep<$header> {
            fn headers(&self) -> usize {
                self.size(0)
            }

            fn packet(self, body: &[u8]) -> Result<Vec<u8>, PacketError> {
                let mut bytes = Vec::new();
                self.write(&mut bytes, body).map_err(unwritable)?;
                Ok(bytes)
            }
        }
    )+};
}
step!(
    etherparse::TcpHeader,
    etherparse::UdpHeader,
    etherparse::Icmpv4Header,
    etherparse::Icmpv6Header
);

fn unwritable(error: impl std::fmt::Display) -> PacketError {
    PacketError::Unwritable(error.to_string())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::tables::{Pcp, PortId, PortRole, SourceCheck, Tags, VrfId};
    use crate::wire::outline::Outline;

    fn vif(tags: Tags) -> Vif {
        Vif {
            name: "a".into(),
            up: true,
            kind: None,
            port: PortId(0),
            tags,
            vrf: VrfId(0),
            mtu: 1500,
            source_check: SourceCheck::Off,
            acl_in: None,
            acl_out: None,
            flow_log: 0,
            twamp_reflector: false,
            translations: None,
            pcp: Pcp::Preserve,
            overlay: Default::default(),
            joins_stations: false,
            metered: [false; 2],
            limited: [false; 2],
            top_talkers: false,
            addresses: Arc::new([]),
            peers: Arc::new([]),
        }
    }

    fn synthetic(from: &str, to: &str, protocol: u8, length: Option<u16>) -> Synthetic {
        let (from, to) = (from.parse().unwrap(), to.parse().unwrap());
        let (source_port, destination_port) = (7, 443);
        Synthetic { from, to, protocol, source_port, destination_port, ttl: 9, length }
    }

    fn frame(packet: Synthetic, inner: Option<u16>) -> Result<Vec<u8>, PacketError> {
        let port = Port::new("p".into(), Mac([4; 6]), PortRole::Customer);
        packet.frame(&port, &vif(Tags { outer: 100, inner, service: inner.is_some() }))
    }

    #[test]
    fn every_protocol_of_either_family_is_a_sound_packet_of_the_length_asked() {
        for (from, to, protocols) in
            [("10.0.0.1", "10.0.0.2", [1, 6, 17, 47]), ("fd00::1", "fd00::2", [58, 6, 17, 47])]
        {
            for (protocol, length, inner) in protocols
                .into_iter()
                .flat_map(|p| [(p, None, None), (p, Some(200), Some(7)), (p, Some(201), None)])
            {
                let frame = frame(synthetic(from, to, protocol, length), inner).unwrap();
                let outline = Outline::of(&frame);
                assert_eq!(outline.tags, 1 + usize::from(inner.is_some()));
                let packet = &frame[outline.l3..];
                match length {
                    Some(length) => assert_eq!(packet.len(), usize::from(length)),
                    None => assert!(packet.len() >= MIN_PAYLOAD),
                }
                if from.contains('.') {
                    let read = crate::wire::ipv4::Ipv4::parse(packet).unwrap();
                    assert_eq!((read.protocol(), read.ttl()), (protocol, 9));
                } else {
                    let read = crate::wire::ipv6::Ipv6::parse(packet).unwrap();
                    assert_eq!((read.next_header(), read.hop_limit()), (protocol, 9));
                }
            }
        }
    }

    #[test]
    fn what_cannot_be_is_refused() {
        let said = |packet| frame(packet, None).unwrap_err().to_string();
        assert!(said(synthetic("10.0.0.1", "fd00::1", 6, None)).contains("one family"));
        let short = said(synthetic("10.0.0.1", "10.0.0.2", 6, Some(39)));
        assert_eq!(short, "such a packet has 40 octets or more, not 39");
        let long = said(synthetic("fd00::1", "fd00::2", 6, Some(9300)));
        assert_eq!(long, format!("a packet has {} octets at most here, not 9300", LONGEST - 18));
    }
}
