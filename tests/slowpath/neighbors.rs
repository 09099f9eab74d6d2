//! The life of a neighbor over time. FACTS row 59.

use std::net::IpAddr;

use etherparse::ArpOperation;
use station::slowpath::{NeighborEvent, NeighborState};
use station::tables::{AdjacencyKind, PuntReason, SlowOutcome};
use station::wire::ethernet::Mac;

use crate::packets::*;
use crate::world::*;

const UNRESOLVED: PuntReason = PuntReason::NextHopUnresolved;

fn to(destination: &str) -> Vec<u8> {
    udp("172.16.0.1", destination, 64, 8)
}

fn answer(world: &mut World, address: &str) -> Done<SlowOutcome> {
    let reply = arp(ArpOperation::REPLY, PEER, address, "10.0.0.1");
    world.punt(A, PuntReason::Arp, &reply)
}

fn lost(address: &str) -> NeighborEvent {
    NeighborEvent::Lost { vif: A, address: ip(address) }
}

fn resolved(address: &str) -> NeighborEvent {
    NeighborEvent::Resolved { vif: A, address: ip(address), mac: PEER }
}

fn state(world: &World) -> Vec<(IpAddr, NeighborState)> {
    world.rows().iter().map(|row| (row.address, row.state)).collect()
}

#[test]
fn the_newest_frame_waits_and_is_forwarded() {
    let mut world = World::new();
    let asked = world.punt(CORE, UNRESOLVED, &to("10.0.0.2")).one(SlowOutcome::Queued);
    assert_eq!((asked.vif, asked.to), (A, Mac::BROADCAST));
    assert_eq!(IpAddr::from(asked.arp().sender_ipv4), ip("10.0.0.1"));
    assert_eq!(IpAddr::from(asked.arp().target_ipv4), ip("10.0.0.2"));
    for size in [20, 30] {
        let newer = udp("172.16.0.1", "10.0.0.2", 64, size);
        let outcome = world.punt(CORE, UNRESOLVED, &newer).silent();
        assert_eq!(outcome, SlowOutcome::NeighborQueueFull, "one for each that was dropped");
    }
    world.pass(0.3);
    let done = answer(&mut world, "10.0.0.2");
    assert_eq!(done.events, [resolved("10.0.0.2")]);
    let sent = done.one(SlowOutcome::Consumed);
    assert_eq!((sent.vif, sent.to, sent.priority), (A, PEER, 5));
    let mut expected = udp("172.16.0.1", "10.0.0.2", 64, 30);
    expected[8] = 63;
    reseal(&mut expected);
    assert_eq!(sent.l3, expected, "as the fast path would");
    // Until the tables know, the slow path forwards.
    world.punt(CORE, UNRESOLVED, &to("10.0.0.2")).one(SlowOutcome::Forwarded);
}

#[test]
fn a_silent_host_is_asked_three_times_then_unreachable() {
    let mut world = World::new();
    let packet = to("10.0.0.2");
    world.punt(CORE, UNRESOLVED, &packet).one(SlowOutcome::Queued);
    assert_eq!(world.pass(2.9).sent.len(), 2);
    let done = world.pass(0.2);
    assert_eq!(done.events, [], "it was never there");
    let [error] = &done.sent[..] else { panic!("{done:?}") };
    assert_eq!((error.vif, error.to), (CORE, KNOWN));
    assert_eq!(error.icmp(), ((3, 1), [0; 4], packet));
    assert_eq!(world.rows(), [], "forgotten");
    let packet = udp("2001:db8::1", "fd00:100::2", 64, 8);
    world.punt(CORE, UNRESOLVED, &packet).one(SlowOutcome::Queued);
    let done = world.pass(3.1);
    assert_eq!(done.sent.last().unwrap().icmp(), ((1, 3), [0; 4], packet));
}

#[test]
fn next_hops_are_resolved_before_they_are_needed_and_for_ever() {
    let mut world = World::new();
    world.via(A, "10.77.0.0/16", "10.0.0.7", None);
    world.publish();
    let asked = world.tick().sent;
    assert_eq!(asked.len(), 1);
    assert_eq!(IpAddr::from(asked[0].arp().target_ipv4), ip("10.0.0.7"));
    world.pass(3.1);
    assert_eq!(state(&world), [(ip("10.0.0.7"), NeighborState::Failed)]);
    // In the hold-down a frame is told at once.
    let sent = world.punt(CORE, UNRESOLVED, &to("10.77.0.1")).one(SlowOutcome::NeighborFailed);
    assert_eq!(sent.icmp().0, (3, 1));
    assert_eq!(world.pass(60.0).sent.len(), 12, "every 5 s");
    assert_eq!(answer(&mut world, "10.0.0.7").events, [resolved("10.0.0.7")]);
    let sent = world.punt(CORE, UNRESOLVED, &to("10.77.0.1")).one(SlowOutcome::Forwarded);
    assert_eq!((sent.vif, sent.to), (A, PEER));
    // The tables still say unresolved in a later generation: it is told again.
    world.publish();
    assert_eq!(world.tick().events, [resolved("10.0.0.7")]);
}

