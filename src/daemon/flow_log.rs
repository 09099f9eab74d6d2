//! The flow log as the control thread has it: what is told to the thread that exports flows, and what is shown of it.

use std::collections::{HashMap, HashSet};
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread::JoinHandle;

use crossbeam::channel::{Sender, unbounded};

use super::control_thread::Control;
use super::datapath::Datapath;
use super::flow_thread::{self, Job, Station};
use super::view::labels_of;
use crate::admin::answer::Answer;
use crate::admin::rows::{CollectorRow, FlowLogRow};
use crate::config::model::Config;
use crate::events::Reporter;
use crate::ipfix::{Counts, SinkStats, Target};
use crate::tables::counters::Counter;
use crate::tables::{Snapshot, Vif, VifId};
use crate::worker::flows::{FlowChannel, VifFlows};

/// The control thread's end.
pub(super) struct FlowLogs {
    jobs: Sender<Job>,
    standing: Arc<Standing>,
}

impl FlowLogs {
    /// Starts the thread.
    ///
    /// # Errors
    /// The system's, where there is no thread left.
    pub fn start(
        state: &Path,
        datapath: &Datapath,
        max_vifs: u16,
        report: Reporter,
    ) -> io::Result<(FlowLogs, JoinHandle<()>)> {
        let (jobs, told) = unbounded();
        let standing = Arc::new(Standing::default());
        let station = Station {
            orders: datapath.workers.iter().map(|worker| worker.orders().clone()).collect(),
            max_vifs: max_vifs.into(),
            started: datapath.started,
            state: state.to_owned(),
            report,
        };
        let thread = flow_thread::spawn(station, told, standing.clone())?;
        Ok((FlowLogs { jobs, standing }, thread))
    }

    /// Follows a configuration that was committed.
    pub fn commit(&self, tables: &Snapshot, config: &Config) {
        // The thread ends only when told to.
        drop(self.jobs.send(Job::Commit(config.flow_log.clone(), Box::new(tables.clone()))));
    }

    /// Exports what the workers have logged, which log no more, and ends the thread.
    pub fn stop(&self, thread: JoinHandle<()>) {
        drop(self.jobs.send(Job::Stop));
        drop(thread.join());
    }

    /// What others may look at.
    pub fn standing(&self) -> &Arc<Standing> {
        &self.standing
    }
}

/// What others may look at.
#[derive(Default)]
pub(super) struct Standing {
    /// By worker; none as long as nothing has ever been logged.
    pub(super) channels: OnceLock<Box<[Arc<FlowChannel>]>>,
    sinks: Mutex<Vec<(Target, Arc<SinkStats>)>>,
    /// Frames and records by VIF, of those that there are.
    told: Mutex<HashMap<Arc<str>, [u64; 2]>>,
    /// What was not logged of VIFs that had these ids before: frames and octets.
    before: Mutex<HashMap<VifId, [u64; 2]>>,
}

impl Standing {
    /// A gauge of a VIF, by worker.
    pub(super) fn gauge(
        &self,
        vif: VifId,
        gauge: fn(&VifFlows) -> &Counter,
    ) -> impl Iterator<Item = u64> {
        let channels = self.channels.get().map_or(&[][..], |channels| channels);
        channels.iter().filter_map(move |channel| Some(gauge(channel.vif(vif)?).get()))
    }

    /// Frames in records of a VIF, and its records.
    pub(super) fn told(&self, vif: &str) -> [u64; 2] {
        lock(&self.told).get(vif).copied().unwrap_or_default()
    }

    /// Frames that no worker had room for since the VIF has its id, and their octets.
    pub(super) fn unlogged(&self, vif: VifId) -> [u64; 2] {
        let [frames, octets] = lock(&self.before).get(&vif).copied().unwrap_or_default();
        let sum = |counter| self.gauge(vif, counter).sum::<u64>();
        [
            sum(|vif| &vif.unlogged_frames).saturating_sub(frames),
            sum(|vif| &vif.unlogged_octets).saturating_sub(octets),
        ]
    }

