//! The admin socket: who may connect, how long a request may be and take, and that no client, slow
//! or hostile, can hold up the control thread. Requests go to it over a channel; answers come back
//! as data or as an iterator that the connection's own thread runs.

mod ask;
mod audit;
mod author;
mod bind;
mod connection;
mod groups;
mod peer;

use std::io;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crossbeam::channel::{Receiver, Sender, bounded};

use super::answer::Answer;
use super::protocol::{ErrorKind, Refusal, Request, Terms};
use crate::events::Reporter;
use crate::history::Author;
use audit::Audit;
pub use bind::bind as bind_socket;
use connection::Connection;
pub use groups::Groups;

/// Connections at a time of all but root and the daemon's own user.
pub const MAX_CONNECTIONS: usize = 16;
/// Connections at a time of root and the daemon's own user: nobody else can keep them out.
pub const MAX_OWN: usize = 16;
/// Requests that wait for the control thread; each connection has at most one.
pub const QUEUE: usize = MAX_CONNECTIONS + MAX_OWN;

/// A request for the control thread.
pub struct Call {
    /// What is asked.
    pub request: Request,
    /// What goes with it where it changes something.
    pub terms: Terms,
    /// The text that followed it.
    pub text: String,
    /// Who asks. Beside user and process only where it changes something.
    pub author: Author,
    /// Where the answer goes.
    pub reply: Reply,
}

/// Takes the answer to one request. Dropping it refuses the request.
pub struct Reply(Sender<Answer>);

impl Reply {
    /// A reply, and where its answer appears.
    pub fn new() -> (Self, Receiver<Answer>) {
        let (sender, receiver) = bounded(1);
        (Reply(sender), receiver)
    }

    /// Answers. Never waits: there is room for one answer, and only one is given.
    pub fn send(self, answer: Answer) {
        // The client may have gone.
        let _ = self.0.try_send(answer);
    }
}

/// Counts how often the control thread's loop goes round, which it does once a second at least. The control thread
/// writes it, connections look whether it grows.
#[derive(Clone, Debug, Default)]
pub struct Rounds(Arc<AtomicU64>);

impl Rounds {
    /// It has gone round.
    pub fn count(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    fn so_far(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// The way to the control thread.
#[derive(Clone)]
struct Control {
    calls: Sender<Call>,
    rounds: Rounds,
}

/// How long things may take. The default is what the station uses.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// From the first octet of a request to its newline.
    pub request: Duration,
    /// Between requests.
    pub idle: Duration,
    /// From the connection to the end of its first request.
    pub first: Duration,
    /// For a client to take a piece of an answer (64 KiB or less).
    pub write: Duration,
    /// For the control thread to answer.
    pub answer: Duration,
    /// A control thread that does not go round for so long hangs, and is not waited for.
    pub hung: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            request: Duration::from_secs(5),
            idle: Duration::from_secs(60),
            first: Duration::from_secs(5),
            write: Duration::from_secs(5),
            answer: Duration::from_secs(60),
            hung: Duration::from_secs(4),
        }
    }
}

/// The listening socket and the thread that accepts on it.
pub struct Server {
    listener: Arc<UnixListener>,
    accepting: Option<JoinHandle<()>>,
    path: PathBuf,
    groups: Groups,
}

impl Server {
    /// Makes the socket, which nobody else may have: what connects waits until it is served. Members of `groups` may
    /// connect.
    ///
    /// # Errors
    /// That another process answers there, or the system's.
    pub fn bind(path: &Path, groups: Groups) -> io::Result<Server> {
        let listener = Arc::new(bind::bind(path, &groups)?);
        Ok(Server { listener, accepting: None, path: path.to_owned(), groups })
    }

    /// Serves the socket: requests of all connections go to `calls`, whose reader counts `rounds`; those that change
    /// something, and those who may not ask, are told to `report`.
    ///
    /// # Errors
    /// The system's, where there is no thread left.
    pub fn serve(
        mut self,
        calls: Sender<Call>,
        rounds: Rounds,
        limits: Limits,
        report: Reporter,
    ) -> io::Result<Server> {
        let (listener, socket) = (Arc::clone(&self.listener), self.path.clone());
        let (groups, control) = (self.groups, Control { calls, rounds });
        let accepting = thread::Builder::new().name("admin".to_owned()).spawn(move || {
            accept(&listener, &socket, groups, &control, limits, &Audit::new(report))
        })?;
        self.accepting = Some(accepting);
        Ok(self)
    }
}

impl Drop for Server {
    /// Takes no more connections and removes the socket. Those that are open end with their next
    /// request, which the control thread no longer takes.
    fn drop(&mut self) {
        bind::unlink(&self.path, &self.listener);
        // Makes accept fail (unix(7) sockets: shutdown of a listener wakes it up).
        let _ = rustix::net::shutdown(&self.listener, rustix::net::Shutdown::Both);
        if let Some(thread) = self.accepting.take() {
            let _ = thread.join();
        }
    }
}

fn accept(
    listener: &UnixListener,
    path: &Path,
    groups: Groups,
    control: &Control,
    limits: Limits,
    audit: &Audit,
) {
    // Count connections of others and of our own: one clone each, and this one.
    let (others, own) = (Arc::new(()), Arc::new(()));
    loop {
        let stream = match listener.accept() {
            Ok((stream, _)) => stream,
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => return,
            Err(error) => {
                // Out of descriptors, or the client has gone: neither is helped by hurry.
                tracing::warn!(%error, "cannot accept an admin connection");
                thread::sleep(Duration::from_millis(50));
                continue;
            }
        };
        let (open, most) = match peer::is_own(&stream) {
            true => (&own, MAX_OWN),
            false => (&others, MAX_CONNECTIONS),
        };
        let Ok(mut connection) = Connection::new(stream, limits) else { continue };
        let slot = Arc::clone(open);
        if Arc::strong_count(open) > most + 1 {
            let message = format!("{most} connections are open already");
            connection.refuse_at_once(&Refusal::new(ErrorKind::Busy, message));
            continue;
        }
        let (path, control, audit) = (path.to_owned(), control.clone(), audit.clone());
        let spawned = thread::Builder::new().name("admin-client".to_owned()).spawn(move || {
            match peer::check(connection.stream(), &path, &groups, &audit) {
                Ok(peer) => connection.serve(&control, peer, &audit),
                Err(refusal) => connection.refuse_at_once(&refusal),
            }
            drop(slot);
        });
        if let Err(error) = spawned {
            tracing::warn!(%error, "cannot serve an admin connection");
        }
    }
}
