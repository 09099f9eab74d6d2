//! Rows 1 to 18: Ethernet, tags, and what the frame claims to carry.

use crate::common::packets::{ARP, IPV4, IPV6, arp, discovery, frame, packet, padded, udp};
use crate::common::{A, A_CORE, A2, B, Lab, P2};
use crate::{good, good6, on_cust0};
use station::wire::ethernet::Mac;

#[test]
fn row_01_runt() {
    let mut lab = Lab::new();
    lab.drops("cust0", &A.frame(&good())[..13], "port cust0 drop runt");
    lab.drops("cust0", &[0], "port cust0 drop runt");
    lab.drops("cust0", &[], "port cust0 drop runt");
}

#[test]
fn row_02_truncated_tag() {
    let mut lab = Lab::new();
    for length in 14..18 {
        lab.drops("cust0", &A.frame(&good())[..length], "port cust0 drop truncated_tag");
    }
    lab.drops("cust0", &B.frame(&good())[..21], "port cust0 drop truncated_tag");
    let two = on_cust0(&[(0x8100, 100), (0x8100, 7)], IPV4, &[]);
    lab.drops("cust0", &two[..20], "port cust0 drop truncated_tag");
}

#[test]
fn row_03_untagged() {
    Lab::new().drops("cust0", &on_cust0(&[], IPV4, &good()), "port cust0 drop untagged");
}

#[test]
fn row_04_unknown_vid() {
    let mut lab = Lab::new();
    let counter = "port cust0 drop unknown_vlan";
    lab.drops("cust0", &on_cust0(&[(0x8100, 102)], IPV4, &good()), counter);
    // An inner VID that is not there, no inner tag at all, and an inner VID as an outer one.
    lab.drops("cust0", &on_cust0(&[(0x8100, 200), (0x8100, 8)], IPV4, &good()), counter);
    lab.drops("cust0", &on_cust0(&[(0x8100, 200)], IPV4, &good()), counter);
    lab.drops("cust0", &on_cust0(&[(0x8100, 7)], IPV4, &good()), counter);
    // 0x8100 where the VIF's outer tag is 0x88a8.
    let c_tag = frame(P2.router, P2.mac, &[(0x8100, 300)], IPV4, &good());
    lab.drops("cust1", &c_tag, "port cust1 drop unknown_vlan");
}

#[test]
fn row_05_vid_0() {
    let mut lab = Lab::new();
    lab.drops(
        "cust0",
        &on_cust0(&[(0x8100, 0xa000)], IPV4, &good()),
        "port cust0 drop priority_tag",
    );
    // Where VIFs have two tags, the second one has to name one.
    let inner = on_cust0(&[(0x8100, 200), (0x8100, 0)], IPV4, &good());
    lab.drops("cust0", &inner, "port cust0 drop priority_tag");
    // In front of a VIF's tags it is a VLAN of its own; and behind them, one is enough.
    let before = on_cust0(&[(0x8100, 0xa000), (0x8100, 100)], IPV4, &good());
    lab.drops("cust0", &before, "port cust0 drop priority_tag");
    let twice = on_cust0(&[(0x8100, 100), (0x8100, 0), (0x8100, 0)], IPV4, &good());
    lab.drops("cust0", &twice, "port cust0 drop too_many_tags");
    let service = on_cust0(&[(0x8100, 100), (0x88a8, 0)], IPV4, &good());
    lab.drops("cust0", &service, "port cust0 drop unexpected_inner_tag");
}

#[test]
fn row_06_vid_4095() {
    let mut lab = Lab::new();
    lab.drops(
        "cust0",
        &on_cust0(&[(0x8100, 4095)], IPV4, &good()),
        "port cust0 drop reserved_vlan",
    );
    let inner = on_cust0(&[(0x8100, 200), (0x8100, 4095)], IPV4, &good());
    lab.drops("cust0", &inner, "port cust0 drop reserved_vlan");
}

#[test]
fn row_07_second_tag_where_the_vif_has_one() {
    let hop = on_cust0(&[(0x8100, 100), (0x8100, 101)], IPV4, &good());
    Lab::new().drops("cust0", &hop, "port cust0 drop unexpected_inner_tag");
}

#[test]
fn row_08_service_tag_where_no_vif_expects_one() {
    let mut lab = Lab::new();
    let counter = "port cust0 drop unexpected_service_tag";
    lab.drops("cust0", &on_cust0(&[(0x88a8, 100)], IPV4, &good()), counter);
    lab.drops("cust0", &on_cust0(&[(0x88a8, 999)], IPV4, &good()), counter);
    lab.drops("cust0", &on_cust0(&[(0x88a8, 200), (0x8100, 7)], IPV4, &good()), counter);
    lab.drops("cust0", &on_cust0(&[(0x8100, 200), (0x88a8, 7)], IPV4, &good()), counter);
}

#[test]
fn row_09_triple_tag() {
    let mut lab = Lab::new();
    let counter = "port cust0 drop too_many_tags";
    for outer in [100, 200] {
        let tags = [(0x8100, outer), (0x8100, 7), (0x8100, 7)];
        lab.drops("cust0", &on_cust0(&tags, IPV4, &good()), counter);
    }
}

