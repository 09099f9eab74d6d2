//! Reading the counters: sums over workers, consistent in themselves, from the last `clear` on.

mod drops;
pub mod latency;
mod rates;
pub mod talkers;
mod totals;

pub use drops::Drops;
pub use rates::{Passed, Policed, Rates, Reading, Traffic, WINDOWS_S};
pub use totals::{PortTotals, VifTotals};

use std::sync::Arc;

use crate::tables::counters::{SlowCounters, WorkerCounters};
use crate::tables::last_drops::{DropLog, LastDrops};
use crate::tables::{DropReason, PortId, SlowOutcome, Snapshot, VifId};

/// All counters of the station, as an operator sees them. A clone shares them, and shows what is counted
/// later too.
#[derive(Clone, Debug)]
pub struct Counters {
    workers: Vec<Arc<WorkerCounters>>,
    slow: Arc<SlowCounters>,
    base: Arc<Base>,
}

/// From where on an operator sees them.
#[derive(Clone, Debug, Default)]
struct Base {
    /// What had been counted at the last clear, or when the id was given to its present VIF.
    vifs: Vec<VifTotals>,
    ports: Vec<PortTotals>,
    /// Whose id it is.
    names: Vec<Option<Arc<str>>>,
    port_names: Vec<Arc<str>>,
}

impl Counters {
    /// The counters of these workers and the slow path.
    pub fn new(workers: Vec<Arc<WorkerCounters>>, slow: Arc<SlowCounters>) -> Counters {
        Counters { workers, slow, base: Arc::default() }
    }

    /// Frames of the slow path that found a worker's queue full.
    pub fn lost(&self, worker: usize) -> u64 {
        self.slow.lost(worker).get()
    }

    /// Each worker's own counters.
    pub fn workers(&self) -> &[Arc<WorkerCounters>] {
        &self.workers
    }

    /// What each worker, and the slow path, took down of frames that went no further.
    fn drop_logs(&self) -> impl Iterator<Item = &DropLog> {
        let workers = self.workers.iter().map(|worker| &worker.last_drops);
        workers.chain([&self.slow.last_drops])
    }

    /// Takes notice of new tables: a VIF or a port that got the id of a deleted one starts from zero.
    pub fn adopt(&mut self, tables: &Snapshot) {
        let mut base = std::mem::take(&mut self.base);
        let Base { vifs, names, ports, port_names } = Arc::make_mut(&mut base);
        // VTEPs count nothing.
        let nics = self.workers.first().map_or(0, |worker| worker.ports().len());
        for (id, port) in (0..=u8::MAX).map(PortId).zip(tables.ports.iter()).take(nics) {
            let index = id.index();
            if port_names.len() <= index {
                port_names.resize(index + 1, "".into());
                ports.resize(index + 1, PortTotals::default());
            }
            if !port.is_vacant() && port_names[index] != port.name {
                if !port_names[index].is_empty() {
                    ports[index] = self.sum_port(id);
                    self.drop_logs().filter_map(|log| log.port(id)).for_each(LastDrops::forget);
                }
                port_names[index] = port.name.clone();
            }
        }
        for (index, vif) in tables.vifs.iter().enumerate() {
            let name = vif.as_ref().map(|vif| vif.name.clone());
            if names.len() <= index {
                names.resize(index + 1, None);
                vifs.resize(index + 1, VifTotals::default());
            }
            if name.is_some() && names[index] != name {
                if let Ok(id) = u16::try_from(index).map(VifId) {
                    self.drop_logs().for_each(|log| log.admit(id));
                    // An id that nobody had before has counted nothing but what is its VIF's own.
                    if names[index].is_some() {
                        vifs[index] = self.sum_vif(id);
                        let drops = self.drop_logs().filter_map(|log| log.vif(id));
                        drops.for_each(LastDrops::forget);
                    }
                }
                names[index] = name;
            }
        }
        self.base = base;
    }

