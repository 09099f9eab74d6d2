//! Which vector code is fastest here, and for which traffic a flat table is: found by trying.

use super::super::chunk::leaf;
use super::super::traffic::{ALL, Times, Traffic, turn};
use super::kernels::{Kernels, LANES, Lanes, Task};
use super::{Region, View};
use std::fmt;
use std::sync::OnceLock;
use std::time::Duration;

/// Chunks, and words of each: two cache lines, as most have to which traffic goes. As much memory as a full table takes.
const CHUNKS: u32 = 1 << 15;
const CHUNK_WORDS: u32 = 16;
/// Words of the IPv4 root table before them.
const ROOT: u32 = 1 << 17;
/// Where the flat table is, and its words.
const FLAT: u32 = ROOT + CHUNK_WORDS * CHUNKS;
const FLAT_WORDS: u32 = 1 << 22;
/// How many chunks lie on the way to a leaf.
const LEVELS: u32 = 4;
/// Bursts that each rival does at a time.
const BURSTS: usize = 1 << 7;
/// Turns of each: enough that some find the caches as many turns leave them.
const ROUNDS: usize = 8;
/// Processor time of all turns. Those that are left then have one each.
const BUDGET: Duration = Duration::from_millis(12);

/// What was found fastest on this machine when the first reader was made.
#[derive(Debug)]
pub struct Choice {
    kernels: Kernels,
    /// Times of IPv4 lookups, the more the traffic is spread; none where nothing was tried.
    ipv4: Option<[Times; 3]>,
    /// Processor time.
    took: Duration,
}

impl Choice {
    /// The choice, which the first call makes. Neither the processor's flags nor its name would tell: gathers may be several times
    /// slower on one than on another of the same kind (by the microcode that keeps them from leaking data).
    pub(in crate::fib) fn of_this_machine() -> &'static Choice {
        static CHOICE: OnceLock<Choice> = OnceLock::new();
        CHOICE.get_or_init(|| {
            let mut rivals = Kernels::available();
            // Without AVX2 is for tests where there is AVX2.
            rivals.truncate((rivals.len() - 1).max(1));
            let start = processor_time();
            // Where there is nothing to compare, and where time is no measure.
            let raced = if cfg!(any(miri, loom)) { None } else { race(&rivals) };
            let (kernels, ipv4) = match raced {
                Some((kernels, ipv4)) => (kernels, Some(ipv4)),
                None => (rivals[rivals.len() - 1], None),
            };
            Choice { kernels, ipv4, took: processor_time() - start }
        })
    }

    pub(in crate::fib) fn kernels(&self) -> Kernels {
        self.kernels
    }

    /// The share of misses from which on bursts leave a flat table. Where chunks are the faster ones at the last, it is not beyond
    /// the middle: what lies between is not known, and a hostile customer chooses destinations.
    pub(in crate::fib) fn turn(&self) -> u32 {
        self.ipv4.map_or(u32::MAX, |times| match turn(&times) {
            u32::MAX => u32::MAX,
            turn => turn.min(times[1].misses),
        })
    }
}

impl fmt::Display for Choice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Choice { kernels, ipv4, took } = self;
        let [flat, chunks, deep] =
            [kernels.flat, kernels.compact, kernels.deep].map(|level| kernels.name_of(level));
        write!(f, "IPv4 flat tables {flat}, IPv4 chunks {chunks}, IPv6 and small VRFs {deep}")?;
        let Some(times) = ipv4 else { return Ok(()) };
        match self.turn() {
            0 => write!(f, "; chunks always")?,
            u32::MAX => write!(f, "; a flat table always")?,
            turn => write!(f, "; chunks from {} % misses of a flat table", 100 * turn / ALL)?,
        }
        for Times { misses, flat, chunks } in times {
            write!(f, "; at {} % {flat:.1} and {chunks:.1} ns a lookup", 100 * misses / ALL)?;
        }
        write!(f, "; found in {:.1} ms", took.as_secs_f64() * 1e3)
    }
}

