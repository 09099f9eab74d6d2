//! What access lists deny, and what they leave alone.

use std::sync::Arc;

use crate::common::packets::{
    edited, packet, ping, udp, udp_flow, with_extension, with_options, with_ttl,
};
use crate::common::rig::Rig;
use crate::common::{A, A_CORE, B, B_CORE, CONFIG, Lab, SECOND};
use crate::{good, good6};
use station::fib::FibReader;
use station::port::memory::MemoryPort;
use station::slowpath::{Punted, SlowPath, View, route};
use station::tables::counters::SlowCounters;
use station::tables::{Direction, PortId, VrfId};

/// The lab with two lists: what enters by VIF a, and what leaves by its VRF's core VIFs.
fn config(entering: &[&str], leaving: &[&str]) -> String {
    let vif = |text: String, name: &str, field: &str| {
        text.replace(
            &format!("name = \"{name}\"\nport"),
            &format!("name = \"{name}\"\n{field}\nport"),
        )
    };
    let list =
        |name: &str, rules: &[&str]| format!("\n[[acl]]\nname = \"{name}\"\nrules = {rules:?}\n");
    let mut text = CONFIG.to_owned();
    if !entering.is_empty() {
        text = vif(text, "a", "acl_in = \"entering\"") + &list("entering", entering);
    }
    if !leaving.is_empty() {
        text = vif(text, "a-core", "acl_out = \"leaving\"");
        text = vif(text, "a-small", "acl_out = \"leaving\"") + &list("leaving", leaving);
    }
    text
}

fn hits(lab: &mut Lab, name: &str, direction: Direction) -> Vec<u64> {
    let list = lab.station.engine().tables().acls.named[name].clone();
    list.hits().map(|hits| hits[direction as usize]).collect()
}

#[test]
fn what_enters_and_is_denied_goes_no_further() {
    let rules = ["deny udp from any to 10.64.0.1 port 5000", "permit ip", "deny ipv6"];
    let mut lab = Lab::with(&config(&rules, &[]));
    lab.drops("cust0", &A.frame(&good()), "vif a drop acl_denied_in");
    lab.forwards(A, &good6(), A_CORE);
    lab.forwards(A, &udp_flow("10.1.0.9", "10.64.0.1", (1, 5001), 100), A_CORE);
    // Another tenant's packet with the same addresses is no business of the list.
    lab.forwards(B, &good(), B_CORE);
    assert_eq!(hits(&mut lab, "entering", Direction::Rx), [1, 2, 0, 0, 0]);
    // No rule matches: denied.
    let mut lab = Lab::with(&config(&["permit udp from any to any port 7"], &[]));
    lab.drops("cust0", &A.frame(&good()), "vif a drop acl_denied_in");
    assert_eq!(hits(&mut lab, "entering", Direction::Rx), [0, 1, 0]);
}

#[test]
fn what_would_leave_and_is_denied_stays() {
    let mut lab = Lab::with(&config(
        &[],
        &["deny udp from 10.1.0.9 to any port 5000", "deny ip to fd00:255:1::77", "permit ip"],
    ));
    lab.drops("cust0", &A.frame(&good()), "vif a drop acl_denied_out");
    lab.forwards(A, &good6(), A_CORE);
    // Neither is it answered for its length, nor fragmented, nor forwarded in software, nor does it wait for a MAC.
    for octets in [1281, 1400] {
        let long = udp("10.1.0.9", "10.65.0.1", octets);
        for long in [long.clone(), edited(long, |p| p[6] |= 0x40)] {
            lab.drops("cust0", &A.frame(&long), "vif a drop acl_denied_out");
        }
    }
    let routed = with_options(good(), &[148, 4, 0, 0]);
    lab.drops("cust0", &A.frame(&routed), "vif a drop acl_denied_out");
    let unresolved = packet("fd00:a1::9", "fd00:255:1::77");
    lab.drops("cust0", &A.frame(&unresolved), "vif a drop acl_denied_out");
    assert_eq!(hits(&mut lab, "leaving", Direction::Tx), [6, 1, 1, 0, 0]);
    assert_eq!(hits(&mut lab, "leaving", Direction::Rx), [0; 5]);
}

