//! Turns of a worker, and what its frames cost without the path.

use std::sync::LazyLock;
use std::time::Instant;

use rustix::thread::{CpuSet, sched_setaffinity};
use rustix::time::{ClockId, clock_gettime};
use station::port::{BURST, Frame, FrameSize, Pool, Port};
use station::tables::PortId;
use station::worker::Worker;

use crate::station::{FRAMES, Shape};
use crate::wire::Wire;

/// The core of all that is measured: the last one.
pub fn core() -> usize {
    // Asked before the first pin, after which there is only one.
    static CORE: LazyLock<usize> =
        LazyLock::new(|| std::thread::available_parallelism().map_or(0, |count| count.get() - 1));
    *CORE
}

/// Keeps this thread on a core.
pub fn pin(core: usize) {
    let mut set = CpuSet::new();
    set.set(core);
    if let Err(error) = sched_setaffinity(None, &set) {
        eprintln!("cannot stay on core {core}: {error}");
    }
}

/// Nanoseconds of a clock that runs under valgrind too.
pub fn now_ns() -> u64 {
    static START: LazyLock<Instant> = LazyLock::new(Instant::now);
    START.elapsed().as_nanos().try_into().unwrap_or(u64::MAX)
}

/// Seconds of processor time of this thread.
pub fn seconds(run: impl FnOnce()) -> f64 {
    let now = || {
        let time = clock_gettime(ClockId::ThreadCPUTime);
        time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
    };
    let start = now();
    run();
    now() - start
}

/// The same in nanoseconds a packet, of `count` turns.
pub fn ns_per_packet(count: usize, run: impl FnOnce(usize)) -> f64 {
    seconds(|| run(count)) * 1e9 / (count * BURST) as f64
}

pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// The worker's turns.
#[inline(never)]
pub fn turns(worker: &mut Worker<Wire>, count: usize) {
    for _ in 0..count {
        // 64 frames in 4,300 ns: 10G of the shortest.
        let now = 1_000_000_000 + 4_300 * worker.counters().work.loops.get();
        worker.turn(now);
    }
}

/// Nanoseconds a packet of a worker's turns, each of which must forward all that it receives.
pub fn forwarding(worker: &mut Worker<Wire>, count: usize) -> Result<f64, String> {
    let before = forwarded(worker);
    let ns = ns_per_packet(count, |count| turns(worker, count));
    match forwarded(worker) - before == (count * BURST) as u64 {
        true => Ok(ns),
        false => Err("not every packet was forwarded".to_owned()),
    }
}

/// Frames that left by the core port so far.
pub fn forwarded(worker: &Worker<Wire>) -> u64 {
    worker.counters().port(PortId(1)).tx_frames.get()
}

/// A worker whose path does nothing: frames are received, put on the other port's ring and flushed, and
/// none is looked at.
pub struct Source {
    pool: Pool,
    ports: [Wire; 2],
    frames: Vec<Frame>,
}

impl Source {
    /// Frames that are stamped where those of a station of this shape are.
    pub fn new(packets: &[Vec<u8>], shape: Shape) -> Source {
        let pool = Pool::new(FRAMES, FrameSize::Small).expect("memory for frames");
        let mut ports = [Wire::default(), Wire::default()];
        ports[0].load(packets);
        ports[0].stamping = shape.stamping();
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
                if let Err(frame) = to.tx(&mut self.pool, frame) {
                    self.pool.give(frame);
                }
            }
            from.flush(&mut self.pool);
            to.flush(&mut self.pool);
        }
    }
}

/// Puts packets on the customers' port.
pub fn load(worker: &mut Worker<Wire>, packets: &[Vec<u8>]) {
    if let (_, Some(Some(port))) = worker.port_mut(PortId(0)) {
        port.load(packets);
    }
}