#[test]
fn a_next_hop_that_left_the_routes_is_forgotten() {
    let mut world = World::new();
    world.via(A, "10.77.0.0/16", "10.0.0.7", None);
    world.publish();
    world.pass(4.0);
    world.snapshot.neighbors = Default::default();
    world.publish();
    assert_eq!(world.pass(10.0).sent, []);
    assert_eq!(world.rows(), []);
}

#[test]
fn many_next_hops_are_asked_for_in_turns() {
    let mut world = World::new();
    for n in 2..=201 {
        world.via(CORE, "10.77.0.0/16", &format!("10.255.0.{n}"), None);
    }
    world.publish();
    assert_eq!(world.tick().sent.len(), 64);
    assert_eq!(world.pass(0.1).sent.len(), 200 - 64);
}

#[test]
fn a_reachable_neighbor_is_probed_and_lost() {
    let mut world = World::new();
    world.punt(CORE, UNRESOLVED, &to("10.0.0.2"));
    answer(&mut world, "10.0.0.2");
    assert_eq!(world.pass(24.9).sent, [], "not before its time");
    let mut asked = Vec::new();
    while asked.is_empty() {
        asked = world.pass(0.1).sent;
    }
    assert!(world.now - 1_000 * SECOND <= 35 * SECOND + SECOND / 5);
    assert_eq!(asked[0].to, PEER, "at its MAC");
    let done = answer(&mut world, "10.0.0.2");
    assert_eq!((done.events.len(), done.silent()), (0, SlowOutcome::Consumed));
    assert_eq!(world.rows()[0].age_ns, 0);
    // Now it is silent: 3 probes at its MAC, 3 to all, each a second apart; in use all along.
    let done = world.pass(25.0);
    let mut sent = done.sent;
    while sent.is_empty() {
        sent = world.pass(0.1).sent;
    }
    world.punt(CORE, UNRESOLVED, &to("10.0.0.2")).one(SlowOutcome::Forwarded);
    let rest = world.pass(5.9);
    assert_eq!(rest.events, []);
    sent.extend(rest.sent);
    let to: Vec<Mac> = sent.iter().map(|sent| sent.to).collect();
    let all = Mac::BROADCAST;
    assert_eq!(to, [PEER, PEER, PEER, all, all, all]);
    assert_eq!(world.pass(0.2).events, [lost("10.0.0.2")]);
    assert_eq!(world.rows(), []);
}

#[test]
fn traffic_of_a_reachable_neighbor_does_not_hide_that_it_is_deaf() {
    let mut world = World::new();
    world.punt(CORE, UNRESOLVED, &to("10.0.0.2"));
    answer(&mut world, "10.0.0.2");
    let mut events = Vec::new();
    for _ in 0..45 {
        let request = arp(ArpOperation::REQUEST, PEER, "10.0.0.2", "10.0.0.1");
        world.punt(A, PuntReason::Arp, &request).one(SlowOutcome::Answered);
        events.extend(world.pass(1.0).events);
    }
    assert_eq!(events, [lost("10.0.0.2")]);
}

#[test]
fn row_59_a_scan_is_limited_per_vif() {
    let mut world = World::new();
    let scan = |n: u16| udp("2001:db8::1", &format!("fd00:100::{n:x}"), 64, 8);
    // A neighbor from before.
    world.punt(CORE, UNRESOLVED, &to("10.0.0.2"));
    answer(&mut world, "10.0.0.2");
    let count = |world: &mut World, from: u16| {
        let queued = (0..500)
            .filter(|n| match world.punt(CORE, UNRESOLVED, &scan(from + n)).result {
                SlowOutcome::Queued => true,
                SlowOutcome::NeighborLimit => false,
                other => panic!("{other:?}"),
            })
            .count();
        assert_eq!(world.rows()[0].mac, Some(PEER), "not evicted");
        queued
    };
    assert_eq!(count(&mut world, 0x1000), 64);
    // Another VIF is not concerned.
    let other = udp("10.0.0.9", "10.0.0.2", 64, 8);
    assert_eq!(world.punt(B, UNRESOLVED, &other).one(SlowOutcome::Queued).vif, B);
    // Nor is a next hop of a route on the same VIF.
    world.via(A, "10.77.0.0/16", "10.0.0.7", None);
    world.publish();
    assert_eq!(world.tick().sent.len(), 1);
    assert_eq!(answer(&mut world, "10.0.0.7").events, [resolved("10.0.0.7")]);
    // The scan's entries go away by themselves.
    world.pass(3.1);
    assert_eq!(count(&mut world, 0x2000), 64);
}

