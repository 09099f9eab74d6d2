//! The configured probes as the control thread has them: what is told to the thread that asks, and what is shown of it.

use std::collections::{HashMap, HashSet};
use std::io;
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use crossbeam::channel::{Sender, bounded, unbounded};

use super::control_thread::Control;
use super::probe_history;
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
use crate::probes::history::{Asked, Keeper, Notes};
use crate::publish::Publisher;
use crate::slowpath::source;
use crate::tables::{Snapshot, Vif, VifId};

/// For the thread to say what it knows.
const PATIENCE: Duration = Duration::from_secs(3);

/// The control thread's end.
#[derive(Clone)]
pub(super) struct Probes {
    jobs: Sender<Job>,
    history: Keeper,
}

/// The thread that asks, and the one that keeps what was answered.
pub(super) type Threads = [JoinHandle<()>; 2];

impl Probes {
    /// Starts the threads. `lost`: where it says which next hops are lost, and back.
    ///
    /// # Errors
    /// The system's, where there is no thread left.
    pub fn start(
        state: &Path,
        asker: Asker,
        lost: Sender<PeerEvent>,
        report: Reporter,
    ) -> io::Result<(Probes, Threads)> {
        let (jobs, told) = unbounded();
        let notes = Notes::default();
        let (history, keeps) = probe_history::start(state, notes.clone(), report.clone())?;
        let asks = probe_thread::spawn(asker, told, lost, report, notes)?;
        Ok((Probes { jobs, history }, [asks, keeps]))
    }

    /// Follows a configuration that was committed.
    pub fn commit(&self, engine: &Engine<Publisher<Snapshot>>, config: &Config) {
        let of_probes: HashSet<&str> = config.probes.iter().map(|probe| &*probe.vif).collect();
        let vifs = config.vifs.iter().filter(|vif| of_probes.contains(&*vif.name));
        let customers: HashMap<&str, &str> =
            vifs.filter_map(|vif| Some((&*vif.name, vif.labels.customer.as_deref()?))).collect();
        let plan = |probe: &ProbeConfig| {
            let id = engine.vif(&probe.vif)?;
            let customer = customers.get(&*probe.vif).copied();
            Some(plan(probe, id, engine.tables().vif(id)?, customer))
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

    /// Who keeps what was answered.
    pub fn history(&self) -> &Keeper {
        &self.history
    }

    /// Ends the threads: the one that keeps after all is noted.
    pub fn stop(&self, [asks, keeps]: Threads) {
        drop(self.jobs.send(Job::Stop));
        drop(asks.join());
        self.history.stop();
        drop(keeps.join());
    }
}

fn plan(probe: &ProbeConfig, id: VifId, vif: &Vif, customer: Option<&str>) -> Plan {
    let source = |target: &IpAddr| source(vif, *target, probe.next_hop);
    let sources = probe.targets.iter().map(source).collect();
    let customer: Option<Arc<str>> = customer.map(Arc::from);
    let kind: Arc<str> = probe.question.kind().into();
    let asked = |target: &IpAddr| {
        Arc::new(Asked {
            probe: probe.name.clone(),
            vif: probe.vif.clone(),
            customer: customer.clone(),
            target: *target,
            kind: kind.clone(),
            port: probe.question.port(),
        })
    };
    let asked = probe.targets.iter().map(asked).collect();
    let of = (vif.name.clone(), vif.vrf);
    Plan { config: Arc::new(probe.clone()), vif: id, of, sources, asked }
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
