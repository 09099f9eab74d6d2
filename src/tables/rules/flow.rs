//! The flow hash: which packets are one flow, and how flows are spread over the members of a group.
//!
//! A flow is its addresses, its protocol and, where they can be seen, its ports (TCP, UDP, SCTP, DCCP and UDP-Lite). No
//! part of a fragmented packet counts as having ports, the first one neither: all go one way. The IPv6 flow label counts
//! only where no ports can be seen, because hosts change it in the middle of a TCP connection (Linux: `net.core.txrehash`).
//!
//! The hash multiplies 64 by 64 bits and folds the 128 bits of the product, with keys of the station. So two stations in a
//! row spread the same flows independently, and flows that differ in any bits, however regularly, spread evenly. The keys
//! come from the configuration alone: a restart, and a replay of a capture, choose as before. They are no secret; a
//! sender who knows them can put its own flows on one member, as one who sends a single flow does.

use std::net::Ipv4Addr;

use crate::wire::ethernet::{MIN_PAYLOAD, be16, be32, be64};
use crate::wire::{ipv4, ipv6};

/// The keys of a station's flow hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FlowKeys([u64; 6]);

impl FlowKeys {
    /// The keys of the station of this name and router id.
    pub fn new(name: &str, router_id: Ipv4Addr) -> FlowKeys {
        let mut state = u64::from(router_id.to_bits());
        for octet in name.bytes() {
            state = fold(state ^ STEP, u64::from(octet) ^ FACTOR);
        }
        let mut keys = [0; 6];
        for key in &mut keys {
            state = state.wrapping_add(STEP);
            *key = fold(state ^ FACTOR, state.rotate_left(32) ^ STEP);
        }
        FlowKeys(keys)
    }
}

impl Default for FlowKeys {
    fn default() -> Self {
        FlowKeys::new("", Ipv4Addr::UNSPECIFIED)
    }
}

/// The golden ratio and a prime, as 64 bits without a pattern.
const STEP: u64 = 0x9e37_79b9_7f4a_7c15;
const FACTOR: u64 = 0xd6e8_feb8_6659_fd93;

/// Both halves of a product.
#[inline(always)]
#[expect(clippy::cast_possible_truncation, reason = "each half is 64 bits")]
const fn fold(a: u64, b: u64) -> u64 {
    let product = a as u128 * b as u128;
    product as u64 ^ (product >> 64) as u64
}

/// The number of a packet's flow; `packet` begins with the IP header and may have padding behind it. 0 for what is no IP
/// packet. Never panics.
#[inline]
pub fn flow(keys: &FlowKeys, packet: &[u8]) -> u32 {
    let FlowKeys([a, b, c, d, ..]) = *keys;
    match packet.first().map(|first| first >> 4) {
        Some(4) => packet.first_chunk().map_or(0, |head| {
            let (at, total) = (usize::from(head[0] & 0xf) * 4, usize::from(be16(head, 2)));
            let end = total.min(packet.len());
            flow4(keys, head, packet.get(at..end).unwrap_or_default())
        }),
        Some(6) => flow6(packet).map_or(0, |([source, to], rest)| {
            let source = fold(source.0 ^ a, source.1 ^ b);
            number(keys, source ^ fold(to.0 ^ c, to.1 ^ d), rest)
        }),
        _ => 0,
    }
}

/// The same of an IPv4 packet whose header is known to be sound, by its first octets alone. `None` where they do not show
/// all that counts: the packet has options.
#[inline(always)]
pub fn flow_of_start(keys: &FlowKeys, start: &[u8; MIN_PAYLOAD]) -> Option<u32> {
    let (head, upper) = start.split_first_chunk()?;
    let has_ports = usize::from(be16(head, 2)) >= ipv4::HEADER_LEN + 4;
    let ports = if has_ports { &upper[..4] } else { &[] };
    (head[0] & 0xf == 5).then(|| flow4(keys, head, ports))
}

/// Of addresses and rest, the number.
#[inline(always)]
fn number(FlowKeys([a, .., f]): &FlowKeys, addresses: u64, rest: u64) -> u32 {
    let mixed = fold(addresses, rest ^ f);
    (fold(mixed ^ STEP, a | 1) >> 32) as u32
}

