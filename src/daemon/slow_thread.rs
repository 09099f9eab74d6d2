//! The thread around the slow path: takes what the workers punted, sends what it answers back
//! through them, and tells the control thread of neighbors and of tunnels' paths.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{JoinHandle, Thread};
use std::time::{Duration, Instant};

use crossbeam::channel::{Receiver, Sender, bounded, unbounded};

use super::cpus::{self, Urgency};
use super::holds::note_stall;
use super::tap_threads::FromKernel;
use super::worker_thread::wake;
use crate::clock::{nanoseconds, now_ns};
use crate::fib::FibReader;
use crate::ledger::Keeper;
use crate::publish::Subscriber;
use crate::slowpath::{
    Left, MAX_SENDERS, MAX_WAITING, NeighborRow, Output, Probe, ProbeAnswer, Punted, SlowPath,
    Told, Unsent, View, route,
};
use crate::tables::counters::SlowCounters;
use crate::tables::{Snapshot, TapEvent, VifId, VrfId};
use crate::tap::{Devices, Wire};
use crate::worker::Handoffs;
use crate::worker::handoff::Label;

/// Frames taken from one worker before the next has its turn.
const BATCH: usize = 64;
/// How often timers run, and the longest sleep.
const TICK: Duration = Duration::from_millis(10);
/// For the slow path to answer another thread.
const PATIENCE: Duration = Duration::from_secs(1);

/// A worker as the slow path sees it.
pub(super) struct Peer {
    pub handoffs: Arc<Handoffs>,
    pub waker: Arc<OwnedFd>,
}

/// The TAPs as the slow path sees them.
pub(super) struct Taps {
    /// To give the kernel frames.
    pub devices: Arc<Devices>,
    /// What the kernel sent.
    pub frames: Receiver<FromKernel>,
}

/// What other threads ask of the slow path.
enum Query {
    /// All learned neighbors.
    Neighbors(Sender<Vec<NeighborRow>>),
    /// A sender of probes begins: it gets its id, and its answers.
    Begin(Asks, Sender<u16>, Sender<ProbeAnswer>),
    /// It ends.
    End(u16),
    /// Some of its probes, and what becomes of each.
    Probe(Vec<Probe>, Sender<Vec<Result<Left, Unsent>>>),
}

/// The control thread's end of the slow path.
pub(super) struct SlowHandle {
    peers: Sender<Vec<Peer>>,
    queries: Sender<Query>,
    stop: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

impl SlowHandle {
    /// The thread, for workers to wake.
    pub fn thread(&self) -> Thread {
        self.thread.thread().clone()
    }

    /// Tells the slow path who its workers are; it waits for that.
    pub fn connect(&self, peers: Vec<Peer>) {
        drop(self.peers.send(peers));
    }

    /// What other threads ask it by.
    pub fn asker(&self) -> Asker {
        Asker { queries: self.queries.clone(), thread: self.thread() }
    }

    /// A new snapshot may have next hops to resolve.
    pub fn look(&self) {
        self.thread.thread().unpark();
    }

    /// Ends the thread.
    pub fn stop(self) {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.thread().unpark();
        drop(self.peers);
        drop(self.thread.join());
    }
}

/// Asks the slow path, on any thread.
#[derive(Clone)]
pub(super) struct Asker {
    queries: Sender<Query>,
    thread: Thread,
}

impl Asker {
    /// The answer; `None` where there is none within a second.
    fn ask<T>(&self, query: impl FnOnce(Sender<T>) -> Query) -> Option<T> {
        let (reply, answer) = bounded(1);
        self.queries.send(query(reply)).ok()?;
        self.thread.unpark();
        answer.recv_timeout(PATIENCE).ok()
    }

    /// All learned neighbors; none where the slow path does not answer.
    pub fn neighbors(&self) -> Vec<NeighborRow> {
        self.ask(Query::Neighbors).unwrap_or_default()
    }

    /// Becomes a sender of probes; `None` where there are [`MAX_SENDERS`] pings already, or the slow path does not answer.
    pub fn begin(self, asks: Asks) -> Option<Probing> {
        // No more than are waited for are ever on their way.
        let (answers, their_answers) = bounded(asks.room());
        let id = self.ask(|reply| Query::Begin(asks, reply, answers))?;
        Some(Probing { asker: self, id, answers: their_answers })
    }
}

/// Who sends probes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asks {
    /// One of the pings and traces of clients.
    Ping,
    /// The thread of the configured probes.
    Configured,
}

