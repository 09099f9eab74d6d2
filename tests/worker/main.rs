//! The worker with ports that fail: what it does when rings and queues are full, and that no frame is
//! lost or sent twice.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::cast_possible_truncation)]

#[path = "../common/mod.rs"]
mod common;
mod jumbo;
mod mirrors;
mod qos;
mod talkers;

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use common::packets::{arp, edited, packet, udp, udp_flow, with_options, with_ttl};
use common::rig::{FaultPort, Random, Rig};
use common::{A, A_CORE, A2, B, B_CORE, CONFIG, HOSTS, Host, P1, SECOND, port_mac};
use station::fib::{self, Fib};
use station::port::memory::MemoryPort;
use station::port::stamp::{Stamp, Stamping};
use station::port::{FrameSize, LONGEST, Pool};
use station::publish::Publisher;
use station::tables::counters::WorkerCounters;
use station::tables::last_drops::LastDrops;
use station::tables::{
    Adjacency, AdjacencyId, AdjacencyKind, AdjacencyTable, DropReason, GroupId, GroupTable, Member,
    Network, Pcp, Port, PortId, PortRole, Role, Snapshot, SourceCheck, Tags, Verdict, Vif, VifId,
    Vrf, VrfId, VrfKind,
};
use station::wire::bpf::Program;
use station::wire::ethernet::Mac;
use station::worker::capture::{Mark, Tap, Verdicts, Wanted};
use station::worker::handoff::Label;
use station::worker::latency::{LONGEST_NS, Latency, LatencyChannel, Sample};
use station::worker::{Handoffs, Worker};

/// The reason whose counter of a VIF has this name.
fn drops(rig: &mut Rig<MemoryPort>, vif: &str, name: &str) -> u64 {
    let id = rig.engine.vif(vif).unwrap();
    let reason = DropReason::ALL.iter().find(|reason| reason.name() == name).unwrap();
    rig.counters.vif(id).rare.drops[reason.index()].get()
}

fn memory_ports(rings: [usize; 3]) -> Vec<MemoryPort> {
    rings.into_iter().map(MemoryPort::new).collect()
}

#[test]
fn a_full_transmit_ring_drops_and_counts() {
    let mut rig = Rig::new(CONFIG, memory_ports([64, 64, 3]), 256, 8);
    let frames = vec![A.frame(&packet("10.1.0.9", "10.64.0.1")); 5];
    rig.burst(SECOND, PortId(0), &frames);
    assert_eq!(rig.take_sent(PortId(2)).len(), 3);
    assert_eq!(drops(&mut rig, "a", "tx_full"), 2);
    assert_eq!(rig.counters.vif(rig.engine.vif("a").unwrap()).forwarded.get(), 3);
    rig.check();
}

/// What the last drops say: reason, count, and how many senders are kept.
fn last_drops(drops: &LastDrops) -> Vec<(&'static str, u64, usize)> {
    let kept = |loss| drops.frames().filter(|frame| frame.loss == loss).count();
    drops.tallies().map(|tally| (tally.loss.name(), tally.count, kept(tally.loss))).collect()
}

#[test]
fn the_last_frames_of_each_reason_are_kept() {
    let mut rig = Rig::new(CONFIG, memory_ports([64, 64, 3]), 512, 8);
    let (a, b) = (rig.engine.vif("a").unwrap(), rig.engine.vif("b").unwrap());
    [a, b].into_iter().for_each(|vif| rig.counters.last_drops.admit(vif));
    let good = A.frame(&packet("10.1.0.9", "10.64.0.1"));
    let unknown = edited(good.clone(), |f| f[15] = 0xfe);
    let spoofed = A.frame(&packet("172.16.0.1", "10.64.0.1"));
    rig.burst(SECOND, PortId(0), &[vec![unknown.clone(); 31], vec![spoofed.clone(); 7]].concat());
    rig.burst(2 * SECOND, PortId(0), &vec![good.clone(); 5]);
    let log = &rig.counters.last_drops;
    assert_eq!(last_drops(log.port(PortId(0)).unwrap()), [("unknown_vlan", 31, 1)]);
    let of_a = log.vif(a).unwrap();
    assert_eq!(last_drops(of_a), [("spoofed_source", 7, 1), ("tx_full", 2, 1)]);
    assert_eq!(last_drops(log.vif(b).unwrap()), []);
    // With headers as they came, and no payload: up to the ports, or, of no protocol that has them, four octets.
    let kept: Vec<_> = of_a.frames().map(|kept| (kept.count, kept.last_ns, kept.len)).collect();
    assert_eq!(kept[0], (7, SECOND, spoofed.len()));
    let first = of_a.frames().next().unwrap();
    assert_eq!(first.headers, spoofed[..42.min(spoofed.len())]);
    let first = log.port(PortId(0)).unwrap().frames().next().unwrap();
    assert_eq!(first.headers, unknown[..42.min(unknown.len())]);
    // Exactly what the counters say, and what is forwarded leaves no trace.
    assert_eq!(drops(&mut rig, "a", "spoofed_source"), 7);
    rig.check();
}

