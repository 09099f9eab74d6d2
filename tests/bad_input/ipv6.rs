//! Rows 42 to 52: IPv6.

use crate::common::packets::{
    Icmp, Seen, discovery, edited, icmp, octets6, packet, ping, udp, with_extension, with_ttl,
};
use crate::common::{A, A_CORE, Lab};
use crate::{good, good6};
use station::wire::ethernet::Mac;

#[test]
fn row_42_payload_length_above_the_frame() {
    let bad = edited(good6(), |p| p[5] += 1);
    Lab::new().drops("cust0", &A.frame(&bad), "vif a drop bad_total_length");
}

#[test]
fn row_43_hop_limit_runs_out() {
    let mut lab = Lab::new();
    for hop_limit in [1, 0] {
        let bad = with_ttl(good6(), hop_limit);
        let answer = lab.answers(A, &bad, "punt ttl_exceeded");
        answer.assert_error((3, 0), "fd00:100::1", "fd00:a1::9", &bad);
    }
}

#[test]
fn row_44_too_long_for_the_next_hop() {
    let long = udp("fd00:a1::9", "fd00:65::1", 1281);
    let answer = Lab::new().answers(A, &long, "punt too_big");
    answer.assert_error((2, 0), "fd00:100::1", "fd00:a1::9", &long);
    assert_eq!(answer.word, 1280u32.to_be_bytes());
}

#[test]
fn row_45_routing_header_0() {
    let mut lab = Lab::new();
    let rest = [&[0, 1, 0, 0, 0, 0][..], &octets6("fd00:64::7")].concat();
    let transit = with_extension(good6(), 43, &rest);
    lab.forwards(A, &transit, A_CORE);
    // To the router itself: RFC 5095, a parameter problem that points at the routing type.
    let ours = with_extension(packet("fd00:a1::9", "fd00:100::1"), 43, &rest);
    let answer = lab.answers(A, &ours, "punt local");
    answer.assert_error((4, 0), "fd00:100::1", "fd00:a1::9", &ours);
    assert_eq!(answer.word, 42u32.to_be_bytes());
}

#[test]
fn row_46_hop_by_hop_options_are_not_looked_at() {
    let mut lab = Lab::new();
    for _ in 0..300 {
        let options = with_extension(good6(), 0, &[1, 4, 0, 0, 0, 0]);
        lab.forwards(A, &options, A_CORE);
    }
}

#[test]
fn row_47_martian_source() {
    let mut lab = Lab::new();
    for source in ["::", "::1", "ff02::1", "ff0e::1", "::ffff:10.1.0.9"] {
        let bad = A.frame(&packet(source, "fd00:64::1"));
        lab.drops("cust0", &bad, "vif a drop martian_source");
    }
    for destination in ["::", "::1", "::ffff:10.64.0.1"] {
        let bad = A.frame(&packet("fd00:a1::9", destination));
        lab.drops("cust0", &bad, "vif a drop martian_destination");
    }
}

#[test]
fn row_48_link_local_source_off_link() {
    let mut lab = Lab::new();
    let bad = packet("fe80::a", "fd00:64::1");
    // The answer waits until the sender has said where it is.
    let sent =
        lab.expect("cust0", &A.frame(&bad), &["vif a punt link_local", "vif a outcome queued"]);
    let [(port, question)] = &sent[..] else { panic!("{} frames sent", sent.len()) };
    let question = Icmp::read(&Seen::read(question).packet);
    assert_eq!(
        (&**port, question.kind, &question.body[..16]),
        ("cust0", 135, &octets6("fe80::a")[..])
    );
    let here = discovery(136, "fe80::a", "fe80::ff:fe00:1", 0x60, "fe80::a", A.mac);
    let sent = lab.expect(
        "cust0",
        &A.frame(&here),
        &["vif a punt neighbor_discovery", "vif a outcome consumed"],
    );
    let [(port, answer)] = &sent[..] else { panic!("{} frames sent", sent.len()) };
    let answer = Icmp::read(&Seen::read(answer).packet);
    assert_eq!((&**port, &*answer.source), ("cust0", "fe80::ff:fe00:1"));
    answer.assert_error((1, 2), &answer.source, "fe80::a", &bad);
}

#[test]
fn row_48_link_local_destination_that_is_not_ours() {
    let mut lab = Lab::new();
    let bad = A.frame(&packet("fd00:a1::9", "fe80::77"));
    lab.ignores(A, &bad, "punt link_local", "outcome not_for_us");
}

