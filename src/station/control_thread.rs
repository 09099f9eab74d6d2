//! The control thread: the only writer of tables and routes. It answers operators, and follows
//! neighbors and links.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crossbeam::channel::{Receiver, Sender, bounded, tick, unbounded};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use tracing::{error, info, warn};

use super::audit_thread::Finding;
use super::datapath::{self, Datapath};
use super::failover::{self, Failover};
use super::{StationError, answer, bgp, change, counters};
use crate::bird::{Bird, Rendered};
use crate::control::answer::Answer;
use crate::control::model::Config;
use crate::control::protocol::Request;
use crate::control::server::{self, Call, Server};
use crate::control::{CommitError, Diff, Engine, Limits, PortFacts, config, kernel};
use crate::fib::{self, Fib};
use crate::log;
use crate::netlink::{LinkEvent, LinkWatcher};
use crate::netns::Namespace;
use crate::observe::Counters;
use crate::publish::Publisher;
use crate::slowpath::NeighborEvent;
use crate::tables::{PortId, Snapshot};

/// Neighbor events taken into one publication.
const EVENTS: usize = 1024;

/// What the control thread holds.
pub(super) struct Control {
    pub engine: Engine<Publisher<Snapshot>>,
    pub datapath: Datapath,
    pub counters: Counters,
    /// The configuration file, and its text as it runs.
    pub file: PathBuf,
    pub text: String,
    pub started: Instant,
    pub failover: Failover,
    pub bird: Bird,
    /// What BIRD runs.
    pub bgp: Option<Rendered>,
    config: Config,
    /// What the tables say of the ports' interfaces.
    applied: Vec<PortFacts>,
}

/// Whether the tables need not change but perhaps for the link.
fn same_interface(old: PortFacts, new: PortFacts) -> bool {
    (old.mac, old.mtu) == (new.mac, new.mtu)
}

/// Runs the station until it is told to stop.
///
/// # Errors
/// [`StationError`]; where it started at all, its ports stay closed behind it.
pub fn run(file: &Path) -> Result<(), StationError> {
    let started = Instant::now();
    let (config, text) = config::load(file).map_err(|e| StationError::Config(Box::new(e)))?;
    if let Some(exposed) = config::exposure(file, &config) {
        warn!("{exposed}");
    }
    let plan = datapath::plan(&config)?;
    let workers = plan.cpus.len();
    log::start().map_err(StationError::Thread)?;
    let namespace = Namespace::open(&kernel::namespace_name(&config.station.socket))?;
    info!(name = namespace.name(), "network namespace of TAPs and BIRD");
    let fib = Fib::new(fib::Limits::default())?;
    let reader = fib.reader();
    let (publisher, subscribers) = Publisher::new(workers + 1, Snapshot::default());
    let (events, neighbors) = unbounded();
    let (taps_changed, taps) = unbounded();
    let datapath =
        Datapath::start(&config, plan, &namespace, &reader, subscribers, events, taps_changed)?;
    let engine = Engine::new(fib, publisher, Limits::for_vifs(config.station.max_vifs));
    let counters = Counters::new(datapath.counters.clone(), datapath.slow_counters.clone());
    let (sender, peers) = unbounded();
    let (program, directory) = (config.station.bird.clone(), bgp::directory(&config.station));
    let bird = namespace
        .within(|| Bird::start(program, directory, sender))
        .map_err(StationError::Thread)?;
    let (sender, learned) = bounded(failover::UPDATES);
    let failover = namespace
        .within(|| Failover::start(&config.station.state, sender))
        .map_err(StationError::Thread)?;
    let file = std::path::absolute(file).unwrap_or_else(|_| file.to_owned());
    let mut control = Control {
        applied: datapath.facts(),
        engine,
        datapath,
        counters,
        file,
        text,
        started,
        failover,
        bird,
        bgp: None,
        config: config.clone(),
    };
    control.commit(&config)?;

    let findings = control.datapath.findings.clone();
    let ports = config.ports.iter().map(|port| port.interface.clone()).collect();
    let links = watch_links(ports).map_err(StationError::Thread)?;
    let signals = watch_signals().map_err(StationError::Thread)?;
    let ticks = tick(Duration::from_secs(1));
    let (sender, calls) = bounded(server::QUEUE);
    let path = config.station.socket.clone();
    let server = Server::start(&path, sender, server::Limits::default())
        .map_err(|error| StationError::Socket { path, error })?;
    info!(station = config.station.name, workers, "forwarding");
    // Without systemd there is no one to notify.
    drop(sd_notify::notify(&[sd_notify::NotifyState::Ready]));
    loop {
        crossbeam::select! {
            recv(calls) -> call => control.call(call.ok()),
            recv(neighbors) -> event => control.neighbors(event.ok(), &neighbors),
            recv(links) -> event => control.links(event.ok()),
            recv(findings) -> finding => control.audited(finding.ok()),
            recv(peers) -> event => control.peers(event.ok(), &peers),
            recv(taps) -> changed => if let Ok(taps) = changed { control.bird.renew(taps) },
            recv(learned) -> update => control.learned(update.ok()),
            recv(ticks) -> _ => control.tick(),
            recv(signals) -> signal => match signal {
                Ok(SIGHUP) => control.hang_up(),
                _ => break,
            },
        }
    }
    info!("stopping; the ports stay closed");
    control.failover.ledger.stop(failover::now_ms());
    drop(sd_notify::notify(&[sd_notify::NotifyState::Stopping]));
    drop(calls);
    drop(server);
    // While packets still flow, so that peers hear of it and move away.
    drop(control.bird);
    control.datapath.stop();
    if let Err(error) = namespace.remove() {
        warn!(%error, "cannot remove the network namespace; the next start takes it over");
    }
    Ok(())
}

