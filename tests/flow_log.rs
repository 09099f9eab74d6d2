//! Flow logs: what the records of a worker say, against its counters.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::cast_possible_truncation)]

mod common;

use std::collections::HashMap;
use std::sync::Arc;

use common::packets::{
    arp, edited, packet, ping, seal, udp, udp_flow, with_extension, with_options,
};
use common::rig::{Random, Rig};
use common::{A, A_CORE, B, B_CORE, CONFIG, Host, P1, SECOND, facts, parse};
use station::ipfix::Names;
use station::port::memory::MemoryPort;
use station::tables::{DropReason, PortId, PuntReason, Verdict, VifId};
use station::wire::ethernet::Mac;
use station::worker::flows::{EndReason, Family, Flow, FlowChannel, Flows, NO_VIF};
use station::worker::handoff::Label;

const MS: u64 = SECOND / 1000;
const ACTIVE: u64 = 60 * SECOND;
const IDLE: u64 = 15 * SECOND;

/// A worker whose flows are logged.
struct Logged {
    rig: Rig<MemoryPort>,
    channel: Arc<FlowChannel>,
    now: u64,
    random: Random,
}

/// The configuration, in which these VIFs log.
fn config(logs: &[(&str, u16)]) -> String {
    let mut text = CONFIG.to_owned();
    for (vif, interval) in logs {
        let name = format!("name = \"{vif}\"\nport");
        assert!(text.contains(&name), "{vif}");
        text = text.replacen(
            &name,
            &format!("name = \"{vif}\"\nflow_log = \"1:{interval}\"\nport"),
            1,
        );
    }
    text + "\n[flow_log]\ncollectors = [\"udp://192.0.2.1:4739\"]\n"
}

impl Logged {
    fn new(logs: &[(&str, u16)], most: usize, rings: [usize; 3]) -> Logged {
        let ports = rings.into_iter().map(MemoryPort::new).collect();
        let mut rig = Rig::new(&config(logs), ports, 1024, 64);
        let vifs = rig.counters.vifs().len();
        let channel = Arc::new(FlowChannel::new(vifs));
        channel.set_timeouts(ACTIVE, IDLE);
        let seed = std::array::from_fn(|n| 0x9e37_79b9_7f4a_7c15_u64.rotate_left(n as u32 * 7));
        let flows = Flows::new(most, vifs, channel.clone(), seed);
        assert!(rig.worker.exchange_flows(Some(Box::new(flows))).is_none());
        let mut logged = Logged { rig, channel, now: SECOND, random: Random(0xf10) };
        logged.wait(0);
        logged
    }

    /// Bursts of these frames, by port.
    fn send(&mut self, frames: &[(Host, Vec<u8>)]) {
        for port in ["cust0", "cust1", "core0"] {
            let id = self.rig.engine.port(port).unwrap();
            let own: Vec<_> = frames
                .iter()
                .filter(|(host, _)| host.port == port)
                .map(|(_, f)| f.clone())
                .collect();
            for burst in own.chunks(48) {
                self.now += MS;
                self.rig.burst(self.now, id, burst);
                self.take_sent();
            }
        }
    }

    fn take_sent(&mut self) {
        (0..3).for_each(|port| drop(self.rig.take_sent(PortId(port))));
        self.rig.take_punted();
    }

    /// Time passes, in which the worker looks around.
    fn wait(&mut self, ns: u64) {
        for _ in 0..ns / (10 * MS) + 1 {
            self.now += 10 * MS;
            self.rig.turn(self.now);
        }
    }

    /// The records so far.
    fn records(&self) -> Vec<Flow> {
        std::iter::from_fn(|| self.channel.receive()).collect()
    }

    /// All records, and the end of what is logged.
    fn end(&mut self) -> Vec<Flow> {
        let mut all = self.records();
        all.extend(self.rig.worker.exchange_flows(None).unwrap().end());
        all
    }

    fn vif(&self, name: &str) -> VifId {
        self.rig.engine.vif(name).unwrap()
    }

    fn interval(&self, name: &str) -> u64 {
        self.channel.vif(self.vif(name)).unwrap().effective.get()
    }
}