    /// Makes everything count from zero. Workers notice nothing.
    pub fn clear(&mut self) {
        let vifs = (0..=u16::MAX).map(VifId).take(self.base.vifs.len());
        let vifs = vifs.map(|id| self.sum_vif(id)).collect();
        let ports = (0..=u8::MAX).map(PortId).take(self.base.ports.len());
        let ports = ports.map(|id| self.sum_port(id)).collect();
        let Base { names, port_names, .. } = (*self.base).clone();
        self.base = Arc::new(Base { vifs, ports, names, port_names });
        self.drop_logs().for_each(DropLog::forget);
    }

    /// A VIF's counters.
    pub fn vif(&self, id: VifId) -> VifTotals {
        let sum = self.sum_vif(id);
        match self.base.vifs.get(id.index()) {
            Some(base) => sum.since(base),
            None => sum,
        }
    }

    /// The most frames of a class of a VIF that waited at once in one worker, whatever was cleared since.
    pub fn peak(&self, id: VifId, class: usize) -> u64 {
        let peak = |worker: &Arc<WorkerCounters>| {
            let classes = worker.vif(id).rare.classes.get()?;
            classes.get(class).map(|class| class.peak_frames.get())
        };
        self.workers.iter().filter_map(peak).max().unwrap_or(0)
    }

    /// One of a VIF's counters of drops: no other is read.
    pub fn drops(&self, id: VifId, reason: DropReason) -> u64 {
        let drops = |worker: &Arc<WorkerCounters>| worker.vif(id).rare.drops[reason.index()].get();
        let sum: u64 = self.workers.iter().map(drops).sum();
        let base = self.base.vifs.get(id.index());
        sum.saturating_sub(base.map_or(0, |base| base.drops[reason.index()]))
    }

    /// One of a VIF's counters of the slow path: no other is read.
    pub fn outcomes(&self, id: VifId, outcome: SlowOutcome) -> u64 {
        let base = self.base.vifs.get(id.index());
        let base = base.map_or(0, |base| base.slow[outcome.index()]);
        self.slow.outcome(id, outcome).get().saturating_sub(base)
    }

    /// A port's counters.
    pub fn port(&self, id: PortId) -> PortTotals {
        let sum = self.sum_port(id);
        match self.base.ports.get(id.index()) {
            Some(base) => sum.since(base),
            None => sum,
        }
    }

    /// The last frames that entered by a VIF and went no further.
    pub fn drops_of_vif(&self, id: VifId) -> Drops {
        Drops::of(self.drop_logs().filter_map(|log| log.vif(id)))
    }

    /// Those that entered by a port and for no VIF.
    pub fn drops_of_port(&self, id: PortId) -> Drops {
        Drops::of(self.drop_logs().filter_map(|log| log.port(id)))
    }

    /// What all ids of VIFs have counted since the start, those of VIFs that are gone among them: never less than
    /// before. No `clear` changes it.
    pub fn ever(&self) -> VifTotals {
        let mut sum = VifTotals::default();
        let ids = self.workers.first().map_or(0, |worker| worker.vifs().len());
        for id in (0..=u16::MAX).map(VifId).take(ids) {
            for worker in &self.workers {
                sum.add(&VifTotals::read(worker.vif(id)));
            }
            sum.add_slow(&self.slow, id);
        }
        sum
    }

    fn sum_vif(&self, id: VifId) -> VifTotals {
        let mut sum = VifTotals::default();
        for worker in &self.workers {
            sum.add(&worker.consistent(|worker| VifTotals::read(worker.vif(id))));
        }
        sum.add_slow(&self.slow, id);
        sum
    }

    fn sum_port(&self, id: PortId) -> PortTotals {
        let mut sum = PortTotals::default();
        for worker in &self.workers {
            sum.add(&worker.consistent(|worker| PortTotals::read(worker.port(id))));
        }
        sum
    }
}
