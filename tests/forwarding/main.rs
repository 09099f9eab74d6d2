//! What leaves the station for what enters it: tags, priority, TTL, routes by weight, source checks; and
//! that tenants with the same addresses never meet.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::cast_possible_truncation)]

mod changes;
#[path = "../common/mod.rs"]
mod common;
mod own_addresses;
mod qos;

use std::collections::HashSet;

use common::packets::{
    Seen, arp, checksum, edited, ethertype_of, frame, packet, ping, routed, udp, udp_flow,
    with_options, with_ttl,
};
use common::rig::Rig;
use common::{
    A, A_CORE, A_SMALL, A2, B, B_CORE, B_S, CONFIG, HOSTS, Host, INTERNET, Lab, P1, P2, SECOND,
    expected,
};
use station::port::memory::MemoryPort;
use station::tables::PortId;
use station::wire::ethernet::Mac;

/// The lab's configuration with a route more.
fn with(extra: &str) -> String {
    format!("{CONFIG}\n{extra}")
}

/// The lab's configuration without one of its tables.
fn without(table: &str) -> String {
    assert!(CONFIG.contains(table), "{table}");
    CONFIG.replace(table, "")
}

fn changed(from: &str, to: &str) -> String {
    assert!(CONFIG.contains(from), "{from}");
    CONFIG.replace(from, to)
}

#[test]
fn tags_are_rewritten_between_one_two_and_service_tags() {
    let mut lab = Lab::new();
    lab.forwards(A, &packet("10.1.0.9", "10.64.0.1"), A_CORE);
    lab.forwards(A_CORE, &packet("10.64.0.1", "10.1.0.9"), A);
    lab.forwards(B, &packet("10.1.0.9", "10.64.0.1"), B_CORE);
    lab.forwards(B_CORE, &packet("10.64.0.1", "10.1.0.9"), B);
    lab.forwards(B_CORE, &packet("10.64.0.1", "10.3.0.9"), B_S);
    lab.forwards(B_S, &packet("10.3.0.9", "10.1.0.9"), B);
    lab.forwards(B, &packet("10.1.0.9", "10.3.0.9"), B_S);
    lab.forwards(P1, &packet("198.51.100.9", "8.8.8.8"), INTERNET);
    lab.forwards(INTERNET, &packet("8.8.8.8", "203.0.113.9"), P2);
    // IPv6 likewise.
    lab.forwards(A, &packet("fd00:a1::9", "fd00:64::1"), A_CORE);
    lab.forwards(B_CORE, &packet("2001:db8::1", "fd00:a1::9"), B);
    // Between two VIFs of one tenant on one port.
    lab.forwards(A, &packet("10.1.0.9", "10.2.0.9"), A2);
}

/// The priority of each tag of what a frame of priority 3 becomes.
fn priorities(lab: &mut Lab, from: Host, packet: &[u8]) -> Vec<u16> {
    let mut frame = from.frame(packet);
    frame[14] |= 3 << 5;
    leaving_priorities(lab, from, &frame)
}

/// A TCI's high four bits, the priority and the drop-eligible bit, of each tag of what a frame becomes.
fn leaving_priorities(lab: &mut Lab, from: Host, frame: &[u8]) -> Vec<u16> {
    let sent = lab.send(from.port, frame).sent;
    lab.check();
    let [(_, frame)] = &sent[..] else { panic!("{} frames", sent.len()) };
    Seen::read(frame).tags.iter().map(|(_, tci)| tci >> 12).collect()
}

#[test]
fn priority_is_preserved_or_set() {
    let mut lab = Lab::new();
    assert_eq!(priorities(&mut lab, A, &packet("10.1.0.9", "10.64.0.1")), [3 << 1]);
    assert_eq!(priorities(&mut lab, A, &packet("10.1.0.9", "10.65.0.1")), [5 << 1]);
    // Both tags, as where it is set; and the slow path as the fast one.
    assert_eq!(priorities(&mut lab, B_CORE, &packet("10.64.0.1", "10.1.0.9")), [3 << 1, 3 << 1]);
    assert_eq!(
        priorities(&mut lab, B, &with_ttl(packet("10.1.0.9", "10.64.0.1"), 1)),
        [3 << 1, 3 << 1]
    );
    assert_eq!(priorities(&mut lab, A, &with_ttl(packet("10.1.0.9", "10.64.0.1"), 1)), [3 << 1]);
}

