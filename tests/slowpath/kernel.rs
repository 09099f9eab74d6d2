//! BGP and BFD between a VIF's peers and the kernel, both ways; and everything else, which stays out.

use std::net::IpAddr;

use etherparse::ArpOperation;
use station::slowpath::NeighborState;
use station::tables::{Pcp, PortId, PuntReason, SlowOutcome, TapEvent, VifId};
use station::wire::ethernet::Mac;

use crate::packets::*;
use crate::world::*;

const OWN4: &str = "169.254.100.1";
const PEER4: &str = "169.254.100.2";
const OWN6: &str = "fd00:100::1";
const PEER6: &str = "fd00:100::2";
const TCP: u8 = 6;
const UDP: u8 = 17;

/// VIF A has two peers. B, another tenant's with the same addresses, has none.
pub fn world() -> World {
    let mut world = new_world();
    world.tick();
    world
}

/// The same, when nothing has happened yet.
fn new_world() -> World {
    let mut world = World::new();
    world.edit(A, |vif| vif.peers = [ip(PEER4), ip(PEER6), ip("fe80::99")].into());
    world
}

/// A packet with a DSCP of CS6 and a little payload; as TCP, of an open connection.
pub fn segment(from: &str, to: &str, hops: u8, protocol: u8, ports: (u16, u16)) -> Vec<u8> {
    flagged(from, to, hops, protocol, ports, ACK)
}

const SYN: u8 = 0x02;
const ACK: u8 = 0x10;

/// The same with some flags of TCP's.
fn flagged(from: &str, to: &str, hops: u8, protocol: u8, ports: (u16, u16), flags: u8) -> Vec<u8> {
    let ports = [ports.0.to_be_bytes(), ports.1.to_be_bytes()].concat();
    let payload = [&ports[..], &[7; 8], &[0x50, flags], &[7; 10]].concat();
    let mut bytes = packet(from, to, hops, protocol, &payload);
    match bytes[0] >> 4 {
        4 => {
            bytes[1] = 48 << 2;
            reseal(&mut bytes);
        }
        _ => bytes[..2].copy_from_slice(&[0x6c, 0]),
    }
    bytes
}

/// A reset of BGP's connection by the kernel.
fn reset(window: u16) -> Vec<u8> {
    let head =
        [&[0, 179, 0x9c, 0x40, 0, 0, 0, 0, 0, 0, 0, 0, 0x50, 0x14][..], &window.to_be_bytes()];
    packet(OWN4, PEER4, 64, TCP, &[&head.concat()[..], &[0; 4]].concat())
}

/// A frame of the kernel.
fn frame_of(l3: &[u8]) -> Vec<u8> {
    let ethertype =
        if l3.first().is_some_and(|first| first >> 4 == 6) { 0x86dd } else { 0x0800_u16 };
    let own = port_mac(PortId(0)).0;
    [&own[..], &own, &ethertype.to_be_bytes(), l3].concat()
}

#[test]
fn bgp_and_bfd_of_a_peer_go_to_the_kernel_as_they_came() {
    for (own, peer, ethertype) in
        [(OWN4, PEER4, 0x0800_u16), (OWN6, PEER6, 0x86dd), ("fe80::1", "fe80::99", 0x86dd)]
    {
        for (reason, protocol, ports, hops) in [
            (PuntReason::Bgp, TCP, (40_000, 179), 1),
            (PuntReason::Bgp, TCP, (179, 40_000), 255),
            (PuntReason::Bfd, UDP, (50_000, 3784), 255),
            // By tables that knew of no peer yet.
            (PuntReason::Local, TCP, (40_000, 179), 64),
        ] {
            let bytes = segment(peer, own, hops, protocol, ports);
            // Ethernet pads short frames.
            let padded = [&bytes[..], &[0xee; 9]].concat();
            let done = world().punt(A, reason, &padded);
            assert_eq!((done.result, &done.sent[..]), (SlowOutcome::ToKernel, &[][..]));
            let frame =
                [&port_mac(PortId(0)).0[..], &PEER.0, &ethertype.to_be_bytes(), &bytes].concat();
            assert_eq!(done.to_kernel, [(A, frame)]);
        }
    }
}

