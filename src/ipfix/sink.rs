//! Where messages go: a thread for each collector, and one for files, with a queue of its own.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crossbeam::channel::{Receiver, RecvTimeoutError, Sender, bounded};

use super::carrier::Carrier;
use super::files::Files;
use super::message::Message;
use super::names::Names;
use super::record::Format;
use super::stream::Stream;
use super::udp::Datagrams;
use crate::clock::now_ms;
use crate::config::model::{Collector, Transport};

/// Messages that wait for a sink.
const WAITING: usize = 4096;
/// How long a thread waits for the next message before it looks around.
const BEAT: Duration = Duration::from_millis(100);
/// After a failure a sink is tried again; each time it takes twice as long.
const RETRY: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(30)];
/// A collector that refuses datagrams is there again when it has refused none for so long.
const SETTLED: Duration = Duration::from_secs(10);
/// How long a sink that is told to end may take for what waits.
const FAREWELL: Duration = Duration::from_secs(2);

/// A place for messages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// A collector.
    Collector(Collector),
    /// Files in a directory, of so many octets together.
    Files {
        /// The directory, which is made.
        directory: PathBuf,
        /// Octets, at most; the oldest files make room.
        octets: u64,
    },
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Target::Collector(collector) => collector.fmt(f),
            Target::Files { directory, .. } => write!(f, "{}", directory.display()),
        }
    }
}

/// What a sink has to tell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Told {
    /// Nothing can be sent, and why.
    Down(String),
    /// It can again.
    Up,
}

/// What is counted of a sink.
#[derive(Clone, Debug, Default)]
pub struct Counts {
    /// Messages that were sent.
    pub messages: u64,
    /// Flows in them.
    pub records: u64,
    /// Octets of them.
    pub octets: u64,
    /// Flows that were to be sent and were not, or that the other end never acknowledged.
    pub lost_records: u64,
    /// Sessions that began.
    pub sessions: u64,
    /// Packets that no worker had room to log, and their octets: of the whole station.
    pub unlogged_frames: u64,
    /// See `unlogged_frames`.
    pub unlogged_octets: u64,
    /// A session is there.
    pub open: bool,
    /// What was wrong last, while something is.
    pub error: Option<String>,
}

/// What a sink's thread and others share.
#[derive(Debug, Default)]
pub struct SinkStats(Mutex<Counts>);

