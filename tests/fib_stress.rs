//! Readers against the writer, freed chunks poisoned (debug builds): every answer is one that the address had
//! while the lookup ran, and memory stays bounded.
#![allow(clippy::unwrap_used, clippy::cast_possible_truncation, reason = "a test")]

use ipnet::IpNet;
use station::fib::{Fib, Limits, NO_ROUTE};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// Freed chunks are filled so that whatever is read from them answers this; no route has it.
const POISON: u32 = 0x7ABC;

fn net(text: String) -> IpNet {
    text.parse().unwrap()
}

/// Routes that nest, from /6 to /32; route `i` has value `1000 * (level + 1) + version`.
fn routes() -> Vec<(u32, IpNet)> {
    let mut routes = vec![(0, net("8.0.0.0/6".into()))];
    for a in 0..8u32 {
        routes.push((1, net(format!("10.{}.0.0/13", a * 8))));
        for b in 0..16 {
            routes.push((2, net(format!("10.{}.{}.0/21", a * 8, b * 8))));
            routes.push((3, net(format!("10.{}.{}.0/24", a * 8, b * 8))));
            routes.push((4, net(format!("10.{}.{}.128/27", a * 8, b * 8))));
        }
    }
    routes
}

#[test]
fn readers_see_old_or_new_and_never_freed_memory() {
    stress(0, Limits { max_vrfs: 4, max_bytes: 64 << 20, ..Limits::default() }, 16 << 20);
}

/// The same in a VRF that is large because of other routes, of which half come and go: it has its flat table and loses
/// it again and again.
#[test]
fn readers_see_old_or_new_while_flat_tables_come_and_go() {
    let limits = Limits { max_vrfs: 4, max_bytes: 512 << 20, flat_at: 20_000 };
    stress(20_000, limits, 128 << 20);
}

/// One writer changes routes and shapes as fast as it can, two workers look up and check, and report quiescence
/// as the station's do. `others` are routes that no lookup finds; memory may grow up to `bound`.
fn stress(others: u32, limits: Limits, bound: u64) {
    let other = |i: u32| net(format!("20.{}.{}.0/24", i / 256, i % 256));
    let others: Vec<_> = (0..others).map(|i| (other(i), Some(7))).collect();
    let fewer: Vec<_> = others.iter().skip(8500).map(|&(net, _)| (net, None)).collect();
    let mut fib = Fib::new(limits).unwrap();
    fib.add_vrf(0).unwrap();
    fib.add_vrf(1).unwrap();
    // A default of its own level is there all the time: no lookup may ever answer "no route".
    fib.insert(0, net("0.0.0.0/0".into()), 9000).unwrap();
    fib.apply(0, &others).unwrap();
    let routes = routes();
    let seen = [AtomicU64::new(0), AtomicU64::new(0)];
    let epoch = AtomicU64::new(1);
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for seen in &seen {
            let reader = fib.reader();
            let (epoch, stop) = (&epoch, &stop);
            scope.spawn(move || {
                let mut x = 1u32;
                let mut bursts = 0u64;
                while !stop.load(Ordering::Relaxed) {
                    let now = epoch.load(Ordering::Acquire);
                    let mut addrs = [0; 64];
                    for addr in &mut addrs {
                        x = x.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                        *addr =
                            0x0A00_0000 | (x >> 3 & 0x38) << 16 | (x >> 9 & 0x7F) << 8 | x >> 24;
                    }
                    let mut vrfs = [0; 64];
                    if x & 0x100 != 0 {
                        vrfs[..32].fill(1);
                    }
                    let mut out = [0; 64];
                    reader.lookup4_burst(&vrfs, &addrs, &mut out);
                    for i in 0..64 {
                        let value = out[i];
                        if vrfs[i] == 1 {
                            // That VRF comes and goes: all of it is one value or none.
                            assert!(value == NO_ROUTE || value == 5, "{value}");
                            continue;
                        }
                        assert_ne!(value, POISON, "{:x}", addrs[i]);
                        assert_ne!(value, NO_ROUTE, "{:x}", addrs[i]);
                        // Only what covers the address: its level, whatever the version.
                        let host = addrs[i] & 0xFF;
                        let level = value / 1000;
                        let covered = match level {
                            1 | 2 | 9 => true,
                            3 => addrs[i] >> 8 & 0xFF < 128,
                            4 => addrs[i] >> 8 & 7 == 0,
                            5 => addrs[i] >> 8 & 7 == 0 && (128..160).contains(&host),
                            _ => false,
                        };
                        assert!(covered, "{:x} got {value}", addrs[i]);
                    }
                    seen.store(now, Ordering::Release);
                    bursts += 1;
                }
                assert!(bursts > 100, "{bursts} bursts");
            });
        }
        let mut x = 7u32;
        let mut most = 0;
        for step in 0..60_000u64 {
            x = x.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let (level, net) = routes[(x >> 8) as usize % routes.len()];
            if x >> 30 == 0 {
                fib.remove(0, net).unwrap();
            } else {
                fib.insert(0, net, 1000 * (level + 1) + (x >> 20 & 0xFF)).unwrap();
            }
            if step % 500 == 0 {
                fib.remove_vrf(1).unwrap();
                fib.add_vrf(1).unwrap();
                fib.insert(1, "0.0.0.0/0".parse().unwrap(), 5).unwrap();
                fib.insert(1, "10.0.0.0/9".parse().unwrap(), 5).unwrap();
            }
            if step % 5000 == 0 && !others.is_empty() {
                let all = step % 10_000 != 0;
                fib.apply(0, if all { &others } else { &fewer }).unwrap();
                let flat = fib.stats().v4.fib_bytes > 32 << 20;
                assert_eq!(flat, all, "step {step}: {:?}", fib.stats());
            }
            let sealed = epoch.fetch_add(1, Ordering::AcqRel);
            // A reader that has loaded a later epoch began its burst after this change.
            let quiescent = seen.iter().map(|seen| seen.load(Ordering::Acquire)).min().unwrap();
            fib.reclaim(sealed, quiescent.saturating_sub(1));
            most = most.max(fib.stats().touched_bytes);
        }
        stop.store(true, Ordering::Relaxed);
        assert!(most < bound, "{most} bytes touched");
    });
    fib.reclaim(u64::MAX, u64::MAX);
    assert_eq!(fib.stats().retired_bytes, 0);
}

/// Endless churn of sizes must not strand memory: the same routes over and over in ever other numbers.
#[test]
fn memory_is_bounded_under_churn() {
    let mut fib =
        Fib::new(Limits { max_vrfs: 4, max_bytes: 256 << 20, ..Limits::default() }).unwrap();
    fib.add_vrf(0).unwrap();
    let net = |i: u32| net(format!("{}.{}.{}.0/24", 10 + i / 65536, i / 256 % 256, i % 256));
    let mut after_first = 0;
    for round in 0..12u32 {
        let stride = 1 + round % 4;
        let batch: Vec<_> = (0..40_000)
            .step_by(stride as usize)
            .map(|i| (net(i), Some(i % (3 + round) + 1)))
            .collect();
        fib.apply(0, &batch).unwrap();
        let gone: Vec<_> = (0..40_000).map(|i| (net(i), None)).collect();
        fib.apply(0, &gone).unwrap();
        fib.reclaim(u64::from(round), u64::from(round));
        let stats = fib.stats();
        assert_eq!((stats.v4.fib_bytes, stats.v4.rib_bytes, stats.retired_bytes), (0, 0, 0));
        if round == 3 {
            after_first = stats.touched_bytes;
        }
    }
    assert!(fib.stats().touched_bytes <= after_first * 11 / 10);
}
