//! Rows 19 to 41: IPv4.

use crate::common::packets::{
    Icmp, Seen, assert_sound, edited, icmp, packet, ping, udp, with_options, with_ttl,
};
use crate::common::{A, A_CORE, A_SMALL, A2, B, B_CORE, CONFIG, Lab, P1, expected};
use crate::{good, good6};
use station::wire::ethernet::Mac;

#[test]
fn row_19_ihl_below_5() {
    let mut lab = Lab::new();
    for ihl in 0..5 {
        let bad = edited(good(), |p| p[0] = 0x40 | ihl);
        lab.drops("cust0", &A.frame(&bad), "vif a drop bad_header_length");
    }
}

#[test]
fn row_20_header_longer_than_the_frame() {
    let mut lab = Lab::new();
    let counter = "vif a drop bad_header_length";
    let bad = edited(udp("10.1.0.9", "10.64.0.1", 40), |p| p[0] = 0x4f);
    lab.drops("cust0", &A.frame(&bad), counter);
    lab.drops("cust0", &A.frame(&good()[..19]), counter);
    lab.drops("cust0", &A.frame(&good6()[..39]), counter);
    lab.drops("cust0", &A.frame(&good())[..18], counter);
}

#[test]
fn row_21_total_length_below_the_header() {
    let mut lab = Lab::new();
    for total in [0, 19] {
        let bad = edited(good(), |p| p[2..4].copy_from_slice(&[0, total]));
        lab.drops("cust0", &A.frame(&bad), "vif a drop bad_total_length");
    }
}

#[test]
fn row_22_total_length_above_the_frame() {
    let bad = edited(good(), |p| p[3] += 1);
    Lab::new().drops("cust0", &A.frame(&bad), "vif a drop bad_total_length");
}

#[test]
fn row_22b_total_length_below_the_frame_is_forwarded_trimmed() {
    let mut lab = Lab::new();
    for (good, to) in [(good(), A_CORE), (good6(), A_CORE)] {
        let padded = [&A.frame(&good)[..], &[0xee; 20]].concat();
        let sent = lab.expect("cust0", &padded, &["vif a forwarded"]);
        assert_eq!(sent, [("core0".to_owned(), expected(&good, to))]);
    }
}

#[test]
fn row_23_bad_checksum() {
    let mut bad = good();
    bad[11] ^= 1;
    Lab::new().drops("cust0", &A.frame(&bad), "vif a drop bad_checksum");
}

#[test]
fn row_24_ttl_runs_out() {
    let mut lab = Lab::new();
    for ttl in [1, 0] {
        let bad = with_ttl(good(), ttl);
        let answer = lab.answers(A, &bad, "punt ttl_exceeded");
        answer.assert_error((11, 0), "169.254.100.1", "10.1.0.9", &bad);
    }
    // Both tags of a double-tagged VIF lead the answer home.
    let bad = with_ttl(packet("10.1.0.9", "10.64.0.1"), 1);
    let answer = lab.answers(B, &bad, "punt ttl_exceeded");
    answer.assert_error((11, 0), "169.254.100.1", "10.1.0.9", &bad);
}

#[test]
fn row_25_too_long_and_df() {
    let long = edited(udp("10.1.0.9", "10.65.0.1", 1281), |p| p[6] |= 0x40);
    let answer = Lab::new().answers(A, &long, "punt too_big");
    answer.assert_error((3, 4), "169.254.100.1", "10.1.0.9", &long);
    assert_eq!(answer.word, [0, 0, 0x05, 0x00], "RFC 1191: the MTU of the next hop, 1280");
}

#[test]
fn row_26_too_long_without_df_is_fragmented() {
    let mut lab = Lab::new();
    let long = edited(udp("10.1.0.9", "10.65.0.1", 1500), |p| p[6] &= !0x40);
    let counters = ["vif a punt too_big", "vif a outcome slow_forwarded"];
    let sent = lab.expect("cust0", &A.frame(&long), &counters);
    let mut payload = Vec::new();
    for (at, (port, frame)) in sent.iter().enumerate() {
        assert_eq!(port, "core0");
        let seen = Seen::read(frame);
        assert_eq!((seen.to, seen.from), (A_SMALL.mac, A_SMALL.router));
        assert!(seen.packet.len() <= 1280);
        assert_sound(&seen.packet);
        let flags = u16::from_be_bytes([seen.packet[6], seen.packet[7]]);
        assert_eq!(usize::from(flags & 0x1fff) * 8, payload.len());
        assert_eq!(flags & 0x2000 != 0, at + 1 < sent.len());
        assert_eq!((&seen.packet[4..6], seen.packet[8]), (&long[4..6], 63));
        payload.extend_from_slice(&seen.packet[20..]);
    }
    assert_eq!(sent.len(), 2);
    assert_eq!(payload, long[20..]);
}