impl SinkStats {
    /// The counts now.
    pub fn counts(&self) -> Counts {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, Counts> {
        // Whoever held it counted, and no more.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What all sinks need: shared, and replaced as a whole.
#[derive(Debug)]
pub struct Common {
    /// How records look.
    pub format: Format,
    names: Mutex<(u64, Arc<Names>)>,
}

impl Common {
    /// With these names.
    pub fn new(format: Format, names: Names) -> Common {
        Common { format, names: Mutex::new((0, Arc::new(names))) }
    }

    /// Makes these the names of now.
    pub fn rename(&self, names: Names) {
        let mut current = self.names.lock().unwrap_or_else(PoisonError::into_inner);
        *current = (current.0 + 1, Arc::new(names));
    }

    /// The names of now, and which ones they are.
    fn names(&self) -> (u64, Arc<Names>) {
        self.names.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// A sink.
#[derive(Debug)]
pub struct Sink {
    /// Where its messages go.
    pub target: Target,
    stats: Arc<SinkStats>,
    queue: Sender<Arc<Message>>,
    stop: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

impl Sink {
    /// Starts a sink's thread.
    ///
    /// # Errors
    /// The system's, where there is no thread left.
    pub fn start(
        target: Target,
        common: Arc<Common>,
        tell: impl Fn(Told) + Send + 'static,
    ) -> io::Result<Sink> {
        let carrier: Box<dyn Carrier> = match &target {
            Target::Collector(Collector { transport: Transport::Udp, address }) => {
                Box::new(Datagrams::new(*address))
            }
            Target::Collector(Collector { transport: Transport::Tcp, address }) => {
                Box::new(Stream::new(*address))
            }
            Target::Files { directory, octets } => Box::new(Files::new(directory.clone(), *octets)),
        };
        let (queue, messages) = bounded(WAITING);
        let (stats, stop) = (Arc::<SinkStats>::default(), Arc::<AtomicBool>::default());
        let session = Session {
            carrier,
            common,
            messages,
            stats: stats.clone(),
            stop: stop.clone(),
            tell: Box::new(tell),
            sequence: 0,
            named: None,
            repeat_at: None,
            retry: RETRY[0],
            retry_at: Instant::now(),
            down: false,
            failed_at: Instant::now(),
        };
        let thread = std::thread::Builder::new().name("flow-sink".into());
        let thread = thread.spawn(move || session.run())?;
        Ok(Sink { target, stats, queue, stop, thread })
    }

    /// Gives it a message; what it has no room for is lost.
    pub fn send(&self, message: &Arc<Message>) {
        if self.queue.try_send(message.clone()).is_err() {
            self.stats.lock().lost_records += u64::from(message.flows);
        }
    }

    /// What it counts.
    pub fn stats(&self) -> Arc<SinkStats> {
        self.stats.clone()
    }

    /// Tells it how many packets no worker had room for.
    pub fn unlogged(&self, frames: u64, octets: u64) {
        let mut counts = self.stats.lock();
        (counts.unlogged_frames, counts.unlogged_octets) = (frames, octets);
    }

    /// Has it send what waits, for a short time, and end.
    pub fn end(self) -> JoinHandle<()> {
        self.stop.store(true, Relaxed);
        self.thread
    }
}

/// A sink's thread.
struct Session {
    carrier: Box<dyn Carrier>,
    common: Arc<Common>,
    messages: Receiver<Arc<Message>>,
    stats: Arc<SinkStats>,
    stop: Arc<AtomicBool>,
    tell: Box<dyn Fn(Told) + Send>,
    /// Records that were sent in this session.
    sequence: u32,
    /// The names that the other end knows; none outside of a session.
    named: Option<u64>,
    repeat_at: Option<Instant>,
    retry: Duration,
    retry_at: Instant,
    down: bool,
    /// When that was so last.
    failed_at: Instant,
}

impl Session {
    fn run(mut self) {
        let mut held: Option<Arc<Message>> = None;
        while !self.stop.load(Relaxed) {
            if !self.is_ready() {
                std::thread::sleep(
                    BEAT.min(self.retry_at.saturating_duration_since(Instant::now())),
                );
                continue;
            }
            match held.take().map_or_else(|| self.messages.recv_timeout(BEAT), Ok) {
                Ok(message) => held = self.deliver(message),
                Err(RecvTimeoutError::Timeout) => {
                    if let Err(error) = self.carrier.look() {
                        self.fail(&error);
                    }
                }
                Err(RecvTimeoutError::Disconnected) => break,
            }
        }
        let deadline = Instant::now() + FAREWELL;
        while let Some(message) = held.take().or_else(|| self.messages.try_recv().ok()) {
            let left = if Instant::now() < deadline && self.is_ready() {
                self.deliver(message)
            } else {
                Some(message)
            };
            self.stats.lock().lost_records += left.map_or(0, |message| u64::from(message.flows));
        }
        // What was sent just now is acknowledged soon, and only then known to have arrived.
        while !self.carrier.is_done() && Instant::now() < deadline {
            std::thread::sleep(BEAT / 10);
        }
        self.close();
    }

    /// Whether a session is there, which knows the names: begins one where it is time to.
    fn is_ready(&mut self) -> bool {
        if self.named.is_some() && self.carrier.is_over() {
            self.close();
        }
        if self.named.is_none() {
            if Instant::now() < self.retry_at {
                return false;
            }
            if let Err(error) = self.carrier.open() {
                self.fail(&error);
                return false;
            }
            self.sequence = 0;
            let mut counts = self.stats.lock();
            counts.sessions += 1;
            counts.open = true;
        }
        let (number, names) = self.common.names();
        let repeats = self.repeat_at.is_some_and(|at| Instant::now() >= at);
        if self.named == Some(number) && !repeats {
            return true;
        }
        let counts = self.stats.counts();
        for message in self.common.format.preamble(&names, &counts) {
            if let Err(error) = self.write(&message)
                && !self.carrier.is_lossy()
            {
                self.fail(&error);
                return false;
            }
        }
        self.named = Some(number);
        self.repeat_at = self.carrier.repeat().map(|repeat| Instant::now() + repeat);
        true
    }

    /// Sends a message; gives it back where it is to be sent in the next session.
    fn deliver(&mut self, message: Arc<Message>) -> Option<Arc<Message>> {
        match self.write(&message) {
            Ok(()) => {
                self.retry = RETRY[0];
                let settled = !self.carrier.is_lossy() || self.failed_at.elapsed() >= SETTLED;
                if settled && std::mem::take(&mut self.down) {
                    self.stats.lock().error = None;
                    (self.tell)(Told::Up);
                }
                None
            }
            Err(error) if self.carrier.is_lossy() => {
                self.count_lost();
                self.stats.lock().lost_records += u64::from(message.flows);
                self.say(&error);
                None
            }
            Err(error) => {
                self.fail(&error);
                Some(message)
            }
        }
    }

    fn write(&mut self, message: &Message) -> io::Result<()> {
        let seconds = u32::try_from(now_ms() / 1000).unwrap_or(u32::MAX);
        let octets = message.stamped(seconds, self.sequence, self.common.format.domain);
        // What is lost here leaves a gap that the other end can see.
        self.sequence = self.sequence.wrapping_add(message.records);
        let sent = self.carrier.send(&octets, message.flows, &self.stop);
        if sent.is_ok() {
            let mut counts = self.stats.lock();
            counts.messages += 1;
            counts.records += u64::from(message.flows);
            counts.octets += octets.len() as u64;
        }
        sent
    }

    /// The session is over, and another is tried later.
    fn fail(&mut self, error: &io::Error) {
        self.close();
        self.say(error);
        self.retry_at = Instant::now() + self.retry;
        self.retry = (self.retry * 2).min(RETRY[1]);
    }

    fn close(&mut self) {
        self.carrier.close();
        self.count_lost();
        (self.stats.lock().open, self.named) = (false, None);
    }

    /// What counted as sent is lost.
    fn count_lost(&mut self) {
        let lost = self.carrier.take_lost();
        let mut counts = self.stats.lock();
        counts.lost_records += lost;
        counts.records = counts.records.saturating_sub(lost);
    }

    fn say(&mut self, error: &io::Error) {
        let words = error.to_string();
        self.stats.lock().error = Some(words.clone());
        self.failed_at = Instant::now();
        if !std::mem::replace(&mut self.down, true) {
            (self.tell)(Told::Down(words));
        }
    }
}
