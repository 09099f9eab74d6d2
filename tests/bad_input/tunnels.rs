//! VXLAN (RFC 7348) from a hostile underlay, and what tunnels do with good frames. No row numbers: these came with tunnels.

use std::collections::BTreeSet;

use crate::common::packets::{
    ARP, IPV4, IPV6, Icmp, edited, frame, packet, padded, routed, seal, udp, udp_flow, with_ttl,
};
use crate::common::{A, CONFIG, Host, Lab, UNDERLAY, port_mac};
use crate::good;
use station::mirror::{Change, Hop, Table, To};
use station::wire::ethernet::Mac;

/// The underlay's router at the core port.
pub const FABRIC: Host = Host {
    vif: "fabric",
    port: "core0",
    router: port_mac(2),
    mac: Mac([2, 0, 0, 0, 0xfa, 2]),
    tags: &[(0x8100, 1500)],
};
/// Our VTEP's MAC, and those of the routers at the other ends.
const OURS: Mac = Mac([2, 0x0a, 0, 0, 0, 1]);
const THEIRS: Mac = Mac([2, 0x0a, 0, 0, 0, 2]);

pub fn lab() -> Lab {
    Lab::with(&format!("{CONFIG}\n{UNDERLAY}"))
}

/// UDP and VXLAN around an inner frame.
pub fn vxlan(vni: u32, inner: &[u8]) -> Vec<u8> {
    let length = u16::try_from(16 + inner.len()).unwrap().to_be_bytes();
    let [_, a, b, c] = vni.to_be_bytes();
    let head = [0xc0, 1, 0x12, 0xb5, length[0], length[1], 0, 0, 8, 0, 0, 0, a, b, c, 0];
    [&head[..], inner].concat()
}

/// An IP packet of UDP from one VTEP to another.
pub fn outer(from: &str, to: &str, udp: &[u8]) -> Vec<u8> {
    let mut packet = udp_flow(from, to, (1, 2), if from.contains(':') { 48 } else { 28 });
    let ip = packet.len() - 8;
    packet.truncate(ip);
    packet.extend(udp);
    if packet[0] >> 4 == 4 {
        let total = u16::try_from(packet.len()).unwrap();
        packet[2..4].copy_from_slice(&total.to_be_bytes());
        seal(&mut packet);
    } else {
        let length = u16::try_from(udp.len()).unwrap();
        packet[4..6].copy_from_slice(&length.to_be_bytes());
    }
    packet
}

pub fn inner(packet: &[u8]) -> Vec<u8> {
    let ethertype = if packet[0] >> 4 == 4 { IPV4 } else { IPV6 };
    frame(OURS, THEIRS, &[], ethertype, packet)
}

/// A frame of the underlay with a packet of tenant A in VNI 5001.
fn tunnelled(packet: &[u8]) -> Vec<u8> {
    FABRIC.frame(&outer("10.255.0.2", "10.255.0.1", &vxlan(5001, &inner(packet))))
}

/// Where the tunnels of 64 flows to a prefix behind two VTEPs end.
fn ends(lab: &mut Lab) -> BTreeSet<u8> {
    let flows = (0..64).map(|port| udp_flow("10.1.0.9", "10.81.0.9", (port, 9), 100));
    flows
        .map(|packet| {
            let sent = lab.expect("cust0", &A.frame(&packet), &["vif a forwarded"]);
            taken_apart(&sent).0[19]
        })
        .collect()
}

#[test]
fn flows_leave_a_vtep_that_the_underlay_does_not_reach() {
    let both = "via = [{ address = \"10.255.0.2\" }, { address = \"10.255.0.3\", weight = 2 }]";
    let text = format!(
        "{CONFIG}\n{UNDERLAY}[[route]]\nvrf = \"vpc-a\"\nprefix = \"10.81.0.0/16\"\n{both}\n"
    );
    let mut lab = Lab::with(&text);
    assert_eq!(ends(&mut lab), BTreeSet::from([2, 3]));
    for (prefix, left) in [("10.255.0.2/32", 2), ("10.255.0.3/32", 3)] {
        lab.commit(&text.replace("10.255.0.0/24", prefix));
        assert_eq!(ends(&mut lab), BTreeSet::from([left]));
    }
    lab.commit(&text);
    assert_eq!(ends(&mut lab), BTreeSet::from([2, 3]));
}

