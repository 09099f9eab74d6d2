//! What passes from one VRF to another by exchanges, and what does not.

use crate::common::packets::{arp, edited, packet, udp, with_ttl};
use crate::common::{A, A_CORE, A_SMALL, A2, B, B_CORE, B_S, CONFIG, Lab, SECOND, expected};
use station::wire::ethernet::Mac;

/// The lab with exchanges: name, from, to, prefixes.
fn config(exchanges: &[(&str, &str, &str, &[&str])]) -> String {
    let table = |(name, from, to, prefixes): &(&str, &str, &str, &[&str])| {
        format!(
            "\n[[exchange]]\nname = \"{name}\"\nfrom = \"{from}\"\nto = \"{to}\"\nprefixes = {prefixes:?}\n"
        )
    };
    format!("{CONFIG}{}", exchanges.iter().map(table).collect::<String>())
}

/// `vpc-a` reaches what is behind b-s, and `vpc-b` what is behind a2.
fn both(of_b: &[&str], of_a: &[&str]) -> String {
    let (of_b, of_a) = ([&["10.3.0.0/16"], of_b].concat(), [&["10.2.0.0/16"], of_a].concat());
    config(&[("x", "vpc-b", "vpc-a", &of_b), ("y", "vpc-a", "vpc-b", &of_a)])
}

/// Packets and octets that have passed by an exchange.
fn passed(lab: &mut Lab, name: &str) -> [u64; 2] {
    let tables = lab.station.engine().tables();
    let exchange = tables.exchanges.iter().flatten().find(|exchange| &*exchange.name == name);
    exchange.unwrap().passed.get()
}

#[test]
fn what_is_permitted_passes_both_ways_and_counts() {
    let mut lab = Lab::with(&both(&["fd00:b3::/32"], &["fd00:64::/32"]));
    let there = udp("10.2.0.9", "10.3.0.1", 100);
    lab.forwards(A2, &there, B_S);
    lab.forwards(A2, &there, B_S);
    lab.forwards(B_S, &udp("10.3.0.9", "10.2.0.1", 300), A2);
    let six = packet("fd00:64::9", "fd00:b3::1");
    lab.forwards(A_CORE, &six, B_CORE);
    let octets = six.len() as u64;
    assert_eq!(passed(&mut lab, "x"), [3, 200 + octets]);
    assert_eq!(passed(&mut lab, "y"), [1, 300]);
    // A VRF's own traffic is as before, and counts by no exchange.
    lab.forwards(A2, &udp("10.2.0.9", "10.64.0.1", 100), A_CORE);
    assert_eq!(passed(&mut lab, "x"), [3, 200 + octets]);
    // What is not permitted has no route: other prefixes, and the other direction alone.
    lab.answers(A2, &packet("10.2.0.9", "10.200.0.1"), "punt no_route");
    lab.commit(&config(&[("y", "vpc-a", "vpc-b", &["10.2.0.0/16"])]));
    lab.answers(A2, &there, "punt no_route");
    assert_eq!(passed(&mut lab, "y"), [1, 300], "what is not changed counts on");
    lab.commit(CONFIG);
    lab.forwards(B_S, &udp("10.3.0.9", "10.2.0.1", 300), B_CORE);
}

#[test]
fn a_source_that_the_other_vrf_routes_elsewhere_does_not_pass() {
    let mut lab = Lab::with(&both(&[], &[]));
    // Both VRFs have 10.1.0.0/16, and an answer would go to the wrong one.
    lab.drops("cust0", &A.frame(&packet("10.1.0.9", "10.3.0.1")), "vif a drop exchange_source");
    // An address that its own VRF does not lead back to is no matter of the exchange.
    lab.drops("cust0", &A2.frame(&packet("172.16.0.1", "10.3.0.1")), "vif a2 drop spoofed_source");
    lab.drops("cust0", &A2.frame(&packet("10.3.0.9", "10.3.0.1")), "vif a2 drop spoofed_source");
    // Without a way back the exchange is one way: vpc-a has no route to 10.3.0.0/16.
    let mut lab = Lab::with(&config(&[("y", "vpc-a", "vpc-b", &["10.64.0.0/16", "10.1.7.0/24"])]));
    lab.forwards(B_S, &packet("10.3.0.9", "10.64.0.1"), A_CORE);
    lab.answers(A2, &packet("10.2.0.9", "10.3.0.9"), "punt no_route");
    // The longest prefix says whose a destination is.
    lab.forwards(B_S, &packet("10.3.0.9", "10.1.7.1"), A);
    lab.forwards(B_S, &packet("10.3.0.9", "10.1.8.1"), B);
}

