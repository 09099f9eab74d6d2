use etherparse::{IcmpEchoHeader, Icmpv4Type, PacketBuilder};
use proptest::prelude::*;

use super::*;
use crate::wire::checksum;
use crate::wire::ethernet::be16;

fn translations(all: &[&str]) -> Translations {
    let all: Vec<Translation> = all.iter().map(|text| text.parse().unwrap()).collect();
    Translations::new(&all).unwrap()
}

/// The example of RFC 6296 3.2.
#[test]
fn the_example_of_the_rfc() {
    let both = translations(&["fd01:203:405::/48 as 2001:db8:1::/48"]);
    let (inside, outside) = ("fd01:203:405:1::1234", "2001:db8:1:d550::1234");
    let [inside, outside] = [inside, outside].map(|text| text.parse().unwrap());
    assert_eq!(both.apply(Direction::Rx, inside), Some(outside));
    assert_eq!(both.apply(Direction::Tx, outside), Some(inside));
    assert_eq!(both.apply(Direction::Tx, inside), Some(inside));
}

#[test]
fn what_has_no_way_back_is_not_translated() {
    let both =
        translations(&["fd01:203:405::/48 as 2001:db8:1::/48", "fd02::/64 as 2001:db8:2::/64"]);
    let apply = |text: &str| both.apply(Direction::Rx, text.parse().unwrap());
    assert_eq!(apply("fd01:203:405:ffff::1"), None);
    assert_eq!(apply("fd02::ffff:ffff:ffff:ffff"), None);
    assert!(apply("fd02::ffff:ffff:ffff:fffe").is_some());
    assert_eq!(apply("fd03::ffff:ffff:ffff:ffff"), "fd03::ffff:ffff:ffff:ffff".parse().ok());
}

#[test]
fn a_prefix_ends_where_it_ends() {
    let both = translations(&["10.1.0.0/24 as 198.51.100.0/24", "10.1.1.7 as 203.0.113.9"]);
    for (inside, outside) in [
        ("10.0.255.255", "10.0.255.255"),
        ("10.1.0.0", "198.51.100.0"),
        ("10.1.0.255", "198.51.100.255"),
        ("10.1.1.6", "10.1.1.6"),
        ("10.1.1.7", "203.0.113.9"),
        ("10.1.1.8", "10.1.1.8"),
    ] {
        let (inside, outside) = (inside.parse().unwrap(), outside.parse().ok());
        assert_eq!(both.apply(Direction::Rx, inside), outside, "{inside}");
    }
}

#[test]
fn what_is_wrong_with_a_pair_is_said() {
    for (text, message) in [
        ("10.1.0.0/24", "\"10.1.0.0/24\" is no translation"),
        ("10.1.0.0/24 to 10.2.0.0/24", "\"10.1.0.0/24 to 10.2.0.0/24\" is no translation"),
        ("10.1.0/24 as 10.2.0.0/24", "\"10.1.0/24\" is no prefix"),
        ("10.1.0.0/24 as nat", "\"nat\" is no prefix"),
        ("10.1.0.1/24 as 10.2.0.0/24", "10.1.0.1/24 has bits behind its prefix"),
        ("10.1.0.0/24 as 10.2.0.0/25", "10.1.0.0/24 and 10.2.0.0/25 have two lengths"),
        ("10.1.0.0/24 as fd00::/24", "10.1.0.0/24 and fd00::/24 are of two families"),
        ("10.1.0.0/24 as 10.1.0.0/24", "10.1.0.0/24 becomes itself"),
        ("10.0.0.0/7 as 12.0.0.0/7", "10.0.0.0/7 is too large"),
        ("fd00::1 as fd00::2", "fd00::1/128 is longer than /64"),
    ] {
        assert_eq!(text.parse::<Translation>().unwrap_err().0, message);
    }
}

/// The sums of a packet as a receiver computes them: of the header, and of what is behind it with the pseudo header.
fn is_right(packet: &[u8]) -> bool {
    let header = usize::from(packet[0] & 0xf) * 4;
    let upper = &packet[header..];
    if checksum::sum(&packet[..header]) != 0xffff {
        return false;
    }
    let pseudo = match packet[9] {
        1 => Vec::new(),
        protocol => {
            let len = u16::try_from(upper.len()).unwrap().to_be_bytes();
            [&packet[12..20], &[0, protocol], &len].concat()
        }
    };
    checksum::sum(&[&pseudo, upper].concat()) == 0xffff
}

fn address() -> impl Strategy<Value = [u8; 4]> {
    prop_oneof![Just([10, 1, 0, 9]), Just([198, 51, 100, 9]), any::<[u8; 4]>()]
}

fn packet(kind: usize, source: [u8; 4], destination: [u8; 4], payload: &[u8]) -> Vec<u8> {
    let builder = PacketBuilder::ipv4(source, destination, 64);
    let mut bytes = Vec::new();
    match kind {
        0 => builder.tcp(1, 2, 3, 4).write(&mut bytes, payload).unwrap(),
        1 => builder.udp(1, 2).write(&mut bytes, payload).unwrap(),
        _ => {
            let echo = Icmpv4Type::EchoRequest(IcmpEchoHeader { id: 1, seq: 2 });
            builder.icmpv4(echo).write(&mut bytes, payload).unwrap();
        }
    }
    bytes
}

