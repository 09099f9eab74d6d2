//! The billing thread: it reads the counters at the end of each bin, and writes the bin to disk. Neither the packet path
//! nor the control thread waits for it.

use std::collections::VecDeque;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering, fence};
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

use crossbeam::channel::{Receiver, Sender, bounded, unbounded};
use crossbeam::select;

use super::block::{Block, Marks, Owner};
use super::meter::Meter;
use super::{Store, Unwritten};
use crate::blocks::{Damage, Kept, span_of};
use crate::clock::Moment;
use crate::disk::{Disk, Files};
use crate::observe::Traffic;
use crate::tables::VifId;

/// Between two looks at the clocks.
const LOOK: Duration = Duration::from_secs(1);
/// Between two attempts to write what could not be written.
const RETRY_MS: u64 = 10_000;
/// Bins that wait for the disk: half a day's. More go into the last of them.
pub(super) const WAITING: usize = 144;

/// What is to be told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Told {
    /// The daemon before ended without writing its open bin: what was counted in this time, in milliseconds since 1970,
    /// is lost.
    Lost {
        /// After this.
        from_ms: u64,
        /// When this daemon began to count.
        to_ms: u64,
    },
    /// A file is damaged.
    Damaged(Damage),
    /// The clock was set.
    ClockStep {
        /// By so much.
        step_ms: i64,
        /// The begin of the bin that was open, in milliseconds since 1970.
        bin_ms: u64,
    },
    /// Bins cannot be written. They wait.
    Failed {
        /// Why.
        error: String,
    },
    /// The bins that waited are written.
    Written {
        /// How many.
        bins: u64,
    },
}

/// What changed with a configuration.
pub struct Commit {
    /// The owner of each id.
    pub owners: Box<dyn FnOnce() -> Vec<Option<Owner>> + Send>,
    /// Ids that nobody uses any more, with what they had counted when the last worker had let go of them.
    pub freed: Vec<(VifId, Traffic)>,
    /// Months that are kept.
    pub keep_months: usize,
}

/// How the series stands.
#[derive(Debug, Default)]
pub struct Standing {
    written_ms: AtomicU64,
    failures: AtomicU64,
    waiting: AtomicU64,
}

impl Standing {
    /// The end of the last bin that is on disk, in milliseconds since 1970; 0 before the first.
    pub fn written_ms(&self) -> u64 {
        self.written_ms.load(Ordering::Relaxed)
    }

    /// Attempts to write a bin that failed.
    pub fn failures(&self) -> u64 {
        self.failures.load(Ordering::Relaxed)
    }

    /// Bins that wait for the disk.
    pub fn waiting(&self) -> u64 {
        self.waiting.load(Ordering::Relaxed)
    }
}

enum Order {
    Ask(Sender<Unwritten>),
    Stop,
}

/// The end of everybody else. Only [`Keeper::ask`] waits.
#[derive(Clone)]
pub struct Keeper {
    commits: Sender<Commit>,
    orders: Sender<Order>,
    standing: Arc<Standing>,
    directory: PathBuf,
}

impl Keeper {
    /// Starts the thread, which ends with [`Keeper::stop`]. `read` says what an id of a VIF has counted since the start.
    ///
    /// # Errors
    /// The system's, where there is no thread left.
    pub fn start(
        directory: PathBuf,
        clock: impl Fn() -> Moment + Send + 'static,
        read: impl Fn(VifId) -> Traffic + Send + 'static,
        told: impl FnMut(Told) + Send + 'static,
    ) -> io::Result<(Keeper, JoinHandle<()>)> {
        let ((commits, changed), (orders, theirs)) = (unbounded(), unbounded());
        let standing = Arc::<Standing>::default();
        let known = (standing.clone(), directory.clone());
        let began = clock();
        let work = move || {
            let store = Store::new(Files, known.1);
            let read = Box::new(read);
            let mut book = Book::start(store, began, read, Box::new(told), changed, known.0);
            while let Some(order) = book.wait(&theirs, clock()) {
                match order {
                    None => book.turn(clock()),
                    // Who asked may have gone.
                    Some(Order::Ask(reply)) => drop(reply.send(book.unwritten(clock()))),
                    Some(Order::Stop) => return book.stop(clock()),
                }
            }
        };
        let thread = Builder::new().name("billing".into()).spawn(work)?;
        Ok((Keeper { commits, orders, standing, directory }, thread))
    }

