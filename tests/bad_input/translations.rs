//! What a translation cannot translate, and what the slow path sends through one.

use crate::common::packets::{
    Icmp, Seen, assert_sound, edited, icmp, packet, ping, seal, udp, udp_flow, with_options,
    with_ttl,
};
use crate::common::{A, A_CORE, B, B_CORE, CONFIG, Lab};
use crate::{good, good6};

const INSIDE: &str = "10.21.0.9";
const OUTSIDE: &str = "10.1.0.9";
const INSIDE6: &str = "fd21::9";

/// The lab where what is behind VIF a has other addresses than in its VRF.
fn lab() -> Lab {
    Lab::with(&CONFIG.replace(
        "name = \"a\"\nport",
        "name = \"a\"\ntranslate = [\"10.21.0.0/16 as 10.1.0.0/16\", \"fd21::/64 as fd00:a1::/64\"]\nport",
    ))
}

#[test]
fn what_is_behind_a_vif_has_other_addresses() {
    let mut lab = lab();
    let counter = ["vif a forwarded"];
    for (inside, to) in [(INSIDE, "10.64.0.1"), (INSIDE6, "fd00:64::1")] {
        let [(port, frame)] = &lab.expect("cust0", &A.frame(&packet(inside, to)), &counter)[..]
        else {
            panic!("one frame")
        };
        assert_eq!(port, "core0");
        let Seen { packet: seen, .. } = Seen::read(frame);
        assert_sound(&seen);
        // And back: what answers it arrives at the address inside.
        let (at, octets) = if seen[0] >> 4 == 4 { (12, 4) } else { (8, 16) };
        let outside = seen[at..at + octets].to_vec();
        assert_ne!(outside, packet(inside, to)[at..at + octets]);
        let answer = edited(packet(to, inside), |answer| {
            answer[at + octets..at + 2 * octets].copy_from_slice(&outside);
        });
        let sent = lab.expect("core0", &A_CORE.frame(&answer), &["vif a-core forwarded"]);
        let Seen { packet: seen, .. } = Seen::read(&sent[0].1);
        assert_eq!(sent[0].0, "cust0");
        assert_eq!(
            seen[at + octets..at + 2 * octets],
            packet(to, inside)[at + octets..at + 2 * octets]
        );
    }
    // Another tenant's packets with the same addresses, and what has an outside address already.
    lab.forwards(B, &good(), B_CORE);
    lab.forwards(A, &good(), A_CORE);
    lab.forwards(A, &good6(), A_CORE);
}

#[test]
fn a_source_is_checked_as_it_is_in_the_vrf() {
    let mut lab = lab();
    // Routed to nobody, neither before nor behind.
    let spoofed = A.frame(&packet("10.66.0.9", "10.64.0.1"));
    lab.drops("cust0", &spoofed, "vif a drop spoofed_source");
    // Inside addresses are nobody's in the VRF.
    let to_inside = A_CORE.frame(&packet("10.64.0.1", INSIDE));
    let sent = lab.send("core0", &to_inside).sent;
    assert!(sent.iter().all(|(_, frame)| Seen::read(frame).to != A.mac), "{sent:02x?}");
}

/// A first fragment with so many octets.
fn first(source: &str, destination: &str, protocol: u8, octets: usize) -> Vec<u8> {
    edited(udp_flow(source, destination, (1, 2), 100), |packet| {
        packet.truncate(20 + octets);
        let length = u16::try_from(packet.len()).unwrap();
        packet[2..4].copy_from_slice(&length.to_be_bytes());
        packet[6] = 0x20;
        packet[9] = protocol;
    })
}

#[test]
fn what_ends_before_its_checksum_is_dropped() {
    let mut lab = lab();
    let first = |protocol, octets| first(INSIDE, "10.64.0.1", protocol, octets);
    let untranslatable = "vif a drop untranslatable";
    for (protocol, octets) in [(6, 8), (6, 16), (6, 17), (17, 0), (17, 7), (136, 6), (33, 7)] {
        lab.drops("cust0", &A.frame(&first(protocol, octets)), untranslatable);
    }
    for (protocol, octets) in [(6, 24), (17, 8), (136, 8), (33, 16), (1, 8), (47, 0)] {
        lab.expect("cust0", &A.frame(&first(protocol, octets)), &["vif a forwarded"]);
    }
}

