//! The whole station in memory: one worker, the slow path and the control engine on one thread, with
//! frames instead of NICs and the caller's clock. It is how tests and captures ask "what would the
//! station do with this frame?"; nothing in it is a model, every part is the one that `stationd` runs.

pub mod capture;
pub mod pcapng;

use std::net::IpAddr;
use std::sync::Arc;

use crate::config::model::Config;
use crate::control::{CommitError, Engine, Limits, PortFacts};
use crate::fib::{self, Fib, FibReader};
use crate::port::memory::MemoryPort;
use crate::port::{FrameSize, LONGEST, Pool};
use crate::publish::{Publisher, Subscriber};
use crate::slowpath::{NeighborEvent, Output, Punted, SlowPath, Told, TooBig, View, route};
use crate::tables::counters::{SlowCounters, WorkerCounters};
use crate::tables::{PortId, SlowOutcome, Snapshot, Verdict, VifId, VrfId};
use crate::worker::handoff::Label;
use crate::worker::{Handoffs, Worker};

/// Frames of the worker's memory: a burst, and what the slow path adds to it.
const FRAMES: usize = 1024;
/// Descriptors of each port's transmit ring.
const RING: usize = 512;
/// Frames between the worker and the slow path.
const PARCELS: usize = 256;

/// What became of one frame.
#[derive(Debug)]
pub struct Report {
    /// The VIF it entered by, if it got that far.
    pub vif: Option<VifId>,
    /// The fast path's verdict.
    pub verdict: Verdict,
    /// What the slow path did with it, if it was punted.
    pub outcome: Option<SlowOutcome>,
    /// The frames that left because of it.
    pub sent: Vec<(PortId, Vec<u8>)>,
}