    /// Takes in what changed with a configuration. Never waits.
    pub fn commit(&self, commit: Commit) {
        // The thread ends only when it is told to.
        drop(self.commits.send(commit));
    }

    /// What is not in the files yet; `None` where the thread has ended.
    pub fn ask(&self) -> Option<Unwritten> {
        let (reply, answer) = bounded(1);
        self.orders.send(Order::Ask(reply)).ok()?;
        answer.recv().ok()
    }

    /// Writes the open bin as far as it is, and ends the thread. Nothing is to be counted any more.
    pub fn stop(&self) {
        drop(self.orders.send(Order::Stop));
    }

    /// How the series stands.
    pub fn standing(&self) -> &Standing {
        &self.standing
    }

    /// Where the files are.
    pub fn directory(&self) -> &std::path::Path {
        &self.directory
    }
}

/// What the thread has.
pub(super) struct Book<D: Disk> {
    store: Store<D>,
    meter: Meter,
    read: Box<dyn Fn(VifId) -> Traffic + Send>,
    told: Box<dyn FnMut(Told) + Send>,
    commits: Receiver<Commit>,
    standing: Arc<Standing>,
    waiting: VecDeque<Block>,
    /// The number of the last block.
    number: u64,
    /// When the disk is tried again; none where it takes what it is given.
    retry_ms: Option<u64>,
    keep_months: usize,
}

impl<D: Disk> Book<D> {
    /// Goes on where the daemon before ended.
    pub fn start(
        mut store: Store<D>,
        began: Moment,
        read: Box<dyn Fn(VifId) -> Traffic + Send>,
        mut told: Box<dyn FnMut(Told) + Send>,
        commits: Receiver<Commit>,
        standing: Arc<Standing>,
    ) -> Book<D> {
        let (mut retry_ms, mut number) = (None, 0);
        match store.start() {
            Ok((last, damage)) => {
                damage.into_iter().map(Told::Damaged).for_each(&mut told);
                number = last.as_ref().map_or(0, |last| last.number);
                if let Some(last) = last.filter(|last| !last.marks.has(Marks::STOP)) {
                    told(Told::Lost { from_ms: last.end_ms, to_ms: began.wall_ms });
                }
            }
            Err(error) => {
                told(Told::Failed { error: error.to_string() });
                retry_ms = Some(0);
            }
        }
        let mut book = Book {
            store,
            meter: Meter::new(began),
            read,
            told,
            commits,
            standing,
            waiting: VecDeque::new(),
            number,
            retry_ms,
            keep_months: usize::MAX,
        };
        // Whatever ends this daemon, the next one sees that it was there.
        book.enqueue(Block::new(span_of::<Block>(began.wall_ms), began.wall_ms, Marks::START));
        book.write(began);
        book
    }

    /// Waits for an order, for a commit, or for the time; `None` where nobody is left to give one.
    fn wait(&mut self, orders: &Receiver<Order>, now: Moment) -> Option<Option<Order>> {
        let left = LOOK.min(Duration::from_millis(self.meter.left_ms(now)));
        select! {
            recv(orders) -> order => order.ok().map(Some),
            recv(self.commits) -> commit => {
                self.changed(commit.ok()?);
                Some(None)
            }
            default(left) => Some(None),
        }
    }

