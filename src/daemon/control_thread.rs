//! The control thread: the only writer of tables and routes. It answers operators, and follows
//! neighbors and links.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use crossbeam::channel::Sender;
use tracing::{error, info, warn};

use super::audit_thread::Finding;
use super::billing::Billing;
use super::change::{Job, Order};
use super::datapath::Datapath;
use super::desk::{Desk, Pause};
use super::drain::Drains;
use super::drill::Drills;
use super::events::{Event, Events};
use super::failover::Failover;
use super::flow_log::FlowLogs;
use super::followers::Followers;
use super::heartbeat::Heartbeat;
use super::holds::Holds;
use super::latency::Latencies;
use super::mappings::Mappings;
use super::mirrors::Mirrors;
use super::port_details::DetailBook;
use super::port_thread::Done;
use super::ports::Opening;
use super::probes::Probes;
use super::rates::RateBook;
use super::rpki::Trouble;
use super::talkers::TopTalkers;
use crate::admin::protocol::Request;
use crate::admin::server::{Reply, Rounds};
use crate::bird::{Bird, Following, Rendered};
use crate::clock::now_ms;
use crate::config::model::Config;
use crate::control::{Candidate, CommitError, Engine, PortFacts};
use crate::events::{self, Reporter};
use crate::netlink::LinkEvent;
use crate::observe::Counters;
use crate::publish::Publisher;
use crate::tables::{PortId, Snapshot};

/// What the control thread holds.
pub(super) struct Control {
    pub engine: Engine<Publisher<Snapshot>>,
    pub datapath: Datapath,
    pub counters: Counters,
    pub rates: RateBook,
    pub details: DetailBook,
    pub billing: Billing,
    pub flow_log: FlowLogs,
    pub probes: Probes,
    pub latency: Latencies,
    pub talkers: TopTalkers,
    pub drains: Drains,
    pub drills: Drills,
    pub mirrors: Mirrors,
    pub mappings: Mappings,
    /// The configuration file, and its text and number as it runs.
    pub file: PathBuf,
    pub text: Arc<str>,
    pub configuration: u64,
    pub started: Instant,
    pub failover: Failover,
    /// The stream of events, and what takes them.
    pub stream: events::Keeper,
    pub report: Reporter,
    /// Whether each port was told to be up; empty before the station has started.
    pub ports_told: BTreeMap<PortId, bool>,
    /// The other stations that were told to be lost.
    pub stations_lost: BTreeSet<Arc<str>>,
    pub bird: Bird,
    /// What BIRD runs.
    pub bgp: Option<Rendered>,
    /// Why caches of RPKI are not reached.
    pub rpki: Trouble,
    /// Where other threads leave what the control thread is to do.
    pub desk: Desk,
    /// What waits until nothing urgent does.
    pub work: BTreeSet<Work>,
    pub holds: Holds,
    pub heartbeat: Heartbeat,
    pub rounds: Rounds,
    pub config: Arc<Config>,
    /// What the tables say of the ports' interfaces.
    pub applied: Vec<PortFacts>,
    /// The thread for changes of the configuration.
    pub changes: Sender<Job>,
    pub followers: Followers,
    /// The change that is being committed.
    pub change: Option<Change>,
    /// Neighbors and routes wait for a candidate: see [`Pause`].
    pub paused: Arc<AtomicBool>,
    /// The station is to end, and how.
    pub end: Option<End>,
}

/// How the station ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// Peers are told that their sessions end. Nothing is left but closed ports.
    PeersTold,
    /// As if it were killed: BIRD, its sessions, the TAPs and their namespace are left to the next station.
    SessionsKept,
}

/// What the control thread does in pieces, when nothing urgent waits; the first named here first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Work {
    /// Goes on with a commit.
    Commit,
    /// Brings the TAPs to what the tables say.
    Taps,
    /// Brings the mirror and the ledger to what is configured.
    Configuration,
    /// Tells the ledger what stands.
    Account,
}

/// A configuration that is ready to be committed.
pub(super) struct Prepared {
    pub candidate: Candidate,
    pub change: Change,
    /// Since its base neither neighbors nor routes have changed.
    pub pause: Pause,
}