proptest! {
    /// Whatever goes through has right checksums behind, and comes back as it was.
    #[test]
    fn sums_stay_right_and_the_way_back_leads_back(
        kind in 0..3usize, source in address(), destination in address(), payload in prop::collection::vec(any::<u8>(), 0..40),
        from in 0u32..1 << 24, to in 0u32..1 << 24,
    ) {
        let net = |bits: u32| format!("{}/24", Ipv4Addr::from_bits(bits << 8));
        let nat = if from == to {
            translations(&["10.1.0.0/24 as 198.51.100.0/24"])
        } else {
            translations(&["10.1.0.0/24 as 198.51.100.0/24", &format!("{} as {}", net(from), net(to))])
        };
        let before = packet(kind, source, destination, &payload);
        prop_assert!(is_right(&before));
        let mut after = before.clone();
        nat.translate(Direction::Rx, &mut after).unwrap();
        prop_assert!(is_right(&after));
        let translated = nat.apply(Direction::Rx, source.into()).unwrap();
        let same = packet(kind, translated.to_string().parse::<Ipv4Addr>().unwrap().octets(), destination, &payload);
        // But for 0 and 0xffff, which are one number in one's complement.
        let differ: Vec<usize> = (0..same.len()).filter(|at| same[*at] != after[*at]).collect();
        prop_assert!(differ.is_empty() || is_right(&same), "{differ:?}");
        prop_assert_eq!(&after[12..20], &same[12..20]);
    }

    /// An error about a packet that was translated quotes it as it was: header, ports and checksum.
    #[test]
    fn errors_quote_what_was_sent(kind in 0..3usize, far: [u8; 4], payload in prop::collection::vec(any::<u8>(), 0..40), cut in 28usize..80) {
        let nat = translations(&["10.1.0.0/24 as 198.51.100.0/24"]);
        let inside = [10, 1, 0, 9];
        prop_assume!(far[0] != 198 && far[0] != 10);
        let sent = packet(kind, inside, far, &payload);
        let mut seen = sent.clone();
        prop_assert_eq!(nat.translate(Direction::Rx, &mut seen), Ok(true));
        // A router beyond says that its TTL ran out, and it comes back to the customer.
        let quote = &seen[..cut.min(seen.len())];
        let mut error = Vec::new();
        let exceeded = Icmpv4Type::TimeExceeded(etherparse::icmpv4::TimeExceededCode::TtlExceededInTransit);
        PacketBuilder::ipv4([192, 0, 2, 1], [198, 51, 100, 9], 64).icmpv4(exceeded).write(&mut error, quote).unwrap();
        prop_assert_eq!(nat.translate(Direction::Tx, &mut error), Ok(true));
        prop_assert!(is_right(&error));
        prop_assert_eq!(&error[16..20], &inside);
        let quoted = &error[28..];
        let same = |at: usize| quoted.get(at..at + 2) == sent.get(at..at + 2) || {
            // One number in one's complement.
            quoted.get(at..at + 2).is_none_or(|octets| be16(octets, 0) % 0xffff == be16(&sent, at) % 0xffff)
        };
        prop_assert!((0..quoted.len() / 2).all(|word| same(2 * word)), "{quoted:?} {sent:?}");
    }

    /// What the way in makes of an address, the way out makes the address of again, and its sum stays the same.
    #[test]
    fn ipv6_sums_stay_the_same(bits: u128, from: u128, to: u128, length in 8u8..=64) {
        let net = |bits: u128| IpNet::new(Ipv6Addr::from_bits(bits).into(), length).unwrap().trunc();
        let (from, to) = (net(from), net(to));
        prop_assume!(from != to);
        let nat = Translations::new(&[Translation::new(from, to).unwrap()]).unwrap();
        let host = bits & (u128::MAX >> length);
        let IpAddr::V6(network) = from.network() else { unreachable!() };
        let inside = IpAddr::V6(Ipv6Addr::from_bits(network.to_bits() | host));
        if let Some(outside) = nat.apply(Direction::Rx, inside) {
            prop_assert!(to.contains(&outside));
            let IpAddr::V6(number) = outside else { unreachable!() };
            let IpAddr::V6(before) = inside else { unreachable!() };
            let sum = |address: Ipv6Addr| checksum::sum(&address.octets()) % 0xffff;
            prop_assert_eq!(sum(number), sum(before));
            let back = nat.apply(Direction::Tx, outside);
            // A word that was -0 would come back as 0: none is.
            prop_assert_eq!(back, Some(inside));
        }
    }

    /// No octets make it panic, and what it refuses is as it was.
    #[test]
    fn any_octets(mut octets in prop::collection::vec(any::<u8>(), 0..120), version in prop_oneof![Just(0x45u8), Just(0x4f), Just(0x60), any::<u8>()], icmp: bool) {
        let nat = translations(&["0.0.0.0/8 as 198.0.0.0/8", "128.0.0.0/8 as 199.0.0.0/8", "fd00::/8 as fc00::/8"]);
        if let [first, .., _] = &mut octets[..] { *first = version; }
        if let Some(protocol) = octets.get_mut(9) && icmp { *protocol = 1; }
        for direction in Direction::BOTH {
            let before = octets.clone();
            if nat.translate(direction, &mut octets).is_err() {
                prop_assert_eq!(&octets, &before);
            }
        }
    }
}