impl Asks {
    /// How many probes are waited for at a time.
    pub const fn room(self) -> usize {
        match self {
            Asks::Ping => MAX_WAITING,
            // More than the configuration lets be on their way.
            Asks::Configured => 20_480,
        }
    }
}

/// A sender of probes.
pub(super) struct Probing {
    asker: Asker,
    /// Its id.
    pub id: u16,
    /// What comes back.
    pub answers: Receiver<ProbeAnswer>,
}

impl Probing {
    /// Sends probes: what becomes of each. `None` where the slow path does not answer.
    pub fn send(&self, probes: Vec<Probe>) -> Option<Vec<Result<Left, Unsent>>> {
        self.asker.ask(|reply| Query::Probe(probes, reply))
    }
}

impl Drop for Probing {
    fn drop(&mut self) {
        drop(self.asker.queries.send(Query::End(self.id)));
    }
}

/// Starts the thread. Its time counts from the start that is given.
///
/// # Errors
/// The system's, where there is no thread left.
pub(super) fn spawn(
    fib: FibReader,
    tables: Subscriber<Snapshot>,
    counters: Arc<SlowCounters>,
    told: Sender<Told>,
    taps: Taps,
    (start, ledger): (Instant, Keeper),
) -> std::io::Result<SlowHandle> {
    let (peers, their_peers) = unbounded();
    let (queries, their_queries) = unbounded();
    let stop = Arc::new(AtomicBool::new(false));
    let their_stop = stop.clone();
    let thread = std::thread::Builder::new().name("slowpath".into()).spawn(move || {
        cpus::be(Urgency::Failover);
        let Ok(peers) = their_peers.recv() else { return };
        let epoch_ns = now_ns().saturating_sub(nanoseconds(start.elapsed()));
        let slow = SlowPath::new(counters.clone()).begun_at(epoch_ns);
        let senders = HashMap::new();
        let body = Body { slow, fib, tables, counters, told, taps, peers, start, ledger, senders };
        body.run(&their_queries, &their_stop);
    })?;
    Ok(SlowHandle { peers, queries, stop, thread })
}

struct Body {
    slow: SlowPath,
    fib: FibReader,
    tables: Subscriber<Snapshot>,
    counters: Arc<SlowCounters>,
    told: Sender<Told>,
    taps: Taps,
    peers: Vec<Peer>,
    start: Instant,
    ledger: Keeper,
    /// Who sends probes, by id.
    senders: HashMap<u16, (Asks, Sender<ProbeAnswer>)>,
}

impl Body {
    fn run(mut self, queries: &Receiver<Query>, stop: &AtomicBool) {
        self.tables.wake();
        let mut out = Vec::new();
        let mut ticked = self.start;
        let mut generation = 0;
        let mut seen = Instant::now();
        while !stop.load(Ordering::Relaxed) {
            self.tables.enter();
            self.counters.turns.add(1);
            let mut punted = self.take_from_kernel(&mut out);
            for peer in 0..self.peers.len() {
                punted += self.take(peer, &mut out);
            }
            let now = Instant::now();
            // Longer than it can sleep: it was kept from running.
            note_stall(&self.ledger, (now - seen).saturating_sub(TICK));
            seen = now;
            let current = self.tables.snapshot().generation;
            if now - ticked >= TICK || current != generation {
                (ticked, generation) = (now, current);
                self.with_view(|slow, view| slow.tick(view, &mut out));
                self.deliver(0, &mut out);
            }
            while let Ok(query) = queries.try_recv() {
                self.query(query, &mut out);
            }
            for answer in self.slow.take_answers() {
                if let Some((_, sender)) = self.senders.get(&answer.id) {
                    // Who asked may have gone, or may not look: its loss.
                    let _ = sender.try_send(answer);
                }
            }
            if punted == 0 {
                self.tables.sleep();
                std::thread::park_timeout(TICK);
                self.tables.wake();
            }
        }
    }