/// Why a station in memory could not be made.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// No memory for frames.
    #[error("cannot get memory for frames: {0}")]
    Memory(#[from] std::io::Error),
    /// No memory for routes.
    #[error(transparent)]
    Fib(#[from] fib::FibError),
    /// The configuration was refused.
    #[error(transparent)]
    Commit(#[from] CommitError),
}

/// A station in memory.
pub struct MemoryStation {
    engine: Engine<Publisher<Snapshot>>,
    worker: Worker<MemoryPort>,
    slow: SlowPath,
    tables: Subscriber<Snapshot>,
    fib: FibReader,
    handoffs: Arc<Handoffs>,
    counters: Arc<WorkerCounters>,
    slow_counters: Arc<SlowCounters>,
    facts: Vec<PortFacts>,
    /// VIF ids are below this.
    vifs: u16,
}

impl MemoryStation {
    /// A station that runs `config`, with ports of these facts (in the configuration's order).
    ///
    /// # Errors
    /// [`ReplayError`].
    pub fn new(config: &Config, facts: &[PortFacts]) -> Result<MemoryStation, ReplayError> {
        let vifs = usize::from(config.station.max_vifs);
        let fib = Fib::new(fib::Limits::default())?;
        let reader = fib.reader();
        let (publisher, mut subscribers) = Publisher::new(2, Snapshot::default());
        let (Some(tables), Some(worker_tables)) = (subscribers.pop(), subscribers.pop()) else {
            return Err(std::io::Error::other("no subscribers").into());
        };
        let mut engine = Engine::new(fib, publisher, Limits::for_vifs(config.station.max_vifs));
        engine.commit(config, facts)?;
        let counters = Arc::new(WorkerCounters::new(config.ports.len(), vifs));
        let slow_counters = Arc::new(SlowCounters::new(1, vifs));
        let handoffs = Arc::new(Handoffs::new(PARCELS, LONGEST, vifs));
        let mut worker = Worker::new(
            Pool::new(FRAMES, FrameSize::Large)?,
            config.ports.len(),
            vifs,
            reader.clone(),
            worker_tables,
            counters.clone(),
            handoffs.clone(),
        );
        for (id, _) in (0..=u8::MAX).zip(&config.ports) {
            if let (_, Some(slot)) = worker.port_mut(PortId(id)) {
                *slot = Some(MemoryPort::new(RING));
            }
        }
        Ok(MemoryStation {
            engine,
            worker,
            slow: SlowPath::new(slow_counters.clone()),
            tables,
            fib: reader,
            handoffs,
            counters,
            slow_counters,
            facts: facts.to_vec(),
            vifs: config.station.max_vifs,
        })
    }

    /// Takes another configuration into use.
    ///
    /// # Errors
    /// As [`Engine::commit`]; then nothing has changed.
    pub fn commit(&mut self, config: &Config) -> Result<(), CommitError> {
        self.engine.commit(config, &self.facts).map(drop)
    }

    /// The control engine.
    pub fn engine(&mut self) -> &mut Engine<Publisher<Snapshot>> {
        &mut self.engine
    }

    /// What the worker counts.
    pub fn counters(&self) -> &WorkerCounters {
        &self.counters
    }

    /// What the slow path counts.
    pub fn slow_counters(&self) -> &SlowCounters {
        &self.slow_counters
    }

    /// Sends one frame into a port at time `now_ns`, and follows it to its end. `None` where the
    /// frame is longer than any port's: the NIC would never have delivered it.
    pub fn frame(&mut self, now_ns: u64, port: PortId, packet: &[u8]) -> Option<Report> {
        let (pool, slot) = self.worker.port_mut(port);
        if !slot?.as_mut()?.inject(pool, packet) {
            return None;
        }
        self.turn(now_ns);
        let (vif, verdict) = self.worker.verdict(0);
        let outcome = self.run_slow_path(now_ns);
        self.turn(now_ns);
        Some(Report { vif, verdict, outcome, sent: self.take_sent() })
    }

    /// Runs the slow path's timers; returns the frames that left because of them.
    pub fn tick(&mut self, now_ns: u64) -> Vec<(PortId, Vec<u8>)> {
        let mut out = Vec::new();
        self.engine.expire_lowered(now_ns);
        self.with_view(now_ns, |slow, view| slow.tick(view, &mut out));
        self.deliver(now_ns, out);
        self.turn(now_ns);
        self.take_sent()
    }

    /// Checks that every frame is accounted for: per port and VIF by counters, and in memory.
    ///
    /// # Errors
    /// A sentence about what does not add up.
    pub fn check_conservation(&mut self) -> Result<(), String> {
        let missing = self.worker.missing_frames();
        if missing != 0 {
            return Err(format!("{missing} frames of the worker's memory are lost"));
        }
        self.tables.wake();
        let tables = self.tables.snapshot();
        let mut by_port = vec![0; tables.ports.len()];
        // VIFs that have been deleted since are counted by their ids, apart from any port.
        let mut by_deleted = 0;
        for id in (0..self.vifs).map(VifId) {
            let vif = tables.vif(id);
            let name = || vif.map_or_else(|| format!("deleted {id:?}"), |vif| vif.name.to_string());
            let counters = self.counters.vif(id);
            let received = counters.rx_frames.get();
            let ended = counters.forwarded.get()
                + counters
                    .rare
                    .punted
                    .iter()
                    .chain(&counters.rare.drops)
                    .map(|c| c.get())
                    .sum::<u64>();
            if received != ended {
                return Err(format!("vif {}: {received} received, {ended} ended", name()));
            }
            let punted: u64 = counters.rare.punted.iter().map(|c| c.get()).sum();
            let outcomes: u64 =
                SlowOutcome::ALL.iter().map(|&o| self.slow_counters.outcome(id, o).get()).sum();
            if punted != outcomes {
                return Err(format!("vif {}: {punted} punted, {outcomes} outcomes", name()));
            }
            match vif {
                // Its port's VIF in the underlay has received it too.
                Some(vif) if vif.tunnel().is_some() => {}
                Some(vif) => by_port[vif.port.index()] += received,
                None => by_deleted += received,
            }
        }
        let mut unexplained = 0;
        for ((counters, port), by_vifs) in
            self.counters.ports().iter().zip(&*tables.ports).zip(by_port)
        {
            let received = counters.rx_frames.get();
            let dropped: u64 = counters.drops.iter().map(|c| c.get()).sum();
            let Some(rest) = received.checked_sub(by_vifs + dropped) else {
                return Err(format!(
                    "port {}: {received} received, {by_vifs} by its vifs, {dropped} dropped",
                    port.name
                ));
            };
            unexplained += rest;
        }
        if unexplained != by_deleted {
            return Err(format!(
                "{unexplained} frames of ports have no vif, {by_deleted} are of deleted vifs"
            ));
        }
        self.tables.sleep();
        Ok(())
    }

    fn turn(&mut self, now_ns: u64) {
        self.worker.tables_mut().wake();
        self.worker.turn(now_ns);
        self.worker.tables_mut().sleep();
    }

    /// Handles what was punted; returns the last frame's outcome.
    fn run_slow_path(&mut self, now_ns: u64) -> Option<SlowOutcome> {
        let handoffs = self.handoffs.clone();
        let mut out = Vec::new();
        let mut last = None;
        while let Some(outcome) = handoffs.take(|label, frame| {
            let punted = Punted {
                port: label.port,
                vif: label.vif,
                reason: label.reason,
                l3: usize::from(label.l3),
                choice: label.choice,
                frame,
            };
            self.with_view(now_ns, |slow, view| slow.punted(view, &punted, &mut out))
        }) {
            last = Some(outcome);
        }
        self.deliver(now_ns, out);
        last
    }

    fn with_view<T>(&mut self, now_ns: u64, call: impl FnOnce(&mut SlowPath, &View<'_>) -> T) -> T {
        self.tables.wake();
        let fib = &self.fib;
        let lookup = |vrf: VrfId, address: IpAddr| route(fib, vrf, address);
        let view = View { now_ns, snapshot: self.tables.snapshot(), fib: &lookup };
        let result = call(&mut self.slow, &view);
        self.tables.sleep();
        result
    }

    fn deliver(&mut self, now_ns: u64, out: Vec<Output>) {
        let (mut events, mut too_big): (Vec<NeighborEvent>, Vec<TooBig>) = Default::default();
        for output in out {
            match output {
                Output::Transmit { vif, through, port, frame } => {
                    let label = Label { through, ..Label::to_port(port, vif) };
                    if !self.handoffs.injected.send(label, &frame[..]) {
                        self.slow_counters.lost(0).add(1);
                    }
                }
                // Nothing listens behind a capture.
                Output::ToKernel { .. } => {}
                Output::Tell(Told::Neighbor(event)) => events.push(event),
                Output::Tell(Told::TooBig(told)) => too_big.push(told),
            }
        }
        self.engine.too_big(&too_big, now_ns);
        if !events.is_empty() {
            // A neighbor without a host route is served by the slow path: nothing to do here.
            drop(self.engine.neighbor_events(&events));
        }
    }

    fn take_sent(&mut self) -> Vec<(PortId, Vec<u8>)> {
        let ports: Vec<PortId> = self.worker.ports_by_id().map(|(id, _)| id).collect();
        let mut sent = Vec::new();
        for id in ports {
            if let (_, Some(Some(port))) = self.worker.port_mut(id) {
                sent.extend(port.take_sent().into_iter().map(|frame| (id, frame)));
            }
        }
        sent
    }
}