/// A frame of mixed traffic of tenants a, b and the public VRF.
fn mixed(random: &mut Random) -> (Host, Vec<u8>) {
    let ways: [(Host, &str, &str); 7] = [
        (A, "10.1.0.9", "10.64.0.1"),
        (A_CORE, "10.64.0.1", "10.1.0.9"),
        (B, "10.1.0.9", "10.200.0.1"),
        (B_CORE, "10.64.0.1", "10.1.0.9"),
        (P1, "198.51.100.9", "8.8.8.8"),
        (A, "172.16.0.1", "10.64.0.1"),
        (A, "10.1.0.9", "169.254.100.1"),
    ];
    let (from, source, destination) = ways[random.below(ways.len())];
    let ports = (1000 + random.below(20) as u16, 53);
    let mut packet = udp_flow(source, destination, ports, 28 + random.below(1400));
    match random.below(24) {
        0 => packet[10] ^= 0x55, // the checksum
        1 => packet[0] = 0x65,
        2 => packet = with_options(packet, &[1, 1, 1, 1]),
        3 => packet = ping(source, destination),
        4 => packet = edited(packet, |p| p[9] = 6),
        5 => packet = edited(packet, |p| p[7] = 9), // a later fragment
        6 => packet[2] = 0x50,
        7 => packet = arp(1, (from.mac, "169.254.100.2"), (Mac::default(), "169.254.100.1")),
        8 => packet.truncate(1 + random.below(packet.len() - 1)),
        _ => {}
    }
    let mut frame = from.frame(&packet);
    if random.below(20) == 0 {
        frame = from.frame_to(Mac::BROADCAST, &packet);
    }
    (from, frame)
}

/// Sums of records by a key.
fn sums<K: Eq + std::hash::Hash>(
    flows: &[Flow],
    key: impl Fn(&Flow) -> Option<K>,
) -> HashMap<K, [u64; 3]> {
    let mut sums: HashMap<K, [u64; 3]> = HashMap::new();
    for flow in flows {
        if let Some(key) = key(flow) {
            let sum = sums.entry(key).or_default();
            for (sum, n) in sum.iter_mut().zip([
                flow.counts.packets,
                flow.counts.rx_octets,
                flow.counts.tx_octets,
            ]) {
                *sum += n;
            }
        }
    }
    sums
}

/// At 1:1 the records of each VIF add up to its counters, exactly: frames and octets received and sent, each reason of
/// drops and punts; full rings and queues among them, and what the station itself sends.
#[test]
fn records_add_up_to_the_counters() {
    let logging = ["a", "a-core", "b", "p1"];
    let mut logged = Logged::new(&logging.map(|vif| (vif, 1)), 65_536, [64, 64, 12]);
    let core = logged.vif("a-core");
    for round in 0..400 {
        let frames: Vec<_> = (0..90).map(|_| mixed(&mut logged.random)).collect();
        logged.send(&frames);
        if round % 7 == 0 {
            let frame = A_CORE.receives(&packet("10.1.0.9", "10.64.0.1"));
            assert!(logged.rig.handoffs.injected.send(Label::to_port(PortId(2), core), &frame[..]));
        }
    }
    logged.wait(0);
    let flows = logged.end();
    let of = |vif: u16| (vif != NO_VIF).then_some(vif);
    let received = sums(&flows, |flow| of(flow.key.from));
    let sent = sums(&flows, |flow| of(flow.key.to));
    let drops = sums(&flows, |flow| Some((flow.key.from, flow.key.verdict().to_string())));
    for vif in logging {
        let id = logged.vif(vif);
        let counters = logged.rig.counters.vif(id);
        let [frames, octets, _] = received.get(&id.0).copied().unwrap_or_default();
        assert_eq!((frames, octets), (counters.rx_frames.get(), counters.rx_octets.get()), "{vif}");
        let [frames, _, octets] = sent.get(&id.0).copied().unwrap_or_default();
        assert_eq!((frames, octets), (counters.tx_frames.get(), counters.tx_octets.get()), "{vif}");
        let count =
            |verdict: Verdict| drops.get(&(id.0, verdict.to_string())).map_or(0, |sum| sum[0]);
        for &reason in DropReason::ALL {
            let counted = counters.rare.drops[reason.index()].get();
            assert_eq!(count(Verdict::Drop(reason)), counted, "{vif} {}", reason.name());
        }
        for &reason in PuntReason::ALL {
            let counted = counters.rare.punted[reason.index()].get();
            assert_eq!(count(Verdict::Punt(reason)), counted, "{vif} {}", reason.name());
        }
    }
    for reason in [DropReason::TxFull, DropReason::SpoofedSource, DropReason::BadChecksum] {
        let verdict = Verdict::Drop(reason).to_string();
        assert!(drops.keys().any(|(_, met)| *met == verdict), "{verdict}");
    }
    // Who does not log is only in records of those that do.
    let [a_core, b_core] = ["a-core", "b-core"].map(|vif| logged.vif(vif).0);
    let silent = flows.iter().filter(|flow| flow.key.from == b_core);
    assert!(silent.clone().all(|flow| flow.key.to == logged.vif("b").0) && silent.count() > 0);
    assert!(flows.iter().any(|flow| (flow.key.from, flow.key.to) == (NO_VIF, a_core)));
    logged.rig.check();
}