#[test]
fn tunnels_follow_routes_of_the_underlay_that_change_no_tables() {
    let second = UNDERLAY
        .split("\n[[")
        .filter(|part| {
            part.contains("name = \"fabric\"\nport") || part.contains("10.254.0.2\"\nmac")
        })
        .map(|part| format!("\n[[{part}"))
        .collect::<String>()
        .replace("\"fabric\"\nport", "\"fabric2\"\nport")
        .replace("vif = \"fabric\"", "vif = \"fabric2\"")
        .replace("1500", "1501")
        .replace("10.254.0", "10.254.1")
        .replace("fd00:254::", "fd00:254:1::")
        .replace(", \"10.255.0.1/32\"", "")
        .replace(", \"fd00:255::1/128\"", "");
    let mut lab = Lab::with(&format!("{CONFIG}\n{UNDERLAY}\n{second}"));
    let packet = udp("10.1.0.9", "10.80.0.9", 100);
    let vlan = |lab: &mut Lab| {
        let sent = lab.expect("cust0", &A.frame(&packet), &["vif a forwarded"]);
        u16::from_be_bytes([sent[0].1[14], sent[0].1[15]])
    };
    assert_eq!(vlan(&mut lab), 1500);
    let learned = |lab: &mut Lab, prefix: &str, to: To| {
        let engine = lab.station.engine();
        let vrf = engine.vrf("fabric").unwrap();
        let prefix = prefix.parse().unwrap();
        engine.learned(vec![Change { vrf, table: Table::Best, prefix, to }]);
        engine.tables().generation
    };
    let hop = Hop { vif: "fabric2".into(), address: "10.254.1.2".parse().unwrap(), weight: 1 };
    let to = To::Hops([hop].into());
    // Its group is there from now on, and what comes behind it is a change of the FIB alone.
    let generation = learned(&mut lab, "10.99.0.0/24", to.clone());
    for (to, expected) in [(to.clone(), 1501), (To::Gone, 1500), (to, 1501)] {
        assert_ne!(vlan(&mut lab), expected, "before");
        assert_eq!(learned(&mut lab, "10.255.0.2/32", to), generation);
        assert_eq!(vlan(&mut lab), expected);
    }
    lab.check();
}

/// From behind the tunnel to A's site.
fn from_cloud() -> Vec<u8> {
    packet("10.80.0.9", "10.1.0.9")
}

#[test]
fn what_comes_in_a_tunnel_enters_the_vrf_of_its_vni_alone() {
    let mut lab = lab();
    for octets in [48, 60, 1000, 1500] {
        for (from, to, packet) in [
            ("10.255.0.2", "10.255.0.1", udp("10.80.0.9", "10.1.0.9", octets)),
            ("10.255.0.2", "10.255.0.1", udp("fd00:80::9", "fd00:a1::9", octets)),
        ] {
            let frame = FABRIC.frame(&outer(from, to, &vxlan(5001, &inner(&packet))));
            let sent = lab.expect("core0", &frame, &["vif fabric forwarded", "vif a-vx forwarded"]);
            assert_eq!(sent, [("cust0".to_owned(), A.receives(&routed(&packet)))], "{octets}");
        }
        let packet = udp("10.86.0.9", "10.1.0.9", octets.min(1480));
        let frame = outer("fd00:255::2", "fd00:255::1", &vxlan(5001, &inner(&packet)));
        let frame = FABRIC.frame(&frame);
        let sent = lab.expect("core0", &frame, &["vif fabric forwarded", "vif a-vx6 forwarded"]);
        assert_eq!(sent, [("cust0".to_owned(), A.receives(&routed(&packet)))], "{octets}");
    }
}

