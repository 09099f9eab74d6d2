//! ICMP errors: FACTS rows 24, 25, 27, 28, 43, 44, 48, 60, 61.

use station::tables::{AdjacencyKind, PuntReason, SlowOutcome};

use crate::packets::*;
use crate::world::*;

/// A punt's reason, the error's type and code for IPv4, for IPv6.
type Answer = (PuntReason, (u8, u8), (u8, u8));

/// Every reason that is answered by an error without a look at the tables.
const REASONS: [Answer; 4] = [
    (PuntReason::TtlExceeded, (11, 0), (3, 0)),
    (PuntReason::NoRoute, (3, 0), (1, 0)),
    (PuntReason::Unreachable, (3, 1), (1, 3)),
    (PuntReason::Prohibited, (3, 13), (1, 1)),
];

#[test]
fn rows_24_27_28_43_errors_by_reason() {
    for (reason, kind4, kind6) in REASONS {
        let packet = udp("10.0.0.9", "172.16.0.1", 1, 20);
        let sent = World::new().punt(A, reason, &packet).one(SlowOutcome::Answered);
        assert_eq!((sent.vif, sent.to, sent.priority), (A, PEER, 5));
        assert_eq!(sent.addresses(), ("10.0.0.1".into(), "10.0.0.9".into()));
        assert_eq!(sent.icmp(), (kind4, [0; 4], packet), "quotes the packet as it came");

        let packet = udp("fd00:100::9", "2001:db8::1", 1, 20);
        let sent = World::new().punt(A, reason, &packet).one(SlowOutcome::Answered);
        assert_eq!(sent.addresses(), ("fd00:100::1".into(), "fd00:100::9".into()));
        assert_eq!(sent.icmp(), (kind6, [0; 4], packet));
    }
}

#[test]
fn long_packets_are_quoted_to_the_limit() {
    let packet = udp("10.0.0.9", "172.16.0.1", 1, 1400);
    let sent = World::new().punt(A, PuntReason::NoRoute, &packet).one(SlowOutcome::Answered);
    assert_eq!(sent.l3.len(), 576);
    assert_eq!(sent.icmp().2, packet[..548]);
    let packet = udp("fd00:100::9", "2001:db8::1", 1, 1400);
    let sent = World::new().punt(A, PuntReason::NoRoute, &packet).one(SlowOutcome::Answered);
    assert_eq!(sent.l3.len(), 1280);
    assert_eq!(sent.icmp().2, packet[..1232]);
}

#[test]
fn ethernet_padding_is_not_quoted() {
    let packet = udp("10.0.0.9", "172.16.0.1", 1, 0);
    let padded = [&packet[..], &[0x55; 18]].concat();
    let sent = World::new().punt(A, PuntReason::NoRoute, &padded).one(SlowOutcome::Answered);
    assert_eq!(sent.icmp().2, packet);
}

#[test]
fn row_25_too_big_with_df_names_the_mtu() {
    let mut packet = udp("10.0.0.9", "172.16.0.1", 64, 1400);
    set_df(&mut packet);
    let sent = World::new().punt(A, PuntReason::TooBig, &packet).one(SlowOutcome::Answered);
    let (kind, word, body) = sent.icmp();
    assert_eq!((kind, word), ((3, 4), [0, 0, 0x05, 0x78]), "1400");
    assert_eq!(body, packet[..548]);
}

#[test]
fn row_44_ipv6_too_big_names_the_mtu() {
    let packet = udp("fd00:100::9", "2001:db8::1", 64, 1400);
    let sent = World::new().punt(A, PuntReason::TooBig, &packet).one(SlowOutcome::Answered);
    let (kind, word, _) = sent.icmp();
    assert_eq!((kind, word), ((2, 0), [0, 0, 0x05, 0x78]));
}

#[test]
fn row_48_link_local_source_off_link() {
    let packet = udp("fe80::9", "2001:db8::1", 64, 8);
    let mut world = World::new();
    let done = world.punt(A, PuntReason::LinkLocal, &packet);
    // The sender has to be resolved first; the answer waits.
    let asked = done.one(SlowOutcome::Queued);
    assert_eq!(asked.addresses().0, "fe80::1");
    let advertisement = nd(136, "fe80::9", "fe80::1", 0x60, "fe80::9", Some(PEER));
    let sent =
        world.punt(A, PuntReason::NeighborDiscovery, &advertisement).one(SlowOutcome::Consumed);
    assert_eq!(sent.addresses(), ("fe80::1".into(), "fe80::9".into()));
    assert_eq!(sent.icmp(), ((1, 2), [0; 4], packet));
    for reason in [PuntReason::NextHopUnresolved, PuntReason::TooBig] {
        let sent = world.punt(A, reason, &udp("fe80::9", "2001:db8::1", 64, 8));
        assert_eq!(sent.one(SlowOutcome::Answered).icmp().0, (1, 2), "never forwarded");
    }
}

