//! A worker with any kind of port, without a slow path: bursts go in, verdicts, frames and parcels come
//! out. And a port that behaves as badly as a port may.

use std::collections::VecDeque;
use std::sync::Arc;

use station::control::{Engine, Limits};
use station::fib::{self, Fib};
use station::port::memory::MemoryPort;
use station::port::{BURST, Frame, FrameSize, LONGEST, Pool, Port};
use station::publish::Publisher;
use station::tables::counters::WorkerCounters;
use station::tables::{PortId, Snapshot, Verdict, VifId};
use station::worker::handoff::Label;
use station::worker::{Handoffs, Worker};

use super::{facts, parse};

/// A worker and what it is tied to.
pub struct Rig<P> {
    pub engine: Engine<Publisher<Snapshot>>,
    pub worker: Worker<P>,
    pub counters: Arc<WorkerCounters>,
    pub handoffs: Arc<Handoffs>,
}

impl<P: Port> Rig<P> {
    /// A worker of `frames` frames on these ports, with room for `parcels` punts of one VIF, that runs a
    /// configuration.
    pub fn new(text: &str, ports: Vec<P>, frames: usize, parcels: usize) -> Rig<P> {
        let config = parse(text);
        let vifs = config.station.max_vifs;
        let fib = Fib::new(fib::Limits::default()).unwrap();
        let reader = fib.reader();
        let (publisher, mut subscribers) = Publisher::new(1, Snapshot::default());
        let mut engine = Engine::new(fib, publisher, Limits::for_vifs(vifs));
        engine.commit(&config, &facts(&config)).unwrap();
        let counters = Arc::new(WorkerCounters::new(config.ports.len(), vifs.into()));
        let handoffs = Arc::new(Handoffs::new(2 * parcels, LONGEST, vifs.into()));
        let mut worker = Worker::new(
            Pool::new(frames, FrameSize::Large).unwrap(),
            config.ports.len(),
            vifs.into(),
            reader,
            subscribers.remove(0),
            counters.clone(),
            handoffs.clone(),
        );
        for (id, port) in (0..).map(PortId).zip(ports) {
            *worker.port_mut(id).1.unwrap() = Some(port);
        }
        Rig { engine, worker, counters, handoffs }
    }

    /// A turn of the worker's loop.
    pub fn turn(&mut self, now: u64) -> station::worker::Turn {
        self.worker.tables_mut().wake();
        let turn = self.worker.turn(now);
        self.worker.tables_mut().sleep();
        turn
    }

    /// What was punted since the last call.
    pub fn take_punted(&mut self) -> Vec<(Label, Vec<u8>)> {
        let take = || self.handoffs.take(|label, frame| (label, frame.to_vec()));
        std::iter::from_fn(take).collect()
    }

    /// Received frames of a VIF, and those that its counters say have ended.
    fn balance(&self, vif: VifId) -> (u64, u64) {
        let counters = self.counters.vif(vif);
        let reasons = counters.rare.punted.iter().chain(&counters.rare.drops).map(|c| c.get());
        (counters.rx_frames.get(), counters.forwarded.get() + reasons.sum::<u64>())
    }

    /// Asserts that no frame is missing, per VIF, per port and in memory.
    pub fn check(&self) {
        assert_eq!(self.worker.missing_frames(), 0);
        let tables = self.engine.tables();
        let mut by_port = vec![0; tables.ports.len()];
        for (id, vif) in (0..).map(VifId).zip(tables.vifs.iter()) {
            let Some(vif) = vif else { continue };
            let (received, ended) = self.balance(id);
            assert_eq!(received, ended, "vif {}", vif.name);
            by_port[vif.port.index()] += received;
        }
        // VTEPs have no counters.
        for (counters, (id, by_vifs)) in
            self.counters.ports().iter().zip((0..).map(PortId).zip(by_port))
        {
            let dropped: u64 = counters.drops.iter().map(|c| c.get()).sum();
            assert_eq!(counters.rx_frames.get(), by_vifs + dropped, "port {id:?}");
        }
    }
}

impl Rig<MemoryPort> {
    /// Runs one burst of one port; gives each frame's VIF and verdict.
    pub fn burst(
        &mut self,
        now: u64,
        port: PortId,
        frames: &[Vec<u8>],
    ) -> Vec<(Option<VifId>, Verdict)> {
        assert!(frames.len() <= BURST);
        let (pool, slot) = self.worker.port_mut(port);
        let memory = slot.unwrap().as_mut().unwrap();
        for frame in frames {
            assert!(memory.inject(pool, frame), "{} octets", frame.len());
        }
        self.turn(now);
        (0..frames.len()).map(|lane| self.worker.verdict(lane)).collect()
    }

    /// The frames that a port sent since the last call.
    pub fn take_sent(&mut self, port: PortId) -> Vec<Vec<u8>> {
        self.worker.port_mut(port).1.unwrap().as_mut().unwrap().take_sent()
    }
}

/// A small generator of pseudo-random numbers (xorshift), for runs that are the same every time.
#[derive(Clone, Copy, Debug)]
pub struct Random(pub u64);

impl Random {
    pub fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 33) as usize % n
    }
}

/// A port that receives in odd sizes, refuses frames at random, and keeps what it sent for a while.
pub struct FaultPort {
    random: Random,
    /// Out of 100 frames to send, how many are refused.
    refuse: usize,
    pub waiting: VecDeque<Vec<u8>>,
    sending: VecDeque<Frame>,
    held: usize,
    pub sent: Vec<Vec<u8>>,
    pub refused: u64,
}

impl FaultPort {
    pub fn new(seed: u64, refuse: usize) -> FaultPort {
        FaultPort {
            random: Random(seed),
            refuse,
            waiting: VecDeque::new(),
            sending: VecDeque::new(),
            held: 0,
            sent: Vec::new(),
            refused: 0,
        }
    }
}

impl Port for FaultPort {
    fn rx(&mut self, pool: &mut Pool, out: &mut Vec<Frame>) {
        for _ in 0..self.random.below(BURST + 1) {
            let Some(packet) = self.waiting.front() else { return };
            let Some(frame) = pool.take_with(packet) else { return };
            self.waiting.pop_front();
            out.push(frame);
        }
    }

    fn tx(&mut self, pool: &mut Pool, frame: Frame) -> Result<(), Frame> {
        if self.random.below(100) < self.refuse {
            self.refused += 1;
            return Err(frame);
        }
        self.held += pool.frames_of(&frame);
        self.sending.push_back(frame);
        Ok(())
    }

    fn is_half_free(&mut self) -> bool {
        self.random.below(100) >= self.refuse
    }

    fn sending(&self) -> usize {
        self.sending.len()
    }

    fn ring(&self) -> usize {
        64
    }

    fn flush(&mut self, pool: &mut Pool) {
        for _ in 0..self.random.below(self.sending.len() + 1) {
            let Some(frame) = self.sending.pop_front() else { return };
            self.held -= pool.frames_of(&frame);
            self.sent.push(pool.area().whole(&frame).to_vec());
            pool.give(frame);
        }
    }

    fn held(&self) -> usize {
        self.held
    }
}
