//! Copies for mirrors ([`crate::tables::mirrors`]): of what comes, as it came, once its VIF is known; of what leaves, once it
//! is on its ring. They are made in frames of their own and sent behind the originals, whose way and order they do not
//! touch. A worker without mirrors pays for two looks per burst, and one per turn.
//!
//! All mirrors of a worker may use `PERCENT` of its time, as estimated, and no more of a transmit ring than its half.

mod front;

use std::sync::Arc;

use self::front::{Copied, Known};
use super::{Burst, Column, Context, Lanes, WIDTH};
use crate::cpu::ROWS;
use crate::cpu::eights::{EightWork, Eights, in_eights};
use crate::fib::FibReader;
use crate::limit::TimeShare;
use crate::port::{BURST, Frame, Octets, Pool};
use crate::tables::mirrors::{Mirror, MirrorCounters, Mirrored, Missed};
use crate::tables::{Facts, PortId, Snapshot, VifId};
use crate::wire::bpf::Program;

/// What all mirrors of a worker may use of its time.
const PERCENT: u64 = 10;
/// Estimates on the slow side, in nanoseconds: one instruction of a filter; a copy, and 8 octets of it.
const PER_INSTRUCTION: u64 = 1;
const PER_COPY: u64 = 100;
const PER_WORD: u64 = 1;
/// What mirrors may use at once, in nanoseconds: some bursts of long frames.
const AT_ONCE: u64 = 4 * BURST as u64 * (PER_COPY + 256 * PER_WORD);

/// The mirrors of a worker, and the copies of the burst under way.
#[derive(Debug)]
pub struct Copies {
    attached: Vec<Attached>,
    waiting: Vec<Waiting>,
    time: TimeShare,
    /// [`Snapshot::generation`] of the tables that the mirrors were held against.
    generation: Option<u64>,
    /// The worker.
    number: usize,
}

/// A copy that waits until the originals are on their rings.
#[derive(Debug)]
struct Waiting {
    frame: Frame,
    /// By which it leaves.
    port: PortId,
    /// The mirror, by number.
    of: usize,
    truncated: bool,
}

/// A worker's end of a mirror.
#[derive(Debug)]
struct Attached {
    mirror: Arc<Mirror>,
    /// It is a mirror in the tables.
    fits: bool,
    /// What the worker has of its rate, in octets.
    leased: u64,
    /// The way of copies.
    way: Known,
}

/// What a copy is made with.
struct Scene<'a> {
    tables: &'a Snapshot,
    fib: &'a FibReader,
    pool: &'a mut Pool,
    now: u64,
}

/// Copies what came, as it came.
#[inline(always)]
pub fn run(burst: &mut Burst, c: &mut Context<'_>) {
    if !c.copies.attached.is_empty() {
        let Context { copies, tables, fib, pool, port, now, .. } = c;
        copies.came(burst, *port, Scene { tables, fib, pool, now: *now });
    }
}

impl Default for Copies {
    fn default() -> Copies {
        Copies::new(0)
    }
}

impl Copies {
    /// None yet, of the worker with this number.
    pub fn new(number: usize) -> Copies {
        let (attached, waiting) = (Vec::new(), Vec::new());
        Copies { attached, waiting, time: TimeShare::full(AT_ONCE), generation: None, number }
    }

    /// These are the mirrors from now on. Between turns.
    pub fn follow(&mut self, mirrors: &[Arc<Mirror>]) {
        let mut old = std::mem::take(&mut self.attached);
        for mirror in mirrors {
            let known = old.iter().position(|old| Arc::ptr_eq(&old.mirror, mirror));
            let known = known.map(|at| old.swap_remove(at));
            self.attached.push(known.unwrap_or_else(|| Attached::new(mirror.clone())));
        }
        // No allocation later: at most a copy of each frame as it came and one as it left.
        self.waiting.reserve(2 * BURST * self.attached.len());
        self.generation = None;
    }

    /// Whether there is no mirror.
    #[inline(always)]
    pub fn is_empty(&self) -> bool {
        self.attached.is_empty()
    }