fn wanted(port: u8) -> Wanted {
    Wanted {
        port: Some(PortId(port)),
        vif: None,
        inbound: true,
        outbound: true,
        verdicts: Verdicts::Any,
        filter: None,
        snap: 4096,
    }
}

/// Begins a capture.
fn capture(rig: &mut Rig<MemoryPort>, wanted: Wanted) -> Arc<Tap> {
    let tap = Arc::new(Tap::new(wanted));
    rig.worker.captures_mut().attach(tap.clone());
    tap
}

fn copies(tap: &Tap) -> Vec<(Mark, Vec<u8>)> {
    std::iter::from_fn(|| tap.receive(|mark, octets| (mark, octets.to_vec()))).collect()
}

#[test]
fn a_capture_sees_frames_as_they_came_and_as_they_left() {
    let mut rig = Rig::new(CONFIG, memory_ports([64, 64, 3]), 512, 8);
    let vif = |rig: &Rig<MemoryPort>, name: &str| rig.engine.vif(name).unwrap();
    let (a, core) = (vif(&rig, "a"), vif(&rig, "a-core"));
    let (inside, outside) = (capture(&mut rig, wanted(0)), capture(&mut rig, wanted(2)));
    let of_vif = |rig: &Rig<MemoryPort>, id: VifId| {
        Some((id, Network::of(rig.engine.tables().vif(id).unwrap())))
    };
    let (mine, spoofs) = (of_vif(&rig, a), of_vif(&rig, a));
    let other = of_vif(&rig, vif(&rig, "b"));
    let mine = capture(&mut rig, Wanted { vif: mine, snap: 40, ..wanted(0) });
    let verdicts = Verdicts::Only(Verdict::Drop(DropReason::SpoofedSource));
    let spoofs = capture(&mut rig, Wanted { vif: spoofs, verdicts, ..wanted(0) });
    let others = capture(&mut rig, Wanted { vif: other, ..wanted(0) });
    let good = A.frame(&packet("10.1.0.9", "10.64.0.1"));
    let spoofed = A.frame(&packet("172.16.0.1", "10.64.0.1"));
    let unknown = edited(good.clone(), |f| f[15] = 0xfe);
    let to_us = A.frame(&packet("10.1.0.9", "169.254.100.1"));
    let burst = [&good, &good, &good, &good, &spoofed, &unknown, &to_us].map(Clone::clone);
    rig.burst(SECOND, PortId(0), &burst);
    let sent = rig.take_sent(PortId(2));
    let seen = copies(&inside);
    let verdicts: Vec<String> = seen.iter().map(|(mark, _)| mark.verdict.to_string()).collect();
    let forward = "forward";
    assert_eq!(
        verdicts,
        [
            forward,
            forward,
            forward,
            "drop(tx_full)",
            "drop(spoofed_source)",
            "drop(unknown_vlan)",
            "punt(local)"
        ]
    );
    assert!(seen.iter().zip(&burst).all(|((_, octets), frame)| octets == frame), "as they came");
    let vifs: Vec<_> = seen.iter().map(|(mark, _)| (mark.from, mark.to)).collect();
    assert_eq!((vifs[0], vifs[5], vifs[6]), ((Some(a), Some(core)), (None, None), (Some(a), None)));
    let left = copies(&outside);
    assert_eq!(left.iter().map(|(_, octets)| octets.clone()).collect::<Vec<_>>(), sent);
    assert!(left.iter().all(|(mark, _)| mark.outbound && mark.to == Some(core)));
    assert!(left.iter().all(|(mark, _)| (mark.from, mark.now_ns) == (Some(a), SECOND)));
    // By the VIF's tags, cut; by reason; and none of another VIF's.
    let mine = copies(&mine);
    assert_eq!(mine.len(), 6);
    assert!(mine.iter().all(|(mark, octets)| octets.len() == 40 && mark.octets == good.len()));
    let spoofs = copies(&spoofs);
    assert_eq!(spoofs.iter().map(|(_, octets)| octets.clone()).collect::<Vec<_>>(), [spoofed]);
    assert_eq!(copies(&others), []);
    rig.check();
    // What the slow path sends, too.
    assert!(rig.handoffs.injected.send(Label::to_port(PortId(2), core), &[7; 64][..]));
    rig.turn(2 * SECOND);
    let [(mark, octets)] = &copies(&outside)[..] else { panic!("not one copy") };
    assert_eq!((mark.from, mark.to, &octets[..]), (None, Some(core), &[7; 64][..]));
    // A tunnel's VIF sends by one of the underlay, and both count it.
    let counters = rig.counters.clone();
    let counted = || [core, a].map(|vif| counters.vif(vif).tx_frames.get());
    let before = counted();
    let label = Label { through: Some(a), ..Label::to_port(PortId(2), core) };
    assert!(rig.handoffs.injected.send(label, &[7; 64][..]));
    rig.turn(2 * SECOND);
    assert_eq!(counted(), before.map(|frames| frames + 1));
    copies(&outside);
    // And nothing once it has ended.
    [&inside, &outside].into_iter().for_each(|tap| tap.end());
    rig.worker.captures_mut().detach_ended();
    rig.burst(3 * SECOND, PortId(0), &burst);
    assert_eq!((copies(&inside).len(), copies(&outside).len()), (0, 0));
    assert_eq!((inside.lost(), Arc::strong_count(&inside)), (0, 1));
    rig.check();
}

