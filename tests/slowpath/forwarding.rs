//! Forwarding in software: fragments and options. FACTS rows 26, 36, 37.

use station::tables::{AdjacencyKind, Choice, PuntReason, SlowOutcome};

use crate::packets::*;
use crate::world::*;

const OPTIONS: PuntReason = PuntReason::IpOptions;

#[test]
fn row_26_too_big_without_df_is_fragmented() {
    let packet = udp("10.0.0.9", "172.16.0.1", 64, 1450);
    let done = World::new().punt(A, PuntReason::TooBig, &packet);
    assert_eq!(done.result, SlowOutcome::Forwarded);
    let mut payload = Vec::new();
    for sent in &done.sent {
        assert_eq!((sent.vif, sent.to, sent.priority), (CORE, KNOWN, 5));
        assert_eq!((sent.l3[8], &sent.l3[12..20]), (63, &packet[12..20]));
        payload.extend_from_slice(&sent.l3[20..]);
    }
    assert_eq!((done.sent.len(), &payload[..]), (2, &packet[20..]));
}

#[test]
fn what_fits_is_forwarded_whole() {
    let packet = udp("10.0.0.9", "172.16.0.1", 64, 1372);
    assert_eq!(packet.len(), 1400);
    let sent = World::new().punt(A, PuntReason::TooBig, &packet).one(SlowOutcome::Forwarded);
    let mut expected = packet;
    expected[8] = 63;
    reseal(&mut expected);
    assert_eq!(sent.l3, expected);
    let packet = udp("fd00:100::9", "2001:db8::1", 64, 1352);
    let sent = World::new().punt(A, PuntReason::TooBig, &packet).one(SlowOutcome::Forwarded);
    let mut expected = packet;
    expected[7] = 63;
    assert_eq!((sent.ethertype, sent.l3), (0x86dd, expected));
}

#[test]
fn a_fragment_beyond_the_longest_packet_is_dropped() {
    let mut packet = udp("10.0.0.9", "172.16.0.1", 64, 1450);
    packet[6..8].copy_from_slice(&[0x1f, 0xff]);
    reseal(&mut packet);
    let outcome = World::new().punt(A, PuntReason::TooBig, &packet).silent();
    assert_eq!(outcome, SlowOutcome::IcmpNotAllowed);
}

#[test]
fn row_37_router_alert_and_record_route_are_forwarded() {
    let mut world = World::new();
    let alert = ipv4("10.0.0.9", "172.16.0.1", 64, 17, &[148, 4, 0, 0], &[1; 16]);
    let sent = world.punt(A, OPTIONS, &alert).one(SlowOutcome::Forwarded);
    let mut expected = alert;
    expected[8] = 63;
    reseal(&mut expected);
    assert_eq!((sent.vif, sent.to, sent.l3), (CORE, KNOWN, expected));

    let record = ipv4("10.0.0.9", "172.16.0.1", 64, 17, &[7, 7, 4, 0, 0, 0, 0, 0], &[1; 16]);
    let sent = world.punt(A, OPTIONS, &record).one(SlowOutcome::Forwarded);
    assert_eq!(sent.l3[20..28], [7, 7, 8, 10, 255, 0, 1, 0], "our address where it leaves");

    let stamp = ipv4("10.0.0.9", "172.16.0.1", 64, 17, &[68, 8, 5, 0, 0, 0, 0, 0], &[1; 16]);
    let sent = world.punt(A, OPTIONS, &stamp).one(SlowOutcome::Forwarded);
    let milliseconds = (world.now / 1_000_000) as u32 | 1 << 31;
    assert_eq!(sent.l3[20..28], [&[68, 8, 9, 0], &milliseconds.to_be_bytes()[..]].concat());
}

