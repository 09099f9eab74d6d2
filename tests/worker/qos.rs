//! Classes: what leaves first where a port is slower than what is sent to it, what is marked and policed, and that nothing is
//! lost that was to leave.

use std::collections::HashMap;

use station::port::memory::MemoryPort;
use station::tables::PortId;
use station::tables::counters::ClassCounters;
use station::worker::handoff::Label;

use super::common::packets::{edited, seal, udp_flow, with_options};
use super::common::rig::{FaultPort, Rig};
use super::common::{A, A2, B, CONFIG, Host, SECOND, facts, parse};
use super::{drops, memory_ports};

const CORE: PortId = PortId(2);
/// A turn of the loop.
const TURN: u64 = 50_000;
const EF: u8 = 46;
const AF11: u8 = 10;
const AF21: u8 = 18;

const POLICY: &str = r#"
[[qos]]
name = "gold"
[[qos.class]]
name = "bulk"
dscp = ["af11"]
weight = 1
[[qos.class]]
name = "data"
dscp = ["af21"]
weight = 3
[[qos.class]]
name = "voice"
dscp = ["ef"]
priority = "strict"
"#;

/// [`CONFIG`] with a line in some VIFs, and more behind it.
fn with(vifs: &[(&str, &str)], more: &str) -> String {
    let mut text = CONFIG.to_owned();
    for (vif, line) in vifs {
        let head = format!("[[vif]]\nname = \"{vif}\"\n");
        assert!(text.contains(&head));
        text = text.replace(&head, &format!("{head}{line}\n"));
    }
    text + more
}

const QOS: &str = "qos = \"gold\"";

/// Three memory ports, of which the core's lets frames leave as it is told.
fn slow(text: &str, ring: usize) -> Rig<MemoryPort> {
    let ports = vec![MemoryPort::new(512), MemoryPort::new(512), MemoryPort::slow(ring)];
    Rig::new(text, ports, 8192, 8)
}

/// A frame of a class, with a number.
fn numbered(from: Host, to: &str, dscp: u8, number: u64, octets: usize) -> Vec<u8> {
    let mut packet = edited(udp_flow("10.1.0.9", to, (4000, 4001), octets), |p| p[1] = dscp << 2);
    let at = packet.len() - 8;
    packet[at..].copy_from_slice(&number.to_be_bytes());
    from.frame(&packet)
}

/// DSCP and number of a frame that left.
fn read(frame: &[u8]) -> (u8, u64) {
    let number = u64::from_be_bytes(frame[frame.len() - 8..].try_into().unwrap());
    (frame[19] >> 2, number)
}

/// A turn in which so many frames may leave by the core's port.
fn turn(rig: &mut Rig<MemoryPort>, number: u64, leave: usize, frames: &[Vec<u8>]) -> Vec<Vec<u8>> {
    rig.worker.port_mut(CORE).1.unwrap().as_mut().unwrap().grant(leave);
    rig.burst(SECOND + number * TURN, PortId(0), frames);
    rig.take_sent(CORE)
}

fn of_class<'a>(
    rig: &'a mut Rig<MemoryPort>,
    vif: &str,
    class: usize,
) -> impl Fn(fn(&ClassCounters) -> u64) -> u64 + use<'a> {
    let id = rig.engine.vif(vif).unwrap();
    let counters = &rig.counters;
    move |of| of(&counters.vif(id).rare.classes.get().unwrap()[class])
}

/// What became of one DSCP's frames: how many were offered and left, and how many turns each waited.
#[derive(Debug, Default)]
struct Fate {
    offered: u64,
    waits: Vec<u64>,
}

impl Fate {
    fn lost(&self) -> f64 {
        1.0 - self.waits.len() as f64 / self.offered as f64
    }

    /// Turns that 99 of 100 waited at most.
    fn p99(&mut self) -> u64 {
        self.waits.sort_unstable();
        self.waits[self.waits.len() * 99 / 100]
    }
}

