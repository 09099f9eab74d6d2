//! From counters that only grow to bins: what came since the last reading, whose it is, and which five minutes it belongs
//! to. Neither a clock nor a counter is read here.

use std::sync::Arc;

use super::block::{BIN_S, Block, Marks, Owner};
use crate::blocks::span_of;
use crate::clock::Moment;
use crate::observe::Traffic;
use crate::tables::VifId;

/// The clock was set where it differs from the time that has passed by so many milliseconds; and so late may the counters
/// be read at a bin's end, and so much more or less than five minutes may have passed.
pub(super) const TOLERANCE_MS: u64 = 1000;

/// An id of a VIF.
#[derive(Clone, Debug, Default)]
struct Slot {
    owner: Option<Arc<Owner>>,
    /// What it had counted at the last reading.
    counted: Traffic,
}

/// Why the counters are to be read now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Due {
    /// The clock was set, by so many milliseconds.
    pub step_ms: Option<i64>,
}

/// The open bin, and what leads to the next.
#[derive(Debug)]
pub struct Meter {
    slots: Vec<Slot>,
    open: Block,
    /// The last look at the clocks.
    looked: Moment,
    /// When the counters were read last.
    read_ms: u64,
}

impl Meter {
    /// One that begins now: nobody has counted anything yet.
    pub fn new(now: Moment) -> Meter {
        let open = Block::new(span_of::<Block>(now.wall_ms), now.wall_ms, Marks::START);
        Meter { slots: Vec::new(), open, looked: now, read_ms: now.steady_ms }
    }

    /// Milliseconds until the open bin ends.
    pub fn left_ms(&self, now: Moment) -> u64 {
        self.end_ms().saturating_sub(now.wall_ms)
    }

    fn end_ms(&self) -> u64 {
        (self.open.start_s() + BIN_S) * 1000
    }

    /// When the open bin begins: milliseconds since 1970.
    pub fn start_ms(&self) -> u64 {
        self.open.start_s() * 1000
    }

    /// Looks at the clocks. Where it says so, the counters are to be read, and the bin to be [`Meter::close`]d.
    pub fn look(&mut self, now: Moment) -> Option<Due> {
        let passed = |from: u64, to: u64| i128::from(to) - i128::from(from);
        let step =
            passed(self.looked.wall_ms, now.wall_ms) - passed(self.looked.steady_ms, now.steady_ms);
        self.looked = now;
        let step_ms = i64::try_from(step).unwrap_or(i64::MAX);
        let step_ms = (step_ms.unsigned_abs() >= TOLERANCE_MS).then_some(step_ms);
        (step_ms.is_some() || now.wall_ms >= self.end_ms()).then_some(Due { step_ms })
    }

    /// The ids that belong to somebody: those that are to be read.
    pub fn ids(&self) -> impl Iterator<Item = VifId> + '_ {
        let ids = (0..=u16::MAX).map(VifId).zip(&self.slots);
        ids.filter(|(_, slot)| slot.owner.is_some()).map(|(id, _)| id)
    }

    /// Takes in what an id has counted. A counter that is behind its last reading has begun anew.
    pub fn count(&mut self, id: VifId, counted: Traffic) {
        let Some(slot) = self.slots.get_mut(id.index()) else { return };
        let passed = counted.since(&slot.counted).unwrap_or(counted);
        slot.counted = counted;
        if let Some(owner) = slot.owner.as_deref()
            && passed != Traffic::default()
        {
            match self.open.counts.get_mut(owner) {
                Some(sum) => sum.plus(&passed),
                None => drop(self.open.counts.insert(owner.clone(), passed)),
            }
        }
    }

    /// The ids fell free, and had counted so much when no worker used them any more: what they count from now on is the
    /// next owner's.
    pub fn free(&mut self, freed: &[(VifId, Traffic)]) {
        for &(id, counted) in freed {
            self.count(id, counted);
            if let Some(slot) = self.slots.get_mut(id.index()) {
                slot.owner = None;
            }
        }
    }

    /// The ids have these owners from now on. What one has counted that had another is the old one's: `read` says how
    /// much that is.
    pub fn own(&mut self, owners: Vec<Option<Owner>>, read: impl Fn(VifId) -> Traffic) {
        if self.slots.len() < owners.len() {
            self.slots.resize(owners.len(), Slot::default());
        }
        let owners = owners.into_iter().chain(std::iter::repeat(None));
        for ((id, owner), at) in (0..=u16::MAX).map(VifId).zip(owners).zip(0..self.slots.len()) {
            let old = self.slots[at].owner.as_deref();
            if old == owner.as_ref() {
                continue;
            }
            if old.is_some() {
                self.count(id, read(id));
            }
            self.slots[at].owner = owner.map(Arc::new);
        }
    }

    /// The counters have been read: ends the open bin, and begins the one that the clock shows; or goes on with it where
    /// it is the same.
    pub fn close(&mut self, now: Moment, due: Due) -> Option<Block> {
        self.note_time(now);
        let late = |end_ms: u64| now.wall_ms > end_ms + TOLERANCE_MS;
        let next = span_of::<Block>(now.wall_ms);
        let mut marks = Marks::default();
        if due.step_ms.is_some() {
            marks = Marks::CLOCK;
            self.mark(Marks::CLOCK);
        } else if late(self.end_ms()) {
            self.mark(Marks::LATE);
            if late(u64::from(next) * BIN_S * 1000) || next > self.open.bin + 1 {
                marks = Marks::LATE;
            }
        }
        if next == self.open.bin {
            return None;
        }
        let off = self.open.observed_ms.abs_diff(BIN_S * 1000);
        if self.open.is_complete() && off > TOLERANCE_MS {
            self.mark(Marks::CLOCK);
        }
        Some(std::mem::replace(&mut self.open, Block::new(next, now.wall_ms, marks)))
    }

    /// The counters have been read: the open bin as far as it is.
    pub fn open(&mut self, now: Moment) -> &Block {
        self.note_time(now);
        &self.open
    }

    /// The counters have been read for the last time: the open bin as far as it is.
    pub fn stop(mut self, now: Moment) -> Block {
        self.note_time(now);
        self.mark(Marks::STOP);
        self.open
    }

    fn mark(&mut self, marks: Marks) {
        self.open.marks = self.open.marks.with(marks);
    }

    fn note_time(&mut self, now: Moment) {
        self.open.observed_ms += now.steady_ms.saturating_sub(self.read_ms);
        self.open.end_ms = now.wall_ms;
        self.read_ms = now.steady_ms;
    }
}
