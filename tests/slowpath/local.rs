//! Packets for the router's addresses: echo, UDP, TCP, forged errors. FACTS rows 45, 49, 52.

use station::tables::{PuntReason, SlowOutcome};

use crate::packets::*;
use crate::world::*;

const ECHO4: (u8, u8) = (8, 0);
const ECHO6: (u8, u8) = (128, 0);

fn local(bytes: &[u8]) -> Done<SlowOutcome> {
    World::new().punt(A, PuntReason::Local, bytes)
}

#[test]
fn echo_is_answered_from_the_address_asked() {
    let word = [1, 2, 3, 4];
    for (kind, reply, from, to) in [
        (ECHO4, (0, 0), "10.0.0.9", "10.0.0.1"),
        (ECHO4, (0, 0), "10.0.0.9", "169.254.100.1"),
        (ECHO4, (0, 0), "10.0.0.9", "10.255.0.1"),
        (ECHO6, (129, 0), "fd00:100::9", "fd00:100::1"),
        (ECHO6, (129, 0), "fd00:100::9", "fd00:255::1"),
    ] {
        let request = icmp(from, to, 1, kind, word, b"0123456789");
        let sent = local(&request).one(SlowOutcome::Answered);
        assert_eq!((sent.vif, sent.to), (A, PEER));
        assert_eq!(sent.addresses(), (to.into(), from.into()));
        assert_eq!(sent.icmp(), (reply, word, b"0123456789".to_vec()));
        let hops = if kind == ECHO4 { sent.l3[8] } else { sent.l3[7] };
        assert_eq!(hops, 64);
    }
}

#[test]
fn an_echo_reply_waits_for_its_neighbor() {
    let mut world = World::new();
    let request = icmp("10.0.0.2", "10.0.0.1", 64, ECHO4, [0; 4], b"x");
    let asked = world.punt(A, PuntReason::Local, &request).one(SlowOutcome::Queued);
    assert_eq!(asked.ethertype, 0x0806);
    let reply = arp(etherparse::ArpOperation::REPLY, PEER, "10.0.0.2", "10.0.0.1");
    let sent = world.punt(A, PuntReason::Arp, &reply).one(SlowOutcome::Consumed);
    assert_eq!((sent.to, sent.icmp().0), (PEER, (0, 0)));
}

#[test]
fn a_long_echo_reply_is_fragmented_or_fits() {
    let mut world = World::new();
    let request = icmp("172.16.0.1", "10.255.0.1", 64, ECHO4, [0; 4], &[7; 1400]);
    let done = world.punt(CORE, PuntReason::Local, &request);
    assert_eq!((done.result, done.sent.len()), (SlowOutcome::Answered, 2));
    let request = icmp("2001:db8::1", "fd00:255::1", 64, ECHO6, [0; 4], &[7; 1400]);
    let outcome = world.punt(CORE, PuntReason::Local, &request).silent();
    assert_eq!(outcome, SlowOutcome::NoEgress);
}

#[test]
fn link_local_echo_is_answered_on_its_link() {
    let mut world = World::new();
    let request = icmp("fe80::9", "fe80::1", 64, ECHO6, [0; 4], b"x");
    for reason in [PuntReason::Local, PuntReason::LinkLocal] {
        let outcome = world.punt(A, reason, &request).result;
        assert!(matches!(outcome, SlowOutcome::Queued | SlowOutcome::NeighborQueueFull));
    }
    let advertisement = nd(136, "fe80::9", "fe80::1", 0x60, "fe80::9", Some(PEER));
    let sent =
        world.punt(A, PuntReason::NeighborDiscovery, &advertisement).one(SlowOutcome::Consumed);
    assert_eq!(sent.icmp().0, (129, 0));
    let other = icmp("fe80::9", "fe80::77", 64, ECHO6, [0; 4], b"x");
    assert_eq!(world.punt(A, PuntReason::LinkLocal, &other).silent(), SlowOutcome::NotForUs);
}

#[test]
fn a_bad_icmp_checksum_is_counted() {
    for mut request in [
        icmp("10.0.0.9", "10.0.0.1", 64, ECHO4, [0; 4], b"data"),
        icmp("fd00:100::9", "fd00:100::1", 64, ECHO6, [0; 4], b"data"),
    ] {
        *request.last_mut().unwrap() ^= 1;
        assert_eq!(local(&request).silent(), SlowOutcome::BadIcmp);
    }
    let short = packet("10.0.0.9", "10.0.0.1", 64, 1, &[8, 0, 0xf7]);
    assert_eq!(local(&short).silent(), SlowOutcome::BadIcmp);
}

#[test]
fn udp_gets_port_unreachable() {
    for (from, to, kind) in
        [("10.0.0.9", "10.0.0.1", (3, 3)), ("fd00:100::9", "fd00:100::1", (1, 4))]
    {
        let packet = udp(from, to, 1, 12);
        let sent = local(&packet).one(SlowOutcome::Answered);
        assert_eq!(sent.addresses(), (to.into(), from.into()));
        assert_eq!(sent.icmp(), (kind, [0; 4], packet));
    }
}

