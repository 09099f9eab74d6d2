//! Flow logs: of which VIFs' packets the flows are told to collectors, and of how many packets.

use super::ids::VifId;
use super::vif::Vif;

/// The coarsest rate at which packets of a VIF are logged: 1 of so many.
pub const MAX_INTERVAL: u16 = 4096;

/// What is logged, as one configuration has it. Where no VIF logs there is none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FlowLog {
    /// The number of the configuration that it was made of, modulo 2^16: a VIF's id may be another's in the next.
    pub epoch: u16,
    /// By VIF: one of so many packets is logged; 0: none.
    intervals: Box<[u16]>,
}

impl FlowLog {
    /// The log of these VIFs; none where none of them logs.
    pub fn new(epoch: u16, vifs: &[Option<Vif>]) -> Option<FlowLog> {
        let interval = |vif: &Option<Vif>| vif.as_ref().map_or(0, |vif| vif.flow_log);
        let intervals: Box<[u16]> = vifs.iter().map(interval).collect();
        let logs = intervals.iter().any(|&interval| interval != 0);
        logs.then_some(FlowLog { epoch, intervals })
    }

    /// Of how many packets of a VIF one is logged; 0: none.
    pub fn interval(&self, vif: VifId) -> u16 {
        self.intervals.get(vif.index()).copied().unwrap_or(0)
    }

    /// All intervals, by VIF.
    pub fn intervals(&self) -> &[u16] {
        &self.intervals
    }
}
