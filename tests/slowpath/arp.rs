//! ARP: FACTS rows 53-56.

use std::net::IpAddr;

use etherparse::ArpOperation;
use station::slowpath::{NeighborEvent, NeighborState};
use station::tables::{PuntReason, SlowOutcome};
use station::wire::ethernet::Mac;

use crate::packets::{arp, udp};
use crate::world::*;

const REQUEST: ArpOperation = ArpOperation::REQUEST;
const REPLY: ArpOperation = ArpOperation::REPLY;
const OTHER: Mac = Mac([2, 0, 0, 0, 9, 2]);

fn heard(world: &mut World, bytes: &[u8]) -> Done<SlowOutcome> {
    world.punt(A, PuntReason::Arp, bytes)
}

/// An ARP frame from this MAC.
fn heard_from(world: &mut World, mac: Mac, bytes: &[u8]) -> Done<SlowOutcome> {
    world.punt_from(A, PuntReason::Arp, mac, bytes)
}

/// A world in which [`PEER`] is 10.0.0.2.
fn resolved() -> World {
    let mut world = World::new();
    let packet = udp("172.16.0.1", "10.0.0.2", 64, 8);
    world.punt(CORE, PuntReason::NextHopUnresolved, &packet).one(SlowOutcome::Queued);
    let done = heard(&mut world, &arp(REPLY, PEER, "10.0.0.2", "10.0.0.1"));
    assert_eq!(done.result, SlowOutcome::Consumed);
    let address = ip("10.0.0.2");
    assert_eq!(done.events, [NeighborEvent::Resolved { vif: A, address, mac: PEER }]);
    assert_eq!(world.rows()[0].state, NeighborState::Reachable);
    world
}

#[test]
fn a_request_for_our_address_is_answered() {
    for (sender, target) in [("10.0.0.2", "10.0.0.1"), ("169.254.100.2", "169.254.100.1")] {
        let mut world = World::new();
        let sent =
            heard(&mut world, &arp(REQUEST, PEER, sender, target)).one(SlowOutcome::Answered);
        let reply = sent.arp();
        assert_eq!((sent.vif, sent.to, sent.priority), (A, PEER, 5));
        assert_eq!(reply.operation, REPLY);
        assert_eq!(
            (Mac(reply.sender_mac), Mac(reply.target_mac)),
            (port_mac(world.vif(A).port), PEER)
        );
        assert_eq!((ip(target), ip(sender)), (reply.sender_ipv4.into(), reply.target_ipv4.into()));
        assert_eq!(world.rows(), [], "the requester is not needed");
    }
}

#[test]
fn a_probe_for_our_address_is_answered() {
    let sent = heard(&mut World::new(), &arp(REQUEST, PEER, "0.0.0.0", "10.0.0.1"))
        .one(SlowOutcome::Answered);
    assert_eq!(sent.to, PEER);
    let other = arp(REQUEST, PEER, "0.0.0.0", "10.0.0.7");
    assert_eq!(heard(&mut World::new(), &other).silent(), SlowOutcome::NotForUs);
    let reply = arp(REPLY, PEER, "0.0.0.0", "10.0.0.1");
    assert_eq!(heard(&mut World::new(), &reply).silent(), SlowOutcome::BadArp);
}

#[test]
fn a_request_for_another_address_is_not_for_us() {
    for target in ["10.0.0.7", "10.255.0.1"] {
        let request = arp(REQUEST, PEER, "10.0.0.2", target);
        assert_eq!(heard(&mut World::new(), &request).silent(), SlowOutcome::NotForUs);
    }
}

#[test]
fn padding_after_a_request_is_ignored() {
    let request = [arp(REQUEST, PEER, "10.0.0.2", "10.0.0.1"), vec![0; 18]].concat();
    heard(&mut World::new(), &request).one(SlowOutcome::Answered);
}