/// What follows a commit.
pub(super) struct Change {
    pub config: Arc<Config>,
    pub text: Arc<str>,
    pub number: u64,
    pub bird: Option<Rendered>,
    pub opening: Opening,
    pub reply: Sender<Result<Option<Following>, CommitError>>,
}

/// Whether the tables need not change but perhaps for the link.
fn same_interface(old: PortFacts, new: PortFacts) -> bool {
    (old.mac, old.mtu) == (new.mac, new.mtu)
}

impl Control {
    /// Serves what comes until the station is told to stop.
    pub fn serve(&mut self, events: &mut Events) -> End {
        loop {
            if let Some(end) = self.end {
                return end;
            }
            let event = events.next(self.rests(), !self.work.is_empty());
            let (began, what) = (Instant::now(), event.word());
            self.rounds.count();
            self.heartbeat.turn(began, self.datapath.turns());
            match event {
                Event::Link(event) => self.links(&event),
                Event::Peer(event) => self.peers(event, &events.peers),
                Event::Told(told) => self.told(told, &events.told),
                Event::Taps(taps) => self.bird.renew(taps),
                Event::Audit(finding) => self.audited(finding),
                Event::Port(done) => self.port(done),
                Event::Learned(update) => self.learned(update),
                Event::Task(task) => task(self),
                Event::Call(call) => self.call(call),
                Event::Tick => self.tick(),
                Event::Work => self.work(),
                Event::Reload => {
                    self.change_for(Order::unasked(Request::Reload { dry_run: false }), None);
                }
                Event::Stop => return End::PeersTold,
            }
            self.holds.note(what, began, &self.failover.ledger);
        }
    }

    /// The running configuration.
    pub fn config(&self) -> &Arc<Config> {
        &self.config
    }

    /// Takes a configuration into use at once, as at the start and for another interface under a port's name;
    /// or leaves everything as it is.
    pub fn commit(
        &mut self,
        config: &Arc<Config>,
        bird: Option<Rendered>,
    ) -> Result<(), CommitError> {
        let facts = self.datapath.ports.facts();
        self.engine.commit(config, &facts)?;
        self.committed(config.clone(), bird);
        Ok(())
    }

    /// Keeps neighbors and routes waiting, so that a candidate stays true to its base.
    pub fn pause(&self) -> Pause {
        Pause::begin(&self.paused, &self.desk)
    }

    /// Whether neighbors and routes have to wait.
    pub fn rests(&self) -> bool {
        self.paused.load(Ordering::Relaxed) || self.engine.is_committing()
    }

    /// Begins to commit what was prepared.
    pub fn begin(&mut self, prepared: Prepared) {
        let Prepared { candidate, change, pause } = prepared;
        match self.engine.begin(candidate, &self.datapath.ports.facts_with(&change.opening)) {
            Ok(()) => {
                self.change = Some(change);
                self.work.insert(Work::Commit);
            }
            // Who waits for it may have gone.
            Err(error) => drop(change.reply.send(Err(error))),
        }
        drop(pause);
    }

    /// Goes on with a commit; true where it is done.
    fn step(&mut self) -> bool {
        let done = match self.engine.step() {
            Ok(None) => return false,
            Ok(Some(diff)) => Ok(diff),
            Err(error) => Err(error),
        };
        if let Some(Change { config, text, number, bird, opening, reply }) = self.change.take() {
            let done = done.map(|diff| {
                (self.text, self.configuration) = (text, number);
                self.datapath.ports.follow(&config, &opening);
                self.tell_ports(&config);
                let following = self.committed(config, bird);
                let generation = self.engine.tables().generation;
                info!(configuration = number, generation, changes = diff.changes.len(), "commit");
                following
            });
            drop(reply.send(done));
        }
        true
    }

