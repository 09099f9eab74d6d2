//! The steps of a burst, 64 lanes at a time, in the widest form that this processor has.

use super::super::chunk::{is_leaf, runs};
use super::super::compact::ESCAPE;
use super::View;
#[cfg(all(target_arch = "x86_64", not(any(miri, loom))))]
use super::avx512;

/// Lanes of a burst.
pub(in crate::fib) const LANES: usize = 64;

/// A value a lane.
pub(in crate::fib) type Lanes<T> = [T; LANES];

/// Which instructions a kind of step uses; made only by `available`, so having one proves that the processor has them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Level {
    /// Those that `Kernels::run` has the code compiled for.
    Plain,
    #[cfg(all(target_arch = "x86_64", not(any(miri, loom))))]
    Avx512,
    /// With a vector population count.
    #[cfg(all(target_arch = "x86_64", not(any(miri, loom))))]
    Avx512Popcnt,
}

/// Something to compile for more than one kind of processor. `run` must be `#[inline(always)]`, and all that it calls, for only what is
/// inlined is compiled so (which closures and functions as values are not).
pub(in crate::fib) trait Task {
    type Answer;
    fn run(self) -> Self::Answer;
}

/// The steps of a burst, for this processor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::fib) struct Kernels {
    /// Whether plain code is compiled for AVX2 and what comes with it; made only by `available`.
    pub(super) avx2: bool,
    /// For IPv4's flat tables.
    pub(super) flat: Level,
    /// For IPv4's root tables and compact chunks.
    pub(super) compact: Level,
    /// For IPv6's tables, and chunks below chunks.
    pub(super) deep: Level,
}

impl Kernels {
    fn all(avx2: bool, level: Level) -> Kernels {
        Kernels { avx2, flat: level, compact: level, deep: level }
    }