#[test]
fn row_10_valid_vid_on_the_wrong_port() {
    let wrong = frame(P2.router, A.mac, A.tags, IPV4, &good());
    Lab::new().drops("cust1", &wrong, "port cust1 drop unknown_vlan");
}

#[test]
fn row_11_multicast_source_mac() {
    let bad = frame(A.router, Mac([0x33, 0x33, 0, 0, 0, 1]), A.tags, IPV4, &good());
    Lab::new().drops("cust0", &bad, "port cust0 drop source_mac_multicast");
}

#[test]
fn row_12_source_mac_is_destination_mac() {
    let bad = frame(A.router, A.router, A.tags, IPV4, &good());
    Lab::new().drops("cust0", &bad, "port cust0 drop mac_loop");
}

/// What the station sent comes back from a looped circuit: whoever it was for, it is no neighbor's.
#[test]
fn row_12b_a_frame_of_the_station_itself() {
    let mut lab = Lab::new();
    let counter = "vif a drop looped_back";
    let question = arp(1, (A.router, "169.254.100.1"), (Mac::default(), "169.254.100.2"));
    let to = "ff02::1:ff00:2";
    let solicit = discovery(135, "fd00:100::1", to, 0, "fd00:100::2", A.router);
    let routed = packet("10.64.0.1", "10.1.0.9");
    for (to, ethertype, payload) in [
        (A.mac, IPV4, &routed),
        (Mac::BROADCAST, ARP, &question),
        (Mac([0x33, 0x33, 0xff, 0, 0, 2]), IPV6, &solicit),
        (Mac([1, 0x80, 0xc2, 0, 0, 2]), IPV4, &routed),
    ] {
        lab.drops("cust0", &frame(to, A.router, A.tags, ethertype, payload), counter);
        lab.drops("cust0", &padded(frame(to, A.router, A.tags, ethertype, payload)), counter);
    }
    // Behind two tags too; and tags that are no VIF's say so.
    let two = frame(B.mac, B.router, B.tags, IPV4, &routed);
    lab.drops("cust0", &two, "vif b drop looped_back");
    let none = frame(A.mac, A.router, &[(0x8100, 999)], IPV4, &routed);
    lab.drops("cust0", &none, "port cust0 drop unknown_vlan");
    // Another port's MAC is another station to this one.
    let other = frame(A.router, P2.router, A.tags, IPV4, &good());
    lab.expect("cust0", &other, &["vif a forwarded"]);
    // So is one that differs from this port's in its first octets alone.
    for octet in [0, 1] {
        let mut nearly = A.router;
        nearly.0[octet] ^= 4;
        let nearly = frame(A.router, nearly, A.tags, IPV4, &good());
        lab.expect("cust0", &nearly, &["vif a forwarded"]);
    }
}

#[test]
fn row_13_unicast_mac_not_ours() {
    let mut lab = Lab::new();
    lab.drops("cust0", &A.frame_to(A2.mac, &good()), "port cust0 drop not_our_mac");
    // Another port's MAC is not this one's.
    lab.drops("cust0", &A.frame_to(P2.router, &good()), "port cust0 drop not_our_mac");
}

#[test]
fn row_14_bridge_control_mac() {
    let mut lab = Lab::new();
    for last in [0, 2, 3, 0x0e, 0x0f] {
        let reserved = Mac([1, 0x80, 0xc2, 0, 0, last]);
        lab.drops("cust0", &A.frame_to(reserved, &good()), "port cust0 drop reserved_mac");
    }
}

#[test]
fn row_15_unicast_ip_in_a_group_mac() {
    let mut lab = Lab::new();
    let counter = "vif a drop unicast_in_group_mac";
    lab.drops("cust0", &A.frame_to(Mac::BROADCAST, &good()), counter);
    lab.drops("cust0", &A.frame_to(Mac([1, 0, 0x5e, 0, 0, 5]), &good()), counter);
    lab.drops("cust0", &A.frame_to(Mac([0x33, 0x33, 0, 0, 0, 1]), &good6()), counter);
}

#[test]
fn row_16_other_ethertypes() {
    let mut lab = Lab::new();
    for ethertype in [0x8863, 0x8864, 0x8847, 0x8848, 0x0805, 46] {
        let other = on_cust0(A.tags, ethertype, &good());
        lab.drops("cust0", &other, "vif a drop unknown_ethertype");
    }
}

#[test]
fn row_17_ethertype_and_version_differ() {
    let mut lab = Lab::new();
    lab.drops("cust0", &on_cust0(A.tags, IPV6, &good()), "vif a drop bad_version");
    lab.drops("cust0", &on_cust0(A.tags, IPV4, &good6()), "vif a drop bad_version");
}

#[test]
fn row_18_longer_than_the_mtu() {
    let mut lab = Lab::new();
    let counter = "vif a drop frame_too_long";
    lab.drops("cust0", &A.frame(&udp("10.1.0.9", "10.64.0.1", 1501)), counter);
    lab.drops("cust0", &A.frame(&udp("fd00:a1::9", "fd00:64::1", 1501)), counter);
    lab.forwards(A, &udp("10.1.0.9", "10.64.0.1", 1500), A_CORE);
    lab.forwards(A, &udp("fd00:a1::9", "fd00:64::1", 1500), A_CORE);
}
