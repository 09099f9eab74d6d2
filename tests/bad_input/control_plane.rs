//! Rows 60 and 61: floods and answers; and what no row asks for, so that each reason has its test.

use crate::common::packets::{arp, edited, icmp, packet, ping, udp_flow, with_ttl};
use crate::common::{A, A_CORE, A_SMALL, A2, B, CONFIG, INTERNET, Lab, P1, P2, SECOND};
use crate::{good, good6};

#[test]
fn row_60_flood_of_pings_and_expired_ttls() {
    let mut lab = Lab::new();
    let (ping_a, expired) = (ping("10.1.0.9", "169.254.100.1"), with_ttl(good(), 1));
    for _ in 0..1000 {
        lab.send("cust0", &A.frame(&ping_a));
        lab.send("cust0", &A.frame(&expired));
    }
    lab.drops("cust0", &A.frame(&ping_a), "vif a drop punt_rate");
    lab.drops("cust0", &A.frame(&expired), "vif a drop punt_rate");
    // The other VIFs of the port, and VIF a's own forwarding, know nothing of it.
    assert_eq!(lab.answers(B, &ping_a, "punt local").kind, 0);
    assert_eq!(lab.answers(A2, &ping("10.9.1.2", "10.9.1.1"), "punt local").kind, 0);
    assert_eq!(lab.answers(B, &expired, "punt ttl_exceeded").kind, 11);
    lab.forwards(A, &good(), A_CORE);
    lab.wait(SECOND);
    assert_eq!(lab.answers(A, &ping_a, "punt local").kind, 0);
}

#[test]
fn row_60_icmp_errors_have_a_rate_of_their_own() {
    let mut lab = Lab::new();
    let expired = A.frame(&with_ttl(good(), 1));
    for _ in 0..50 {
        assert_eq!(lab.send("cust0", &expired).sent.len(), 1);
    }
    lab.ignores(A, &expired, "punt ttl_exceeded", "outcome icmp_rate");
}

/// VIFs a and b with a BGP session and BFD each.
fn with_sessions() -> Lab {
    let session =
        "bgp = [{ peer = \"169.254.100.2\", peer_as = 65001, local_as = 64512 }]\nbfd = {}";
    let vif = "addresses = [\"169.254.100.1/30\", \"fd00:100::1/64\"]";
    let text = CONFIG.replace(vif, &format!("{vif}\n{session}"));
    assert_eq!(text.matches(session).count(), 2, "tenants a and b");
    Lab::with(&text)
}

fn bgp(source: &str, sport: u16) -> Vec<u8> {
    edited(udp_flow(source, "169.254.100.1", (sport, 179), 60), |p| p[9] = 6)
}

fn bfd(source: &str) -> Vec<u8> {
    with_ttl(udp_flow(source, "169.254.100.1", (50_000, 3784), 52), 255)
}

#[test]
fn row_60_floods_at_the_ports_of_bgp_and_bfd_leave_the_peers_sessions() {
    const PEER: &str = "169.254.100.2";
    let mut lab = with_sessions();
    let (bgp_a, bfd_a) = (A.frame(&bgp(PEER, 40_000)), A.frame(&bfd(PEER)));
    let speaks = |lab: &mut Lab, vif: &str, frame: &[u8], punt: &str| {
        let grown = [format!("vif {vif} {punt}"), format!("vif {vif} {}", "outcome to_kernel")];
        assert_eq!(lab.expect("cust0", frame, &[&grown[0], &grown[1]]), []);
    };
    speaks(&mut lab, "a", &bgp_a, "punt bgp");
    speaks(&mut lab, "a", &bfd_a, "punt bfd");
    let afar = A.frame(&with_ttl(bfd(PEER), 254));
    lab.ignores(A, &afar, "punt local", "outcome bfd_hops");
    // From everybody but the peer; from the peer with another TTL; ARP.
    let strangers = [A.frame(&bgp("10.1.0.9", 40_000)), A.frame(&bfd("10.1.0.9")), afar];
    let question = A.frame_to(
        station::wire::ethernet::Mac::BROADCAST,
        &arp(1, (A.mac, PEER), (Default::default(), "169.254.100.1")),
    );
    for _ in 0..500 {
        strangers.iter().for_each(|frame| drop(lab.send("cust0", frame)));
        lab.send("cust0", &question);
    }
    for frame in &strangers {
        lab.drops("cust0", frame, "vif a drop punt_rate");
    }
    lab.drops("cust0", &question, "vif a drop neighbor_rate");
    speaks(&mut lab, "a", &bgp_a, "punt bgp");
    speaks(&mut lab, "a", &bfd_a, "punt bfd");
    // The peer itself: its BFD and its BGP have budgets of their own, and so has everybody else.
    for _ in 0..50 {
        lab.send("cust0", &bfd_a);
    }
    lab.drops("cust0", &bfd_a, "vif a drop routing_rate");
    speaks(&mut lab, "a", &bgp_a, "punt bgp");
    speaks(&mut lab, "b", &B.frame(&bfd(PEER)), "punt bfd");
    for _ in 0..5_000 {
        lab.send("cust0", &bgp_a);
    }
    lab.drops("cust0", &bgp_a, "vif a drop routing_rate");
    speaks(&mut lab, "b", &B.frame(&bgp(PEER, 40_000)), "punt bgp");
    lab.forwards(A, &good(), A_CORE);
    lab.check();
}

