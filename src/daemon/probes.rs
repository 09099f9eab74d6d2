//! The configured probes as the control thread has them: what is told to the thread that asks, and what is shown of it.

use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use crossbeam::channel::{Sender, bounded, unbounded};

use super::control_thread::Control;
use super::probe_thread::{self, Job, Plan};
use super::slow_thread::Asker;
use super::view::labels_of;
use crate::admin::answer::Answer;
use crate::admin::rows::TargetRow;
use crate::bird::PeerEvent;
use crate::config::model::{Config, ProbeConfig};
use crate::control::Engine;
use crate::events::Reporter;
use crate::probes::Counts;
use crate::publish::Publisher;
use crate::slowpath::source;
use crate::tables::{Snapshot, Vif, VifId};

/// For the thread to say what it knows.
const PATIENCE: Duration = Duration::from_secs(3);

/// The control thread's end.
#[derive(Clone)]
pub(super) struct Probes {
    jobs: Sender<Job>,
}

impl Probes {
    /// Starts the thread. `lost`: where it says which next hops are lost, and back.
    ///
    /// # Errors
    /// The system's, where there is no thread left.
    pub fn start(
        asker: Asker,
        lost: Sender<PeerEvent>,
        report: Reporter,
    ) -> io::Result<(Probes, JoinHandle<()>)> {
        let (jobs, told) = unbounded();
        let thread = probe_thread::spawn(asker, told, lost, report)?;
        Ok((Probes { jobs }, thread))
    }

    /// Follows a configuration that was committed.
    pub fn commit(&self, engine: &Engine<Publisher<Snapshot>>, config: &Config) {
        let plan = |probe: &ProbeConfig| {
            let id = engine.vif(&probe.vif)?;
            Some(plan(probe, id, engine.tables().vif(id)?))
        };
        let plans = config.probes.iter().filter_map(plan).collect();
        // The thread ends only when told to.
        drop(self.jobs.send(Job::Commit(plans)));
    }

    /// What is known of all targets: in rows, and counted. None where the thread does not answer.
    pub fn rows(&self) -> Vec<(TargetRow, Counts)> {
        let (reply, rows) = bounded(1);
        drop(self.jobs.send(Job::Show(reply)));
        rows.recv_timeout(PATIENCE).unwrap_or_default()
    }

    /// Ends the thread.
    pub fn stop(&self, thread: JoinHandle<()>) {
        drop(self.jobs.send(Job::Stop));
        drop(thread.join());
    }
}

fn plan(probe: &ProbeConfig, id: VifId, vif: &Vif) -> Plan {
    let source = |target: &IpAddr| source(vif, *target, probe.next_hop);
    let sources = probe.targets.iter().map(source).collect();
    Plan { config: Arc::new(probe.clone()), vif: id, of: (vif.name.clone(), vif.vrf), sources }
}

/// `show probes`.
pub(super) fn show(control: &Control) -> Answer {
    let (probes, config) = (control.probes.clone(), control.config().clone());
    Answer::later(move || {
        let labels = labels_of(&config);
        Answer::rows(probes.rows().into_iter().map(move |(row, _)| TargetRow {
            labels: labels.get(&*row.vif).cloned().unwrap_or_default(),
            ..row
        }))
    })
}