/// What leaves by the core port in a tunnel: the outer packet, and the inner frame.
pub fn taken_apart(sent: &[(String, Vec<u8>)]) -> (Vec<u8>, Vec<u8>) {
    let [(port, frame)] = sent else { panic!("{} frames", sent.len()) };
    assert_eq!(port, "core0");
    let head = FABRIC.receives(&[0x45]);
    assert_eq!(frame[..16], head[..16], "MACs and tag");
    let packet = frame[18..].to_vec();
    let at = if packet[0] >> 4 == 4 { 20 } else { 40 };
    assert_eq!(packet[at + 2..at + 4], [0x12, 0xb5]);
    assert_eq!(packet[at + 8..at + 16], [8, 0, 0, 0, 0, 0x13, 0x89, 0]);
    let length = usize::from(u16::from_be_bytes([packet[at + 4], packet[at + 5]]));
    assert_eq!(length, packet.len() - at);
    (packet[..at].to_vec(), packet[at + 16..].to_vec())
}

#[test]
fn what_a_route_leads_into_a_tunnel_leaves_in_it() {
    let mut lab = lab();
    for octets in [48, 60, 1000, 1500] {
        for packet in
            [udp("10.1.0.9", "10.80.0.9", octets), udp("fd00:a1::9", "fd00:80::9", octets)]
        {
            let sent = lab.expect("cust0", &A.frame(&packet), &["vif a forwarded"]);
            let (ip, inner) = taken_apart(&sent);
            assert_eq!(ip[12..], [10, 255, 0, 1, 10, 255, 0, 2]);
            assert_eq!((ip[6..8].to_vec(), ip[8], ip[9]), (vec![0x40, 0], 64, 17));
            assert_eq!(crate::common::packets::checksum(&ip), 0);
            let ethertype = if packet[0] >> 4 == 4 { IPV4 } else { IPV6 };
            assert_eq!(inner, padded(frame(THEIRS, OURS, &[], ethertype, &routed(&packet))));
        }
    }
    let packet = udp("10.1.0.9", "10.86.0.9", 100);
    let sent = lab.expect("cust0", &A.frame(&packet), &["vif a forwarded"]);
    let (ip, inner) = taken_apart(&sent);
    assert_eq!((ip[0] >> 4, ip[6], ip[7]), (6, 17, 64));
    assert_eq!(inner, frame(THEIRS, OURS, &[], IPV4, &routed(&packet)));
}

#[test]
fn a_tunnel_carries_what_its_underlay_carries_and_says_so() {
    let mut lab = lab();
    // The underlay carries 1,550 octets: 1,500 in IPv4, 1,480 in IPv6.
    lab.expect("cust0", &A.frame(&udp("10.1.0.9", "10.80.0.9", 1500)), &["vif a forwarded"]);
    let long = edited(udp("10.1.0.9", "10.86.0.9", 1481), |packet| packet[6] |= 0x40);
    let icmp: Icmp = lab.answers(A, &long, "punt too_big");
    assert_eq!((icmp.kind, icmp.code, icmp.word), (3, 4, [0, 0, 5, 200]));
    // What may be fragmented is, and each part is in a tunnel.
    let whole = edited(udp("10.1.0.9", "10.86.0.9", 1481), |packet| {
        packet[6] = 0;
        seal(packet);
    });
    let sent = lab.expect(
        "cust0",
        &A.frame(&whole),
        &["vif a punt too_big", "vif a outcome slow_forwarded"],
    );
    assert_eq!(sent.len(), 2);
    sent.chunks(1).for_each(|part| drop(taken_apart(part)));
}

#[test]
fn the_router_answers_into_the_tunnel() {
    let mut lab = lab();
    let short = with_ttl(from_cloud(), 1);
    let grown = ["vif fabric forwarded", "vif a-vx punt ttl_exceeded", "vif a-vx outcome answered"];
    let sent = lab.expect("core0", &tunnelled(&short), &grown);
    let (ip, inner) = taken_apart(&sent);
    assert_eq!(ip[12..], [10, 255, 0, 1, 10, 255, 0, 2]);
    assert_eq!(inner[..14], frame(THEIRS, OURS, &[], IPV4, &[]));
    let icmp = Icmp::read(&inner[14..]);
    assert_eq!((icmp.kind, &*icmp.source), (11, "100.64.0.1"));
}