/// From BGP's port to another one a peer opens no connection: the fast path does not take it for BGP, and
/// nothing answers.
#[test]
fn a_peer_opens_connections_to_bgps_port_alone() {
    let mut lab = with_sessions();
    let segment = |ports, flags| {
        let plain = udp_flow("169.254.100.2", "169.254.100.1", ports, 60);
        A.frame(&edited(plain, |p| (p[9], p[33]) = (6, flags)))
    };
    let (syn, ack) = (0x02, 0x10);
    for (ports, flags) in [((40_000, 179), syn), ((179, 40_000), syn | ack), ((179, 40_000), ack)] {
        let grown = ["vif a punt bgp", "vif a outcome to_kernel"];
        assert_eq!(lab.expect("cust0", &segment(ports, flags), &grown), []);
    }
    for (ports, flags) in [((179, 22), syn), ((179, 40_000), syn), ((22, 179), syn | ack)] {
        lab.ignores(A, &segment(ports, flags), "punt local", "outcome no_service");
    }
    lab.check();
}

#[test]
fn row_61_no_error_about_an_error() {
    let mut lab = Lab::new();
    let outcome = "outcome icmp_not_allowed";
    for (kind, code) in [(3, 1), (4, 0), (5, 0), (11, 0), (12, 0)] {
        let error = icmp("10.1.0.9", "10.64.0.1", 1, (kind, code, [0; 4]), &good()[..28]);
        lab.ignores(A, &A.frame(&error), "punt ttl_exceeded", outcome);
    }
    let error = icmp("fd00:a1::9", "fd00:64::1", 1, (1, 0, [0; 4]), &good6());
    lab.ignores(A, &A.frame(&error), "punt ttl_exceeded", outcome);
    // RFC 1122 3.2.2: nor about a fragment other than the first.
    let fragment = with_ttl(edited(good(), |p| p[7] = 9), 1);
    lab.ignores(A, &A.frame(&fragment), "punt ttl_exceeded", outcome);
    // An echo request is no error.
    let echo = with_ttl(ping("10.1.0.9", "10.64.0.1"), 1);
    assert_eq!(lab.answers(A, &echo, "punt ttl_exceeded").kind, 11);
}

#[test]
fn peers_in_a_public_vrf_cannot_reach_each_other() {
    let mut lab = Lab::new();
    let bad = P1.frame(&packet("198.51.100.9", "203.0.113.9"));
    lab.drops("cust0", &bad, "vif p1 drop peer_isolation");
    lab.forwards(P1, &packet("198.51.100.9", "8.8.8.8"), INTERNET);
    lab.forwards(INTERNET, &packet("8.8.8.8", "203.0.113.9"), P2);
    // Nor by what the router sends back: an echo reply to a borrowed source.
    let open = CONFIG.replace(
        "addresses = [\"192.0.2.1/31\"]",
        "addresses = [\"192.0.2.1/31\"]\nsource_check = \"off\"",
    );
    assert_ne!(open, CONFIG);
    let mut lab = Lab::with(&open);
    let borrowed = P1.frame(&ping("203.0.113.9", "192.0.2.1"));
    lab.ignores(P1, &borrowed, "punt local", "outcome slow_peer_isolation");
}

#[test]
fn a_vif_or_port_that_is_down_drops() {
    let mut lab = Lab::with(&CONFIG.replace("mtu = 1280", "up = false\nmtu = 1280"));
    let bad = A_SMALL.frame(&packet("10.65.0.1", "10.1.0.9"));
    lab.drops("core0", &bad, "vif a-small drop vif_down");
    let out = A.frame(&packet("10.1.0.9", "10.65.0.1"));
    lab.drops("cust0", &out, "vif a drop egress_down");
    let mut lab = Lab::new();
    let core = lab.port("core0");
    lab.station.engine().link_changed(core, false);
    lab.drops("cust0", &A.frame(&good()), "vif a drop egress_down");
    lab.station.engine().link_changed(core, true);
    lab.forwards(A, &good(), A_CORE);
}

#[test]
fn packets_for_the_router_that_nothing_answers() {
    let mut lab = Lab::new();
    // BGP on a VIF that has no session.
    let tcp = edited(packet("10.1.0.9", "169.254.100.1"), |p| p[9] = 6);
    lab.ignores(A, &A.frame(&tcp), "punt local", "outcome no_service");
    // UDP: nothing listens (RFC 1122 4.1.3.1).
    let udp = packet("10.1.0.9", "169.254.100.1");
    let answer = lab.answers(A, &udp, "punt local");
    answer.assert_error((3, 3), "169.254.100.1", "10.1.0.9", &udp);
}

#[test]
fn an_answer_without_a_way_back_is_not_sent() {
    let mut lab = Lab::new();
    let expired = A_CORE.frame(&with_ttl(packet("8.8.8.8", "10.1.0.9"), 1));
    lab.ignores(A_CORE, &expired, "punt ttl_exceeded", "outcome no_egress");
}
