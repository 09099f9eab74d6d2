//! Rows 53 to 59: ARP and neighbor discovery.

use crate::common::packets::{
    Icmp, Seen, arp, discovery, ethertype_of, frame, icmp, octets6, packet, padded, ping, with_ttl,
};
use crate::common::{A, A_CORE, A_SMALL, A2, CONFIG, Lab, SECOND};
use crate::good;
use station::wire::ethernet::Mac;

#[test]
fn row_53_arp_sender_off_subnet() {
    let bad = arp(2, (A2.mac, "10.9.2.9"), (Mac::default(), "10.9.1.1"));
    Lab::new().ignores(
        A2,
        &A2.frame_to(Mac::BROADCAST, &bad),
        "punt arp",
        "outcome arp_off_subnet",
    );
}

#[test]
fn row_54_arp_claims_our_address() {
    let mut lab = Lab::new();
    for operation in [1, 2] {
        let bad = arp(operation, (A2.mac, "10.9.1.1"), (Mac::BROADCAST, "10.9.1.1"));
        let bad = A2.frame_to(Mac::BROADCAST, &bad);
        lab.ignores(A2, &bad, "punt arp", "outcome address_conflict");
    }
    let bad = discovery(136, "fd00:101::1", "ff02::1", 0x20, "fd00:101::1", A2.mac);
    let bad = A2.frame_to(Mac([0x33, 0x33, 0, 0, 0, 1]), &bad);
    lab.ignores(A2, &bad, "punt neighbor_discovery", "outcome address_conflict");
    // Echo to our address still comes back.
    let answer = lab.answers(A2, &ping("10.9.1.2", "10.9.1.1"), "punt local");
    assert_eq!(answer.kind, 0);
}

#[test]
fn our_own_questions_and_answers_come_back() {
    let mut lab = Lab::new();
    let (router, group) = (A2.router, Mac([0x33, 0x33, 0, 0, 0, 1]));
    let question = arp(1, (router, "10.9.1.1"), (Mac::default(), "10.9.1.9"));
    let answer = discovery(136, "fd00:101::1", "ff02::1", 0xa0, "fd00:101::1", router);
    let solicit = discovery(135, "fd00:101::1", "ff02::1:ff00:9", 0, "fd00:101::9", router);
    for (to, packet, punt) in [
        (Mac::BROADCAST, question, "punt arp"),
        (group, answer, "punt neighbor_discovery"),
        (group, solicit, "punt neighbor_discovery"),
    ] {
        let looped = frame(to, router, A2.tags, ethertype_of(&packet), &packet);
        lab.drops("cust0", &looped, "vif a2 drop looped_back");
        // By a bridge that puts its own MAC in front.
        lab.ignores(A2, &A2.frame_to(to, &packet), punt, "outcome looped");
    }
    // Somebody else's claim is what it was.
    let claim = arp(1, (A2.mac, "10.9.1.1"), (Mac::default(), "10.9.1.9"));
    let claim = A2.frame_to(Mac::BROADCAST, &claim);
    lab.ignores(A2, &claim, "punt arp", "outcome address_conflict");
}

#[test]
fn a_router_that_asks_from_its_loopback_is_answered() {
    let mut lab = Lab::new();
    let asked = arp(1, (A.mac, "10.77.0.1"), (Mac::default(), "169.254.100.1"));
    let answered = ["vif a punt arp", "vif a outcome answered"];
    let sent = lab.expect("cust0", &A.frame_to(Mac::BROADCAST, &asked), &answered);
    let answer = arp(2, (A.router, "169.254.100.1"), (A.mac, "10.77.0.1"));
    assert_eq!(sent, [("cust0".to_owned(), A.receives(&answer))]);
    let group = Mac([0x33, 0x33, 0xff, 0, 0, 1]);
    let answered = ["vif a punt neighbor_discovery", "vif a outcome answered"];
    // A unicast one is checked like any packet: its source has to be routed to the VIF.
    for (source, to, mac) in [
        ("fd77::10", "ff02::1:ff00:1", group),
        ("fd00:a1::10", "ff02::1:ff00:1", group),
        ("fd00:a1::10", "fd00:100::1", A.router),
    ] {
        let asked = discovery(135, source, to, 0, "fd00:100::1", A.mac);
        let sent = lab.expect("cust0", &A.frame_to(mac, &asked), &answered);
        // Router, solicited, override.
        let answer = discovery(136, "fd00:100::1", source, 0xe0, "fd00:100::1", A.router);
        assert_eq!(sent, [("cust0".to_owned(), A.receives(&answer))]);
    }
}