#[test]
fn row_27_no_route() {
    let mut lab = Lab::new();
    let lost = packet("10.1.0.9", "8.8.8.8");
    let answer = lab.answers(A, &lost, "punt no_route");
    answer.assert_error((3, 0), "169.254.100.1", "10.1.0.9", &lost);
    let lost = packet("fd00:a1::9", "2001:db8::1");
    let answer = lab.answers(A, &lost, "punt no_route");
    answer.assert_error((1, 0), "fd00:100::1", "fd00:a1::9", &lost);
}

#[test]
fn row_28_administratively_blocked() {
    let mut lab = Lab::new();
    lab.drops("cust0", &A.frame(&packet("10.1.0.9", "10.66.0.1")), "vif a drop blackhole");
    lab.drops("cust0", &A.frame(&packet("fd00:a1::9", "fd00:66::1")), "vif a drop blackhole");
    let no = packet("10.1.0.9", "10.68.0.1");
    let answer = lab.answers(A, &no, "punt prohibited");
    answer.assert_error((3, 13), "169.254.100.1", "10.1.0.9", &no);
    let no = packet("10.1.0.9", "10.67.0.1");
    let answer = lab.answers(A, &no, "punt unreachable");
    answer.assert_error((3, 1), "169.254.100.1", "10.1.0.9", &no);
    let no = packet("fd00:a1::9", "fd00:68::1");
    let answer = lab.answers(A, &no, "punt prohibited");
    answer.assert_error((1, 1), "fd00:100::1", "fd00:a1::9", &no);
}

#[test]
fn row_29_martian_source() {
    let mut lab = Lab::new();
    for source in [
        "0.0.0.0",
        "0.1.2.3",
        "127.0.0.1",
        "127.255.255.255",
        "224.0.0.1",
        "239.1.2.3",
        "255.255.255.255",
    ] {
        lab.drops("cust0", &A.frame(&packet(source, "10.64.0.1")), "vif a drop martian_source");
    }
}

#[test]
fn row_30_martian_destination() {
    let mut lab = Lab::new();
    for destination in ["0.0.0.0", "0.1.2.3", "127.0.0.1", "240.0.0.1"] {
        let bad = A.frame(&packet("10.1.0.9", destination));
        lab.drops("cust0", &bad, "vif a drop martian_destination");
    }
}

/// RFC 3927 2.7 bans what nobody configured. Subnets of 169.254/16 that the operator configured in the VRF number the
/// links of cloud interconnects: what their routers send about packets, and pings, must pass (RFC 1191, RFC 1812 4.3.2).
#[test]
fn row_31_link_local_off_link() {
    let mut lab = Lab::new();
    // From a neighbor on a configured subnet to the core, and back; an error as well as a ping.
    let quoted = &good()[..28];
    let too_big = icmp("169.254.100.2", "10.64.0.1", 64, (3, 4, [0, 0, 5, 0]), quoted);
    lab.forwards(A, &too_big, A_CORE);
    lab.forwards(A, &ping("169.254.100.2", "10.64.0.1"), A_CORE);
    lab.forwards(A_CORE, &packet("10.64.0.1", "169.254.100.2"), A);
    let spent = with_ttl(packet("169.254.100.2", "10.64.0.1"), 1);
    let answer = lab.answers(A, &spent, "punt ttl_exceeded");
    answer.assert_error((11, 0), "169.254.100.1", "169.254.100.2", &spent);
    // The subnet's broadcast address is no host's (RFC 2644).
    let all = A_CORE.frame(&packet("10.64.0.1", "169.254.100.3"));
    lab.drops("core0", &all, "vif a-core drop directed_broadcast");
    let all = A_CORE.frame(&packet("169.254.100.3", "10.1.0.9"));
    lab.drops("core0", &all, "vif a-core drop link_local_off_link");
    // A source beyond the subnets, where none is checked.
    let beyond = A_CORE.frame(&packet("169.254.7.7", "10.1.0.9"));
    lab.drops("core0", &beyond, "vif a-core drop link_local_off_link");
    // Where a default route would lead it out.
    let out = B.frame(&packet("10.1.0.9", "169.254.7.7"));
    lab.drops("cust0", &out, "vif b drop link_local_off_link");
    let out = B_CORE.frame(&packet("169.254.7.7", "10.1.0.9"));
    lab.drops("core0", &out, "vif b-core drop link_local_off_link");
    // Where no route leads at all, it is not answered either.
    let out = A.frame(&packet("10.1.0.9", "169.254.7.7"));
    lab.drops("cust0", &out, "vif a drop link_local_off_link");
    // The source check is what it is for other addresses.
    let spoofed = A2.frame(&packet("169.254.100.2", "10.64.0.1"));
    lab.drops("cust0", &spoofed, "vif a2 drop foreign_source");
}