#[test]
fn tcp_and_others_find_no_service() {
    for protocol in [6, 2, 47, 50, 89, 132, 255] {
        for (from, to) in [("10.0.0.9", "10.0.0.1"), ("fd00:100::9", "fd00:100::1")] {
            let bytes = packet(from, to, 64, protocol, &[0; 40]);
            if from.contains(':') && protocol == 50 {
                continue; // hides what is inside: also no service, below
            }
            assert_eq!(local(&bytes).silent(), SlowOutcome::NoService, "{protocol}");
        }
    }
    let timestamp = icmp("10.0.0.9", "10.0.0.1", 64, (13, 0), [0; 4], &[0; 12]);
    assert_eq!(local(&timestamp).silent(), SlowOutcome::NoService);
    let report = icmp("fe80::9", "ff02::16", 1, (143, 0), [0; 4], &[0; 20]);
    for reason in [PuntReason::NeighborDiscovery, PuntReason::Local, PuntReason::LinkLocal] {
        assert_eq!(World::new().punt(A, reason, &report).silent(), SlowOutcome::NoService);
    }
}

#[test]
fn fragments_for_us_are_not_reassembled() {
    for flags in [[0x20, 0], [0, 1]] {
        let mut request = icmp("10.0.0.9", "10.0.0.1", 64, ECHO4, [0; 4], &[0; 64]);
        request[6..8].copy_from_slice(&flags);
        reseal(&mut request);
        assert_eq!(local(&request).silent(), SlowOutcome::NoService);
    }
}

#[test]
fn row_49_an_atomic_fragment_for_us_is_whole() {
    let request = icmp("fd00:100::9", "fd00:100::1", 64, ECHO6, [0; 4], b"x");
    for (offset, outcome) in [(0, SlowOutcome::Answered), (1, SlowOutcome::NoService)] {
        let inner = [&[58, 0, 0, offset, 0, 0, 0, 9], &request[40..]].concat();
        let bytes = packet("fd00:100::9", "fd00:100::1", 64, 44, &inner);
        assert_eq!(local(&bytes).result, outcome);
    }
}

#[test]
fn row_45_rh0_to_us_is_a_parameter_problem() {
    let header = [&[17, 2, 0, 1, 0, 0, 0, 0][..], &[0x20; 16], &[0; 8]].concat();
    let bytes = packet("fd00:100::9", "fd00:100::1", 64, 43, &header);
    let sent = local(&bytes).one(SlowOutcome::Answered);
    assert_eq!(sent.icmp(), ((4, 0), [0, 0, 0, 42], bytes), "points at the routing type");
}

#[test]
fn row_52_a_forged_packet_too_big_changes_nothing() {
    let mut world = World::new();
    for bytes in [
        icmp("10.0.0.9", "10.0.0.1", 64, (3, 4), [0, 0, 0, 68], &[0; 28]),
        icmp("10.0.0.9", "10.0.0.1", 64, (5, 1), [10, 0, 0, 7], &[0; 28]),
        icmp("fd00:100::9", "fd00:100::1", 64, (2, 0), [0, 0, 0, 68], &[0; 48]),
    ] {
        assert_eq!(world.punt(A, PuntReason::Local, &bytes).silent(), SlowOutcome::Consumed);
    }
    let mut big = udp("172.16.0.1", "10.0.0.9", 64, 1300);
    set_df(&mut big);
    world.punt(CORE, PuntReason::TooBig, &big).one(SlowOutcome::Forwarded);
    assert_eq!(world.rows(), []);
}

#[test]
fn what_is_not_ours_is_not_for_us() {
    for (from, to) in
        [("10.0.0.9", "172.16.0.1"), ("10.0.0.9", "10.0.0.255"), ("fd00:100::9", "2001:db8::1")]
    {
        let bytes = udp(from, to, 64, 8);
        assert_eq!(local(&bytes).silent(), SlowOutcome::NotForUs, "{to}");
    }
}

#[test]
fn echo_from_our_own_or_no_address_is_not_answered() {
    for from in ["10.0.0.1", "224.0.0.1", "0.0.0.0"] {
        let request = icmp(from, "10.0.0.1", 64, ECHO4, [0; 4], b"x");
        assert_eq!(local(&request).silent(), SlowOutcome::IcmpNotAllowed);
    }
}

#[test]
fn a_frame_older_than_its_vif_is_dropped() {
    let request = icmp("10.0.0.9", "10.0.0.1", 64, ECHO4, [0; 4], b"x");
    let mut world = World::new();
    let (old, l3) = frame(&world.vif(A), PEER, &request);
    // The slot now belongs to another VIF: another VID, another customer.
    world.edit(A, |vif| vif.tags.outer = 999);
    let outcome = world.punt_frame(A, PuntReason::Local, &old, l3).silent();
    assert_eq!(outcome, SlowOutcome::NoEgress);
    world.edit(A, |vif| (vif.tags.outer, vif.up) = (100, false));
    let outcome = world.punt_frame(A, PuntReason::Local, &old, l3).silent();
    assert_eq!(outcome, SlowOutcome::NoEgress, "the VIF is down");
}