/// Offers so many frames of each DSCP a turn to a port from which `leave` frames go in a turn; then lets all leave.
fn load(text: &str, ring: usize, leave: usize, mix: &[(u8, usize)]) -> HashMap<u8, Fate> {
    let mut rig = slow(text, ring);
    let mut fates: HashMap<u8, Fate> = HashMap::new();
    let mut last: HashMap<u8, u64> = HashMap::new();
    for at in 0..3_000 {
        let mut frames = Vec::new();
        if at < 2_000 {
            for &(dscp, count) in mix {
                frames.extend(
                    (0..count).map(|n| numbered(A, "10.64.0.1", dscp, at << 8 | n as u64, 200)),
                );
                fates.entry(dscp).or_default().offered += count as u64;
            }
        }
        let sent = turn(&mut rig, at, leave, &frames);
        assert!(sent.len() <= leave || at < 2, "{} frames left in turn {at}", sent.len());
        for (dscp, number) in sent.iter().map(|frame| read(frame)) {
            assert!(last.insert(dscp, number) < Some(number), "in order within a class");
            fates.get_mut(&dscp).unwrap().waits.push(at - (number >> 8));
        }
    }
    rig.check();
    let (dropped, left) = (
        drops(&mut rig, "a", "class_queue_full") + drops(&mut rig, "a", "tx_full"),
        fates.values().map(|fate| fate.waits.len() as u64).sum::<u64>(),
    );
    assert_eq!(dropped + left, fates.values().map(|fate| fate.offered).sum::<u64>());
    assert_eq!(rig.counters.port(CORE).tx_frames.get(), left);
    fates
}

/// Twice as much as leaves is offered. By one ring, all lose half and wait for all of it; by classes, what is strict loses
/// nothing, and its 99th percentile is what it is without load.
#[test]
fn what_is_strict_neither_waits_nor_is_lost() {
    let with_policy = with(&[("a-core", QOS)], POLICY);
    let mix = [(0, 48), (EF, 16)];
    let mut idle = load(&with_policy, 1024, 32, &[(0, 12), (EF, 4)]);
    let mut fifo = load(CONFIG, 1024, 32, &mix);
    let mut classes = load(&with_policy, 1024, 32, &mix);
    let of = |fates: &mut HashMap<u8, Fate>, dscp: u8| {
        let fate = fates.get_mut(&dscp).unwrap();
        (fate.lost(), fate.p99())
    };
    assert_eq!(of(&mut idle, EF), (0.0, 0));
    let (lost, p99) = of(&mut fifo, EF);
    assert!(lost > 0.4 && p99 >= 30, "one ring: {lost} {p99}");
    let (lost, p99) = of(&mut classes, EF);
    assert!(lost == 0.0 && p99 <= 2, "strict: {lost} {p99}");
    let (lost, p99) = of(&mut classes, 0);
    assert!((lost - 2.0 / 3.0).abs() < 0.02 && p99 > 10, "best effort: {lost} {p99}");
}

#[test]
fn weights_share_what_is_left() {
    let text = with(&[("a-core", QOS)], POLICY);
    let fates = load(&text, 1024, 32, &[(AF11, 30), (AF21, 30), (EF, 4)]);
    assert_eq!(fates[&EF].lost(), 0.0);
    let in_time = |dscp: u8| {
        let fate = &fates[&dscp];
        fate.waits.len() as f64
    };
    let ratio = in_time(AF21) / in_time(AF11);
    assert!((2.9..3.1).contains(&ratio), "{ratio}");
}

/// Less than leaves is offered, in bursts: nothing is lost, and little waits.
#[test]
fn queues_act_only_where_the_ring_is_the_bottleneck() {
    let text = with(&[("a-core", QOS)], POLICY);
    let mut fates = load(&text, 1024, 64, &[(0, 28), (AF11, 28), (EF, 8)]);
    for (dscp, fate) in &mut fates {
        assert!(fate.lost() == 0.0 && fate.p99() <= 1, "{dscp}: {} {}", fate.lost(), fate.p99());
    }
}