    /// Looks at the clocks, and does what is due.
    pub fn turn(&mut self, now: Moment) {
        self.take_commits();
        if let Some(due) = self.meter.look(now) {
            let bin_ms = self.meter.start_ms();
            self.count();
            if let Some(block) = self.meter.close(now, due) {
                self.enqueue(block);
            }
            if let Some(step_ms) = due.step_ms {
                (self.told)(Told::ClockStep { step_ms, bin_ms });
            }
        }
        if self.retry_ms.is_none_or(|at| now.steady_ms >= at) {
            self.write(now);
        }
    }

    /// What is not in the files yet.
    pub fn unwritten(&mut self, now: Moment) -> Unwritten {
        self.turn(now);
        self.count();
        let open = self.meter.open(now).clone();
        let blocks = self.waiting.iter().cloned().chain([open]).collect();
        Unwritten { file: self.store.written(), blocks }
    }

    /// Writes all that there is.
    pub fn stop(mut self, now: Moment) {
        self.turn(now);
        self.count();
        let open = std::mem::replace(&mut self.meter, Meter::new(now)).stop(now);
        self.enqueue(open);
        self.write(now);
        if !self.waiting.is_empty() {
            let bins = self.waiting.len();
            tracing::error!(bins, "bins of the billing series are lost: they cannot be written");
        }
    }

    /// Reads the counters. What a commit frees meanwhile may be another's already: then they are read again.
    fn count(&mut self) {
        loop {
            self.take_commits();
            let ids: Vec<VifId> = self.meter.ids().collect();
            let counted: Vec<Traffic> = ids.iter().map(|id| (self.read)(*id)).collect();
            // Where a new owner's count was read, its commit, and the one that freed the id before, are seen below.
            fence(Ordering::Acquire);
            if self.commits.is_empty() {
                let counted = ids.into_iter().zip(counted);
                return counted.for_each(|(id, counted)| self.meter.count(id, counted));
            }
        }
    }

    fn take_commits(&mut self) {
        while let Ok(commit) = self.commits.try_recv() {
            self.changed(commit);
        }
    }

    fn changed(&mut self, commit: Commit) {
        let Commit { owners, freed, keep_months } = commit;
        self.meter.free(&freed);
        self.meter.own(owners(), &self.read);
        if keep_months != self.keep_months {
            self.keep_months = keep_months;
            self.store.prune(keep_months);
        }
    }

    fn enqueue(&mut self, mut block: Block) {
        self.number += 1;
        block.number = self.number;
        let full = self.waiting.len() >= WAITING;
        match self.waiting.back_mut().filter(|_| full) {
            Some(last) => {
                last.marks = last.marks.with(Marks::JOINED);
                last.join(block);
            }
            None => self.waiting.push_back(block),
        }
        self.note_waiting();
    }

    fn note_waiting(&self) {
        self.standing.waiting.store(self.waiting.len() as u64, Ordering::Relaxed);
    }

    /// Writes the bins that wait, the oldest first.
    fn write(&mut self, now: Moment) {
        let (mut bins, month) = (0, self.store.written().map(|(month, _)| month));
        while let Some(block) = self.waiting.front() {
            let mut damage = Vec::new();
            let written = self.store.append(block, &mut damage);
            damage.into_iter().map(Told::Damaged).for_each(&mut self.told);
            if let Err(error) = written {
                self.standing.failures.fetch_add(1, Ordering::Relaxed);
                if self.retry_ms.replace(now.steady_ms + RETRY_MS).is_none() {
                    (self.told)(Told::Failed { error: error.to_string() });
                }
                return;
            }
            self.standing.written_ms.store(block.end_ms, Ordering::Relaxed);
            self.waiting.pop_front();
            bins += 1;
            self.note_waiting();
        }
        if bins > 0 && self.retry_ms.take().is_some() {
            (self.told)(Told::Written { bins });
        }
        if self.store.written().map(|(month, _)| month) != month {
            self.store.prune(self.keep_months);
        }
    }
}
