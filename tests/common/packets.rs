//! Packets and frames, written and read by etherparse and by plain octets, never by the station's code.

use std::net::IpAddr;

use etherparse::{
    Ipv4HeaderSlice, Ipv6HeaderSlice, NetSlice, PacketBuilder, SlicedPacket, TransportSlice,
};
use station::wire::ethernet::Mac;

pub const IPV4: u16 = 0x0800;
pub const ARP: u16 = 0x0806;
pub const IPV6: u16 = 0x86dd;

/// An Ethernet frame with any tags (TPID, TCI).
pub fn frame(to: Mac, from: Mac, tags: &[(u16, u16)], ethertype: u16, payload: &[u8]) -> Vec<u8> {
    let mut frame = [to.0, from.0].concat();
    for (tpid, tci) in tags {
        frame.extend(tpid.to_be_bytes());
        frame.extend(tci.to_be_bytes());
    }
    frame.extend(ethertype.to_be_bytes());
    frame.extend(payload);
    frame
}

/// The frame as the station sends it: with zeros behind it up to the shortest payload that Ethernet carries (IEEE 802.3
/// 3.2.8), which are 46 octets behind the ethertype, however many tags there are.
pub fn padded(mut frame: Vec<u8>) -> Vec<u8> {
    let tags = frame[12..].chunks(4).take_while(|tag| matches!(tag[..2], [0x81, 0] | [0x88, 0xa8]));
    let shortest = 14 + 4 * tags.count() + 46;
    frame.resize(frame.len().max(shortest), 0);
    frame
}

/// The ethertype that an IP packet (or ARP) belongs in.
pub fn ethertype_of(packet: &[u8]) -> u16 {
    match packet[0] >> 4 {
        0 => ARP,
        6 => IPV6,
        _ => IPV4,
    }
}

fn builder(
    source: &str,
    destination: &str,
    ttl: u8,
) -> etherparse::PacketBuilderStep<etherparse::IpHeaders> {
    match (source.parse().unwrap(), destination.parse().unwrap()) {
        (IpAddr::V4(s), IpAddr::V4(d)) => PacketBuilder::ipv4(s.octets(), d.octets(), ttl),
        (IpAddr::V6(s), IpAddr::V6(d)) => PacketBuilder::ipv6(s.octets(), d.octets(), ttl),
        _ => panic!("{source} and {destination} are of two families"),
    }
}

/// A UDP packet with TTL 64, `octets` long in all.
pub fn udp(source: &str, destination: &str, octets: usize) -> Vec<u8> {
    udp_flow(source, destination, (4000, 5000), octets)
}

pub fn udp_flow(source: &str, destination: &str, ports: (u16, u16), octets: usize) -> Vec<u8> {
    let build = builder(source, destination, 64).udp(ports.0, ports.1);
    let body: Vec<u8> = (0..octets - build.size(0)).map(|i| i as u8).collect();
    let mut packet = Vec::new();
    build.write(&mut packet, &body).unwrap();
    packet
}

/// An ordinary packet of 100 octets.
pub fn packet(source: &str, destination: &str) -> Vec<u8> {
    udp(source, destination, 100)
}

/// An echo request.
pub fn ping(source: &str, destination: &str) -> Vec<u8> {
    let mut packet = Vec::new();
    let build = builder(source, destination, 64);
    match source.contains(':') {
        true => build.icmpv6_echo_request(7, 9).write(&mut packet, b"payload of a ping").unwrap(),
        false => build.icmpv4_echo_request(7, 9).write(&mut packet, b"payload of a ping").unwrap(),
    }
    packet
}

/// An ICMP message of the addresses' family.
pub fn icmp(
    source: &str,
    destination: &str,
    ttl: u8,
    head: (u8, u8, [u8; 4]),
    body: &[u8],
) -> Vec<u8> {
    let mut packet = Vec::new();
    let build = builder(source, destination, ttl);
    match source.contains(':') {
        true => build.icmpv6_raw(head.0, head.1, head.2).write(&mut packet, body).unwrap(),
        false => build.icmpv4_raw(head.0, head.1, head.2).write(&mut packet, body).unwrap(),
    }
    packet
}

/// The packet after `edit`; an IPv4 header's checksum is made right again.
pub fn edited(mut packet: Vec<u8>, edit: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    edit(&mut packet);
    seal(&mut packet);
    packet
}

