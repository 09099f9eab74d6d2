//! `scripts/bench acl`: access lists beside a scan of their rules and DPDK's rte_acl, in one process, taking turns.
//!
//! IPv4 packets near to what the rules name: each is drawn from a rule, its addresses and ports within the rule's, and a
//! third of it put beside that. All find the same rules, or it fails.

#[path = "../../../src/acl/mod.rs"]
#[allow(dead_code, unused_imports)]
mod acl;
#[path = "../../path/src/callgrind.rs"]
mod callgrind;
#[path = "../../../src/cpu/mod.rs"]
#[allow(dead_code, unused_imports)]
mod cpu;
#[cfg(dpdk)]
mod dpdk;
mod lists;
#[path = "../../../src/wire/mod.rs"]
#[allow(dead_code, unused_imports)]
mod wire;

use std::hint::black_box;
use std::time::Instant;

use acl::{Addresses, Classifier, Fields, Packets, Rule, Upper, first_match};
use cpu::eights::{EightWork, Eights, in_eights};
use ipnet::IpNet;
use lists::Rules;

/// Packets before they come again, and those that are classified together.
const PACKETS: usize = 1 << 14;
const BURST: usize = 64;
/// Rounds, of which the median counts.
const ROUNDS: usize = 15;

struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, n: u64) -> u64 {
        (u128::from(self.next()) * u128::from(n) >> 64) as u64
    }
}

fn packets(rules: &[Rule], random: &mut Random) -> Vec<Fields> {
    let mut packet = || {
        let rule = &rules[random.below(rules.len() as u64) as usize];
        let mut near = |net: Option<IpNet>| {
            let (first, bits) = match net {
                Some(IpNet::V4(net)) => (net.network().to_bits(), u32::from(net.prefix_len())),
                _ => (0, 0),
            };
            let low = if bits == 32 { 0 } else { random.next() as u32 >> bits };
            let beside = random.below(3) == 0;
            first | low ^ u32::from(beside) << random.below(32)
        };
        let (source, destination) = (near(rule.source), near(rule.destination));
        let mut port = |span: acl::Span| {
            let within = random.below(u64::from(span.last - span.first) + 1) as u16 + span.first;
            if random.below(6) == 0 { within ^ 1 << random.below(16) } else { within }
        };
        let (first, second) = (port(rule.source_ports), port(rule.destination_ports));
        Fields {
            addresses: Addresses::V4 { source, destination },
            protocol: rule.protocol.unwrap_or(6),
            upper: Some(Upper { first, second, flags: 0x10 }),
        }
    };
    (0..PACKETS).map(|_| packet()).collect()
}

/// The packets in columns, as a burst has them.
struct Columns([Vec<u32>; 5]);

impl Columns {
    fn new(packets: &[Fields]) -> Columns {
        let mut columns = [const { Vec::new() }; 5];
        for packet in packets {
            let Addresses::V4 { source, destination } = packet.addresses else { continue };
            let upper = packet.upper.unwrap_or_default();
            let kind = acl::kind(packet.protocol.into(), upper.flags.into());
            let all = [source, destination, upper.first.into(), upper.second.into(), kind];
            columns.iter_mut().zip(all).for_each(|(column, number)| column.push(number));
        }
        Columns(columns)
    }
}

/// All packets, eight at a time.
struct Ours<'a>(&'a Classifier, &'a Columns);

impl EightWork for Ours<'_> {
    type Answer = u64;

    #[inline(always)]
    fn run<E: Eights>(self, e: E) -> u64 {
        let Ours(classifier, Columns([sources, destinations, first, second, kinds])) = self;
        let packets = Packets { sources, destinations, first, second, kinds };
        let mut sum = 0;
        for from in (0..PACKETS).step_by(8) {
            for rule in classifier.find_eight(e, &packets, from) {
                sum += u64::from(rule);
            }
        }
        sum
    }
}

#[inline(never)]
fn ours(classifier: &Classifier, packets: &Columns) -> u64 {
    in_eights(Ours(classifier, packets))
}

