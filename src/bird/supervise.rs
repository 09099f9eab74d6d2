//! Keeps BIRD running with the configuration that is wanted: starts it or takes over one that a killed
//! station left, reconfigures it, starts it again where it died, and ends it with the station. All in a
//! thread of its own: the control thread only leaves orders.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crossbeam::channel::{Receiver, RecvTimeoutError, Sender, bounded, unbounded};
use tracing::{info, warn};

use super::Rendered;
use super::client::{Client, ClientError, Line};
use super::events::{Heard, PeerEvent, Peers, Tracker};
use super::parse;
use super::process::{Place, ProcessError};

/// Between a failure and the next attempt: the first time, and at most.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(30));
/// A BIRD that ran for so long is given the shortest wait again.
const STEADY: Duration = Duration::from_secs(60);
/// How long BIRD may take to say goodbye to its peers.
const GOODBYE: Duration = Duration::from_secs(5);
/// Until a protocol that waits for its interface is started again.
const LOOK: Duration = Duration::from_millis(500);
/// What BIRD keeps of its log for us until we take it, in octets: the most that it allows.
const ECHO: u32 = 65_536;

enum Order {
    Apply(Option<Rendered>, Peers),
    /// The TAPs were looked at; those of these names are not what they were.
    Renew(Vec<String>),
    /// This protocol waits for its interface.
    Wake(String),
    /// The connection with this number has ended: BIRD is gone.
    Lost(u64),
    Stop(Sender<()>),
}

/// The control thread's end.
pub struct Bird {
    place: Place,
    orders: Sender<Order>,
    trouble: Arc<Mutex<Option<String>>>,
}

impl Bird {
    /// Starts the thread. BIRD itself is started when a configuration needs it, in the network namespace
    /// of the thread that calls. Its files are in `directory`; peers that come and go are told to `events`.
    ///
    /// # Errors
    /// The system's, where there is no thread left.
    pub fn start(
        program: PathBuf,
        directory: PathBuf,
        events: Sender<PeerEvent>,
    ) -> std::io::Result<Bird> {
        let (orders, their_orders) = unbounded();
        let trouble = Arc::new(Mutex::new(None));
        let place = Place { program, directory };
        let supervisor = Supervisor {
            place: place.clone(),
            orders: orders.clone(),
            events,
            peers: Arc::default(),
            trouble: trouble.clone(),
            wanted: None,
            changed: false,
            running: None,
            connections: 0,
            retry_at: None,
            backoff: BACKOFF.0,
            taps_ready: false,
            asleep: BTreeSet::new(),
            wake_at: None,
        };
        std::thread::Builder::new()
            .name("bird".into())
            .spawn(move || supervisor.run(&their_orders))?;
        Ok(Bird { place, orders, trouble })
    }

    /// Has BIRD run this, or, with `None`, not run. Returns at once.
    pub fn apply(&self, rendered: Option<Rendered>, config: &crate::control::model::Config) {
        drop(self.orders.send(Order::Apply(rendered, Peers::of(config))));
    }

    /// The TAPs are as they can be, and these are new ones or have a carrier that came or went: what
    /// speaks through them starts anew. Before the first time BIRD is not started: among many TAPs that
    /// appear around its start it overlooks some.
    pub fn renew(&self, taps: Vec<String>) {
        drop(self.orders.send(Order::Renew(taps)));
    }

    /// Where BIRD answers.
    pub fn socket(&self) -> PathBuf {
        self.place.socket()
    }