#[test]
fn drop_eligibility_is_preserved_with_the_priority() {
    let mut lab = Lab::new();
    let with = |from: Host, tci: u16, packet: &[u8]| {
        let mut frame = from.frame(packet);
        frame[14] |= (tci << 4) as u8;
        frame
    };
    let out = packet("10.1.0.9", "10.64.0.1");
    for tci in 0..16 {
        assert_eq!(leaving_priorities(&mut lab, A, &with(A, tci, &out)), [tci]);
        // The slow path keeps it too: options, and a tag more on the way out.
        let alert = with_options(out.clone(), &[148, 4, 0, 0]);
        assert_eq!(leaving_priorities(&mut lab, A, &with(A, tci, &alert)), [tci]);
        let back = packet("10.64.0.1", "10.1.0.9");
        assert_eq!(leaving_priorities(&mut lab, B_CORE, &with(B_CORE, tci, &back)), [tci, tci]);
        // A priority that the operator set is not the sender's.
        let set = packet("10.1.0.9", "10.65.0.1");
        assert_eq!(leaving_priorities(&mut lab, A, &with(A, tci, &set)), [5 << 1]);
    }
    // Each frame of a burst has its own.
    let ports = (0..3).map(|_| MemoryPort::new(64)).collect();
    let mut rig = Rig::new(CONFIG, ports, 512, 8);
    let frames: Vec<Vec<u8>> = (0..64).map(|i| with(A, i % 16, &out)).collect();
    rig.burst(SECOND, PortId(0), &frames);
    let sent = rig.take_sent(PortId(2));
    let sent: Vec<u16> = sent.iter().map(|frame| Seen::read(frame).tags[0].1 >> 12).collect();
    assert_eq!(sent, (0..64).map(|i| i % 16).collect::<Vec<_>>());
}

/// IEEE 802.1Q table 9-2: VID 0 is no VLAN. Behind a VIF's tags such a tag says what the frame's priority is.
#[test]
fn a_priority_tag_behind_a_vifs_tags_is_the_frames_priority() {
    let mut lab = Lab::new();
    for (from, packet, leaves) in [
        (A, packet("10.1.0.9", "10.64.0.1"), A_CORE),
        (A, packet("fd00:a1::9", "fd00:64::1"), A_CORE),
        (B, packet("10.1.0.9", "10.64.0.1"), B_CORE),
        (B_S, packet("10.3.0.9", "10.64.0.1"), B_CORE),
    ] {
        let tags = [from.tags, &[(0x8100, 0xb000)]].concat();
        let counter = format!("vif {} forwarded", from.vif);
        let tagged = frame(from.router, from.mac, &tags, ethertype_of(&packet), &packet);
        let sent = lab.expect(from.port, &tagged, &[&counter]);
        let mut expected = expected(&packet, leaves);
        expected[14] |= 0xb0;
        assert_eq!(sent, [(leaves.port.to_owned(), expected)]);
        // The slow path reads the same tags.
        let spent = with_ttl(packet, 1);
        let tagged = frame(from.router, from.mac, &tags, ethertype_of(&spent), &spent);
        let answer = lab.answers_frame(from, &tagged, "punt ttl_exceeded");
        assert_eq!(answer.body[..20], spent[..20]);
    }
    // ARP too.
    let question = arp(1, (A2.mac, "10.9.1.2"), (Mac::default(), "10.9.1.1"));
    let tagged = frame(Mac::BROADCAST, A2.mac, &[A2.tags[0], (0x8100, 0)], 0x0806, &question);
    lab.expect("cust0", &tagged, &["vif a2 punt arp", "vif a2 outcome answered"]);
}