    /// Everything else follows a configuration that was committed; BIRD, where there is something to follow, later.
    fn committed(&mut self, config: Arc<Config>, bird: Option<Rendered>) -> Option<Following> {
        self.applied = self.datapath.ports.facts();
        self.config = config;
        self.followers.tell(&self.config);
        self.stream.configure(&self.config.events);
        let following = self.apply_bgp(bird);
        self.counters.adopt(self.engine.tables());
        self.billing.commit(self.engine.tables(), &self.config);
        self.flow_log.commit(self.engine.tables(), &self.config);
        self.probes.commit(&self.engine, &self.config);
        self.latency.commit(&self.config, &self.datapath.ports);
        self.talkers.commit(&self.config);
        self.watch_drains();
        self.tend_mirrors();
        for (vif, mtu, limit) in self.engine.misfits() {
            warn!(%vif, mtu, limit, "the VIF is down: its MTU no longer fits its port's interface");
        }
        // There may be next hops to resolve.
        self.datapath.slow.look();
        self.work.extend([Work::Taps, Work::Configuration]);
        following
    }

    /// Does one piece of what need not be done at once.
    fn work(&mut self) {
        let Some(work) = self.work.pop_first() else { return };
        let done = match work {
            Work::Commit => self.step(),
            Work::Taps => {
                self.datapath.taps.follow(self.engine.tables());
                true
            }
            Work::Configuration => {
                self.follow_configuration();
                true
            }
            Work::Account => self.account_some(),
        };
        if !done {
            self.work.insert(work);
        }
    }

    /// Leaves a change to the thread for changes.
    pub(super) fn change_for(&self, order: Order, reply: Option<Reply>) {
        // It ends only with the station; then the reply is refused by being dropped.
        drop(self.changes.send(Job { order, reply }));
    }

    fn links(&mut self, event: &LinkEvent) {
        if let Some(id) = self.datapath.ports.link_event(event) {
            self.follow(id);
        }
    }

    fn port(&mut self, done: Done) {
        if let Some(id) = self.datapath.ports.done(done) {
            self.latency.follow(&self.datapath.ports);
            self.follow(id);
        }
    }

    fn audited(&mut self, finding: Finding) {
        let id = finding.port;
        let closed = self.datapath.ports.audited(finding);
        self.tell_repair(id);
        if let Some(id) = closed {
            self.follow(id);
        }
    }

    /// Once a second: what could not be done when it should have been.
    fn tick(&mut self) {
        self.failover.ledger.alive(now_ms());
        self.account_drills();
        self.tend_mirrors();
        self.datapath.ports.retry();
        self.tell_stations();
        if !self.rests() {
            self.expire_paths();
        }
        let ports = (0..=u8::MAX).map(PortId).zip(self.datapath.ports.facts());
        // Whatever lost or never had an event: the tables are to say what is known of the ports.
        let applied = |id: PortId| {
            let up = self.engine.tables().ports.get(id.index()).is_some_and(|port| port.up);
            PortFacts { link_up: up, ..self.applied[id.index()] }
        };
        let stale = |&(id, facts): &(PortId, PortFacts)| applied(id) != facts;
        let stale: Vec<PortId> = ports.filter(stale).map(|(id, _)| id).collect();
        stale.into_iter().for_each(|id| self.follow(id));
    }

    /// Brings the tables to what a port's interface is now.
    fn follow(&mut self, id: PortId) {
        let facts = self.datapath.ports.facts()[id.index()];
        let same = same_interface(self.applied[id.index()], facts);
        if same || self.engine.is_committing() {
            // Another interface waits for the end of the commit; meanwhile nothing leaves by its port.
            let up = facts.link_up && same;
            self.engine.link_changed(id, up);
            if !up {
                self.port_lost(id);
            }
            self.account();
            self.work.insert(Work::Taps);
            self.refresh_bgp();
            self.tell_port(id);
            return;
        }
        // Another interface under the name: its MAC is in every adjacency of the port.
        if let Err(error) = self.commit(&self.config.clone(), self.bgp.clone()) {
            let port = self.datapath.ports.get(id).map(|port| port.config.name.clone());
            error!(port = port.as_deref(), %error, "the port's interface does not fit the configuration: the port is down");
            self.engine.link_changed(id, false);
            self.work.insert(Work::Taps);
            self.account();
        }
        self.tell_port(id);
    }
}