/// Two customers' VIFs on one port: each has its half, with a policy and without, whatever the other calls strict.
#[test]
fn vifs_share_a_port_equally() {
    let text = with(&[("a-core", QOS)], POLICY);
    let mut rig = slow(&text, 1024);
    let mut sent = [0, 0];
    for at in 0..2_000 {
        let frames: Vec<_> = (0..32)
            .flat_map(|n| {
                [numbered(A, "10.64.0.1", EF, n, 200), numbered(B, "10.64.0.1", 0, n, 200)]
            })
            .collect();
        for frame in turn(&mut rig, at, 32, &frames) {
            sent[usize::from(frame[14..16] == [0x04, 0xb0])] += 1;
        }
    }
    let [a, b]: [i64; 2] = sent;
    assert!((a - b).abs() * 50 <= a && a + b > 63_000, "{sent:?}");
    // The strict class of `a` is full by itself; `b` has no policy, and no counters of classes.
    let full = of_class(&mut rig, "a-core", 0)(|class| class.full_frames.get());
    assert_eq!(full, drops(&mut rig, "a", "class_queue_full"));
    assert!(drops(&mut rig, "b", "class_queue_full") > 20_000);
    let id = rig.engine.vif("b-core").unwrap();
    assert!(rig.counters.vif(id).rare.classes.get().is_none());
    rig.check();
}

/// What the station itself sends does not wait behind anything that does.
#[test]
fn what_the_slow_path_sends_goes_first() {
    let mut rig = slow(&with(&[("a-core", QOS)], POLICY), 1024);
    let core = rig.engine.vif("a-core").unwrap();
    let frames: Vec<_> = (0..64).map(|n| numbered(A, "10.64.0.1", 0, n, 200)).collect();
    for at in 0..300 {
        turn(&mut rig, at, 16, &frames);
    }
    assert!(rig.turn(2 * SECOND).waiting > 300);
    assert!(rig.handoffs.injected.send(Label::to_port(CORE, core), &[7; 64][..]));
    let before: Vec<_> = (0..4).flat_map(|at| turn(&mut rig, 300 + at, 16, &[])).collect();
    assert!(before.contains(&vec![7; 64]), "within what was on the ring");
    rig.check();
}

/// The tags and the DSCP of a frame that left, and whether its IPv4 header is sound.
fn marks(frame: &[u8]) -> (u8, u8) {
    let priority = frame[14] >> 4;
    let head = &frame[18..];
    let traffic = if head[0] >> 4 == 4 {
        let mut again = head[..20].to_vec();
        seal(&mut again);
        assert_eq!(again, head[..20], "the checksum");
        head[1]
    } else {
        head[0] << 4 | head[1] >> 4
    };
    (priority, traffic)
}

const MARKS: &str = r#"
[[qos]]
name = "gold"
[[qos.class]]
name = "voice"
dscp = ["ef"]
pcp = [6]
mark_dscp = "cs5"
mark_pcp = 0
[[qos.class]]
name = "video"
dscp = ["af41"]
mark_pcp = 4
[[qos.class]]
name = "rest"
mark_dscp = 0
"#;

#[test]
fn classes_mark_what_leaves() {
    let text = with(&[("a-core", QOS), ("a-small", QOS)], MARKS);
    let mut rig = Rig::new(&text, memory_ports([64; 3]), 512, 8);
    // (PCP and DEI, traffic class) as it came, and as it leaves by a VIF that keeps the priority and by one that sets 5.
    let cases = [
        ((0b0011, EF << 2 | 1), (0b0001, 40 << 2 | 1), (0b0001, 40 << 2 | 1)),
        ((0b1100, 63 << 2), (0b0000, 40 << 2), (0b0000, 40 << 2)),
        ((0b1100, 34 << 2 | 3), (0b1000, 34 << 2 | 3), (0b1000, 34 << 2 | 3)),
        ((0b0110, 18 << 2 | 2), (0b0110, 2), (0b1010, 2)),
    ];
    for ((priority, traffic), core, small) in cases {
        for (to, expected) in
            [("10.64.0.1", core), ("fd00:64::1", core), ("10.65.0.1", small), ("fd00:65::1", small)]
        {
            let from = if to.contains(':') { "fd00:a1::9" } else { "10.1.0.9" };
            let packet = edited(udp_flow(from, to, (1, 2), 100), |p| {
                if p[0] >> 4 == 4 {
                    p[1] = traffic;
                } else {
                    (p[0], p[1]) = (0x60 | traffic >> 4, traffic << 4 | p[1] & 15);
                }
            });
            let frame = edited(A.frame(&packet), |f| f[14] = f[14] & 15 | priority << 4);
            rig.burst(SECOND, PortId(0), std::slice::from_ref(&frame));
            let sent = rig.take_sent(CORE);
            assert_eq!(marks(&sent[0]), expected, "{to}: {priority:#b} {traffic:#x}");
        }
    }
    // Marked in front of its destination's translation, too.
    let voice = of_class(&mut rig, "a-core", 0)(|class| class.sent_frames.get());
    assert_eq!(voice, 4);
    rig.check();
}

