//! Mirrors: what copies are, octet for octet, and that they cost the originals nothing.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicU32;

use etherparse::{IpNumber, Ipv4HeaderSlice, Ipv6HeaderSlice, UdpHeader};
use station::control::Engine;
use station::port::memory::MemoryPort;
use station::publish::Publisher;
use station::tables::meter::Limit;
use station::tables::mirrors::{
    Carrier, Destination, Mirror, MirrorCounters, Mirrored, Missed, Unfit,
};
use station::tables::{Network, PortId, Snapshot};
use station::worker::handoff::Label;

use super::common::packets::{arp, edited, packet, udp_flow};
use super::common::rig::{Random, Rig};
use super::common::{A, A_CORE, A2, B, CONFIG, P1, SECOND, facts, parse};
use super::memory_ports;

const MIRRORS: PortId = PortId(1);

pub(super) fn of_vif(engine: &Engine<Publisher<Snapshot>>, name: &str) -> Mirrored {
    let id = engine.vif(name).unwrap();
    let vif = engine.tables().vif(id).unwrap();
    Mirrored::Vif(id, vif.name.clone(), Network::of(vif))
}

fn to_vlan(vlan: u16) -> Destination {
    Destination::Vlan { port: MIRRORS, name: "cust1".into(), vlan, room: 1518 }
}

pub(super) fn to_host(rig: &Rig<MemoryPort>, remote: &str, carrier: Carrier) -> Destination {
    let vrf = rig.engine.vrf("vpc-a").unwrap();
    Destination::Tunnel { vrf, name: "vpc-a".into(), remote: remote.parse().unwrap(), carrier }
}

pub(super) fn mirror(of: Mirrored, to: Destination) -> Mirror {
    Mirror {
        name: "m".into(),
        of,
        inbound: true,
        outbound: true,
        filter: None,
        snap: 4096,
        to,
        limit: Limit::new(400_000_000_000, 12_500_000_000),
        numbered: AtomicU32::new(0),
        counters: [MirrorCounters::default()].into(),
    }
}

fn begin(rig: &mut Rig<MemoryPort>, mirror: Mirror) -> Arc<Mirror> {
    let mirror = Arc::new(mirror);
    rig.worker.mirror(std::slice::from_ref(&mirror));
    mirror
}

fn copies(mirror: &Mirror) -> u64 {
    mirror.sum(|counters| counters.copies.get())
}

fn missed(mirror: &Mirror, why: Missed) -> u64 {
    mirror.sum(|counters| counters.missed[why as usize].get())
}

/// A frame with a tag more.
fn tagged(frame: &[u8], vlan: u16) -> Vec<u8> {
    let tag = [&[0x81, 0][..], &vlan.to_be_bytes()].concat();
    [&frame[..12], &tag, &frame[12..]].concat()
}

fn tagged_all(frames: &[&Vec<u8>], vlan: u16) -> Vec<Vec<u8>> {
    frames.iter().map(|frame| tagged(frame, vlan)).collect()
}