#[test]
fn what_came_by_an_exchange_is_not_passed_on() {
    // 10.3.7.0/24 of vpc-a is what it reaches by x in vpc-b.
    let mut lab = Lab::with(&both(&[], &["10.3.7.0/24"]));
    lab.answers(B_S, &packet("10.3.0.9", "10.3.7.1"), "punt no_route");
    lab.forwards(A2, &packet("10.2.0.9", "10.3.8.1"), B_S);
}

#[test]
fn routes_without_a_next_hop_do_there_as_in_their_vrf() {
    let mut lab =
        Lab::with(&both(&["10.9.3.0/24"], &["10.66.0.0/16", "10.67.0.0/16", "10.68.0.0/16"]));
    lab.drops("cust1", &B_S.frame(&packet("10.3.0.9", "10.66.0.1")), "vif b-s drop blackhole");
    lab.answers(B_S, &packet("10.3.0.9", "10.67.0.1"), "punt unreachable");
    lab.answers(B_S, &packet("10.3.0.9", "10.68.0.1"), "punt prohibited");
    // The station's own addresses are those of their VRF.
    lab.answers(A2, &packet("10.2.0.9", "10.9.3.1"), "punt no_route");
    let broadcast = packet("10.2.0.9", "10.9.3.255");
    lab.drops("cust0", &A2.frame(&broadcast), "vif a2 drop directed_broadcast");
    assert_eq!(passed(&mut lab, "y"), [0, 0]);
}

#[test]
fn errors_come_from_the_vif_by_which_the_packet_entered() {
    let mut lab = Lab::with(&both(&[], &["10.65.0.0/16"]));
    let last = with_ttl(packet("10.2.0.9", "10.3.0.1"), 1);
    let answer = lab.answers(A2, &last, "punt ttl_exceeded");
    answer.assert_error((11, 0), "10.9.1.1", "10.2.0.9", &last);
    let long = edited(udp("10.3.0.9", "10.65.0.1", 1400), |p| p[6] |= 0x40);
    let answer = lab.answers(B_S, &long, "punt too_big");
    answer.assert_error((3, 4), "10.9.3.1", "10.3.0.9", &long);
    // What may be is fragmented by the slow path, and counts as it came.
    let long = edited(udp("10.3.0.9", "10.65.0.1", 1400), |p| p[6] &= !0x40);
    let grown = ["vif b-s outcome slow_forwarded", "vif b-s punt too_big"];
    let sent = lab.expect(B_S.port, &B_S.frame(&long), &grown);
    assert_eq!((sent.len(), &*sent[0].0), (2, A_SMALL.port));
    assert_eq!(passed(&mut lab, "y"), [1, 1400]);
}

#[test]
fn a_neighbor_behind_an_exchange_is_asked_for_on_its_own_vif() {
    let mut lab = Lab::with(&both(&["10.9.3.0/24"], &[]));
    let waits = packet("10.2.0.9", "10.9.3.77");
    let frame = A2.frame(&waits);
    let grown = ["vif a2 outcome queued", "vif a2 punt next_hop_unresolved"];
    let asked = lab.expect(A2.port, &frame, &grown);
    assert_eq!((asked.len(), &*asked[0].0), (1, B_S.port));
    let host = Mac([2, 0, 0, 0, 0x77, 2]);
    let reply = arp(2, (host, "10.9.3.77"), (B_S.router, "10.9.3.1"));
    let mut answers = B_S;
    answers.mac = host;
    let sent = lab.send(B_S.port, &answers.frame(&reply)).sent;
    let frames: Vec<Vec<u8>> = sent.into_iter().map(|(_, frame)| frame).collect();
    assert_eq!(frames, [expected(&waits, answers)]);
    assert_eq!(passed(&mut lab, "x"), [1, waits.len() as u64]);
    lab.wait(SECOND);
    lab.forwards(A2, &waits, answers);
    // One that waits while its exchange goes does not leave.
    let waits = packet("10.2.0.9", "10.9.3.78");
    lab.expect(A2.port, &A2.frame(&waits), &grown);
    lab.commit(&both(&[], &[]));
    let reply = arp(2, (host, "10.9.3.78"), (B_S.router, "10.9.3.1"));
    assert_eq!(lab.send(B_S.port, &answers.frame(&reply)).sent, []);
}
