//! Echo requests of the station itself: what leaves, what counts as an answer, and what does not.

use std::net::IpAddr;

use station::probes::Question;
use station::slowpath::{Left, MAX_SENDERS, MAX_WAITING, Probe, ProbeAnswer, Said, Unsent};
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
        via: None,
        question: Question::Echo(8),
        id: ID,
        room: MAX_WAITING,
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
        assert_eq!(sent.result, Ok(Left::Now));
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
    assert_eq!((done.result, done.sent[0].vif), (Ok(Left::Now), X));
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
        (Unsent::TooLong(1401, 1400), Probe { question: Question::Echo(1373), ..good.clone() }),
        // The id is another VIF's by now, or the VIF another VRF's.
        (Unsent::Down, Probe { of: ("core2".into(), VPC_A), ..good.clone() }),
        (Unsent::Down, Probe { of: ("core".into(), VPC_B), ..good.clone() }),
    ] {
        let done = world.probe(&of);
        assert_eq!((done.result, done.sent), (Err(why), vec![]), "{of:?}");
    }
    assert_eq!(
        world.probe(&Probe { question: Question::Echo(1372), ..good.clone() }).result,
        Ok(Left::Now)
    );
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
    assert_eq!((asked.result, asked.sent[0].ethertype), (Ok(Left::OnceResolved), 0x0806));
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
            assert_eq!(world.probe(&of).result, Ok(Left::Now), "{id} {sequence}");
        }
        let more = Probe { id, ..probe(&world, CORE, "172.16.0.1", most) };
        assert_eq!(world.probe(&more).result, Err(Unsent::Busy), "{id}");
    }
    // Whoever ends makes room, and so does time.
    world.slow.forget_probes(0);
    let of = Probe { id: 0, ..probe(&world, CORE, "172.16.0.1", 0) };
    assert_eq!(world.probe(&of).result, Ok(Left::Now));
    world.pass(1.1);
    let of = Probe { id: 1, ..probe(&world, CORE, "172.16.0.1", 0) };
    assert_eq!(world.probe(&of).result, Ok(Left::Now));
}

/// The IP packet of the one frame that was sent.
fn only(sent: &[Sent]) -> &Sent {
    let [sent] = sent else { panic!("{sent:?}") };
    sent
}

fn asking(world: &World, question: Question, to: &str) -> Probe {
    Probe { question, ..probe(world, CORE, to, 3) }
}

/// Octets behind the IP header.
fn upper(sent: &Sent) -> &[u8] {
    &sent.l3[if sent.l3[0] >> 4 == 4 { 20 } else { 40 }..]
}

const ENDS: [(&str, &str); 2] = [("172.16.0.1", "10.255.0.1"), ("2001:db8::1", "fd00:255::1")];

const HOPS: u8 = 61;

/// A packet whose upper layer has its checksum at `at`.
fn with_sum(from: &str, to: &str, protocol: u8, mut upper: Vec<u8>, at: usize) -> Vec<u8> {
    let octets = |address: &str| match ip(address) {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    };
    let sum = !sum(&[octets(from), octets(to)].concat(), protocol, &upper);
    upper[at..at + 2].copy_from_slice(&sum.to_be_bytes());
    packet(from, to, HOPS, protocol, &upper)
}

/// A TCP segment without data.
fn segment(from: &str, to: &str, ports: [u16; 2], numbers: [u32; 2], flags: u8) -> Vec<u8> {
    let mut header = [&ports[0].to_be_bytes()[..], &ports[1].to_be_bytes()].concat();
    header.extend(numbers.map(u32::to_be_bytes).as_flattened());
    header.extend([0x50, flags, 0xff, 0xff, 0, 0, 0, 0]);
    with_sum(from, to, 6, header, 16)
}

fn datagram(from: &str, to: &str, ports: [u16; 2], payload: &[u8]) -> Vec<u8> {
    let length = 8 + payload.len() as u16;
    let mut header = [&ports[0].to_be_bytes()[..], &ports[1].to_be_bytes()].concat();
    header.extend(length.to_be_bytes());
    header.extend([0, 0]);
    header.extend_from_slice(payload);
    with_sum(from, to, 17, header, 6)
}

