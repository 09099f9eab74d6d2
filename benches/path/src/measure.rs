//! Turns of a worker, and what its frames cost without the path.

use rustix::thread::{CpuSet, sched_setaffinity};
use rustix::time::{ClockId, clock_gettime};
use station::port::{BURST, Frame, FrameSize, Pool, Port};
use station::tables::PortId;

use crate::station::{FRAMES, Station};
use crate::wire::Wire;

/// The core of all that is measured: the last one.
pub fn core() -> usize {
    std::thread::available_parallelism().map_or(0, |count| count.get() - 1)
}

/// Keeps this thread on the core.
pub fn pin() {
    let mut set = CpuSet::new();
    set.set(core());
    if let Err(error) = sched_setaffinity(None, &set) {
        eprintln!("cannot stay on core {}: {error}", core());
    }
}

/// Nanoseconds of processor time of this thread a packet, of `count` turns.
pub fn ns_per_packet(count: usize, run: impl FnOnce(usize)) -> f64 {
    let now = || {
        let time = clock_gettime(ClockId::ThreadCPUTime);
        time.tv_sec as f64 * 1e9 + time.tv_nsec as f64
    };
    let start = now();
    run(count);
    (now() - start) / (count * BURST) as f64
}

pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// The worker's turns.
#[inline(never)]
pub fn turns(station: &mut Station, count: usize) {
    for _ in 0..count {
        station.worker.turn(1_000_000_000);
    }
}

/// A worker whose path does nothing: frames are received, put on the other port's ring and flushed, and
/// none is looked at.
pub struct Source {
    pool: Pool,
    ports: [Wire; 2],
    frames: Vec<Frame>,
}

impl Source {
    pub fn new(packets: &[Vec<u8>]) -> Source {
        let pool = Pool::new(FRAMES, FrameSize::Small).expect("memory for frames");
        let mut ports = [Wire::default(), Wire::default()];
        ports[0].load(packets);
        Source { pool, ports, frames: Vec::with_capacity(BURST) }
    }

    /// Its turns.
    #[inline(never)]
    pub fn turns(&mut self, count: usize) {
        let [from, to] = &mut self.ports;
        for _ in 0..count {
            from.rx(&mut self.pool, &mut self.frames);
            to.rx(&mut self.pool, &mut self.frames);
            for frame in self.frames.drain(..) {
                if let Err(frame) = to.tx(frame) {
                    self.pool.give(frame);
                }
            }
            from.flush(&mut self.pool);
            to.flush(&mut self.pool);
        }
    }
}

/// Puts packets on the customers' port.
pub fn load(station: &mut Station, packets: &[Vec<u8>]) {
    if let (_, Some(Some(port))) = station.worker.port_mut(PortId(0)) {
        port.load(packets);
    }
}