#[test]
fn a_strange_vtep_is_refused_for_what_it_is() {
    let mut lab = lab();
    let udp = vxlan(5001, &inner(&from_cloud()));
    // Another tenant's VTEP, one of nobody, our own, and addresses that no host has.
    for from in ["10.255.0.9", "10.255.0.4", "10.255.0.1", "0.0.0.0", "255.255.255.255"] {
        let frame = FABRIC.frame(&outer(from, "10.255.0.1", &udp));
        lab.drops("core0", &frame, "vif fabric drop unknown_vtep");
    }
    for from in ["fd00:255::3", "fd00:255::1", "::"] {
        let frame = FABRIC.frame(&outer(from, "fd00:255::1", &udp));
        lab.drops("core0", &frame, "vif fabric drop unknown_vtep");
    }
    // A's VTEP writes B's VNI.
    let other = vxlan(5002, &inner(&from_cloud()));
    let frame = FABRIC.frame(&outer("10.255.0.2", "10.255.0.1", &other));
    lab.drops("core0", &frame, "vif fabric drop unknown_vtep");
    for vni in [0, 5000, 0xff_ffff] {
        let udp = vxlan(vni, &inner(&from_cloud()));
        let frame = FABRIC.frame(&outer("10.255.0.2", "10.255.0.1", &udp));
        lab.drops("core0", &frame, "vif fabric drop unknown_vni");
    }
    // VNI 5002 is no VIF of the IPv6 VTEP.
    let frame = FABRIC.frame(&outer("fd00:255::2", "fd00:255::1", &other));
    lab.drops("core0", &frame, "vif fabric drop unknown_vni");
}

#[test]
fn what_is_no_sound_vxlan_is_dropped() {
    let mut lab = lab();
    let whole = vxlan(5001, &inner(&from_cloud()));
    let mut drops = |udp: &[u8]| {
        let frame = FABRIC.frame(&outer("10.255.0.2", "10.255.0.1", udp));
        lab.drops("core0", &frame, "vif fabric drop bad_tunnel");
    };
    // No VNI, as its flag says, whatever the reserved bits are.
    for flags in [0, 0xf7, 1] {
        drops(&edited(whole.clone(), |udp| udp[8] = flags));
    }
    // Cut short everywhere: in the VXLAN header, in the inner Ethernet header.
    for length in [8, 9, 15, 16, 29] {
        let short = edited(whole[..length].to_vec(), |udp| udp[5] = u8::try_from(length).unwrap());
        drops(&edited(short, |udp| udp[4] = 0));
    }
    // A UDP length beyond the packet, and ones that end before the inner header.
    for length in [0_u16, 7, 8, 15, 16, 29, u16::MAX] {
        drops(&edited(whole.clone(), |udp| udp[4..6].copy_from_slice(&length.to_be_bytes())));
    }
    let long = u16::try_from(whole.len() + 1).unwrap();
    drops(&edited(whole.clone(), |udp| udp[4..6].copy_from_slice(&long.to_be_bytes())));
    // The first fragment of one.
    let fragment = edited(outer("10.255.0.2", "10.255.0.1", &whole), |packet| {
        packet[6] |= 0x20;
        seal(packet);
    });
    lab.drops("core0", &FABRIC.frame(&fragment), "vif fabric drop bad_tunnel");
}

#[test]
fn what_is_no_good_packet_is_no_good_tunnel() {
    let mut lab = lab();
    let whole = outer("10.255.0.2", "10.255.0.1", &vxlan(5001, &inner(&from_cloud())));
    for to in [Mac::BROADCAST, Mac([1, 0, 0x5e, 0, 0, 1])] {
        let frame = FABRIC.frame_to(to, &whole);
        lab.drops("core0", &frame, "vif fabric drop unicast_in_group_mac");
    }
    let mut broken = whole.clone();
    broken[10] ^= 1;
    lab.drops("core0", &FABRIC.frame(&broken), "vif fabric drop bad_checksum");
    let short = edited(whole, |packet| {
        packet[2..4].copy_from_slice(&2000_u16.to_be_bytes());
        seal(packet);
    });
    lab.drops("core0", &FABRIC.frame(&short), "vif fabric drop bad_total_length");
}

