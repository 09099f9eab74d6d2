//! The thread around the slow path: takes what the workers punted, sends what it answers back
//! through them, and tells the control thread of neighbors.

use std::net::IpAddr;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{JoinHandle, Thread};
use std::time::{Duration, Instant};

use crossbeam::channel::{Receiver, Sender, unbounded};

use super::cpus::{self, Urgency};
use super::holds::note_stall;
use super::tap_threads::FromKernel;
use super::worker_thread::wake;
use crate::fib::FibReader;
use crate::ledger::Keeper;
use crate::publish::Subscriber;
use crate::slowpath::{NeighborEvent, NeighborRow, Output, Punted, SlowPath, View, route};
use crate::tables::counters::SlowCounters;
use crate::tables::{Snapshot, TapEvent, VifId, VrfId};
use crate::tap::{Devices, Wire};
use crate::worker::Exchange;
use crate::worker::handoff::Label;

/// Frames taken from one worker before the next has its turn.
const BATCH: usize = 64;
/// How often timers run, and the longest sleep.
const TICK: Duration = Duration::from_millis(10);

/// A worker as the slow path sees it.
pub(super) struct Peer {
    pub exchange: Arc<Exchange>,
    pub waker: Arc<OwnedFd>,
}

/// The TAPs as the slow path sees them.
pub(super) struct Taps {
    /// To give the kernel frames.
    pub devices: Arc<Devices>,
    /// What the kernel sent.
    pub frames: Receiver<FromKernel>,
}

/// The control thread's end of the slow path.
pub(super) struct SlowHandle {
    peers: Sender<Vec<Peer>>,
    queries: Sender<Sender<Vec<NeighborRow>>>,
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

    /// Where all learned neighbors can be asked for.
    pub fn neighbors(&self) -> Neighbors {
        Neighbors { queries: self.queries.clone(), thread: self.thread() }
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

/// Asks the slow path for its neighbors, on any thread.
pub(super) struct Neighbors {
    queries: Sender<Sender<Vec<NeighborRow>>>,
    thread: Thread,
}

impl Neighbors {
    /// All learned neighbors; none where the slow path does not answer within a second.
    pub fn ask(&self) -> Vec<NeighborRow> {
        let (reply, rows) = unbounded();
        drop(self.queries.send(reply));
        self.thread.unpark();
        rows.recv_timeout(Duration::from_secs(1)).unwrap_or_default()
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
    events: Sender<NeighborEvent>,
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
        let slow = SlowPath::new(counters.clone());
        let body = Body { slow, fib, tables, counters, events, taps, peers, start, ledger };
        body.run(&their_queries, &their_stop);
    })?;
    Ok(SlowHandle { peers, queries, stop, thread })
}

struct Body {
    slow: SlowPath,
    fib: FibReader,
    tables: Subscriber<Snapshot>,
    counters: Arc<SlowCounters>,
    events: Sender<NeighborEvent>,
    taps: Taps,
    peers: Vec<Peer>,
    start: Instant,
    ledger: Keeper,
}

impl Body {
    fn run(mut self, queries: &Receiver<Sender<Vec<NeighborRow>>>, stop: &AtomicBool) {
        self.tables.wake();
        let mut out = Vec::new();
        let mut ticked = self.start;
        let mut generation = 0;
        let mut seen = Instant::now();
        while !stop.load(Ordering::Relaxed) {
            self.tables.enter();
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
            while let Ok(reply) = queries.try_recv() {
                let rows = self.slow.neighbors(self.now_ns()).collect();
                drop(reply.send(rows));
            }
            if punted == 0 {
                self.tables.sleep();
                std::thread::park_timeout(TICK);
                self.tables.wake();
            }
        }
    }

    fn now_ns(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_nanos()).unwrap_or(u64::MAX)
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
        let exchange = self.peers[peer].exchange.clone();
        let mut count = 0;
        while count < BATCH {
            let taken = exchange.take(|label, frame| {
                let Label { port, vif, reason, l3, choice } = label;
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
                Output::Transmit { vif, port, frame } => {
                    let label = Label::to_port(port, vif);
                    if self.peers[peer].exchange.injected.send(label, &frame) {
                        sent = true;
                    } else {
                        self.counters.lost(peer).add(1);
                    }
                }
                Output::ToKernel { vif, frame } => self.give_to_kernel(vif, &frame),
                Output::Neighbor(event) => drop(self.events.send(event)),
            }
        }
        if sent {
            wake(&self.peers[peer].waker);
        }
    }
}
