//! The thread that keeps the history: it takes what was noted and writes it. Nobody waits for it or for the disk.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

use crossbeam::channel::{RecvTimeoutError, Sender, bounded, unbounded};

use super::hour::{Asked, Hour};
use super::tally::Tally;
use crate::blocks::{self, Damage, Store, Unwritten, span_of, start_s};
use crate::clock::Moment;
use crate::disk::{self, Disk, Files};

/// Between two looks at the clocks.
const LOOK: Duration = Duration::from_secs(1);
/// The open hour is written so often: a crash loses what came since.
pub(super) const SAVE_MS: u64 = 300_000;
/// Between two attempts to write what could not be written.
pub(super) const RETRY_MS: u64 = 10_000;
/// Hours that wait for the disk. More drive out the oldest.
pub(super) const WAITING: usize = 24;
/// Months that are kept: the one that is under way, and a year.
pub(super) const MONTHS: usize = 13;
/// The file of the open hour, and its name while it is written.
pub(super) const OPEN: [&str; 2] = ["open.hour", "open.hour.new"];

/// What was counted and not taken yet, by hour.
type Noted = BTreeMap<u32, BTreeMap<Arc<Asked>, Tally>>;

/// Where results are noted. The lock is held for a few instructions: never while something is written.
#[derive(Clone, Debug, Default)]
pub struct Notes(Arc<Mutex<Noted>>);

impl Notes {
    /// Notes something of a target, at a moment in milliseconds since 1970.
    pub fn note(&self, asked: &Arc<Asked>, wall_ms: u64, note: impl FnOnce(&mut Tally)) {
        let mut noted = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let hour = noted.entry(span_of::<Hour>(wall_ms)).or_default();
        note(hour.entry(asked.clone()).or_default());
    }

    fn take(&self) -> Noted {
        std::mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// What is to be told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Told {
    /// A file is damaged.
    Damaged(Damage),
    /// Hours cannot be written. They wait.
    Failed {
        /// Why.
        error: String,
    },
    /// What waited is written.
    Written {
        /// Hours, the open one among them.
        hours: u64,
        /// Hours that were lost, since too many waited.
        lost: u64,
    },
}

enum Order {
    Ask(Sender<Unwritten<Hour>>),
    Stop,
}

/// The end of everybody else. Only [`Keeper::ask`] waits.
#[derive(Clone)]
pub struct Keeper {
    orders: Sender<Order>,
    directory: PathBuf,
}

impl Keeper {
    /// Starts the thread, which ends with [`Keeper::stop`].
    ///
    /// # Errors
    /// The system's, where there is no thread left.
    pub fn start(
        directory: PathBuf,
        notes: Notes,
        clock: impl Fn() -> Moment + Send + 'static,
        told: impl FnMut(Told) + Send + 'static,
    ) -> io::Result<(Keeper, JoinHandle<()>)> {
        let (orders, theirs) = unbounded();
        let store = Store::new(Files, directory.clone());
        let work = move || {
            let mut book = Book::start(store, notes, clock(), Box::new(told));
            loop {
                match theirs.recv_timeout(LOOK) {
                    Err(RecvTimeoutError::Timeout) => book.turn(clock()),
                    // Who asked may have gone.
                    Ok(Order::Ask(reply)) => drop(reply.send(book.unwritten(clock()))),
                    Ok(Order::Stop) | Err(RecvTimeoutError::Disconnected) => {
                        return book.stop(clock());
                    }
                }
            }
        };
        let thread = Builder::new().name("probe-history".into()).spawn(work)?;
        Ok((Keeper { orders, directory }, thread))
    }

    /// What is not in the files yet; `None` where the thread has ended.
    pub fn ask(&self) -> Option<Unwritten<Hour>> {
        let (reply, answer) = bounded(1);
        self.orders.send(Order::Ask(reply)).ok()?;
        answer.recv().ok()
    }

    /// Writes the open hour as far as it is, and ends the thread. Nothing is to be noted any more.
    pub fn stop(&self) {
        // The thread ends only when it is told to.
        drop(self.orders.send(Order::Stop));
    }

    /// Where the files are.
    pub fn directory(&self) -> &Path {
        &self.directory
    }
}

/// What the thread has.
pub(super) struct Book<D: Disk> {
    store: Store<Hour, D>,
    notes: Notes,
    told: Box<dyn FnMut(Told) + Send>,
    /// The files were read: blocks have their numbers.
    begun: bool,
    open: Hour,
    /// The open hour has what its file has not.
    unsaved: bool,
    /// When that was written last, by the clock that nobody sets.
    saved_ms: Option<u64>,
    waiting: VecDeque<Hour>,
    /// Hours that were lost since the disk took the last.
    lost: u64,
    /// When the disk is tried again; none where it takes what it is given.
    retry_ms: Option<u64>,
}

impl<D: Disk> Book<D> {
    /// Goes on where the daemon before ended.
    pub fn start(
        store: Store<Hour, D>,
        notes: Notes,
        now: Moment,
        told: Box<dyn FnMut(Told) + Send>,
    ) -> Book<D> {
        let mut book = Book {
            store,
            notes,
            told,
            begun: false,
            open: Hour::new(1, span_of::<Hour>(now.wall_ms)),
            unsaved: false,
            saved_ms: None,
            waiting: VecDeque::new(),
            lost: 0,
            retry_ms: None,
        };
        book.write(now, false);
        book
    }