#[test]
fn a_vrrp_router_speaks_for_its_virtual_mac_from_its_own() {
    let virtual_mac = Mac([0, 0, 0x5e, 0, 1, 0x0a]);
    let mut world = World::new();
    let packet = udp("172.16.0.1", "10.0.0.2", 64, 8);
    world.punt(CORE, PuntReason::NextHopUnresolved, &packet).one(SlowOutcome::Queued);
    let done = heard(&mut world, &arp(REPLY, virtual_mac, "10.0.0.2", "10.0.0.1"));
    let address = ip("10.0.0.2");
    assert_eq!(done.events, [NeighborEvent::Resolved { vif: A, address, mac: virtual_mac }]);
    assert_eq!(done.one(SlowOutcome::Consumed).to, virtual_mac);
    // A request framed so is answered, to the MAC that it names (RFC 826).
    let request = arp(REQUEST, virtual_mac, "10.0.0.2", "10.0.0.1");
    let sent = heard(&mut world, &request).one(SlowOutcome::Answered);
    assert_eq!((sent.to, Mac(sent.arp().target_mac)), (virtual_mac, virtual_mac));
}

#[test]
fn row_53_arp_sender_outside_the_subnet_is_answered_and_nothing_is_learned() {
    for sender in ["10.0.1.2", "192.0.2.1"] {
        let mut world = World::new();
        let request = arp(REQUEST, PEER, sender, "10.0.0.1");
        let sent = heard(&mut world, &request).one(SlowOutcome::Answered);
        assert_eq!((sent.to, IpAddr::from(sent.arp().target_ipv4)), (PEER, ip(sender)));
        let other = arp(REQUEST, PEER, sender, "10.0.0.7");
        assert_eq!(heard(&mut world, &other).silent(), SlowOutcome::ArpOffSubnet, "not for us");
        let reply = arp(REPLY, PEER, sender, "10.0.0.1");
        assert_eq!(heard(&mut world, &reply).silent(), SlowOutcome::ArpOffSubnet);
        assert_eq!(world.rows(), []);
    }
    for sender in ["10.0.0.255", "224.0.0.1", "127.0.0.1", "255.255.255.255"] {
        for operation in [REQUEST, REPLY] {
            let bytes = arp(operation, PEER, sender, "10.0.0.1");
            let outcome = heard(&mut World::new(), &bytes).silent();
            assert_eq!(outcome, SlowOutcome::ArpOffSubnet, "{sender}");
        }
    }
}

#[test]
fn our_own_arp_that_comes_back_is_a_loop_and_no_conflict() {
    let own = port_mac(World::new().vif(A).port);
    // Our question, our answer, and our answer to a probe.
    for bytes in [
        arp(REQUEST, own, "10.0.0.1", "10.0.0.2"),
        arp(REPLY, own, "10.0.0.1", "10.0.0.2"),
        arp(REPLY, own, "10.0.0.1", "0.0.0.0"),
    ] {
        let mut world = resolved();
        let before = world.rows();
        assert_eq!(heard_from(&mut world, own, &bytes).silent(), SlowOutcome::Looped);
        // Also by a bridge that puts its own MAC in front.
        assert_eq!(heard_from(&mut world, OTHER, &bytes).silent(), SlowOutcome::Looped);
        assert_eq!(world.rows(), before);
    }
    // By another port of the station.
    let core = port_mac(World::new().vif(CORE).port);
    let bytes = arp(REQUEST, core, "10.0.0.1", "10.0.0.2");
    assert_eq!(heard_from(&mut World::new(), core, &bytes).silent(), SlowOutcome::Looped);
    // Two ports of the station on one wire speak to each other like any two routers.
    let bytes = arp(REQUEST, core, "10.0.0.2", "10.0.0.1");
    heard_from(&mut World::new(), core, &bytes).one(SlowOutcome::Answered);
    let claim = arp(REQUEST, OTHER, "10.0.0.1", "10.0.0.2");
    let outcome = heard_from(&mut World::new(), OTHER, &claim).silent();
    assert_eq!(outcome, SlowOutcome::AddressConflict);
}

