//! How a new generation reaches the workers, and when what it replaced may be freed.
//!
//! Quiescent-state reclamation: the control thread counts epochs; each reader, between bursts, takes
//! the newest snapshot from its mailbox and writes down the epoch it saw. Whatever was unlinked before
//! epoch `e` began is unreachable once every reader has written `e` or sleeps. Readers never wait, and
//! write nothing that another reader reads.
//!
//! Memory ordering. In quotes: the weakening in which `scripts/bench-fib-proof` must find a fault.
//!
//! 1. The publisher unlinks and fills mailboxes, then stores the epoch (release; "epoch"). A reader
//!    loads the epoch (acquire) before it takes its mailbox. So a reader that writes `e` has a snapshot
//!    no older than that of `e`, and sees every unlinking before it.
//! 2. A reader stores `e` (release; "passed") after its last reads of the burst before, and the
//!    publisher loads it (acquire), so memory is reused only after those reads. Falling asleep is such
//!    a store too ("asleep").
//! 3. [`Subscriber::wake`] stores the slot, then fences ("fence"), then reads; the publisher unlinks,
//!    then fences, then reads the slot. In the total order of the two fences one comes first: either
//!    the publisher sees the reader awake and waits, or the reader sees the unlinking.
//!
//! Loom cannot model the queues, which are crossbeam's: a mutex stands for each in the proof, which so
//! shows what the epochs order and takes the queues' own ordering for granted.

use std::sync::Arc;
use std::time::Duration;

#[cfg(not(loom))]
use crossbeam::queue::ArrayQueue;
use crossbeam::utils::CachePadded;
#[cfg(loom)]
use loom::sync::atomic::{AtomicU64, Ordering, fence};
#[cfg(not(loom))]
use std::sync::atomic::{AtomicU64, Ordering, fence};

#[cfg(loom)]
use crate::proof::{ArrayQueue, weakened};

/// A reader's slot while it sleeps: it holds no reference into any table.
const ASLEEP: u64 = u64::MAX;

#[derive(Debug)]
struct Reader<T> {
    /// The newest epoch that the reader has passed, or [`ASLEEP`].
    passed: CachePadded<AtomicU64>,
    /// The newest snapshot that the reader has not taken yet.
    mailbox: ArrayQueue<Arc<T>>,
    /// Snapshots that the reader is done with: freed by the publisher, never by a worker.
    done: ArrayQueue<Arc<T>>,
}

#[derive(Debug)]
struct Shared<T> {
    epoch: CachePadded<AtomicU64>,
    readers: Box<[Reader<T>]>,
}

/// The control thread's end.
#[derive(Debug)]
pub struct Publisher<T> {
    shared: Arc<Shared<T>>,
    current: Arc<T>,
}

/// A reader's end: one for each worker and one for the slow path.
#[derive(Debug)]
pub struct Subscriber<T> {
    shared: Arc<Shared<T>>,
    index: usize,
    current: Arc<T>,
}

impl<T> Publisher<T> {
    /// A publisher and its readers, which all start with `first`, asleep.
    pub fn new(readers: usize, first: T) -> (Publisher<T>, Vec<Subscriber<T>>) {
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
    pub fn publish(&mut self, next: T) {
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
        self.shared.epoch.store(next, at_least(Ordering::Release, "epoch"));
        next
    }

    /// The newest epoch that every reader has passed.
    fn quiescent(&self) -> u64 {
        fence(at_least(Ordering::SeqCst, "fence"));
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
            pause(turns);
        }
    }
}

/// Lets the readers run, after so many turns of waiting for them.
fn pause(turns: u32) {
    #[cfg(loom)]
    loom::thread::yield_now();
    if cfg!(loom) || turns < 64 {
        std::hint::spin_loop();
    } else {
        std::thread::sleep(Duration::from_micros(20));
    }
}

impl<T> Subscriber<T> {
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
        reader.passed.store(epoch, at_least(Ordering::Release, "passed"));
    }

    /// The snapshot taken last.
    #[inline(always)]
    pub fn snapshot(&self) -> &T {
        &self.current
    }

    /// Stops being waited for. Until [`Subscriber::wake`], the reader looks at no table.
    pub fn sleep(&mut self) {
        let order = at_least(Ordering::Release, "asleep");
        self.shared.readers[self.index].passed.store(ASLEEP, order);
    }

    /// Ends a sleep: from here on the publisher waits for this reader again.
    pub fn wake(&mut self) {
        let reader = &self.shared.readers[self.index];
        reader.passed.store(0, Ordering::Relaxed);
        fence(at_least(Ordering::SeqCst, "fence"));
        self.enter();
    }
}

impl<T> Drop for Subscriber<T> {
    fn drop(&mut self) {
        self.sleep();
    }
}

/// The ordering that is needed at a place; in the proof that is to fail, the next weaker one.
#[inline(always)]
fn at_least(order: Ordering, _place: &str) -> Ordering {
    #[cfg(loom)]
    if weakened(_place) {
        return match order {
            Ordering::SeqCst => Ordering::AcqRel,
            _ => Ordering::Relaxed,
        };
    }
    order
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reader_takes_the_newest_generation_and_holds_it_until_the_next() {
        let (mut publisher, mut readers) = Publisher::new(1, 1);
        let reader = &mut readers[0];
        reader.wake();
        publisher.publish(2);
        publisher.publish(3);
        assert_eq!(*reader.snapshot(), 1);
        reader.enter();
        assert_eq!(*reader.snapshot(), 3);
    }

    #[test]
    fn an_epoch_is_quiescent_once_every_awake_reader_has_passed_it() {
        let (mut publisher, mut readers) = Publisher::new(3, 1);
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
        let (mut publisher, mut readers) = Publisher::new(1, 1);
        let mut reader = readers.remove(0);
        reader.wake();
        std::thread::scope(|scope| {
            scope.spawn(move || {
                while *reader.snapshot() < 100 {
                    reader.enter();
                }
            });
            for n in 2..=100 {
                publisher.publish(n);
                publisher.synchronize();
            }
        });
    }
}
