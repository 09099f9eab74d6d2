//! The day's changes, one by one and visible to readers each, and what they do to lookups beside them.

use crate::cases::median;
use crate::data::{Family, Route};
use crate::fib::Fib;
use crate::memory::Stopwatch;
use crate::report::Report;
use crate::{Options, memory, ours};
use ipnet::IpNet;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Parts of the day.
const PARTS: usize = 16;

pub fn run(family: &Family, options: &Options, report: &mut Report) {
    let (mut fib, _) = ours::build(family);
    let changes = ours::changes(&family.updates, family.bits);
    let apply = |fib: &mut Fib, i: usize| {
        apply(fib, &changes[i]);
        // As the station does: what the workers have left behind is freed now and then.
        if i.is_multiple_of(1024) {
            fib.reclaim(i as u64, i as u64 - u64::from(i > 0));
        }
    };
    report.rib.push((
        family.name,
        (fib.stats().v4.rib_bytes + fib.stats().v6.rib_bytes) as f64 / 1048576.0,
    ));
    // Part by part in turns, so that what slows a shared machine for seconds slows all.
    let mut seconds: Vec<(&'static str, Vec<f64>)> = Vec::new();
    let part = changes.len().div_ceil(PARTS);
    for from in (0..changes.len()).step_by(part) {
        let to = (from + part).min(changes.len());
        let start = Stopwatch::start();
        (from..to).for_each(|i| apply(&mut fib, i));
        let mut times = vec![("station", start.seconds())];
        if !options.only_ours {
            #[cfg(dpdk)]
            crate::dpdk::update(family.bits, &family.updates[from..to], |name, update| {
                let start = Stopwatch::start();
                update();
                times.push((name, start.seconds()));
            });
        }
        for (name, time) in times {
            match seconds.iter_mut().find(|(known, _)| *known == name) {
                Some((_, all)) => all.push(time),
                None => seconds.push((name, vec![time])),
            }
        }
    }
    for (name, times) in &seconds {
        let rate = changes.len() as f64 / times.iter().sum::<f64>();
        let to_ours = times.iter().zip(&seconds[0].1).map(|(time, ours)| time / ours);
        let ratio = median(to_ours.collect());
        println!(
            "  {name}: {:.2} M changes/s one by one; the station is {ratio:.2} times as fast",
            rate / 1e6
        );
        report.set_updates(name, family.name, rate);
        if *name != "station" {
            report.updates_to.push((family.name, name, ratio));
        }
    }
    let (mut fib, _) = ours::build(family);
    let mut nanos: Vec<u64> = (0..changes.len())
        .map(|i| {
            let start = Stopwatch::start();
            apply(&mut fib, i);
            (start.seconds() * 1e9) as u64
        })
        .collect();
    nanos.sort_unstable();
    let at = |q: f64| nanos[((nanos.len() - 1) as f64 * q) as usize] as f64 / 1e3;
    println!(
        "  one by one, us: p50 {:.2} p99 {:.2} p99.9 {:.2} max {:.1}; retired {} KiB",
        at(0.5),
        at(0.99),
        at(0.999),
        at(1.0),
        fib.stats().retired_bytes >> 10
    );
    report.latency.push((family.name, [at(0.5), at(0.99), at(0.999), at(1.0)]));
    let start = Stopwatch::start();
    for batch in changes.chunks(1000) {
        fib.apply(0, batch).unwrap();
        fib.reclaim(u64::MAX, u64::MAX);
    }
    let batched = changes.len() as f64 / start.seconds();
    println!("  in batches of 1000: {:.2} M/s", batched / 1e6);
    report.batched.push((family.name, batched));
    short_prefixes(family, report);
    slowdown(family, report);
}

/// What one change of a short prefix takes, under which there are very many routes: in and out again, microseconds.
fn short_prefixes(family: &Family, report: &mut Report) {
    let (mut fib, _) = ours::build(family);
    let key = if family.bits == 32 { 0x64u128 << 120 } else { 0x2A00u128 << 112 };
    for len in [1, 2, 3, 4, 5, 6, 8, 10, 12, 16] {
        let net = ours::net(
            &Route { key: key >> (128 - len) << (128 - len), len, value: 1 },
            family.bits,
        );
        let before = fib.get(0, &net);
        let mut worst = 0f64;
        for change in [Some(0xABCDE), before] {
            let start = Stopwatch::start();
            apply(&mut fib, &(net, change));
            worst = worst.max(start.seconds() * 1e6);
            fib.reclaim(u64::MAX, u64::MAX);
        }
        println!("  a change of {net}: {worst:.0} us");
        report.short.push((family.name, len, worst));
    }
}

/// One change, visible to readers when this returns.
pub fn apply(fib: &mut Fib, (net, value): &(IpNet, Option<u32>)) {
    match value {
        Some(value) => fib.insert(0, *net, *value),
        None => fib.remove(0, *net),
    }
    .unwrap();
}

/// Lookups beside a writer that does nothing, and one that does 10,000 changes a second.
fn slowdown(family: &Family, report: &mut Report) {
    let (mut fib, _) = ours::build(family);
    let changes = ours::changes(&family.updates, family.bits);
    let reader = fib.reader();
    let (stop, busy, quiet) = (AtomicBool::new(false), AtomicBool::new(false), AtomicU64::new(0));
    let (mut idle_times, mut busy_times) = (Vec::new(), Vec::new());
    std::thread::scope(|scope| {
        scope.spawn(|| {
            memory::pin_to(0);
            let mut next = Instant::now();
            for (i, change) in (1u64..).zip(changes.iter().cycle()) {
                if stop.load(Ordering::Relaxed) {
                    break;
                }
                next += Duration::from_micros(100);
                while Instant::now() < next {
                    std::hint::spin_loop();
                }
                if busy.load(Ordering::Relaxed) {
                    apply(&mut fib, change);
                    fib.reclaim(i, quiet.load(Ordering::Acquire));
                }
            }
        });
        let v4: Vec<u32> = family.patterns[1].1.iter().map(|addr| (addr >> 96) as u32).collect();
        for round in 0..42 {
            busy.store(round % 2 == 1, Ordering::Relaxed);
            let start = Stopwatch::start();
            let mut out = [0; 64];
            if family.bits == 32 {
                for addrs in v4.chunks_exact(64) {
                    reader.lookup4_burst(&[0; 64], addrs, &mut out);
                    std::hint::black_box(&out);
                }
            } else {
                for addrs in family.patterns[1].1.chunks_exact(64) {
                    reader.lookup6_burst(&[0; 64], addrs, &mut out);
                    std::hint::black_box(&out);
                }
            }
            let times = if round % 2 == 1 { &mut busy_times } else { &mut idle_times };
            times.push(start.seconds());
            quiet.fetch_add(1, Ordering::Release);
        }
        stop.store(true, Ordering::Relaxed);
    });
    // Round by round, the first pair to warm up.
    let pairs = busy_times.iter().zip(&idle_times).skip(1);
    let slower = median(pairs.map(|(busy, idle)| busy / idle).collect()) - 1.0;
    println!("  lookups beside 10,000 updates/s: {:+.1} % time", slower * 100.0);
    report.slowdown.push((family.name, slower));
}