/// What a record says of its packets.
#[test]
fn a_record_says_what_its_packets_are() {
    let mut logged = Logged::new(&[("a", 1)], 1024, [64; 3]);
    let tcp = edited(udp_flow("10.1.0.9", "10.64.0.1", (4000, 443), 60), |p| {
        (p[1], p[9], p[33]) = (0x28, 6, 0x02);
    });
    let ack = edited(tcp.clone(), |p| p[33] = 0x10);
    let v6 = udp_flow("fd00:1::9", "fd00:64::1", (5000, 53), 80);
    let extended = with_extension(v6.clone(), 60, &[0; 6]);
    let echo = ping("10.1.0.9", "10.64.0.1");
    let frames: Vec<_> = [&tcp, &ack, &ack, &v6, &extended, &echo].map(|p| (A, A.frame(p))).into();
    logged.send(&frames);
    let arp = arp(1, (A.mac, "169.254.100.2"), (Mac::default(), "169.254.100.1"));
    logged.send(&[(A, A.frame_to(Mac::BROADCAST, &arp))]);
    let flows = logged.end();
    let find = |protocol, family| {
        let mut found =
            flows.iter().filter(|f| (f.key.protocol, f.key.family) == (protocol, family));
        (found.next().copied().unwrap(), found.count())
    };
    let (flow, others) = find(6, Family::V4);
    assert_eq!(others, 0);
    assert_eq!((flow.counts.packets, flow.counts.flags, flow.counts.class), (3, 0x12, 0x28));
    assert_eq!((flow.key.ports, flow.counts.ip_octets), (4000 << 16 | 443, 180));
    assert_eq!((flow.key.source, flow.key.destination), (0x0a01_0009, 0x0a40_0001));
    assert_eq!((flow.counts.rx_octets, flow.counts.tx_octets), (3 * 78, 3 * 78));
    let (flow, others) = find(17, Family::V6);
    assert_eq!(
        (flow.counts.packets, others, flow.key.ports),
        (2, 0, 5000 << 16 | 53),
        "extension headers or not"
    );
    let (flow, _) = find(1, Family::V4);
    assert_eq!(flow.key.ports, 8 << 8, "an echo request");
    let (flow, _) = find(0, Family::Other);
    assert_eq!((flow.key.ports, flow.key.verdict()), (0x0806, Verdict::Punt(PuntReason::Arp)));
    assert_eq!(flow.key.to, NO_VIF);
}

/// Of one in 64, so many are logged that the sum is within three standard deviations; who came by one VIF and leaves by
/// another is logged at the finer of both rates, and once.
#[test]
fn samples_are_fair() {
    const FRAMES: u64 = 192_000;
    for (logs, interval) in [
        (&[("a", 64)][..], 64),
        (&[("a-core", 64)], 64),
        (&[("a", 512), ("a-core", 64)], 64),
        (&[("a", 1000)], 1000),
        (&[("a", 2), ("a-core", 4096)], 2),
    ] {
        let mut logged = Logged::new(logs, 4096, [64; 3]);
        let frames = vec![(A, A.frame(&udp("10.1.0.9", "10.64.0.1", 60))); 48];
        (0..FRAMES / 48).for_each(|_| logged.send(&frames));
        let flows = logged.end();
        assert!(flows.iter().all(|flow| u64::from(flow.key.interval) == interval), "{logs:?}");
        let sampled: u64 = flows.iter().map(|flow| flow.counts.packets).sum();
        let p = 1.0 / interval as f64;
        let expected = FRAMES as f64 * p;
        let deviation = (FRAMES as f64 * p * (1.0 - p)).sqrt();
        let off = (sampled as f64 - expected).abs() / deviation;
        assert!(off < 3.0, "{logs:?}: {sampled} of {expected:.0}, {off:.1} standard deviations");
    }
}