#[test]
fn what_has_no_way_back_is_dropped() {
    let mut lab = lab();
    let source = "fd21::ffff:ffff:ffff:ffff";
    let untranslatable = "vif a drop untranslatable";
    lab.drops("cust0", &A.frame(&packet(source, "fd00:64::1")), untranslatable);
    lab.drops("cust0", &A.frame(&ping(source, "fd00:64::1")), untranslatable);
}

#[test]
fn errors_of_the_station_are_about_what_was_sent() {
    let mut lab = lab();
    for (inside, to) in [(INSIDE, "10.64.0.1"), (INSIDE6, "fd00:64::1")] {
        let sent = with_ttl(packet(inside, to), 1);
        let answer = lab.answers(A, &sent, "punt ttl_exceeded");
        assert_eq!(answer.destination, inside);
        assert_eq!(answer.body, sent[..answer.body.len()], "{inside}");
    }
    // And pings are answered.
    for (inside, own) in [(INSIDE, "169.254.100.1"), (INSIDE6, "fd00:100::1")] {
        let answer = lab.answers(A, &ping(inside, own), "punt local");
        assert_eq!((answer.source, answer.destination), (own.into(), inside.into()));
    }
}

#[test]
fn errors_from_beyond_are_about_what_was_sent() {
    let mut lab = lab();
    for (inside, to) in [(INSIDE, "10.64.0.1"), (INSIDE6, "fd00:64::1")] {
        let sent = udp(inside, to, 100);
        let seen = lab.expect("cust0", &A.frame(&sent), &["vif a forwarded"]);
        let Seen { packet: seen, .. } = Seen::read(&seen[0].1);
        let (at, kind, octets) = if seen[0] >> 4 == 4 { (12, 3, 4) } else { (8, 1, 16) };
        let outside = match octets {
            4 => std::net::Ipv4Addr::from(<[u8; 4]>::try_from(&seen[at..at + 4]).unwrap())
                .to_string(),
            _ => std::net::Ipv6Addr::from(<[u8; 16]>::try_from(&seen[at..at + 16]).unwrap())
                .to_string(),
        };
        let error = icmp(to, &outside, 64, (kind, 1, [0; 4]), &seen);
        let back = lab.expect("core0", &A_CORE.frame(&error), &["vif a-core forwarded"]);
        let error = Icmp::read(&Seen::read(&back[0].1).packet);
        assert_eq!(error.destination, inside);
        // But for the TTL and the sum over it.
        let mut quoted = error.body;
        let hops = if octets == 4 { 8 } else { 7 };
        quoted[hops] += 1;
        seal(&mut quoted);
        assert_eq!(quoted, sent, "{inside}");
    }
}

#[test]
fn what_software_forwards_is_translated_too() {
    let mut lab = lab();
    let alert = [0x94, 4, 0, 0];
    let there = with_options(packet(INSIDE, "10.64.0.1"), &alert);
    let grown = ["vif a punt ip_options", "vif a outcome slow_forwarded"];
    let sent = lab.expect("cust0", &A.frame(&there), &grown);
    let Seen { packet: seen, .. } = Seen::read(&sent[0].1);
    assert_sound(&seen);
    assert_eq!(seen[12..16], [10, 1, 0, 9]);
    let back = with_options(packet("10.64.0.1", OUTSIDE), &alert);
    let grown = ["vif a-core punt ip_options", "vif a-core outcome slow_forwarded"];
    let sent = lab.expect("core0", &A_CORE.frame(&back), &grown);
    let Seen { packet: seen, .. } = Seen::read(&sent[0].1);
    assert_sound(&seen);
    assert_eq!(seen[16..20], [10, 21, 0, 9]);
    let short = with_options(first("10.64.0.1", OUTSIDE, 6, 8), &alert);
    lab.ignores(A_CORE, &A_CORE.frame(&short), "punt ip_options", "outcome slow_untranslatable");
}