#[test]
fn row_61_never_an_error_about_an_error() {
    let quote = [0; 28];
    let never4 = [3, 4, 5, 11, 12, 30, 255];
    let never6 = [0, 1, 2, 3, 4, 100, 127, 137];
    for (reason, kind4, kind6) in REASONS {
        for kind in never4 {
            let packet = icmp("10.0.0.9", "172.16.0.1", 1, (kind, 0), [0; 4], &quote);
            assert_eq!(World::new().punt(A, reason, &packet).silent(), SlowOutcome::IcmpNotAllowed);
        }
        for kind in never6 {
            let packet = icmp("fd00:100::9", "2001:db8::1", 1, (kind, 0), [0; 4], &quote);
            assert_eq!(World::new().punt(A, reason, &packet).silent(), SlowOutcome::IcmpNotAllowed);
        }
        let packet = icmp("10.0.0.9", "172.16.0.1", 1, (8, 0), [0; 4], &[]);
        let sent = World::new().punt(A, reason, &packet).one(SlowOutcome::Answered);
        assert_eq!(sent.icmp().0, kind4, "traceroute by echo");
        let packet = icmp("fd00:100::9", "2001:db8::1", 1, (128, 0), [0; 4], &[]);
        let sent = World::new().punt(A, reason, &packet).one(SlowOutcome::Answered);
        assert_eq!(sent.icmp().0, kind6, "traceroute by echo");
    }
}

#[test]
fn row_61_an_error_behind_extension_headers_is_an_error() {
    let error = icmp("fd00:100::9", "2001:db8::1", 1, (3, 0), [0; 4], &[0; 48]);
    let hidden = [&[58, 0, 1, 4, 0, 0, 0, 0], &error[40..]].concat();
    let packet = packet("fd00:100::9", "2001:db8::1", 1, 60, &hidden);
    let outcome = World::new().punt(A, PuntReason::NoRoute, &packet).silent();
    assert_eq!(outcome, SlowOutcome::IcmpNotAllowed);
}

#[test]
fn never_an_error_to_or_about_many() {
    let sources = [
        "0.0.0.0",
        "127.0.0.1",
        "224.0.0.1",
        "240.0.0.1",
        "255.255.255.255",
        "10.0.0.255",
        "10.0.0.1",
    ];
    let destinations = ["224.0.0.9", "255.255.255.255", "10.0.0.255", "169.254.100.3"];
    let pairs4 = sources.map(|from| (from, "172.16.0.1"));
    let pairs4b = destinations.map(|to| ("10.0.0.9", to));
    let pairs6 = [
        ("::", "2001:db8::1"),
        ("::1", "2001:db8::1"),
        ("ff02::1", "2001:db8::1"),
        ("fd00:100::9", "ff05::1"),
        ("fd00:100::1", "2001:db8::1"),
    ];
    for (from, to) in pairs4.into_iter().chain(pairs4b).chain(pairs6) {
        for (reason, ..) in REASONS {
            let outcome = World::new().punt(A, reason, &udp(from, to, 1, 8)).silent();
            assert_eq!(outcome, SlowOutcome::IcmpNotAllowed, "{from} > {to}");
        }
    }
    let (mut group, l3) = frame(&World::new().vif(A), PEER, &udp("10.0.0.9", "172.16.0.1", 1, 8));
    group[..6].fill(0xff);
    let outcome = World::new().punt_frame(A, PuntReason::NoRoute, &group, l3).silent();
    assert_eq!(outcome, SlowOutcome::IcmpNotAllowed, "a broadcast frame");
}