#[test]
fn row_54_arp_claiming_our_address() {
    for operation in [REQUEST, REPLY] {
        for target in ["10.0.0.1", "10.0.0.2", "169.254.100.1"] {
            let bytes = arp(operation, PEER, "10.0.0.1", target);
            let outcome = heard(&mut World::new(), &bytes).silent();
            assert_eq!(outcome, SlowOutcome::AddressConflict);
        }
    }
}

#[test]
fn a_reply_that_nobody_asked_for_teaches_nothing() {
    let mut world = World::new();
    let reply = arp(REPLY, PEER, "10.0.0.2", "10.0.0.1");
    assert_eq!(heard(&mut world, &reply).silent(), SlowOutcome::UnsolicitedReply);
    let announcement = arp(REQUEST, PEER, "10.0.0.2", "10.0.0.2");
    assert_eq!(heard(&mut world, &announcement).silent(), SlowOutcome::Consumed);
    assert_eq!(world.rows(), []);
}

#[test]
fn a_static_neighbor_is_never_learned_over() {
    let mut world = World::new();
    let id = world.via(A, "10.9.0.0/16", "10.0.0.2", Some(KNOWN));
    world.set(id, |adjacency| adjacency.static_neighbor = true);
    world.publish();
    let reply = arp(REPLY, PEER, "10.0.0.2", "10.0.0.1");
    let done = heard(&mut world, &reply);
    assert_eq!(done.events, []);
    assert_eq!(done.silent(), SlowOutcome::UnsolicitedReply);
    let request = arp(REQUEST, PEER, "10.0.0.2", "10.0.0.1");
    assert_eq!(heard(&mut world, &request).one(SlowOutcome::Answered).to, PEER);
    let packet = udp("172.16.0.1", "10.0.0.2", 64, 8);
    let sent = world.punt(CORE, PuntReason::NextHopUnresolved, &packet).one(SlowOutcome::Forwarded);
    assert_eq!(sent.to, KNOWN);
    assert_eq!(world.rows(), []);
}

#[test]
fn row_56_hlen_and_other_malformed_arp() {
    let good = arp(REQUEST, PEER, "10.0.0.2", "10.0.0.1");
    let edits: &[(usize, u8)] = &[
        (0, 1),    // hardware type
        (1, 6),    // hardware type
        (2, 0x86), // protocol type
        (4, 5),    // hlen
        (4, 8),    // hlen
        (4, 0),    // hlen
        (5, 16),   // plen
        (7, 0),    // operation
        (7, 3),    // reverse ARP
        (6, 1),    // operation
    ];
    for &(at, value) in edits {
        let mut bytes = good.clone();
        bytes[at] = value;
        let outcome = heard(&mut World::new(), &bytes).silent();
        assert_eq!(outcome, SlowOutcome::BadArp, "{at}: {value}");
    }
    for length in 0..good.len() {
        assert_eq!(heard(&mut World::new(), &good[..length]).silent(), SlowOutcome::BadArp);
    }
    for mac in [Mac::BROADCAST, Mac([3, 0, 0, 0, 0, 1]), Mac([0; 6])] {
        let bytes = arp(REQUEST, mac, "10.0.0.2", "10.0.0.1");
        assert_eq!(heard_from(&mut World::new(), mac, &bytes).silent(), SlowOutcome::BadArp);
    }
}

#[test]
fn tenants_with_equal_addresses_do_not_share_neighbors() {
    let mut world = resolved();
    let reply = arp(REPLY, PEER, "10.0.0.2", "10.0.0.1");
    let done = world.punt(B, PuntReason::Arp, &reply);
    assert_eq!(done.silent(), SlowOutcome::UnsolicitedReply);
    assert_eq!(world.rows().len(), 1);
    let request = arp(REQUEST, PEER, "10.0.0.2", "10.0.0.1");
    assert_eq!(world.punt(B, PuntReason::Arp, &request).one(SlowOutcome::Answered).vif, B);
}
