//! Packets to punt, and what is read from those that were sent.

use std::net::IpAddr;

use etherparse::{
    ArpEthIpv4Packet, ArpOperation, Icmpv4Slice, Icmpv6Slice, IpHeaders, IpNumber, Ipv4Header,
    Ipv4Options, Ipv6Header, PacketBuilder,
};
use station::wire::ethernet::Mac;

use crate::world::{Sent, ip};

/// An IP packet of either family with this payload behind its header.
pub fn packet(from: &str, to: &str, hops: u8, protocol: u8, payload: &[u8]) -> Vec<u8> {
    match (ip(from), ip(to)) {
        (IpAddr::V4(_), IpAddr::V4(_)) => ipv4(from, to, hops, protocol, &[], payload),
        (IpAddr::V6(from), IpAddr::V6(to)) => {
            let header = Ipv6Header {
                payload_length: payload.len().try_into().unwrap(),
                next_header: IpNumber(protocol),
                hop_limit: hops,
                source: from.octets(),
                destination: to.octets(),
                ..Default::default()
            };
            [&header.to_bytes()[..], payload].concat()
        }
        _ => panic!("two families"),
    }
}

/// An IPv4 packet without DF.
pub fn ipv4(
    from: &str,
    to: &str,
    ttl: u8,
    protocol: u8,
    options: &[u8],
    payload: &[u8],
) -> Vec<u8> {
    let (IpAddr::V4(from), IpAddr::V4(to)) = (ip(from), ip(to)) else { panic!("IPv4") };
    let length = u16::try_from(payload.len()).unwrap();
    let mut header =
        Ipv4Header::new(length, ttl, IpNumber(protocol), from.octets(), to.octets()).unwrap();
    header.dont_fragment = false;
    header.options = Ipv4Options::try_from(options).unwrap();
    header.set_payload_len(payload.len()).unwrap();
    header.header_checksum = header.calc_header_checksum();
    [&header.to_bytes()[..], payload].concat()
}

/// UDP to a port that a traceroute would use.
pub fn udp(from: &str, to: &str, hops: u8, length: usize) -> Vec<u8> {
    let mut bytes = vec![0x80, 0, 0x82, 0x9a, 0, 0, 0, 0];
    bytes[4..6].copy_from_slice(&u16::try_from(8 + length).unwrap().to_be_bytes());
    bytes.extend((0..length).map(|n| (n % 251) as u8));
    packet(from, to, hops, 17, &bytes)
}

/// The sum of an upper layer and its pseudo header: 0xffff where its checksum is right.
pub fn sum(addresses: &[u8], protocol: u8, upper: &[u8]) -> u16 {
    let length = u16::try_from(upper.len()).unwrap().to_be_bytes();
    let covered = [addresses, &[0, protocol], &length, upper, &[0]].concat();
    let words = covered.chunks_exact(2).map(|two| u32::from(two[0]) << 8 | u32::from(two[1]));
    let sum = words.fold(0, |sum, word| (sum + word) % 0xffff);
    if sum == 0 { 0xffff } else { sum as u16 }
}

pub fn set_df(packet: &mut [u8]) {
    packet[6] |= 0x40;
    reseal(packet);
}

/// Corrects the IPv4 header checksum after an edit.
pub fn reseal(packet: &mut [u8]) {
    let header = etherparse::Ipv4HeaderSlice::from_slice(packet).unwrap().to_header();
    packet[10..12].copy_from_slice(&header.calc_header_checksum().to_be_bytes());
}

/// ICMP of either family with a right checksum: type, code, word and body.
pub fn icmp(from: &str, to: &str, hops: u8, kind: (u8, u8), word: [u8; 4], body: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    match (ip(from), ip(to)) {
        (IpAddr::V4(from), IpAddr::V4(to)) => {
            PacketBuilder::ip(IpHeaders::Ipv4(
                Ipv4Header::new(0, hops, IpNumber::ICMP, from.octets(), to.octets()).unwrap(),
                Default::default(),
            ))
            .icmpv4_raw(kind.0, kind.1, word)
            .write(&mut bytes, body)
            .unwrap();
        }
        (IpAddr::V6(from), IpAddr::V6(to)) => {
            let header = Ipv6Header {
                next_header: IpNumber::IPV6_ICMP,
                hop_limit: hops,
                source: from.octets(),
                destination: to.octets(),
                ..Default::default()
            };
            PacketBuilder::ip(IpHeaders::Ipv6(header, Default::default()))
                .icmpv6_raw(kind.0, kind.1, word)
                .write(&mut bytes, body)
                .unwrap();
        }
        _ => panic!("two families"),
    }
    bytes
}

/// ARP from a MAC.
pub fn arp(operation: ArpOperation, mac: Mac, sender: &str, target: &str) -> Vec<u8> {
    let (IpAddr::V4(sender), IpAddr::V4(target)) = (ip(sender), ip(target)) else { panic!("IPv4") };
    ArpEthIpv4Packet {
        operation,
        sender_mac: mac.0,
        sender_ipv4: sender.octets(),
        target_mac: [0; 6],
        target_ipv4: target.octets(),
    }
    .to_bytes()
    .to_vec()
}

/// A neighbor solicitation (135) or advertisement (136) with its link-layer option.
pub fn nd(kind: u8, from: &str, to: &str, flags: u8, target: &str, mac: Option<Mac>) -> Vec<u8> {
    let IpAddr::V6(target) = ip(target) else { panic!("IPv6") };
    let mut body = target.octets().to_vec();
    if let Some(mac) = mac {
        body.extend([if kind == 135 { 1 } else { 2 }, 1]);
        body.extend(mac.0);
    }
    icmp(from, to, 255, (kind, 0), [flags, 0, 0, 0], &body)
}

impl Sent {
    /// Source and destination of an IP packet.
    pub fn addresses(&self) -> (String, String) {
        let (source, destination) = match self.l3[0] >> 4 {
            4 => {
                let header = etherparse::Ipv4HeaderSlice::from_slice(&self.l3).unwrap();
                (header.source_addr().to_string(), header.destination_addr().to_string())
            }
            _ => {
                let header = etherparse::Ipv6HeaderSlice::from_slice(&self.l3).unwrap();
                (header.source_addr().to_string(), header.destination_addr().to_string())
            }
        };
        (source, destination)
    }

    /// Type, code, word and body of an ICMP message.
    pub fn icmp(&self) -> ((u8, u8), [u8; 4], Vec<u8>) {
        if self.l3[0] >> 4 == 4 {
            assert_eq!(self.l3[9], 1, "ICMP");
            let icmp = Icmpv4Slice::from_slice(&self.l3[20..]).unwrap();
            let kind = (icmp.type_u8(), icmp.code_u8());
            (kind, icmp.bytes5to8(), self.l3[28..].to_vec())
        } else {
            assert_eq!(self.l3[6], 58, "ICMPv6");
            let icmp = Icmpv6Slice::from_slice(&self.l3[40..]).unwrap();
            let kind = (icmp.type_u8(), icmp.code_u8());
            (kind, icmp.bytes5to8(), self.l3[48..].to_vec())
        }
    }

    pub fn arp(&self) -> ArpEthIpv4Packet {
        let slice = etherparse::ArpPacketSlice::from_slice(&self.l3).unwrap();
        ArpEthIpv4Packet::try_from(slice.to_packet()).unwrap()
    }
}
