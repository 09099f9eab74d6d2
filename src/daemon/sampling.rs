//! The threads that take in what workers hand over a sample at a time, each into a book of its own: residence times, and
//! packets for the top talkers.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crossbeam::channel::{Receiver, Sender, unbounded};
use crossbeam::select;

use super::desk::Desk;
use crate::tables::Snapshot;

/// How long a thread sleeps when there are no samples.
const LONGEST_SLEEP: Duration = Duration::from_secs(60);

/// What is taken in, and how.
pub(super) trait Sampled: Sized + 'static {
    /// The thread's name.
    const NAME: &str;
    /// How often samples are taken in.
    const TAKE: Duration;
    /// Between a worker and the thread.
    type Channel: Send + Sync;
    /// What a worker has to take samples with.
    type Taker: Send;
    /// One sample.
    type Sample: Send;
    /// What they are kept in.
    type Book: Default + Send;

    /// The sample that waits the longest.
    fn receive(channel: &Self::Channel) -> Option<Self::Sample>;

    /// The generation of the tables that a sample is of.
    fn generation(sample: &Self::Sample) -> u64;

    /// Has a book follow the tables.
    fn follow(book: &mut Self::Book, tables: &Snapshot, now: Instant);

    /// Takes a sample in, which is of these tables or of older ones.
    fn record(book: &mut Self::Book, sample: &Self::Sample, tables: &Snapshot, now: Instant);
}

/// The control thread's end.
pub(super) struct Sampling<S: Sampled> {
    /// Tells the thread who takes samples; it ends only with this.
    jobs: Sender<Vec<Arc<S::Channel>>>,
    /// Where workers leave what they do not use any more: to free it takes its time.
    pub back: Sender<Box<S::Taker>>,
    /// Those between workers and the thread; none while nobody takes samples.
    pub channels: Vec<Arc<S::Channel>>,
    /// What was taken in, as everybody has it; held only while samples are taken in, or are looked at.
    pub book: Arc<Mutex<S::Book>>,
}

impl<S: Sampled> Sampling<S> {
    /// Starts the thread.
    ///
    /// # Errors
    /// The system's, where there is no thread left.
    pub fn start(desk: Desk) -> io::Result<Sampling<S>> {
        let ((jobs, told), (back, returned)) = (unbounded(), unbounded());
        let book = Arc::<Mutex<S::Book>>::default();
        let (channels, early) = (Vec::new(), Vec::new());
        let keeper: Keeper<S> =
            Keeper { desk, book: book.clone(), told, returned, channels, early };
        std::thread::Builder::new().name(S::NAME.into()).spawn(move || keeper.run())?;
        Ok(Sampling { jobs, back, channels: Vec::new(), book })
    }

    /// These are between workers and the thread from now on; what was taken in before is not of them.
    pub fn begin(&mut self, channels: Vec<Arc<S::Channel>>) {
        self.channels = channels;
        drop(self.jobs.send(self.channels.clone()));
    }
}

/// The thread.
struct Keeper<S: Sampled> {
    desk: Desk,
    book: Arc<Mutex<S::Book>>,
    told: Receiver<Vec<Arc<S::Channel>>>,
    returned: Receiver<Box<S::Taker>>,
    channels: Vec<Arc<S::Channel>>,
    /// Samples of tables that are newer than those that were looked at.
    early: Vec<S::Sample>,
}

impl<S: Sampled> Keeper<S> {
    fn run(mut self) {
        loop {
            let sleep = if self.channels.is_empty() { LONGEST_SLEEP } else { S::TAKE };
            select! {
                recv(self.told) -> channels => match channels {
                    // What was seen before is not of these.
                    Ok(channels) => {
                        self.channels = channels;
                        self.early.clear();
                        *lock(&self.book) = S::Book::default();
                    }
                    Err(_) => return,
                },
                recv(self.returned) -> taker => drop(taker),
                default(sleep) => {}
            }
            if !self.channels.is_empty() && !self.take() {
                return;
            }
        }
    }

    /// Takes in what workers have seen; false where the station has ended.
    fn take(&mut self) -> bool {
        let tables = self.desk.ask(|control| control.engine.tables().clone());
        let Some(tables) = tables else { return false };
        let now = Instant::now();
        let mut book = lock(&self.book);
        S::follow(&mut book, &tables, now);
        let early = std::mem::take(&mut self.early);
        let waiting = self.channels.iter().flat_map(|it| std::iter::from_fn(|| S::receive(it)));
        for sample in early.into_iter().chain(waiting) {
            match S::generation(&sample) <= tables.generation {
                true => S::record(&mut book, &sample, &tables, now),
                false => self.early.push(sample),
            }
        }
        true
    }
}

/// What a lock guards is whole whoever held it last.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