#[test]
fn copies_are_lost_first_and_counted() {
    let mut rig = Rig::new(CONFIG, memory_ports([64; 3]), 512, 8);
    let idle = capture(&mut rig, Wanted { inbound: true, outbound: false, ..wanted(0) });
    let frames = vec![A.frame(&packet("10.1.0.9", "10.64.0.1")); 64];
    // Nobody reads, and no time passes: the budget gives out.
    for _ in 0..100 {
        rig.burst(SECOND, PortId(0), &frames);
        assert_eq!(rig.take_sent(PortId(2)).len(), 64);
    }
    let kept = copies(&idle).len() as u64;
    assert!(kept > 1500 && kept < 2048, "{kept}");
    assert_eq!(kept + idle.lost(), 6400);
    // With time, the queue is what gives out.
    for n in 2..100 {
        rig.burst(n * SECOND, PortId(0), &frames);
        rig.take_sent(PortId(2));
    }
    assert_eq!(copies(&idle).len(), 2048);
    assert_eq!(kept + 2048 + idle.lost(), 6400 + 98 * 64);
    rig.check();
}

#[test]
fn a_capture_s_filter_runs_in_the_worker() {
    let mut rig = Rig::new(CONFIG, memory_ports([64; 3]), 512, 8);
    // The last octet of the destination address, behind one tag.
    let program = [(0x30, 0, 0, 37), (0x15, 0, 1, 2), (0x06, 0, 0, 1), (0x06, 0, 0, 0)];
    let filter = Some(Program::new(&program).unwrap());
    let tap = capture(&mut rig, Wanted { filter, outbound: false, ..wanted(0) });
    let frames: Vec<_> =
        (1..4).map(|n| A.frame(&packet("10.1.0.9", &format!("10.64.0.{n}")))).collect();
    rig.burst(SECOND, PortId(0), &frames);
    let seen = copies(&tap);
    assert_eq!(seen.iter().map(|(_, octets)| octets).collect::<Vec<_>>(), [&frames[1]]);
    assert_eq!(tap.lost(), 0);
    rig.check();
}

#[test]
fn a_full_queue_to_the_slow_path_drops_and_counts() {
    let mut rig = Rig::new(CONFIG, memory_ports([64; 3]), 256, 4);
    let question = arp(1, (A2.mac, "10.9.1.2"), (Mac::default(), "10.9.1.1"));
    let frames = vec![A2.frame_to(Mac::BROADCAST, &question); 6];
    rig.burst(SECOND, PortId(0), &frames);
    assert_eq!(rig.take_punted().len(), 4);
    assert_eq!(drops(&mut rig, "a2", "punt_queue_full"), 2);
    rig.check();
    // Once taken, the parcels serve again.
    rig.burst(2 * SECOND, PortId(0), &frames[..4]);
    assert_eq!(rig.take_punted().len(), 4);
    rig.check();
}

#[test]
fn a_port_that_is_gone_drops_and_counts() {
    let mut rig = Rig::new(CONFIG, memory_ports([64; 3]), 256, 8);
    *rig.worker.port_mut(PortId(2)).1.unwrap() = None;
    rig.burst(SECOND, PortId(0), &[A.frame(&packet("10.1.0.9", "10.64.0.1"))]);
    assert_eq!(drops(&mut rig, "a", "egress_down"), 1);
    let core = rig.engine.vif("a-core").unwrap();
    assert!(rig.handoffs.injected.send(Label::to_port(PortId(2), core), &[0; 64][..]));
    rig.turn(SECOND);
    assert_eq!(rig.counters.vif(core).rare.originated_lost.get(), 1);
    rig.check();
}