#[test]
fn bfd_from_beyond_the_link_is_dropped() {
    for hops in [1, 64, 254] {
        for (own, peer) in [(OWN4, PEER4), (OWN6, PEER6)] {
            let bytes = segment(peer, own, hops, UDP, (50_000, 3784));
            for reason in [PuntReason::Local, PuntReason::Bfd] {
                let done = world().punt(A, reason, &bytes);
                assert_eq!(done.to_kernel, []);
                assert_eq!(done.silent(), SlowOutcome::BfdHops);
            }
        }
    }
}

#[test]
fn nothing_else_goes_to_the_kernel() {
    let bgp = (40_000, 179);
    let with_options = {
        let payload = [&[0x9c, 0x40, 0, 179][..], &[7; 20]].concat();
        ipv4(PEER4, OWN4, 64, TCP, &[148, 4, 0, 0], &payload)
    };
    let mut fragment = segment(PEER4, OWN4, 64, TCP, bgp);
    fragment[6] = 0x20;
    reseal(&mut fragment);
    let extension =
        packet(PEER6, OWN6, 64, 60, &[&[TCP, 0, 1, 4, 0, 0, 0, 0][..], &[0; 20]].concat());
    for (name, vif, bytes) in [
        ("another port", A, segment(PEER4, OWN4, 64, TCP, (40_000, 22))),
        ("BGP's port, UDP", A, segment(PEER4, OWN4, 64, UDP, bgp)),
        ("from BFD's port, not to it", A, segment(PEER4, OWN4, 255, UDP, (3784, 50_000))),
        ("BFD echo", A, segment(PEER4, OWN4, 255, UDP, (50_000, 3785))),
        ("multihop BFD", A, segment(PEER4, OWN4, 255, UDP, (50_000, 4784))),
        ("a neighbor that is no peer", A, segment("10.0.0.9", "10.0.0.1", 64, TCP, bgp)),
        ("from afar", A, segment("10.9.9.9", OWN4, 64, TCP, bgp)),
        ("to another VIF's address", A, segment(PEER4, "10.255.0.1", 64, TCP, bgp)),
        ("to nobody's address", A, segment(PEER4, "10.0.0.77", 64, TCP, bgp)),
        ("a VIF without peers", B, segment(PEER4, OWN4, 64, TCP, bgp)),
        ("options", A, with_options),
        ("a fragment", A, fragment),
        ("an extension header", A, extension),
        ("too short for ports", A, packet(PEER4, OWN4, 64, TCP, &[0, 179])),
    ] {
        for reason in [PuntReason::Local, PuntReason::Bgp, PuntReason::Bfd, PuntReason::LinkLocal] {
            let done = world().punt(vif, reason, &bytes);
            assert_eq!(done.to_kernel, [], "{name}");
            assert_ne!(done.result, SlowOutcome::ToKernel, "{name}");
        }
    }
}

/// What opens a connection is sent to BGP's port, and what agrees comes from it, whoever begins: the other
/// way round it would be a connection with whatever else listens, of the kernel's or of the peer's.
#[test]
fn connections_are_opened_to_bgps_port_alone() {
    const RST: u8 = 0x04;
    for (own, peer) in [(OWN4, PEER4), (OWN6, PEER6)] {
        for (ports, flags, may) in [
            ((40_000, 179), SYN, true),
            ((179, 40_000), SYN | ACK, true),
            ((179, 40_000), ACK, true),
            ((179, 40_000), ACK | RST, true),
            ((179, 179), SYN, true),
            ((179, 22), SYN, false),
            ((179, 40_000), SYN, false),
            ((179, 40_000), SYN | RST, false),
            ((22, 179), SYN | ACK, false),
            ((40_000, 179), SYN | ACK, false),
        ] {
            let what = format!("{ports:?} {flags:#x} from {peer}");
            let bytes = flagged(peer, own, 64, TCP, ports, flags);
            for reason in [PuntReason::Local, PuntReason::Bgp] {
                let done = world().punt(A, reason, &bytes);
                assert_eq!(done.to_kernel.len(), usize::from(may), "{what}");
                assert!(may || done.result == SlowOutcome::NoService, "{what}: {:?}", done.result);
            }
            let bytes = flagged(own, peer, 1, TCP, ports, flags);
            let result = world().kernel(A, &frame_of(&bytes)).result;
            assert_eq!(result == TapEvent::Refused, !may, "to {peer}: {ports:?} {flags:#x}");
        }
    }
}

