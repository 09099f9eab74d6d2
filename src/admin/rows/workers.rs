//! Workers.

use serde::{Deserialize, Serialize};

/// `show workers`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct WorkerRow {
    /// Number of the worker and of its queues.
    pub worker: u32,
    /// The CPU it is pinned to.
    pub cpu: u32,
    /// The configuration's generation that it is on.
    pub generation: u64,
    /// Turns of its loop.
    pub loops: u64,
    /// Turns that found nothing to do.
    pub empty: u64,
    /// Bursts received.
    pub bursts: u64,
    /// Frames in them.
    pub frames: u64,
    /// Frames per burst; at most 64. Near 64 the worker is at its limit.
    pub burst_fill: f64,
    /// Nanoseconds of the turns that found something to do, with the system calls that send.
    #[serde(default)]
    pub busy_ns: u64,
    /// Nanoseconds of the worker's time per frame: the turns that found something to do, with the
    /// system calls that send.
    pub ns_per_frame: f64,
    /// Times it slept until a frame came.
    pub sleeps: u64,
    /// System calls to receive, send and sleep, as of at most a second ago.
    pub syscalls: u64,
    /// System calls per frame. Busy, about 1/64 with copies and fewer with zero-copy; a worker with
    /// little to do makes more.
    pub syscalls_per_frame: f64,
    /// Frames of the slow path (answers, fragments, software forwarding) that found the worker's queue
    /// full.
    pub lost: u64,
    /// Packet buffers that are free.
    pub frames_free: u64,
    /// Packet buffers that it has.
    pub frames_total: u64,
}