/// RFC 3704: the check is of the source, whatever the destination. What is sent to the router's link-local address from an
/// address that is not the VIF's would be answered to whom that address belongs.
#[test]
fn row_48_a_spoofed_source_to_the_routers_link_local_address() {
    let mut lab = Lab::new();
    let own = "fe80::ff:fe00:1";
    let udp = |source| packet(source, own);
    for (source, reason) in [
        ("2001:db8::1", "spoofed_source"),
        ("fd00:64::1", "spoofed_source"),
        ("fd00:101::2", "foreign_source"),
        ("fd00:100::1", "spoofed_source"),
    ] {
        let counter = format!("vif a drop {reason}");
        for packet in [ping(source, own), udp(source), packet(source, "fe80::77")] {
            lab.drops("cust0", &A.frame(&packet), &counter);
        }
    }
    // The VIF's own sources are answered, its neighbors' and those behind them.
    for source in ["fd00:100::2", "fd00:a1::9"] {
        assert_eq!(lab.answers(A, &ping(source, own), "punt link_local").kind, 129);
        assert_eq!(lab.answers(A, &udp(source), "punt link_local").kind, 1);
    }
}

/// RFC 4443 2.4 (e) has no exception for fragments that are not the first; RFC 1122 3.2.2 has.
#[test]
fn row_44_later_fragments_are_answered() {
    let mut lab = Lab::new();
    let later = |to: &str, octets: usize, next: u8| {
        let mut packet = udp("fd00:a1::9", to, octets - 8);
        packet[6] = next;
        with_extension(packet, 44, &[0x04, 0xd1, 0, 0xc0, 0xff, 0xee])
    };
    // An ICMPv6 message in fragments is no error: those are too short.
    for next in [17, 58] {
        let long = later("fd00:65::1", 1281, next);
        let answer = lab.answers(A, &long, "punt too_big");
        answer.assert_error((2, 0), "fd00:100::1", "fd00:a1::9", &long);
        assert_eq!(answer.word, 1280u32.to_be_bytes());
        let spent = with_ttl(later("fd00:64::1", 400, next), 1);
        let answer = lab.answers(A, &spent, "punt ttl_exceeded");
        answer.assert_error((3, 0), "fd00:100::1", "fd00:a1::9", &spent);
        let lost = later("2001:db8::1", 400, next);
        let answer = lab.answers(A, &lost, "punt no_route");
        answer.assert_error((1, 0), "fd00:100::1", "fd00:a1::9", &lost);
    }
    let later = edited(with_ttl(good(), 1), |p| p[7] = 9);
    lab.ignores(A, &A.frame(&later), "punt ttl_exceeded", "outcome icmp_not_allowed");
}

#[test]
fn row_49_atomic_fragment_is_forwarded() {
    let mut lab = Lab::new();
    lab.forwards(A, &with_extension(good6(), 44, &[0, 0, 0, 0, 0, 9]), A_CORE);
    lab.forwards(A, &with_extension(good6(), 44, &[0, 1, 0, 0, 0, 9]), A_CORE);
}

#[test]
fn row_50_jumbogram() {
    let jumbo = with_extension(good6(), 0, &[0xc2, 4, 0, 1, 0, 0]);
    let jumbo = edited(jumbo, |p| p[4..6].fill(0));
    Lab::new().drops("cust0", &A.frame(&jumbo), "vif a drop jumbogram");
}

#[test]
fn row_51_forged_router_advertisement() {
    let mut lab = Lab::new();
    let a = lab.station.engine().vrf("vpc-a").unwrap();
    let routes = |lab: &mut Lab| lab.station.engine().routes(a).collect::<Vec<_>>();
    let before = routes(&mut lab);
    let body =
        [&[0; 8][..], &[3, 4, 64, 0xc0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 0, 0], &octets6("fd00:64::")]
            .concat();
    let all = Mac([0x33, 0x33, 0, 0, 0, 1]);
    for kind in [134, 137] {
        let body = if kind == 137 {
            [octets6("fe80::a"), octets6("fd00:64::1")].concat()
        } else {
            body.clone()
        };
        let forged = icmp("fe80::a", "ff02::1", 255, (kind, 0, [64, 0, 0xff, 0xff]), &body);
        let forged = A.frame_to(all, &forged);
        lab.ignores(A, &forged, "punt neighbor_discovery", "outcome router_advertisement");
    }
    assert_eq!(routes(&mut lab), before);
    lab.forwards(A, &good6(), A_CORE);
}

#[test]
fn row_52_forged_packet_too_big() {
    let mut lab = Lab::new();
    let quoted = packet("fd00:100::1", "fd00:64::1");
    let forged = icmp("fd00:a1::9", "fd00:100::1", 64, (2, 0, [0, 0, 5, 0]), &quoted);
    lab.ignores(A, &A.frame(&forged), "punt local", "outcome consumed");
    let old = icmp("10.1.0.9", "169.254.100.1", 64, (3, 4, [0, 0, 0, 68]), &good());
    lab.ignores(A, &A.frame(&old), "punt local", "outcome consumed");
    let mut damaged = forged;
    damaged[44] ^= 0xff;
    lab.ignores(A, &A.frame(&damaged), "punt local", "outcome bad_icmp");
    // None of them changed what is forwarded.
    lab.forwards(A, &udp("fd00:a1::9", "fd00:64::1", 1500), A_CORE);
    lab.forwards(A, &udp("10.1.0.9", "10.64.0.1", 1500), A_CORE);
}
