//! The thread that numbers events and has them on disk, and the end of everybody who tells of one.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, Instant};

use crossbeam::channel::{Receiver, Sender, bounded};
use tracing::warn;

use super::file::File;
use super::{Event, Reader, Record, Ring, hook, journal};
use crate::clock::ago_ms;
use crate::config::model::EventsConfig;

/// Events that may wait to be numbered: all VIFs of the largest station, with a session each, lost at once.
const WAITING: usize = 32_768;
/// Events that are written at once.
const AT_ONCE: usize = 1024;
/// How long the station's end waits for the journal and the hook to have the last events.
const PATIENCE: Duration = Duration::from_secs(1);

enum Order {
    Event(u64, Box<Event>),
    Stop,
}

/// Takes events from everybody who notices something. A clone takes them for the same stream.
#[derive(Clone)]
pub struct Reporter {
    orders: Sender<Order>,
    /// Events that found no room.
    lost: Arc<AtomicU64>,
}

impl Reporter {
    /// Nobody hears of what this takes.
    pub fn nowhere() -> Reporter {
        Reporter { orders: bounded(0).0, lost: Arc::default() }
    }

    /// Takes an event, which has happened now. Never waits: what finds no room is counted.
    pub fn tell(&self, event: Event) {
        self.tell_late(event, Duration::ZERO);
    }