/// Protocol and ports, or what stands for ports, in one number. Which of the two it is, is a part of it.
#[inline(always)]
fn rest(protocol: u8, ports: Option<u32>, label: u32) -> u64 {
    let kind = u64::from(protocol) << 32 | u64::from(ports.is_some()) << 40;
    kind | u64::from(ports.unwrap_or(label))
}

/// Of an IPv4 header and what is behind it in the packet.
#[inline(always)]
fn flow4(keys: &FlowKeys, head: &[u8; ipv4::HEADER_LEN], upper: &[u8]) -> u32 {
    let (protocol, is_fragment) = (head[9], be16(head, 6) & 0x3fff != 0);
    let ports = if is_fragment { None } else { ipv4::ports(protocol, upper) };
    number(keys, be64(head, 12) ^ keys.0[4], rest(protocol, ports, 0))
}

/// An IPv6 address in halves.
type Halves = (u64, u64);

/// Addresses and rest of an IPv6 packet.
#[inline(always)]
fn flow6(packet: &[u8]) -> Option<([Halves; 2], u64)> {
    let head = packet.first_chunk::<{ ipv6::HEADER_LEN }>()?;
    let total = ipv6::HEADER_LEN + usize::from(be16(head, 4));
    let packet = &packet[..total.min(packet.len())];
    let upper = ipv6::upper(packet);
    // Parts of one packet may name different next headers (RFC 8200 4.5).
    let seen = upper.protocol.filter(|_| !upper.fragment);
    let header = seen.and_then(|(_, at)| packet.get(at..)).unwrap_or_default();
    let protocol = seen.map_or(0, |(protocol, _)| protocol);
    let rest = rest(protocol, ipv4::ports(protocol, header), be32(head, 0) & 0xf_ffff);
    let half = |at| be64(head, at);
    Some(([(half(8), half(16)), (half(24), half(32))], rest))
}

#[cfg(test)]
mod tests {
    use super::*;
    use etherparse::PacketBuilder;
    use proptest::prelude::*;
    use std::collections::HashSet;
    use std::net::{IpAddr, Ipv6Addr};

    fn keys(name: &str) -> FlowKeys {
        FlowKeys::new(name, Ipv4Addr::new(192, 0, 2, 1))
    }

    /// A packet of this protocol with 8 octets behind its IP header, the first four of which are these.
    fn packet(source: IpAddr, destination: IpAddr, protocol: u8, ports: u32) -> Vec<u8> {
        let mut bytes = Vec::new();
        let payload = [ports.to_be_bytes(), [0; 4]].concat();
        // The protocol is put in afterwards: the builder would make extension headers of some.
        let any = 253.into();
        let at = match (source, destination) {
            (IpAddr::V4(s), IpAddr::V4(d)) => {
                let build = PacketBuilder::ipv4(s.octets(), d.octets(), 64);
                build.write(&mut bytes, any, &payload).unwrap();
                9
            }
            (IpAddr::V6(s), IpAddr::V6(d)) => {
                let build = PacketBuilder::ipv6(s.octets(), d.octets(), 64);
                build.write(&mut bytes, any, &payload).unwrap();
                6
            }
            _ => panic!("two families"),
        };
        bytes[at] = protocol;
        bytes
    }

    fn v4(source: u32, destination: u32, protocol: u8, ports: u32) -> Vec<u8> {
        let ip = |bits| Ipv4Addr::from_bits(bits).into();
        packet(ip(source), ip(destination), protocol, ports)
    }

    fn v6(source: u128, destination: u128, protocol: u8, ports: u32) -> Vec<u8> {
        let ip = |bits| Ipv6Addr::from_bits(bits).into();
        packet(ip(source), ip(destination), protocol, ports)
    }