/// Each DSCP becomes each other one, in both families: the path's update of a checksum is a computation of it.
#[test]
fn every_mark_equals_a_naive_computation() {
    let policy = |dscp: u8| {
        format!("[[qos]]\nname = \"gold\"\n[[qos.class]]\nname = \"all\"\nmark_dscp = {dscp}\n")
    };
    let mut rig = Rig::new(&with(&[("a-core", QOS)], &policy(0)), memory_ports([512; 3]), 2048, 8);
    for new in 0..64 {
        commit(&mut rig, &with(&[("a-core", QOS)], &policy(new)));
        for [from, to] in [["10.1.0.9", "10.64.0.1"], ["fd00:a1::9", "fd00:64::1"]] {
            let frames: Vec<_> = (0..64_u8)
                .map(|old| {
                    let traffic = old << 2 | (old ^ new) & 3;
                    let ports = (u16::from(old) * 997, 7);
                    let packet = edited(udp_flow(from, to, ports, 60 + usize::from(old)), |p| {
                        if p[0] >> 4 == 4 {
                            (p[1], p[8]) = (traffic, 2 + old);
                        } else {
                            (p[0], p[1]) = (0x60 | traffic >> 4, traffic << 4 | old & 15);
                        }
                    });
                    A.frame(&packet)
                })
                .collect();
            rig.burst(SECOND, PortId(0), &frames);
            let sent = rig.take_sent(CORE);
            assert_eq!(sent.len(), 64);
            for (old, frame) in (0..64_u8).zip(&sent) {
                assert_eq!(marks(frame).1, new << 2 | (old ^ new) & 3, "{old} -> {new}, {to}");
            }
        }
    }
    rig.check();
}

#[test]
fn a_class_has_its_bandwidth() {
    let policy = r#"
[[qos]]
name = "gold"
[[qos.class]]
name = "voice"
dscp = ["ef"]
priority = "strict"
bandwidth = { rate = "8M", burst_octets = 20000 }
"#;
    let line = format!("{QOS}\nbandwidth = {{ tx = {{ rate = \"64k\", burst_octets = 30000 }} }}");
    let mut rig = Rig::new(&with(&[("a-core", &line)], policy), memory_ports([64; 3]), 512, 8);
    let frames = |dscp: u8| vec![numbered(A, "10.64.0.1", dscp, 7, 1000 - 18); 40];
    let pass = |rig: &mut Rig<MemoryPort>, at_ns: u64, dscp: u8| {
        rig.burst(at_ns, PortId(0), &frames(dscp));
        rig.take_sent(CORE).len()
    };
    assert_eq!(pass(&mut rig, SECOND, EF), 20, "the burst");
    assert_eq!(pass(&mut rig, SECOND, EF), 0);
    // What the class refused used up nothing of the VIF's.
    assert_eq!(pass(&mut rig, SECOND, 0), 10);
    assert_eq!(drops(&mut rig, "a", "class_bandwidth_exceeded"), 60);
    assert_eq!(drops(&mut rig, "a", "egress_bandwidth_exceeded"), 30);
    let policed = of_class(&mut rig, "a-core", 0)(|class| class.policed_octets.get());
    assert_eq!(policed, 60_000);
    rig.check();
}