#[test]
fn options_do_not_excuse_from_ttl_and_mtu() {
    let mut world = World::new();
    let spent = ipv4("10.0.0.9", "172.16.0.1", 1, 17, &[148, 4, 0, 0], &[1; 16]);
    assert_eq!(world.punt(A, OPTIONS, &spent).one(SlowOutcome::Answered).icmp().0, (11, 0));
    let mut long = ipv4("10.0.0.9", "172.16.0.1", 64, 17, &[148, 4, 0, 0], &[1; 1400]);
    let done = world.punt(A, OPTIONS, &long);
    assert_eq!((done.result, done.sent.len()), (SlowOutcome::Forwarded, 2));
    assert!(done.sent.iter().all(|sent| sent.l3[20..24] == [148, 4, 0, 0]), "a copied option");
    set_df(&mut long);
    assert_eq!(world.punt(A, OPTIONS, &long).one(SlowOutcome::Answered).icmp().0, (3, 4));
}

#[test]
fn malformed_options_are_a_parameter_problem() {
    let bad = ipv4("10.0.0.9", "172.16.0.1", 64, 17, &[1, 1, 7, 9], &[1; 16]);
    let sent = World::new().punt(A, OPTIONS, &bad).one(SlowOutcome::BadOptions);
    assert_eq!((sent.vif, sent.icmp()), (A, ((12, 0), [23, 0, 0, 0], bad)), "the length octet");
}

#[test]
fn row_36_a_source_route_is_dropped() {
    for kind in [131, 137] {
        let bytes = ipv4("10.0.0.9", "172.16.0.1", 64, 17, &[kind, 7, 4, 10, 0, 0, 2, 0], &[1; 16]);
        assert_eq!(World::new().punt(A, OPTIONS, &bytes).silent(), SlowOutcome::BadOptions);
    }
}

#[test]
fn options_to_us_and_to_nowhere() {
    let mut world = World::new();
    let mut echo = icmp("10.0.0.9", "10.0.0.1", 64, (8, 0), [0; 4], b"x");
    let alert = ipv4("10.0.0.9", "10.0.0.1", 64, 1, &[148, 4, 0, 0], &echo.split_off(20));
    assert_eq!(world.punt(A, OPTIONS, &alert).one(SlowOutcome::Answered).icmp().0, (0, 0));
    for (kind, code) in [
        (AdjacencyKind::NoRoute, 0),
        (AdjacencyKind::Unreachable, 1),
        (AdjacencyKind::Prohibited, 13),
    ] {
        world.route(A, &format!("10.66.{code}.0/24"), kind, ip("0.0.0.0"));
        world.publish();
        let to = format!("10.66.{code}.1");
        let alert = ipv4("10.0.0.9", &to, 64, 17, &[148, 4, 0, 0], &[1; 16]);
        assert_eq!(world.punt(A, OPTIONS, &alert).one(SlowOutcome::Answered).icmp().0, (3, code));
    }
}

#[test]
fn ecmp_spreads_flows_and_keeps_each_on_its_path() {
    let mut world = World::new();
    world.point_at_two(A, CORE);
    let mut seen = std::collections::HashSet::new();
    for n in 0..64 {
        let packet = udp("10.0.0.9", &format!("10.88.0.{n}"), 64, 8);
        let first = world.punt(A, PuntReason::TooBig, &packet).one(SlowOutcome::Forwarded);
        let again = world.punt(A, PuntReason::TooBig, &packet).one(SlowOutcome::Forwarded);
        assert_eq!(first, again);
        seen.insert(first.vif);
    }
    assert_eq!(seen.len(), 2);
    // Answers of the router go back where the question came from.
    for vif in [A, CORE] {
        for n in 0..16 {
            let request = icmp(&format!("10.88.0.{n}"), "10.0.0.1", 64, (8, 0), [0; 4], b"x");
            let sent = world.punt(vif, PuntReason::Local, &request).one(SlowOutcome::Answered);
            assert_eq!(sent.vif, vif);
        }
    }
}

