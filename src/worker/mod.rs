//! A worker: receives bursts from its queue of every port, runs them through the path, and carries
//! out the verdicts. [`Worker::turn`] is the loop's body and reads no clock, but for frames that are
//! timed ([`latency`]); the thread around it ([`crate::daemon`]) brings time, sleep and pinning.

pub mod capture;
mod ends;
pub mod flows;
mod given;
pub mod handoff;
pub mod latency;
mod mirrored;
mod parcels;
mod queues;
pub mod talkers;
mod watched;

use std::sync::Arc;

use crate::fib::FibReader;
use crate::path;
use crate::port::{BURST, Frame, Pool, Port, Returned};
use crate::publish::Subscriber;
use crate::stage::copy::Copies;
use crate::stage::encapsulate::Entrances;
use crate::stage::police::Budgets;
use crate::stage::{Burst, Context};
use crate::tables::counters::WorkerCounters;
use crate::tables::{Facts, PortId, Snapshot, Verdict, VifId};
use capture::{Captures, Mark};
use ends::{count_sent, settle, transmit, transmit_queued};
use flows::Flows;
pub use handoff::Handoffs;
use latency::Latency;
use queues::{Queues, Way};
use talkers::Talkers;

/// Most frames taken from the slow path in one turn.
const INJECT: usize = 64;

/// What a turn of the loop found to do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Turn {
    /// Frames received or injected.
    pub frames: usize,
    /// Frames handed to the slow path.
    pub punted: usize,
    /// Frames that wait for a port that is slower than what is sent to it.
    pub waiting: usize,
}

/// One worker.
pub struct Worker<P> {
    pool: Pool,
    /// By [`PortId`]; `None` while a port's interface is gone.
    ports: Vec<Option<P>>,
    burst: Burst,
    fib: FibReader,
    tables: Subscriber<Snapshot>,
    counters: Arc<WorkerCounters>,
    budgets: Budgets,
    entrances: Entrances,
    handoffs: Arc<Handoffs>,
    captures: Captures,
    copies: Copies,
    flows: Option<Box<Flows>>,
    latency: Option<Box<Latency>>,
    talkers: Option<Box<Talkers>>,
    queues: Queues,
}

impl<P: Port> Worker<P> {
    /// A worker that owns `pool` and, once attached, its queue of each of `ports` ports.
    pub fn new(
        pool: Pool,
        ports: usize,
        vifs: usize,
        fib: FibReader,
        tables: Subscriber<Snapshot>,
        counters: Arc<WorkerCounters>,
        handoffs: Arc<Handoffs>,
    ) -> Worker<P> {
        let copies = Copies::new(counters.number);
        Worker {
            pool,
            ports: (0..ports).map(|_| None).collect(),
            burst: Burst::default(),
            fib,
            tables,
            counters,
            budgets: Budgets::new(vifs),
            entrances: Entrances::default(),
            handoffs,
            captures: Captures::default(),
            copies,
            flows: None,
            latency: None,
            talkers: None,
            queues: Queues::default(),
        }
    }

    /// The worker's frames and its slot for a port, to attach a port or to look at it.
    pub fn port_mut(&mut self, id: PortId) -> (&mut Pool, Option<&mut Option<P>>) {
        (&mut self.pool, self.ports.get_mut(id.index()))
    }

    /// Takes a port away. What waits for it, and what the slow path had for it until now, is lost, and counted: the next
    /// port of this id may be another customer's. `now` is monotonic time in nanoseconds.
    pub fn detach(&mut self, id: PortId, now: u64) -> Option<P> {
        let port = self.ports.get_mut(id.index()).and_then(Option::take);
        self.latency.iter_mut().for_each(|latency| latency.follow(id, None));
        self.counters.begin_turn();
        self.queues.detach(id, &self.counters, &mut self.pool);
        // All of it: less than that is the end of the queue.
        while self.inject(now) == INJECT {}
        self.counters.end_turn();
        port
    }

    /// Takes the frames of a closed port back.
    pub fn take_back(&mut self, frames: Returned) {
        self.pool.take_back(frames);
    }

    /// The ports that are attached now.
    pub fn ports(&self) -> impl Iterator<Item = &P> {
        self.ports.iter().flatten()
    }

    /// The ports that are attached now, with their ids.
    pub fn ports_by_id(&self) -> impl Iterator<Item = (PortId, &P)> {
        let ids = (0..=u8::MAX).map(PortId);
        ids.zip(&self.ports).filter_map(|(id, port)| Some((id, port.as_ref()?)))
    }

