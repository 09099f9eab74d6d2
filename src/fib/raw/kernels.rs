//! The steps of a burst, 64 lanes at a time, in the widest form that this processor has.

use super::super::chunk::{LEAF, is_leaf, runs};
use super::super::compact::ESCAPE;
use super::{Region, race};
#[cfg(all(target_arch = "x86_64", not(any(miri, loom))))]
use super::{avx2, avx512};
use std::sync::OnceLock;

/// Lanes of a burst.
pub(in crate::fib) const LANES: usize = 64;

/// A value a lane.
pub(in crate::fib) type Lanes<T> = [T; LANES];

/// Which instructions to use; made only by `detect`, so having one proves that the processor has them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Level {
    Scalar,
    /// Plain code, compiled for AVX2 and what comes with it.
    #[cfg(all(target_arch = "x86_64", not(any(miri, loom))))]
    Avx2,
    #[cfg(all(target_arch = "x86_64", not(any(miri, loom))))]
    Avx512,
    /// With a vector population count.
    #[cfg(all(target_arch = "x86_64", not(any(miri, loom))))]
    Avx512Popcnt,
}

/// The steps of a burst, for this processor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::fib) struct Kernels {
    /// For IPv4's flat tables.
    pub(super) flat: Level,
    /// For IPv4's root tables and compact chunks.
    pub(super) compact: Level,
    /// For chunks below chunks.
    pub(super) deep: Level,
}

impl Kernels {
    fn all(level: Level) -> Kernels {
        Kernels { flat: level, compact: level, deep: level }
    }

    /// The best that this processor has: found once by a race of some milliseconds, since gathers may be
    /// several times slower on one processor than on another of the same kind (by the microcode that keeps
    /// them from leaking data).
    pub(in crate::fib) fn detect() -> Kernels {
        static BEST: OnceLock<Kernels> = OnceLock::new();
        *BEST.get_or_init(|| race::race(&Self::available()).unwrap_or(Kernels::all(Level::Scalar)))
    }

    /// All that this processor has.
    pub(in crate::fib) fn available() -> Vec<Kernels> {
        let mut levels = vec![];
        #[cfg(all(target_arch = "x86_64", not(any(miri, loom))))]
        {
            let avx2 = is_x86_feature_detected!("avx2")
                && is_x86_feature_detected!("popcnt")
                && is_x86_feature_detected!("bmi1")
                && is_x86_feature_detected!("bmi2");
            let avx512 = avx2
                && is_x86_feature_detected!("avx512f")
                && is_x86_feature_detected!("avx512vl")
                && is_x86_feature_detected!("avx512bw")
                && is_x86_feature_detected!("avx512dq");
            if avx512 && is_x86_feature_detected!("avx512vpopcntdq") {
                levels.push(Kernels::all(Level::Avx512Popcnt));
            }
            if avx512 {
                levels.push(Kernels::all(Level::Avx512));
            }
            if avx2 {
                levels.push(Kernels::all(Level::Avx2));
            }
        }
        levels.push(Kernels::all(Level::Scalar));
        levels
    }