#[test]
fn what_comes_is_copied_as_it_came_and_what_leaves_as_it_left() {
    let mut rig = Rig::new(CONFIG, memory_ports([256; 3]), 1024, 8);
    let of_a = of_vif(&rig.engine, "a");
    let of_a = begin(&mut rig, mirror(of_a, to_vlan(900)));
    let good = A.frame(&packet("10.1.0.9", "10.64.0.1"));
    let spoofed = A.frame(&packet("172.16.0.1", "10.64.0.1"));
    let unknown = edited(good.clone(), |f| f[15] = 0xfe);
    let to_us = A.frame(&packet("10.1.0.9", "169.254.100.1"));
    let question = arp(1, (A.mac, "169.254.100.2"), (Default::default(), "169.254.100.1"));
    let question = A.frame_to(station::wire::ethernet::Mac::BROADCAST, &question);
    let other = A2.frame(&packet("10.2.0.9", "10.64.0.1"));
    let of_b = B.frame(&packet("10.1.0.9", "10.64.0.1"));
    let burst = [&good, &spoofed, &other, &unknown, &to_us, &of_b, &question, &good];
    rig.burst(SECOND, PortId(0), &burst.map(Clone::clone));
    // What is dropped, for the router, or no IP at all, is copied too; what no VIF gets is nobody's.
    let expected = tagged_all(&[&good, &spoofed, &to_us, &question, &good], 900);
    assert_eq!(rig.take_sent(MIRRORS), expected);
    assert_eq!(rig.take_sent(PortId(2)).len(), 4, "two of a, one of a2, one of b");
    // Towards it, as it left: another MAC, another TTL, its tag.
    rig.burst(2 * SECOND, PortId(2), &[A_CORE.frame(&packet("10.64.0.1", "10.1.0.9"))]);
    let sent = rig.take_sent(PortId(0));
    assert_eq!(sent[0][..6], A.mac.0);
    assert_eq!(rig.take_sent(MIRRORS), [tagged(&sent[0], 900)]);
    // And what the station itself sends.
    let a = rig.engine.vif("a").unwrap();
    assert!(rig.handoffs.injected.send(Label::to_port(PortId(0), a), &[7; 64][..]));
    rig.turn(3 * SECOND);
    assert_eq!(rig.take_sent(MIRRORS), [tagged(&[7; 64], 900)]);
    let octets = of_a.sum(|counters| counters.octets.get());
    let wanted: usize = expected.iter().map(Vec::len).sum::<usize>() + sent[0].len() + 4 + 68;
    assert_eq!((copies(&of_a), octets), (7, wanted as u64));
    rig.check();
    // One way alone; all of a port; none any more.
    let port = || Mirrored::Port(PortId(0), "cust0".into());
    begin(&mut rig, Mirror { outbound: false, ..mirror(port(), to_vlan(900)) });
    rig.burst(4 * SECOND, PortId(0), &burst.map(Clone::clone));
    rig.burst(4 * SECOND, PortId(2), &[A_CORE.frame(&packet("10.64.0.1", "10.1.0.9"))]);
    assert_eq!(rig.take_sent(MIRRORS), tagged_all(&burst, 900));
    rig.take_sent(PortId(0));
    begin(&mut rig, Mirror { inbound: false, ..mirror(port(), to_vlan(901)) });
    rig.burst(5 * SECOND, PortId(0), &burst.map(Clone::clone));
    rig.burst(5 * SECOND, PortId(2), &[A_CORE.frame(&packet("10.64.0.1", "10.1.0.9"))]);
    let sent = rig.take_sent(PortId(0));
    assert_eq!(rig.take_sent(MIRRORS), [tagged(&sent[0], 901)]);
    rig.worker.mirror(&[]);
    rig.burst(6 * SECOND, PortId(0), &burst.map(Clone::clone));
    assert_eq!(rig.take_sent(MIRRORS), [[0u8; 0]; 0]);
    rig.check();
}

/// The IP packet of a copy to a host of the VPC, which came behind the core's MACs and tag.
fn outer(copy: &[u8]) -> &[u8] {
    assert_eq!(copy[..6], A_CORE.mac.0);
    assert_eq!(copy[6..12], A_CORE.router.0);
    assert_eq!(copy[12..16], [0x81, 0, 1100u16.to_be_bytes()[0], 1100u16.to_be_bytes()[1]]);
    &copy[18..]
}