    /// What the worker counts.
    pub fn counters(&self) -> &WorkerCounters {
        &self.counters
    }

    /// The tables' end of this worker, to sleep and wake.
    pub fn tables_mut(&mut self) -> &mut Subscriber<Snapshot> {
        &mut self.tables
    }

    /// Where the frame that came in this place of the last burst entered, and what became of it.
    pub fn verdict(&self, place: usize) -> (Option<VifId>, Verdict) {
        let lane = usize::from(self.burst.lane_of[place % BURST]);
        let verdict =
            if self.burst.live.has(lane) { Verdict::Forward } else { self.burst.verdicts[lane] };
        (self.burst.vif(lane), verdict)
    }

    /// Frames missing: neither free nor held by a port, nor waiting for one. Between turns there are none.
    pub fn missing_frames(&self) -> usize {
        let held: usize = self.ports().map(Port::held).sum();
        self.pool.total().saturating_sub(self.pool.free() + held + self.queues.waiting())
    }

    /// One turn of the loop: the slow path's frames, a burst from every port, and one flush. `now` is
    /// monotonic time in nanoseconds.
    #[inline]
    pub fn turn(&mut self, now: u64) -> Turn {
        self.tables.enter();
        self.counters.begin_turn();
        let mut turn = Turn::default();
        if self.tables.snapshot().qos.is_some() || !self.queues.is_empty() {
            self.follow_queues();
        }
        if let Some(flows) = &mut self.flows {
            flows.begin_turn(self.tables.snapshot(), now);
        }
        self.copies.begin_turn(self.tables.snapshot(), now);
        // Before what is forwarded: a session must not suffer from a full transmit ring.
        if !self.handoffs.injected.is_empty() {
            turn.frames += self.inject(now);
        }
        // Before the first publication the tables have no port: what has arrived waits in the rings.
        for index in 0..self.ports.len().min(self.tables.snapshot().ports.len()) {
            let Some(port) = self.ports[index].as_mut() else { continue };
            port.rx(&mut self.pool, &mut self.burst.frames);
            let count = self.burst.frames.len();
            if count > 0 {
                turn.frames += count;
                self.counters.work.bursts.add(1);
                self.counters.work.frames.add(count as u64);
                #[expect(clippy::cast_possible_truncation, reason = "at most 256 ports")]
                let id = PortId(index as u8);
                turn.punted += self.process(id, now);
            }
        }
        self.counters.end_turn();
        if let Some(flows) = &mut self.flows {
            flows.end_turn(&self.counters.work, turn.frames == 0, now);
        }
        for port in self.ports.iter_mut().flatten() {
            port.flush(&mut self.pool);
        }
        if let Some(qos) = self.tables.snapshot().qos.as_deref() {
            self.queues.send(qos, &mut self.ports, &mut self.pool);
            turn.waiting = self.queues.waiting();
        }
        let work = &self.counters.work;
        work.loops.add(1);
        work.empty.add(u64::from(turn.frames == 0));
        work.generation.set(self.tables.snapshot().generation);
        work.frames_free.set(self.pool.free() as u64);
        turn
    }

    /// Runs the burst through the path and carries out its verdicts; returns how many were punted.
    #[inline]
    fn process(&mut self, port: PortId, now: u64) -> usize {
        let watched = !self.captures.is_empty() && self.captures.concern(port);
        if watched {
            self.captures.before(port, &self.burst.frames, self.pool.area(), now);
        }
        // Before there are new headers in front of the packets.
        let timed = match &mut self.latency {
            Some(latency) => latency.look(port, &self.burst.frames, self.pool.area()),
            None => false,
        };
        let mut context = Context {
            tables: self.tables.snapshot(),
            fib: &self.fib,
            counters: &self.counters,
            pool: &mut self.pool,
            budgets: &mut self.budgets,
            entrances: &mut self.entrances,
            copies: &mut self.copies,
            port,
            now,
        };
        let generation = context.tables.generation;
        path::run(&mut self.burst, &mut context);
        let logged = match &mut self.flows {
            Some(flows) => flows.note(&self.burst, self.pool.area()),
            None => false,
        };
        let from = (port, generation, now);
        let punted = if watched { self.carry_out_watched(from) } else { self.carry_out(from) };
        self.burst.settle_lost();
        if let Some(latency) = self.latency.as_mut().filter(|_| timed) {
            latency.record(port, generation, &self.burst);
        }
        if let Some(talkers) = &mut self.talkers {
            talkers.look(&self.burst, self.tables.snapshot(), now);
        }
        if !self.copies.is_empty() {
            self.copy_what_left(now);
        }
        if let Some(flows) = self.flows.as_mut().filter(|_| logged) {
            flows.record(&self.burst, now);
        }
        punted
    }