#[test]
fn what_the_kernel_sends_waits_for_the_peers_mac_and_leaves_as_it_is() {
    let mut world = new_world();
    let bytes = segment(OWN4, PEER4, 1, TCP, (40_000, 179));
    let done = world.kernel(A, &frame_of(&bytes));
    assert_eq!(done.result, TapEvent::Queued);
    let asked: Vec<IpAddr> = done.sent.iter().map(target).collect();
    assert_eq!(asked, [ip(PEER4), ip(PEER6), ip("fe80::99")], "the peers are asked for, once");
    assert_eq!(world.kernel(A, &frame_of(&bytes)).result, TapEvent::Queued, "the newest");
    let reply = arp(ArpOperation::REPLY, PEER, PEER4, OWN4);
    let waited = world.punt(A, PuntReason::Arp, &reply).one(SlowOutcome::Consumed);
    assert_eq!((waited.vif, waited.to, waited.priority, &waited.l3), (A, PEER, 6, &bytes));
    let done = world.kernel(A, &frame_of(&bytes));
    assert_eq!((done.result, done.sent), (TapEvent::Sent, vec![waited]));
    // The other family and BFD likewise; and a VIF with a priority of its own.
    world.edit(A, |vif| vif.pcp = Pcp::Set(3));
    let answer = nd(136, PEER6, OWN6, 0x60, PEER6, Some(PEER));
    world.punt(A, PuntReason::NeighborDiscovery, &answer);
    let bytes = segment(OWN6, PEER6, 255, UDP, (50_000, 3784));
    let done = world.kernel(A, &frame_of(&bytes));
    assert_eq!((done.result, &done.sent[0].l3), (TapEvent::Sent, &bytes));
    assert_eq!(done.sent[0].priority, 3);
}