    /// Before the bursts of a turn: time has passed, and the tables may be others.
    #[inline(always)]
    pub fn begin_turn(&mut self, tables: &Snapshot, now: u64) {
        if !self.is_empty() {
            self.renew(tables, now);
        }
    }

    #[cold]
    #[inline(never)]
    fn renew(&mut self, tables: &Snapshot, now: u64) {
        self.time.renew(now, PERCENT, 1);
        if self.generation != Some(tables.generation) {
            self.generation = Some(tables.generation);
            for attached in &mut self.attached {
                attached.fits = attached.mirror.unfit(tables).is_none();
            }
        }
    }

    #[cold]
    #[inline(never)]
    fn came(&mut self, burst: &Burst, port: PortId, mut scene: Scene<'_>) {
        for at in 0..self.attached.len() {
            let lanes = match self.attached[at].wants(false) {
                Some(Mirrored::Port(id, _)) if *id == port => burst.all(),
                Some(Mirrored::Vif(id, ..)) => of_vif(burst.known, &burst.place, *id),
                Some(Mirrored::Port(..)) | None => continue,
            };
            for lane in lanes {
                self.copy(at, &mut scene, (burst.at[lane], burst.octets[lane]), false);
            }
        }
    }

    /// Copies what of a burst was put on rings, and is still there.
    #[cold]
    #[inline(never)]
    pub fn left(&mut self, burst: &Burst, c: (&Snapshot, &FibReader), pool: &mut Pool, now: u64) {
        let mut scene = Scene { tables: c.0, fib: c.1, pool, now };
        for at in 0..self.attached.len() {
            let lanes = match self.attached[at].wants(true) {
                Some(Mirrored::Port(id, _)) => by_port(burst, *id),
                Some(Mirrored::Vif(id, ..)) => of_vif(burst.live, &burst.to_place, *id),
                None => continue,
            };
            for lane in lanes {
                self.copy(at, &mut scene, (burst.to_at[lane], burst.to_octets[lane]), true);
            }
        }
    }

    /// Copies a frame of the slow path that was put on a port's ring, for a VIF, and is still there.
    #[cold]
    #[inline(never)]
    pub fn originated(
        &mut self,
        (port, vif): (PortId, VifId),
        octets: (u32, u32),
        c: (&Snapshot, &FibReader),
        pool: &mut Pool,
        now: u64,
    ) {
        let mut scene = Scene { tables: c.0, fib: c.1, pool, now };
        for at in 0..self.attached.len() {
            let is_wanted = match self.attached[at].wants(true) {
                Some(Mirrored::Port(id, _)) => *id == port,
                Some(Mirrored::Vif(id, ..)) => *id == vif,
                None => false,
            };
            if is_wanted {
                self.copy(at, &mut scene, octets, true);
            }
        }
    }

    /// Makes a copy of octets of a frame, and has it wait.
    fn copy(&mut self, at: usize, scene: &mut Scene<'_>, octets: (u32, u32), outbound: bool) {
        let Copies { attached, waiting, time, number, .. } = self;
        let attached = &mut attached[at];
        match attached.make(scene, time, octets, outbound) {
            Ok(Some((frame, port, truncated))) => {
                waiting.push(Waiting { frame, port, of: at, truncated });
            }
            Ok(None) => {}
            Err(missed) => attached.missed(*number, missed),
        }
    }

    /// Sends the copies that wait by `put`, which gives the octets of what it sent.
    pub fn send(&mut self, mut put: impl FnMut(Frame, PortId) -> Result<u64, Missed>) {
        for Waiting { frame, port, of, truncated } in self.waiting.drain(..) {
            let attached = &self.attached[of];
            match put(frame, port) {
                Err(missed) => attached.missed(self.number, missed),
                Ok(octets) => attached.count(self.number, |counters| {
                    counters.copies.add(1);
                    counters.octets.add(octets);
                    counters.truncated.add(u64::from(truncated));
                }),
            }
        }
    }
}

impl Attached {
    /// Of the tables it is not known yet whether it is a mirror there.
    fn new(mirror: Arc<Mirror>) -> Attached {
        Attached { mirror, fits: false, leased: 0, way: Known::default() }
    }

