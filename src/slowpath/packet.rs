//! A checked view of one IP packet of either family: the fields that the slow path decides by.
//! Nothing here panics on any bytes; what does not parse is `None`.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::tables::{PortId, Vif};
use crate::wire::checksum;
use crate::wire::ethernet::be16;
pub use crate::wire::ipv4::{ICMP, UDP};
pub use crate::wire::ipv6::ICMPV6;
use crate::wire::ipv6::{Upper, is_link_local, upper};

/// A packet with sound headers, trimmed to its length field.
#[derive(Clone, Copy, Debug)]
pub struct Packet<'a> {
    /// From the IP header on.
    pub bytes: &'a [u8],
    /// The IP header with IPv4 options, without IPv6 extension headers. Octets.
    pub header: usize,
    /// The source address.
    pub source: IpAddr,
    /// The destination address.
    pub destination: IpAddr,
    /// TTL or hop limit.
    pub hop_limit: u8,
    /// The upper-layer protocol and the offset of its header; `None` where it cannot be seen (a
    /// fragment other than the first, or extension headers that end early).
    pub upper: Option<(u8, usize)>,
    /// A part of a fragmented packet.
    pub fragment: bool,
    /// A part that is not the first.
    pub later_fragment: bool,
    /// Offset of an IPv6 routing header that still has segments to visit.
    pub routing: Option<usize>,
}

impl<'a> Packet<'a> {
    /// Reads the packet at the start of `bytes`; what follows it (padding) is cut off.
    pub fn parse(bytes: &'a [u8]) -> Option<Packet<'a>> {
        match bytes.first()? >> 4 {
            4 => Self::parse4(bytes),
            6 => Self::parse6(bytes),
            _ => None,
        }
    }

    /// RFC 1812 5.2.2: the checks without which no other field can be trusted.
    fn parse4(bytes: &'a [u8]) -> Option<Packet<'a>> {
        if bytes.len() < 20 {
            return None;
        }
        let header = usize::from(bytes[0] & 0xf) * 4;
        let total = usize::from(be16(bytes, 2));
        if header < 20 || total < header || bytes.len() < total {
            return None;
        }
        if checksum::sum(&bytes[..header]) != 0xffff {
            return None;
        }
        let fragmentation = be16(bytes, 6);
        let later = fragmentation & 0x1fff != 0;
        Some(Packet {
            bytes: &bytes[..total],
            header,
            source: ipv4_at(bytes, 12)?.into(),
            destination: ipv4_at(bytes, 16)?.into(),
            hop_limit: bytes[8],
            upper: (!later).then_some((bytes[9], header)),
            fragment: later || fragmentation & 0x2000 != 0,
            later_fragment: later,
            routing: None,
        })
    }

    fn parse6(bytes: &'a [u8]) -> Option<Packet<'a>> {
        if bytes.len() < 40 {
            return None;
        }
        let bytes = bytes.get(..40 + usize::from(be16(bytes, 4)))?;
        let Upper { protocol, fragment, later_fragment, routing, .. } = upper(bytes);
        Some(Packet {
            bytes,
            header: 40,
            source: ipv6_at(bytes, 8)?.into(),
            destination: ipv6_at(bytes, 24)?.into(),
            hop_limit: bytes[7],
            upper: protocol,
            fragment,
            later_fragment,
            routing,
        })
    }

    /// The upper-layer protocol, 0 where it cannot be seen.
    pub fn protocol(&self) -> u8 {
        self.upper.map_or(0, |(protocol, _)| protocol)
    }

    /// The upper-layer packet, header included.
    pub fn payload(&self) -> &'a [u8] {
        self.upper.and_then(|(_, at)| self.bytes.get(at..)).unwrap_or_default()
    }

    /// The differentiated services code point.
    pub fn dscp(&self) -> u8 {
        match *self.bytes {
            [first, second, ..] if self.source.is_ipv6() => (first << 4 | second >> 4) >> 2,
            [_, second, ..] => second >> 2,
            _ => 0,
        }
    }

    /// IPv4 with DF set, or IPv6: routers must not fragment it.
    pub fn dont_fragment(&self) -> bool {
        self.source.is_ipv6() || be16(self.bytes, 6) & 0x4000 != 0
    }

    /// The ICMP message, if this is one of the packet's own family and its checksum is right.
    pub fn icmp(&self) -> Option<&'a [u8]> {
        let message = self.payload();
        if message.len() < 8 {
            return None;
        }
        let sum = match (self.source, self.destination, self.protocol()) {
            (IpAddr::V4(_), IpAddr::V4(_), ICMP) => checksum::sum(message),
            (IpAddr::V6(_), IpAddr::V6(_), ICMPV6) => self.upper_sum(),
            _ => return None,
        };
        (sum == 0xffff).then_some(message)
    }

    /// What the upper layer's checksum covers beside it.
    pub fn pseudo_header(&self) -> PseudoHeader {
        let mut octets = [0; PseudoHeader::IPV6];
        // What it is the length of is part of an IP packet, whose length is less.
        let length = u16::try_from(self.payload().len()).unwrap_or(u16::MAX).to_be_bytes();
        let protocol = self.protocol();
        let end = match (self.source, self.destination) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => {
                octets[..4].copy_from_slice(&source.octets());
                octets[4..8].copy_from_slice(&destination.octets());
                octets[9] = protocol;
                octets[10..12].copy_from_slice(&length);
                PseudoHeader::IPV4
            }
            (source, destination) => {
                octets[..16].copy_from_slice(&in_ipv6(source));
                octets[16..32].copy_from_slice(&in_ipv6(destination));
                octets[34..36].copy_from_slice(&length);
                octets[39] = protocol;
                PseudoHeader::IPV6
            }
        };
        PseudoHeader { octets, end }
    }

