//! The customers' packets: UDP, as short as Ethernet allows, from an address of the VIF's own prefix.

use std::net::Ipv4Addr;

use station::tables::VrfId;
use station::tables::tunnel::{Dscp, Marking, Tunnel};
use station::wire::checksum;

use crate::data::Family;
use crate::random::Random;
use crate::station::{
    INNER_MAC, REMOTE, SMALL, Shape, Tunnels, VTEP, Vrfs, customer4, customer6, inside4, inside6,
    port_mac, tags, vni,
};

/// How many packets a case has before they come again.
pub const PACKETS: usize = 1 << 16;

/// The families of a case's packets.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Families {
    V4,
    V6,
    /// As many of each.
    Mixed,
}

/// Octets of an untagged frame at least, without FCS.
const SHORTEST: usize = 60;

/// An untagged UDP frame with room for `octets` at least.
fn frame4(source: u32, destination: u32) -> Vec<u8> {
    let mut packet = vec![0x45, 0, 0, 46, 0, 0, 0x40, 0, 64, 17, 0, 0];
    packet.extend(source.to_be_bytes());
    packet.extend(destination.to_be_bytes());
    let sum = !checksum::sum(&packet);
    packet[10..12].copy_from_slice(&sum.to_be_bytes());
    packet.extend(udp(26));
    packet
}

fn frame6(source: u128, destination: u128) -> Vec<u8> {
    let mut packet = vec![0x60, 0, 0, 0, 0, 8, 17, 64];
    packet.extend(source.to_be_bytes());
    packet.extend(destination.to_be_bytes());
    packet.extend(udp(8));
    packet
}

/// A datagram of `octets`, with any checksum: no router looks at it.
fn udp(octets: u16) -> Vec<u8> {
    let mut datagram = [4000u16, 5000, octets, 0xa5a5].map(u16::to_be_bytes).concat();
    datagram.resize(octets.into(), 0xa5);
    datagram
}

/// MACs, tags and ethertype in front of a packet.
pub fn frame(tags: &[u16], packet: &[u8]) -> Vec<u8> {
    let mut frame = [port_mac(0).0, [2, 0, 0, 0, 2, 2]].concat();
    for vid in tags {
        frame.extend([0x81, 0]);
        frame.extend(vid.to_be_bytes());
    }
    frame.extend(if packet[0] >> 4 == 4 { [0x08, 0] } else { [0x86, 0xdd] });
    frame.extend(packet);
    let shortest = SHORTEST + 4 * tags.len();
    if frame.len() < shortest {
        frame.resize(shortest, 0);
    }
    frame
}

/// Not an IPv4 address that no router forwards, nor one of the customers' and links': a made-up table has
/// routes for those too.
fn is_forwarded(address: u128) -> bool {
    let special = matches!(address >> 24, 0 | 10 | 127 | 224..) || address >> 16 == 0xa9fe;
    !special && address >> 22 != 0x6440_0000 >> 22
}

/// A case's IP packets and the VIF each enters by.
pub fn packets(
    shape: Shape,
    of: Families,
    pattern: &str,
    families: &[Family; 2],
) -> Vec<(u16, Vec<u8>)> {
    if pattern == "flows" {
        return by_zipf(&packets(shape, of, "inside", families));
    }
    let mut random = Random::new(64);
    let mut destinations = families.each_ref().map(|family| {
        let pattern = family.patterns.iter().find(|(name, _)| *name == pattern);
        let addresses = pattern.map_or(&[][..], |(_, addresses)| addresses);
        addresses
            .iter()
            .copied()
            .filter(|&addr| family.bits != 32 || is_forwarded(addr >> 96))
            .cycle()
    });
    (0..PACKETS)
        .map(|_| {
            let vif = random.below(shape.vifs.into()) as u16;
            let n = shape.number(vif);
            let v6 = of == Families::V6 || of == Families::Mixed && random.below(2) == 1;
            let host = random.next();
            let destination = match shape.vrfs {
                Vrfs::Full => destinations[usize::from(v6)].next().unwrap_or(0),
                Vrfs::Small => {
                    let d = random.below(SMALL.into()) as u128;
                    let low = u128::from(random.next());
                    if v6 {
                        0xfd80 << 112 | d << 96 | low
                    } else {
                        (0x0a40_0000 | d << 16 | low & 0xffff) << 96
                    }
                }
            };
            let (of4, of6) = match shape.translated {
                true => (inside4(n), inside6(n)),
                false => (customer4(n), customer6(n)),
            };
            let packet = if v6 {
                frame6(of6 | u128::from(host), destination)
            } else {
                frame4(of4 | (host & 0xff) as u32, (destination >> 96) as u32)
            };
            (vif, packet)
        })
        .collect()
}

/// Flows that packets are of, at most.
const FLOWS: usize = 1 << 14;

/// As many of these packets, the first [`FLOWS`] of them as often as Zipf's law says: the n-th 1/n times as often as the
/// first.
fn by_zipf(packets: &[(u16, Vec<u8>)]) -> Vec<(u16, Vec<u8>)> {
    let mut random = Random::new(65);
    let flows = FLOWS.min(packets.len());
    let mut one = || {
        // The inverse of the harmonic distribution function, nearly.
        let rank = (flows as f64).powf(random.unit()) as usize - 1;
        packets[rank.min(flows - 1)].clone()
    };
    (0..packets.len()).map(|_| one()).collect()
}

/// The same as frames on the customers' port.
pub fn frames(shape: Shape, packets: &[(u16, Vec<u8>)]) -> Vec<Vec<u8>> {
    let one = |(vif, packet): &(u16, Vec<u8>)| match shape.tunnels {
        Tunnels::In => frame(&[1], &in_tunnel(*vif, packet)),
        Tunnels::None | Tunnels::Out => frame(&tags(shape, *vif), packet),
    };
    packets.iter().map(one).collect()
}

/// The packet of the underlay that carries a packet to a customer's VNI.
fn in_tunnel(vif: u16, packet: &[u8]) -> Vec<u8> {
    let tunnel = Tunnel {
        vni: vni(vif),
        underlay: VrfId(0),
        local: Ipv4Addr::from_bits(VTEP).into(),
        remotes: [].into(),
        station: None,
        marking: Marking::new(Dscp::Copy),
    };
    let inner = [&INNER_MAC.0[..], &[2, 0, 0, 2, 0, 0, 8, 0], packet].concat();
    tunnel.received(Ipv4Addr::from_bits(REMOTE).into(), &inner)
}