    /// All that this processor has, the most plain last.
    pub(in crate::fib) fn available() -> Vec<Kernels> {
        let mut kernels = vec![];
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
                kernels.push(Kernels::all(true, Level::Avx512Popcnt));
            }
            if avx512 {
                kernels.push(Kernels::all(true, Level::Avx512));
            }
            if avx2 {
                kernels.push(Kernels::all(true, Level::Plain));
            }
        }
        kernels.push(Kernels::all(false, Level::Plain));
        kernels
    }

    /// What these are called in benchmarks, where all steps are of one kind.
    pub(in crate::fib) fn name(self) -> &'static str {
        self.name_of(self.deep)
    }

    /// What a kind of step is called that these have.
    pub(super) fn name_of(self, level: Level) -> &'static str {
        match level {
            Level::Plain if self.avx2 => "avx2",
            Level::Plain => "scalar",
            #[cfg(all(target_arch = "x86_64", not(any(miri, loom))))]
            Level::Avx512 => "avx512",
            #[cfg(all(target_arch = "x86_64", not(any(miri, loom))))]
            Level::Avx512Popcnt => "avx512-popcnt",
        }
    }

    /// Does `task`, compiled for AVX-512 if a kind of step uses that, else for AVX2, its population count and its shifts if this
    /// processor has them. Everything plain is to be done so.
    #[inline(always)]
    pub(in crate::fib) fn run<T: Task>(self, task: T) -> T::Answer {
        #[cfg(all(target_arch = "x86_64", not(any(miri, loom))))]
        if [self.flat, self.compact, self.deep] != [Level::Plain; 3] {
            #[target_feature(enable = "avx2,popcnt,bmi1,bmi2,avx512f,avx512vl,avx512bw,avx512dq")]
            fn with_avx512<T: Task>(task: T) -> T::Answer {
                task.run()
            }
            // SAFETY: the processor has these, see `available`.
            return unsafe { with_avx512(task) };
        }
        #[cfg(all(target_arch = "x86_64", not(any(miri, loom))))]
        if self.avx2 {
            #[target_feature(enable = "avx2,popcnt,bmi1,bmi2")]
            fn with_avx2<T: Task>(task: T) -> T::Answer {
                task.run()
            }
            // SAFETY: the processor has these, see `available`.
            return unsafe { with_avx2(task) };
        }
        task.run()
    }

    /// `chunks[i]` becomes the entry of IPv4's root table for the first 18 bits of `addrs[i]`. Here and below, only the first `count`
    /// lanes need be done.
    #[inline(always)]
    pub(in crate::fib) fn root4(
        self,
        region: View,
        table: u32,
        addrs: &Lanes<u32>,
        chunks: &mut Lanes<u32>,
        count: usize,
    ) {
        match self.compact {
            #[cfg(all(target_arch = "x86_64", not(any(miri, loom))))]
            // SAFETY: the processor has what the level says.
            Level::Avx512 | Level::Avx512Popcnt => unsafe {
                avx512::root4(region, table, addrs, chunks);
            },
            Level::Plain => root4(region, table, addrs, chunks, count),
        }
    }

    /// Asks for what `flat4` will look at. A prefetch retires at once, so that all lanes' misses overlap; loads that miss
    /// soon fill the reorder buffer. Gathers do without.
    #[inline(always)]
    pub(in crate::fib) fn ask_flat4(
        self,
        region: View,
        table: u32,
        addrs: &Lanes<u32>,
        count: usize,
    ) {
        if self.flat == Level::Plain {
            for &addr in addrs.iter().take(count) {
                region.prefetch_flat(table, (addr >> 8) as usize);
            }
        }
    }

    /// The answers of a flat table for the first 24 bits of `addrs`, and the lanes without one, as in `compact`.
    #[inline(always)]
    pub(in crate::fib) fn flat4(
        self,
        region: View,
        table: u32,
        addrs: &Lanes<u32>,
        defaults: &Lanes<u32>,
        out: &mut Lanes<u32>,
        count: usize,
    ) -> u64 {
        match self.flat {
            #[cfg(all(target_arch = "x86_64", not(any(miri, loom))))]
            // SAFETY: the processor has what the level says.
            Level::Avx512 | Level::Avx512Popcnt => unsafe {
                avx512::flat4(region, table, addrs, defaults, out)
            },
            Level::Plain => flat4(region, table, addrs, defaults, out, count),
        }
    }

    /// The answers of compact chunks for bits 18 to 23 of `addrs`; `defaults` where the value is 0. Gives a bit for each
    /// lane whose short entry is an escape, and has no answer there.
    #[inline(always)]
    pub(in crate::fib) fn compact(
        self,
        region: View,
        chunks: &Lanes<u32>,
        addrs: &Lanes<u32>,
        defaults: &Lanes<u32>,
        out: &mut Lanes<u32>,
        count: usize,
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
            Level::Plain => compact(region, chunks, addrs, defaults, out, count),
        }
    }

    /// What the tables of a large IPv6 VRF and the chunks below lead to, from the root table at `table`, as in `descend`.
    #[inline(always)]
    pub(in crate::fib) fn large6(
        self,
        region: View,
        table: u32,
        keys: &Lanes<u64>,
        entries: &mut Lanes<u32>,
        end: u8,
        count: usize,
    ) {
        match self.deep {
            #[cfg(all(target_arch = "x86_64", not(any(miri, loom))))]
            // SAFETY: the processor has what the level says.
            Level::Avx512 | Level::Avx512Popcnt => unsafe {
                *entries = [table; LANES];
                avx512::tables6(region, keys, entries, 0);
                avx512::tables6(region, keys, entries, 12);
                self.descend(region, keys, entries, (24, end), count);
            },
            Level::Plain => large6(region, table, keys, entries, end, count),
        }
    }

    /// Follows chunks from `entries` to leaves, by the bits of `keys` (left-aligned) from `depth` on up to bit `end`;
    /// lanes may be left with a chunk for the bits from there on.
    #[inline(always)]
    pub(in crate::fib) fn descend(
        self,
        region: View,
        keys: &Lanes<u64>,
        entries: &mut Lanes<u32>,
        (depth, end): (u8, u8),
        count: usize,
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
            Level::Plain => descend(region, keys, entries, (depth, end), count),
        }
    }
}

