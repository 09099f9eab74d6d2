//! ARP: FACTS rows 53-56.

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

/// An ARP frame whose Ethernet source is the sender.
fn heard_from(world: &mut World, mac: Mac, bytes: &[u8]) -> Done<SlowOutcome> {
    let (frame, l3) = frame(&world.vif(A), mac, bytes);
    world.punt_frame(A, PuntReason::Arp, &frame, l3)
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
fn row_53_arp_sender_outside_the_subnet() {
    for sender in ["10.0.1.2", "192.0.2.1", "10.0.0.255", "224.0.0.1", "127.0.0.1"] {
        for operation in [REQUEST, REPLY] {
            let bytes = arp(operation, PEER, sender, "10.0.0.1");
            let outcome = heard(&mut World::new(), &bytes).silent();
            assert_eq!(outcome, SlowOutcome::ArpOffSubnet, "{sender}");
        }
    }
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
fn row_55_unsolicited_reply_overwriting_an_entry() {
    for bytes in [
        arp(REPLY, OTHER, "10.0.0.2", "10.0.0.1"),
        arp(REPLY, OTHER, "10.0.0.2", "10.0.0.2"),
        arp(REQUEST, OTHER, "10.0.0.2", "10.0.0.2"),
    ] {
        let mut world = resolved();
        let done = heard_from(&mut world, OTHER, &bytes);
        assert_eq!(done.events, []);
        let probe = done.one(SlowOutcome::UnsolicitedReply);
        assert_eq!((probe.to, probe.arp().operation), (PEER, REQUEST), "the old MAC is asked");
        assert_eq!(world.rows()[0].mac, Some(PEER));
        // It answers: nothing has changed.
        let done = heard(&mut world, &arp(REPLY, PEER, "10.0.0.2", "10.0.0.1"));
        assert_eq!((done.result, done.events.len()), (SlowOutcome::Consumed, 0));
        assert_eq!(world.rows()[0].state, NeighborState::Reachable);
    }
}

#[test]
fn a_new_mac_is_taken_where_the_old_one_is_silent() {
    let mut world = resolved();
    let takeover = arp(REQUEST, OTHER, "10.0.0.2", "10.0.0.2");
    heard_from(&mut world, OTHER, &takeover).one(SlowOutcome::UnsolicitedReply);
    let asked = world.pass(0.7).sent;
    let to: Vec<Mac> = asked.iter().map(|sent| sent.to).collect();
    assert_eq!(to, [PEER, PEER, Mac::BROADCAST], "then everybody");
    let done = heard_from(&mut world, OTHER, &arp(REPLY, OTHER, "10.0.0.2", "10.0.0.1"));
    let address = ip("10.0.0.2");
    assert_eq!(done.events, [NeighborEvent::Resolved { vif: A, address, mac: OTHER }]);
    assert_eq!(world.rows()[0].mac, Some(OTHER));
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
        (0, 1),     // hardware type
        (1, 6),     // hardware type
        (2, 0x86),  // protocol type
        (4, 5),     // hlen
        (4, 8),     // hlen
        (4, 0),     // hlen
        (5, 16),    // plen
        (7, 0),     // operation
        (7, 3),     // reverse ARP
        (6, 1),     // operation
        (13, 0x77), // another sender than the Ethernet source
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