    /// The sum over the upper layer and its pseudo header: 0xffff where its checksum is right.
    pub fn upper_sum(&self) -> u16 {
        // Partial sums add up like any two words (RFC 1071).
        let sums = [self.pseudo_header().octets(), self.payload()].map(checksum::sum);
        checksum::sum(sums.map(u16::to_be_bytes).as_flattened())
    }
}

/// The pseudo header of TCP, UDP and ICMPv6 (RFC 9293 3.1, RFC 8200 8.1).
pub struct PseudoHeader {
    octets: [u8; PseudoHeader::IPV6],
    end: usize,
}

impl PseudoHeader {
    const IPV4: usize = 12;
    const IPV6: usize = 40;

    /// Its octets.
    pub fn octets(&self) -> &[u8] {
        &self.octets[..self.end]
    }
}

fn in_ipv6(address: IpAddr) -> [u8; 16] {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped().octets(),
        IpAddr::V6(address) => address.octets(),
    }
}

/// Computes an IPv4 header's checksum anew. `header` has 20 octets or more.
pub fn seal(header: &mut [u8]) {
    header[10..12].fill(0);
    let sum = !checksum::sum(header);
    header[10..12].copy_from_slice(&sum.to_be_bytes());
}

/// The IPv4 address at `at`, if it is there.
pub fn ipv4_at(bytes: &[u8], at: usize) -> Option<Ipv4Addr> {
    bytes.get(at..)?.first_chunk::<4>().map(|octets| Ipv4Addr::from(*octets))
}

/// The IPv6 address at `at`, if it is there.
pub fn ipv6_at(bytes: &[u8], at: usize) -> Option<Ipv6Addr> {
    bytes.get(at..)?.first_chunk::<16>().map(|octets| Ipv6Addr::from(*octets))
}

/// The VIF's own address to speak to `peer` with: one in the peer's subnet; else, of the family, a
/// global one.
pub fn own_address(vif: &Vif, peer: IpAddr) -> Option<IpAddr> {
    let mut family = vif.addresses.iter().filter(|net| net.addr().is_ipv4() == peer.is_ipv4());
    if let Some(net) = family.clone().find(|net| net.contains(&peer)) {
        return Some(net.addr());
    }
    let global = family.find(|net| !is_link_local(net.addr())).map(|net| net.addr());
    if is_link_local(peer) {
        // A configured link-local address may come without its /64.
        let own = vif.addresses.iter().map(|net| net.addr()).find(|own| is_link_local(*own));
        return own.or(global);
    }
    global
}

