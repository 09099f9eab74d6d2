//! How a new generation reaches the workers, and when what it replaced may be freed.
//!
//! Quiescent-state reclamation: the control thread counts epochs; each reader, between bursts, takes
//! the newest snapshot from its mailbox and writes down the epoch it saw. Whatever was unlinked before
//! epoch `e` began is unreachable once every reader has written `e` or sleeps. Readers never wait, and
//! write only to their own cache line.
//!
//! Memory ordering. (1) Publisher: unlink and fill mailboxes, then store the epoch (release). A reader
//! loads the epoch (acquire) before it takes its mailbox, so a reader that writes `e` has the snapshot
//! of `e` and sees every unlinking before it. (2) The reader's store of `e` is a release after its last
//! reads of the burst before, and the publisher's load an acquire, so memory is reused only after those
//! reads. (3) Sleepers: `wake` stores the slot, then fences, then reads; the publisher unlinks, then
//! fences, then reads the slot. In the total order of the two fences one comes first: either the
//! publisher sees the reader awake and waits, or the reader sees the unlinking.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering, fence};
use std::time::Duration;

use crossbeam::queue::ArrayQueue;
use crossbeam::utils::CachePadded;

use crate::tables::Snapshot;

/// A reader's slot while it sleeps: it holds no reference into any table.
const ASLEEP: u64 = u64::MAX;

#[derive(Debug)]
struct Reader {
    /// The newest epoch that the reader has passed, or [`ASLEEP`].
    passed: CachePadded<AtomicU64>,
    /// The newest snapshot that the reader has not taken yet.
    mailbox: ArrayQueue<Arc<Snapshot>>,
    /// Snapshots that the reader is done with: freed by the publisher, never by a worker.
    done: ArrayQueue<Arc<Snapshot>>,
}

#[derive(Debug)]
struct Shared {
    epoch: CachePadded<AtomicU64>,
    readers: Box<[Reader]>,
}

/// The control thread's end.
#[derive(Debug)]
pub struct Publisher {
    shared: Arc<Shared>,
    current: Arc<Snapshot>,
}

/// A reader's end: one for each worker and one for the slow path.
#[derive(Debug)]
pub struct Subscriber {
    shared: Arc<Shared>,
    index: usize,
    current: Arc<Snapshot>,
}

impl Publisher {
    /// A publisher and its readers, which all start with `first`, asleep.
    pub fn new(readers: usize, first: Snapshot) -> (Publisher, Vec<Subscriber>) {
        let current = Arc::new(first);
        let reader = |_| Reader {
            passed: CachePadded::new(AtomicU64::new(ASLEEP)),
            mailbox: ArrayQueue::new(1),
            done: ArrayQueue::new(4),
        };
        let shared = Arc::new(Shared {
            epoch: CachePadded::new(AtomicU64::new(1)),
            readers: (0..readers).map(reader).collect(),
        });
        let subscribers = (0..readers)
            .map(|index| Subscriber { shared: shared.clone(), index, current: current.clone() })
            .collect();
        (Publisher { shared, current }, subscribers)
    }

    /// Makes `next` the newest snapshot. Readers take it before their next burst.
    pub fn publish(&mut self, next: Snapshot) {
        self.current = Arc::new(next);
        for reader in &self.shared.readers {
            drop(reader.mailbox.force_push(self.current.clone()));
            while reader.done.pop().is_some() {}
        }
        self.advance();
    }

    /// Begins an epoch and returns it: what was unlinked before is unreachable once `quiescent` has
    /// reached it.
    fn advance(&mut self) -> u64 {
        let next = self.shared.epoch.load(Ordering::Relaxed) + 1;
        self.shared.epoch.store(next, Ordering::Release);
        next
    }

    /// The newest epoch that every reader has passed.
    fn quiescent(&self) -> u64 {
        fence(Ordering::SeqCst);
        let awake = self.shared.readers.iter().map(|r| r.passed.load(Ordering::Acquire)).min();
        match awake {
            None | Some(ASLEEP) => self.shared.epoch.load(Ordering::Relaxed),
            Some(epoch) => epoch,
        }
    }

    /// Waits until every reader uses the newest snapshot, or sleeps: microseconds, the time of a burst.
    pub fn synchronize(&mut self) {
        let epoch = self.advance();
        let mut turns = 0u32;
        while self.quiescent() < epoch {
            turns += 1;
            if turns < 64 {
                std::hint::spin_loop();
            } else {
                std::thread::sleep(Duration::from_micros(20));
            }
        }
    }
}

impl Subscriber {
    /// A quiescent point: takes the newest snapshot. No reference into a table or the FIB may be held
    /// across it, which `&mut self` makes sure of for the snapshot.
    #[inline(always)]
    pub fn enter(&mut self) {
        let reader = &self.shared.readers[self.index];
        let epoch = self.shared.epoch.load(Ordering::Acquire);
        if reader.passed.load(Ordering::Relaxed) != epoch {
            self.take(epoch);
        }
    }

    #[cold]
    fn take(&mut self, epoch: u64) {
        let reader = &self.shared.readers[self.index];
        if let Some(next) = reader.mailbox.pop() {
            let old = std::mem::replace(&mut self.current, next);
            // Where the publisher has not collected for long, the last resort is to free it here.
            drop(reader.done.push(old));
        }
        reader.passed.store(epoch, Ordering::Release);
    }

    /// The snapshot taken last.
    #[inline(always)]
    pub fn snapshot(&self) -> &Snapshot {
        &self.current
    }

    /// Stops being waited for. Until [`Subscriber::wake`], the reader looks at no table.
    pub fn sleep(&mut self) {
        self.shared.readers[self.index].passed.store(ASLEEP, Ordering::Release);
    }

    /// Ends a sleep: from here on the publisher waits for this reader again.
    pub fn wake(&mut self) {
        let reader = &self.shared.readers[self.index];
        reader.passed.store(0, Ordering::Relaxed);
        fence(Ordering::SeqCst);
        self.enter();
    }
}

impl Drop for Subscriber {
    fn drop(&mut self) {
        self.sleep();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn generation(generation: u64) -> Snapshot {
        Snapshot { generation, ..Snapshot::default() }
    }

    #[test]
    fn a_reader_takes_the_newest_generation_and_holds_it_until_the_next() {
        let (mut publisher, mut readers) = Publisher::new(1, generation(1));
        let reader = &mut readers[0];
        reader.wake();
        publisher.publish(generation(2));
        publisher.publish(generation(3));
        assert_eq!(reader.snapshot().generation, 1);
        reader.enter();
        assert_eq!(reader.snapshot().generation, 3);
    }

    #[test]
    fn an_epoch_is_quiescent_once_every_awake_reader_has_passed_it() {
        let (mut publisher, mut readers) = Publisher::new(3, generation(1));
        readers[0].wake();
        readers[1].wake();
        let epoch = publisher.advance();
        readers[0].enter();
        assert!(publisher.quiescent() < epoch, "reader 1 has not passed");
        readers[1].enter();
        assert!(publisher.quiescent() >= epoch, "reader 2 sleeps");
    }

    #[test]
    fn synchronize_waits_for_a_running_reader_and_returns() {
        let (mut publisher, mut readers) = Publisher::new(1, generation(1));
        let mut reader = readers.remove(0);
        reader.wake();
        std::thread::scope(|scope| {
            scope.spawn(move || {
                while reader.snapshot().generation < 100 {
                    reader.enter();
                }
            });
            for n in 2..=100 {
                publisher.publish(generation(n));
                publisher.synchronize();
            }
        });
    }
}