    /// Flows as customers have them and as an attacker makes them, 4,096 of each kind: by name, from a number.
    type Kind = (&'static str, fn(u32) -> Vec<u8>);
    const FLOWS: u32 = 4096;
    const KINDS: [Kind; 10] = [
        ("one host's ports", |i| v4(0x0a01_0001, 0x0a02_0001, 6, (1024 + i) << 16 | 443)),
        ("ports that step by 64", |i| v4(0x0a01_0001, 0x0a02_0001, 17, (i * 64 % 65536) << 16 | i)),
        ("a subnet's hosts", |i| v4(0x0a01_0000 + i, 0x0a02_0001, 6, 0xc000_01bb)),
        ("subnets' first hosts", |i| v4(0x0a01_0001, 0x0a00_0001 + (i << 8), 6, 0xc000_01bb)),
        // Both addresses change by the same bits: an exclusive or of the two does not change.
        ("addresses that cancel", |i| v4(0x0a01_0000 ^ i, 0x0a02_0000 ^ i, 17, 0x1000_1000)),
        ("no ports", |i| v4(0x0a01_0000 + i, 0x0a02_0001, 47, 0)),
        ("IPv6 hosts", |i| v6(0xfd00 << 112 | u128::from(i), 0xfd01 << 112 | 1, 6, 0xc000_01bb)),
        ("IPv6 subnets", |i| v6(0xfd00 << 112 | u128::from(i) << 64, 1, 58, 0)),
        // Words of one address that cancel in an exclusive or of all four.
        ("IPv6 words that cancel", |i| {
            let i = u128::from(i);
            v6(0xfd00 << 112 | i << 64 | i << 32, 0xfd01 << 112 | i << 96 | i, 17, 0x1000_1000)
        }),
        ("IPv6 addresses that cancel", |i| {
            v6(0xfd00 << 112 ^ u128::from(i), 0xfd01 << 112 ^ u128::from(i) << 32, 50, 0)
        }),
    ];

    /// Pearson's statistic of how flows spread over buckets: its mean is one less than there are buckets.
    fn chi_square(flows: impl Iterator<Item = u32>, buckets: u32) -> f64 {
        let mut counts = vec![0_u32; buckets as usize];
        let all = flows.inspect(|flow| counts[(flow % buckets) as usize] += 1).count();
        let expected = all as f64 / f64::from(buckets);
        counts.iter().map(|&n| (f64::from(n) - expected).powi(2) / expected).sum()
    }

    #[test]
    fn flows_of_any_kind_spread_evenly() {
        for (name, kind) in KINDS {
            for station in ["station", "a", "b", "c"] {
                let flows = (0..FLOWS).map(|i| flow(&keys(station), &kind(i)));
                let statistic = chi_square(flows, 64);
                // 63 are expected; more than 125 come by chance once in 200,000 times.
                assert!(statistic < 125.0, "{name}, {station}: {statistic}");
            }
        }
    }

    #[test]
    fn stations_in_a_row_spread_independently() {
        for (name, kind) in KINDS {
            let of = |station: &str, i| flow(&keys(station), &kind(i)) % 4;
            for member in 0..4 {
                // What the first station sends by one of four members, the second spreads over its four.
                let passed = (0..FLOWS).filter(|&i| of("first", i) == member);
                let statistic = chi_square(passed.map(|i| of("second", i)), 4);
                assert!(statistic < 27.0, "{name}: {statistic}");
            }
        }
        let id = Ipv4Addr::new(192, 0, 2, 2);
        assert_ne!(keys("station"), FlowKeys::new("station", id), "a router id is enough");
        assert_eq!(keys("station"), keys("station"));
    }

    /// A number that was printed once: keys must not change with a version, or an upgrade moves every flow.
    #[test]
    fn the_hash_is_what_it_was() {
        let tcp = v4(0x0a01_0001, 0x0a02_0001, 6, 0xc000_01bb);
        let six = v6(0xfd00 << 112 | 1, 0xfd01 << 112 | 1, 6, 0xc000_01bb);
        assert_eq!([flow(&keys("station"), &tcp), flow(&keys("station"), &six)], KNOWN);
    }
    const KNOWN: [u32; 2] = [3_766_522_469, 3_371_915_378];

    #[test]
    fn every_bit_of_a_flow_counts() {
        let base = v6(0xfd00 << 112 | 1, 0xfd01 << 112 | 1, 6, 0xc000_01bb);
        let mut seen = HashSet::from([flow(&keys("a"), &base)]);
        for bit in (8 * 8..40 * 8).chain(40 * 8..44 * 8) {
            let mut other = base.clone();
            other[bit / 8] ^= 1 << (bit % 8);
            assert!(seen.insert(flow(&keys("a"), &other)), "bit {bit}");
        }
        // The ways there and back are two flows.
        let (there, back) =
            (v4(1 << 24, 2 << 24, 6, 5 << 16 | 5), v4(2 << 24, 1 << 24, 6, 5 << 16 | 5));
        assert_ne!(flow(&keys("a"), &there), flow(&keys("a"), &back));
    }

    #[test]
    fn ports_count_where_a_protocol_has_them() {
        for protocol in 0..=255 {
            let of = |ports| flow(&keys("a"), &v4(0x0a01_0001, 0x0a02_0001, protocol, ports));
            let has_ports = matches!(protocol, 6 | 17 | 33 | 132 | 136);
            assert_eq!(of(1) != of(2), has_ports, "{protocol}");
        }
    }

    #[test]
    fn the_flow_label_counts_only_where_ports_cannot_be_seen() {
        let labelled = |protocol: u8, label: u8, chain: &[u8]| {
            let mut bytes = v6(0xfd00 << 112 | 1, 0xfd01 << 112 | 1, protocol, 0xc000_01bb);
            bytes[3] = label;
            bytes.splice(40..40, chain.iter().copied());
            bytes[5] += u8::try_from(chain.len()).unwrap();
            flow(&keys("a"), &bytes)
        };
        assert_eq!(labelled(6, 1, &[]), labelled(6, 2, &[]));
        assert_ne!(labelled(58, 1, &[]), labelled(58, 2, &[]));
        // Behind hop-by-hop and destination options ports can be seen; in a fragment they cannot.
        let behind = [60, 0, 1, 4, 0, 0, 0, 0, 6, 0, 1, 4, 0, 0, 0, 0];
        assert_eq!(labelled(0, 1, &behind), labelled(6, 2, &[]));
        let fragment = [6, 0, 0, 1, 0, 0, 0, 9];
        assert_ne!(labelled(44, 1, &fragment), labelled(44, 2, &fragment));
        // An atomic fragment is whole.
        assert_eq!(labelled(44, 1, &[6, 0, 0, 0, 0, 0, 0, 9]), labelled(6, 2, &[]));
    }

    #[test]
    fn all_fragments_of_a_packet_are_one_flow() {
        let part4 = |flags: u16, ports| {
            let mut bytes = v4(0x0a01_0001, 0x0a02_0001, 17, ports);
            bytes[6..8].copy_from_slice(&flags.to_be_bytes());
            flow(&keys("a"), &bytes)
        };
        let first = part4(0x2000, 1);
        for (flags, ports) in [(0x2001, 2), (0x2010, 3), (0x00b9, 4), (0x1fff, 5)] {
            assert_eq!(part4(flags, ports), first);
        }
        let part6 = |next: u8, offset: u16, data| {
            let mut bytes = v6(0xfd00 << 112 | 1, 0xfd01 << 112 | 1, 44, data);
            let [high, low] = offset.to_be_bytes();
            bytes.splice(40..40, [next, 0, high, low, 0, 0, 0, 9]);
            bytes[5] += 8;
            flow(&keys("a"), &bytes)
        };
        let first = part6(17, 1, 1);
        for (next, offset, data) in [(17, 9, 2), (60, 8, 3), (58, 0xfff8, 4)] {
            assert_eq!(part6(next, offset, data), first);
        }
    }

    proptest! {
        #[test]
        fn any_octets_have_a_flow_and_padding_has_none(mut bytes in prop::collection::vec(any::<u8>(), 0..80), first in prop_oneof![Just(0x45u8), Just(0x60), any::<u8>()], padding in prop::collection::vec(any::<u8>(), 1..30)) {
            if let Some(octet) = bytes.first_mut() {
                *octet = first;
            }
            let bare = flow(&keys("a"), &bytes);
            // Where the length field says that the packet ends here.
            let octets = u16::try_from(bytes.len()).unwrap();
            if first >> 4 == 4 && bytes.len() >= 20 {
                bytes[2..4].copy_from_slice(&octets.to_be_bytes());
            } else if first >> 4 == 6 && bytes.len() >= 40 {
                bytes[4..6].copy_from_slice(&(octets - 40).to_be_bytes());
            } else {
                prop_assert_eq!(bare, 0);
                return Ok(());
            }
            let whole = flow(&keys("a"), &bytes);
            let padded = [bytes, padding, vec![0xa5; MIN_PAYLOAD]].concat();
            prop_assert_eq!(flow(&keys("a"), &padded), whole);
            let start = flow_of_start(&keys("a"), padded.first_chunk().unwrap());
            if first >> 4 == 4 {
                prop_assert_eq!(start, (first & 0xf == 5).then_some(whole));
            }
        }
    }
}