    /// The VIFs are these from now on; of the ids that are another's what was counted is forgotten.
    pub(super) fn follow(&self, tables: &Snapshot, last: &Snapshot) {
        let name = |tables: &Snapshot, id| tables.vif(id).map(|vif| vif.name.clone());
        for (id, vif) in tables.vifs_by_id() {
            if name(last, id).is_some_and(|last| last != vif.name) {
                let [frames, octets] = self.unlogged(id);
                let mut all = lock(&self.before);
                let before = all.entry(id).or_default();
                *before = [before[0] + frames, before[1] + octets];
            }
        }
        let mut told = lock(&self.told);
        let names: HashSet<&str> = tables.vifs_by_id().map(|(_, vif)| &*vif.name).collect();
        told.retain(|name, _| names.contains(&**name));
        for (_, vif) in tables.vifs_by_id() {
            told.entry(vif.name.clone()).or_default();
        }
    }

    /// A record was made, if the VIF is still there.
    pub(super) fn count(&self, vif: &str, frames: u64) {
        if let Some(told) = lock(&self.told).get_mut(vif) {
            *told = [told[0] + frames, told[1] + 1];
        }
    }

    /// The sinks are these from now on.
    pub(super) fn show_sinks(&self, sinks: Vec<(Target, Arc<SinkStats>)>) {
        *lock(&self.sinks) = sinks;
    }

    /// VIFs that log.
    pub(super) fn logs(&self, tables: &Snapshot) -> Vec<FlowLogRow> {
        let Some(log) = &tables.flow_log else { return Vec::new() };
        let logging = tables.vifs_by_id().filter(|(id, _)| log.interval(*id) != 0);
        let row = |(id, vif): (VifId, &Vif)| {
            let [frames, records] = self.told(&vif.name);
            let [unlogged_frames, unlogged_octets] = self.unlogged(id);
            let interval = u64::from(log.interval(id));
            let effective = self.gauge(id, |vif| &vif.effective).max().unwrap_or(0);
            FlowLogRow {
                vif: vif.name.to_string(),
                labels: Default::default(),
                interval,
                effective_interval: effective.max(interval),
                active_flows: self.gauge(id, |vif| &vif.active).sum(),
                frames,
                records,
                unlogged_frames,
                unlogged_octets,
            }
        };
        logging.map(row).collect()
    }

    /// Collectors and files.
    pub(super) fn collectors(&self) -> Vec<CollectorRow> {
        let sinks = lock(&self.sinks);
        sinks.iter().map(|(target, stats)| collector(target, stats.counts())).collect()
    }
}

/// What a lock guards is whole whoever held it last.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn collector(target: &Target, counts: Counts) -> CollectorRow {
    let state = match (&counts.error, counts.open) {
        (Some(_), _) => "down",
        (None, true) => "up",
        (None, false) => "opening",
    };
    CollectorRow {
        collector: target.to_string(),
        state: state.into(),
        messages: counts.messages,
        records: counts.records,
        octets: counts.octets,
        lost_records: counts.lost_records,
        sessions: counts.sessions,
        error: counts.error.unwrap_or_default(),
    }
}

/// `show flow-log`.
pub(super) fn show(control: &Control) -> Answer {
    let (tables, config) = (control.engine.tables().clone(), control.config().clone());
    let standing = control.flow_log.standing().clone();
    Answer::later(move || {
        let labels = labels_of(&config);
        Answer::rows(standing.logs(&tables).into_iter().map(move |row| FlowLogRow {
            labels: labels.get(&*row.vif).cloned().unwrap_or_default(),
            ..row
        }))
    })
}

/// `show collectors`.
pub(super) fn show_collectors(control: &Control) -> Answer {
    let standing = control.flow_log.standing().clone();
    Answer::later(move || Answer::rows(standing.collectors()))
}
