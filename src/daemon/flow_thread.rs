//! The thread that exports flows: it gives workers what they log in, takes in what they have logged, and has it sent.

use std::collections::HashMap;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crossbeam::channel::{Receiver, RecvTimeoutError, Sender, unbounded};
use tracing::{error, warn};

use super::announce::log_and_tell;
use super::flow_log::Standing;
use super::worker_thread::{Order, Orders};
use crate::clock::{milliseconds, now_ms};
use crate::config::model::FlowLogConfig;
use crate::events::{Event, Reporter};
use crate::ipfix::{Common, Format, Interface, Names, Packer, Seen, Sink, Target, Told};
use crate::tables::{Snapshot, Vif, VifId};
use crate::worker::flows::{Flow, FlowChannel, Flows};

/// How often flows are taken in.
const TAKE: Duration = Duration::from_millis(20);
/// A message waits no longer for more flows.
const FLUSH: Duration = Duration::from_millis(250);
/// How often rates are looked at.
const LOOK: Duration = Duration::from_secs(1);
/// For workers to give back what they logged in, and for a configuration to be told of which flows are here.
const PATIENCE: Duration = Duration::from_secs(1);
/// What ids meant is known for so long after the commit that changed it; more flows of theirs do not come by then.
const REMEMBERED: Duration = Duration::from_secs(60);
/// A VIF that is logged at its own rate again is told when it has been so for so long.
const SETTLED: Duration = Duration::from_secs(10);

/// What the thread is told.
pub(super) enum Job {
    /// A configuration was committed.
    Commit(Option<FlowLogConfig>, Box<Snapshot>),
    /// The station ends.
    Stop,
}

/// What the thread needs of the station.
pub(super) struct Station {
    pub orders: Vec<Orders>,
    pub max_vifs: usize,
    /// When the workers' time began.
    pub started: Instant,
    pub state: PathBuf,
    pub report: Reporter,
}

/// Starts the thread.
///
/// # Errors
/// The system's, where there is no thread left.
pub(super) fn spawn(
    station: Station,
    jobs: Receiver<Job>,
    standing: Arc<Standing>,
) -> std::io::Result<JoinHandle<()>> {
    let (back, returned) = unbounded();
    let exporter = Exporter {
        station,
        epoch_ms: 0,
        jobs,
        standing,
        log: None,
        handed: None,
        common: None,
        sinks: Vec::new(),
        names: Names::default(),
        tables: Snapshot::default(),
        epochs: HashMap::new(),
        early: Vec::new(),
        packer: Packer::default(),
        coarser: HashMap::new(),
        back,
        returned,
    };
    std::thread::Builder::new().name("flows".into()).spawn(move || exporter.run())
}

/// What ids mean in the flows of one configuration.
struct Epoch {
    /// When another configuration took its place.
    ended: Option<Instant>,
    interfaces: Vec<Interface>,
    vifs: Arc<[Option<Vif>]>,
}

struct Exporter {
    station: Station,
    /// When the workers' time began, as the clock says now: milliseconds since 1970.
    epoch_ms: u64,
    jobs: Receiver<Job>,
    standing: Arc<Standing>,
    log: Option<FlowLogConfig>,
    /// The flows that workers have room for; none where they log nothing.
    handed: Option<u32>,
    common: Option<Arc<Common>>,
    sinks: Vec<Sink>,
    names: Names,
    tables: Snapshot,
    /// By [`crate::tables::FlowLog::epoch`].
    epochs: HashMap<u16, Epoch>,
    /// Flows of an epoch that is not known yet.
    early: Vec<(Instant, Flow)>,
    packer: Packer,
    /// VIFs that are logged at a coarser rate than theirs, and when that was last so.
    coarser: HashMap<VifId, Instant>,
    back: Sender<Box<Flows>>,
    returned: Receiver<Box<Flows>>,
}

impl Exporter {
    fn run(mut self) {
        let (mut flushed, mut looked) = (Instant::now(), Instant::now());
        loop {
            let job = match self.log {
                Some(_) => self.jobs.recv_timeout(TAKE),
                None => self.jobs.recv().map_err(|_| RecvTimeoutError::Disconnected),
            };
            match job {
                Ok(Job::Commit(log, tables)) => self.commit(log, *tables),
                Ok(Job::Stop) | Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => {}
            }
            self.take();
            if flushed.elapsed() >= FLUSH {
                flushed = Instant::now();
                self.pass_on(true);
            }
            if looked.elapsed() >= LOOK {
                looked = Instant::now();
                self.look();
            }
        }
        self.hand_out(None);
        self.pass_on(true);
        self.end_sinks(|_| true);
    }