#[test]
fn each_packet_of_a_burst_is_judged_by_the_list_of_its_vif() {
    let list =
        |name: &str, rules: &[&str]| format!("\n[[acl]]\nname = \"{name}\"\nrules = {rules:?}\n");
    let mut text = CONFIG.to_owned();
    for (vif, name) in [("a-core", "core"), ("a-small", "small")] {
        let head = format!("name = \"{vif}\"\n");
        text = text.replace(&head, &format!("{head}acl_out = \"{name}\"\n"));
    }
    text += &list("core", &["deny udp to any port 1-9", "permit ip"]);
    text += &list("small", &["permit udp to any port 1-5", "deny ip"]);
    let ports = (0..3).map(|_| MemoryPort::new(64)).collect();
    let mut rig = Rig::new(&text, ports, 256, 64);
    let to = |n: u16| (n.is_multiple_of(3), 1 + n % 12);
    let frames = (0..64).map(|n| {
        let (is_small, port) = to(n);
        let destination = if is_small { "10.65.0.1" } else { "10.64.0.1" };
        A.frame(&udp_flow("10.1.0.9", destination, (7, port), 100))
    });
    let frames: Vec<Vec<u8>> = frames.collect();
    let verdicts = rig.burst(SECOND, PortId(0), &frames);
    for (n, (_, verdict)) in (0..).zip(verdicts) {
        let (is_small, port) = to(n);
        let passes = if is_small { port <= 5 } else { port > 9 };
        let expected = if passes { "forward" } else { "drop(acl_denied_out)" };
        assert_eq!(verdict.to_string(), expected, "{n}");
    }
}

#[test]
fn a_rejected_packet_is_answered_once() {
    let rules = ["reject udp to any port 5000", "permit ip"];
    for (entering, leaving) in [(&rules[..], &[][..]), (&[][..], &rules[..])] {
        let mut lab = Lab::with(&config(entering, leaving));
        let answer = lab.answers(A, &good(), "punt acl_rejected");
        answer.assert_error((3, 13), "169.254.100.1", "10.1.0.9", &good());
        let answer = lab.answers(A, &good6(), "punt acl_rejected");
        answer.assert_error((1, 1), "fd00:100::1", "fd00:a1::9", &good6());
    }
}

#[test]
fn what_enters_is_judged_before_anything_answers_it() {
    let mut lab = Lab::with(&config(&["deny ip"], &[]));
    for bad in [
        with_ttl(good(), 1),
        packet("10.1.0.9", "8.8.8.8"),
        packet("10.1.0.9", "10.68.0.1"),
        packet("10.1.0.9", "10.9.1.77"),
        udp("10.1.0.9", "10.65.0.1", 1400),
        with_options(good(), &[148, 4, 0, 0]),
    ] {
        lab.drops("cust0", &A.frame(&bad), "vif a drop acl_denied_in");
    }
    // But behind the check of sources, whose counters tell of spoofing.
    lab.drops("cust0", &A.frame(&packet("172.16.0.1", "10.64.0.1")), "vif a drop spoofed_source");
    assert_eq!(hits(&mut lab, "entering", Direction::Rx), [6, 0, 0]);
}

#[test]
fn the_router_itself_is_none_of_a_lists_business() {
    let mut lab = Lab::with(&config(&["deny ip"], &["deny ip"]));
    lab.answers(A, &ping("10.1.0.9", "169.254.100.1"), "punt local");
    lab.answers(A, &ping("fd00:a1::9", "fd00:100::1"), "punt local");
    // An address of the router on another VIF, too.
    lab.answers(A, &ping("10.1.0.9", "10.255.1.1"), "punt local");
    assert_eq!(hits(&mut lab, "entering", Direction::Rx), [0; 3]);
}