#[test]
fn no_length_inside_reaches_beyond_the_tunnel() {
    let mut lab = lab();
    // The inner packet claims more than the UDP payload has: what follows in the frame is not its own.
    for more in [1, 20] {
        let long = edited(from_cloud(), |packet| {
            packet[3] += more;
            seal(packet);
        });
        let mut outer = outer("10.255.0.2", "10.255.0.1", &vxlan(5001, &inner(&long)));
        outer.extend([0xee; 40]);
        let grown = ["vif fabric forwarded", "vif a-vx drop bad_total_length"];
        assert_eq!(lab.expect("core0", &FABRIC.frame(&outer), &grown), []);
    }
}

#[test]
fn the_inner_frame_is_for_the_vtep_and_routed() {
    let mut lab = lab();
    let mut drops = |inner: &[u8], reason: &str| {
        let frame = FABRIC.frame(&outer("10.255.0.2", "10.255.0.1", &vxlan(5001, inner)));
        let grown = ["vif fabric forwarded", &format!("vif a-vx {reason}")];
        assert_eq!(lab.expect("core0", &frame, &grown), []);
    };
    for to in [THEIRS, port_mac(2), Mac::BROADCAST, Mac([1, 0, 0x5e, 0, 0, 1])] {
        drops(&frame(to, THEIRS, &[], IPV4, &from_cloud()), "drop not_router_mac");
    }
    let tagged = frame(OURS, THEIRS, &[(0x8100, 1100)], IPV4, &from_cloud());
    drops(&tagged, "drop inner_ethertype");
    for ethertype in [ARP, 0x8847, 0x88a8] {
        let strange = frame(OURS, THEIRS, &[], ethertype, &from_cloud());
        drops(&strange, "drop inner_ethertype");
    }
    // A tunnel in a tunnel is a packet as any other: to the router's address of this VRF, not to its VTEP.
    let nested = outer("10.80.0.9", "100.64.0.1", &vxlan(5002, &inner(&from_cloud())));
    let frame = FABRIC.frame(&outer("10.255.0.2", "10.255.0.1", &vxlan(5001, &inner(&nested))));
    let grown = ["vif fabric forwarded", "vif a-vx punt local", "vif a-vx outcome answered"];
    lab.expect("core0", &frame, &grown);
    let nested = outer("10.80.0.9", "10.255.0.1", &vxlan(5002, &inner(&from_cloud())));
    let frame = FABRIC.frame(&outer("10.255.0.2", "10.255.0.1", &vxlan(5001, &inner(&nested))));
    let grown = ["vif fabric forwarded", "vif a-vx punt no_route", "vif a-vx outcome answered"];
    lab.expect("core0", &frame, &grown);
}

#[test]
fn a_customer_reaches_no_vtep() {
    let mut lab = lab();
    for (from, to) in [("10.255.0.2", "10.255.0.1"), ("10.1.0.9", "10.255.0.1")] {
        let frame = A.frame(&outer(from, to, &vxlan(5002, &inner(&from_cloud()))));
        let report = lab.send("cust0", &frame);
        assert!(report.sent.iter().all(|(port, _)| lab.port("cust0") == *port), "{report:?}");
        let grown = lab.grown();
        assert!(grown.iter().all(|name| name.starts_with("vif a ")), "{grown:?}");
    }
}

#[test]
fn discovery_in_a_tunnel_teaches_nothing() {
    let mut lab = lab();
    let asked = crate::common::packets::discovery(
        135,
        "fe80::9",
        "fd00:6464::1",
        0,
        "fd00:6464::1",
        Mac([2, 0, 0, 0, 0, 9]),
    );
    let sent = lab.expect(
        "core0",
        &tunnelled(&asked),
        &[
            "vif fabric forwarded",
            "vif a-vx punt neighbor_discovery",
            "vif a-vx outcome not_for_us",
        ],
    );
    assert_eq!(sent, []);
}

