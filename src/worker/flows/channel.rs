//! Between a worker that logs flows and the thread that exports them.

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;

use crossbeam::queue::ArrayQueue;

use super::cache::Flow;
use crate::tables::VifId;
use crate::tables::counters::Counter;

/// Flows that wait for the thread that exports them, per worker.
const WAITING: usize = 16_384;

/// What a worker's log of a VIF counts.
#[derive(Debug, Default)]
pub struct VifFlows {
    /// Packets that were to be logged, and for which there was no room.
    pub unlogged_frames: Counter,
    /// Their octets as they came, or as they left where the station sent them.
    pub unlogged_octets: Counter,
    /// Flows in the table (a gauge).
    pub active: Counter,
    /// One of so many packets is logged now (a gauge).
    pub effective: Counter,
}

/// What a worker and the exporting thread share.
#[derive(Debug)]
pub struct FlowChannel {
    flows: ArrayQueue<Flow>,
    active_ns: AtomicU64,
    idle_ns: AtomicU64,
    vifs: Box<[VifFlows]>,
}

impl FlowChannel {
    /// A channel for flows of `vifs` VIFs.
    pub fn new(vifs: usize) -> FlowChannel {
        FlowChannel {
            flows: ArrayQueue::new(WAITING),
            active_ns: AtomicU64::new(0),
            idle_ns: AtomicU64::new(0),
            vifs: (0..vifs).map(|_| VifFlows::default()).collect(),
        }
    }

    /// When flows are told from now on: those that go on after so long, and others so long after their last packet, in
    /// nanoseconds.
    pub fn set_timeouts(&self, active_ns: u64, idle_ns: u64) {
        self.active_ns.store(active_ns, Relaxed);
        self.idle_ns.store(idle_ns, Relaxed);
    }

    /// The active and the idle timeout, in nanoseconds.
    pub(super) fn timeouts(&self) -> (u64, u64) {
        (self.active_ns.load(Relaxed), self.idle_ns.load(Relaxed))
    }

    /// What is counted of a VIF.
    pub fn vif(&self, vif: VifId) -> Option<&VifFlows> {
        self.vifs.get(vif.index())
    }

    /// Hands a flow over; false where there is no room.
    pub(super) fn send(&self, flow: Flow) -> bool {
        self.flows.push(flow).is_ok()
    }

    /// The flow that waits the longest.
    pub fn receive(&self) -> Option<Flow> {
        self.flows.pop()
    }
}
