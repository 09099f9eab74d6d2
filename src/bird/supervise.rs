//! Keeps BIRD running with the configuration that is wanted: starts it or takes over one that a killed
//! station left, reconfigures it, starts it again where it died or hangs, and ends it with the station. All
//! in a thread of its own: the control thread only leaves orders.

mod drills;
mod reconfigure;
mod watch;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crossbeam::channel::{Receiver, RecvTimeoutError, Sender};
use tracing::{info, warn};

use super::Rendered;
use super::client::{Client, ClientError, PATIENCE};
use super::damping::Damping;
use super::events::PeerEvent;
use super::follow::Follower;
use super::handle::Order;
use super::process::{Place, ProcessError};
use super::progress::Progress;
use crate::admin::rows::RoutingState;
use crate::events::Reporter;
use watch::say;

/// Between a failure and the next attempt: the first time, and at most.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));
/// A BIRD that ran for so long is given the shortest wait again.
const STEADY: Duration = Duration::from_secs(60);
/// How long BIRD may take to say goodbye to its peers.
pub(super) const GOODBYE: Duration = Duration::from_secs(5);
/// Until a protocol that waits for its interface is started again.
const LOOK: Duration = Duration::from_millis(500);
struct Running {
    /// The number of the connection whose end is BIRD's.
    connection: u64,
    since: Instant,
}

pub(super) struct Supervisor {
    place: Place,
    orders: Sender<Order>,
    events: Sender<PeerEvent>,
    report: Reporter,
    follower: Arc<Mutex<Follower>>,
    trouble: Arc<Mutex<Option<String>>>,
    progress: Progress,
    wanted: Option<Rendered>,
    /// The number of the order that wants it.
    number: u64,
    /// Somebody has said what is wanted. Until then a BIRD that runs is left alone.
    told: bool,
    /// BIRD does not have what is wanted yet.
    changed: bool,
    running: Option<Running>,
    connections: u64,
    /// Nothing is tried before.
    retry_at: Option<Instant>,
    backoff: Duration,
    /// The TAPs have been looked at.
    taps_ready: bool,
    /// Protocols to start again, and when. BIRD (2.0) looks for the interface of a protocol in a `vrf`
    /// when the protocol starts, and never again.
    asleep: BTreeMap<String, Instant>,
    /// Sessions that a limit shut until an operator resets them. BIRD itself would start them with the
    /// next `configure`.
    shut: BTreeSet<String>,
    /// Sessions that drills have down, and what their far ends are told.
    drilled: BTreeMap<String, String>,
    links: Damping,
    /// Of what the station originates, the protocols that are disabled in BIRD: suffixes of their names.
    dead_ways: BTreeSet<String>,
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

impl Failure {
    /// What is told at once to who waits; none where the next attempt may succeed.
    fn verdict(&self) -> Option<RoutingState> {
        match self {
            Failure::Process(ProcessError::Refused(_))
            | Failure::Client(ClientError::Refused(_)) => Some(RoutingState::Refused),
            Failure::Process(ProcessError::Program { .. }) => Some(RoutingState::Pending),
            _ => None,
        }
    }
}

impl Supervisor {
    pub(super) fn new(
        place: Place,
        orders: Sender<Order>,
        events: Sender<PeerEvent>,
        report: Reporter,
        trouble: Arc<Mutex<Option<String>>>,
        follower: Arc<Mutex<Follower>>,
        progress: Progress,
    ) -> Supervisor {
        Supervisor {
            shut: place.shut(),
            place,
            orders,
            events,
            report,
            follower,
            trouble,
            progress,
            wanted: None,
            number: 0,
            told: false,
            // One that a killed station left may be there although nothing needs it now.
            changed: true,
            running: None,
            connections: 0,
            retry_at: None,
            backoff: BACKOFF.0,
            taps_ready: false,
            asleep: BTreeMap::new(),
            drilled: BTreeMap::new(),
            links: Damping::default(),
            dead_ways: BTreeSet::new(),
        }
    }