#[test]
fn copies_in_tunnels_have_right_headers() {
    let (six, four) = ("fd00:64::9", "10.64.0.9");
    for (remote, carrier) in [four, six].into_iter().flat_map(|remote| {
        [Carrier::Erspan2(77), Carrier::Erspan3(78), Carrier::Vxlan(5001)].map(|c| (remote, c))
    }) {
        let mut rig = Rig::new(CONFIG, memory_ports([256; 3]), 1024, 8);
        let of_b = of_vif(&rig.engine, "b");
        let to = to_host(&rig, remote, carrier);
        let m = begin(&mut rig, Mirror { snap: 200, ..mirror(of_b, to) });
        let frames = [
            B.frame(&packet("10.1.0.9", "10.64.0.1")),
            B.frame(&udp_flow("10.1.0.9", "10.64.0.1", (1, 2), 300)),
            // An odd number of octets, for the checksum.
            B.frame(&udp_flow("10.1.0.9", "10.64.0.1", (1, 2), 61)),
        ];
        rig.burst(SECOND, PortId(0), &frames);
        let sent = rig.take_sent(PortId(2));
        assert_eq!(sent.len(), 6, "{carrier:?}: the originals before the copies");
        let vni = |frame: &[u8]| &frame[..6] == A_CORE.mac.0.as_slice();
        assert!(!vni(&sent[0]) || sent[0][14..16] == [4, 0xb0]);
        for (n, (copy, frame)) in sent[3..].iter().zip(&frames).enumerate() {
            let packet = outer(copy);
            let kept = frame.len().min(200);
            let (payload, protocol) = match remote.parse().unwrap() {
                IpAddr::V4(remote) => {
                    let header = Ipv4HeaderSlice::from_slice(packet).unwrap();
                    let (own, other) = (header.source_addr(), header.destination_addr());
                    assert_eq!((own, other), ("10.255.1.1".parse().unwrap(), remote));
                    assert_eq!(usize::from(header.total_len()), packet.len());
                    let right = header.to_header().calc_header_checksum();
                    assert_eq!(header.header_checksum(), right, "{carrier:?}");
                    assert!(header.dont_fragment() && header.ttl() == 64);
                    (&packet[20..], header.protocol())
                }
                IpAddr::V6(remote) => {
                    let header = Ipv6HeaderSlice::from_slice(packet).unwrap();
                    let (own, other) = (header.source_addr(), header.destination_addr());
                    assert_eq!((own, other), ("fd00:255:1::1".parse().unwrap(), remote));
                    assert_eq!(usize::from(header.payload_length()), packet.len() - 40);
                    assert_eq!(header.hop_limit(), 64);
                    (&packet[40..], header.next_header())
                }
            };
            let cut = u8::from(kept < frame.len());
            let inner = match carrier {
                Carrier::Vxlan(vni) => {
                    assert_eq!(protocol, IpNumber::UDP);
                    let (header, rest) = UdpHeader::from_slice(payload).unwrap();
                    assert_eq!(
                        (header.destination_port, usize::from(header.length)),
                        (4789, payload.len())
                    );
                    if let Ok(ip) = Ipv6HeaderSlice::from_slice(packet) {
                        let right = header.calc_checksum_ipv6(&ip.to_header(), rest).unwrap();
                        assert_eq!(header.checksum, right);
                    }
                    assert_eq!(rest[..8], [&[8, 0, 0, 0][..], &(vni << 8).to_be_bytes()].concat());
                    &rest[8..]
                }
                Carrier::Erspan2(session) => {
                    assert_eq!(protocol, IpNumber::GRE);
                    assert_eq!(payload[..8], [0x10, 0, 0x88, 0xbe, 0, 0, 0, n as u8]);
                    let second = 3 << 11 | u16::from(cut) << 10 | session;
                    let header = [&[0x10, 200][..], &second.to_be_bytes(), &[0; 4]].concat();
                    assert_eq!(payload[8..16], header);
                    &payload[16..]
                }
                Carrier::Erspan3(session) => {
                    assert_eq!(payload[..8], [0x10, 0, 0x22, 0xeb, 0, 0, 0, n as u8]);
                    let second = u16::from(cut) << 10 | session;
                    assert_eq!(payload[8..12], [&[0x20, 200][..], &second.to_be_bytes()].concat());
                    assert_eq!(payload[12..16], 10_000_000u32.to_be_bytes(), "1 s in 100 ns");
                    assert_eq!(payload[16..20], [0, 0, 0x80, 2]);
                    &payload[20..]
                }
            };
            assert_eq!(inner, &frame[..kept], "{carrier:?}");
        }
        assert_eq!((copies(&m), m.sum(|counters| counters.truncated.get())), (3, 1));
        rig.check();
    }
}