/// What the classes refuse and what has no class are not mixed up where the burst goes several ways.
#[test]
fn bursts_of_many_ways_are_queued_too() {
    let text = with(&[("a-core", QOS), ("a", QOS)], POLICY);
    let mut rig = slow(&text, 256);
    let mut sent = 0;
    for at in 0..200 {
        let mut frames: Vec<_> = (0..20).map(|n| numbered(A, "10.64.0.1", EF, n, 200)).collect();
        // To another port, dropped, punted.
        frames.extend((0..5).map(|n| numbered(A2, "10.1.0.9", AF11, n, 200)));
        frames.push(A.frame(&udp_flow("172.16.0.1", "10.64.0.1", (1, 2), 60)));
        frames.push(
            A.frame(&with_options(udp_flow("10.1.0.9", "10.64.0.1", (1, 2), 60), &[7, 3, 4, 0])),
        );
        sent += turn(&mut rig, at, 10, &frames).len();
        rig.take_punted();
        rig.check();
    }
    assert_eq!(sent, 2_000);
    assert!(drops(&mut rig, "a", "class_queue_full") > 1_500);
}

fn backlogged() -> Rig<MemoryPort> {
    let mut rig = slow(&with(&[("a-core", QOS)], POLICY), 1024);
    let frames: Vec<_> = (0..64).map(|n| numbered(A, "10.64.0.1", AF11, n, 200)).collect();
    (0..6).for_each(|at| drop(turn(&mut rig, at, 0, &frames)));
    rig.check();
    assert!(rig.turn(2 * SECOND).waiting > 200);
    rig
}

fn commit(rig: &mut Rig<MemoryPort>, text: &str) {
    let config = parse(text);
    rig.engine.commit(&config, &facts(&config)).unwrap();
}

fn discarded(rig: &mut Rig<MemoryPort>) -> u64 {
    // Behind `voice`.
    of_class(rig, "a-core", 1)(|class| class.discarded_frames.get())
}

/// A port that is taken away takes what waited for it along: the next one of its id sends nothing of that.
#[test]
fn a_port_that_goes_takes_its_backlog_along() {
    let mut rig = backlogged();
    let waiting = rig.turn(2 * SECOND).waiting as u64;
    let port = rig.worker.detach(CORE, 3 * SECOND).unwrap();
    let on_ring = station::port::Port::held(&port);
    assert_eq!(rig.worker.missing_frames(), on_ring);
    assert_eq!(discarded(&mut rig), waiting);
    *rig.worker.port_mut(CORE).1.unwrap() = Some(MemoryPort::new(256));
    let one = [numbered(A, "10.64.0.1", EF, 9, 200)];
    rig.burst(4 * SECOND, PortId(0), &one);
    assert_eq!(rig.take_sent(CORE).len(), 1);
    assert_eq!(rig.turn(5 * SECOND).waiting, 0);
    assert_eq!(rig.worker.missing_frames(), on_ring);
}

/// Frames that wait for a VIF do not leave once its VLAN is another VIF's, or its port has no link.
#[test]
fn a_vif_that_goes_takes_its_backlog_along() {
    for renamed in [true, false] {
        let mut rig = backlogged();
        let waiting = rig.turn(2 * SECOND).waiting as u64;
        if renamed {
            let text = with(&[("a-core", QOS)], POLICY).replace("\"a-core\"", "\"other\"");
            commit(&mut rig, &text);
        } else {
            rig.engine.link_changed(CORE, false);
        }
        assert_eq!(rig.turn(3 * SECOND).waiting, 0);
        if !renamed {
            assert_eq!(discarded(&mut rig), waiting);
        }
        rig.check();
    }
}