#[test]
fn whoever_accepts_or_refuses_a_connection_is_there() {
    for (to, own) in ENDS {
        for accepts in [true, false] {
            let mut world = World::new();
            let sent = world.probe(&asking(&world, Question::Syn(443), to));
            assert_eq!(sent.result, Ok(Left::Now));
            let syn = upper(only(&sent.sent)).to_vec();
            let [from, port] = [0, 2].map(|at| u16::from_be_bytes([syn[at], syn[at + 1]]));
            let number = u32::from_be_bytes(*syn[4..].first_chunk().unwrap());
            assert_eq!((port, syn[13], from >= 32_768), (443, 2, true));
            let flags = if accepts { 0x12 } else { 0x14 };
            // Not the port, not the number, not the sender, not the flags: nothing that was asked.
            for (ports, acknowledged, flags, sender) in [
                ([443, from ^ 1], number.wrapping_add(1), flags, to),
                ([444, from], number.wrapping_add(1), flags, to),
                ([443, from], number, flags, to),
                ([443, from], number.wrapping_add(2), flags, to),
                ([443, from], number.wrapping_add(1), 0x10, to),
                ([443, from], number.wrapping_add(1), 0x04, to),
                (
                    [443, from],
                    number.wrapping_add(1),
                    flags,
                    if own.contains('.') { "172.16.0.2" } else { "2001:db8::2" },
                ),
            ] {
                let forged = segment(sender, own, ports, [7, acknowledged], flags);
                assert_eq!(
                    world.punt(CORE, PuntReason::Local, &forged).silent(),
                    SlowOutcome::NoService
                );
            }
            let mut damaged = segment(to, own, [443, from], [7, number.wrapping_add(1)], flags);
            *damaged.last_mut().unwrap() ^= 1;
            assert_eq!(
                world.punt(CORE, PuntReason::Local, &damaged).silent(),
                SlowOutcome::NoService
            );
            assert_eq!(answers(&mut world), []);
            let answer = segment(to, own, [443, from], [7, number.wrapping_add(1)], flags);
            let done = world.punt(CORE, PuntReason::Local, &answer);
            assert_eq!(done.result, SlowOutcome::Consumed);
            assert_eq!(answers(&mut world), [(ID, 3, Said::Reply)]);
            if accepts {
                // RFC 9293 3.10.7.3: where it is acknowledged from.
                let reset = upper(only(&done.sent));
                assert_eq!(
                    (&reset[..4], reset[13]),
                    (&[&from.to_be_bytes()[..], &443_u16.to_be_bytes()].concat()[..], 4)
                );
                assert_eq!(reset[4..8], number.wrapping_add(1).to_be_bytes());
            } else {
                assert_eq!(done.sent, []);
            }
            assert_eq!(
                world.punt(CORE, PuntReason::Local, &answer).silent(),
                SlowOutcome::NoService
            );
        }
    }
}

#[test]
fn a_test_packet_counts_once_it_is_reflected() {
    for (to, own) in ENDS {
        let mut world = World::new();
        let sent = world.probe(&asking(&world, Question::Twamp(862, 64, 5), to));
        assert_eq!(sent.result, Ok(Left::Now));
        let packet = only(&sent.sent);
        let (udp, hop_limit) = (upper(packet), packet.l3[if own.contains('.') { 8 } else { 7 }]);
        assert_eq!(
            (udp.len(), &udp[8..12], hop_limit),
            (72, &[0, 0, 0, 5][..], 64),
            "as the caller says"
        );
        let from = u16::from_be_bytes([udp[0], udp[1]]);
        let mut payload = vec![0; 64];
        payload[24..38].copy_from_slice(&udp[8..22]);
        // The reflector had it for a quarter of a second (RFC 5357 4.2.1: T3, and T2).
        payload[4..12].copy_from_slice(&(9_u64 << 32 | 0x4000_0000).to_be_bytes());
        payload[16..24].copy_from_slice(&(9_u64 << 32).to_be_bytes());
        world.now += 300_000_000;
        // Another moment, another number.
        for at in [35, 27] {
            let mut forged = payload.clone();
            forged[at] ^= 1;
            let forged = datagram(to, own, [862, from], &forged);
            world.punt(CORE, PuntReason::Local, &forged);
        }
        let elsewhere = datagram(to, own, [863, from], &payload);
        world.punt(CORE, PuntReason::Local, &elsewhere);
        assert_eq!(answers(&mut world), []);
        let reflected = datagram(to, own, [862, from], &payload);
        assert_eq!(world.punt(CORE, PuntReason::Local, &reflected).silent(), SlowOutcome::Consumed);
        let answer = world.slow.take_answers().remove(0);
        assert!((49_999_990..=50_000_010).contains(&answer.rtt_ns), "{}", answer.rtt_ns);
    }
}