impl Control {
    /// The running configuration.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Takes a configuration into use, or leaves everything as it is.
    pub fn commit(&mut self, config: &Config) -> Result<Diff, CommitError> {
        let facts = self.datapath.facts();
        let bgp = self.prepare_bgp(config)?;
        let diff = self.engine.commit(config, &facts)?;
        self.applied = facts;
        self.config = config.clone();
        self.apply_bgp(bgp);
        self.counters.adopt(self.engine.tables());
        for (vif, mtu, limit) in self.engine.misfits() {
            warn!(%vif, mtu, limit, "the VIF is down: its MTU no longer fits its port's interface");
        }
        // There may be next hops to resolve.
        self.datapath.slow.look();
        self.datapath.taps.follow(self.engine.tables());
        self.follow_configuration();
        info!(generation = self.engine.tables().generation, changes = diff.changes.len(), "commit");
        Ok(diff)
    }

    fn call(&mut self, call: Option<Call>) {
        let Some(Call { request, reply }) = call else { return };
        reply.send(match &request {
            Request::Version => answer::version(self),
            Request::ShowPorts => answer::ports(self),
            Request::ShowVifs => answer::vifs(self),
            Request::ShowVrfs => answer::vrfs(self),
            Request::ShowRoutes(filter) => answer::routes(self, filter),
            Request::ShowNeighbors => answer::neighbors(self),
            Request::ShowCounters(filter) => counters::show(self, filter),
            Request::ShowWorkers => answer::workers(self),
            Request::ShowConsistency => failover::consistency(self),
            Request::ShowOutages(period) => failover::outages(self, period),
            Request::ShowSla(period) => failover::sla(self, period),
            Request::ShowBgp { vif } => bgp::show(self, vif.as_deref()),
            Request::ShowBgpRoutes { vif, direction } => bgp::routes(self, vif, *direction),
            Request::BgpReset { vif, peer } => bgp::reset(self, vif, *peer),
            Request::Lookup(request) => answer::lookup(self, request),
            Request::ClearCounters => change::clear_counters(self),
            Request::Reload { dry_run } => change::reload(self, *dry_run),
            edit => change::edit_file(self, edit),
        });
    }

    fn hang_up(&mut self) {
        if let Answer::Refused(refusal) = change::reload(self, false) {
            error!(%refusal, "the configuration stays as it was");
        }
    }

    fn neighbors(&mut self, first: Option<NeighborEvent>, more: &Receiver<NeighborEvent>) {
        let events: Vec<_> = first.into_iter().chain(more.try_iter().take(EVENTS)).collect();
        if let Err(error) = self.engine.neighbor_events(&events) {
            warn!(%error, "a neighbor is served by the slow path");
        }
        self.account_neighbors(&events);
    }

    fn links(&mut self, event: Option<LinkEvent>) {
        let Some(event) = event else { return };
        if let Some(id) = self.datapath.link_event(&event) {
            self.follow(id);
        }
    }

    fn audited(&mut self, finding: Option<Finding>) {
        if let Some(id) = finding.and_then(|finding| self.datapath.audited(finding)) {
            self.follow(id);
        }
    }

    /// Once a second: what could not be done when it should have been.
    fn tick(&mut self) {
        self.failover.ledger.alive(failover::now_ms());
        for id in self.datapath.retry() {
            self.follow(id);
        }
        let ports = (0..=u8::MAX).map(PortId).zip(self.datapath.facts());
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
        let facts = self.datapath.facts()[id.index()];
        if same_interface(self.applied[id.index()], facts) {
            self.engine.link_changed(id, facts.link_up);
            self.account();
            self.datapath.taps.follow(self.engine.tables());
            self.refresh_bgp();
            return;
        }
        // Another interface under the name: its MAC is in every adjacency of the port.
        if let Err(error) = self.commit(&self.config.clone()) {
            let port = &self.datapath.ports[id.index()].config.name;
            error!(%port, %error, "the port's interface does not fit the configuration: the port is down");
            self.engine.link_changed(id, false);
            self.datapath.taps.follow(self.engine.tables());
            self.account();
        }
    }
}

/// Ports' interfaces that come, go and change.
fn watch_links(ports: Vec<String>) -> std::io::Result<Receiver<LinkEvent>> {
    let (sender, events) = unbounded();
    let mut watcher = LinkWatcher::of(ports)?;
    let watch = move || {
        loop {
            match watcher.next(Duration::from_secs(60)) {
                Ok(None) => {}
                Ok(Some(event)) => {
                    if sender.send(event).is_err() {
                        return;
                    }
                }
                Err(error) => {
                    warn!(%error, "netlink");
                    std::thread::sleep(Duration::from_millis(100));
                }
            }
        }
    };
    std::thread::Builder::new().name("links".into()).spawn(watch)?;
    Ok(events)
}

/// Signals that end the station or make it read its configuration again.
fn watch_signals() -> std::io::Result<Receiver<i32>> {
    let (sender, signals): (Sender<i32>, _) = unbounded();
    let mut source = Signals::new([SIGHUP, SIGINT, SIGTERM])?;
    let watch = move || {
        for signal in source.forever() {
            if sender.send(signal).is_err() {
                return;
            }
        }
    };
    std::thread::Builder::new().name("signals".into()).spawn(watch)?;
    Ok(signals)
}
