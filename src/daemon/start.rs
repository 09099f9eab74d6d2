//! The station's start and end.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam::channel::{Receiver, Sender, bounded, unbounded};
use sd_notify::NotifyState;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use tracing::{error, info, warn};

use super::billing::Billing;
use super::book::Book;
use super::control_thread::{Control, End};
use super::cpus::Urgency;
use super::datapath::{self, Datapath, Told};
use super::desk::Desk;
use super::drain::Drains;
use super::drill::Drills;
use super::events::Events;
use super::failover::{self, Failover};
use super::flow_log::FlowLogs;
use super::followers::Followers;
use super::heartbeat::Heartbeat;
use super::holds::Holds;
use super::latency::Latencies;
use super::mappings::Mappings;
use super::mirrors::Mirrors;
use super::probes::Probes;
use super::rates::{self, RateBook};
use super::talkers::TopTalkers;
use super::{
    StationError, bgp, change, cpus, descriptors, metrics, outages, port_details, privilege, rpki,
    watch_thread,
};
use crate::admin::server::{self, Rounds, Server};
use crate::bird::Bird;
use crate::clock::now_ms;
use crate::config::{self, model::Config};
use crate::control::{Engine, Limits, kernel};
use crate::events::{self, Event};
use crate::fib::{self, Fib};
use crate::log;
use crate::netlink::{Carriers, LinkEvent, LinkWatcher};
use crate::netns::{self, Namespace};
use crate::observe::Counters;
use crate::publish::Publisher;
use crate::tables::Snapshot;

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
    // Before anything is touched: a second station would take the sessions from the first.
    let path = config.station.socket.clone();
    let socket_failed = |error| StationError::Socket { path: path.clone(), error };
    let server = Server::bind(&path, server::Groups::of_system()).map_err(socket_failed)?;
    let file = std::path::absolute(file).unwrap_or_else(|_| file.to_owned());
    let (config, text, mut book) = Book::open(&file, config, text);
    let plan = datapath::plan(&config)?;
    let workers = plan.cpus.len();
    descriptors::allow_for(config.vifs.len());
    let namespace = Namespace::open(&kernel::namespace_name(&path))?;
    info!(name = namespace.name(), "network namespace of TAPs and BIRD");
    // Later the calls that it takes are refused.
    let carriers = Carriers::open().inspect_err(|error| {
        warn!(%error, "a port's loss of its link within a second of another's is noticed late");
    });
    // Before any thread is started that stays: each has what the one has that starts it.
    privilege::drop_all_but_kept().map_err(StationError::Drop)?;
    cpus::leave_to_workers(&plan.cpus);
    log::start().map_err(StationError::Thread)?;
    let fib = Fib::new(fib::Limits::default())?;
    let reader = fib.reader();
    info!("lookups on this processor: {}", reader.choice());
    let (publisher, subscribers) = Publisher::new(workers + 1, Snapshot::default());
    let (slow, told_by_slow) = unbounded();
    let (taps_changed, taps) = unbounded();
    let stream_threads = start_stream(&config).map_err(StationError::Thread)?;
    let stream = stream_threads.keeper();
    let report = stream.reporter();
    let (ledger, ledger_thread) = outages::open_ledger(&config.station.state, report.clone())
        .map_err(StationError::Thread)?;
    let told = Told { slow, taps: taps_changed, ledger: ledger.clone() };
    let datapath = Datapath::start(&config, plan, &namespace, &reader, subscribers, told)?;
    let (billing, billing_thread) =
        Billing::start(&config.station.state, datapath.counters.clone(), report.clone())
            .map_err(StationError::Thread)?;
    let (state, vifs) = (&config.station.state, config.station.max_vifs);
    let (flow_log, flow_thread) =
        FlowLogs::start(state, &datapath, vifs, report.clone()).map_err(StationError::Thread)?;
    let drains = Drains::start(&config.station.state, datapath.counters.clone(), report.clone())
        .map_err(StationError::Thread)?;
    let (mappings, mappings_thread) =
        Mappings::start(&config.station.state, report.clone()).map_err(StationError::Thread)?;
    let ports = datapath.ports.room.most;
    let limits = Limits { workers, ports, ..Limits::for_vifs(config.station.max_vifs) };
    let mut engine = Engine::new(fib, publisher, limits);
    // What forwards first knows of it.
    engine.drain(drains.names());
    engine.hold(mappings.shared().book().tables());
    let counters = Counters::new(datapath.counters.clone(), datapath.slow_counters.clone());
    let (sender, peers) = unbounded();
    let (probes, probe_threads) =
        Probes::start(state, datapath.slow.asker(), sender.clone(), report.clone())
            .map_err(StationError::Thread)?;
    let (program, directory) = (config.station.bird.clone(), bgp::directory(&config.station));
    let bird = namespace
        .within(|| {
            privilege::keep(privilege::BIRD)?;
            Bird::start(program, directory, sender, report.clone())
        })
        .map_err(StationError::Thread)?;
    let (sender, learned) = bounded(failover::UPDATES);
    let failover = namespace
        .within(|| Failover::start(ledger.clone(), sender))
        .map_err(StationError::Thread)?;
    let (desk, tasks) = Desk::new();
    let (configuration, rates) = (book.number, RateBook::default());
    let latency = Latencies::start(&datapath, desk.clone()).map_err(StationError::Thread)?;
    let talkers = TopTalkers::start(&datapath, vifs, desk.clone()).map_err(StationError::Thread)?;
    let details = port_details::spawn(desk.clone()).map_err(StationError::Thread)?;
    let (changes, jobs) = unbounded();
    let ((watched, names), (served, metrics_at)) = (unbounded(), unbounded());
    let (asked, caches) = unbounded();
    let rpki = rpki::spawn(&namespace, caches, report.clone()).map_err(StationError::Thread)?;
    let config = Arc::new(config);
    let mut control = Control {
        applied: datapath.ports.facts(),
        engine,
        datapath,
        counters,
        rates: rates.clone(),
        details: details.clone(),
        billing,
        flow_log,
        probes,
        latency,
        talkers,
        drains,
        drills: Drills::read(&config.station.state),
        mirrors: Mirrors::read(&config.station.state),
        mappings,
        file,
        text: text.into(),
        configuration,
        started,
        failover,
        stream,
        report: report.clone(),
        ports_told: BTreeMap::new(),
        stations_lost: BTreeSet::new(),
        bird,
        bgp: None,
        rpki,
        desk,
        work: BTreeSet::new(),
        holds: Holds::default(),
        heartbeat: Heartbeat::new(Instant::now()),
        rounds: Rounds::default(),
        config: config.clone(),
        changes,
        followers: Followers {
            links: watched,
            metrics: served,
            metrics_told: None,
            rpki: asked,
            rpki_told: Vec::new(),
            details: details.clone(),
        },
        change: None,
        paused: Arc::default(),
        end: None,
    };
    let vrfs = control.engine.vrf_ids(&config);
    let rendered = bgp::prepare(&config, &vrfs, None, &control.drains.names())?;
    control.commit(&config, rendered)?;
    control.lose_drilled();
    if let Err(error) = book.settle() {
        error!(error, "the configuration runs");
    }
    let counted = control.datapath.counters.clone();
    rates::spawn(control.desk.clone(), counted, rates.clone()).map_err(StationError::Thread)?;
    control.tell_start();
    book.tell_start(&report);
    control.resume_mirrors();
    watch_thread::spawn(control.desk.clone(), report.clone()).map_err(StationError::Thread)?;
    change::spawn(control.file.clone(), control.desk.clone(), report.clone(), book, rates, jobs)
        .map_err(StationError::Thread)?;

    let links = watch_links(names, carriers.ok()).map_err(StationError::Thread)?;
    let signals = watch_signals().map_err(StationError::Thread)?;
    let (sender, calls) = bounded(server::QUEUE);
    let server = server
        .serve(sender, control.rounds.clone(), server::Limits::default(), report.clone())
        .map_err(|error| StationError::Socket { path: path.clone(), error })?;
    let book = control.mappings.shared().clone();
    metrics::spawn(metrics_at, control.desk.clone(), details, book)
        .map_err(StationError::Thread)?;
    info!(station = config.station.name, workers, "forwarding");
    // Without systemd there is no one to notify.
    let status = format!("forwarding on {} ports with {workers} workers", config.ports.len());
    drop(sd_notify::notify(&[NotifyState::Ready, NotifyState::Status(&status)]));
    let (tick_at, worked, resolved) = (Instant::now(), false, false);
    let mut events = Events {
        links,
        peers,
        told: told_by_slow,
        taps,
        findings: control.datapath.findings.clone(),
        ports: control.datapath.jobs_done.clone(),
        learned,
        tasks,
        calls,
        signals,
        tick_at,
        worked,
        resolved,
        ledger,
    };
    cpus::be(Urgency::Failover);
    let end = control.serve(&mut events);
    info!(?end, "stopping; the ports stay closed");
    report.tell(Event::StationStop { sessions_kept: end == End::SessionsKept });
    control.failover.ledger.stop(now_ms());
    control.mappings.stop(mappings_thread);
    drop(ledger_thread.join());
    drop(sd_notify::notify(&[NotifyState::Stopping]));
    control.flow_log.stop(flow_thread);
    control.probes.stop(probe_threads);
    if end == End::SessionsKept {
        control.bird.leave();
        // What they counted until now is billed.
        control.datapath.stop_workers();
        control.billing.stop(billing_thread);
        stream_threads.stop();
        // What a kill leaves: the thread that keeps the TAPs removes them where it is let go, so it is not, and ends
        // with the process.
        std::mem::forget((control, namespace));
        return Ok(());
    }
    drop(events);
    drop(server);
    // While packets still flow, so that peers hear of it and move away.
    drop(control.bird);
    control.datapath.stop();
    control.billing.stop(billing_thread);
    if let Err(error) = namespace.remove() {
        warn!(%error, "cannot remove the network namespace; the next start takes it over");
    }
    stream_threads.stop();
    Ok(())
}

/// Starts the stream of events, with the privileges that its threads need.
fn start_stream(config: &Config) -> std::io::Result<events::Threads> {
    netns::on_a_thread(|| {
        privilege::keep(privilege::EVENTS)?;
        events::Threads::start(config.station.state.clone(), &config.events)
    })
}

/// Ports' interfaces that come, go and change.
fn watch_links(
    names: Receiver<Vec<String>>,
    carriers: Option<Carriers>,
) -> std::io::Result<Receiver<LinkEvent>> {
    let (sender, events) = unbounded();
    let mut watcher = LinkWatcher::of(names, carriers)?;
    let watch = move || {
        cpus::be(Urgency::Failover);
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
