//! Which vector code is fastest here, found by trying.

use super::super::chunk::leaf;
use super::Region;
use super::kernels::{Kernels, LANES, Lanes};
use std::time::{Duration, Instant};

/// Chunks of a cache line each: as much memory as a full table takes, so that second-level caches do not hold it.
const CHUNKS: u32 = 1 << 16;
/// Words of the IPv4 root table before them.
const ROOT: u32 = 1 << 17;
/// How many chunks lie on the way to a leaf.
const LEVELS: u32 = 4;
/// Bursts that each rival does at a time.
const BURSTS: usize = 1 << 9;

/// The fastest for each kind of step.
pub(super) fn race(rivals: &[Kernels]) -> Option<Kernels> {
    if rivals.len() < 2 {
        return rivals.first().copied();
    }
    let region = Region::new(ROOT + 8 * CHUNKS).ok()?;
    let mut seed = 1u64;
    let mut random = || {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        u32::try_from(seed >> 33).unwrap_or_default()
    };
    // A chunk of one of the levels.
    let mut chunk =
        |level: u32| ROOT + 8 * (CHUNKS / LEVELS * level + random() % (CHUNKS / LEVELS));
    let pair = |low: u32, high: u32| u64::from(low) | u64::from(high) << 32;

    // As IPv4 has it: the root table leads to chunks of eight runs, all with short values.
    for word in 0..ROOT {
        let level = word % LEVELS;
        region.store64(word, pair(chunk(level), chunk(level)));
    }
    for number in 0..CHUNKS {
        let at = ROOT + 8 * number;
        region.store64(at, 0x0101_0101_0101_0101);
        (1..8).for_each(|word| region.store64(at + word, 0x0001_0001_0001_0001));
    }
    let addrs: Vec<Lanes<u32>> =
        (0..BURSTS).map(|_| std::array::from_fn(|_| chunk(0).wrapping_mul(0x9E37_79B9))).collect();
    let (mut entries, mut out) = ([0; LANES], [0; LANES]);
    let compact = fastest(rivals, |rival, i| {
        rival.root4(region.view(), 0, &addrs[i], &mut entries);
        rival.compact(region.view(), &entries, &addrs[i], &[0; LANES], &mut out);
        std::hint::black_box(&out);
    })?;

    // The flat table is so large that the first part of one must do: as much memory as the chunks.
    let first: Vec<Lanes<u32>> = addrs.iter().map(|addrs| addrs.map(|addr| addr >> 3)).collect();
    let flat = fastest(rivals, |rival, i| {
        rival.flat4(region.view(), ROOT, &first[i], &[0; LANES], &mut out);
        std::hint::black_box(&out);
    })?;

    // As IPv6 has it: chunks that lead to chunks, down to leaves, some of which come earlier.
    for number in 0..CHUNKS {
        let level = number / (CHUNKS / LEVELS);
        for word in 1..8 {
            let leads = word < 7 && level + 1 < LEVELS;
            let entry = if leads { chunk(level + 1) } else { leaf(1) };
            region.store64(ROOT + 8 * number + word, pair(entry, entry));
        }
    }
    let starts: Vec<Lanes<u32>> = (0..BURSTS).map(|_| std::array::from_fn(|_| chunk(0))).collect();
    let deep = fastest(rivals, |rival, i| {
        let keys = addrs[i].map(|addr| u64::from(addr) << 32 | u64::from(addr));
        out = starts[i];
        rival.descend(region.view(), &keys, &mut out, 0, 60);
        std::hint::black_box(&out);
    })?;
    Some(Kernels { flat: flat.flat, compact: compact.compact, ..deep })
}

/// The one whose best time of a few is the shortest.
fn fastest(rivals: &[Kernels], mut burst: impl FnMut(Kernels, usize)) -> Option<Kernels> {
    let mut best = vec![Duration::MAX; rivals.len()];
    for _ in 0..4 {
        for (best, &rival) in best.iter_mut().zip(rivals) {
            let start = Instant::now();
            (0..BURSTS).for_each(|i| burst(rival, i));
            *best = start.elapsed().min(*best);
        }
    }
    rivals.iter().copied().zip(best).min_by_key(|&(_, time)| time).map(|(rival, _)| rival)
}
