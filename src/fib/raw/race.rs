//! Which vector code is fastest here, found by trying.

use super::super::chunk::leaf;
use super::kernels::{Kernels, LANES, Lanes, Task};
use super::{Region, View};
use std::time::{Duration, Instant};

/// Chunks of a cache line each: as much memory as a full table takes, so that second-level caches do not hold it.
const CHUNKS: u32 = 1 << 16;
/// Words of the IPv4 root table before them.
const ROOT: u32 = 1 << 17;
/// Where the flat table is, and its words.
const FLAT: u32 = ROOT + 8 * CHUNKS;
const FLAT_WORDS: u32 = 1 << 22;
/// How many chunks lie on the way to a leaf.
const LEVELS: u32 = 4;
/// Bursts that each rival does at a time.
const BURSTS: usize = 1 << 8;

/// The fastest for each kind of step, on tables as large as real ones and addresses as skewed as real traffic: where every lookup
/// misses the caches all take the same time.
pub(super) fn race(rivals: &[Kernels]) -> Option<Kernels> {
    if rivals.len() < 2 {
        return rivals.first().copied();
    }
    let region = Region::new(FLAT + FLAT_WORDS).ok()?;
    let view = region.view();
    let mut seed = 1u64;
    let mut random = || {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        u32::try_from(seed >> 33).unwrap_or_default()
    };
    let pair = |low: u32, high: u32| u64::from(low) | u64::from(high) << 32;
    // By Zipf's law, or nearly: an address has one of 2^24 ranks, each power of two as likely as another.
    let addrs: Vec<Lanes<u32>> = (0..BURSTS)
        .map(|_| {
            std::array::from_fn(|_| (random() >> 7 >> (random() % 24)).wrapping_mul(0x9E37_79B9))
        })
        .collect();
    // A chunk of one of the levels.
    let mut chunk =
        |level: u32| ROOT + 8 * (CHUNKS / LEVELS * level + random() % (CHUNKS / LEVELS));

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
    let compact = fastest(rivals, Kind::Compact, view, &addrs)?;

    region.fill16(FLAT, 0, 4 * FLAT_WORDS as usize, 1);
    let flat = fastest(rivals, Kind::Flat, view, &addrs)?;

    // As IPv6 has it: chunks that lead to chunks, down to leaves, some of which come earlier.
    for number in 0..CHUNKS {
        let level = number / (CHUNKS / LEVELS);
        for word in 1..8 {
            let leads = word < 7 && level + 1 < LEVELS;
            let entry = if leads { chunk(level + 1) } else { leaf(1) };
            region.store64(ROOT + 8 * number + word, pair(entry, entry));
        }
    }
    let deep = fastest(rivals, Kind::Deep, view, &addrs)?;
    Some(Kernels { flat: flat.flat, compact: compact.compact, ..deep })
}

/// A kind of step.
#[derive(Clone, Copy)]
enum Kind {
    Compact,
    Flat,
    Deep,
}

/// What a rival does at a time.
struct Turn<'a> {
    rival: Kernels,
    kind: Kind,
    view: View<'a>,
    addrs: &'a [Lanes<u32>],
}

impl Task for Turn<'_> {
    type Answer = ();

    #[inline(always)]
    fn run(self) {
        let Turn { rival, kind, view, addrs } = self;
        let (mut entries, mut out) = ([0; LANES], [0; LANES]);
        for addrs in addrs {
            match kind {
                Kind::Compact => {
                    rival.root4(view, 0, addrs, &mut entries, LANES);
                    rival.compact(view, &entries, addrs, &[0; LANES], &mut out, LANES);
                }
                Kind::Flat => {
                    rival.ask_flat4(view, FLAT, addrs, LANES);
                    rival.flat4(view, FLAT, addrs, &[0; LANES], &mut out, LANES);
                }
                Kind::Deep => {
                    let keys = addrs.map(|addr| u64::from(addr) << 32 | u64::from(addr));
                    out = addrs.map(|addr| ROOT + 8 * (addr % (CHUNKS / LEVELS)));
                    rival.descend(view, &keys, &mut out, (0, 60), LANES);
                }
            }
            std::hint::black_box(&out);
        }
    }
}

/// The one whose best time of a few is the shortest.
fn fastest(rivals: &[Kernels], kind: Kind, view: View, addrs: &[Lanes<u32>]) -> Option<Kernels> {
    let mut best = vec![Duration::MAX; rivals.len()];
    for _ in 0..4 {
        for (best, &rival) in best.iter_mut().zip(rivals) {
            let start = Instant::now();
            rival.run(Turn { rival, kind, view, addrs });
            *best = start.elapsed().min(*best);
        }
    }
    rivals.iter().copied().zip(best).min_by_key(|&(_, time)| time).map(|(rival, _)| rival)
}

/// Where there is no AVX-512 the station never races: here those run that there are.
#[cfg(test)]
#[test]
fn a_race_has_a_winner() {
    let rivals = Kernels::available();
    let start = Instant::now();
    let winner = race(&rivals);
    println!("{winner:?} of {rivals:?}, in {:?}", start.elapsed());
    assert!(winner.is_some());
}