    /// Takes an event that happened so long ago. Never waits.
    pub fn tell_late(&self, event: Event, ago: Duration) {
        if self.orders.try_send(Order::Event(ago_ms(ago), Box::new(event))).is_err() {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// How the stream stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// The newest number.
    pub newest: u64,
    /// Events that found no room since the start.
    pub lost: u64,
    /// Entries that the journal did not take.
    pub journal_lost: u64,
    /// Times that the hook's program was started.
    pub hook_runs: u64,
    /// Times that it failed.
    pub hook_failed: u64,
    /// Events that it was not given, because there were too many.
    pub hook_lost: u64,
}

/// What is counted on the way.
#[derive(Debug, Default)]
pub(super) struct Counts {
    pub journal_lost: AtomicU64,
    pub hook_runs: AtomicU64,
    pub hook_failed: AtomicU64,
    pub hook_lost: AtomicU64,
}

/// What is configured, as it is now.
pub(super) type Configured = Arc<Mutex<EventsConfig>>;

/// The stream.
#[derive(Clone)]
pub struct Keeper {
    reporter: Reporter,
    ring: Arc<Ring>,
    counts: Arc<Counts>,
    configured: Configured,
}

/// The stream's threads: its own, the journal's and the hook's.
pub struct Threads {
    keeper: Keeper,
    threads: Vec<JoinHandle<()>>,
}

impl Keeper {
    /// For whoever notices something.
    pub fn reporter(&self) -> Reporter {
        self.reporter.clone()
    }

    /// For whoever wants to read.
    pub fn ring(&self) -> Arc<Ring> {
        self.ring.clone()
    }

    /// Something else is configured now.
    pub fn configure(&self, config: &EventsConfig) {
        config.clone_into(&mut self.configured.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// How the stream stands.
    pub fn standing(&self) -> Standing {
        let of = |count: &AtomicU64| count.load(Ordering::Relaxed);
        Standing {
            newest: self.ring.newest(),
            lost: of(&self.reporter.lost),
            journal_lost: of(&self.counts.journal_lost),
            hook_runs: of(&self.counts.hook_runs),
            hook_failed: of(&self.counts.hook_failed),
            hook_lost: of(&self.counts.hook_lost),
        }
    }
}

impl Threads {
    /// Starts the threads: of the stream, which is kept in a directory, of the journal and of the hook. They have the
    /// privileges of the caller's thread.
    ///
    /// # Errors
    /// The system's, where there is no thread left.
    pub fn start(directory: PathBuf, config: &EventsConfig) -> io::Result<Threads> {
        let (orders, theirs) = bounded(WAITING);
        let reporter = Reporter { orders, lost: Arc::default() };
        let ring = Arc::new(Ring::default());
        let (counts, configured) = (Arc::<Counts>::default(), Arc::new(Mutex::new(config.clone())));
        let (lost, kept) = (reporter.lost.clone(), ring.clone());
        let (ready, is_ready) = bounded(2);
        let keep = move || run(&directory, &theirs, &lost, &kept, &ready);
        let mut threads = vec![Builder::new().name("events".into()).spawn(keep)?];
        // What an earlier station noted is no news for the journal and the hook.
        let newest = move || is_ready.recv().unwrap_or(0);
        let (kept, settings, counted) = (ring.clone(), configured.clone(), counts.clone());
        let begin = newest.clone();
        threads.push(Builder::new().name("journal".into()).spawn(move || {
            journal::run(Reader::after(kept.clone(), begin()), &settings, &counted);
        })?);
        let (kept, settings, counted) = (ring.clone(), configured.clone(), counts.clone());
        threads.push(Builder::new().name("hook".into()).spawn(move || {
            hook::run(Reader::after(kept.clone(), newest()), &settings, &counted);
        })?);
        Ok(Threads { keeper: Keeper { reporter, ring, counts, configured }, threads })
    }

    /// The stream.
    pub fn keeper(&self) -> Keeper {
        self.keeper.clone()
    }

    /// Ends the stream: what was told before is on disk afterwards, and the journal and the hook have it, as far as a
    /// short while is enough for that.
    pub fn stop(self) {
        let deadline = Instant::now() + PATIENCE;
        // Where there is no room, the disk is slow.
        drop(self.keeper.reporter.orders.send_deadline(Order::Stop, deadline));
        let runs = |thread: &JoinHandle<()>| !thread.is_finished();
        while self.threads.iter().any(runs) && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

/// Numbers what is told, has it on disk, and shows it. `ready` gets the newest number of the station before, for
/// each of those who wait for it.
fn run(
    directory: &Path,
    orders: &Receiver<Order>,
    lost: &AtomicU64,
    ring: &Ring,
    ready: &Sender<u64>,
) {
    let (mut file, mut newest) = match File::open(directory, ring) {
        Ok((file, newest)) => (Some(file), newest),
        Err(error) => {
            warn!(directory = %directory.display(), %error, "events are kept in memory only");
            (None, 0)
        }
    };
    // As many as may wait for it.
    while ready.try_send(newest).is_ok() {}
    let (mut told, mut stop) = (0, false);
    while !stop && let Ok(first) = orders.recv() {
        let mut events = Vec::new();
        for order in std::iter::once(first).chain(orders.try_iter().take(AT_ONCE)) {
            match order {
                Order::Event(time_ms, event) => events.push((time_ms, *event)),
                Order::Stop => {
                    stop = true;
                    break;
                }
            }
        }
        let count = lost.load(Ordering::Relaxed) - told;
        if count > 0 {
            told += count;
            let now_ms = events.last().map_or(0, |(time_ms, _)| *time_ms);
            events.push((now_ms, Event::Lost { count }));
        }
        let record = |(seq, (time_ms, event))| Arc::new(Record { seq, time_ms, event });
        let records: Vec<_> = (newest + 1..).zip(events).map(record).collect();
        newest += records.len() as u64;
        if let Some(file) = &mut file {
            file.write(&records, ring);
        }
        ring.extend(records);
    }
    ring.end();
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(number: usize) -> Event {
        Event::VifUp { vif: format!("v{}", number % 100), port: "p".into() }
    }

    fn read(keeper: &Threads, after: u64, wanted: usize) -> (u64, Vec<Arc<Record>>) {
        let mut reader = Reader::after(keeper.keeper().ring(), after);
        let (mut lost, mut records) = (0, Vec::new());
        let deadline = Instant::now() + Duration::from_secs(30);
        while records.len() < wanted && Instant::now() < deadline {
            let batch = reader.next(100, Duration::from_millis(10));
            lost += batch.lost;
            records.extend(batch.records);
        }
        (lost, records)
    }

    #[test]
    fn numbers_go_on_over_restarts_and_what_was_kept_is_read_again() {
        let directory = tempfile::tempdir().unwrap();
        let start =
            || Threads::start(directory.path().to_owned(), &EventsConfig::default()).unwrap();
        let keeper = start();
        (0..5).for_each(|number| keeper.keeper().reporter().tell(event(number)));
        let (lost, first) = read(&keeper, 0, 5);
        assert_eq!(
            (lost, first.iter().map(|r| r.seq).collect::<Vec<_>>()),
            (0, vec![1, 2, 3, 4, 5])
        );
        assert_eq!(first[3].event, event(3));
        keeper.stop();
        // A newer station's event, and a line that a crash tore.
        let path = directory.path().join("events.jsonl");
        let mut text = std::fs::read_to_string(&path).unwrap();
        text += "{\"seq\":6,\"time_ms\":7,\"kind\":\"of_tomorrow\"}\n{\"seq\":7,\"ti";
        std::fs::write(&path, text).unwrap();
        let keeper = start();
        keeper.keeper().reporter().tell(event(6));
        let (lost, again) = read(&keeper, 0, 6);
        assert_eq!((lost, again[..5] == first, again[5].seq), (1, true, 7));
        keeper.stop();
        let keeper = start();
        assert_eq!(read(&keeper, 0, 6).1, again);
        keeper.stop();
    }

    #[test]
    fn who_tells_never_waits_and_what_finds_no_room_is_an_event() {
        let (orders, theirs) = bounded(4);
        let reporter = Reporter { orders, lost: Arc::default() };
        (0..10).for_each(|number| reporter.tell(event(number)));
        let (ring, directory) = (Ring::default(), tempfile::tempdir().unwrap());
        let (lost, (ready, _is_ready)) = (reporter.lost.clone(), bounded(1));
        drop(reporter);
        run(directory.path(), &theirs, &lost, &ring, &ready);
        let all: Vec<Event> = ring.all().iter().map(|record| record.event.clone()).collect();
        assert_eq!(all, [event(0), event(1), event(2), event(3), Event::Lost { count: 6 }]);
    }
}