/// The fastest for each kind of step, on tables as large as real ones, where its results are taken: a flat table's where traffic is near
/// or not far, chunks' where it is far or not near. And what IPv4's lookups take in both layouts for such traffic.
fn race(rivals: &[Kernels]) -> Option<(Kernels, [Times; 3])> {
    let region = Region::new(FLAT + FLAT_WORDS).ok()?;
    let view = region.view();
    let mut seed = 1u64;
    let mut random = || {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        u32::try_from(seed >> 33).unwrap_or_default()
    };
    let pair = |low: u32, high: u32| u64::from(low) | u64::from(high) << 32;
    // Some addresses that each have a line of the first-level cache, all that have a chunk of their own, and all that there are.
    let mut some = |addr: &dyn Fn(u32) -> u32| -> Vec<Lanes<u32>> {
        (0..BURSTS * ROUNDS).map(|_| std::array::from_fn(|_| addr(random() << 1))).collect()
    };
    let near = some(&|addr| (addr >> 24).wrapping_mul(0x9E37_79B9) & !(7 << 14));
    let [mid, far] = [some(&|addr| addr & !(7 << 14)), some(&|addr| addr)];

    // As IPv4 has it: of the root table's entries one in eight leads to a chunk of its own, of sixty runs with short
    // values, and the others to a shared one.
    for word in 0..ROOT {
        let own = if word % 4 == 0 { word / 4 } else { 0 };
        region.store64(word, pair(ROOT + CHUNK_WORDS * own, ROOT));
    }
    for number in 0..CHUNKS {
        let at = ROOT + CHUNK_WORDS * number;
        region.store64(at, u64::MAX >> 4);
        (1..CHUNK_WORDS).for_each(|word| region.store64(at + word, 0x0001_0001_0001_0001));
    }
    region.fill16(FLAT, 0, 4 * FLAT_WORDS as usize, 1);
    let end = processor_time() + BUDGET;
    let turn = |rival, kind| Turn { rival, kind, view };
    let all = |kind| rivals.iter().map(|&rival| turn(rival, kind)).collect::<Vec<_>>();
    let flat = fastest(&all(Kind::Flat), [&near, &mid], end)?;
    let compact = fastest(&all(Kind::Compact), [&mid, &far], end)?;
    let both = [turn(flat, Kind::Flat), turn(compact, Kind::Compact)];
    let mut ipv4 = [Times::default(); 3];
    for (at, addrs) in ipv4.iter_mut().zip([&near, &mid, &far]) {
        let [flat, chunks] = times(&both, addrs, end)[..] else { return None };
        *at = Times { misses: misses(addrs), flat, chunks };
    }

    // As IPv6 has it: chunks of thirty runs that lead to chunks, down to leaves, some of which come earlier.
    let mut chunk =
        |level: u32| ROOT + CHUNK_WORDS * (CHUNKS / LEVELS * level + random() % (CHUNKS / LEVELS));
    for number in 0..CHUNKS {
        let (at, level) = (ROOT + CHUNK_WORDS * number, number / (CHUNKS / LEVELS));
        region.store64(at, 0x5555_5555_5555_5555 >> 4);
        for word in 1..CHUNK_WORDS {
            let leads = word < CHUNK_WORDS - 1 && level + 1 < LEVELS;
            let entry = if leads { chunk(level + 1) } else { leaf(1) };
            region.store64(at + word, pair(entry, entry));
        }
    }
    let deep = fastest(&all(Kind::Deep), [&mid, &far], end)?;
    Some((Kernels { flat: flat.flat, compact: compact.compact, ..deep }, ipv4))
}

/// The share of misses that a reader finds in these.
fn misses(addrs: &[Lanes<u32>]) -> u32 {
    let traffic = Traffic::new(0);
    // The first ones only fill what it keeps.
    let shares: Vec<u32> = addrs.iter().map(|addrs| traffic.look(addrs)).collect();
    let last = &shares[addrs.len() / 2..];
    u32::try_from(
        last.iter().map(|&share| u64::from(share)).sum::<u64>() / last.len().max(1) as u64,
    )
    .unwrap_or(ALL)
}

/// A kind of step.
#[derive(Clone, Copy)]
enum Kind {
    Compact,
    Flat,
    Deep,
}

/// A rival and what it is to do.
#[derive(Clone, Copy)]
struct Turn<'a> {
    rival: Kernels,
    kind: Kind,
    view: View<'a>,
}

/// One turn: what a rival does at a time.
struct Bursts<'a>(Turn<'a>, &'a [Lanes<u32>]);

impl Task for Bursts<'_> {
    type Answer = ();

    #[inline(always)]
    fn run(self) {
        let Bursts(Turn { rival, kind, view }, addrs) = self;
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
                    out = addrs.map(|addr| ROOT + CHUNK_WORDS * (addr % (CHUNKS / LEVELS)));
                    rival.descend(view, &keys, &mut out, (0, 60), LANES);
                }
            }
            std::hint::black_box(&out);
        }
    }
}

/// The best time of each, in nanoseconds a lookup. All take turns; each round has the next [`BURSTS`] of `addrs`, for the same ones
/// again would be in the caches whatever they are.
fn times(turns: &[Turn], addrs: &[Lanes<u32>], end: Duration) -> Vec<f64> {
    let mut best = vec![Duration::MAX; turns.len()];
    for addrs in addrs.chunks(BURSTS) {
        for (best, &turn) in best.iter_mut().zip(turns) {
            let start = processor_time();
            turn.rival.run(Bursts(turn, addrs));
            *best = processor_time().saturating_sub(start).min(*best);
        }
        if processor_time() > end {
            break;
        }
    }
    let lookups = (BURSTS * LANES) as f64;
    best.into_iter().map(|best| best.as_secs_f64() * 1e9 / lookups).collect()
}

/// Processor time of this thread: what others do on a busy machine is not in it.
fn processor_time() -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the kernel writes what it is given.
    unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &mut time) };
    let part = |part: i64| u64::try_from(part).unwrap_or_default();
    Duration::from_secs(part(time.tv_sec)) + Duration::from_nanos(part(time.tv_nsec))
}

/// The one whose best times for two kinds of traffic have the smallest product, so that a ratio counts as much in either. The first of
/// those that are a twentieth apart, so that noise does not choose.
fn fastest(turns: &[Turn], traffic: [&[Lanes<u32>]; 2], end: Duration) -> Option<Kernels> {
    let [one, other] = traffic.map(|addrs| times(turns, addrs, end));
    let products: Vec<f64> = one.iter().zip(other).map(|(one, other)| one * other).collect();
    let enough = products.iter().copied().reduce(f64::min)? * 1.05 * 1.05;
    let first = products.iter().position(|&product| product <= enough)?;
    turns.get(first).map(|turn| turn.rival)
}

#[cfg(all(test, not(miri)))]
mod tests {
    use super::*;

    #[test]
    fn a_race_has_a_winner_and_is_short() {
        let rivals = Kernels::available();
        let start = processor_time();
        let (winner, ipv4) = race(&rivals).unwrap();
        let took = processor_time() - start;
        println!("{winner:?} of {rivals:?}, {ipv4:?}, in {took:?}");
        // What a race may take, and the making of its tables: here by code that is not optimized.
        assert!(took < 25 * BUDGET, "{took:?}");
        println!("{}", Choice::of_this_machine());
    }
}
