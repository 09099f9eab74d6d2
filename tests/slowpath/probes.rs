//! Echo requests of the station itself: what leaves, what counts as an answer, and what does not.

use station::slowpath::{MAX_SENDERS, MAX_WAITING, Probe, ProbeAnswer, Said, Unsent};
use station::tables::{AdjacencyKind, DropReason, PuntReason, SlowOutcome, Verdict, VifId};

use crate::packets::*;
use crate::world::*;

const ID: u16 = 0x1234;
const REPLY4: (u8, u8) = (0, 0);
const REPLY6: (u8, u8) = (129, 0);

fn probe(world: &World, vif: VifId, to: &str, sequence: u16) -> Probe {
    let of = world.vif(vif);
    Probe {
        vif,
        of: (of.name, of.vrf),
        to: ip(to),
        hop_limit: 64,
        dont_fragment: false,
        data: 8,
        id: ID,
        sequence,
        patience_ns: SECOND,
    }
}

/// The word of an echo message.
fn word(id: u16, sequence: u16) -> [u8; 4] {
    (u32::from(id) << 16 | u32::from(sequence)).to_be_bytes()
}

fn answers(world: &mut World) -> Vec<(u16, u16, Said)> {
    let answers = world.slow.take_answers();
    answers.iter().map(|of| (of.id, of.sequence, of.said)).collect()
}

#[test]
fn a_reply_is_taken_once() {
    for (vif, to, own, reply, request) in [
        (CORE, "172.16.0.1", "10.255.0.1", REPLY4, (8, 0)),
        (CORE, "2001:db8::1", "fd00:255::1", REPLY6, (128, 0)),
        // By the route of the VRF, whichever VIF asks.
        (A, "172.16.0.1", "169.254.100.1", REPLY4, (8, 0)),
    ] {
        let mut world = World::new();
        let sent = world.probe(&Probe { hop_limit: 7, ..probe(&world, vif, to, 1) });
        assert_eq!(sent.result, Ok(()));
        let [sent] = &sent.sent[..] else { panic!("{:?}", sent.sent) };
        assert_eq!((sent.vif, sent.to), (CORE, KNOWN));
        assert_eq!(sent.addresses(), (own.into(), to.into()));
        assert_eq!(sent.icmp(), (request, word(ID, 1), (0..8).collect()));
        assert_eq!(sent.l3[if own.contains('.') { 8 } else { 7 }], 7);
        world.now += 2_500_000;
        let back = icmp(to, own, 61, reply, word(ID, 1), b"01234567");
        assert_eq!(world.punt(CORE, PuntReason::Local, &back).silent(), SlowOutcome::Consumed);
        let expected = ProbeAnswer {
            id: ID,
            sequence: 1,
            from: ip(to),
            said: Said::Reply,
            hop_limit: 61,
            octets: 16,
            rtt_ns: 2_500_000,
        };
        assert_eq!(world.slow.take_answers(), [expected]);
        // Nobody waits for it any more.
        assert_eq!(world.punt(CORE, PuntReason::Local, &back).silent(), SlowOutcome::NoService);
        assert_eq!(answers(&mut world), []);
    }
}

#[test]
fn what_answers_nothing_is_no_answer() {
    let mut world = World::new();
    world.probe(&probe(&world, A, "10.0.0.9", 1)).result.unwrap();
    let (own, peer) = ("10.0.0.1", "10.0.0.9");
    let right = icmp(peer, own, 64, REPLY4, word(ID, 1), b"");
    for (vif, packet) in [
        // The other tenant has the same addresses.
        (B, right.clone()),
        (A, icmp(peer, own, 64, REPLY4, word(ID + 1, 1), b"")),
        (A, icmp(peer, own, 64, REPLY4, word(ID, 2), b"")),
        (A, icmp("10.0.0.8", own, 64, REPLY4, word(ID, 1), b"")),
        (A, icmp(peer, "169.254.100.1", 64, REPLY4, word(ID, 1), b"")),
    ] {
        assert_eq!(world.punt(vif, PuntReason::Local, &packet).silent(), SlowOutcome::NoService);
        assert_eq!(answers(&mut world), [], "{packet:02x?}");
    }
    world.punt(A, PuntReason::Local, &right);
    assert_eq!(answers(&mut world), [(ID, 1, Said::Reply)]);
    // Too late.
    world.probe(&probe(&world, A, peer, 2)).result.unwrap();
    world.now += SECOND;
    world.punt(A, PuntReason::Local, &icmp(peer, own, 64, REPLY4, word(ID, 2), b""));
    assert_eq!(answers(&mut world), []);
}