#[inline(never)]
fn scan(rules: &[Rule], packets: &[Fields]) -> u64 {
    packets.iter().map(|packet| first_match(rules, packet).unwrap_or(rules.len()) as u64).sum()
}

fn ns(packets: usize, run: impl FnOnce() -> u64) -> f64 {
    let start = Instant::now();
    black_box(run());
    start.elapsed().as_secs_f64() * 1e9 / packets as f64
}

fn median(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    times.get(times.len() / 2).copied().unwrap_or(f64::NAN)
}

fn list(kind: Rules, count: usize) -> Vec<Rule> {
    let nets = [(0x0a00_0000, 8), (0xc0a8_0000, 16), (0, 0)];
    let texts = lists::rules(kind, count, &nets, &nets);
    // rte_acl as it is set up here does not look at flags.
    let rules = texts.iter().map(|text| text.trim_end_matches(" established").parse());
    rules.map(|rule| rule.unwrap_or_else(|error| panic!("{error:?}"))).collect()
}

fn main() {
    let only_count = std::env::args().any(|arg| arg == "--count");
    #[cfg(dpdk)]
    let dpdk = !only_count && dpdk::start();
    println!(
        "{:<20} {:>6}  {:<8} {:>10} {:>9}  {:>8} {:>9} {:>12} {:>11}  {:>10} {:>9}",
        "rules", "", "", "build ms", "MiB", "ns", "scan", "rte scalar", "rte vector", "rte ms", "rte MiB"
    );
    for kind in [Rules::Real, Rules::Cross, Rules::Halves, Rules::Ranges] {
        for count in [1, 10, 100, 1_000, 10_000] {
            let rules = list(kind, count);
            let began = Instant::now();
            let classifier = Classifier::new(&rules);
            let build = began.elapsed().as_secs_f64() * 1e3;
            let packets = packets(&rules, &mut Random(count as u64 | 1));
            for packet in &packets[..1024] {
                let found = first_match(&rules, packet).unwrap_or(rules.len());
                assert_eq!(classifier.find(packet), found, "{packet:?}");
            }
            let columns = Columns::new(&packets);
            if only_count {
                let name = format!("{} {count}", kind.name());
                let name = std::ffi::CString::new(name).unwrap_or_default();
                callgrind::count(&name, || {
                    black_box(ours(&classifier, &columns));
                });
                continue;
            }
            let some = &packets[..(PACKETS * 16 / count.max(16)).clamp(BURST, PACKETS)];
            let mut times = [const { Vec::new() }; 4];
            #[cfg(dpdk)]
            let rival = dpdk.then(|| dpdk::Acl::new(&rules)).flatten();
            #[cfg(dpdk)]
            let theirs = dpdk::packets(&packets);
            #[cfg(dpdk)]
            if let Some(rival) = &rival {
                rival.check(&classifier, &packets, &theirs);
            }
            for _ in 0..ROUNDS {
                times[0].push(ns(PACKETS, || ours(&classifier, &columns)));
                times[1].push(ns(some.len(), || scan(&rules, some)));
                #[cfg(dpdk)]
                if let Some(rival) = &rival {
                    times[2].push(ns(PACKETS, || rival.find(&theirs, true)));
                    times[3].push(ns(PACKETS, || rival.find(&theirs, false)));
                }
            }
            let [ns, scan, scalar, vector] = times.map(median);
            #[cfg(dpdk)]
            let (rte_ms, rte_mib) = rival.map_or((f64::NAN, f64::NAN), |rival| (rival.build_ms, rival.mib));
            #[cfg(not(dpdk))]
            let (rte_ms, rte_mib) = (f64::NAN, f64::NAN);
            println!(
                "{:<20} {count:>6}  {:<8} {build:>10.1} {:>9.2}  {ns:>8.1} {scan:>9.1} {scalar:>12.1} {vector:>11.1}  {rte_ms:>10.1} {rte_mib:>9.2}",
                kind.name(), classifier.kind().name(), classifier.bytes() as f64 / f64::from(1 << 20)
            );
        }
    }
}