#[test]
fn traffic_follows_a_gateway_that_fails_over_within_100_ms() {
    let mut lab = Lab::new();
    let [old, new] = [7, 8].map(|n| Mac([2, 0, 0, 0, 0xa2, n]));
    learn(&mut lab, old, "10.9.1.7");
    let traffic = A_CORE.frame(&packet("10.64.0.1", "10.9.1.7"));
    let goes_to = |lab: &mut Lab| Seen::read(&lab.send("core0", &traffic).sent[0].1).to;
    assert_eq!(goes_to(&mut lab), old);
    let announcement = arp(1, (new, "10.9.1.7"), (Mac::BROADCAST, "10.9.1.7"));
    let announcement = frame(Mac::BROADCAST, new, A2.tags, 0x0806, &announcement);
    for _ in 0..5 {
        lab.send("cust0", &announcement);
    }
    lab.wait(SECOND / 20);
    assert_eq!(goes_to(&mut lab), old, "while it is asked");
    lab.wait(SECOND / 20);
    assert_eq!(goes_to(&mut lab), new);
    lab.check();
}

#[test]
fn row_55_unsolicited_reply() {
    let mut lab = Lab::new();
    let thief = Mac([2, 0, 0, 0, 0x66, 6]);
    // A static neighbor.
    let bad = frame(
        A2.router,
        thief,
        A2.tags,
        0x0806,
        &arp(2, (thief, "10.9.1.2"), (A2.router, "10.9.1.1")),
    );
    lab.ignores(A2, &bad, "punt arp", "outcome unsolicited_reply");
    lab.forwards(A_CORE, &packet("10.64.0.1", "10.9.1.2"), A2);

    // A learned one: it is asked at its old address, and keeps it.
    let learned = Mac([2, 0, 0, 0, 0xa2, 7]);
    learn(&mut lab, learned, "10.9.1.7");
    let bad = frame(
        A2.router,
        thief,
        A2.tags,
        0x0806,
        &arp(2, (thief, "10.9.1.7"), (A2.router, "10.9.1.1")),
    );
    let sent = lab.expect("cust0", &bad, &["vif a2 punt arp", "vif a2 outcome neighbor_claimed"]);
    let question = arp(1, (A2.router, "10.9.1.1"), (Mac::default(), "10.9.1.7"));
    let asked = padded(frame(learned, A2.router, A2.tags, 0x0806, &question));
    assert_eq!(sent, [("cust0".to_owned(), asked)]);
    let answer = arp(2, (learned, "10.9.1.7"), (A2.router, "10.9.1.1"));
    for _ in 0..2 {
        lab.send("cust0", &frame(A2.router, learned, A2.tags, 0x0806, &answer));
        lab.wait(SECOND / 25);
    }
    let to_it = packet("10.64.0.1", "10.9.1.7");
    let sent = lab.expect("core0", &A_CORE.frame(&to_it), &["vif a-core forwarded"]);
    assert_eq!(Seen::read(&sent[0].1).to, learned);

    // A reply about somebody whom nobody asked for makes no entry.
    let bad = frame(
        A2.router,
        thief,
        A2.tags,
        0x0806,
        &arp(2, (thief, "10.9.1.99"), (A2.router, "10.9.1.1")),
    );
    lab.ignores(A2, &bad, "punt arp", "outcome unsolicited_reply");
}

/// Makes the station resolve a neighbor of VIF a2.
fn learn(lab: &mut Lab, mac: Mac, address: &str) {
    lab.send("core0", &A_CORE.frame(&packet("10.64.0.1", address)));
    let reply = arp(2, (mac, address), (A2.router, "10.9.1.1"));
    let sent = lab.send("cust0", &frame(A2.router, mac, A2.tags, 0x0806, &reply)).sent;
    assert_eq!(sent.len(), 1, "the packet that waited");
}

#[test]
fn row_56_arp_hardware_length() {
    let mut lab = Lab::new();
    let good = arp(1, (A2.mac, "10.9.1.2"), (Mac::default(), "10.9.1.1"));
    for (at, value) in [(4, 7), (4, 0), (5, 16), (1, 6), (2, 0x86), (7, 3), (7, 0)] {
        let mut bad = good.clone();
        bad[at] = value;
        // A good length for its length fields.
        bad.resize(60, 0);
        lab.ignores(A2, &A2.frame_to(Mac::BROADCAST, &bad), "punt arp", "outcome bad_arp");
    }
    let cut = A2.frame_to(Mac::BROADCAST, &good[..27]);
    lab.ignores(A2, &cut, "punt arp", "outcome bad_arp");
}