#[test]
fn what_the_kernel_may_not_send_goes_nowhere() {
    let good = segment(OWN4, PEER4, 255, TCP, (40_000, 179));
    let of = |from, to, protocol, ports| frame_of(&segment(from, to, 255, protocol, ports));
    let bgp = (40_000, 179);
    let mut unsound = good.clone();
    unsound[10] ^= 1;
    let mut fragment = good.clone();
    fragment[6] = 0x20;
    reseal(&mut fragment);
    let long = packet(OWN4, PEER4, 64, TCP, &[&[0, 179, 0, 179][..], &[0; 1477]].concat());
    let mut as_ipv6 = frame_of(&good);
    as_ipv6[12..14].copy_from_slice(&[0x86, 0xdd]);
    for (name, frame) in [
        ("nothing", Vec::new()),
        ("a header alone", frame_of(&[])),
        ("a frame cut short", frame_of(&good[..19])),
        (
            "ARP",
            [&[0xff; 6][..], &[2; 6], &[8, 6], &arp(ArpOperation::REQUEST, PEER, OWN4, PEER4)]
                .concat(),
        ),
        ("another ethertype", as_ipv6),
        ("a wrong checksum", frame_of(&unsound)),
        ("a fragment", frame_of(&fragment)),
        ("longer than the MTU", frame_of(&long)),
        ("a source that is not the VIF's", of("10.255.0.1", PEER4, TCP, bgp)),
        ("the peer as the source", of(PEER4, OWN4, TCP, bgp)),
        ("a neighbor that is no peer", of("10.0.0.1", "10.0.0.9", TCP, bgp)),
        ("another VIF's neighbor", of(OWN4, "10.255.0.2", TCP, bgp)),
        ("the cloud", of(OWN4, "172.16.0.1", TCP, bgp)),
        ("a group", of(OWN4, "224.0.0.1", TCP, bgp)),
        ("the subnet's broadcast address", of(OWN4, "169.254.100.3", TCP, bgp)),
        ("another port", of(OWN4, PEER4, TCP, (40_000, 22))),
        ("a reset without a socket", frame_of(&reset(0))),
        ("ICMP", frame_of(&icmp(OWN4, PEER4, 64, (8, 0), [0; 4], b"x"))),
        ("neighbor discovery", frame_of(&nd(135, OWN6, PEER6, 0, PEER6, Some(PEER)))),
    ] {
        let done = world().kernel(A, &frame);
        assert_eq!(done.result, TapEvent::Refused, "{name}");
        let questions = |sent: &Sent| sent.ethertype == 0x0806 || sent.l3[6] == 58;
        assert!(done.sent.iter().all(questions), "{name}: {:?}", done.sent);
    }
    // A socket's own reset leaves.
    assert_eq!(world().kernel(A, &frame_of(&reset(1024))).result, TapEvent::Queued);
    // A peer that is configured off the VIF's subnets is one of no use.
    let mut world = world();
    world.edit(A, |vif| vif.peers = [ip("172.16.0.1")].into());
    assert_eq!(world.kernel(A, &of(OWN4, "172.16.0.1", TCP, bgp)).result, TapEvent::Refused);
    // By a VIF that is down, or of another tenant with the same addresses.
    assert_eq!(world.kernel(B, &frame_of(&good)).result, TapEvent::Refused);
    world.edit(A, |vif| vif.up = false);
    assert_eq!(world.kernel(A, &frame_of(&good)).result, TapEvent::Unresolved);
    assert_eq!(world.kernel(VifId(5), &frame_of(&good)).result, TapEvent::Refused);
}

#[test]
fn peers_are_asked_for_for_ever_and_no_scan_takes_their_place() {
    let mut world = new_world();
    let asked: Vec<IpAddr> = world.tick().sent.iter().map(target).collect();
    assert_eq!(asked, [ip(PEER4), ip(PEER6), ip("fe80::99")]);
    for host in 0..200 {
        let to = format!("fd00:100::7:{host:x}");
        world.punt(CORE, PuntReason::NextHopUnresolved, &udp("2001:db8::1", &to, 64, 8));
    }
    let peer = |world: &World, address| {
        world.rows().iter().find(|row| row.address == ip(address)).cloned()
    };
    world.pass(60.0);
    assert_eq!(peer(&world, PEER6).unwrap().state, NeighborState::Failed);
    assert!(world.pass(5.1).sent.iter().any(|sent| target(sent) == ip(PEER6)), "still asked for");
    world.punt(A, PuntReason::NeighborDiscovery, &nd(136, PEER6, OWN6, 0x60, PEER6, Some(PEER)));
    let row = peer(&world, PEER6).unwrap();
    assert_eq!((row.state, row.mac), (NeighborState::Reachable, Some(PEER)));
    // No longer a peer: forgotten like any other.
    world.edit(A, |vif| vif.peers = [].into());
    world.pass(60.0);
    assert_eq!(world.rows(), []);
}

/// Whom a question is about.
fn target(sent: &Sent) -> IpAddr {
    match sent.ethertype {
        0x0806 => IpAddr::from(sent.arp().target_ipv4),
        _ => {
            assert_ne!(sent.to, Mac::BROADCAST);
            IpAddr::from(<[u8; 16]>::try_from(&sent.l3[48..64]).unwrap())
        }
    }
}