#[test]
fn urgent_punts_come_first_and_have_a_queue_of_their_own() {
    let session =
        "bgp = [{ peer = \"169.254.100.2\", peer_as = 65001, local_as = 64512 }]\nbfd = {}";
    let vif = "addresses = [\"169.254.100.1/30\", \"fd00:100::1/64\"]";
    let text = CONFIG.replacen(vif, &format!("{vif}\n{session}"), 1);
    let mut rig = Rig::new(&text, memory_ports([64; 3]), 256, 4);
    let (peer, own) = ("169.254.100.2", "169.254.100.1");
    let bfd = with_ttl(udp_flow(peer, own, (50_000, 3784), 52), 255);
    let bgp = edited(udp_flow(peer, own, (40_000, 179), 60), |p| p[9] = 6);
    let question = arp(1, (A.mac, peer), (Mac::default(), own));
    let rest = A.frame(&packet("10.1.0.9", own));
    let question = A.frame_to(Mac::BROADCAST, &question);
    let mut frames = vec![rest; 6];
    frames.extend([vec![question; 6], vec![A.frame(&bgp); 6], vec![A.frame(&bfd); 6]].concat());
    rig.burst(SECOND, PortId(0), &frames);
    let taken: Vec<&str> = rig.take_punted().iter().map(|(label, _)| label.reason.name()).collect();
    let expected = [["bfd"; 4], ["bgp"; 4], ["arp"; 4], ["local"; 4]].concat();
    assert_eq!(taken, expected);
    assert_eq!(drops(&mut rig, "a", "punt_queue_full"), 8);
    rig.check();
}

/// Tables that no configuration makes: a route of one VRF that leads to an adjacency of another. The
/// guard behind the tables stops the frame.
#[test]
fn a_route_out_of_its_vrf_is_stopped() {
    let mut fib =
        Fib::new(fib::Limits { max_vrfs: 4, max_bytes: 64 << 20, ..Default::default() }).unwrap();
    fib.add_vrf(0).unwrap();
    fib.apply(0, &[("10.64.0.0/10".parse().unwrap(), Some(1))]).unwrap();
    let vif = |name: &str, vrf, vid| Vif {
        name: name.into(),
        up: true,
        kind: None,
        port: PortId(0),
        tags: Tags { outer: vid, inner: None, service: false },
        vrf: VrfId(vrf),
        mtu: 1500,
        source_check: SourceCheck::Off,
        acl_in: None,
        acl_out: None,
        flow_log: 0,
        twamp_reflector: false,
        translations: None,
        pcp: Pcp::Preserve,
        overlay: Default::default(),
        joins_stations: false,
        metered: [false; 2],
        limited: [false; 2],
        top_talkers: false,
        addresses: Arc::new([]),
        peers: Arc::new([]),
    };
    let (here, there) = (vif("here", 0, 100), vif("there", 1, 200));
    let mut port = Port::new("p".into(), port_mac(0), PortRole::Core);
    assert!(port.insert(VifId(0), &here) && port.insert(VifId(1), &there));
    let stray =
        Adjacency::forward(VifId(1), &there, "10.0.0.2".parse().unwrap(), A.mac, port_mac(0));
    let none = Adjacency::special(AdjacencyKind::NoRoute, VrfId(0));
    let mut groups = GroupTable::default();
    groups.set(
        GroupId(1),
        &[Member { adjacency: AdjacencyId(1), weight: 1, role: Role::Primary, usable: true }],
    );
    let vrf = |name: &str| Some(Vrf { name: name.into(), kind: VrfKind::Vpc, reserved: [].into() });
    let tables = Snapshot {
        generation: 1,
        ports: Arc::new([Arc::new(port)]),
        vifs: Arc::new([Some(here), Some(there)]),
        vrfs: Arc::new([vrf("here"), vrf("there")]),
        groups: Arc::new(groups),
        adjacencies: Arc::new(AdjacencyTable::new([none, stray])),
        neighbors: Arc::default(),
        ..Snapshot::default()
    };
    let counters = Arc::new(WorkerCounters::new(1, 2));
    let (_publisher, mut subscribers) = Publisher::new(1, tables);
    let mut worker = Worker::new(
        Pool::new(64, FrameSize::Small).unwrap(),
        1,
        2,
        fib.reader(),
        subscribers.remove(0),
        counters.clone(),
        Arc::new(Handoffs::new(4, LONGEST, 2)),
    );
    *worker.port_mut(PortId(0)).1.unwrap() = Some(MemoryPort::new(16));
    let (pool, slot) = worker.port_mut(PortId(0));
    let memory = slot.unwrap().as_mut().unwrap();
    assert!(memory.inject(pool, &A.frame(&packet("10.1.0.9", "10.64.0.1"))));
    worker.turn(SECOND);
    assert_eq!(worker.verdict(0), (Some(VifId(0)), Verdict::Drop(DropReason::VrfMismatch)));
    let found: Vec<&str> = DropReason::ALL
        .iter()
        .filter(|reason| counters.vif(VifId(0)).rare.drops[reason.index()].get() == 1)
        .map(|reason| reason.name())
        .collect();
    assert_eq!(found, ["vrf_mismatch"]);
    let sent = worker.port_mut(PortId(0)).1.unwrap().as_mut().unwrap().take_sent();
    assert!(sent.is_empty());
    assert_eq!(worker.missing_frames(), 0);
}