/// IEEE 802.3 3.2.8: what is shorter is padded, with zeros and with nothing else: neither with what the sender had
/// behind its packet nor with what was in the memory before.
#[test]
fn short_packets_are_padded_with_zeros() {
    let ports = (0..3).map(|_| MemoryPort::new(64)).collect();
    let mut rig = Rig::new(CONFIG, ports, 64, 8);
    // All memory is written to.
    let full = A.frame(&[0xee; 1500]);
    rig.burst(SECOND, PortId(0), &vec![full; 64]);
    for (from, to, leaves) in [
        (A, "10.64.0.1", A_CORE),
        (B, "10.64.0.1", B_CORE),
        (A, "fd00:64::1", A_CORE),
        (B, "fd00:64::1", B_CORE),
    ] {
        let source = if to.contains(':') { "fd00:a1::9" } else { "10.1.0.9" };
        let shortest = if to.contains(':') { 48 } else { 28 };
        let packets: Vec<Vec<u8>> = (shortest..80).map(|len| udp(source, to, len)).collect();
        let frames = packets.iter().map(|packet| [from.frame(packet), vec![0xdd; 40]].concat());
        rig.burst(SECOND, PortId(0), &frames.collect::<Vec<_>>());
        let sent = rig.take_sent(PortId(2));
        let expected: Vec<_> = packets.iter().map(|packet| expected(packet, leaves)).collect();
        assert_eq!(sent, expected);
        assert!(sent.iter().all(|frame| frame.len() >= 64));
    }
    rig.check();
    // A bare IPv4 header, the shortest there is, by the fast path and by the slow one.
    let mut lab = Lab::new();
    let bare = edited(udp("10.1.0.9", "10.64.0.1", 28)[..20].to_vec(), |p| (p[3], p[9]) = (20, 59));
    lab.forwards(A, &bare, A_CORE);
    let alert = with_options(bare, &[148, 4, 0, 0]);
    let counters = ["vif a punt ip_options", "vif a outcome slow_forwarded"];
    let sent = lab.expect("cust0", &A.frame(&alert), &counters);
    assert_eq!(sent, [("core0".to_owned(), expected(&alert, A_CORE))]);
}

/// Every checksum that a header can have, among them those around 0 and 0xffff (RFC 1624 section 3).
#[test]
fn every_checksum_survives_the_ttl() {
    let ports = (0..3).map(|_| MemoryPort::new(64)).collect();
    let mut rig = Rig::new(CONFIG, ports, 512, 8);
    let mut seen = HashSet::new();
    let base = udp("10.1.0.9", "10.64.0.1", 28);
    for first in (0..=u16::MAX).step_by(64) {
        let packets: Vec<Vec<u8>> = (first..=first + 63)
            .map(|id| edited(base.clone(), |p| p[4..6].copy_from_slice(&id.to_be_bytes())))
            .collect();
        let frames: Vec<Vec<u8>> = packets.iter().map(|packet| A.frame(packet)).collect();
        rig.burst(SECOND, PortId(0), &frames);
        let sent = rig.take_sent(PortId(2));
        assert_eq!(sent.len(), 64);
        for (packet, frame) in packets.iter().zip(&sent) {
            assert_eq!(frame[18..38], routed(packet)[..20]);
            assert_eq!(checksum(&frame[18..38]), 0);
            seen.insert([frame[28], frame[29]]);
        }
    }
    assert!(seen.len() > 65_000);
    rig.check();
}

#[test]
fn ttl_2_leaves_as_1() {
    let mut lab = Lab::new();
    lab.forwards(A, &with_ttl(packet("10.1.0.9", "10.64.0.1"), 2), A_CORE);
    lab.forwards(A, &with_ttl(packet("fd00:a1::9", "fd00:64::1"), 2), A_CORE);
    lab.forwards(A, &with_ttl(packet("10.1.0.9", "10.64.0.1"), 255), A_CORE);
}

const SHARED: &str = r#"
[[route]]
vrf = "vpc-a"
prefix = "10.70.0.0/16"
via = [{ address = "10.255.1.2", weight = 3 }, { address = "10.255.2.2", weight = 1 }]
[[route]]
vrf = "vpc-a"
prefix = "fd00:70::/32"
via = [{ address = "fd00:255:1::2", weight = 3 }, { address = "fd00:255:2::2", weight = 1 }]
"#;