#[test]
fn learned_neighbors_are_limited_per_vif() {
    let mut world = World::new();
    world.edit(A, |vif| vif.addresses = ["10.0.0.1/16".parse().unwrap()].into());
    world.route(A, "10.0.0.0/16", AdjacencyKind::Glean, ip("10.0.0.1"));
    world.publish();
    for n in 0..1100u32 {
        let host = format!("10.0.{}.{}", 1 + n / 200, 1 + n % 200);
        let expected = if n < 1024 { SlowOutcome::Queued } else { SlowOutcome::NeighborLimit };
        assert_eq!(world.punt(CORE, UNRESOLVED, &to(&host)).result, expected, "{n}");
        if n < 1024 {
            assert_eq!(answer(&mut world, &host).events.len(), 1);
        }
    }
}

#[test]
fn what_leaves_the_tables_is_forgotten() {
    let known = || {
        let mut world = World::new();
        world.punt(CORE, UNRESOLVED, &to("10.0.0.2"));
        answer(&mut world, "10.0.0.2");
        world.punt(CORE, UNRESOLVED, &to("10.0.0.3"));
        assert_eq!(world.rows().len(), 2);
        world
    };
    let mut world = known();
    world.edit(A, |vif| vif.up = false);
    assert_eq!(world.tick().events, [lost("10.0.0.2")]);
    assert_eq!(world.rows(), []);

    let mut world = known();
    let mut port = (*world.snapshot.ports[0]).clone();
    port.up = false;
    world.snapshot.ports = [port.into(), world.snapshot.ports[1].clone()].into();
    assert_eq!(world.tick().events, [lost("10.0.0.2")]);

    let mut world = known();
    world.edit(A, |vif| vif.addresses = ["10.1.0.1/24".parse().unwrap()].into());
    assert_eq!(world.tick().events, [lost("10.0.0.2")]);

    // The slot is another VIF's now, with the same addresses: nothing carries over.
    let mut world = known();
    world.edit(A, |vif| (vif.name, vif.tags.outer, vif.vrf) = ("new".into(), 111, VPC_B));
    assert_eq!(world.tick().events, [lost("10.0.0.2")]);
    assert_eq!(world.rows(), []);

    // The operator configures the neighbor: it is no longer ours to learn.
    let mut world = known();
    let id = world.via(A, "10.77.0.0/16", "10.0.0.2", Some(KNOWN));
    world.set(id, |adjacency| adjacency.static_neighbor = true);
    world.publish();
    assert_eq!(world.tick().events, [lost("10.0.0.2")]);
    assert_eq!(world.rows().len(), 1);

    let mut world = known();
    world.publish();
    assert_eq!(world.tick().events, []);
    assert_eq!(world.rows().len(), 2, "what did not change stays");
}

#[test]
fn a_waiting_frame_does_not_outlive_its_vif() {
    let mut world = World::new();
    world.punt(CORE, UNRESOLVED, &to("10.0.0.2")).one(SlowOutcome::Queued);
    world.edit(CORE, |vif| (vif.name, vif.tags.outer) = ("new".into(), 222));
    world.tick();
    let done = answer(&mut world, "10.0.0.2");
    assert_eq!(done.events, [resolved("10.0.0.2")]);
    assert_eq!(done.sent, []);
}

#[test]
fn a_neighbor_that_the_tables_do_not_know_is_told_again() {
    let mut world = World::new();
    world.punt(CORE, UNRESOLVED, &to("10.0.0.2"));
    assert_eq!(answer(&mut world, "10.0.0.2").events, [resolved("10.0.0.2")]);
    let told = |world: &mut World| {
        let done = world.punt(CORE, UNRESOLVED, &to("10.0.0.2"));
        assert_eq!(done.result, SlowOutcome::Forwarded);
        done.events
    };
    assert_eq!(told(&mut world), [], "it was told just now");
    for _ in 0..2 {
        world.pass(1.0);
        assert_eq!(told(&mut world), [resolved("10.0.0.2")]);
        assert_eq!(told(&mut world), [], "once a second");
    }
    world.pass(1.0);
    world.via(A, "10.0.0.2/32", "10.0.0.2", Some(PEER));
    world.publish();
    assert_eq!(told(&mut world), [], "the tables know it");
}
