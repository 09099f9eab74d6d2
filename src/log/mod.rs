//! The log: lines to standard error, written by a thread of its own. Who logs never waits: while standard
//! error takes nothing (a full pipe, a terminal that was stopped) lines queue up, and beyond that they are
//! lost and counted. Failover, administrators and signals are served meanwhile. `rate` limits how many lines
//! there are of one kind about one tenant.

mod rate;

use std::io::{self, Write};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crossbeam::channel::{Receiver, Sender, TrySendError, bounded};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format;

use rate::RateLimited;

/// Lines that may wait.
const LINES: usize = 4096;
/// The longest line, in octets; what is longer is cut.
const LONGEST: usize = 8 << 10;
/// How long the process's end waits for lines to be written.
const PATIENCE: Duration = Duration::from_millis(500);

/// The queue between those who log and the thread that writes.
struct Queue {
    lines: Sender<Vec<u8>>,
    taken: Receiver<Vec<u8>>,
    /// Lines that were taken into the queue, and lines of them that were written or failed.
    queued: AtomicU64,
    written: AtomicU64,
    /// Lines that were never written.
    lost: AtomicU64,
    started: AtomicBool,
}

/// One for the process, as standard error is.
static QUEUE: OnceLock<Queue> = OnceLock::new();

impl Queue {
    fn new(lines: usize) -> Queue {
        let (lines, taken) = bounded(lines);
        Queue {
            lines,
            taken,
            queued: AtomicU64::new(0),
            written: AtomicU64::new(0),
            lost: AtomicU64::new(0),
            started: AtomicBool::new(false),
        }
    }

    /// Takes a line in, or counts it as lost. Never waits.
    fn push(&self, line: &[u8]) {
        let mut line = line.get(..LONGEST).unwrap_or(line).to_vec();
        if line.last() != Some(&b'\n') {
            line.push(b'\n');
        }
        self.queued.fetch_add(1, Ordering::Relaxed);
        if let Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) =
            self.lines.try_send(line)
        {
            self.queued.fetch_sub(1, Ordering::Relaxed);
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Writes lines for ever, and how many are missing between them.
    fn write(&self, mut to: impl Write) {
        let mut told = 0;
        while let Ok(line) = self.taken.recv() {
            let lost = self.lost.load(Ordering::Relaxed);
            if lost > told {
                let missing = lost - told;
                told = lost;
                // It fails as the line below does.
                let _ =
                    writeln!(to, "{missing} lines of the log are lost: it was not read in time");
            }
            if to.write_all(&line).is_err() {
                self.lost.fetch_add(1, Ordering::Relaxed);
            }
            self.written.fetch_add(1, Ordering::Release);
        }
    }

    /// Waits for the queue to be written, within a bound.
    fn flush(&self, patience: Duration) {
        let deadline = Instant::now() + patience;
        let queued = self.queued.load(Ordering::Relaxed);
        while self.written.load(Ordering::Acquire) < queued && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(2));
        }
    }
}

/// A line on its way into the queue.
struct Line<'a>(&'a Queue);

impl Write for Line<'_> {
    /// The formatter writes a line at once.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.0.push(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Collects what is logged from here on, panics too; [`start`] writes it. `colors`: for a terminal.
pub fn collect(colors: bool) {
    let queue = QUEUE.get_or_init(|| Queue::new(LINES));
    let filter = EnvFilter::try_from_default_env();
    tracing_subscriber::fmt()
        .with_env_filter(filter.unwrap_or_else(|_| "info".into()))
        .with_ansi(colors)
        .event_format(RateLimited::new(format()))
        .with_writer(|| Line(queue))
        .init();
    std::panic::set_hook(Box::new(|panic| {
        last_words(&panic.to_string());
    }));
}

/// Starts the thread that writes. It has the privileges and the CPUs of its caller.
///
/// # Errors
/// The system's, where there is no thread left.
pub fn start() -> io::Result<()> {
    let Some(queue) = QUEUE.get() else { return Ok(()) };
    if queue.started.swap(true, Ordering::Relaxed) {
        return Ok(());
    }
    let write = || queue.write(io::stderr());
    std::thread::Builder::new().name("log".into()).spawn(write).map(drop)
}

/// Lines that were lost since the start.
pub fn lost() -> u64 {
    QUEUE.get().map_or(0, |queue| queue.lost.load(Ordering::Relaxed))
}

/// Writes a last line and what waits before it, as far as standard error takes it: the process's end does
/// not wait for who does not read. False where nothing is collected.
pub fn last_words(line: &str) -> bool {
    let Some(queue) = QUEUE.get() else { return false };
    if !line.is_empty() {
        queue.push(line.as_bytes());
    }
    if start().is_ok() {
        queue.flush(PATIENCE);
    }
    true
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    /// A reader that takes nothing until it is told to.
    #[derive(Clone, Default)]
    struct Pipe(Arc<(std::sync::Mutex<Vec<u8>>, AtomicBool)>);

    impl Write for Pipe {
        fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
            while !self.0.1.load(Ordering::Acquire) {
                std::thread::sleep(Duration::from_millis(1));
            }
            self.0.0.lock().unwrap().extend(octets);
            Ok(octets.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn who_logs_never_waits_and_what_is_lost_is_counted() {
        let queue: &'static Queue = Box::leak(Box::new(Queue::new(8)));
        let pipe = Pipe::default();
        let theirs = pipe.clone();
        std::thread::spawn(move || queue.write(theirs));
        for number in 0..100 {
            queue.push(format!("line {number}").as_bytes());
        }
        let lost = queue.lost.load(Ordering::Relaxed);
        assert!((91..=92).contains(&lost), "{lost}: one line may be in the writer's hands");
        let start = Instant::now();
        queue.flush(Duration::from_millis(20));
        assert!(
            start.elapsed() < Duration::from_secs(5),
            "a reader that does not read is not waited for"
        );
        pipe.0.1.store(true, Ordering::Release);
        queue.flush(Duration::from_secs(10));
        queue.push(&vec![b'x'; 2 * LONGEST]);
        queue.flush(Duration::from_secs(10));
        let text = String::from_utf8(pipe.0.0.lock().unwrap().clone()).unwrap();
        assert!(text.contains("line 0\n"), "{text}");
        assert!(text.ends_with(&format!("{}\n", "x".repeat(LONGEST))));
        // The first ones were perhaps lost while the writer had its first line in its hands.
        let told = text.lines().filter_map(|line| line.split_once(" lines of the log are lost"));
        let told: Vec<u64> = told.map(|(count, _)| count.parse().unwrap()).collect();
        assert_eq!(told.iter().sum::<u64>(), lost, "{text}");
        assert_eq!(text.lines().count() as u64 + lost, 100 + told.len() as u64 + 1);
    }
}
