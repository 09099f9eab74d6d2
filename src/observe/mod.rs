//! Reading the counters: sums over workers, consistent in themselves, from the last `clear` on.

mod totals;

pub use totals::{PortTotals, VifTotals};

use std::sync::Arc;

use crate::tables::counters::{SlowCounters, WorkerCounters};
use crate::tables::{PortId, Snapshot, VifId};

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

    /// Takes notice of new tables: a VIF that got the id of a deleted one starts from zero.
    pub fn adopt(&mut self, tables: &Snapshot) {
        let mut base = std::mem::take(&mut self.base);
        let Base { vifs, names, .. } = Arc::make_mut(&mut base);
        for (index, vif) in tables.vifs.iter().enumerate() {
            let name = vif.as_ref().map(|vif| vif.name.clone());
            if names.len() <= index {
                names.resize(index + 1, None);
                vifs.resize(index + 1, VifTotals::default());
            }
            if name.is_some() && names[index] != name {
                // An id that nobody had before has counted nothing but what is its VIF's own.
                if let (Some(_), Ok(id)) = (&names[index], u16::try_from(index)) {
                    vifs[index] = self.sum_vif(VifId(id));
                }
                names[index] = name;
            }
        }
        self.base = base;
    }

    /// Makes everything count from zero. Workers notice nothing.
    pub fn clear(&mut self, ports: usize) {
        let vifs = (0..=u16::MAX).map(VifId).take(self.base.vifs.len());
        let vifs = vifs.map(|id| self.sum_vif(id)).collect();
        let ports = (0..=u8::MAX).map(PortId).take(ports);
        let ports = ports.map(|id| self.sum_port(id)).collect();
        self.base = Arc::new(Base { vifs, ports, names: self.base.names.clone() });
    }

    /// A VIF's counters.
    pub fn vif(&self, id: VifId) -> VifTotals {
        let sum = self.sum_vif(id);
        match self.base.vifs.get(id.index()) {
            Some(base) => sum.since(base),
            None => sum,
        }
    }

    /// A port's counters.
    pub fn port(&self, id: PortId) -> PortTotals {
        let sum = self.sum_port(id);
        match self.base.ports.get(id.index()) {
            Some(base) => sum.since(base),
            None => sum,
        }
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