#[test]
fn an_error_is_taken_that_quotes_the_request() {
    for (vif, to, own, hop, kind, octets, said) in [
        (CORE, "172.16.0.1", "10.255.0.1", "172.31.0.1", (11, 0), [0; 4], Said::Error(11, 0, 0)),
        (
            CORE,
            "172.16.0.1",
            "10.255.0.1",
            "10.255.0.2",
            (3, 4),
            [0, 0, 5, 0],
            Said::Error(3, 4, 1280),
        ),
        (
            CORE,
            "2001:db8::1",
            "fd00:255::1",
            "2001:db8:9::1",
            (2, 0),
            [0, 0, 5, 0],
            Said::Error(2, 0, 1280),
        ),
    ] {
        let mut world = World::new();
        let done = world.probe(&probe(&world, vif, to, 9));
        let quoted = &done.sent[0].l3;
        let error = icmp(hop, own, 60, kind, octets, quoted);
        // What quotes another request, or not enough of it, or came to another tenant, is none.
        let mut other = quoted.clone();
        *other.last_mut().unwrap() = 0;
        let at = if own.contains('.') { 20 } else { 40 };
        other[at + 7] ^= 1;
        for (vif, packet) in [
            (vif, icmp(hop, own, 60, kind, octets, &other)),
            (vif, icmp(hop, own, 60, kind, octets, &quoted[..at + 7])),
            (B, error.clone()),
        ] {
            let outcome = world.punt(vif, PuntReason::Local, &packet).result;
            assert!(
                matches!(outcome, SlowOutcome::Consumed | SlowOutcome::NotForUs),
                "{outcome:?}"
            );
            assert_eq!(answers(&mut world), []);
        }
        // A redirect ends nothing.
        if own.contains('.') {
            world.punt(vif, PuntReason::Local, &icmp(hop, own, 60, (5, 1), [0; 4], quoted));
            assert_eq!(answers(&mut world), []);
        }
        assert_eq!(world.punt(vif, PuntReason::Local, &error).silent(), SlowOutcome::Consumed);
        let answer = world.slow.take_answers().remove(0);
        assert_eq!((answer.from, answer.sequence, answer.said), (ip(hop), 9, said));
    }
}

#[test]
fn one_customer_of_a_public_vrf_answers_nothing_of_anothers() {
    let mut world = World::new();
    world.via(X, "198.51.100.0/24", "192.0.2.10", Some(KNOWN));
    world.publish();
    let done = world.probe(&probe(&world, P, "198.51.100.1", 1));
    assert_eq!((done.result, done.sent[0].vif), (Ok(()), X));
    let error = icmp("192.0.2.6", "192.0.2.1", 64, (11, 0), [0; 4], &done.sent[0].l3);
    world.punt(Q, PuntReason::Local, &error);
    assert_eq!(answers(&mut world), []);
    world.punt(
        X,
        PuntReason::Local,
        &icmp("192.0.2.10", "192.0.2.1", 64, (11, 0), [0; 4], &done.sent[0].l3),
    );
    assert_eq!(answers(&mut world), [(ID, 1, Said::Error(11, 0, 0))]);
    // Nor does a request leave by its VIF.
    let refused = world.probe(&probe(&world, P, "192.0.2.6", 2));
    assert_eq!(refused.result, Err(Unsent::Route(Verdict::Drop(DropReason::PeerIsolation))));
    assert_eq!(refused.sent, []);
}