/// See `Kernels::root4`.
#[inline(always)]
pub(super) fn root4(
    region: View,
    table: u32,
    addrs: &Lanes<u32>,
    chunks: &mut Lanes<u32>,
    count: usize,
) {
    for (chunk, &addr) in chunks.iter_mut().zip(addrs).take(count) {
        *chunk = region.acquire32(table, (addr >> 14) as usize);
        region.prefetch(*chunk);
    }
}

/// See `Kernels::compact`.
#[inline(always)]
pub(super) fn compact(
    region: View,
    chunks: &Lanes<u32>,
    addrs: &Lanes<u32>,
    defaults: &Lanes<u32>,
    out: &mut Lanes<u32>,
    count: usize,
) -> u64 {
    for i in 0..count.min(LANES) {
        let slot = (addrs[i] >> 8 & 63) as usize;
        out[i] = u32::from(region.acquire16(chunks[i], 3 + runs(region.load64(chunks[i]), slot)));
    }
    finish(defaults, out)
}

/// See `Kernels::flat4`.
#[inline(always)]
pub(super) fn flat4(
    region: View,
    table: u32,
    addrs: &Lanes<u32>,
    defaults: &Lanes<u32>,
    out: &mut Lanes<u32>,
    count: usize,
) -> u64 {
    for (out, &addr) in out.iter_mut().zip(addrs).take(count) {
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

/// The lanes that are at a chunk: a list, for a branch on each lane would be guessed wrong too often. As long as an index of 8 bits can
/// reach, so that nothing has to be checked.
type Open = [u8; 256];

/// Adds `lane` to the `count` lanes in `open`, if `entry` leads to a chunk, and asks for that. Gives the new count.
#[inline(always)]
fn add(region: View, open: &mut Open, count: u8, lane: u8, entry: u32) -> u8 {
    open[usize::from(count)] = lane;
    region.prefetch(if is_leaf(entry) { 0 } else { entry });
    count + u8::from(!is_leaf(entry))
}

/// `Kernels::descend` for the first `count` lanes in `open`.
#[inline(always)]
fn follow(
    region: View,
    (mut open, mut count): (Open, u8),
    keys: &Lanes<u64>,
    entries: &mut Lanes<u32>,
    mut depth: u8,
    end: u8,
) {
    while depth < end && count > 0 {
        let mut left = 0;
        for n in 0..count {
            let lane = open[usize::from(n)];
            let i = usize::from(lane) % LANES;
            let slot = (keys[i] >> (58 - depth) & 63) as usize;
            let entry = region.acquire32(entries[i], 1 + runs(region.load64(entries[i]), slot));
            entries[i] = entry;
            left = add(region, &mut open, left, lane, entry);
        }
        count = left;
        depth += 6;
    }
}

/// See `Kernels::large6`.
#[inline(always)]
fn large6(
    region: View,
    table: u32,
    keys: &Lanes<u64>,
    entries: &mut Lanes<u32>,
    end: u8,
    lanes: usize,
) {
    let (mut open, mut count) = ([0; 256], 0);
    for (lane, (entry, &key)) in (0..).zip(entries.iter_mut().zip(keys)).take(lanes) {
        let first = region.acquire32(table, (key >> 52) as usize);
        // A lane that has its leaf looks somewhere in the root table and is not listened to.
        let second = if is_leaf(first) { table } else { first };
        let second = region.acquire32(second, (key << 12 >> 52) as usize);
        *entry = if is_leaf(first) { first } else { second };
        count = add(region, &mut open, count, lane, *entry);
    }
    follow(region, (open, count), keys, entries, 24, end);
}

/// See `Kernels::descend`.
#[inline(always)]
fn descend(
    region: View,
    keys: &Lanes<u64>,
    entries: &mut Lanes<u32>,
    (depth, end): (u8, u8),
    lanes: usize,
) {
    let (mut open, mut count) = ([0; 256], 0);
    for (lane, &entry) in (0..).zip(&*entries).take(lanes) {
        count = add(region, &mut open, count, lane, entry);
    }
    follow(region, (open, count), keys, entries, depth, end);
}
