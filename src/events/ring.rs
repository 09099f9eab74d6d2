//! The events that are kept, and the places of their readers.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::{Event, Record};

/// Events that are kept.
pub const CAPACITY: usize = 32_768;
/// Events of one VIF that are kept: one that flaps drives out nobody else's.
pub const OF_ONE_VIF: usize = 512;

/// The events that are kept.
#[derive(Debug, Default)]
pub struct Ring {
    kept: Mutex<Kept>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Kept {
    records: BTreeMap<u64, Arc<Record>>,
    /// Numbers by VIF, oldest first.
    of_vifs: HashMap<String, VecDeque<u64>>,
    /// The newest number.
    newest: u64,
    /// No event comes any more.
    ended: bool,
}

impl Kept {
    fn push(&mut self, record: Arc<Record>) {
        self.newest = record.seq;
        if let Some(vif) = record.event.vif() {
            let numbers = self.of_vifs.entry(vif.to_owned()).or_default();
            numbers.push_back(record.seq);
            let oldest = (numbers.len() > OF_ONE_VIF).then(|| numbers.pop_front()).flatten();
            oldest.map(|oldest| self.records.remove(&oldest));
        }
        self.records.insert(record.seq, record);
        if self.records.len() > CAPACITY
            && let Some((_, record)) = self.records.pop_first()
            && let Some(vif) = record.event.vif()
            && let Some(numbers) = self.of_vifs.get_mut(vif)
        {
            // It was the oldest of its VIF's too.
            numbers.pop_front();
            if numbers.is_empty() {
                self.of_vifs.remove(vif);
            }
        }
    }
}

/// What a reader gets at once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Batch {
    /// Events that are missing before and between these.
    pub lost: u64,
    /// Events, oldest first.
    pub records: Vec<Arc<Record>>,
}

impl Batch {
    /// The event that some are missing before these.
    pub fn missing(&self) -> Option<Record> {
        let first = self.records.first().filter(|_| self.lost > 0)?;
        let event = Event::Lost { count: self.lost };
        Some(Record { seq: first.seq - 1, time_ms: first.time_ms, event })
    }
}

impl Ring {
    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes events in, in the order of their numbers, and wakes readers.
    pub(super) fn extend(&self, records: impl IntoIterator<Item = Arc<Record>>) {
        let mut kept = self.kept();
        records.into_iter().for_each(|record| kept.push(record));
        drop(kept);
        self.changed.notify_all();
    }

    /// No event comes any more.
    pub(super) fn end(&self) {
        self.kept().ended = true;
        self.changed.notify_all();
    }

    /// The events that are kept, oldest first.
    pub(super) fn all(&self) -> Vec<Arc<Record>> {
        self.kept().records.values().cloned().collect()
    }

    /// The newest number; 0 where there is none.
    pub fn newest(&self) -> u64 {
        self.kept().newest
    }

    /// Whether any event names a VIF or port.
    pub fn names(&self, name: &str) -> bool {
        let kept = self.kept();
        kept.of_vifs.contains_key(name)
            || kept.records.values().any(|record| record.event.port() == Some(name))
    }

    /// The number before the first event that is not older than a moment.
    pub fn before(&self, time_ms: u64) -> u64 {
        let kept = self.kept();
        let first = kept.records.values().find(|record| record.time_ms >= time_ms);
        first.map_or(kept.newest, |record| record.seq - 1)
    }
}

/// A reader's place.
#[derive(Clone, Debug)]
pub struct Reader {
    ring: Arc<Ring>,
    seen: u64,
}

impl Reader {
    /// Reads what comes after a number.
    pub fn after(ring: Arc<Ring>, seen: u64) -> Reader {
        let seen = seen.min(ring.newest());
        Reader { ring, seen }
    }

    /// The next events, `most` at most; waits for one at most so long.
    pub fn next(&mut self, most: usize, patience: Duration) -> Batch {
        let kept = self.ring.kept();
        let nothing = |kept: &mut Kept| kept.newest <= self.seen && !kept.ended;
        let waited = self.ring.changed.wait_timeout_while(kept, patience, nothing);
        let (kept, _) = waited.unwrap_or_else(PoisonError::into_inner);
        let mut batch = Batch::default();
        for (&seq, record) in kept.records.range(self.seen + 1..).take(most) {
            batch.lost += seq - self.seen - 1;
            self.seen = seq;
            batch.records.push(record.clone());
        }
        batch
    }