    /// Carries out orders until the last one.
    pub(super) fn run(mut self, orders: &Receiver<Order>) {
        loop {
            let now = Instant::now();
            let wakes = self.asleep.values().copied().min();
            let next = self.retry_at.into_iter().chain(wakes).chain(self.links.next(now)).min();
            let order = match next {
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
            // All that waits: many changes at once are one `configure`.
            for order in order.into_iter().chain(orders.try_iter()) {
                if let Order::Stop { ends, done } = order {
                    if ends {
                        self.end();
                    }
                    let _ = done.send(());
                    return;
                }
                self.order(order);
            }
            if self.told && self.taps_ready && self.retry_at.is_none_or(|at| at <= Instant::now()) {
                self.retry_at = None;
                self.settle();
            }
            self.wake();
        }
    }

    fn order(&mut self, order: Order) {
        let now = Instant::now();
        match order {
            Order::Apply { rendered, peers, number } => {
                self.change_shut(|shut| shut.retain(|each| peers.session(each).is_some()));
                self.follower().configure(peers);
                if rendered != self.wanted {
                    // What failed may succeed with this.
                    (self.changed, self.retry_at) = (true, None);
                }
                (self.wanted, self.told) = (rendered, true);
                self.number = number.unwrap_or(self.number);
            }
            Order::Links(ports) => self.links.links(&ports, now),
            Order::Renew(taps) => {
                self.taps_ready = true;
                let mut renewed = Vec::new();
                {
                    let follower = self.follower();
                    for tap in taps {
                        // A link that flaps starts nothing until it stays.
                        let at =
                            follower.peers.port(&tap).and_then(|port| self.links.back_at(port));
                        let at = at.unwrap_or(now);
                        renewed.extend(follower.peers.on(&tap).into_iter().map(|name| (name, at)));
                    }
                }
                self.asleep.extend(renewed);
            }
            Order::Wake(protocol) => {
                self.asleep.entry(protocol).or_insert(now + LOOK);
            }
            Order::Shut(protocol) => {
                // What was told may be older than the last reset. Where BIRD does not answer, it holds.
                let is_shut = || self.client().and_then(|mut client| client.is_shut(&protocol));
                if !self.shut.contains(&protocol) && is_shut().unwrap_or(true) {
                    self.change_shut(|shut| shut.extend([protocol]));
                }
            }
            Order::Drill(drilled, done) => self.drill(drilled, done),
            Order::Reset(protocols, done) => {
                self.change_shut(|shut| shut.retain(|each| !protocols.contains(each)));
                let _ = done.send(self.client().and_then(|mut client| client.reset(&protocols)));
            }
            Order::Lost { connection, hung } => self.lost(connection, hung),
            Order::Stop { .. } => {}
        }
    }

    /// Changes which sessions are shut.
    fn change_shut(&mut self, change: impl FnOnce(&mut BTreeSet<String>)) {
        let before = self.shut.clone();
        change(&mut self.shut);
        if self.shut != before {
            self.place.keep_shut(&self.shut);
        }
    }

    fn follower(&self) -> std::sync::MutexGuard<'_, Follower> {
        self.follower.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn client(&self) -> Result<Client, ClientError> {
        Client::connect(&self.place.socket(), PATIENCE)
    }

    /// Starts protocols again that BIRD would let sleep.
    fn wake(&mut self) {
        let now = Instant::now();
        let mut due = Vec::new();
        self.asleep.retain(|protocol, at| {
            let later = *at > now;
            due.extend((!later).then(|| protocol.clone()));
            later
        });
        if self.running.is_none() || due.is_empty() {
            return;
        }
        let commands = due.iter().map(|protocol| format!("restart '{protocol}'"));
        if let Err(error) = self.client().and_then(|mut client| client.commands(commands)) {
            warn!(%error, "cannot start BGP sessions again");
        }
    }

    fn lost(&mut self, connection: u64, hung: bool) {
        let Some(running) = self.running.take_if(|running| running.connection == connection) else {
            return;
        };
        if running.since.elapsed() > STEADY {
            self.backoff = BACKOFF.0;
        }
        // What it was doing to its routes stays in the kernel; the next one takes them over.
        if hung {
            self.kill();
            self.fail(&"BIRD did not answer any more, and was killed");
        } else {
            self.fail(&"BIRD has died");
        }
    }

    fn kill(&self) {
        if let Err(error) = self.place.kill() {
            warn!(%error, "cannot kill the BIRD that does not answer");
        }
    }

    /// Brings BIRD to what is wanted.
    fn settle(&mut self) {
        let done = match (&self.wanted, &self.running) {
            (None, _) => {
                if self.changed {
                    self.doing("BIRD ends all sessions");
                    self.end();
                }
                self.followed();
                Ok(())
            }
            (Some(_), None) => self.bring_up(),
            (Some(_), Some(_)) if self.changed => self.reconfigure(),
            (Some(_), Some(_)) => self.advertise(),
        };
        match done {
            Ok(()) => {
                if std::mem::take(&mut self.changed) {
                    say(&self.trouble, &self.report, None);
                }
            }
            Err(failure) => self.fail_as(&failure, failure.verdict()),
        }
    }

    fn doing(&self, doing: &'static str) {
        self.progress.doing(self.number, doing);
    }

    /// BIRD has what is wanted, and nothing to do for it.
    fn followed(&self) {
        self.progress.followed(self.number, 0, &self.report);
    }

    fn fail(&mut self, failure: &dyn std::fmt::Display) {
        self.fail_as(failure, None);
    }

    /// `verdict`: what is told at once to who waits.
    fn fail_as(&mut self, failure: &dyn std::fmt::Display, verdict: Option<RoutingState>) {
        let wait = self.backoff;
        // What it does not have when it is back is written again.
        self.changed = true;
        let text = failure.to_string();
        self.progress.failed(self.number, &text, verdict);
        // Once, not every few seconds.
        if say(&self.trouble, &self.report, Some(text.clone())) {
            warn!(error = text, "BGP is not as configured; it is tried again");
        }
        self.retry_at = Some(Instant::now() + wait);
        self.backoff = (wait * 2).min(BACKOFF.1);
    }

    /// Takes over a BIRD that runs, or starts one.
    fn bring_up(&mut self) -> Result<(), Failure> {
        if self.place.is_elsewhere() {
            info!("the running BIRD is in another network namespace");
            self.end();
        }
        match self.client() {
            Ok(client) => {
                self.watch(client, false)?;
                info!("took over the running BIRD");
                return self.reconfigure();
            }
            // It would keep another one from starting.
            Err(error) if error.is_silence() => self.kill(),
            Err(_) => {}
        }
        self.doing("BIRD is being started");
        let recover = self.place.died();
        self.write()?;
        self.place.start(recover)?;
        info!(recover, "started BIRD");
        self.watch(self.client()?, true)?;
        self.followed();
        Ok(())
    }

    /// Has BIRD advertise what the ports that have a link lead to, and nothing else. It reads no
    /// configuration for that: with many sessions it would do nothing else for seconds.
    fn advertise(&mut self) -> Result<(), Failure> {
        let Some(wanted) = &self.wanted else { return Ok(()) };
        let dead = wanted.dead_ways(&self.links.dead(Instant::now()));
        if dead == self.dead_ways {
            return Ok(());
        }
        let word = |way: &String| if dead.contains(way) { "disable" } else { "enable" };
        let changed = dead.symmetric_difference(&self.dead_ways);
        self.client()?.commands(changed.map(|way| format!("{} \"s*{way}\"", word(way))))?;
        self.dead_ways = dead;
        Ok(())
    }

    /// Ends BIRD, and waits until it has told its peers.
    fn end(&mut self) {
        self.running = None;
        let deadline = Instant::now() + GOODBYE;
        let said = Client::connect(&self.place.socket(), GOODBYE).and_then(|mut client| {
            info!("ending all BGP sessions");
            client.command("down")?;
            // It closes its connections last.
            loop {
                client.wait_for(deadline.saturating_duration_since(Instant::now()))?;
                match client.line() {
                    Ok(_) => {}
                    Err(error) if error.is_silence() => return Err(error),
                    Err(_) => return Ok(()),
                }
            }
        });
        match said {
            Ok(()) => self.place.clear(),
            Err(error) if error.is_silence() => self.kill(),
            Err(_) => {}
        }
    }
}