#[test]
fn row_57_discovery_from_behind_a_router() {
    let mut lab = Lab::new();
    let bad = discovery(135, "fd00:101::2", "fd00:101::1", 0, "fd00:101::1", A2.mac);
    let bad = A2.frame(&with_ttl(bad, 254));
    lab.ignores(A2, &bad, "punt neighbor_discovery", "outcome bad_nd");
}

#[test]
fn row_58_discovery_option_of_length_0() {
    let mut lab = Lab::new();
    let body = [&octets6("fd00:101::1")[..], &[1, 0], &A2.mac.0].concat();
    let bad = icmp("fd00:101::2", "fd00:101::1", 255, (135, 0, [0; 4]), &body);
    lab.ignores(A2, &A2.frame(&bad), "punt neighbor_discovery", "outcome bad_nd");
    let body = [&octets6("fd00:101::1")[..], &[1, 9], &A2.mac.0].concat();
    let bad = icmp("fd00:101::2", "fd00:101::1", 255, (135, 0, [0; 4]), &body);
    lab.ignores(A2, &A2.frame(&bad), "punt neighbor_discovery", "outcome bad_nd");
    let mut bad = discovery(135, "fd00:101::2", "fd00:101::1", 0, "fd00:101::1", A2.mac);
    bad[42] ^= 1;
    lab.ignores(A2, &A2.frame(&bad), "punt neighbor_discovery", "outcome bad_nd");
}

#[test]
fn row_59_scan_of_a_subnet() {
    let mut lab = Lab::new();
    learn(&mut lab, Mac([2, 0, 0, 0, 0xa2, 7]), "10.9.1.7");
    for host in 0..64 {
        let probe = packet("fd00:64::1", &format!("fd00:101::5:{host:x}"));
        let sent = lab.expect(
            "core0",
            &A_CORE.frame(&probe),
            &["vif a-core punt next_hop_unresolved", "vif a-core outcome queued"],
        );
        assert_eq!(sent.len(), 1, "a solicitation");
    }
    let probe = A_CORE.frame(&packet("fd00:64::1", "fd00:101::6:1"));
    lab.ignores(A_CORE, &probe, "punt next_hop_unresolved", "outcome neighbor_limit");
    // The same address again: one packet waits for each neighbor.
    let again = A_CORE.frame(&packet("fd00:64::1", "fd00:101::5:1"));
    lab.ignores(A_CORE, &again, "punt next_hop_unresolved", "outcome neighbor_queue_full");
    // The neighbors that there were, and another VIF's new ones, are none the worse.
    let to_it = A_CORE.frame(&packet("10.64.0.1", "10.9.1.7"));
    assert_eq!(lab.expect("core0", &to_it, &["vif a-core forwarded"]).len(), 1);
    let other = A_SMALL.frame(&packet("fd00:65::1", "fd00:100::3"));
    let counters = ["vif a-small punt next_hop_unresolved", "vif a-small outcome queued"];
    assert_eq!(lab.expect("core0", &other, &counters).len(), 1);
    // The scan leaves nothing behind.
    lab.wait(4 * SECOND);
    let incomplete = lab.expect(
        "core0",
        &A_CORE.frame(&packet("fd00:64::1", "fd00:101::6:1")),
        &["vif a-core punt next_hop_unresolved", "vif a-core outcome queued"],
    );
    assert_eq!(incomplete.len(), 1);
}

#[test]
fn arp_for_others_is_not_answered() {
    let mut lab = Lab::new();
    let other = arp(1, (A2.mac, "10.9.1.2"), (Mac::default(), "10.9.1.8"));
    lab.ignores(A2, &A2.frame_to(Mac::BROADCAST, &other), "punt arp", "outcome not_for_us");
}

#[test]
fn a_next_hop_that_does_not_answer() {
    let silent =
        "[[neighbor]]\nvif = \"a-core\"\naddress = \"10.255.1.2\"\nmac = \"02:00:00:00:ac:02\"\n";
    let mut lab = Lab::with(&CONFIG.replace(silent, ""));
    let out = good();
    let counters = ["vif a punt next_hop_unresolved", "vif a outcome queued"];
    assert_eq!(lab.expect("cust0", &A.frame(&out), &counters), []);
    let sent = lab.wait(4 * SECOND);
    let last = &sent.last().unwrap().1;
    let answer = Icmp::read(&Seen::read(last).packet);
    answer.assert_error((3, 1), "169.254.100.1", "10.1.0.9", &out);
    lab.grown();
    // From now on senders are told at once.
    let report = lab.send("cust0", &A.frame(&out));
    assert_eq!(lab.grown(), ["vif a outcome neighbor_failed", "vif a punt next_hop_unresolved"]);
    assert_eq!(report.sent.len(), 1);
    lab.check();
}