/// The VLAN that each flow leaves by.
fn ways(lab: &mut Lab, flows: &[Vec<u8>]) -> Vec<u16> {
    let mut way = |flow: &Vec<u8>| {
        let sent = lab.send("cust0", &A.frame(flow)).sent;
        Seen::read(&sent[0].1).tags[0].1 & 0xfff
    };
    flows.iter().map(&mut way).collect()
}

#[test]
fn flows_are_shared_by_weight_and_stay() {
    let mut lab = Lab::with(&with(SHARED));
    let by_port = |i: u16| udp_flow("10.1.0.9", "10.70.0.1", (1024 + i, 443), 64);
    let by_address = |i: u16| packet(&format!("10.1.{}.{}", i >> 8, i & 0xff), "10.70.3.4");
    let by_address6 = |i: u16| packet("fd00:a1::9", &format!("fd00:70::{i:x}"));
    let kinds: [&dyn Fn(u16) -> Vec<u8>; 3] = [&by_port, &by_address, &by_address6];
    for kind in kinds {
        let flows: Vec<Vec<u8>> = (1..=10_000).map(kind).collect();
        let first = ways(&mut lab, &flows);
        let small = first.iter().filter(|vlan| **vlan == 1101).count();
        // A quarter, within 5%.
        assert!((2375..=2625).contains(&small), "{small} of 10000");
        assert_eq!(ways(&mut lab, &flows[..500]), first[..500]);
    }
    lab.check();
}

#[test]
fn ipv6_routes_that_lead_nowhere() {
    let mut lab = Lab::new();
    let no = packet("fd00:a1::9", "fd00:67::1");
    let answer = lab.answers(A, &no, "punt unreachable");
    answer.assert_error((1, 3), "fd00:100::1", "fd00:a1::9", &no);
    lab.drops("cust0", &A.frame(&packet("fd00:a1::9", "fd00:66::1")), "vif a drop blackhole");
}

#[test]
fn exactly_the_mtu_passes_and_an_octet_more_does_not() {
    let mut lab = Lab::new();
    for (from, to) in [("10.1.0.9", "10.65.0.1"), ("fd00:a1::9", "fd00:65::1")] {
        lab.forwards(A, &udp(from, to, 1280), A_SMALL);
        let long = edited(udp(from, to, 1281), |p| {
            if p[0] >> 4 == 4 {
                p[6] |= 0x40
            }
        });
        assert_eq!(lab.answers(A, &long, "punt too_big").body[..40], long[..40]);
    }
    // On the way in the VIF's own MTU counts.
    let back = udp("10.65.0.1", "10.1.0.9", 1281);
    lab.drops("core0", &A_SMALL.frame(&back), "vif a-small drop frame_too_long");
    lab.forwards(A_SMALL, &udp("10.65.0.1", "10.1.0.9", 1280), A);
}

/// The VRF of each (port, VLANs), from the lab's hosts.
fn vrf_of(port: &str, tags: &[(u16, u16)]) -> &'static str {
    let host = HOSTS.iter().find(|host| host.port == port && host.tags == tags);
    match host.expect("a VIF's tags").vif.as_bytes()[0] {
        b'a' => "vpc-a",
        b'b' => "vpc-b",
        _ => "public",
    }
}