/// A frame of the mixed traffic, with its number at the end.
fn numbered(random: &mut Random, number: u64) -> (usize, Vec<u8>) {
    let ways: [(Host, &str, &str); 5] = [
        (A, "10.1.0.9", "10.64.0.1"),
        (A_CORE, "10.64.0.1", "10.1.0.9"),
        (B, "10.1.0.9", "10.200.0.1"),
        (B_CORE, "10.64.0.1", "10.1.0.9"),
        (P1, "198.51.100.9", "8.8.8.8"),
    ];
    let (from, source, destination) = ways[random.below(ways.len())];
    let mut packet = udp(source, destination, 60 + random.below(1400));
    match random.below(20) {
        0 => packet = with_ttl(packet, 1),
        1 => packet[10] ^= 0x55, // the checksum
        2 => packet[0] = 0x65,
        _ => {}
    }
    let end = packet.len();
    packet[end - 8..].copy_from_slice(&number.to_be_bytes());
    let mut frame = from.frame(&packet);
    match random.below(30) {
        0 => frame[15] ^= 0x0f, // the VLAN
        1 => frame[0] ^= 0x10,
        2 => frame.truncate(random.below(frame.len())),
        _ => {}
    }
    let port = ["cust0", "cust1", "core0"].iter().position(|name| *name == from.port).unwrap();
    (port, frame)
}

/// 100,000 frames through ports that receive in odd sizes, refuse every tenth frame and complete late:
/// each frame ends once, and the worker's memory is whole after every turn.
#[test]
fn no_frame_is_lost_or_sent_twice() {
    const FRAMES: u64 = 100_000;
    let ports = (0..3).map(|index| FaultPort::new(0x5eed + index, 10)).collect();
    let mut rig = Rig::new(CONFIG, ports, 512, 16);
    let mut random = Random(0xfeed);
    let core = rig.engine.vif("a-core").unwrap();
    let (mut offered, mut punted, mut injected, mut now) = (0, 0, 0, SECOND);
    let mut sent: Vec<Vec<u8>> = Vec::new();
    loop {
        for _ in 0..random.below(150).min((FRAMES - offered) as usize) {
            let (port, frame) = numbered(&mut random, offered);
            let slot = rig.worker.port_mut(PortId(port as u8)).1.unwrap();
            slot.as_mut().unwrap().waiting.push_back(frame);
            offered += 1;
        }
        if random.below(4) == 0 {
            let label = Label::to_port(PortId(2), core);
            injected += u64::from(rig.handoffs.injected.send(label, &[0xab; 60][..]));
        }
        now += SECOND / 1000;
        rig.turn(now);
        assert_eq!(rig.worker.missing_frames(), 0);
        if random.below(3) == 0 {
            punted += rig.take_punted().len() as u64;
        }
        let mut idle = offered == FRAMES && rig.handoffs.injected.is_empty();
        for id in (0..3).map(PortId) {
            let port = rig.worker.port_mut(id).1.unwrap().as_mut().unwrap();
            sent.append(&mut port.sent);
            idle &= port.waiting.is_empty() && station::port::Port::held(port) == 0;
        }
        if idle {
            break;
        }
    }
    punted += rig.take_punted().len() as u64;
    rig.check();

    let received: u64 = (0..3).map(|id| rig.counters.port(PortId(id)).rx_frames.get()).sum();
    assert_eq!(received, FRAMES);
    let refused: u64 = rig.worker.ports().map(|port| port.refused).sum();
    let vifs: Vec<VifId> = HOSTS.iter().map(|host| rig.engine.vif(host.vif).unwrap()).collect();
    let total = |of: &dyn Fn(VifId) -> u64| vifs.iter().map(|id| of(*id)).sum::<u64>();
    let counters = rig.counters.clone();
    let forwarded = total(&|id| counters.vif(id).forwarded.get());
    let originated = total(&|id| counters.vif(id).rare.originated.get());
    let lost = total(&|id| counters.vif(id).rare.originated_lost.get());
    let full = total(&|id| counters.vif(id).rare.drops[DropReason::TxFull.index()].get());
    let punts = total(&|id| counters.vif(id).rare.punted.iter().map(|c| c.get()).sum());
    assert_eq!(forwarded + originated, sent.len() as u64);
    assert_eq!(full + lost, refused);
    assert_eq!(originated + lost, injected);
    assert_eq!(punts, punted);
    assert!(full > 5_000 && punted > 1_000 && forwarded > 60_000, "{full} {punted} {forwarded}");

    let mut numbers = HashSet::new();
    for frame in sent.iter().filter(|frame| frame[frame.len() - 1] != 0xab || frame.len() != 60) {
        let number = u64::from_be_bytes(frame[frame.len() - 8..].try_into().unwrap());
        assert!(number < FRAMES && numbers.insert(number), "frame {number} was sent twice");
    }
    assert_eq!(numbers.len() as u64, forwarded);
}