    /// What these are called in benchmarks.
    pub(in crate::fib) fn name(self) -> &'static str {
        match self.deep {
            Level::Scalar => "scalar",
            #[cfg(all(target_arch = "x86_64", not(any(miri, loom))))]
            Level::Avx2 => "avx2",
            #[cfg(all(target_arch = "x86_64", not(any(miri, loom))))]
            Level::Avx512 => "avx512",
            #[cfg(all(target_arch = "x86_64", not(any(miri, loom))))]
            Level::Avx512Popcnt => "avx512-popcnt",
        }
    }

    /// Calls `f` compiled for a processor with a population count, if this is one.
    #[inline(always)]
    pub(in crate::fib) fn with_avx2<T>(self, f: impl FnOnce() -> T) -> T {
        #[cfg(all(target_arch = "x86_64", not(any(miri, loom))))]
        if self.deep != Level::Scalar {
            // SAFETY: every level above scalar implies what AVX2's has, see `available`.
            return unsafe { avx2::with(f) };
        }
        f()
    }

    /// `chunks[i]` becomes the entry of IPv4's root table for the first 18 bits of `addrs[i]`.
    #[inline(always)]
    pub(in crate::fib) fn root4(
        self,
        region: &Region,
        table: u32,
        addrs: &Lanes<u32>,
        chunks: &mut Lanes<u32>,
    ) {
        match self.compact {
            #[cfg(all(target_arch = "x86_64", not(any(miri, loom))))]
            // SAFETY: the processor has what the level says.
            Level::Avx512 | Level::Avx512Popcnt => unsafe {
                avx512::root4(region, table, addrs, chunks);
            },
            #[cfg(all(target_arch = "x86_64", not(any(miri, loom))))]
            // SAFETY: the processor has what the level says.
            Level::Avx2 => unsafe { avx2::root4(region, table, addrs, chunks) },
            Level::Scalar => root4(region, table, addrs, chunks),
        }
    }

    /// The answers of a flat table for the first 24 bits of `addrs`, and the lanes without one, as in `compact`.
    #[inline(always)]
    pub(in crate::fib) fn flat4(
        self,
        region: &Region,
        table: u32,
        addrs: &Lanes<u32>,
        defaults: &Lanes<u32>,
        out: &mut Lanes<u32>,
    ) -> u64 {
        match self.flat {
            #[cfg(all(target_arch = "x86_64", not(any(miri, loom))))]
            // SAFETY: the processor has what the level says.
            Level::Avx512 | Level::Avx512Popcnt => unsafe {
                avx512::flat4(region, table, addrs, defaults, out)
            },
            #[cfg(all(target_arch = "x86_64", not(any(miri, loom))))]
            // SAFETY: the processor has what the level says.
            Level::Avx2 => unsafe { avx2::flat4(region, table, addrs, defaults, out) },
            Level::Scalar => flat4(region, table, addrs, defaults, out),
        }
    }

    /// Where `entries[i]` is no leaf but a table, it becomes that table's entry for the twelve bits of `keys[i]` from
    /// `depth` on.
    #[inline(always)]
    pub(in crate::fib) fn tables6(
        self,
        region: &Region,
        keys: &Lanes<u64>,
        entries: &mut Lanes<u32>,
        depth: u8,
    ) {
        match self.deep {
            #[cfg(all(target_arch = "x86_64", not(any(miri, loom))))]
            // SAFETY: the processor has what the level says.
            Level::Avx512 | Level::Avx512Popcnt => unsafe {
                avx512::tables6(region, keys, entries, depth);
            },
            #[cfg(all(target_arch = "x86_64", not(any(miri, loom))))]
            // SAFETY: the processor has what the level says.
            Level::Avx2 => unsafe { avx2::tables6(region, keys, entries, depth) },
            Level::Scalar => tables6(region, keys, entries, depth),
        }
    }

    /// The answers of compact chunks for bits 18 to 23 of `addrs`; `defaults` where the value is 0. Gives a bit for each
    /// lane whose short entry is an escape, and has no answer there.
    #[inline(always)]
    pub(in crate::fib) fn compact(
        self,
        region: &Region,
        chunks: &Lanes<u32>,
        addrs: &Lanes<u32>,
        defaults: &Lanes<u32>,
        out: &mut Lanes<u32>,
    ) -> u64 {
        match self.compact {
            // SAFETY: the processor has what the level says.
            #[cfg(all(target_arch = "x86_64", not(any(miri, loom))))]
            Level::Avx512Popcnt => unsafe {
                avx512::popcnt::compact(region, chunks, addrs, defaults, out)
            },
            // SAFETY: the processor has what the level says.
            #[cfg(all(target_arch = "x86_64", not(any(miri, loom))))]
            Level::Avx512 => unsafe {
                avx512::shuffle::compact(region, chunks, addrs, defaults, out)
            },
            // SAFETY: the processor has what the level says.
            #[cfg(all(target_arch = "x86_64", not(any(miri, loom))))]
            Level::Avx2 => unsafe { avx2::compact(region, chunks, addrs, defaults, out) },
            Level::Scalar => compact(region, chunks, addrs, defaults, out),
        }
    }

    /// Follows chunks from `entries` to leaves, by the bits of `keys` (left-aligned) from `depth` on up to bit `end`;
    /// lanes may be left with a chunk for the bits from there on.
    #[inline(always)]
    pub(in crate::fib) fn descend(
        self,
        region: &Region,
        keys: &Lanes<u64>,
        entries: &mut Lanes<u32>,
        depth: u8,
        end: u8,
    ) {
        match self.deep {
            // SAFETY: the processor has what the level says.
            #[cfg(all(target_arch = "x86_64", not(any(miri, loom))))]
            Level::Avx512Popcnt => unsafe {
                avx512::popcnt::descend(region, keys, entries, depth, end);
            },
            // SAFETY: the processor has what the level says.
            #[cfg(all(target_arch = "x86_64", not(any(miri, loom))))]
            Level::Avx512 => unsafe {
                avx512::shuffle::descend(region, keys, entries, depth, end);
            },
            // SAFETY: the processor has what the level says.
            #[cfg(all(target_arch = "x86_64", not(any(miri, loom))))]
            Level::Avx2 => unsafe {
                avx2::descend(region, keys, entries, depth, end);
            },
            Level::Scalar => descend(region, keys, entries, depth, end),
        }
    }
}