/// A VIF that floods with ever new flows is logged at coarser rates, in its share of the table. Another's flow goes on,
/// and the flood is told as far as there was room: what was not is counted.
#[test]
fn a_flood_of_flows_takes_its_share() {
    let mut logged = Logged::new(&[("a", 1), ("b", 1)], 4096, [64; 3]);
    let of_b = (B, B.frame(&udp("10.1.0.9", "10.200.0.1", 60)));
    let (mut flood, mut records) = (0, Vec::new());
    for round in 0..4000_u32 {
        let mut frames: Vec<_> = (0..40)
            .map(|n| {
                let ports = (round as u16, n);
                (A, A.frame(&udp_flow("10.1.0.9", "10.64.0.1", ports, 60)))
            })
            .collect();
        flood += frames.len() as u64;
        frames.push(of_b.clone());
        logged.send(&frames);
        records.extend(logged.records());
        let active = |vif: &str| logged.channel.vif(logged.vif(vif)).unwrap().active.get();
        assert!(active("a") <= 7 * 1024 / 4 && active("b") <= 1, "round {round}");
    }
    assert!(logged.interval("a") >= 4, "1:{}", logged.interval("a"));
    assert_eq!(logged.interval("b"), 1);
    let [a, b] = ["a", "b"].map(|vif| logged.vif(vif));
    let unlogged = |logged: &Logged, vif| logged.channel.vif(vif).unwrap().unlogged_frames.get();
    let (lost_a, lost_b) = (unlogged(&logged, a), unlogged(&logged, b));
    logged.wait(30 * SECOND);
    assert_eq!(logged.interval("a"), 1, "after the flood");
    records.extend(logged.end());
    let of = |vif: VifId| records.iter().filter(move |flow| flow.key.from == vif.0);
    assert_eq!((of(b).map(|flow| flow.counts.packets).sum::<u64>(), lost_b), (4000, 0));
    let told: u64 = of(a).map(|flow| flow.counts.packets * u64::from(flow.key.interval)).sum();
    let sampled: u64 = of(a).map(|flow| flow.counts.packets).sum();
    assert!(sampled > 1000, "{sampled}");
    // Where there was no room nothing is told of at all.
    assert!(
        told.abs_diff(flood) < flood / 10 + lost_a * 64,
        "{told} of {flood}, {lost_a} unlogged"
    );
    logged.rig.check();
}

/// When flows end, and why.
#[test]
fn flows_end_in_time() {
    let mut logged = Logged::new(&[("a", 1)], 1024, [64; 3]);
    let short = (A, A.frame(&udp_flow("10.1.0.9", "10.64.0.1", (1, 1), 60)));
    let long = (A, A.frame(&udp_flow("10.1.0.9", "10.64.0.1", (2, 2), 60)));
    let fin = edited(udp_flow("10.1.0.9", "10.64.0.1", (3, 3), 60), |p| (p[9], p[33]) = (6, 0x11));
    logged.send(&[short, (A, A.frame(&fin))]);
    let mut ends = Vec::new();
    for second in 0..130 {
        logged.send(std::slice::from_ref(&long));
        logged.wait(SECOND - 20 * MS);
        ends.extend(
            logged.records().iter().map(|flow| (flow.key.ports & 0xffff, flow.end, second)),
        );
    }
    let of = |port: u32| ends.iter().filter(move |end| end.0 == port).map(|end| (end.1, end.2));
    let near = |(end, second): (EndReason, i32), reason, at| {
        assert!(end == reason && (at..=at + 2).contains(&second), "{end:?} after {second} s");
    };
    near(of(1).next().unwrap(), EndReason::Idle, 15);
    near(of(3).next().unwrap(), EndReason::Ended, 2);
    let long: Vec<_> = of(2).collect();
    near(long[0], EndReason::Active, 60);
    near(long[1], EndReason::Active, 121);
}

/// With another configuration flows end: an id may be another VIF's. What is not logged any more is not.
#[test]
fn a_configuration_ends_flows() {
    let mut logged = Logged::new(&[("a", 1)], 1024, [64; 3]);
    let frame = (A, A.frame(&udp("10.1.0.9", "10.64.0.1", 60)));
    logged.send(&vec![frame.clone(); 10]);
    let before = logged.rig.engine.tables().flow_log.clone().unwrap().epoch;
    let other = parse(&config(&[("a", 1), ("b", 3)]));
    logged.rig.engine.commit(&other, &facts(&other)).unwrap();
    logged.send(&vec![frame.clone(); 5]);
    logged.wait(2 * SECOND);
    let flows = logged.records();
    assert_eq!(flows.len(), 1);
    assert_eq!(
        (flows[0].counts.packets, flows[0].end, flows[0].key.epoch),
        (10, EndReason::Forced, before)
    );
    let none = parse(&config(&[]));
    logged.rig.engine.commit(&none, &facts(&none)).unwrap();
    logged.send(&vec![frame; 7]);
    logged.wait(2 * SECOND);
    let flows = logged.end();
    assert_eq!(flows.iter().map(|flow| flow.counts.packets).collect::<Vec<_>>(), [5]);
}