/// Another tenant's subnet is none of this VRF's.
#[test]
fn row_31_a_link_local_subnet_counts_in_its_own_vrf_only() {
    let mut text = CONFIG.replacen("169.254.100.1/30", "169.254.90.1/30", 1);
    for before in [
        "prefix = \"10.1.0.0/16\"\nvia = [{ address = \"",
        "prefix = \"240.1.0.0/16\"\nvia = [{ address = \"",
        "vif = \"a\"\naddress = \"",
    ] {
        text =
            text.replacen(&format!("{before}169.254.100.2"), &format!("{before}169.254.90.2"), 1);
    }
    let mut lab = Lab::with(&text);
    lab.forwards(B, &packet("169.254.100.2", "10.64.0.1"), B_CORE);
    let out = A_CORE.frame(&packet("10.64.0.1", "169.254.100.2"));
    lab.drops("core0", &out, "vif a-core drop link_local_off_link");
    let from = A_CORE.frame(&packet("169.254.100.2", "10.1.0.9"));
    lab.drops("core0", &from, "vif a-core drop link_local_off_link");
}

#[test]
fn row_32_class_e_source() {
    let bad = A.frame(&packet("240.0.0.1", "10.64.0.1"));
    Lab::new().drops("cust0", &bad, "vif a drop martian_source");
}

/// A VRF that names a part of 240/4 routes that part like any other, both ways and in errors too; nobody else does,
/// also where a default route would lead there.
#[test]
fn row_32_class_e_where_a_private_vrf_names_it() {
    let mut lab = Lab::new();
    lab.forwards(A, &packet("240.1.255.255", "10.64.0.1"), A_CORE);
    lab.forwards(A_CORE, &packet("10.64.0.1", "240.1.0.0"), A);
    let spent = with_ttl(packet("240.1.0.9", "10.64.0.1"), 1);
    let answer = lab.answers(A, &spent, "punt ttl_exceeded");
    answer.assert_error((11, 0), "169.254.100.1", "240.1.0.9", &spent);
    // The source check is what it is for other addresses.
    let spoofed = A2.frame(&packet("240.1.0.9", "10.64.0.1"));
    lab.drops("cust0", &spoofed, "vif a2 drop foreign_source");
    for beside in ["240.0.255.255", "240.2.0.0", "255.255.255.254"] {
        let bad = A.frame(&packet(beside, "10.64.0.1"));
        lab.drops("cust0", &bad, "vif a drop martian_source");
        let bad = A_CORE.frame(&packet("10.64.0.1", beside));
        lab.drops("core0", &bad, "vif a-core drop martian_destination");
    }
    let bad = A.frame(&packet("255.255.255.255", "10.64.0.1"));
    lab.drops("cust0", &bad, "vif a drop martian_source");
    for (host, port, vif) in [(B, "cust0", "b"), (P1, "cust0", "p1")] {
        let bad = host.frame(&packet("240.1.0.9", "10.64.0.1"));
        lab.drops(port, &bad, &format!("vif {vif} drop martian_source"));
        let bad = host.frame(&packet("10.1.0.9", "240.1.0.9"));
        lab.drops(port, &bad, &format!("vif {vif} drop martian_destination"));
    }
}

#[test]
fn row_33_land() {
    let mut lab = Lab::new();
    lab.drops("cust0", &A.frame(&packet("10.1.0.9", "10.1.0.9")), "vif a drop land");
    lab.drops("cust0", &A.frame(&packet("169.254.100.1", "169.254.100.1")), "vif a drop land");
    lab.drops("cust0", &A.frame(&packet("fd00:a1::9", "fd00:a1::9")), "vif a drop land");
}

#[test]
fn row_34_fragment_at_offset_1() {
    let mut lab = Lab::new();
    let tiny = edited(good(), |p| (p[7], p[9]) = (1, 6));
    lab.drops("cust0", &A.frame(&tiny), "vif a drop tiny_fragment");
    lab.forwards(A, &edited(good(), |p| (p[7], p[9]) = (1, 17)), A_CORE);
}

#[test]
fn row_35_overlapping_fragments_are_never_reassembled() {
    let mut lab = Lab::new();
    let first = edited(udp("10.1.0.9", "10.64.0.1", 68), |p| p[6] = 0x20);
    let overlapping = edited(udp("10.1.0.9", "10.64.0.1", 68), |p| p[7] = 3);
    lab.forwards(A, &first, A_CORE);
    lab.forwards(A, &overlapping, A_CORE);
}