    /// Of whom copies are wanted of what comes, or of what leaves, if they are.
    fn wants(&self, outbound: bool) -> Option<&Mirrored> {
        let Mirror { of, inbound, outbound: out, .. } = &*self.mirror;
        let is_wanted = self.fits && if outbound { *out } else { *inbound };
        is_wanted.then_some(of)
    }

    fn count(&self, worker: usize, count: impl FnOnce(&MirrorCounters)) {
        if let Some(counters) = self.mirror.counters.get(worker) {
            count(counters);
        }
    }

    fn missed(&self, worker: usize, missed: Missed) {
        self.count(worker, |counters| counters.missed[missed as usize].add(1));
    }

    /// A copy, by which port it is to leave, and whether it lacks the frame's end; nothing where the filter does not take
    /// the frame.
    #[expect(clippy::cast_possible_truncation, reason = "a packet has at most 9,238 octets")]
    fn make(
        &mut self,
        scene: &mut Scene<'_>,
        time: &mut TimeShare,
        (at, len): (u32, u32),
        outbound: bool,
    ) -> Result<Option<(Frame, PortId, bool)>, Missed> {
        let Attached { mirror, leased, way, .. } = self;
        let mut spend = |ns| if time.take(ns) { Ok(()) } else { Err(Missed::Time) };
        let whole = scene.pool.area().whole_at(at, len);
        let len = whole.start().len;
        let filter = mirror.filter.as_ref();
        spend(filter.map_or(0, Program::instructions) as u64 * PER_INSTRUCTION)?;
        if filter.is_some_and(|filter| !filter.takes(whole.start())) {
            return Ok(None);
        }
        let way = way.now(&mirror.to, scene.tables, scene.fib).ok_or(Missed::NoWay)?;
        let kept = len.min(mirror.snap).min(way.room);
        spend(PER_COPY + kept as u64 / 8 * PER_WORD)?;
        let of = Copied { packet: whole, kept, outbound, now_ns: scene.now };
        let front = way.front(&mirror.to, &of, &mirror.numbered).ok_or(Missed::NoWay)?;
        let (skip, truncated) = (front.instead_of(), kept < len);
        let octets = (front.octets().len() + kept).saturating_sub(skip);
        if !mirror.limit.spend(leased, octets as u64, scene.now) {
            return Err(Missed::Rate);
        }
        let rest = (at + skip as u32, (kept - skip) as u32);
        let frame = scene.pool.take_copy(front.octets(), rest).ok_or(Missed::Memory)?;
        Ok(Some((frame, way.port, truncated)))
    }
}

/// Of these lanes, those of a VIF, whose places are in a column.
fn of_vif(lanes: Lanes, places: &Column, vif: VifId) -> Lanes {
    in_eights(Marked { lanes, column: places, mask: 0xffff, mark: vif.0.into() })
}

/// The live lanes that left by a port.
fn by_port(burst: &Burst, port: PortId) -> Lanes {
    let (mask, mark) = (!Facts::by_port(u32::MAX, PortId(0)), Facts::by_port(0, port));
    in_eights(Marked { lanes: burst.live, column: &burst.to_rules, mask, mark })
}

/// Finds lanes that have a mark in a column.
struct Marked<'a> {
    lanes: Lanes,
    column: &'a Column,
    mask: u32,
    mark: u32,
}

impl EightWork for Marked<'_> {
    type Answer = Lanes;

    #[inline(always)]
    fn run<E: Eights>(self, e: E) -> Lanes {
        let Marked { lanes, column, mask, mark } = self;
        let (mask, mark) = (e.splat(mask), e.splat(mark));
        let other = |eight| e.xor(e.and(e.load(eight), mask), mark);
        let eights = &column.as_chunks().0[..lanes.eights().end.div_ceil(ROWS)];
        // Most bursts have nothing of what is mirrored.
        let least =
            eights.iter().fold(e.splat(u32::MAX), |least, eight| e.least(least, other(eight)));
        if !e.store(least).contains(&0) {
            return Lanes(0);
        }
        let mut others = [1; WIDTH];
        for (others, eight) in others.as_chunks_mut::<ROWS>().0.iter_mut().zip(eights) {
            *others = e.store(other(eight));
        }
        lanes.and(Lanes::zero(&others))
    }
}
