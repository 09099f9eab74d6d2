//! Which of the two layouts of a flat IPv4 VRF a burst takes, by what its reader has looked up lately.
//!
//! A flat table answers by one load out of 32 MiB, compact chunks by three out of some 4 MiB. The first is faster
//! where its lines are in the second-level cache, the second where they are not; and which of the two it is, those
//! decide who choose the destinations. So each reader estimates how often a flat table's line would miss a cache of
//! 1 MiB, and from a share of misses on that the race at the start has found (`raw/race.rs`), it takes the chunks.
//!
//! One burst in [`EVERY`] is looked at, and of its lanes those whose line's hash begins with three zeros: for these an
//! eighth of the cache's lines is kept, one line a slot. The hash is each reader's own, so nobody can choose
//! addresses that are not looked at. All of this is private to a reader: nothing is shared and nothing waits.

use super::raw::LANES;
use super::root::FLAT_BITS;
use std::cell::Cell;
use std::hash::{BuildHasher, RandomState};

/// Bursts of which one is looked at. A prime number, so that no pattern of traffic keeps in step with it.
const EVERY: u32 = 61;
/// Bits that name a line of a flat table: 32 entries of 16 bits are in one.
const LINE_BITS: u32 = FLAT_BITS as u32 - 5;
/// Of the hash of these bits, three say whether the line is looked at, five tell those in one slot apart.
const SLOTS: usize = 1 << LINE_BITS.saturating_sub(8);
/// A share of misses that stands for all.
pub(super) const ALL: u32 = 1 << 16;
/// How much of the estimate each lane replaces, as a power of two.
const WEIGHT: u32 = 8;

/// What a reader knows of its traffic.
#[derive(Clone)]
pub(super) struct Traffic {
    /// The share of misses, of [`ALL`], from which on chunks are taken.
    turn: u32,
    misses: Cell<u32>,
    bursts: Cell<u32>,
    /// An odd factor, by which lines are hashed one to one.
    factor: u32,
    /// The line seen last in each slot, by five bits of its hash, plus one.
    seen: Box<[Cell<u8>]>,
}

impl Traffic {
    /// One that takes chunks from a share of misses on; at first it expects the worst.
    pub(super) fn new(turn: u32) -> Traffic {
        Traffic {
            turn,
            misses: Cell::new(ALL),
            bursts: Cell::new(0),
            factor: random() | 1,
            seen: vec![Cell::new(0); SLOTS].into(),
        }
    }

    /// Whether a burst of these addresses is to take the flat table.
    #[inline(always)]
    pub(super) fn is_flat(&self, sets: &[&[u32; LANES]], count: usize) -> bool {
        if self.turn > ALL {
            return true;
        }
        let bursts = self.bursts.get().wrapping_add(1);
        self.bursts.set(bursts);
        if bursts.is_multiple_of(EVERY) {
            for addrs in sets {
                self.look(&addrs[..count.min(LANES)]);
            }
        }
        self.misses.get() < self.turn
    }

    /// Takes addresses into the estimate; gives the new one.
    #[inline(never)]
    pub(super) fn look(&self, addrs: &[u32]) -> u32 {
        let mut misses = self.misses.get();
        for addr in addrs {
            let line = addr >> (32 - LINE_BITS);
            let hash = line.wrapping_mul(self.factor) & ((1 << LINE_BITS) - 1);
            if hash >> (LINE_BITS - 3) == 0 {
                let mark = hash.to_le_bytes()[0] % 32 + 1;
                let seen = self.seen[(hash >> 5) as usize % SLOTS].replace(mark);
                misses -= misses >> WEIGHT;
                misses += if seen == mark { 0 } else { ALL >> WEIGHT };
            }
        }
        self.misses.set(misses);
        misses
    }
}