/// The priority and drop eligibility of a frame whose packet begins at `l3`, as a TCI's upper four bits have them; `None`
/// where its tags are not this VIF's: the frame is older than the VIF. A priority tag may follow the VIF's own.
pub fn priority_if_from(vif: &Vif, port: PortId, frame: &[u8], l3: usize) -> Option<u8> {
    let mut tags = frame.get(12..l3.checked_sub(2)?)?.chunks_exact(4).map(|tag| be16(tag, 2));
    let mut tci = tags.clone().next()?;
    let vid = |tci: u16| tci & crate::wire::ethernet::VID_MASK;
    let ours = vif.tags.iter().all(|(_, of_vif)| tags.next().is_some_and(|tci| vid(tci) == of_vif));
    if let Some(priority) = tags.next() {
        tci = Some(priority).filter(|tci| vid(*tci) == 0)?;
    }
    let whole = tags.next().is_none() && (l3 - 14).is_multiple_of(4);
    (vif.port == port && ours && whole).then(|| tci.to_be_bytes()[0] >> 4)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An IPv6 packet whose extension headers are `chain`; the last one's next header is set by it.
    fn ipv6(first: u8, chain: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0x60, 0, 0, 0];
        bytes.extend(u16::try_from(chain.len()).unwrap().to_be_bytes());
        bytes.extend([first, 64]);
        bytes.extend("2001:db8::1".parse::<Ipv6Addr>().unwrap().octets());
        bytes.extend("2001:db8::2".parse::<Ipv6Addr>().unwrap().octets());
        bytes.extend(chain);
        bytes
    }

    #[test]
    fn extension_headers_lead_to_the_upper_layer() {
        let chain =
            [[60, 0, 0, 0, 0, 0, 0, 0], [58, 0, 0, 0, 0, 0, 0, 0], [128, 0, 0, 0, 0, 0, 0, 0]];
        let bytes = ipv6(0, &chain.concat());
        let packet = Packet::parse(&bytes).unwrap();
        assert_eq!(packet.upper, Some((58, 56)));
        assert!(!packet.fragment);
    }

    #[test]
    fn row_49_an_atomic_fragment_is_not_a_fragment() {
        let udp = [0; 8];
        for (offset, fragment, upper) in
            [(0u16, false, Some((17, 48))), (1, true, Some((17, 48))), (8, true, None)]
        {
            let [high, low] = offset.to_be_bytes();
            let bytes = ipv6(44, &[[17, 0, high, low, 0, 0, 0, 1], udp].concat());
            let packet = Packet::parse(&bytes).unwrap();
            assert_eq!((packet.fragment, packet.upper), (fragment, upper), "{offset}");
        }
    }

    #[test]
    fn extension_headers_that_end_early_hide_the_upper_layer() {
        let bytes = ipv6(0, &[58, 1, 0, 0, 0, 0, 0, 0]);
        assert_eq!(Packet::parse(&bytes).unwrap().upper, Some((58, 56)));
        assert!(Packet::parse(&bytes).unwrap().payload().is_empty());
        let bytes = ipv6(0, &[43, 0, 0, 0, 0, 0, 0, 0, 58, 0]);
        assert_eq!(Packet::parse(&bytes).unwrap().upper, None);
    }

    #[test]
    fn a_link_local_peer_gets_a_link_local_source() {
        let vif = crate::slowpath::testing::vif(&["fd00::1/64", "fe80::1/64", "10.0.0.1/24"]);
        let own = |peer: &str| own_address(&vif, peer.parse().unwrap()).unwrap().to_string();
        assert_eq!(own("fe80::2"), "fe80::1");
        assert_eq!(own("fd00::2"), "fd00::1");
        assert_eq!(own("2001:db8::1"), "fd00::1");
        assert_eq!(own("192.0.2.1"), "10.0.0.1");
        let only = crate::slowpath::testing::vif(&["fe80::1/64"]);
        assert_eq!(own_address(&only, "2001:db8::1".parse().unwrap()), None);
        assert_eq!(own_address(&only, "10.0.0.1".parse().unwrap()), None);
    }
}