    /// Passes over all but the newest events; how many were passed over.
    pub fn skip_to(&mut self, newest: u64) -> u64 {
        let from = self.ring.newest().saturating_sub(newest);
        let skipped = from.saturating_sub(self.seen);
        self.seen += skipped;
        skipped
    }

    /// The number of the event that was read last.
    pub fn seen(&self) -> u64 {
        self.seen
    }

    /// Goes back, so that what comes after a number is read again.
    pub fn back_to(&mut self, seen: u64) {
        self.seen = self.seen.min(seen);
    }

    /// No event comes any more.
    pub fn has_ended(&self) -> bool {
        self.ring.kept().ended
    }

    /// No event comes any more, and all were read.
    pub fn is_done(&self) -> bool {
        let kept = self.ring.kept();
        kept.ended && kept.newest <= self.seen
    }
}

#[cfg(test)]
mod tests {
    use super::super::Event;
    use super::*;

    const AT_ONCE: Duration = Duration::ZERO;

    fn of(vif: &str, seq: u64) -> Arc<Record> {
        let event = Event::VifUp { vif: vif.into(), port: "p".into() };
        Arc::new(Record { seq, time_ms: 10 * seq, event })
    }

    fn numbers(batch: &Batch) -> Vec<u64> {
        batch.records.iter().map(|record| record.seq).collect()
    }

    #[test]
    fn each_reader_has_its_place() {
        let ring = Arc::new(Ring::default());
        ring.extend((1..=10).map(|seq| of("a", seq)));
        let (mut old, mut new) = (Reader::after(ring.clone(), 3), Reader::after(ring.clone(), 99));
        assert_eq!(numbers(&old.next(4, AT_ONCE)), [4, 5, 6, 7]);
        assert_eq!(numbers(&old.next(4, AT_ONCE)), [8, 9, 10]);
        assert_eq!(new.next(4, AT_ONCE), Batch::default());
        ring.extend([of("a", 11)]);
        assert_eq!(numbers(&old.next(4, AT_ONCE)), [11]);
        assert_eq!(numbers(&new.next(4, AT_ONCE)), [11]);
        assert!(!old.is_done());
        ring.end();
        assert!(old.is_done());
        assert_eq!((ring.before(0), ring.before(45), ring.before(1000)), (0, 4, 11));
    }

    #[test]
    fn a_slow_reader_loses_the_oldest_and_is_told_how_many() {
        let ring = Arc::new(Ring::default());
        let mut reader = Reader::after(ring.clone(), 0);
        let vif = |seq: u64| format!("v{}", seq % 4096);
        let all = CAPACITY as u64 + 100;
        ring.extend((1..=all).map(|seq| of(&vif(seq), seq)));
        let first = reader.next(2, AT_ONCE);
        assert_eq!((first.lost, numbers(&first)), (100, vec![101, 102]));
        assert_eq!(reader.skip_to(50), all - 50 - 102);
        assert_eq!(numbers(&reader.next(1, AT_ONCE)), [all - 49]);
        assert_eq!(ring.all().len(), CAPACITY);
    }

    #[test]
    fn one_that_flaps_drives_out_nobody_elses_events() {
        let ring = Arc::new(Ring::default());
        ring.extend([of("quiet", 1)]);
        ring.extend((2..=2 * CAPACITY as u64).map(|seq| of("wild", seq)));
        let mut reader = Reader::after(ring.clone(), 0);
        let all = reader.next(usize::MAX, AT_ONCE);
        assert_eq!(all.records.len(), 1 + OF_ONE_VIF);
        assert_eq!(all.lost, 2 * CAPACITY as u64 - 1 - OF_ONE_VIF as u64);
        assert!(ring.names("quiet") && ring.names("p") && !ring.names("x"));
    }
}
