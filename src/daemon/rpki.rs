//! The way between BIRD and the validating caches (RTR, RFC 8210): BIRD's network namespace has TAPs and nothing else, so the
//! station takes its connections there, and passes each on to the cache by its own network. It understands none of it.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, Builder};
use std::time::Duration;

use crossbeam::channel::{Receiver, RecvTimeoutError};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::sockopt;
use tracing::warn;

use super::bgp;
use super::control_thread::Control;
use crate::admin::answer::Answer;
use crate::admin::rows::RpkiRow;
use crate::bird::{ClientError, Questions, RPKI_RETRY, rpki_relay_address};
use crate::config::model::{Config, RpkiConfig};
use crate::events::{Event, Reporter};
use crate::netns::Namespace;
use crate::tap;

/// For a cache to take a connection.
const CONNECT: Duration = Duration::from_secs(5);
/// How soon other caches are noticed.
const LOOK: Timespec = Timespec { tv_sec: 0, tv_nsec: 500_000_000 };
/// A cache that says nothing is asked whether it is there after so long, so often, and is gone after three times.
const KEEPALIVE: (Duration, Duration, u32) = (Duration::from_secs(30), Duration::from_secs(10), 3);

/// Why caches are not reached, by name.
#[derive(Clone, Default)]
pub(super) struct Trouble(Arc<Mutex<BTreeMap<Arc<str>, String>>>);

impl Trouble {
    fn of(&self, cache: &str) -> Option<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(cache).cloned()
    }

    /// A cache is reached, or why it is not. True where that is new.
    fn set(&self, cache: &Arc<str>, trouble: Option<String>) -> bool {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match trouble {
            Some(trouble) => all.insert(cache.clone(), trouble).is_none(),
            None => all.remove(cache).is_some(),
        }
    }
}

/// A cache, and BIRD's door to it.
struct Door {
    cache: RpkiConfig,
    listener: TcpListener,
    /// BIRD's last connection.
    bird: Option<TcpStream>,
}

impl Door {
    /// Ends what is passed on, if anything is.
    fn hang_up(&mut self) {
        if let Some(bird) = self.bird.take() {
            drop(bird.shutdown(Shutdown::Both));
        }
    }
}

/// Starts the thread, which opens a door for each of the caches that it was told of last.
///
/// # Errors
/// The system's, where there is no thread left.
pub(super) fn spawn(
    namespace: &Namespace,
    told: Receiver<Vec<RpkiConfig>>,
    report: Reporter,
) -> io::Result<Trouble> {
    let (namespace, trouble) = (namespace.try_clone()?, Trouble::default());
    let relay = Relay { namespace, trouble: trouble.clone(), report, doors: Vec::new() };
    Builder::new().name("rpki".into()).spawn(move || relay.run(&told))?;
    Ok(trouble)
}

struct Relay {
    namespace: Namespace,
    trouble: Trouble,
    report: Reporter,
    doors: Vec<Door>,
}