#[test]
fn of_later_fragments_those_of_ipv6_alone_are_answered() {
    let mut packet4 = udp("10.0.0.9", "172.16.0.1", 1, 100);
    packet4[7] = 1;
    reseal(&mut packet4);
    let fragment = [&[17, 0, 0, 8, 0, 0, 0, 1][..], &[0; 40]].concat();
    let packet6 = packet("fd00:100::9", "2001:db8::1", 1, 44, &fragment);
    // RFC 1122 3.2.2.
    let outcome = World::new().punt(A, PuntReason::TtlExceeded, &packet4).silent();
    assert_eq!(outcome, SlowOutcome::IcmpNotAllowed);
    // RFC 4443 2.4 (e) has no such exception.
    let sent = World::new().punt(A, PuntReason::TtlExceeded, &packet6).one(SlowOutcome::Answered);
    assert_eq!(sent.icmp(), ((3, 0), [0; 4], packet6));
    // Extension headers that end early may hide an error.
    let hidden = packet("fd00:100::9", "2001:db8::1", 1, 60, &[60, 0, 0, 0, 0, 0, 0, 0]);
    let outcome = World::new().punt(A, PuntReason::TtlExceeded, &hidden).silent();
    assert_eq!(outcome, SlowOutcome::IcmpNotAllowed);
}

#[test]
fn without_an_address_of_the_family_nothing_is_answered() {
    let mut world = World::new();
    // P has IPv4 and a link-local address only.
    let packet = udp("2001:db8:9::9", "2001:db8::1", 1, 8);
    assert_eq!(world.punt(P, PuntReason::NoRoute, &packet).silent(), SlowOutcome::IcmpNotAllowed);
}

#[test]
fn row_60_errors_are_limited_per_vif() {
    let mut world = World::new();
    let packet = udp("10.0.0.9", "172.16.0.1", 1, 8);
    let mut count = |vif, times: u32| {
        let answered = |world: &mut World| {
            let done = world.punt(vif, PuntReason::TtlExceeded, &packet);
            if done.result == SlowOutcome::Answered {
                return true;
            }
            assert!(matches!(done.silent(), SlowOutcome::IcmpRate | SlowOutcome::NoEgress));
            false
        };
        (0..times).filter(|_| answered(&mut world)).count()
    };
    assert_eq!(count(A, 500), 50, "a burst");
    assert_eq!(count(A, 10), 0);
    let mut other = World::new();
    other.via(B, "10.0.0.9/32", "10.0.0.9", Some(PEER));
    other.publish();
    for _ in 0..500 {
        other.punt(A, PuntReason::TtlExceeded, &packet);
    }
    other.punt(B, PuntReason::TtlExceeded, &packet).one(SlowOutcome::Answered);
    other.now += SECOND;
    let answered = (0..500)
        .filter(|_| other.punt(A, PuntReason::TtlExceeded, &packet).result == SlowOutcome::Answered)
        .count();
    assert_eq!(answered, 50, "the bucket is full again, and no fuller");
}

#[test]
fn an_error_goes_back_by_its_vif_or_by_the_route() {
    let mut world = World::new();
    // From behind the core, and from a network that nobody knows the way to.
    let sent = world.punt(CORE, PuntReason::NoRoute, &udp("172.16.0.1", "10.77.0.1", 9, 8));
    let sent = sent.one(SlowOutcome::Answered);
    assert_eq!((sent.vif, sent.to), (CORE, KNOWN));
    assert_eq!(sent.addresses().0, "10.255.0.1", "from the ingress VIF's address");
    // A asymmetric source: the route leads elsewhere in the same VRF.
    let sent = world.punt(A, PuntReason::NoRoute, &udp("172.16.0.1", "10.77.0.1", 9, 8));
    let sent = sent.one(SlowOutcome::Answered);
    assert_eq!((sent.vif, sent.addresses().0), (CORE, "169.254.100.1".into()));
    let lost = world.punt(A, PuntReason::NoRoute, &udp("198.51.100.1", "10.77.0.1", 9, 8));
    assert_eq!(lost.silent(), SlowOutcome::NoEgress);
    // The same packet in tenant B's VRF finds no way out of it.
    let packet = udp("172.16.0.1", "10.77.0.1", 9, 8);
    assert_eq!(world.punt(B, PuntReason::NoRoute, &packet).silent(), SlowOutcome::NoEgress);
}

#[test]
fn a_blackhole_is_silent() {
    let mut world = World::new();
    world.route(A, "10.66.0.0/16", AdjacencyKind::Blackhole, ip("0.0.0.0"));
    world.publish();
    let packet = udp("10.0.0.9", "10.66.0.1", 64, 8);
    assert_eq!(world.punt(A, PuntReason::TooBig, &packet).silent(), SlowOutcome::NoEgress);
}