/// A change that is none of a VIF's business, and one of its policy, keep what waits; without a policy on its port it leaves.
#[test]
fn changes_of_policies_lose_nothing() {
    let mut rig = backlogged();
    let waiting = rig.turn(2 * SECOND).waiting;
    let text = with(&[("a-core", &format!("{QOS}\nmtu = 1400"))], POLICY);
    commit(&mut rig, &text.replace("weight = 3", "weight = 9"));
    assert_eq!(rig.turn(3 * SECOND).waiting, waiting);
    for (text, more) in [(with(&[("b-s", QOS)], POLICY), true), (CONFIG.to_owned(), false)] {
        commit(&mut rig, &text);
        assert_eq!(rig.turn(4 * SECOND).waiting, 0);
        rig.check();
        if more {
            let sent = turn(&mut rig, 9, 10_000, &[]);
            assert!(sent.len() >= waiting, "{} of {waiting}", sent.len());
            assert!(
                sent.windows(2).all(|two| read(&two[0]).1 % 64 != read(&two[1]).1 || two.len() < 2)
            );
        }
    }
    assert_eq!(rig.turn(5 * SECOND).waiting, 0);
}

/// Ports that refuse frames at random: each is sent once, or counted.
#[test]
fn a_port_that_refuses_loses_nothing_that_waits() {
    let text = with(&[("a-core", QOS), ("b-core", QOS), ("a", QOS)], POLICY);
    let ports = (1..4).map(|seed| FaultPort::new(seed, 30)).collect();
    let mut rig: Rig<FaultPort> = Rig::new(&text, ports, 1024, 8);
    let mut offered = 0;
    for at in 0..5_000 {
        let port = rig.worker.port_mut(PortId(0)).1.unwrap().as_mut().unwrap();
        if at < 4_000 && port.waiting.len() < 200 {
            for (n, dscp) in [(0, EF), (1, AF11), (2, 0), (3, AF21)] {
                let from = if n == 2 { B } else { A };
                port.waiting.push_back(numbered(from, "10.64.0.1", dscp, at << 2 | n, 200));
                offered += 1;
            }
        }
        rig.turn(SECOND + at * TURN);
        assert_eq!(rig.worker.missing_frames(), 0);
    }
    rig.check();
    let [a, b] = ["a", "b"].map(|vif| rig.engine.vif(vif).unwrap());
    let forwarded: u64 = [a, b].map(|id| rig.counters.vif(id).forwarded.get()).iter().sum();
    let port = rig.worker.port_mut(CORE).1.unwrap().as_mut().unwrap();
    let mut numbers: Vec<u64> = port.sent.iter().map(|frame| read(frame).1).collect();
    assert_eq!(numbers.len() as u64, forwarded);
    numbers.sort_unstable();
    assert!(numbers.windows(2).all(|two| two[0] < two[1]), "a frame was sent twice");
    assert!(forwarded > offered / 2 && port.refused > 1_000, "{forwarded} of {offered}");
}

/// Packets that lie in several frames wait as any other, take as much of the backlog as of memory, and leave whole.
#[test]
fn jumbo_packets_wait_whole() {
    let mtu = format!("mtu = 9001\n{QOS}");
    let mut rig = slow(&with(&[("a", "mtu = 9001"), ("a-core", &mtu)], POLICY), 64);
    let (mut offered, mut left) = (0, Vec::new());
    for number in 0..40 {
        let (bulk, voice) = (2 * number, 2 * number + 1);
        let frames = [(AF11, bulk, 9001), (EF, voice, 5000)]
            .map(|(dscp, number, octets)| numbered(A, "10.64.0.1", dscp, number, octets));
        offered += frames.len();
        left.extend(turn(&mut rig, number, usize::from(number % 4 == 0), &frames));
        assert_eq!(rig.worker.missing_frames(), 0);
    }
    for number in 40..200 {
        left.extend(turn(&mut rig, number, 8, &[]));
        assert_eq!(rig.worker.missing_frames(), 0);
    }
    let lost = drops(&mut rig, "a", "class_queue_full") as usize;
    assert_eq!(left.len() + lost, offered);
    assert!(lost > 10 && left.len() > 10, "{lost} lost, {} left", left.len());
    for frame in &left {
        let (dscp, number) = read(frame);
        let octets = if dscp == EF { 5000 } else { 9001 };
        assert_eq!((frame.len(), number % 2 == 1), (octets + 18, dscp == EF));
    }
    rig.check();
}