    fn commit(&mut self, log: Option<FlowLogConfig>, tables: Snapshot) {
        let interfaces = self.names.follow(&tables);
        for epoch in self.epochs.values_mut() {
            epoch.ended.get_or_insert_with(Instant::now);
        }
        self.epochs.retain(|_, epoch| epoch.ended.is_none_or(|at| at.elapsed() < REMEMBERED));
        if let Some(log) = &tables.flow_log {
            let epoch = Epoch { ended: None, interfaces, vifs: tables.vifs.clone() };
            self.epochs.insert(log.epoch, epoch);
        }
        self.standing.follow(&tables, &self.tables);
        self.tables = tables;
        let wanted = log.as_ref().filter(|_| self.tables.flow_log.is_some());
        let wanted = wanted.map(|log| log.max_flows);
        if let Some(log) = &log {
            self.set_timeouts(log);
        }
        // What was logged so far goes where it was to go.
        if wanted != self.handed {
            self.hand_out(wanted);
        }
        self.pass_on(true);
        self.send_to(log);
    }

    fn channels(&self) -> &[Arc<FlowChannel>] {
        let vifs = self.station.max_vifs;
        let all = self.station.orders.iter().map(|_| Arc::new(FlowChannel::new(vifs)));
        self.standing.channels.get_or_init(|| all.collect())
    }

    fn set_timeouts(&self, log: &FlowLogConfig) {
        let ns = |seconds: u32| u64::from(seconds) * 1_000_000_000;
        for channel in self.channels() {
            channel.set_timeouts(ns(log.active_timeout_s), ns(log.idle_timeout_s));
        }
    }

    /// Has the workers log in tables of so many flows, or nothing, and exports what they have logged so far.
    fn hand_out(&mut self, most: Option<u32>) {
        if self.handed.is_none() && most.is_none() {
            return;
        }
        let vifs = self.station.max_vifs;
        let channels = self.channels().to_vec();
        for (orders, channel) in self.station.orders.iter().zip(channels) {
            let flows = most.map(|most| {
                let most = usize::try_from(most).unwrap_or(usize::MAX);
                Box::new(Flows::new(most, vifs, channel, seed()))
            });
            orders.give(Order::Flows { flows, back: self.back.clone() });
        }
        if self.handed.is_some() {
            for _ in 0..self.station.orders.len() {
                match self.returned.recv_timeout(PATIENCE) {
                    Ok(flows) => {
                        // Those that were handed over before come first.
                        self.take();
                        flows.end().for_each(|flow| self.export(flow, Instant::now()));
                    }
                    Err(_) => warn!("a worker does not give back its flows"),
                }
            }
        }
        self.handed = most;
    }

    /// Sends to the collectors and files of a configuration, and to no others.
    fn send_to(&mut self, log: Option<FlowLogConfig>) {
        let format = log.as_ref().map(|log| {
            let FlowLogConfig { domain, enterprise, .. } = *log;
            Format { domain, enterprise }
        });
        let targets = log.as_ref().map_or_else(Vec::new, |log| self.targets(log));
        if self.common.as_ref().map(|common| common.format) != format {
            // Other templates are other sessions'.
            self.end_sinks(|_| true);
            self.common = None;
        }
        self.end_sinks(|sink| !targets.contains(&sink.target));
        self.log = log;
        let Some(format) = format else { return };
        let common = match &self.common {
            Some(common) => {
                common.rename(self.names.clone());
                common.clone()
            }
            None => Arc::new(Common::new(format, self.names.clone())),
        };
        self.common = Some(common.clone());
        for target in targets {
            if self.sinks.iter().any(|sink| sink.target == target) {
                continue;
            }
            let (report, collector) = (self.station.report.clone(), target.to_string());
            let tell = move |told| tell(&report, &collector, told);
            match Sink::start(target, common.clone(), tell) {
                Ok(sink) => self.sinks.push(sink),
                Err(error) => error!(%error, "no thread for a collector"),
            }
        }
        self.show_sinks();
    }

