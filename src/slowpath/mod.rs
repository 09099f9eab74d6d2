//! The slow path: what becomes of frames that the workers punt. It resolves neighbors (ARP, ND),
//! answers for the router's addresses, sends ICMP errors and forwards in software what needs more
//! than the fast path does (IPv4 options, fragmentation, the first frame to a new neighbor).
//!
//! Pure: no I/O, no clock, no thread. The time and the tables come in with [`View`], what is to be
//! sent comes out as [`Output`], so the same code runs in `stationd`, in tests and over a capture.
//! No input panics. Each punted frame counts exactly one [`SlowOutcome`] on its ingress VIF.
//!
//! Isolation: what is sent because of a frame leaves by VIFs of that frame's VRF only.

pub mod limit;

use std::net::IpAddr;
use std::sync::Arc;

use crate::tables::counters::SlowCounters;
use crate::tables::{GroupId, PortId, PuntReason, SlowOutcome, Snapshot, VifId, VrfId};
use crate::wire::ethernet::Mac;

/// The time and the tables of one call.
#[derive(Clone, Copy)]
pub struct View<'a> {
    /// Monotonic time in nanoseconds.
    pub now_ns: u64,
    /// The tables now.
    pub snapshot: &'a Snapshot,
    /// The FIB now: longest-prefix match in a VRF; group 0 is "no route".
    pub fib: &'a dyn Fn(VrfId, IpAddr) -> GroupId,
}

/// A frame that a worker punted.
#[derive(Clone, Copy, Debug)]
pub struct Punted<'a> {
    /// The ingress port.
    pub port: PortId,
    /// The ingress VIF.
    pub vif: VifId,
    /// Why.
    pub reason: PuntReason,
    /// Offset of the IP or ARP header in `frame`.
    pub l3: usize,
    /// From the destination MAC to the end of the payload, tags included, without FCS.
    pub frame: &'a [u8],
}

/// What the slow path wants done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Send a frame, complete from the destination MAC on.
    Transmit {
        /// The VIF it leaves by, for the counters.
        vif: VifId,
        /// The port it leaves by.
        port: PortId,
        /// The frame.
        frame: Vec<u8>,
    },
    /// Tell the control plane.
    Neighbor(NeighborEvent),
}

/// A change that the adjacencies must follow. Events may repeat what is known already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NeighborEvent {
    /// The neighbor has this MAC.
    Resolved {
        /// On this VIF.
        vif: VifId,
        /// The neighbor.
        address: IpAddr,
        /// Its MAC.
        mac: Mac,
    },
    /// A neighbor that was resolved no longer is.
    Lost {
        /// On this VIF.
        vif: VifId,
        /// The neighbor.
        address: IpAddr,
    },
}

/// What is known of a neighbor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum NeighborState {
    /// Asked for, no answer yet.
    Incomplete,
    /// Answers.
    Reachable,
    /// Being asked whether it is still there; its MAC stays in use.
    Probing,
    /// A next hop of a route that does not answer; asked again every few seconds.
    Failed,
}

/// One neighbor, for `stationctl show neighbors`. Static neighbors are in the snapshot instead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NeighborRow {
    /// On this VIF.
    pub vif: VifId,
    /// The neighbor.
    pub address: IpAddr,
    /// Its MAC, where known.
    pub mac: Option<Mac>,
    /// What is known.
    pub state: NeighborState,
    /// Nanoseconds since it last answered, or since it was first asked for.
    pub age_ns: u64,
}

/// The slow path of the whole station.
#[derive(Debug)]
pub struct SlowPath {
    counters: Arc<SlowCounters>,
}

impl SlowPath {
    /// A slow path that knows no neighbor yet.
    pub fn new(counters: Arc<SlowCounters>) -> SlowPath {
        SlowPath { counters }
    }

    /// Handles one punted frame and counts its outcome.
    pub fn punted(
        &mut self,
        view: &View<'_>,
        punted: &Punted<'_>,
        out: &mut Vec<Output>,
    ) -> SlowOutcome {
        self.tick(view, out);
        let outcome = SlowOutcome::NoService;
        self.counters.outcome(punted.vif, outcome).add(1);
        outcome
    }

    /// Runs what is due by now; call it at least every 100 ms, and at once where a new snapshot has
    /// been published: it forgets what left and starts to resolve every unresolved next hop.
    pub fn tick(&mut self, _view: &View<'_>, _out: &mut Vec<Output>) {}

    /// All neighbors, ordered by VIF and address.
    pub fn neighbors(&self, _now_ns: u64) -> impl Iterator<Item = NeighborRow> + '_ {
        std::iter::empty()
    }
}