/// [`CONFIG`] with this line of a VIF.
fn with_line(vif: &str, line: &str) -> String {
    let head = format!("[[vif]]\nname = \"{vif}\"\n");
    assert!(CONFIG.contains(&head), "{CONFIG}");
    CONFIG.replace(&head, &format!("{head}{line}\n"))
}

/// Frames of 1,000 octets: what passes, and what is counted of the others.
#[test]
fn a_bandwidth_drops_and_counts_what_exceeds_it() {
    let frame = A.frame(&udp("10.1.0.9", "10.64.0.1", 1000 - 18));
    assert_eq!(frame.len(), 1000);
    for (vif, line, reason) in [
        ("a", "bandwidth = { rx = { rate = \"8M\", burst_octets = 20000 } }", "bandwidth_exceeded"),
        (
            "a-core",
            "bandwidth = { tx = { rate = \"8M\", burst_octets = 20000 } }",
            "egress_bandwidth_exceeded",
        ),
    ] {
        let mut rig = Rig::new(&with_line(vif, line), memory_ports([64, 64, 64]), 512, 8);
        let pass = |rig: &mut Rig<MemoryPort>, at_ns: u64| {
            rig.burst(at_ns, PortId(0), &vec![frame.clone(); 40]);
            rig.take_sent(PortId(2)).len()
        };
        // The burst, then a thousand octets a millisecond.
        assert_eq!(pass(&mut rig, SECOND), 20, "{line}");
        assert_eq!(pass(&mut rig, SECOND), 0);
        assert_eq!(pass(&mut rig, SECOND + 10_000_000), 10);
        assert_eq!(pass(&mut rig, SECOND + 10_500_000), 0);
        assert_eq!(pass(&mut rig, SECOND + 13_000_000), 3);
        assert_eq!(pass(&mut rig, 60 * SECOND), 20, "never more than the burst");
        let mut sum = [0, 0];
        for reason in ["bandwidth_exceeded", "egress_bandwidth_exceeded"] {
            sum[usize::from(reason.starts_with("egress"))] = drops(&mut rig, "a", reason);
        }
        let lost = 6 * 40 - 53;
        assert_eq!(sum, if reason.starts_with("egress") { [0, lost] } else { [lost, 0] });
        let way = usize::from(reason.starts_with("egress"));
        let id = rig.engine.vif(vif).unwrap();
        let meter = &rig.counters.vif(id).rare.meters[way];
        assert_eq!((meter.exceeded_frames.get(), meter.exceeded_octets.get()), (lost, lost * 1000));
        let left = rig.counters.vif(id).leased[way].get();
        assert_eq!(meter.leased.get() - left, 53_000, "what passed, to the octet");
        rig.check();
    }
}

/// What is dropped for another reason, and what is for the router, uses up nothing; what the slow path is to forward does.
#[test]
fn what_counts_against_a_bandwidth() {
    let line = "bandwidth = { rx = { rate = \"64k\", burst_octets = 10000 } }";
    let mut rig = Rig::new(&with_line("a", line), memory_ports([64, 64, 64]), 512, 64);
    let spoofed = A.frame(&packet("172.16.0.1", "10.64.0.1"));
    let own = A.frame(&packet("10.1.0.9", "169.254.0.1"));
    rig.burst(SECOND, PortId(0), &vec![spoofed; 60]);
    rig.burst(SECOND, PortId(0), &vec![own; 60]);
    let meter = |rig: &mut Rig<MemoryPort>| {
        let id = rig.engine.vif("a").unwrap();
        let counters = rig.counters.vif(id);
        counters.rare.meters[0].leased.get() - counters.leased[0].get()
    };
    assert_eq!(meter(&mut rig), 0);
    // Record route: for the slow path, which forwards it.
    let options = with_options(packet("10.1.0.9", "10.64.0.1"), &[7, 7, 4, 0, 0, 0, 0, 0]);
    let frame = A.frame(&options);
    rig.burst(2 * SECOND, PortId(0), std::slice::from_ref(&frame));
    let punted: Vec<&str> = rig.take_punted().iter().map(|(l, _)| l.reason.name()).collect();
    assert_eq!(punted.last(), Some(&"ip_options"));
    assert_eq!(meter(&mut rig), frame.len() as u64);
    rig.check();
}