/// See `Kernels::root4`.
#[inline(always)]
pub(super) fn root4(region: &Region, table: u32, addrs: &Lanes<u32>, chunks: &mut Lanes<u32>) {
    for (chunk, &addr) in chunks.iter_mut().zip(addrs) {
        *chunk = region.acquire32(table, (addr >> 14) as usize);
        region.prefetch(*chunk);
    }
}

/// See `Kernels::tables6`.
#[inline(always)]
pub(super) fn tables6(region: &Region, keys: &Lanes<u64>, entries: &mut Lanes<u32>, depth: u8) {
    for (entry, &key) in entries.iter_mut().zip(keys) {
        if !is_leaf(*entry) {
            *entry = region.acquire32(*entry, (key << depth >> 52) as usize);
        }
    }
}

/// See `Kernels::compact`.
#[inline(always)]
pub(super) fn compact(
    region: &Region,
    chunks: &Lanes<u32>,
    addrs: &Lanes<u32>,
    defaults: &Lanes<u32>,
    out: &mut Lanes<u32>,
) -> u64 {
    for i in 0..LANES {
        let slot = (addrs[i] >> 8 & 63) as usize;
        out[i] = u32::from(region.acquire16(chunks[i], 3 + runs(region.load64(chunks[i]), slot)));
    }
    finish(defaults, out)
}

/// See `Kernels::flat4`.
#[inline(always)]
pub(super) fn flat4(
    region: &Region,
    table: u32,
    addrs: &Lanes<u32>,
    defaults: &Lanes<u32>,
    out: &mut Lanes<u32>,
) -> u64 {
    for (out, &addr) in out.iter_mut().zip(addrs) {
        *out = u32::from(region.acquire_flat(table, (addr >> 8) as usize));
    }
    finish(defaults, out)
}

/// Puts the default where a short entry is 0, and says which are escapes.
#[inline(always)]
fn finish(defaults: &Lanes<u32>, out: &mut Lanes<u32>) -> u64 {
    let mut escapes = 0;
    if out.iter().fold(0, |all, &short| all | short) >= u32::from(ESCAPE) {
        let bits = out.iter().enumerate();
        escapes = bits.fold(0, |all, (i, &short)| all | u64::from(short >= u32::from(ESCAPE)) << i);
    }
    // Apart from the loads, so that the compiler selects with vectors and not with a branch.
    for (short, &default) in out.iter_mut().zip(defaults) {
        *short = if *short == 0 { default } else { *short };
    }
    escapes
}

/// See `Kernels::descend`.
#[inline(always)]
pub(super) fn descend(
    region: &Region,
    keys: &Lanes<u64>,
    entries: &mut Lanes<u32>,
    mut depth: u8,
    end: u8,
) {
    if entries.iter().fold(LEAF, |all, entry| all & entry) != 0 {
        return;
    }
    // The lanes with a chunk are kept in a list: a branch on each lane would be guessed wrong too often.
    let mut open = [0u8; LANES];
    let mut count = 0;
    for (lane, &entry) in (0u8..).zip(&*entries) {
        open[count % LANES] = lane;
        count += usize::from(!is_leaf(entry));
        region.prefetch(if is_leaf(entry) { 0 } else { entry });
    }
    while depth < end && count > 0 {
        let mut left = 0;
        for n in 0..count {
            let lane = open[n % LANES];
            let i = usize::from(lane) % LANES;
            let slot = ((keys[i] << depth) >> 58) as usize;
            let entry = region.acquire32(entries[i], 1 + runs(region.load64(entries[i]), slot));
            entries[i] = entry;
            open[left % LANES] = lane;
            left += usize::from(!is_leaf(entry));
            region.prefetch(if is_leaf(entry) { 0 } else { entry });
        }
        count = left;
        depth += 6;
    }
}