/// A number that nobody outside knows.
fn random() -> u32 {
    u32::try_from(RandomState::new().hash_one(0) >> 32).unwrap_or_default()
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a part of a share, which has 17 bits"
)]
/// Where chunks become the faster ones: by the times at some shares of misses, ascending, between which both grow evenly.
pub(super) fn turn(times: &[Times]) -> u32 {
    if times.first().is_some_and(|near| near.chunks <= near.flat) {
        return 0;
    }
    for (near, far) in times.iter().zip(times.iter().skip(1)) {
        let (saved, lost) = (near.chunks - near.flat, far.flat - far.chunks);
        if lost > 0.0 {
            let part = f64::from(far.misses.saturating_sub(near.misses)) * saved / (saved + lost);
            return near.misses + part as u32;
        }
    }
    u32::MAX
}

/// What a lookup takes at a share of misses.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Times {
    pub(super) misses: u32,
    /// Nanoseconds.
    pub(super) flat: f64,
    /// Nanoseconds.
    pub(super) chunks: f64,
}

#[cfg(all(test, not(miri)))]
mod tests {
    use super::*;

    /// Addresses of so many lines, each as likely; the lines are all over the table.
    fn bursts(lines: u32) -> impl Iterator<Item = [u32; LANES]> {
        let mut seed = 1u64;
        std::iter::repeat_with(move || {
            std::array::from_fn(|_| {
                seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                let mut line = (seed >> 33) as u32 % lines;
                for factor in [0x85EB_CA6B, 0xC2B2_AE35] {
                    line = (line ^ line >> 15).wrapping_mul(factor);
                }
                line ^ line >> 16
            })
        })
    }

    #[test]
    fn bursts_take_the_flat_table_while_its_lines_fit_a_cache() {
        let traffic = Traffic::new(ALL / 4);
        let flat = |addrs: &[u32; LANES]| traffic.is_flat(&[addrs, addrs], LANES);
        assert!(!bursts(1000).take(8).any(|addrs| flat(&addrs)), "it expects the worst");
        for (lines, expected) in [(1000, true), (1 << 19, false), (4000, true), (1 << 19, false)] {
            bursts(lines).take(4000).for_each(|addrs| {
                flat(&addrs);
            });
            let found = bursts(lines).take(1000).filter(|addrs| flat(addrs)).count();
            assert_eq!(found > 500, expected, "{lines} lines: {found} of 1000 bursts flat");
        }
    }

    /// What a reader takes the share of misses for, once it has seen enough.
    fn share(traffic: &Traffic, lines: u32) -> f64 {
        let shares =
            bursts(lines).take(4000).map(|addrs| f64::from(traffic.look(&addrs)) / f64::from(ALL));
        shares.skip(2000).sum::<f64>() / 2000.0
    }

    /// A customer whose addresses miss cannot hide behind another's that hit: the mean counts.
    #[test]
    fn the_share_of_misses_is_estimated() {
        for (lines, low, high) in [(100, 0.0, 0.02), (1 << 14, 0.2, 0.6), (1 << 19, 0.9, 1.0)] {
            // Two of few lines may share a slot of one reader: their hashes are its own. Seldom of most readers.
            let mut shares: Vec<f64> =
                std::iter::repeat_with(|| share(&Traffic::new(0), lines)).take(9).collect();
            shares.sort_by(f64::total_cmp);
            assert!((low..=high).contains(&shares[4]), "{lines} lines: {shares:.3?}");
        }
    }

    #[test]
    fn chunks_are_taken_from_where_they_are_faster() {
        let times = |misses, flat, chunks| Times { misses, flat, chunks };
        let (near, far) = (times(0, 2.0, 3.0), times(ALL, 6.0, 3.0));
        assert_eq!(turn(&[near, far]), ALL / 4);
        assert_eq!(turn(&[near, times(ALL / 2, 3.0, 3.5), far]), ALL / 2 + ALL / 14);
        assert_eq!(turn(&[near, times(ALL / 2, 3.0, 2.0), far]), ALL / 4);
        assert_eq!(turn(&[times(0, 3.0, 2.0), far]), 0, "chunks are always faster");
        assert_eq!(turn(&[near, times(ALL, 2.5, 3.0)]), u32::MAX, "a flat table is");
    }
}