/// A VIF's number is its name's: another VIF with the same id has another, and the name's own comes back with it.
#[test]
fn numbers_are_never_used_again() {
    let mut logged = Logged::new(&[("a", 1)], 1024, [64; 3]);
    let mut names = Names::default();
    let mut number = |logged: &mut Logged, text: &str, vif: &str| {
        let config = parse(text);
        logged.rig.engine.commit(&config, &facts(&config)).unwrap();
        let interfaces = names.follow(logged.rig.engine.tables());
        let id = logged.vif(vif);
        (id, interfaces[id.index()].vif)
    };
    let without = config(&[]);
    let with = |name: &str| {
        let vif = "port = \"core0\"\nvlan = 1999\nvrf = \"vpc-a\"\naddresses = [\"10.99.0.1/30\"]";
        format!("{without}\n[[vif]]\nname = \"{name}\"\n{vif}\n")
    };
    let (text, renamed) = (with("p2x"), with("p3x"));
    let (id, first) = number(&mut logged, &text, "p2x");
    number(&mut logged, &without, "a");
    let (other, second) = number(&mut logged, &renamed, "p3x");
    assert!(other == id && second > first, "{id:?} {other:?}, {first} {second}");
    assert_eq!(number(&mut logged, &text, "p2x").1, first);
}

/// A worker that is busy all the time logs less; one that has time again logs as it is configured.
#[test]
fn a_busy_worker_logs_less() {
    let mut logged = Logged::new(&[("a", 1), ("b", 100)], 1024, [64; 3]);
    let busy = |logged: &mut Logged, percent: u64, looks: u64| {
        for _ in 0..looks {
            logged.rig.counters.work.busy_ns.add(percent * MS);
            logged.now += 100 * MS;
            let now = logged.now;
            logged.rig.turn(now);
        }
    };
    busy(&mut logged, 89, 20);
    assert_eq!((logged.interval("a"), logged.interval("b")), (1, 100));
    busy(&mut logged, 95, 3);
    assert_eq!((logged.interval("a"), logged.interval("b")), (2, 200));
    busy(&mut logged, 95, 60);
    assert_eq!((logged.interval("a"), logged.interval("b")), (64, 6400));
    busy(&mut logged, 80, 10);
    assert_eq!(logged.interval("a"), 64, "neither busy nor idle");
    busy(&mut logged, 10, 6);
    assert_eq!((logged.interval("a"), logged.interval("b")), (1, 100));
}

/// Where nobody takes records the table fills up, and what it has no room for is counted.
#[test]
fn nothing_is_lost_unaccounted() {
    let mut logged = Logged::new(&[("a", 1)], 1024, [64; 3]);
    let mut sent = 0;
    for round in 0..2000_u16 {
        let frame = |n: u16| A.frame(&udp_flow("10.1.0.9", "10.64.0.1", (round, n), 60));
        let frames: Vec<_> = (0..40).map(|n| (A, frame(n))).collect();
        sent += 40;
        logged.send(&frames);
    }
    let a = logged.vif("a");
    assert_eq!(logged.rig.counters.vif(a).forwarded.get(), sent, "forwarding goes on");
    let vif = logged.channel.clone();
    let vif = vif.vif(a).unwrap();
    let (unlogged, octets) = (vif.unlogged_frames.get(), vif.unlogged_octets.get());
    assert_eq!(octets, 78 * unlogged);
    assert!(unlogged > 100, "{unlogged}");
    let told: u64 = logged.end().iter().map(|flow| flow.counts.packets).sum();
    assert!(told + unlogged < sent, "logged at coarser rates");
}

#[test]
fn damaged_packets_are_told_as_far_as_they_go() {
    let mut logged = Logged::new(&[("a", 1)], 4096, [64; 3]);
    for len in 1..60 {
        let mut packet = udp_flow("10.1.0.9", "10.64.0.1", (7, 9), 60);
        packet.truncate(len);
        logged.send(&[(A, A.frame(&packet))]);
        let mut sealed = udp_flow("10.1.0.9", "10.64.0.1", (7, 9), 60);
        sealed[0] = 0x40 | (len as u8 & 0xf);
        seal(&mut sealed);
        logged.send(&[(A, A.frame(&sealed))]);
    }
    let flows = logged.end();
    let packets: u64 = flows.iter().map(|flow| flow.counts.packets).sum();
    assert_eq!(packets, logged.rig.counters.vif(logged.vif("a")).rx_frames.get());
    // Addresses are the packet's own, or none.
    let own = |flow: &Flow| matches!(flow.key.source, 0 | 0x0a01_0009);
    assert!(flows.iter().all(own));
}