#[test]
fn headers_that_are_cut_short_are_denied_whatever_the_rules_say() {
    let mut lab = Lab::with(&config(&["permit ip"], &[]));
    let short = |protocol: u8, octets: usize| {
        edited(udp("10.1.0.9", "10.64.0.1", 20 + octets.max(8)), |p| {
            p.truncate(20 + octets);
            (p[3], p[9]) = (20 + octets as u8, protocol);
        })
    };
    for (protocol, octets) in [(6, 13), (6, 0), (17, 3), (132, 2), (1, 1)] {
        let bad = A.frame(&short(protocol, octets));
        lab.drops("cust0", &bad, "vif a drop acl_denied_in");
    }
    for (protocol, octets) in [(6, 14), (17, 4), (132, 4), (1, 2), (47, 0)] {
        lab.forwards(A, &short(protocol, octets), A_CORE);
    }
    // Extension headers that promise more than the packet has.
    let mut bad = with_extension(good6(), 60, &[1, 4, 0, 0, 0, 0]);
    bad[41] = 200;
    lab.drops("cust0", &A.frame(&bad), "vif a drop acl_denied_in");
    assert_eq!(hits(&mut lab, "entering", Direction::Rx), [5, 0, 6]);
}

#[test]
fn later_fragments_meet_rules_without_ports_alone() {
    let rules = [
        "deny udp from any to any port 5000",
        "deny udp from any to 10.64.0.2 fragment",
        "permit udp",
    ];
    let mut lab = Lab::with(&config(&rules, &[]));
    let fragment = |to: &str, flags: u16| {
        edited(packet("10.1.0.9", to), |p| p[6..8].copy_from_slice(&flags.to_be_bytes()))
    };
    // The first fragment has its ports.
    lab.drops("cust0", &A.frame(&fragment("10.64.0.1", 0x2000)), "vif a drop acl_denied_in");
    lab.forwards(A, &fragment("10.64.0.1", 0x2007), A_CORE);
    lab.drops("cust0", &A.frame(&fragment("10.64.0.2", 7)), "vif a drop acl_denied_in");
    assert_eq!(hits(&mut lab, "entering", Direction::Rx), [1, 1, 1, 0, 0]);
}

/// A packet that was punted to be forwarded, and meets tables with a list that denies it.
#[test]
fn what_is_forwarded_in_software_by_newer_tables_is_judged_anew() {
    let ports = (0..3).map(|_| MemoryPort::new(8)).collect();
    let mut rig = Rig::new(CONFIG, ports, 64, 8);
    let routed = A.frame(&with_options(good(), &[148, 4, 0, 0]));
    rig.burst(SECOND, PortId(0), &[routed]);
    let [(label, frame)] = &rig.take_punted()[..] else { panic!("nothing is punted") };
    for (rules, expected) in
        [(&["deny ip"][..], "outcome slow_acl_denied"), (&["permit ip"], "outcome slow_forwarded")]
    {
        let next = crate::common::parse(&config(rules, &[]));
        rig.engine.commit(&next, &crate::common::facts(&next)).unwrap();
        let mut slow = SlowPath::new(Arc::new(SlowCounters::new(1, 64)));
        let fib: FibReader = rig.engine.fib_reader();
        let lookup = |vrf: VrfId, address| route(&fib, vrf, address);
        let view = View { now_ns: SECOND, snapshot: rig.engine.tables(), fib: &lookup };
        let punted = Punted {
            port: label.port,
            vif: label.vif,
            reason: label.reason,
            l3: label.l3.into(),
            choice: label.choice,
            frame,
        };
        let mut out = Vec::new();
        let outcome = slow.punted(&view, &punted, &mut out);
        assert_eq!(format!("outcome {}", outcome.name()), expected);
    }
}