#[test]
fn congestion_is_told_or_the_packet_is_dropped() {
    let mut lab = lab();
    let marked = |ecn: u8, packet: Vec<u8>| {
        let frame = vxlan(5001, &inner(&packet));
        let outer = edited(outer("10.255.0.2", "10.255.0.1", &frame), |packet| {
            packet[1] |= ecn;
            seal(packet);
        });
        FABRIC.frame(&outer)
    };
    let with = |ecn: u8, mut packet: Vec<u8>| {
        if packet[0] >> 4 == 4 {
            packet[1] |= ecn;
            seal(&mut packet);
        } else {
            packet[1] |= ecn << 4;
        }
        packet
    };
    for packet in [from_cloud(), packet("fd00:80::9", "fd00:a1::9")] {
        for (outer, came, leaves) in
            [(0, 0, 0), (0, 2, 2), (1, 2, 2), (3, 1, 3), (3, 2, 3), (3, 3, 3)]
        {
            let frame = marked(outer, with(came, packet.clone()));
            let sent = lab.expect("core0", &frame, &["vif fabric forwarded", "vif a-vx forwarded"]);
            let expected = A.receives(&routed(&with(leaves, packet.clone())));
            assert_eq!(sent, [("cust0".to_owned(), expected)], "{outer} {came}");
        }
        let grown = ["vif fabric forwarded", "vif a-vx drop bad_tunnel"];
        assert_eq!(lab.expect("core0", &marked(3, packet), &grown), []);
    }
}

/// RFC 2983 3: what the fabric makes of the outer DSCP is the inner packet's in the uniform model, and in no other.
#[test]
fn the_dscp_of_what_comes_in_is_by_the_vteps_model() {
    const MAC: &str = "mac = \"02:0a:00:00:00:01\"";
    let with = format!("{CONFIG}\n{UNDERLAY}");
    assert!(with.contains(MAC));
    let class = |class: u8, packet: Vec<u8>| {
        edited(packet, |packet| {
            packet[0] = packet[0] & 0xf0 | if packet[0] >> 4 == 4 { 5 } else { class >> 4 };
            packet[1] = if packet[0] >> 4 == 4 { class } else { class << 4 };
            if packet[0] >> 4 == 4 {
                seal(packet);
            }
        })
    };
    for (model, uniform) in [("\"copy\"", false), ("10", false), ("\"uniform\"", true)] {
        let mut lab = Lab::with(&with.replace(MAC, &format!("{MAC}\ndscp = {model}")));
        for packet in [from_cloud(), packet("fd00:80::9", "fd00:a1::9")] {
            // DSCP 46 outside, 12 inside; ECN from outside where it is congestion, else from inside.
            for (outside, inside, leaves) in [
                (46 << 2, 12 << 2, 46 << 2),
                (46 << 2 | 1, 12 << 2 | 2, 46 << 2 | 2),
                (46 << 2 | 3, 12 << 2 | 2, 46 << 2 | 3),
                (0, 12 << 2 | 1, 1),
            ] {
                let frame = vxlan(5001, &inner(&class(inside, packet.clone())));
                let outer = class(outside, outer("10.255.0.2", "10.255.0.1", &frame));
                let grown = ["vif fabric forwarded", "vif a-vx forwarded"];
                let sent = lab.expect("core0", &FABRIC.frame(&outer), &grown);
                let leaves = if uniform { leaves } else { inside & !3 | leaves & 3 };
                let expected = A.receives(&routed(&class(leaves, packet.clone())));
                assert_eq!(sent, [("cust0".to_owned(), expected)], "{model} {outside} {inside}");
            }
        }
    }
}

#[test]
fn a_vtep_that_the_underlay_does_not_reach_takes_nothing() {
    let with = format!("{CONFIG}\n{UNDERLAY}");
    let mut lab = Lab::with(&with);
    lab.expect("cust0", &A.frame(&packet("10.1.0.9", "10.80.0.9")), &["vif a forwarded"]);
    for (old, new) in [
        ("prefix = \"10.255.0.0/24\"", "prefix = \"10.255.9.0/24\""),
        ("mtu = 1550", "mtu = 1550\nup = false"),
    ] {
        lab.commit(&with.replace(old, new));
        let frame = A.frame(&packet("10.1.0.9", "10.80.0.9"));
        lab.drops("cust0", &frame, "vif a drop egress_down");
        lab.commit(&with);
        lab.expect("cust0", &frame, &["vif a forwarded"]);
    }
    // A VIF that is down takes nothing out of its tunnels either.
    lab.commit(&with.replace("vni = 5001\nvrf", "vni = 5001\nup = false\nvrf"));
    let grown = ["vif fabric forwarded", "vif a-vx drop vif_down"];
    assert_eq!(lab.expect("core0", &tunnelled(&good()), &grown), []);
}