/// A copy that would not fit behind its headers is cut to what fits.
#[test]
fn copies_are_cut_to_the_mtu() {
    let mut rig = Rig::new(CONFIG, memory_ports([256; 3]), 1024, 8);
    let of_a = of_vif(&rig.engine, "a");
    let to = to_host(&rig, "10.64.0.9", Carrier::Erspan2(1));
    let m = begin(&mut rig, mirror(of_a, to));
    rig.burst(SECOND, PortId(0), &[A.frame(&udp_flow("10.1.0.9", "10.64.0.1", (1, 2), 1500))]);
    let sent = rig.take_sent(PortId(2));
    assert_eq!(outer(&sent[1]).len(), 1500);
    assert_eq!(m.sum(|counters| counters.truncated.get()), 1);
    // To a port, where the tag is one too many.
    let of_a = of_vif(&rig.engine, "a");
    begin(&mut rig, mirror(of_a, to_vlan(900)));
    rig.burst(2 * SECOND, PortId(0), &[A.frame(&udp_flow("10.1.0.9", "10.64.0.1", (1, 2), 1500))]);
    assert_eq!(rig.take_sent(MIRRORS)[0].len(), 1518);
    rig.check();
}

#[test]
fn what_there_is_no_room_for_is_missed_and_counted() {
    let frames = |n: usize| vec![A.frame(&packet("10.1.0.9", "10.64.0.1")); n];
    // The ring by which the originals leave, too: they have it first, and half of it to themselves.
    let mut rig = Rig::new(CONFIG, memory_ports([64; 3]), 1024, 8);
    let of_a = of_vif(&rig.engine, "a");
    let to = to_host(&rig, "10.64.0.9", Carrier::Erspan2(1));
    let m = begin(&mut rig, mirror(of_a, to));
    rig.burst(SECOND, PortId(0), &frames(64));
    assert_eq!(rig.take_sent(PortId(2)).len(), 64, "no original is lost");
    assert_eq!((copies(&m), missed(&m, Missed::Ring)), (0, 64));
    rig.burst(2 * SECOND, PortId(0), &frames(20));
    assert_eq!(rig.take_sent(PortId(2)).len(), 33);
    assert_eq!((copies(&m), missed(&m, Missed::Ring)), (13, 71));
    // No frame is free but those that the originals have.
    let mut rig = Rig::new(CONFIG, memory_ports([64; 3]), 40, 8);
    let of_a = of_vif(&rig.engine, "a");
    let m = begin(&mut rig, mirror(of_a, to_vlan(900)));
    rig.burst(SECOND, PortId(0), &frames(30));
    assert_eq!(rig.take_sent(PortId(2)).len(), 30);
    assert_eq!((copies(&m), missed(&m, Missed::Memory)), (10, 20));
    rig.check();
    // No route, and no neighbor; then a route.
    let to = to_host(&rig, "198.51.100.9", Carrier::Vxlan(1));
    let of_a = of_vif(&rig.engine, "a");
    let m = begin(&mut rig, mirror(of_a, to));
    rig.burst(2 * SECOND, PortId(0), &frames(3));
    assert_eq!((copies(&m), missed(&m, Missed::NoWay)), (0, 3));
    let route = "[[route]]\nvrf = \"vpc-a\"\nprefix = \"198.51.100.0/24\"\nvia = [{ address = \"10.255.1.2\" }]\n";
    let config = parse(&format!("{CONFIG}\n{route}"));
    rig.engine.commit(&config, &facts(&config)).unwrap();
    rig.burst(3 * SECOND, PortId(0), &frames(3));
    assert_eq!((copies(&m), missed(&m, Missed::NoWay)), (3, 3));
    // The port is gone.
    let of_a = of_vif(&rig.engine, "a");
    let m = begin(&mut rig, mirror(of_a, to_vlan(900)));
    *rig.worker.port_mut(MIRRORS).1.unwrap() = None;
    rig.burst(4 * SECOND, PortId(0), &frames(3));
    assert_eq!((copies(&m), missed(&m, Missed::NoWay)), (0, 3));
    rig.check();
}

