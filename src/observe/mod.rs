//! Reading the counters: sums over workers, consistent in themselves, from the last `clear` on.

mod totals;

pub use totals::{PortTotals, VifTotals};

use std::sync::Arc;

use crate::tables::counters::{SlowCounters, WorkerCounters};
use crate::tables::{PortId, Snapshot, VifId};

/// All counters of the station, as an operator sees them.
#[derive(Debug)]
pub struct Counters {
    workers: Vec<Arc<WorkerCounters>>,
    slow: Arc<SlowCounters>,
    /// What had been counted at the last clear, or when the id was given to its present VIF.
    vif_base: Vec<VifTotals>,
    port_base: Vec<PortTotals>,
    /// Whose id it is.
    names: Vec<Option<Arc<str>>>,
}

impl Counters {
    /// The counters of these workers and the slow path.
    pub fn new(workers: Vec<Arc<WorkerCounters>>, slow: Arc<SlowCounters>) -> Counters {
        Counters { workers, slow, vif_base: Vec::new(), port_base: Vec::new(), names: Vec::new() }
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
        for (index, vif) in tables.vifs.iter().enumerate() {
            let name = vif.as_ref().map(|vif| vif.name.clone());
            if self.names.len() <= index {
                self.names.resize(index + 1, None);
                self.vif_base.resize(index + 1, VifTotals::default());
            }
            if name.is_some() && self.names[index] != name {
                // An id that nobody had before has counted nothing but what is its VIF's own.
                if let (Some(_), Ok(id)) = (&self.names[index], u16::try_from(index)) {
                    self.vif_base[index] = self.sum_vif(VifId(id));
                }
                self.names[index] = name;
            }
        }
    }

    /// Makes everything count from zero. Workers notice nothing.
    pub fn clear(&mut self, ports: usize) {
        let vifs = (0..=u16::MAX).map(VifId).take(self.vif_base.len());
        self.vif_base = vifs.map(|id| self.sum_vif(id)).collect();
        let ports = (0..=u8::MAX).map(PortId).take(ports);
        self.port_base = ports.map(|id| self.sum_port(id)).collect();
    }

    /// A VIF's counters.
    pub fn vif(&self, id: VifId) -> VifTotals {
        let sum = self.sum_vif(id);
        match self.vif_base.get(id.index()) {
            Some(base) => sum.since(base),
            None => sum,
        }
    }

    /// A port's counters.
    pub fn port(&self, id: PortId) -> PortTotals {
        let sum = self.sum_port(id);
        match self.port_base.get(id.index()) {
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
