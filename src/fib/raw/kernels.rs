//! The steps of a burst, 64 lanes at a time, in the widest form that this processor has.

use super::super::chunk::{is_leaf, runs};
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
    /// Plain code with the population count in one instruction.
    #[cfg(all(target_arch = "x86_64", not(any(miri, loom))))]
    Popcnt,
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
    /// For IPv4's tables and compact chunks.
    pub(super) flat: Level,
    /// For chunks below chunks.
    pub(super) deep: Level,
}

impl Kernels {
    fn all(level: Level) -> Kernels {
        Kernels { flat: level, deep: level }
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
            let avx512 = is_x86_feature_detected!("avx512f")
                && is_x86_feature_detected!("avx512vl")
                && is_x86_feature_detected!("avx512bw")
                && is_x86_feature_detected!("avx512dq");
            if avx512 && is_x86_feature_detected!("avx512vpopcntdq") {
                levels.push(Kernels::all(Level::Avx512Popcnt));
            }
            if avx512 {
                levels.push(Kernels::all(Level::Avx512));
            }
            let scalar = is_x86_feature_detected!("popcnt") && is_x86_feature_detected!("bmi2");
            if scalar && is_x86_feature_detected!("avx2") {
                levels.push(Kernels::all(Level::Avx2));
            }
            if scalar {
                levels.push(Kernels::all(Level::Popcnt));
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
            Level::Popcnt => "popcnt",
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
    pub(in crate::fib) fn with_popcnt<T>(self, f: impl FnOnce() -> T) -> T {
        #[cfg(all(target_arch = "x86_64", not(any(miri, loom))))]
        if self.deep != Level::Scalar {
            // SAFETY: every level above scalar implies popcnt and bmi2, see `available`.
            return unsafe { avx2::with_popcnt(f) };
        }
        f()
    }

    /// `out[i]` becomes the `index[i]`-th entry of `table`.
    #[inline(always)]
    pub(in crate::fib) fn gather(
        self,
        region: &Region,
        table: u32,
        index: &Lanes<u32>,
        out: &mut Lanes<u32>,
    ) {
        match self.flat {
            #[cfg(all(target_arch = "x86_64", not(any(miri, loom))))]
            // SAFETY: the processor has what the level says.
            Level::Avx512 | Level::Avx512Popcnt => unsafe {
                avx512::gather(region, table, index, out);
            },
            _ => {
                for (out, &index) in out.iter_mut().zip(index) {
                    *out = region.acquire32(table, index as usize);
                }
            }
        }
    }

    /// Where `entries[i]` is no leaf but a table, it becomes that table's `index[i]`-th entry.
    #[inline(always)]
    pub(in crate::fib) fn gather_through(
        self,
        region: &Region,
        index: &Lanes<u32>,
        entries: &mut Lanes<u32>,
    ) {
        match self.deep {
            #[cfg(all(target_arch = "x86_64", not(any(miri, loom))))]
            // SAFETY: the processor has what the level says.
            Level::Avx512 | Level::Avx512Popcnt => unsafe {
                avx512::gather_through(region, index, entries);
            },
            _ => {
                for (entry, &index) in entries.iter_mut().zip(index) {
                    if !is_leaf(*entry) {
                        *entry = region.acquire32(*entry, index as usize);
                    }
                }
            }
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
        match self.flat {
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
            // SAFETY: the processor has what the level says.
            #[cfg(all(target_arch = "x86_64", not(any(miri, loom))))]
            Level::Popcnt => unsafe { avx2::compact_plain(region, chunks, addrs, defaults, out) },
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
            Level::Avx2 | Level::Popcnt => unsafe {
                avx2::descend(region, keys, entries, depth, end);
            },
            Level::Scalar => descend(region, keys, entries, depth, end),
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
    for &chunk in chunks {
        region.prefetch(chunk);
    }
    let mut any = 0;
    let mut shorts = [0; LANES];
    for i in 0..LANES {
        let slot = (addrs[i] >> 8 & 63) as usize;
        let short = region.acquire16(chunks[i], 3 + runs(region.load64(chunks[i]), slot));
        any |= short;
        shorts[i] = short;
        out[i] = if short == 0 { defaults[i] } else { u32::from(short) };
    }
    if any < ESCAPE {
        return 0;
    }
    let bits = shorts.iter().enumerate().map(|(i, &short)| u64::from(short >= ESCAPE) << i);
    bits.fold(0, |all, bit| all | bit)
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
    while depth < end {
        let mut open = false;
        for &entry in &*entries {
            if !is_leaf(entry) {
                region.prefetch(entry);
                open = true;
            }
        }
        if !open {
            return;
        }
        for (entry, &key) in entries.iter_mut().zip(keys) {
            if !is_leaf(*entry) {
                let slot = ((key << depth) >> 58) as usize;
                *entry = region.acquire32(*entry, 1 + runs(region.load64(*entry), slot));
            }
        }
        depth += 6;
    }
}