#[test]
fn a_mirror_keeps_to_its_rate_and_to_its_part_of_the_time() {
    let frames = vec![A.frame(&packet("10.1.0.9", "10.64.0.1")); 64];
    let octets = frames[0].len() as u64 + 4;
    let mut rig = Rig::new(CONFIG, memory_ports([256; 3]), 1024, 8);
    let of_a = of_vif(&rig.engine, "a");
    // 1 Mbit/s and a burst of 10,000 octets, over two seconds at 64,000 frames a second.
    let limit = Limit::new(1_000_000, 10_000);
    let m = begin(&mut rig, Mirror { limit, ..mirror(of_a, to_vlan(900)) });
    for n in 0..2000 {
        rig.burst(SECOND + n * 1_000_000, PortId(0), &frames);
        assert_eq!(rig.take_sent(PortId(2)).len(), 64);
    }
    let sent = copies(&m) * octets;
    assert!((255_000..=262_000).contains(&sent), "{sent} octets in two seconds");
    assert_eq!(copies(&m) + missed(&m, Missed::Rate), 128_000);
    // Bursts that come one right after the other: copies may take a tenth of the time.
    let of_a = of_vif(&rig.engine, "a");
    let m = begin(&mut rig, mirror(of_a, to_vlan(900)));
    for n in 0..1000 {
        rig.burst(4 * SECOND + n * 10_000, PortId(0), &frames);
        assert_eq!(rig.take_sent(PortId(2)).len(), 64);
        rig.take_sent(MIRRORS);
    }
    // 10 ms, of which a tenth is 1 ms, at 100 ns and some a copy; and what may be used at once.
    assert!((5_000..12_000).contains(&copies(&m)), "{} copies in 10 ms", copies(&m));
    assert_eq!(copies(&m) + missed(&m, Missed::Time), 64_000);
    rig.check();
}

/// Whatever is copied, the originals are the same, in the same order.
#[test]
fn originals_are_as_without_mirrors() {
    let mut random = Random(0x2545_f491_4f6c_dd1d);
    let hosts = [A, A2, B, P1, A_CORE];
    let mut plain = Rig::new(CONFIG, memory_ports([128; 3]), 2048, 8);
    let mut mirrored = Rig::new(CONFIG, memory_ports([128; 3]), 2048, 8);
    let vif = |rig: &Rig<MemoryPort>, name: &str| of_vif(&rig.engine, name);
    let all = [
        mirror(vif(&mirrored, "a"), to_host(&mirrored, "10.64.0.9", Carrier::Erspan3(1))),
        mirror(vif(&mirrored, "a-core"), to_vlan(900)),
        mirror(
            Mirrored::Port(PortId(0), "cust0".into()),
            to_host(&mirrored, "fd00:64::9", Carrier::Vxlan(9)),
        ),
        mirror(Mirrored::Port(PortId(2), "core0".into()), to_vlan(901)),
    ]
    .map(Arc::new);
    mirrored.worker.mirror(&all);
    let is_copy = |frame: &Vec<u8>| {
        let vlan = u16::from_be_bytes([frame[14], frame[15]]);
        let (v4, v6) = (&frame[18..], frame.get(18 + 6).copied());
        matches!(vlan, 900 | 901)
            || vlan == 1100
                && (v4[0] == 0x45 && v4[9] == 47
                    || v4[0] == 0x60 && v6 == Some(17) && v4[42..44] == [0x12, 0xb5])
    };
    for turn in 0..400 {
        let port = PortId([0, 2][random.below(2)]);
        let frames: Vec<Vec<u8>> = (0..1 + random.below(64))
            .filter_map(|_| {
                let host = hosts[random.below(hosts.len())];
                let port_of = if host.port == "cust0" { PortId(0) } else { PortId(2) };
                let (near, far) =
                    ("10.1.0.9", ["10.64.0.1", "10.1.0.9", "203.0.113.9"][random.below(3)]);
                let source = if port_of == PortId(2) { "10.64.0.1" } else { near };
                let packet = udp_flow(
                    source,
                    far,
                    (turn as u16, random.below(99) as u16),
                    60 + random.below(700),
                );
                let packet = edited(packet, |p| p[8] = [64, 1, 2][random.below(3)]);
                (port_of == port).then(|| host.frame(&packet))
            })
            .collect();
        let now = SECOND + turn * 1_000_000;
        let verdicts = plain.burst(now, port, &frames);
        assert_eq!(mirrored.burst(now, port, &frames), verdicts);
        for port in [0, 1, 2].map(PortId) {
            let mut seen = mirrored.take_sent(port);
            seen.retain(|frame| !is_copy(frame));
            assert_eq!(seen, plain.take_sent(port), "turn {turn}, port {port:?}");
        }
    }
    assert!(
        all.iter().all(|mirror| copies(mirror) > 100),
        "{:?}",
        all.each_ref().map(|m| copies(m))
    );
    mirrored.check();
}