/// The priority of the checks: `frame_overhead_octets` is added to each frame, and short frames count as they are sent.
#[test]
fn each_frame_counts_what_it_takes() {
    let text = with_line("a", "bandwidth = \"100M\"")
        .replacen(
            "[[vif]]\nname = \"a-core\"\n",
            "[[vif]]\nname = \"a-core\"\nbandwidth = \"100M\"\n",
            1,
        )
        .replacen("[station]\n", "[station]\nframe_overhead_octets = 24\n", 1);
    let mut rig = Rig::new(&text, memory_ports([64, 64, 64]), 512, 8);
    let frame = A.frame(&udp("10.1.0.9", "10.64.0.1", 28));
    rig.burst(SECOND, PortId(0), &vec![frame.clone(); 3]);
    let sent = rig.take_sent(PortId(2));
    let spent = |rig: &Rig<MemoryPort>, vif: &str, way: usize| {
        let counters = rig.counters.vif(rig.engine.vif(vif).unwrap());
        counters.rare.meters[way].leased.get() - counters.leased[way].get()
    };
    assert_eq!(spent(&rig, "a", 0), 3 * (frame.len() as u64 + 24));
    assert_eq!(spent(&rig, "a-core", 1), 3 * (sent[0].len() as u64 + 24));
    assert_eq!(sent[0].len(), 64, "60 octets and the tag");
    rig.check();
}

const STAMPED: Stamping = Stamping { nonce: 7, sample: 4 };

/// A worker that times what comes by port 0, by this clock.
fn timing(rig: &mut Rig<MemoryPort>) -> (Arc<LatencyChannel>, Arc<AtomicU64>) {
    let (channel, now) = (Arc::new(LatencyChannel::new(3)), Arc::new(AtomicU64::new(1000)));
    let clock = now.clone();
    let clock = Box::new(move || clock.load(Ordering::Relaxed));
    let mut latency = Box::new(Latency::new(3, channel.clone(), clock));
    latency.follow(PortId(0), Some(STAMPED));
    rig.worker.exchange_latency(Some(latency));
    (channel, now)
}

fn samples(channel: &LatencyChannel) -> Vec<Sample> {
    std::iter::from_fn(|| channel.receive()).collect()
}

/// Gives port 0 frames as the kernel does: with numbers from `first` on, of which some are stamped, each a nanosecond after
/// the one before.
fn stamped(rig: &mut Rig<MemoryPort>, (first, ns): (u32, u64), frames: &[Vec<u8>]) {
    let (pool, slot) = rig.worker.port_mut(PortId(0));
    let port = slot.unwrap().as_mut().unwrap();
    for (number, frame) in (first..).zip(frames) {
        let ns = ns + u64::from(number - first);
        let stamp = Stamp { nonce: STAMPED.nonce, number, ns };
        // What earlier frames left is of other numbers.
        let stale = Stamp { number: number.wrapping_sub(55), ns: 900, ..stamp };
        let is = if STAMPED.stamps(number) { stamp } else { stale };
        assert!(port.inject_stamped(pool, frame, is));
    }
}

#[test]
fn residence_is_of_the_frames_that_leave_by_port_and_vif() {
    let mut rig = Rig::new(CONFIG, memory_ports([64, 64, 64]), 512, 64);
    let (channel, now) = timing(&mut rig);
    let good = A.frame(&packet("10.1.0.9", "10.64.0.1"));
    let second = A2.frame(&packet("10.9.1.9", "10.64.0.1"));
    let spoofed = A.frame(&packet("172.16.0.1", "10.64.0.1"));
    let unknown = edited(good.clone(), |f| f[15] = 0xfe);
    let to_us = A.frame(&packet("10.1.0.9", "169.254.100.1"));
    let (mut expected, mut first) = (Vec::new(), 0);
    for turn in 0..40_u64 {
        let kinds = [&good, &second, &spoofed, &unknown, &to_us];
        let frames: Vec<_> = (0..50).map(|n| kinds[(n * n + turn as usize) % 5].clone()).collect();
        let (came, left) = (10_000 * (turn + 1), 10_000 * (turn + 1) + 5000);
        now.store(left, Ordering::Relaxed);
        stamped(&mut rig, (first, came), &frames);
        rig.turn(SECOND + turn);
        for (place, frame) in (0..).zip(&frames) {
            let (vif, verdict) = rig.worker.verdict(place as usize);
            assert_eq!(verdict == Verdict::Forward, *frame == good || *frame == second);
            if STAMPED.times(first + place) && verdict == Verdict::Forward {
                expected.push((left - came - u64::from(place), vif.unwrap()));
            }
        }
        first += 50;
    }
    let all = samples(&channel);
    let found: Vec<_> = all.iter().map(|sample| (sample.ns, sample.vif)).collect();
    // One of four, of two kinds of five.
    assert!(found.len().abs_diff(40 * 50 / 4 * 2 / 5) < 40, "{}", found.len());
    assert_eq!(found, expected);
    let generation = rig.engine.tables().generation;
    assert!(all.iter().all(|s| s.port == PortId(0) && s.generation == generation && !s.unstamped));
    // What comes by another port is not timed, nor what comes when nothing is.
    rig.burst(SECOND, PortId(2), &vec![A_CORE.frame(&packet("10.64.0.1", "10.1.0.9")); 64]);
    rig.worker.exchange_latency(None);
    stamped(&mut rig, (first, 1 << 20), &vec![good; 64]);
    rig.turn(SECOND);
    assert_eq!(samples(&channel), []);
    rig.take_punted();
    rig.check();
}