/// What the fast path chose, the slow path does not choose again; unless the tables are others than those it chose by: an
/// id may be another egress there.
#[test]
fn the_fast_paths_choice_counts_while_the_tables_are_the_same() {
    let mut world = World::new();
    let members = world.point_at_two(A, CORE);
    let packet = udp("10.0.0.9", "10.88.0.7", 64, 8);
    let by_hash = world.punt(A, PuntReason::TooBig, &packet).one(SlowOutcome::Forwarded).vif;
    let generation = world.snapshot.generation;
    for (adjacency, vif) in members.into_iter().zip([A, CORE]) {
        let choice = Choice { generation, adjacency };
        let chosen = world.punt_chosen(A, PuntReason::TooBig, &packet, Some(choice));
        assert_eq!(chosen.one(SlowOutcome::Forwarded).vif, vif);
        let stale = Choice { generation: generation - 1, adjacency };
        let chosen = world.punt_chosen(A, PuntReason::TooBig, &packet, Some(stale));
        assert_eq!(chosen.one(SlowOutcome::Forwarded).vif, by_hash);
    }
    // The guards hold for it too.
    let foreign = world.via(B, "10.99.0.0/16", "10.0.0.9", Some(KNOWN));
    world.publish();
    let choice = Choice { generation: generation + 1, adjacency: foreign };
    let chosen = world.punt_chosen(A, PuntReason::TooBig, &packet, Some(choice));
    assert_eq!(chosen.silent(), SlowOutcome::NoEgress);
}

#[test]
fn peers_of_a_public_vrf_stay_apart() {
    let mut world = World::new();
    world.via(Q, "203.0.113.0/24", "192.0.2.6", Some(KNOWN));
    world.via(X, "198.51.100.0/24", "192.0.2.10", Some(KNOWN));
    world.publish();
    let punt = |world: &mut World, vif, to: &str| {
        let alert = ipv4("192.0.2.2", to, 64, 17, &[148, 4, 0, 0], &[1; 16]);
        world.punt(vif, OPTIONS, &alert)
    };
    assert_eq!(punt(&mut world, P, "203.0.113.1").silent(), SlowOutcome::PeerIsolation);
    assert_eq!(punt(&mut world, P, "192.0.2.6").silent(), SlowOutcome::PeerIsolation);
    assert_eq!(punt(&mut world, P, "198.51.100.1").one(SlowOutcome::Forwarded).vif, X);
    assert_eq!(punt(&mut world, X, "203.0.113.1").one(SlowOutcome::Forwarded).vif, Q);
    assert_eq!(punt(&mut world, Q, "203.0.113.1").one(SlowOutcome::Forwarded).vif, Q);
    // An error does not cross either, whatever its packet's source says.
    let spoofed = udp("203.0.113.1", "100.64.0.1", 64, 8);
    let outcome = world.punt(P, PuntReason::NoRoute, &spoofed).silent();
    assert_eq!(outcome, SlowOutcome::PeerIsolation);
}

#[test]
fn an_adjacency_of_another_vrf_is_no_way_out() {
    let mut world = World::new();
    let foreign = world.via(B, "10.99.0.0/16", "10.0.0.9", Some(KNOWN));
    world.point(VPC_A, "10.99.0.0/16", foreign);
    world.publish();
    let packet = udp("10.0.0.9", "10.99.0.1", 64, 8);
    for reason in [PuntReason::NextHopUnresolved, PuntReason::TooBig, OPTIONS] {
        assert_eq!(world.punt(A, reason, &packet).silent(), SlowOutcome::NoEgress);
    }
    let source = udp("10.99.0.1", "10.77.0.1", 64, 8);
    assert_eq!(world.punt(A, PuntReason::NoRoute, &source).silent(), SlowOutcome::NoEgress);
}

#[test]
fn an_egress_that_went_down_is_no_egress() {
    let mut world = World::new();
    world.edit(CORE, |vif| vif.up = false);
    let packet = udp("10.0.0.9", "172.16.0.1", 64, 8);
    assert_eq!(world.punt(A, PuntReason::TooBig, &packet).silent(), SlowOutcome::NoEgress);
}

#[test]
fn a_fixed_priority_replaces_that_of_the_frame() {
    let mut world = World::new();
    world.edit(CORE, |vif| vif.pcp = station::tables::Pcp::Set(2));
    let packet = udp("10.0.0.9", "172.16.0.1", 64, 8);
    assert_eq!(world.punt(A, PuntReason::TooBig, &packet).one(SlowOutcome::Forwarded).priority, 2);
}
