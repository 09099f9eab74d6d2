//! The router's own addresses, and its neighbors: ARP, neighbor discovery, the first packet.

use crate::common::packets::{
    Icmp, Seen, arp, discovery, frame, packet, padded, ping, udp_flow, with_ttl,
};
use crate::common::{A, A_CORE, A2, Host, Lab, SECOND, expected};
use station::wire::ethernet::Mac;
use std::collections::HashMap;

#[test]
fn the_router_answers_by_all_its_addresses_in_the_vrf() {
    let mut lab = Lab::new();
    for (source, ours) in [
        ("10.1.0.9", "169.254.100.1"),
        ("10.1.0.9", "10.9.1.1"),
        ("10.1.0.9", "10.255.1.1"),
        ("fd00:a1::9", "fd00:100::1"),
        ("fd00:a1::9", "fd00:101::1"),
        ("fd00:a1::9", "fd00:255:2::1"),
    ] {
        let question = ping(source, ours);
        let answer = lab.answers(A, &question, "punt local");
        let reply = if source.contains(':') { 129 } else { 0 };
        assert_eq!((answer.kind, answer.code), (reply, 0));
        assert_eq!((&*answer.source, &*answer.destination), (ours, source));
        assert_eq!((answer.word, &answer.body[..]), ([0, 7, 0, 9], &b"payload of a ping"[..]));
    }
    // Another tenant's address is not there at all.
    let lost = packet("10.1.0.9", "10.9.3.1");
    let answer = lab.answers(A, &lost, "punt no_route");
    answer.assert_error((3, 0), "169.254.100.1", "10.1.0.9", &lost);
}

#[test]
fn arp_and_discovery_are_answered() {
    let mut lab = Lab::new();
    let question = arp(1, (A2.mac, "10.9.1.2"), (Mac::default(), "10.9.1.1"));
    let counters = ["vif a2 punt arp", "vif a2 outcome answered"];
    let sent = lab.expect("cust0", &A2.frame_to(Mac::BROADCAST, &question), &counters);
    let reply = arp(2, (A2.router, "10.9.1.1"), (A2.mac, "10.9.1.2"));
    assert_eq!(sent, [("cust0".to_owned(), A2.receives(&reply))]);
    let to = "ff02::1:ff00:1";
    let question = discovery(135, "fd00:101::2", to, 0, "fd00:101::1", A2.mac);
    let frame = A2.frame_to(Mac([0x33, 0x33, 0xff, 0, 0, 1]), &question);
    let counters = ["vif a2 punt neighbor_discovery", "vif a2 outcome answered"];
    let sent = lab.expect("cust0", &frame, &counters);
    let reply = discovery(136, "fd00:101::1", "fd00:101::2", 0xe0, "fd00:101::1", A2.router);
    assert_eq!(sent, [("cust0".to_owned(), A2.receives(&reply))]);
}

#[test]
fn the_first_packet_waits_for_its_neighbor() {
    let mut lab = Lab::new();
    let host = Host { mac: Mac([2, 0, 0, 0, 0xa2, 0x77]), ..A2 };
    let queued = ["vif a-core punt next_hop_unresolved", "vif a-core outcome queued"];

    let first = packet("10.64.0.1", "10.9.1.77");
    let sent = lab.expect("core0", &A_CORE.frame(&first), &queued);
    let question = arp(1, (A2.router, "10.9.1.1"), (Mac::default(), "10.9.1.77"));
    let asked = padded(frame(Mac::BROADCAST, A2.router, A2.tags, 0x0806, &question));
    assert_eq!(sent, [("cust0".to_owned(), asked)]);
    let reply = arp(2, (host.mac, "10.9.1.77"), (A2.router, "10.9.1.1"));
    let counters = ["vif a2 punt arp", "vif a2 outcome consumed"];
    let sent = lab.expect("cust0", &host.frame(&reply), &counters);
    assert_eq!(sent, [("cust0".to_owned(), expected(&first, host))]);
    lab.forwards(A_CORE, &packet("10.64.0.1", "10.9.1.77"), host);

    let first = packet("fd00:64::1", "fd00:101::77");
    let sent = lab.expect("core0", &A_CORE.frame(&first), &queued);
    let question = discovery(135, "fd00:101::1", "ff02::1:ff00:77", 0, "fd00:101::77", A2.router);
    let group = Mac([0x33, 0x33, 0xff, 0, 0, 0x77]);
    assert_eq!(sent, [("cust0".to_owned(), frame(group, A2.router, A2.tags, 0x86dd, &question))]);
    let reply = discovery(136, "fd00:101::77", "fd00:101::1", 0x60, "fd00:101::77", host.mac);
    let counters = ["vif a2 punt neighbor_discovery", "vif a2 outcome consumed"];
    let sent = lab.expect("cust0", &host.frame(&reply), &counters);
    assert_eq!(sent, [("cust0".to_owned(), expected(&first, host))]);
    lab.forwards(A_CORE, &packet("fd00:64::1", "fd00:101::77"), host);
}

#[test]
fn a_neighbor_that_falls_silent_is_lost() {
    let mut lab = Lab::new();
    lab.send("core0", &A_CORE.frame(&packet("10.64.0.1", "10.9.1.77")));
    let mac = Mac([2, 0, 0, 0, 0xa2, 0x77]);
    let host = Host { mac, ..A2 };
    lab.send("cust0", &host.frame(&arp(2, (mac, "10.9.1.77"), (A2.router, "10.9.1.1"))));
    lab.forwards(A_CORE, &packet("10.64.0.1", "10.9.1.77"), host);
    let asked = lab.wait(60 * SECOND);
    assert_eq!(asked.len(), 6, "three times at its MAC, three times everybody");
    let counters = ["vif a-core punt next_hop_unresolved", "vif a-core outcome queued"];
    lab.expect("core0", &A_CORE.frame(&packet("10.64.0.1", "10.9.1.77")), &counters);
}

#[test]
fn udp_to_the_router_and_traceroute_through_it() {
    let mut lab = Lab::new();
    let mut hops = HashMap::new();
    for ttl in 1..=2 {
        let probe = with_ttl(udp_flow("10.1.0.9", "10.255.1.2", (40000, 33434), 60), ttl);
        let sent = lab.send("cust0", &A.frame(&probe)).sent;
        let seen = Seen::read(&sent[0].1);
        if ttl == 1 {
            let answer = Icmp::read(&seen.packet);
            hops.insert(ttl, answer.source.clone());
            answer.assert_error((11, 0), "169.254.100.1", "10.1.0.9", &probe);
        } else {
            assert_eq!(seen.to, A_CORE.mac);
        }
    }
    assert_eq!(hops[&1], "169.254.100.1");
    lab.check();
}
