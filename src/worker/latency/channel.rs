//! Between a worker that times frames and the thread that keeps their times.

use crossbeam::queue::ArrayQueue;

use crate::tables::counters::Counter;
use crate::tables::{PortId, VifId};

/// Samples that wait for the thread, per worker: those of a quarter of a second at 16 million frames a second, one of 64
/// of which is timed.
const WAITING: usize = 65_536;

/// How long a frame was in the station.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sample {
    /// From where it came to where it was put: nanoseconds.
    pub ns: u64,
    /// The tables that it was forwarded by, which know the ids.
    pub generation: u64,
    /// The port by which it came.
    pub port: PortId,
    /// The VIF by which it came.
    pub vif: VifId,
    /// The time before it was received is not in it: the driver takes no stamps.
    pub unstamped: bool,
}

/// What a worker has no sample of, of frames that came by a port and were to be timed.
#[derive(Debug, Default)]
pub struct Untimed {
    /// There was no room for it.
    pub full: Counter,
    /// Its time is in the future, or longer ago than any frame may be.
    pub refused: Counter,
}

/// What a worker and the thread share.
#[derive(Debug)]
pub struct LatencyChannel {
    samples: ArrayQueue<Sample>,
    ports: Box<[Untimed]>,
}

impl LatencyChannel {
    /// A channel for frames of `ports` ports.
    pub fn new(ports: usize) -> LatencyChannel {
        LatencyChannel {
            samples: ArrayQueue::new(WAITING),
            ports: (0..ports).map(|_| Untimed::default()).collect(),
        }
    }

    /// What is counted of a port.
    pub fn port(&self, port: PortId) -> Option<&Untimed> {
        self.ports.get(port.index())
    }

    /// Hands a sample over; false where there is no room.
    pub(super) fn send(&self, sample: Sample) -> bool {
        self.samples.push(sample).is_ok()
    }

    /// The sample that waits the longest.
    pub fn receive(&self) -> Option<Sample> {
        self.samples.pop()
    }
}
