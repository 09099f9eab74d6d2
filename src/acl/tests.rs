//! The classifier against the scan, over random lists and packets.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;
use proptest::prelude::*;

use super::*;

/// A few addresses and lengths, so that prefixes nest and packets hit them.
fn prefix4() -> impl Strategy<Value = IpNet> {
    let address = prop::sample::select(vec![
        0x0a00_0000u32,
        0x0a00_0001,
        0x0a01_0203,
        0x0a01_02ff,
        0x0a80_0000,
        0xc0a8_0101,
        0xffff_ffff,
    ]);
    (address, 0u8..=32)
        .prop_map(|(bits, len)| IpNet::new_assert(Ipv4Addr::from_bits(bits).into(), len).trunc())
}

fn prefix6() -> impl Strategy<Value = IpNet> {
    let base = 0x2001_0db8_0000_0000_0000_0000_0000_0000u128;
    let address =
        prop::sample::select(vec![base, base + 1, base | 5 << 64, base | 7 << 64 | 9, u128::MAX]);
    (address, 0u8..=128)
        .prop_map(|(bits, len)| IpNet::new_assert(Ipv6Addr::from_bits(bits).into(), len).trunc())
}

fn span() -> impl Strategy<Value = Span> {
    let end = prop_oneof![Just(0u16), 1u16..5, 254u16..260, Just(443), any::<u16>(), Just(65535)];
    let pair = (end.clone(), end);
    prop_oneof![
        2 => Just(Span::ALL),
        3 => pair.prop_map(|(a, b)| Span { first: a.min(b), last: a.max(b) }),
    ]
}

fn rule() -> impl Strategy<Value = Rule> {
    let action = prop::sample::select(vec![Action::Permit, Action::Deny, Action::Reject]);
    let nets = prop_oneof![
        (prop::option::of(prefix4()), prop::option::of(prefix4())),
        (prop::option::of(prefix6()), prop::option::of(prefix6())),
    ];
    let flags = (0u8..8, 0u8..8, 0u8..8).prop_map(|(a, b, c)| {
        let (set, clear) = (a << 1 & !b, b & 0x12);
        Flags { set: set & !clear, clear, any: if c == 0 { 0x14 } else { 0 } }
    });
    let icmp = prop::option::of((0u8..4, prop::option::of(0u8..3)));
    let kind = 0..7;
    (action, nets, kind, span(), span(), flags, icmp, any::<bool>()).prop_map(
        |(action, (source, destination), kind, from, to, flags, icmp, fragment)| {
            let net = source.or(destination);
            let v4 = net.is_none_or(|net| net.addr().is_ipv4());
            let mut rule = Rule {
                action,
                family: None,
                protocol: None,
                source,
                destination,
                source_ports: Span::ALL,
                destination_ports: Span::ALL,
                flags: Flags::default(),
                icmp: None,
                fragment: false,
            };
            match kind {
                0 => rule.fragment = fragment,
                1 => (rule.protocol, rule.flags) = (Some(6), flags),
                2 | 3 => {
                    rule.protocol = Some(if kind == 2 { 6 } else { 17 });
                    (rule.source_ports, rule.destination_ports) = (from, to);
                }
                4 if v4 => {
                    (rule.protocol, rule.family, rule.icmp) = (Some(1), Some(Family::V4), icmp);
                }
                4 => (rule.protocol, rule.family, rule.icmp) = (Some(58), Some(Family::V6), icmp),
                5 => (rule.protocol, rule.fragment) = (Some(17), fragment),
                _ => rule.protocol = Some(47),
            }
            rule
        },
    )
}

/// An address in a prefix or beside it.
fn near(net: Option<IpNet>, v4: bool, how: u8) -> IpAddr {
    let shift = |bits: u128| match how % 4 {
        0 => bits,
        1 => bits.wrapping_add(1),
        2 => bits.wrapping_sub(1),
        _ => bits ^ 1 << (how / 4),
    };
    match net {
        Some(IpNet::V4(net)) => {
            let bits = if how & 64 == 0 { net.network() } else { net.broadcast() }.to_bits();
            #[expect(clippy::cast_possible_truncation)]
            Ipv4Addr::from_bits(shift(bits.into()) as u32).into()
        }
        Some(IpNet::V6(net)) => {
            let bits = if how & 64 == 0 { net.network() } else { net.broadcast() }.to_bits();
            Ipv6Addr::from_bits(shift(bits)).into()
        }
        None if v4 => Ipv4Addr::new(10, 0, 0, how).into(),
        None => Ipv6Addr::from_bits(0x2001_0db8 << 96 | u128::from(how)).into(),
    }
}

/// A packet near to one that a rule is about.
fn packet(rule: &Rule, how: &[u8; 8]) -> Fields {
    let v4 = match rule.only_family() {
        Some(family) => family == Family::V4,
        None => how[0] & 1 == 0,
    };
    let [source, destination] =
        [(rule.source, how[1]), (rule.destination, how[2])].map(|(net, how)| near(net, v4, how));
    let addresses = match (source, destination) {
        (IpAddr::V4(a), IpAddr::V4(b)) => {
            Addresses::V4 { source: a.to_bits(), destination: b.to_bits() }
        }
        (IpAddr::V6(a), IpAddr::V6(b)) => {
            Addresses::V6 { source: a.to_bits(), destination: b.to_bits() }
        }
        _ => panic!("two families"),
    };
    let port = |span: Span, how: u8| match how % 4 {
        0 => span.first,
        1 => span.last,
        2 => span.first.wrapping_sub(1),
        _ => span.last.wrapping_add(1),
    };
    let protocol = if how[3].is_multiple_of(4) { how[3] / 4 } else { rule.protocol.unwrap_or(6) };
    let beyond = rule.beyond();
    let upper = Upper {
        first: port(beyond.first, how[4]),
        second: port(beyond.second, how[5]),
        flags: how[6] & 0x1f,
    };
    Fields { addresses, protocol, upper: (!how[7].is_multiple_of(4)).then_some(upper) }
}

fn check(rules: &[Rule], hows: &[[u8; 8]]) -> Result<(), TestCaseError> {
    let classifiers = [Classifier::new(rules), build::compile_vectors(rules)];
    for classifier in &classifiers {
        for (at, how) in hows.iter().enumerate() {
            let fields = packet(&rules[at % rules.len()], how);
            let first = first_match(rules, &fields).unwrap_or(rules.len());
            let kind = classifier.kind();
            prop_assert_eq!(classifier.find(&fields), first, "{:?} {:?}", kind, fields);
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(if cfg!(debug_assertions) { 66 } else { 200 }))]

    #[test]
    fn the_classifier_finds_what_a_scan_finds(
        rules in prop::collection::vec(rule(), 1..60),
        hows in prop::collection::vec(any::<[u8; 8]>(), 100..300),
    ) {
        check(&rules, &hows)?;
    }

    #[test]
    fn a_rule_is_what_its_text_says(rule in rule()) {
        let text = rule.to_string();
        let read: Rule = text.parse().map_err(|error: RuleError| TestCaseError::fail(format!("{text}: {error:?}")))?;
        prop_assert_eq!(&read.to_string(), &text);
        prop_assert!(read == rule || text.contains("/0"), "{}", text);
    }
}