/// From every VIF to every address that means something in any VRF, in several kinds of packets: nothing
/// that is sent because of it leaves by another VRF's VIF.
#[test]
fn tenants_never_meet() {
    let mut lab = Lab::new();
    let addresses = [
        "169.254.100.1",
        "169.254.100.2",
        "10.1.0.9",
        "10.2.0.9",
        "10.3.0.9",
        "10.9.1.1",
        "10.9.1.2",
        "10.9.1.77",
        "10.9.3.1",
        "10.9.3.2",
        "10.255.1.1",
        "10.255.1.2",
        "10.255.2.2",
        "10.64.0.1",
        "10.65.0.1",
        "10.200.0.1",
        "192.0.2.0",
        "192.0.2.1",
        "192.0.2.3",
        "198.51.100.9",
        "203.0.113.9",
        "8.8.8.8",
        "10.255.0.1",
        "10.255.0.5",
    ];
    let addresses6 = [
        "fd00:100::1",
        "fd00:100::2",
        "fd00:100::77",
        "fd00:101::1",
        "fd00:101::2",
        "fd00:a1::9",
        "fd00:64::1",
        "fd00:255:1::1",
        "fd00:255:1::2",
        "2001:db8::1",
        "fe80::ff:fe00:1",
        "fe80::2",
    ];
    let mut sent = 0;
    for from in HOSTS {
        let vrf = vrf_of(from.port, from.tags);
        let mut check = |lab: &mut Lab, frame: &[u8]| {
            for (port, frame) in lab.send(from.port, frame).sent {
                let name = lab.station.engine().tables().ports[port.index()].name.clone();
                assert_eq!(
                    vrf_of(&name, &Seen::read(&frame).vlans()),
                    vrf,
                    "{from:?}: {frame:02x?}"
                );
                sent += 1;
            }
        };
        for family in [&addresses[..], &addresses6[..]] {
            for source in family {
                for destination in family {
                    let kinds = [
                        packet(source, destination),
                        ping(source, destination),
                        with_ttl(packet(source, destination), 1),
                    ];
                    for packet in kinds {
                        check(&mut lab, &from.frame(&packet));
                    }
                }
                lab.now += SECOND / 10;
            }
        }
        for target in addresses {
            let question = arp(1, (from.mac, "169.254.100.2"), (Mac::default(), target));
            check(&mut lab, &from.frame_to(Mac::BROADCAST, &question));
        }
    }
    assert!(sent > 1000, "{sent} frames were sent");
    lab.check();
}

#[test]
fn strict_source_check_takes_any_route_that_leads_back() {
    // RFC 8704: a prefix behind two VIFs may come by both, whichever it goes out by.
    let twice = changed(
        "prefix = \"10.1.0.0/16\"\nvia = [{ address = \"169.254.100.2\" }]\n[[route]]\nvrf = \"vpc-a\"\nprefix = \"240.1.0.0/16\"",
        "prefix = \"10.1.0.0/16\"\nvia = [{ address = \"169.254.100.2\" }, { address = \"10.9.1.2\" }]\n[[route]]\nvrf = \"vpc-a\"\nprefix = \"240.1.0.0/16\"",
    );
    let mut lab = Lab::with(&twice);
    for i in 0..20 {
        let flow = packet(&format!("10.1.0.{i}"), "10.64.0.1");
        lab.forwards(A, &flow, A_CORE);
        lab.forwards(A2, &flow, A_CORE);
    }
    let other = A.frame(&packet("10.2.0.9", "10.64.0.1"));
    lab.drops("cust0", &other, "vif a drop foreign_source");
}

#[test]
fn loose_source_check_takes_what_the_vrf_knows() {
    let loose = changed("name = \"a\"\n", "name = \"a\"\nsource_check = \"loose\"\n");
    let mut lab = Lab::with(&loose);
    lab.forwards(A, &packet("10.2.0.9", "10.64.0.1"), A_CORE);
    lab.forwards(A, &packet("10.64.0.9", "10.65.0.1"), A_SMALL);
    let unknown = A.frame(&packet("8.8.8.8", "10.64.0.1"));
    lab.drops("cust0", &unknown, "vif a drop spoofed_source");
    // A blackhole is no way back.
    let gone = A.frame(&packet("10.66.0.1", "10.64.0.1"));
    lab.drops("cust0", &gone, "vif a drop spoofed_source");
}

#[test]
fn no_source_check_takes_all_but_martians() {
    let off = changed("name = \"a\"\n", "name = \"a\"\nsource_check = \"off\"\n");
    let mut lab = Lab::with(&off);
    lab.forwards(A, &packet("8.8.8.8", "10.64.0.1"), A_CORE);
    let martian = A.frame(&packet("127.0.0.1", "10.64.0.1"));
    lab.drops("cust0", &martian, "vif a drop martian_source");
}