#[test]
fn what_does_not_leave_says_why() {
    let mut world = World::new();
    world.route(A, "10.66.0.0/16", AdjacencyKind::Blackhole, ip("10.0.0.1"));
    world.publish();
    world.edit(Q, |vif| vif.addresses = ["192.0.2.5/30".parse().unwrap()].into());
    let good = probe(&world, CORE, "172.16.0.1", 1);
    for (why, of) in [
        (Unsent::Own, probe(&world, A, "10.255.0.1", 1)),
        (Unsent::NoHost, probe(&world, A, "224.0.0.1", 1)),
        (Unsent::NoAddress, probe(&world, Q, "2001:db8::1", 1)),
        (Unsent::Route(Verdict::Punt(PuntReason::NoRoute)), probe(&world, A, "8.8.8.8", 1)),
        (Unsent::Route(Verdict::Drop(DropReason::Blackhole)), probe(&world, A, "10.66.0.1", 1)),
        (Unsent::TooLong(1401, 1400), Probe { data: 1373, ..good.clone() }),
        // The id is another VIF's by now, or the VIF another VRF's.
        (Unsent::Down, Probe { of: ("core2".into(), VPC_A), ..good.clone() }),
        (Unsent::Down, Probe { of: ("core".into(), VPC_B), ..good.clone() }),
    ] {
        let done = world.probe(&of);
        assert_eq!((done.result, done.sent), (Err(why), vec![]), "{of:?}");
    }
    assert_eq!(world.probe(&Probe { data: 1372, ..good.clone() }).result, Ok(()));
    world.edit(CORE, |vif| vif.up = false);
    assert_eq!(world.probe(&good).result, Err(Unsent::Down));
}

#[test]
fn a_request_is_marked_not_to_be_fragmented() {
    let mut world = World::new();
    for (dont_fragment, flags) in [(false, 0), (true, 0x40)] {
        let done = world.probe(&Probe { dont_fragment, ..probe(&world, CORE, "172.16.0.1", 1) });
        assert_eq!(done.sent[0].l3[6], flags);
    }
}

#[test]
fn a_request_waits_for_its_neighbor() {
    let mut world = World::new();
    let asked = world.probe(&probe(&world, A, "10.0.0.2", 1));
    assert_eq!((asked.result, asked.sent[0].ethertype), (Ok(()), 0x0806));
    let reply = arp(etherparse::ArpOperation::REPLY, PEER, "10.0.0.2", "10.0.0.1");
    let sent = world.punt(A, PuntReason::Arp, &reply).one(SlowOutcome::Consumed);
    assert_eq!((sent.to, sent.icmp().0), (PEER, (8, 0)));
    world.punt(A, PuntReason::Local, &icmp("10.0.0.2", "10.0.0.1", 64, REPLY4, word(ID, 1), b""));
    assert_eq!(answers(&mut world), [(ID, 1, Said::Reply)]);
}

#[test]
fn a_sender_has_room_of_its_own_and_no_more() {
    let mut world = World::new();
    let (senders, most) = (MAX_SENDERS as u16, MAX_WAITING as u16);
    for id in 0..senders {
        for sequence in 0..most {
            let of = Probe { id, ..probe(&world, CORE, "172.16.0.1", sequence) };
            assert_eq!(world.probe(&of).result, Ok(()), "{id} {sequence}");
        }
        let more = Probe { id, ..probe(&world, CORE, "172.16.0.1", most) };
        assert_eq!(world.probe(&more).result, Err(Unsent::Busy), "{id}");
    }
    // Whoever ends makes room, and so does time.
    world.slow.forget_probes(0);
    let of = Probe { id: 0, ..probe(&world, CORE, "172.16.0.1", 0) };
    assert_eq!(world.probe(&of).result, Ok(()));
    world.pass(1.1);
    let of = Probe { id: 1, ..probe(&world, CORE, "172.16.0.1", 0) };
    assert_eq!(world.probe(&of).result, Ok(()));
}