/// In the same generation in which what it is of, or where it leads, is another's, nothing is copied any more.
#[test]
fn a_mirror_is_none_for_what_became_another_s() {
    let mut rig = Rig::new(CONFIG, memory_ports([256; 3]), 1024, 8);
    let good = A.frame(&packet("10.1.0.9", "10.64.0.1"));
    let taken = "[[vif]]\nname = \"taken\"\nport = \"cust1\"\nvlan = \"900\"\nkind = \"private\"\nvrf = \"vpc-b\"\naddresses = [\"10.99.0.1/30\"]\n";
    let other_vlan = CONFIG.replacen("vlan = \"100\"", "vlan = \"109\"", 1);
    let renamed = CONFIG.replace("\"a\"", "\"z\"");
    for (text, why) in [
        (format!("{CONFIG}\n{taken}"), Unfit::Vlan),
        (other_vlan, Unfit::Vif),
        (renamed, Unfit::Vif),
    ] {
        let config = parse(CONFIG);
        rig.engine.commit(&config, &facts(&config)).unwrap();
        let of_a = of_vif(&rig.engine, "a");
        let m = begin(&mut rig, mirror(of_a, to_vlan(900)));
        rig.burst(SECOND, PortId(0), std::slice::from_ref(&good));
        assert_eq!(copies(&m), 1);
        let config = parse(&text);
        rig.engine.commit(&config, &facts(&config)).unwrap();
        assert_eq!(m.unfit(rig.engine.tables()), Some(why));
        rig.burst(2 * SECOND, PortId(0), std::slice::from_ref(&good));
        assert_eq!(copies(&m), 1, "{why:?}");
        rig.take_sent(MIRRORS);
    }
    let port = Mirrored::Port(PortId(0), "cust9".into());
    assert_eq!(mirror(port, to_vlan(1)).unfit(rig.engine.tables()), Some(Unfit::Port));
    assert_eq!(rig.worker.missing_frames(), 0);
}

/// Copies do not go before what waits in a port's queues, and are counted as missed.
#[test]
fn copies_do_not_overtake_classes() {
    let head = "[[vif]]\nname = \"b-s\"\n";
    let policy = "[[qos]]\nname = \"q\"\n[[qos.class]]\nname = \"rest\"\n";
    let text = CONFIG.replace(head, &format!("{head}qos = \"q\"\n")) + policy;
    let ports = vec![MemoryPort::new(256), MemoryPort::slow(256), MemoryPort::new(256)];
    let mut rig = Rig::new(&text, ports, 2048, 8);
    let of_a = of_vif(&rig.engine, "a");
    let of_a = begin(&mut rig, mirror(of_a, to_vlan(900)));
    let flood = vec![B.frame(&packet("10.1.0.9", "10.3.0.1")); 40];
    let one = [A.frame(&packet("10.1.0.9", "10.64.0.1"))];
    rig.burst(SECOND, PortId(0), &one);
    assert_eq!((copies(&of_a), missed(&of_a, Missed::Ring)), (1, 0));
    (0..2).for_each(|_| drop(rig.burst(SECOND, PortId(0), &flood)));
    assert!(rig.turn(SECOND).waiting > 0);
    rig.burst(SECOND, PortId(0), &one);
    assert_eq!((copies(&of_a), missed(&of_a, Missed::Ring)), (1, 1));
    rig.worker.port_mut(MIRRORS).1.unwrap().as_mut().unwrap().grant(1000);
    (0..9).for_each(|_| assert_eq!(rig.turn(SECOND).frames, 0));
    rig.burst(SECOND, PortId(0), &one);
    assert_eq!((copies(&of_a), missed(&of_a, Missed::Ring)), (2, 1));
    assert_eq!(rig.take_sent(MIRRORS).len(), 2 + 80);
    rig.check();
}