#[test]
fn test_packets_are_reflected_where_the_vif_does_that() {
    for (to, own) in ENDS {
        for reflects in [true, false] {
            let mut world = World::new();
            world.edit(CORE, |vif| vif.twamp_reflector = reflects);
            let mut request = vec![0xaa; 70];
            request[..14].copy_from_slice(&[0, 0, 0, 9, 1, 2, 3, 4, 5, 6, 7, 8, 0x80, 1]);
            let done =
                world.punt(CORE, PuntReason::Local, &datagram(to, own, [5000, 862], &request));
            let answer = upper(only(&done.sent));
            if !reflects {
                assert!(
                    answer.len() > 8 && matches!(answer[..2], [3, 3] | [1, 4]),
                    "port unreachable: {answer:?}"
                );
                continue;
            }
            assert_eq!(done.result, SlowOutcome::Answered);
            assert_eq!(
                answer[..6],
                [862_u16.to_be_bytes(), 5000_u16.to_be_bytes(), 78_u16.to_be_bytes()].concat()[..]
            );
            let payload = &answer[8..];
            assert_eq!((&payload[..4], &payload[24..38]), (&request[..4], &request[..14]));
            assert_eq!(
                (&payload[14..16], &payload[38..40], payload[13] != 0),
                (&[0; 2][..], &[0; 2][..], true)
            );
            assert_eq!((payload[40], &payload[41..]), (HOPS, &request[41..]));
            assert!(payload[4..12] >= payload[16..24], "it left after it came");
            // The shortest that there is; what is shorter is no test packet.
            let shortest = datagram(to, own, [5000, 862], &request[..14]);
            assert_eq!(
                upper(only(&world.punt(CORE, PuntReason::Local, &shortest).sent)).len(),
                8 + 41
            );
            // Between services a packet would never end.
            for port in [862, 7] {
                let service = datagram(to, own, [port, 862], &request);
                let answer = world.punt(CORE, PuntReason::Local, &service);
                assert!(matches!(upper(only(&answer.sent))[..2], [3, 3] | [1, 4]), "{port}");
            }
            let short = datagram(to, own, [5000, 862], &request[..13]);
            let answer = world.punt(CORE, PuntReason::Local, &short);
            assert!(matches!(upper(only(&answer.sent))[..2], [3, 3] | [1, 4]));
        }
    }
}

#[test]
fn a_given_next_hop_is_asked_through_whatever_the_routes_say() {
    let mut world = World::new();
    // A route leads to the core; the neighbor is on the VIF itself.
    let asked = Probe { via: Some(ip("10.0.0.2")), ..probe(&world, A, "172.16.0.1", 1) };
    let sent = world.probe(&asked);
    assert_eq!((sent.result, only(&sent.sent).vif), (Ok(Left::OnceResolved), A), "ARP");
    let known = arp(etherparse::ArpOperation::REPLY, PEER, "10.0.0.2", "10.0.0.1");
    let sent = world.punt(A, PuntReason::Arp, &known);
    let request = only(&sent.sent);
    assert_eq!((request.vif, request.to, request.addresses().1), (A, PEER, "172.16.0.1".into()));
    let plain = world.probe(&Probe { via: None, sequence: 2, ..asked });
    assert_eq!(only(&plain.sent).vif, CORE);
}