#[test]
fn residence_that_cannot_be_is_refused_and_counted() {
    let mut rig = Rig::new(CONFIG, memory_ports([64, 64, 64]), 512, 8);
    let (channel, now) = timing(&mut rig);
    let frames = vec![A.frame(&packet("10.1.0.9", "10.64.0.1")); 48];
    let timed = |first: u32| (first..first + 48).filter(|n| STAMPED.times(*n)).count();
    let turn = |rig: &mut Rig<MemoryPort>, turn: u32, since: u64, at: u64| {
        now.store(at, Ordering::Relaxed);
        stamped(rig, (48 * turn, since), &frames);
        rig.turn(SECOND);
        let refused = channel.port(PortId(0)).unwrap().refused.get();
        (samples(&channel).len(), refused as usize)
    };
    let all: Vec<usize> = (0..4).map(|n| timed(48 * n)).collect();
    assert_eq!(turn(&mut rig, 0, 2000, 3000), (all[0], 0));
    assert_eq!(turn(&mut rig, 1, 9000, 8999), (0, all[1]), "later than now");
    assert_eq!(turn(&mut rig, 2, 9000, 9048 + LONGEST_NS), (0, all[1] + all[2]), "too long ago");
    assert_eq!(turn(&mut rig, 3, 9000, 9000 + LONGEST_NS), (all[3], all[1] + all[2]));
    // Where nobody takes samples, there is room for so many.
    let full = |rig: &mut Rig<MemoryPort>| {
        for n in 4..6000 {
            stamped(rig, (48 * n, 9000), &frames);
            rig.turn(SECOND);
            rig.take_sent(PortId(2));
        }
    };
    full(&mut rig);
    let lost = channel.port(PortId(0)).unwrap().full.get() as usize;
    let kept = samples(&channel).len();
    let due: usize = (4..6000).map(|n| timed(48 * n)).sum();
    assert_eq!((kept, kept + lost), (65_536, due));
    // Of a port that is let go of, and the one that is there then, nothing is timed until it is told of.
    let port = rig.worker.detach(PortId(0), SECOND);
    *rig.worker.port_mut(PortId(0)).1.unwrap() = port;
    stamped(&mut rig, (48 * 6000, 9000), &frames);
    rig.turn(SECOND);
    assert_eq!(samples(&channel), []);
    rig.check();
}

#[test]
fn without_stamps_residence_begins_when_a_frame_is_received() {
    let mut rig = Rig::new(CONFIG, memory_ports([64, 64, 64]), 512, 8);
    let (channel, calls) = (Arc::new(LatencyChannel::new(3)), AtomicU64::new(0));
    let clock = Box::new(move || calls.fetch_add(10, Ordering::Relaxed));
    let mut latency = Box::new(Latency::new(3, channel.clone(), clock));
    latency.follow(PortId(0), Some(STAMPED));
    rig.worker.exchange_latency(Some(latency));
    let frames = vec![A.frame(&packet("10.1.0.9", "10.64.0.1")); 60];
    for turn in 0..40 {
        rig.burst(SECOND + turn, PortId(0), &frames);
    }
    let all = samples(&channel);
    // The first 1,024, and those of the burst that they end in, are looked at for stamps.
    assert!(all.len().abs_diff((40 * 60 - 1140) / 4) < 8, "{}", all.len());
    // The clock is read once as they come, and once when all have left.
    assert!(all.iter().all(|sample| sample.unstamped && sample.ns == 10));
    rig.check();
}