    /// Takes in what was noted, and writes what is due.
    pub fn turn(&mut self, now: Moment) {
        for (hour, counts) in self.notes.take() {
            self.open_hour(hour);
            self.open.add(counts);
            self.unsaved = true;
        }
        self.open_hour(span_of::<Hour>(now.wall_ms));
        if self.retry_ms.is_none_or(|at| now.steady_ms >= at) {
            self.write(now, false);
        }
    }

    /// What is not in the files yet.
    pub fn unwritten(&mut self, now: Moment) -> Unwritten<Hour> {
        self.turn(now);
        let next = self.waiting.front().unwrap_or(&self.open);
        // What is written meanwhile is not read: it is among these.
        let file = self.store.written().or_else(|| self.store.as_it_is(start_s(next)));
        let blocks = self.waiting.iter().chain([&self.open]).cloned().collect();
        Unwritten { file, blocks }
    }

    /// Whether the files have all that was taken in.
    #[cfg(test)]
    pub fn is_written(&self) -> bool {
        self.begun && !self.unsaved && self.waiting.is_empty()
    }

    /// Writes all that there is.
    pub fn stop(mut self, now: Moment) {
        self.turn(now);
        self.write(now, true);
        if self.unsaved || !self.waiting.is_empty() {
            let hours = self.waiting.len() + usize::from(self.unsaved);
            tracing::error!(hours, "hours of the probes' history are lost: they cannot be written");
        }
    }

    /// Another hour is open from now on, or still is.
    fn open_hour(&mut self, hour: u32) {
        if hour == self.open.hour {
            return;
        }
        let number = self.open.number;
        let over = std::mem::replace(&mut self.open, Hour::new(number + 1, hour));
        if over.counts.is_empty() {
            self.open.number = number;
            return;
        }
        self.unsaved = false;
        self.waiting.push_back(over);
        if self.waiting.len() > WAITING {
            self.waiting.pop_front();
            self.lost += 1;
        }
    }

    /// Writes what waits, and the open hour where its time has come. `all`: it has.
    fn write(&mut self, now: Moment, all: bool) {
        let written = self.begin().and_then(|()| self.append()).and_then(|hours| {
            let due = self.saved_ms.is_none_or(|at| now.steady_ms >= at + SAVE_MS);
            if !self.unsaved || !(due || all || self.retry_ms.is_some()) {
                return Ok(hours);
            }
            self.save()?;
            (self.unsaved, self.saved_ms) = (false, Some(now.steady_ms));
            Ok(hours + 1)
        });
        match written {
            Ok(hours) => {
                if self.retry_ms.take().is_some() {
                    let lost = std::mem::take(&mut self.lost);
                    (self.told)(Told::Written { hours, lost });
                }
            }
            Err(error) => {
                if self.retry_ms.replace(now.steady_ms + RETRY_MS).is_none() {
                    (self.told)(Told::Failed { error: error.to_string() });
                }
            }
        }
    }

    /// Reads what the daemon before left. What is open or waits already is behind that.
    fn begin(&mut self) -> io::Result<()> {
        if self.begun {
            return Ok(());
        }
        let (last, damage) = self.store.start()?;
        let left = self.left()?;
        damage.into_iter().map(Told::Damaged).for_each(&mut self.told);
        let last = last.map_or(0, |last| last.number);
        // Where its hour ended, it may have been appended, too.
        let left = left.filter(|left| left.number > last);
        let base = left.as_ref().map_or(last, |left| left.number);
        self.waiting.iter_mut().for_each(|hour| hour.number += base);
        self.open.number += base;
        match left {
            Some(left) if self.waiting.is_empty() && left.hour == self.open.hour => {
                self.open.add(left.counts);
            }
            left => left.into_iter().for_each(|left| self.waiting.push_front(left)),
        }
        self.store.prune(MONTHS);
        self.begun = true;
        Ok(())
    }

    /// The open hour of the daemon before.
    fn left(&mut self) -> io::Result<Option<Hour>> {
        let octets = match self.store.disk.read(&self.store.directory.join(OPEN[0])) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            read => read?,
        };
        let left = blocks::decode(&octets);
        if left.is_none() {
            let octets = 0..octets.len() as u64;
            let damage = Damage { file: OPEN[0].to_owned(), octets, cut: false };
            (self.told)(Told::Damaged(damage));
        }
        Ok(left)
    }

    /// Appends the hours that wait, the oldest first: how many.
    fn append(&mut self) -> io::Result<u64> {
        let (mut hours, month) = (0, self.store.written().map(|(month, _)| month));
        while let Some(hour) = self.waiting.front() {
            let mut damage = Vec::new();
            let written = self.store.append(hour, &mut damage);
            damage.into_iter().map(Told::Damaged).for_each(&mut self.told);
            written?;
            self.waiting.pop_front();
            hours += 1;
        }
        if self.store.written().map(|(month, _)| month) != month {
            self.store.prune(MONTHS);
        }
        Ok(hours)
    }

    /// Replaces the file of the open hour. Nothing waits: what was in it before is appended, or in it again.
    fn save(&mut self) -> io::Result<()> {
        let Store { disk, directory, .. } = &self.store;
        let [path, new] = OPEN.map(|name| directory.join(name));
        disk.make_directory(directory)?;
        disk::replace(disk, &path, &new, &blocks::encode(&self.open))?;
        disk.sync_directory(directory)
    }
}