/// Makes an IPv4 header's checksum right, whatever the header says.
pub fn seal(packet: &mut [u8]) {
    let header = usize::from(packet[0] & 0xf) * 4;
    if packet[0] >> 4 == 4 && (12..=packet.len()).contains(&header) {
        packet[10..12].fill(0);
        let sum = checksum(&packet[..header]);
        packet[10..12].copy_from_slice(&sum.to_be_bytes());
    }
}

/// RFC 1071, word by word.
pub fn checksum(data: &[u8]) -> u16 {
    let words = data.chunks(2).map(|w| u64::from(w[0]) << 8 | u64::from(*w.get(1).unwrap_or(&0)));
    let mut sum: u64 = words.sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

pub fn with_ttl(packet: Vec<u8>, ttl: u8) -> Vec<u8> {
    let at = if packet[0] >> 4 == 6 { 7 } else { 8 };
    edited(packet, |p| p[at] = ttl)
}

/// IPv4 options put in; padded with zeros.
pub fn with_options(packet: Vec<u8>, options: &[u8]) -> Vec<u8> {
    let mut options = options.to_vec();
    options.resize(options.len().next_multiple_of(4), 0);
    edited(packet, |p| {
        p.splice(20..20, options.iter().copied());
        p[0] += (options.len() / 4) as u8;
        let total = p.len() as u16;
        p[2..4].copy_from_slice(&total.to_be_bytes());
    })
}

/// An IPv6 extension header put in first: its number, and its octets from the third on (the first two
/// are next header and length).
pub fn with_extension(packet: Vec<u8>, number: u8, rest: &[u8]) -> Vec<u8> {
    edited(packet, |p| {
        let units = if number == 44 { 0 } else { (rest.len() + 2) / 8 - 1 };
        let header = [&[p[6], units as u8], rest].concat();
        p[6] = number;
        p.splice(40..40, header);
        let payload = (p.len() - 40) as u16;
        p[4..6].copy_from_slice(&payload.to_be_bytes());
    })
}

/// The packet behind one router (RFC 1812 5.3.1, RFC 8200 3): its checksum is computed anew.
pub fn routed(packet: &[u8]) -> Vec<u8> {
    let at = if packet[0] >> 4 == 6 { 7 } else { 8 };
    edited(packet.to_vec(), |p| p[at] -= 1)
}

/// An ARP packet; `operation` 1 is a request, 2 a reply.
pub fn arp(operation: u16, sender: (Mac, &str), target: (Mac, &str)) -> Vec<u8> {
    let address = |text: &str| text.parse::<std::net::Ipv4Addr>().unwrap().octets();
    let mut packet = vec![0, 1, 8, 0, 6, 4];
    packet.extend(operation.to_be_bytes());
    packet.extend(sender.0.0);
    packet.extend(address(sender.1));
    packet.extend(target.0.0);
    packet.extend(address(target.1));
    packet
}

/// Octets of an IPv6 address.
pub fn octets6(text: &str) -> [u8; 16] {
    text.parse::<std::net::Ipv6Addr>().unwrap().octets()
}

/// A neighbor solicitation (135) or advertisement (136) with one link-layer address option.
pub fn discovery(kind: u8, from: &str, to: &str, flags: u8, target: &str, mac: Mac) -> Vec<u8> {
    let option = if kind == 135 { 1 } else { 2 };
    let body = [&octets6(target)[..], &[option, 1], &mac.0].concat();
    icmp(from, to, 255, (kind, 0, [flags, 0, 0, 0]), &body)
}

/// A frame as it was sent.
#[derive(Debug)]
pub struct Seen {
    pub to: Mac,
    pub from: Mac,
    /// (TPID, TCI), outermost first.
    pub tags: Vec<(u16, u16)>,
    pub ethertype: u16,
    /// Without padding.
    pub packet: Vec<u8>,
}

impl Seen {
    /// Reads a frame, and asserts that it is long enough and padded with zeros alone.
    #[track_caller]
    pub fn read(frame: &[u8]) -> Seen {
        let word = |at: usize| u16::from_be_bytes([frame[at], frame[at + 1]]);
        let mut tags = Vec::new();
        let mut at = 12;
        while matches!(word(at), 0x8100 | 0x88a8) {
            tags.push((word(at), word(at + 2)));
            at += 4;
        }
        let ethertype = word(at);
        let length = match ethertype {
            IPV4 => word(at + 4).into(),
            IPV6 => 40 + usize::from(word(at + 6)),
            _ => 28,
        };
        let (packet, padding) = frame[at + 2..].split_at(length);
        let needed = 46usize.saturating_sub(length);
        assert_eq!(padding, vec![0; needed], "padding: {frame:02x?}");
        Seen {
            to: Mac(frame[..6].try_into().unwrap()),
            from: Mac(frame[6..12].try_into().unwrap()),
            tags,
            ethertype,
            packet: packet.to_vec(),
        }
    }

    /// (TPID, VID), outermost first.
    pub fn vlans(&self) -> Vec<(u16, u16)> {
        self.tags.iter().map(|(tpid, tci)| (*tpid, tci & 0xfff)).collect()
    }
}

/// An ICMP message whose IP header and checksums etherparse found right.
#[derive(Debug)]
pub struct Icmp {
    pub source: String,
    pub destination: String,
    pub ttl: u8,
    pub kind: u8,
    pub code: u8,
    pub word: [u8; 4],
    pub body: Vec<u8>,
}

impl Icmp {
    #[track_caller]
    pub fn read(packet: &[u8]) -> Icmp {
        let sliced = SlicedPacket::from_ip(packet).expect("an IP packet");
        let (source, destination, ttl, length): (IpAddr, IpAddr, u8, usize) = match &sliced.net {
            Some(NetSlice::Ipv4(ip)) => {
                let header = ip.header();
                assert_eq!(header.header_checksum(), header.to_header().calc_header_checksum());
                let (s, d) = (header.source_addr(), header.destination_addr());
                (s.into(), d.into(), header.ttl(), header.total_len().into())
            }
            Some(NetSlice::Ipv6(ip)) => {
                let header = ip.header();
                let (s, d) = (header.source_addr(), header.destination_addr());
                let length = 40 + usize::from(header.payload_length());
                (s.into(), d.into(), header.hop_limit(), length)
            }
            other => panic!("{other:?}"),
        };
        assert_eq!(length, packet.len(), "the length field says what was sent");
        let message = match (&sliced.transport, source, destination) {
            (Some(TransportSlice::Icmpv4(icmp)), ..) => {
                assert_eq!(checksum(icmp.slice()), 0, "ICMP checksum");
                icmp.slice()
            }
            (Some(TransportSlice::Icmpv6(icmp)), IpAddr::V6(s), IpAddr::V6(d)) => {
                assert!(icmp.is_checksum_valid(s.octets(), d.octets()), "ICMPv6 checksum");
                icmp.slice()
            }
            other => panic!("{other:?}"),
        };
        Icmp {
            source: source.to_string(),
            destination: destination.to_string(),
            ttl,
            kind: message[0],
            code: message[1],
            word: message[4..8].try_into().unwrap(),
            body: message[8..].to_vec(),
        }
    }

    /// Asserts that this is an error from `source` to `destination` that quotes `original` as it was
    /// received.
    #[track_caller]
    pub fn assert_error(
        &self,
        kind_code: (u8, u8),
        source: &str,
        destination: &str,
        original: &[u8],
    ) {
        assert_eq!((self.kind, self.code), kind_code);
        assert_eq!((&*self.source, &*self.destination), (source, destination));
        assert_eq!(self.ttl, 64);
        // RFC 1812 4.3.2.3: up to 576 octets in all; RFC 4443 2.4 (c): up to 1280.
        let longest = if source.contains(':') { 1280 - 48 } else { 576 - 28 };
        assert_eq!(self.body, original[..original.len().min(longest)]);
    }
}

/// Asserts that etherparse reads an IP header here, and that its checksum is right.
#[track_caller]
pub fn assert_sound(packet: &[u8]) {
    if packet[0] >> 4 == 6 {
        let header = Ipv6HeaderSlice::from_slice(packet).unwrap();
        assert_eq!(40 + usize::from(header.payload_length()), packet.len());
    } else {
        let header = Ipv4HeaderSlice::from_slice(packet).unwrap();
        assert_eq!(usize::from(header.total_len()), packet.len());
        assert_eq!(header.header_checksum(), header.to_header().calc_header_checksum());
    }
}