    fn query(&mut self, query: Query, out: &mut Vec<Output>) {
        match query {
            Query::Neighbors(reply) => {
                let rows = self.slow.neighbors(self.now_ns()).collect();
                drop(reply.send(rows));
            }
            Query::Begin(asks, reply, answers) => {
                // Nobody learns from one id what the next will be.
                let random = RandomState::new();
                let mut ids = (0..u16::MAX).map(|n| {
                    let [a, b, ..] = random.hash_one(n).to_le_bytes();
                    u16::from_le_bytes([a, b])
                });
                let free = ids.find(|id| !self.senders.contains_key(id));
                let pings = self.senders.values().filter(|(asks, _)| *asks == Asks::Ping).count();
                let room = asks == Asks::Configured || pings < MAX_SENDERS;
                if let Some(id) = free.filter(|_| room) {
                    // Who waits no longer would not end it either.
                    if reply.send(id).is_ok() {
                        self.senders.insert(id, (asks, answers));
                    }
                }
            }
            Query::End(id) => {
                self.senders.remove(&id);
                self.slow.forget_probes(id);
            }
            Query::Probe(probes, reply) => {
                let mut send = |probe| self.with_view(|slow, view| slow.probe(view, probe, out));
                let sent = probes.iter().map(&mut send).collect();
                self.deliver(0, out);
                let _ = reply.send(sent);
            }
        }
    }

    fn now_ns(&self) -> u64 {
        nanoseconds(self.start.elapsed())
    }

    fn with_view<T>(&mut self, call: impl FnOnce(&mut SlowPath, &View<'_>) -> T) -> T {
        let now_ns = self.now_ns();
        let fib = &self.fib;
        let lookup = |vrf: VrfId, address: IpAddr| route(fib, vrf, address);
        let view = View { now_ns, snapshot: self.tables.snapshot(), fib: &lookup };
        call(&mut self.slow, &view)
    }

    /// Handles up to [`BATCH`] frames of one worker; returns how many there were.
    fn take(&mut self, peer: usize, out: &mut Vec<Output>) -> usize {
        let handoffs = self.peers[peer].handoffs.clone();
        let mut count = 0;
        while count < BATCH {
            let taken = handoffs.take(|label, frame| {
                let Label { port, vif, reason, l3, choice, .. } = label;
                let punted = Punted { port, vif, reason, l3: usize::from(l3), choice, frame };
                self.with_view(|slow, view| slow.punted(view, &punted, out));
            });
            if taken.is_none() {
                break;
            }
            count += 1;
        }
        self.deliver(peer, out);
        count
    }

    /// Handles what the kernel sent, up to [`BATCH`] frames; returns how many there were.
    fn take_from_kernel(&mut self, out: &mut Vec<Output>) -> usize {
        let mut count = 0;
        while count < BATCH {
            let Ok((wire, frame)) = self.taps.frames.try_recv() else { break };
            // By the tables as they are now: a wire without a VIF says nothing.
            if let Some(vif) = self.tables.snapshot().vif_of(wire.port, wire.tags) {
                self.with_view(|slow, view| slow.sent_by_kernel(view, vif, &frame, out));
            }
            count += 1;
        }
        self.deliver(0, out);
        count
    }

    fn give_to_kernel(&self, id: VifId, frame: &[u8]) {
        let wire = self.tables.snapshot().vif(id).map(|v| Wire { port: v.port, tags: v.tags });
        let device = wire.and_then(|wire| self.taps.devices.get(wire));
        if device.is_none_or(|device| device.write(frame).is_err()) {
            self.counters.tap(id, TapEvent::Lost).add(1);
        }
    }

    /// Sends frames through a worker and to the kernel, and events to the control thread.
    fn deliver(&mut self, peer: usize, out: &mut Vec<Output>) {
        let mut sent = false;
        for output in out.drain(..) {
            match output {
                Output::Transmit { vif, through, port, frame } => {
                    let label = Label { through, ..Label::to_port(port, vif) };
                    if self.peers[peer].handoffs.injected.send(label, &frame[..]) {
                        sent = true;
                    } else {
                        self.counters.lost(peer).add(1);
                    }
                }
                Output::ToKernel { vif, frame } => self.give_to_kernel(vif, &frame),
                Output::Tell(told) => drop(self.told.send(told)),
            }
        }
        if sent {
            wake(&self.peers[peer].waker);
        }
    }
}
