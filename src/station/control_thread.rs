//! The control thread: the only writer of tables and routes. It answers operators, and follows
//! neighbors and links.

use std::path::Path;
use std::time::Duration;

use crossbeam::channel::{Receiver, Sender, unbounded};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use tracing::{error, info, warn};

use super::StationError;
use super::datapath::{self, Datapath};
use crate::control::config;
use crate::control::{Engine, Limits};
use crate::fib::{self, Fib};
use crate::port::af_xdp::{LinkEvent, LinkWatcher};
use crate::publish::Publisher;
use crate::slowpath::NeighborEvent;
use crate::tables::Snapshot;

/// Neighbor events taken into one publication.
const EVENTS: usize = 1024;

/// What the control thread holds.
pub(super) struct Control {
    pub engine: Engine<Publisher>,
    pub datapath: Datapath,
}

/// Runs the station until it is told to stop.
///
/// # Errors
/// [`StationError`]; where it started at all, its ports stay closed behind it.
pub fn run(file: &Path) -> Result<(), StationError> {
    let (config, text) = config::load(file).map_err(|e| StationError::Config(Box::new(e)))?;
    let plan = datapath::plan(&config)?;
    let fib = Fib::new(fib::Limits::default())?;
    let reader = fib.reader();
    let (publisher, subscribers) = Publisher::new(plan.cpus.len() + 1, Snapshot::default());
    let (events, neighbors) = unbounded();
    let datapath = Datapath::start(&config, &plan, &reader, subscribers, events)?;
    let engine = Engine::new(fib, publisher, Limits::for_vifs(config.station.max_vifs));
    let mut control = Control { engine, datapath };
    control.engine.commit(&config, &control.datapath.facts())?;
    control.datapath.slow.look();

    let links = watch_links().map_err(StationError::Thread)?;
    let signals = watch_signals().map_err(StationError::Thread)?;
    info!(station = config.station.name, workers = plan.cpus.len(), "forwarding");
    // Without systemd there is no one to notify.
    drop(sd_notify::notify(&[sd_notify::NotifyState::Ready]));
    loop {
        crossbeam::select! {
            recv(signals) -> signal => match signal {
                Ok(SIGHUP) => {}
                _ => break,
            },
            recv(neighbors) -> event => control.neighbors(event.ok(), &neighbors),
            recv(links) -> event => control.links(event.ok()),
        }
    }
    info!("stopping; the ports stay closed");
    drop(sd_notify::notify(&[sd_notify::NotifyState::Stopping]));
    control.datapath.stop();
    Ok(())
}

impl Control {
    fn neighbors(&mut self, first: Option<NeighborEvent>, more: &Receiver<NeighborEvent>) {
        let events: Vec<_> = first.into_iter().chain(more.try_iter().take(EVENTS)).collect();
        if let Err(error) = self.engine.neighbor_events(&events) {
            warn!(%error, "a neighbor is served by the slow path");
        }
    }

    fn links(&mut self, event: Option<LinkEvent>) {
        let Some(event) = event else { return };
        let before = self.datapath.facts();
        let Some(id) = self.datapath.link_event(&event) else { return };
        let facts = self.datapath.facts();
        let (old, new) = (before[id.index()], facts[id.index()]);
        if (old.mac, old.mtu) == (new.mac, new.mtu) {
            self.engine.link_changed(id, new.link_up);
            return;
        }
        // Another interface under the name: its MAC is in every adjacency of the port.
        let Some(config) = self.engine.config().cloned() else { return };
        if let Err(error) = self.engine.commit(&config, &facts) {
            error!(%error, "the port's new interface does not fit the configuration");
            self.engine.link_changed(id, false);
        }
    }
}

/// Interfaces that come, go and change.
fn watch_links() -> std::io::Result<Receiver<LinkEvent>> {
    let (sender, events) = unbounded();
    let mut watcher = LinkWatcher::new()?;
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