    /// Carries out the verdicts of a burst from a port, which tables of this generation decided now; returns how many
    /// frames were punted.
    #[inline]
    fn carry_out(&mut self, from: (PortId, u64, u64)) -> usize {
        let (_, _, now) = from;
        let only_port = self.burst.only_port();
        let mut frames = std::mem::take(&mut self.burst.frames);
        let Worker { pool, ports, burst, counters, handoffs, queues, tables, .. } = self;
        let qos = tables.snapshot().qos.as_deref();
        let mut punted = 0;
        if let Some(id) = only_port {
            let egress = ports.get_mut(id.index()).and_then(Option::as_mut);
            let all = frames.drain(..).zip(&burst.lane_of);
            match Way::to(id, egress, queues, qos, counters) {
                Way::Ring(egress) => transmit(burst, all, (id, now), egress, counters, pool),
                Way::Queued(way) => transmit_queued(burst, all, (id, now), way, counters, pool),
            }
        } else {
            for (frame, lane) in frames.drain(..).zip(&burst.lane_of) {
                let at = usize::from(*lane) % BURST;
                if burst.live.has(at) {
                    let id = Facts::port(burst.to_rules[at]);
                    let egress = ports.get_mut(id.index()).and_then(Option::as_mut);
                    let one = std::iter::once((frame, lane));
                    match Way::to(id, egress, queues, qos, counters) {
                        Way::Ring(egress) => {
                            transmit(burst, one, (id, now), egress, counters, pool);
                        }
                        Way::Queued(way) => {
                            transmit_queued(burst, one, (id, now), way, counters, pool);
                        }
                    }
                } else {
                    punted +=
                        usize::from(settle(burst, counters, handoffs, pool, from, at, &frame));
                    pool.give(frame);
                }
            }
        }
        self.burst.frames = frames;
        punted
    }

    /// Sends what the slow path originated.
    fn inject(&mut self, now: u64) -> usize {
        self.captures.begin(now);
        let generation = self.tables.snapshot().generation;
        let mut count = 0;
        while count < INJECT {
            let Worker {
                handoffs,
                pool,
                ports,
                counters,
                captures,
                copies,
                flows,
                tables,
                fib,
                ..
            } = self;
            let sent = handoffs.injected.receive(|label, packet| {
                let port = ports.get_mut(label.port.index()).and_then(Option::as_mut);
                let vif = counters.vif(label.vif);
                let frame = pool.take_with(packet);
                let octets = frame.as_ref().map_or((0, 0), Frame::place);
                match (port, frame) {
                    (Some(port), Some(frame)) => match port.tx(pool, frame) {
                        Ok(()) => {
                            if !copies.is_empty() {
                                let to = (label.port, label.vif);
                                copies.originated(to, octets, (tables.snapshot(), fib), pool, now);
                            }
                            vif.rare.originated.add(1);
                            for vif in
                                label.through.map(|id| counters.vif(id)).into_iter().chain([vif])
                            {
                                vif.tx_frames.add(1);
                                vif.tx_octets.add(packet.len() as u64);
                            }
                            count_sent(counters, label.port, 1, packet.len() as u64);
                            if !captures.is_empty() {
                                let mark = Mark::originated(label, packet.len(), now, generation);
                                captures.sent(&mark, packet);
                            }
                            if let Some(flows) = flows {
                                let tunnelled = label.through.is_some();
                                flows.originated(label.vif, tunnelled, packet, now);
                            }
                        }
                        Err(frame) => {
                            pool.give(frame);
                            vif.rare.originated_lost.add(1);
                        }
                    },
                    (None, Some(frame)) => {
                        pool.give(frame);
                        vif.rare.originated_lost.add(1);
                    }
                    (_, None) => vif.rare.originated_lost.add(1),
                }
            });
            if sent.is_none() {
                break;
            }
            count += 1;
        }
        if !self.copies.is_empty() {
            self.send_copies();
        }
        count
    }
}