#[test]
fn row_36_source_route() {
    let mut lab = Lab::new();
    for kind in [131, 137] {
        let routed = with_options(good(), &[kind, 7, 4, 10, 64, 0, 2]);
        lab.drops("cust0", &A.frame(&routed), "vif a drop source_route");
        let behind = with_options(good(), &[1, 148, 4, 0, 0, kind, 7, 4, 10, 64, 0, 2]);
        lab.drops("cust0", &A.frame(&behind), "vif a drop source_route");
    }
}

#[test]
fn row_37_router_alert_and_record_route_take_the_slow_path() {
    let mut lab = Lab::new();
    let counters = ["vif a punt ip_options", "vif a outcome slow_forwarded"];
    let alert = with_options(good(), &[148, 4, 0, 0]);
    let sent = lab.expect("cust0", &A.frame(&alert), &counters);
    assert_eq!(sent, [("core0".to_owned(), expected(&alert, A_CORE))]);
    // RFC 791: the router adds the address of its own that the packet leaves by.
    let record = with_options(good(), &[7, 7, 4, 0, 0, 0, 0]);
    let filled = edited(record.clone(), |p| p[20..27].copy_from_slice(&[7, 7, 8, 10, 255, 1, 1]));
    let sent = lab.expect("cust0", &A.frame(&record), &counters);
    assert_eq!(sent, [("core0".to_owned(), expected(&filled, A_CORE))]);
    // A pointer into the option's head.
    let bad = with_options(good(), &[7, 7, 2, 0, 0, 0, 0]);
    let sent = lab.expect(
        "cust0",
        &A.frame(&bad),
        &["vif a punt ip_options", "vif a outcome bad_options"],
    );
    let answer = Icmp::read(&Seen::read(&sent[0].1).packet);
    answer.assert_error((12, 0), "169.254.100.1", "10.1.0.9", &bad);
    assert_eq!((sent.len(), answer.word[0]), (1, 22), "where the pointer is");
}

#[test]
fn row_37_options_are_policed() {
    let mut lab = Lab::new();
    let alert = A.frame(&with_options(good(), &[148, 4, 0, 0]));
    for _ in 0..200 {
        lab.send("cust0", &alert);
    }
    lab.drops("cust0", &alert, "vif a drop punt_rate");
}

#[test]
fn row_38_directed_broadcast() {
    let mut lab = Lab::new();
    let bad = A_CORE.frame(&packet("10.64.0.1", "10.9.1.255"));
    lab.drops("core0", &bad, "vif a-core drop directed_broadcast");
    let own = A2.frame(&packet("10.9.1.7", "10.9.1.255"));
    lab.drops("cust0", &own, "vif a2 drop directed_broadcast");
}

#[test]
fn row_39_multicast_and_broadcast() {
    let mut lab = Lab::new();
    for destination in ["224.0.0.5", "239.1.1.1", "255.255.255.255"] {
        let bad = packet("10.1.0.9", destination);
        lab.drops("cust0", &A.frame(&bad), "vif a drop multicast");
        lab.drops("cust0", &A.frame_to(Mac::BROADCAST, &bad), "vif a drop multicast");
    }
    let bad = A.frame_to(Mac([0x33, 0x33, 0, 0, 0, 5]), &packet("fd00:a1::9", "ff02::5"));
    lab.drops("cust0", &bad, "vif a drop multicast");
}

#[test]
fn row_40_spoofed_source() {
    let mut lab = Lab::new();
    let counter = "vif a drop spoofed_source";
    lab.drops("cust0", &A.frame(&packet("8.8.8.8", "10.64.0.1")), counter);
    lab.drops("cust0", &A.frame(&packet("10.64.0.9", "10.64.0.1")), counter);
    lab.drops("cust0", &A.frame(&packet("2001:db8::1", "fd00:64::1")), counter);
    // Not the router's own address either.
    lab.drops("cust0", &A.frame(&packet("10.255.1.1", "10.64.0.1")), counter);
}

#[test]
fn row_41_source_of_another_customer() {
    let mut lab = Lab::new();
    lab.drops("cust0", &A.frame(&packet("10.2.0.9", "10.64.0.1")), "vif a drop foreign_source");
    lab.drops("cust0", &A.frame(&packet("10.9.1.9", "10.64.0.1")), "vif a drop foreign_source");
    lab.drops("cust0", &P1.frame(&packet("203.0.113.9", "8.8.8.8")), "vif p1 drop foreign_source");
    // Another VRF's prefix is just unknown here: nothing tells a tenant what other tenants have.
    lab.drops("cust0", &A.frame(&packet("10.3.0.9", "10.64.0.1")), "vif a drop spoofed_source");
}