    /// What stands between BIRD and the configuration, in words.
    pub fn trouble(&self) -> Option<String> {
        self.trouble.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for Bird {
    /// Ends all sessions, and BIRD. Only a station that is killed leaves it running.
    fn drop(&mut self) {
        let (sender, done) = bounded(1);
        // It may hang; the station ends all the same.
        if self.orders.send(Order::Stop(sender)).is_ok() {
            let _ = done.recv_timeout(GOODBYE + Duration::from_secs(1));
        }
    }
}

struct Running {
    /// The number of the connection whose end is BIRD's.
    connection: u64,
    since: Instant,
}

struct Supervisor {
    place: Place,
    orders: Sender<Order>,
    events: Sender<PeerEvent>,
    peers: Arc<Mutex<Peers>>,
    trouble: Arc<Mutex<Option<String>>>,
    wanted: Option<Rendered>,
    /// BIRD does not have what is wanted yet.
    changed: bool,
    running: Option<Running>,
    connections: u64,
    /// Nothing is tried before.
    retry_at: Option<Instant>,
    backoff: Duration,
    /// The TAPs have been looked at.
    taps_ready: bool,
    /// Protocols to start again. BIRD (2.0) looks for the interface of a protocol in a `vrf` when the
    /// protocol starts, and never again.
    asleep: BTreeSet<String>,
    /// When to do so.
    wake_at: Option<Instant>,
}

#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error(transparent)]
    Process(#[from] ProcessError),
    #[error(transparent)]
    Client(#[from] ClientError),
    #[error(transparent)]
    Thread(#[from] std::io::Error),
}

impl Supervisor {
    fn run(mut self, orders: &Receiver<Order>) {
        // One that a killed station left may be there although nothing needs it now.
        self.changed = true;
        loop {
            let order = match self.retry_at.into_iter().chain(self.wake_at).min() {
                Some(at) => match orders.recv_deadline(at) {
                    Ok(order) => Some(order),
                    Err(RecvTimeoutError::Timeout) => None,
                    Err(RecvTimeoutError::Disconnected) => return,
                },
                None => match orders.recv() {
                    Ok(order) => Some(order),
                    Err(_) => return,
                },
            };
            // All that waits: a link that flaps makes one change of many.
            for order in order.into_iter().chain(orders.try_iter()) {
                match order {
                    Order::Apply(rendered, peers) => {
                        *self.peers.lock().unwrap_or_else(PoisonError::into_inner) = peers;
                        if rendered != self.wanted {
                            // What failed may succeed with this.
                            (self.changed, self.retry_at) = (true, None);
                        }
                        self.wanted = rendered;
                    }
                    Order::Renew(taps) => {
                        self.taps_ready = true;
                        let peers = self.peers.lock().unwrap_or_else(PoisonError::into_inner);
                        self.asleep.extend(peers.on(&taps));
                        if !taps.is_empty() {
                            self.wake_at = Some(Instant::now());
                        }
                    }
                    Order::Wake(protocol) => {
                        self.asleep.insert(protocol);
                        self.wake_at.get_or_insert_with(|| Instant::now() + LOOK);
                    }
                    Order::Lost(connection) => self.lost(connection),
                    Order::Stop(done) => {
                        self.end();
                        let _ = done.send(());
                        return;
                    }
                }
            }
            if self.taps_ready && self.retry_at.is_none_or(|at| at <= Instant::now()) {
                self.retry_at = None;
                self.settle();
            }
            if self.wake_at.is_some_and(|at| at <= Instant::now()) {
                self.wake_at = None;
                self.wake();
            }
        }
    }

    /// Starts protocols again that BIRD would let sleep.
    fn wake(&mut self) {
        let asleep = std::mem::take(&mut self.asleep);
        if self.running.is_none() {
            return;
        }
        let restart = || -> Result<(), ClientError> {
            let mut client = Client::connect(&self.place.socket())?;
            for protocol in &asleep {
                // One that is gone by now is an error that means nothing.
                match client.command(&format!("restart '{protocol}'")) {
                    Ok(_) | Err(ClientError::Refused(_)) => {}
                    Err(error) => return Err(error),
                }
            }
            Ok(())
        };
        if let Err(error) = restart() {
            warn!(%error, "cannot start BGP sessions again");
        }
    }

    fn lost(&mut self, connection: u64) {
        let Some(running) = self.running.take_if(|running| running.connection == connection) else {
            return;
        };
        if running.since.elapsed() > STEADY {
            self.backoff = BACKOFF.0;
        }
        // What it was doing to its routes stays in the kernel; the next one takes them over.
        self.fail(&"BIRD has died");
    }

    /// Brings BIRD to what is wanted.
    fn settle(&mut self) {
        let done = match (&self.wanted, &self.running) {
            (None, _) => {
                if self.changed {
                    self.end();
                }
                Ok(())
            }
            (Some(_), None) => self.bring_up(),
            (Some(wanted), Some(_)) if self.changed => self.reconfigure(wanted),
            _ => return,
        };
        match done {
            Ok(()) => {
                self.changed = false;
                *self.trouble.lock().unwrap_or_else(PoisonError::into_inner) = None;
            }
            Err(failure) => self.fail(&failure),
        }
    }

    fn fail(&mut self, failure: &dyn std::fmt::Display) {
        let wait = self.backoff;
        warn!(error = %failure, wait_ms = wait.as_millis(), "BGP is not as configured; it is tried again");
        *self.trouble.lock().unwrap_or_else(PoisonError::into_inner) = Some(failure.to_string());
        self.retry_at = Some(Instant::now() + wait);
        self.backoff = (wait * 2).min(BACKOFF.1);
    }

    /// Takes over a BIRD that runs, or starts one.
    fn bring_up(&mut self) -> Result<(), Failure> {
        let Some(wanted) = self.wanted.clone() else { return Ok(()) };
        if self.place.is_elsewhere() {
            info!("the running BIRD is in another network namespace");
            self.end();
        } else if let Ok(client) = Client::connect(&self.place.socket()) {
            self.watch(client)?;
            info!("took over the running BIRD");
            return self.reconfigure(&wanted);
        }
        let recover = self.place.died();
        self.place.write(&wanted)?;
        self.place.start(recover)?;
        let client = Client::connect(&self.place.socket())?;
        info!(recover, "started BIRD");
        Ok(self.watch(client)?)
    }

    fn reconfigure(&self, wanted: &Rendered) -> Result<(), Failure> {
        self.place.write(wanted)?;
        let said = Client::connect(&self.place.socket())?.command("configure")?;
        info!(said = said.last().map_or("", |line| line.as_str()), "reconfigured BIRD");
        Ok(())
    }

    /// Ends BIRD, and waits until it has told its peers.
    fn end(&mut self) {
        self.running = None;
        let Ok(mut client) = Client::connect(&self.place.socket()) else { return };
        info!("ending all BGP sessions");
        let deadline = Instant::now() + GOODBYE;
        if client.command("down").is_ok() {
            // It closes its connections last.
            while Instant::now() < deadline && client.line().is_ok() {}
        }
    }

    /// Follows BIRD's messages in a thread, whose end says that BIRD is gone.
    fn watch(&mut self, client: Client) -> std::io::Result<()> {
        self.connections += 1;
        let connection = self.connections;
        let (peers, events, orders) =
            (self.peers.clone(), self.events.clone(), self.orders.clone());
        std::thread::Builder::new().name("bird-events".into()).spawn(move || {
            if let Err(error) = follow(client, &peers, &events, &orders) {
                info!(%error, "BIRD's messages end");
            }
            drop(orders.send(Order::Lost(connection)));
        })?;
        self.running = Some(Running { connection, since: Instant::now() });
        Ok(())
    }
}

/// Tells of peers until BIRD is gone.
fn follow(
    mut client: Client,
    peers: &Mutex<Peers>,
    events: &Sender<PeerEvent>,
    orders: &Sender<Order>,
) -> Result<(), ClientError> {
    client.wait_for_ever()?;
    client.send(&format!("echo all {ECHO}"))?;
    let mut tracker = Tracker::default();
    // Those that are up already.
    client.send("show protocols \"b.*\"")?;
    loop {
        let line = client.line()?;
        let at = Instant::now();
        let peers = peers.lock().unwrap_or_else(PoisonError::into_inner);
        let heard: Vec<Heard> = match line {
            Line::Log(text) => vec![tracker.message(&text, &peers, at)],
            Line::Text(code, text) => parse::protocols([(code, text)])
                .iter()
                .map(|protocol| tracker.state(protocol, &peers, at))
                .collect(),
            Line::End(..) => Vec::new(),
        };
        drop(peers);
        for heard in heard {
            match heard {
                Heard::Nothing => {}
                Heard::Peer(event) => {
                    info!(
                        vif = %event.vif, peer = %event.address, up = event.up,
                        cause = event.cause, "peer"
                    );
                    drop(events.send(event));
                }
                Heard::Waits(protocol) => drop(orders.send(Order::Wake(protocol))),
                Heard::Gap => client.send("show protocols \"b.*\"")?,
            }
        }
    }
}