    fn targets(&self, log: &FlowLogConfig) -> Vec<Target> {
        let files = (log.files_mib > 0).then(|| Target::Files {
            directory: self.station.state.join("flows"),
            octets: u64::from(log.files_mib) << 20,
        });
        log.collectors.iter().map(|&collector| Target::Collector(collector)).chain(files).collect()
    }

    /// Ends sinks, all at the same time.
    fn end_sinks(&mut self, which: impl Fn(&Sink) -> bool) {
        let (end, keep) = std::mem::take(&mut self.sinks).into_iter().partition(which);
        self.sinks = keep;
        let threads: Vec<_> = Vec::into_iter(end).map(Sink::end).collect();
        threads.into_iter().for_each(|thread| drop(thread.join()));
        self.show_sinks();
    }

    fn show_sinks(&self) {
        let shown = self.sinks.iter().map(|sink| (sink.target.clone(), sink.stats()));
        self.standing.show_sinks(shown.collect());
    }

    /// Takes in what the workers have logged.
    fn take(&mut self) {
        self.epoch_ms = now_ms().saturating_sub(milliseconds(self.station.started.elapsed()));
        for (since, flow) in std::mem::take(&mut self.early) {
            self.export(flow, since);
        }
        let standing = self.standing.clone();
        for channel in standing.channels.get().into_iter().flatten() {
            while let Some(flow) = channel.receive() {
                self.export(flow, Instant::now());
            }
        }
        self.pass_on(false);
    }

    fn export(&mut self, flow: Flow, since: Instant) {
        let Some(common) = &self.common else { return };
        let epoch = self.epochs.get(&flow.key.epoch);
        if epoch.is_none() && since.elapsed() < PATIENCE {
            // Its configuration is about to be told.
            self.early.push((since, flow));
            return;
        }
        let (interfaces, vifs) =
            epoch.map_or((&[][..], &[][..]), |epoch| (&epoch.interfaces, &*epoch.vifs));
        if let Some(Some(owner)) = vifs.get(flow.counts.owner.index()) {
            self.standing.count(&owner.name, flow.counts.packets);
        }
        let of = |vif: u16| interfaces.get(usize::from(vif)).copied().unwrap_or_default();
        let (from, to) = (of(flow.key.from), of(flow.key.to));
        let seen = Seen { from, to, epoch_ms: self.epoch_ms };
        common.format.flow(&mut self.packer, &flow, &seen);
    }

    /// Gives full messages, or all, to the sinks.
    fn pass_on(&mut self, all: bool) {
        for message in self.packer.take(all) {
            let message = Arc::new(message);
            self.sinks.iter().for_each(|sink| sink.send(&message));
        }
    }

    /// Looks at what workers had no room for, and at the rates of VIFs.
    fn look(&mut self) {
        let Some(log) = &self.tables.flow_log else { return };
        let now = Instant::now();
        let (mut frames, mut octets, mut events) = (0, 0, Vec::new());
        for (id, vif) in self.tables.vifs_by_id() {
            let unlogged = self.standing.unlogged(id);
            (frames, octets) = (frames + unlogged[0], octets + unlogged[1]);
            let interval = u64::from(log.interval(id));
            let effective = self.standing.gauge(id, |vif| &vif.effective).max().unwrap_or(0);
            let name = || vif.name.to_string();
            if interval != 0 && effective > interval {
                if self.coarser.insert(id, now).is_none() {
                    events.push(Event::FlowLogCoarser { vif: name(), interval: effective });
                }
            } else if self.coarser.get(&id).is_some_and(|&last| now - last >= SETTLED) {
                self.coarser.remove(&id);
                events.push(Event::FlowLogRestored { vif: name(), interval });
            }
        }
        self.coarser.retain(|&id, _| self.tables.vif(id).is_some());
        events.into_iter().for_each(|event| log_and_tell(&self.station.report, event));
        self.sinks.iter().for_each(|sink| sink.unlogged(frames, octets));
    }
}

/// Random numbers.
fn seed() -> [u64; 8] {
    // Each state has keys of its own, which begin with the system's random numbers.
    std::array::from_fn(|_| RandomState::new().build_hasher().finish())
}

fn tell(report: &Reporter, collector: &str, told: Told) {
    let collector = collector.to_owned();
    let event = match told {
        Told::Down(reason) => Event::CollectorDown { collector, reason },
        Told::Up => Event::CollectorUp { collector },
    };
    log_and_tell(report, event);
}