impl Relay {
    fn run(mut self, told: &Receiver<Vec<RpkiConfig>>) {
        let mut wanted = Vec::new();
        loop {
            // Nobody waits for a connection that no one makes.
            let next = match self.doors.is_empty() && wanted.is_empty() {
                true => told.recv().map_err(|_| RecvTimeoutError::Disconnected),
                false => told.recv_timeout(Duration::ZERO),
            };
            match next {
                Ok(caches) => wanted = caches,
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
            if let Err(error) = self.open(&wanted) {
                warn!(%error, "BIRD cannot be let to the RPKI caches; it is tried again");
                thread::sleep(RPKI_RETRY);
                continue;
            }
            self.pass();
        }
    }

    /// Opens and closes doors until they are those of these caches, each at the address of its place.
    fn open(&mut self, wanted: &[RpkiConfig]) -> io::Result<()> {
        for place in (wanted.len()..self.doors.len()).rev() {
            self.close(place);
        }
        for (place, cache) in wanted.iter().enumerate() {
            if self.doors.get(place).is_some_and(|door| door.cache == *cache) {
                continue;
            }
            // Those behind it have other places, too.
            for place in (place..self.doors.len()).rev() {
                self.close(place);
            }
            let listener = self.namespace.within(|| {
                tap::loopback_up()?;
                TcpListener::bind(rpki_relay_address(place))
            })?;
            listener.set_nonblocking(true)?;
            self.doors.push(Door { cache: cache.clone(), listener, bird: None });
        }
        Ok(())
    }

    fn close(&mut self, place: usize) {
        let mut door = self.doors.remove(place);
        door.hang_up();
        self.trouble.set(&door.cache.name, None);
    }

    /// Waits for connections, a while, and passes them on.
    fn pass(&mut self) {
        let doors = self.doors.iter();
        let mut waiting: Vec<PollFd<'_>> = doors
            .map(|door| PollFd::from_borrowed_fd(door.listener.as_fd(), PollFlags::IN))
            .collect();
        if poll(&mut waiting, Some(&LOOK)).unwrap_or(0) == 0 {
            return;
        }
        for door in &mut self.doors {
            let Ok((bird, _)) = door.listener.accept() else { continue };
            // BIRD has one at a time; the one before is over, or BIRD thinks so.
            door.hang_up();
            let (cache, trouble, report) =
                (door.cache.clone(), self.trouble.clone(), self.report.clone());
            let passed = bird.set_nonblocking(false).and_then(|()| bird.try_clone());
            let passed = passed.and_then(|theirs| {
                let work = move || Passage { cache, trouble, report }.pass(&theirs);
                Builder::new().name("rpki-cache".into()).spawn(work)
            });
            match passed {
                Ok(_) => door.bird = Some(bird),
                Err(error) => warn!(%error, cache = &*door.cache.name, "no way to an RPKI cache"),
            }
        }
    }
}

/// A connection of BIRD's on its way to a cache.
struct Passage {
    cache: RpkiConfig,
    trouble: Trouble,
    report: Reporter,
}

/// Which end a passage ended at.
enum Ended {
    Source(io::Result<()>),
    Sink,
}

impl Passage {
    fn pass(&self, bird: &TcpStream) {
        let server = TcpStream::connect_timeout(&self.cache.server, CONNECT)
            .and_then(|server| ask_whether_it_is_there(&server).map(|()| server));
        let server = match server {
            Ok(server) => server,
            Err(error) => {
                drop(bird.shutdown(Shutdown::Both));
                return self.lost(&error.to_string());
            }
        };
        let hang_up = || {
            drop(bird.shutdown(Shutdown::Both));
            drop(server.shutdown(Shutdown::Both));
        };
        let by_bird = AtomicBool::new(false);
        let ended = thread::scope(|scope| {
            scope.spawn(|| {
                carry(bird, &server, || {});
                by_bird.store(true, Ordering::Release);
                hang_up();
            });
            let ended = carry(&server, bird, || self.reached());
            // BIRD was reconfigured, or has ended: that says nothing of the cache.
            let by_bird = by_bird.load(Ordering::Acquire);
            hang_up();
            if by_bird { Ended::Sink } else { ended }
        });
        match ended {
            Ended::Source(Ok(())) => self.lost("it has ended the connection"),
            Ended::Source(Err(error)) => self.lost(&error.to_string()),
            Ended::Sink => {}
        }
    }

    fn reached(&self) {
        if self.trouble.set(&self.cache.name, None) {
            let (cache, server) = (self.cache.name.to_string(), self.cache.server);
            self.report.tell(Event::RpkiCacheUp { cache, server });
        }
    }

    fn lost(&self, reason: &str) {
        if self.trouble.set(&self.cache.name, Some(reason.to_owned())) {
            let (cache, server) = (self.cache.name.to_string(), self.cache.server);
            self.report.tell(Event::RpkiCacheDown { cache, server, reason: reason.to_owned() });
        }
    }
}

fn ask_whether_it_is_there(server: &TcpStream) -> io::Result<()> {
    let (idle, interval, count) = KEEPALIVE;
    sockopt::set_tcp_keepidle(server, idle)?;
    sockopt::set_tcp_keepintvl(server, interval)?;
    sockopt::set_tcp_keepcnt(server, count)?;
    Ok(sockopt::set_socket_keepalive(server, true)?)
}

/// Carries octets until one end ends; what comes faster than it can go waits in the kernel.
fn carry(mut source: &TcpStream, mut sink: &TcpStream, mut some: impl FnMut()) -> Ended {
    let mut buffer = [0; 16 << 10];
    loop {
        match source.read(&mut buffer) {
            Ok(0) => return Ended::Source(Ok(())),
            Ok(length) => {
                some();
                if sink.write_all(&buffer[..length]).is_err() {
                    return Ended::Sink;
                }
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Ended::Source(Err(error)),
        }
    }
}

/// `show rpki`.
pub(super) fn show(control: &Control) -> Answer {
    let config = control.config().clone();
    let (questions, trouble) = (control.bird.questions(), control.rpki.clone());
    Answer::later(move || match rows(&questions, &config, &trouble) {
        Ok(rows) => Answer::rows(rows),
        Err(error) => bgp::refused(&error),
    })
}

/// A row for each cache.
pub(super) fn rows(
    questions: &Questions,
    config: &Config,
    trouble: &Trouble,
) -> Result<Vec<RpkiRow>, ClientError> {
    match config.rpki.is_empty() {
        true => Ok(Vec::new()),
        false => questions.caches(&config.rpki, |cache| trouble.of(cache)),
    }
}
