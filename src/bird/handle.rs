//! The control thread's end of BIRD: leaves orders, and never waits.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crossbeam::channel::{Sender, bounded, unbounded};

use super::client::ClientError;
use super::events::PeerEvent;
use super::follow::Follower;
use super::peers::Peers;
use super::process::Place;
use super::progress::{Following, Progress};
use super::show::Questions;
use super::supervise::{GOODBYE, Supervisor};
use super::{Rendered, Session};
use crate::events::Reporter;

/// How long an operator's reset or drill may wait for what is being done.
const RESET: Duration = Duration::from_secs(10);

/// What the supervisor is told.
pub(super) enum Order {
    Apply {
        rendered: Option<Rendered>,
        peers: Peers,
        /// The order's number, where it is another thing to run than before.
        number: Option<u64>,
    },
    /// These ports have no link.
    Links(BTreeSet<Arc<str>>),
    /// The TAPs were looked at; those of these names are not what they were.
    Renew(Vec<String>),
    /// This protocol waits for its interface.
    Wake(String),
    /// A limit has shut this session.
    Shut(String),
    /// Drills have these sessions down, and no others: the words for each far end. Nobody waits at the start.
    Drill(BTreeMap<String, String>, Option<Sender<Result<(), ClientError>>>),
    /// An operator wants these sessions started anew.
    Reset(Vec<String>, Sender<Result<(), ClientError>>),
    /// The connection with this number has ended. `hung`: BIRD is there, but does nothing.
    Lost { connection: u64, hung: bool },
    /// Nobody looks after BIRD any more. `ends`: its sessions end, and it does.
    Stop { ends: bool, done: Sender<()> },
}

/// The control thread's end.
pub struct Bird {
    orders: Sender<Order>,
    questions: Questions,
    progress: Progress,
}

impl Bird {
    /// Starts the thread. BIRD itself is started when a configuration needs it, in the network namespace
    /// of the thread that calls. Its files are in `directory`; peers that come and go are told to `events`,
    /// and to `report` for whoever wants to know.
    ///
    /// # Errors
    /// The system's, where there is no thread left.
    pub fn start(
        program: PathBuf,
        directory: PathBuf,
        events: Sender<PeerEvent>,
        report: Reporter,
    ) -> std::io::Result<Bird> {
        let (orders, their_orders) = unbounded();
        let trouble = Arc::new(Mutex::new(None));
        let place = Place { program, directory };
        let follower = Arc::new(Mutex::new(Follower::new(Instant::now())));
        let questions = Questions::new(place.clone(), trouble.clone(), follower.clone());
        let progress = Progress::default();
        let (sender, follows) = (orders.clone(), progress.clone());
        let supervisor = Supervisor::new(place, sender, events, report, trouble, follower, follows);
        std::thread::Builder::new()
            .name("bird".into())
            .spawn(move || supervisor.run(&their_orders))?;
        Ok(Bird { orders, questions, progress })
    }

    /// Has BIRD run this, or, with `None`, not run. Returns at once. `change`: the number of the configuration
    /// that has it run another thing than before; who waits until it does so is given that to wait for.
    pub fn apply(
        &self,
        rendered: Option<Rendered>,
        config: &crate::config::model::Config,
        change: Option<u64>,
    ) -> Option<Following> {
        let number = change.map(|configuration| self.progress.order(configuration));
        drop(self.orders.send(Order::Apply { rendered, peers: Peers::of(config), number }));
        number.map(|number| self.progress.following(number))
    }

    /// These ports, and no others, have no link: what only they lead to is not advertised. Returns at once.
    pub fn links_lost(&self, ports: BTreeSet<Arc<str>>) {
        drop(self.orders.send(Order::Links(ports)));
    }

    /// The TAPs are as they can be, and these are new ones or have a carrier that came or went: what
    /// speaks through them starts anew. Before the first time BIRD is not started: among many TAPs that
    /// appear around its start it overlooks some.
    pub fn renew(&self, taps: Vec<String>) {
        drop(self.orders.send(Order::Renew(taps)));
    }

    /// For whoever has a question to BIRD.
    pub fn questions(&self) -> Questions {
        self.questions.clone()
    }

    /// What starts sessions anew, also those that were shut, and waits for that.
    pub fn reset(&self, sessions: &[Session]) -> impl FnOnce() -> Result<(), ClientError> + use<> {
        let protocols = sessions.iter().map(|session| session.protocol.clone()).collect();
        self.asked(move |done| Order::Reset(protocols, done))
    }

    /// Leaves BIRD and its sessions as they are, as a kill does: the next station takes them over.
    pub fn leave(&self) {
        self.stop(false);
    }

    /// Drills have these sessions down, and no others, whatever is configured: protocols, and the words that each far
    /// end is told (RFC 9003). Returns at once.
    pub fn drilled(&self, sessions: BTreeMap<String, String>) {
        drop(self.orders.send(Order::Drill(sessions, None)));
    }

    /// The same of another drill: what has it begin, and waits for that. Where BIRD does not answer, nothing changes.
    pub fn drill(
        &self,
        sessions: BTreeMap<String, String>,
    ) -> impl FnOnce() -> Result<(), ClientError> + use<> {
        self.asked(move |done| Order::Drill(sessions, Some(done)))
    }

    /// What leaves an order, and waits until it is carried out.
    fn asked<O: FnOnce(Sender<Result<(), ClientError>>) -> Order>(
        &self,
        order: O,
    ) -> impl FnOnce() -> Result<(), ClientError> + use<O> {
        let orders = self.orders.clone();
        move || {
            let (sender, done) = bounded(1);
            let sent = orders.send(order(sender));
            match sent.is_ok().then(|| done.recv_timeout(RESET)) {
                Some(Ok(result)) => result,
                _ => Err(ClientError::Busy),
            }
        }
    }

    fn stop(&self, ends: bool) {
        let (done, is_done) = bounded(1);
        // It may hang; the station ends all the same.
        if self.orders.send(Order::Stop { ends, done }).is_ok() {
            let _ = is_done.recv_timeout(2 * GOODBYE + Duration::from_secs(1));
        }
    }
}

impl Drop for Bird {
    /// Ends all sessions, and BIRD, where nobody left it running before.
    fn drop(&mut self) {
        self.stop(true);
    }
}
