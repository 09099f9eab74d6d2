//! The thread around a worker: time, sleep, pinning, and the control thread's orders.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::thread::{JoinHandle, Thread};
use std::time::{Duration, Instant};

use crossbeam::channel::{Receiver, Sender, unbounded};
use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use rustix::thread::{CpuSet, sched_setaffinity};
use tracing::warn;

use super::cpus::{self, Urgency};
use super::holds::note_stall;
use crate::clock::nanoseconds;
use crate::ledger::Keeper;
use crate::port::Returned;
use crate::port::af_xdp::{XdpError, XdpProgram, XskPort};
use crate::port::stamp::Stamping;
use crate::tables::PortId;
use crate::tables::mirrors::Mirror;
use crate::worker::Worker;
use crate::worker::capture::Tap;
use crate::worker::flows::Flows;
use crate::worker::latency::Latency;
use crate::worker::talkers::Talkers;

/// How long a worker looks for frames before it sleeps: longer than the gaps in traffic worth
/// polling for, short enough that an idle station uses no CPU to speak of.
const SPIN: Duration = Duration::from_micros(50);
/// The longest sleep: how soon a worker looks around without being woken.
const SLEEP: Timespec = Timespec { tv_sec: 0, tv_nsec: 200_000_000 };
/// The same, as a duration.
const LONGEST_SLEEP: Duration = Duration::from_millis(200);
/// The longest sleep while the kernel has frames to send, which wait for another call.
const SENDING: Timespec = Timespec { tv_sec: 0, tv_nsec: 500_000 };
/// How often the kernel's counters are copied.
const STATISTICS: Duration = Duration::from_secs(1);

/// What the control thread asks of a worker.
pub(super) enum Order {
    /// Begin with the worker's queue of a port, for which there is none.
    Attach { port: PortId, socket: Box<XskPort>, program: Arc<XdpProgram>, reply: Sender<Attached> },
    /// Let go of the worker's queue of a port, and say so.
    Detach { port: PortId, to: Sender<Detached> },
    /// Frames of a queue that is closed.
    TakeBack(Returned),
    /// Begin a capture, and say so.
    Capture { tap: Arc<Tap>, reply: Sender<()> },
    /// Let go of captures that have ended.
    EndCaptures,
    /// Copy for these mirrors, and no others.
    Mirror(Arc<[Arc<Mirror>]>),
    /// Log these flows, or none; those so far go back.
    Flows { flows: Option<Box<Flows>>, back: Sender<Box<Flows>> },
    /// Time frames, or none; what timed them so far goes back.
    Latency { latency: Option<Box<Latency>>, back: Sender<Box<Latency>> },
    /// Look for top talkers, or not; what looked for them so far goes back.
    Talkers { talkers: Option<Box<Talkers>>, back: Sender<Box<Talkers>> },
    /// The frames that come by a port are stamped so, or not at all.
    Stamps(PortId, Option<Stamping>),
    /// Close all ports and end.
    Stop,
}

/// Whether a worker has begun with a queue; where not, why not, and its socket.
pub(super) type Attached = Result<(), (XdpError, Box<XskPort>)>;

/// A queue that a worker has let go of. Closing it takes its time, and is left to a thread that has that.
pub(super) struct Detached {
    pub worker: usize,
    /// None where there was none.
    pub socket: Option<XskPort>,
}

/// The control thread's end of a worker.
pub(super) struct WorkerHandle {
    /// The CPU it is pinned to.
    pub cpu: usize,
    orders: Orders,
    thread: JoinHandle<()>,
}

/// Where a worker takes orders.
#[derive(Clone)]
pub(super) struct Orders {
    sender: Sender<Order>,
    waker: Arc<OwnedFd>,
}

impl Orders {
    /// Gives an order and wakes the worker for it.
    pub fn give(&self, order: Order) {
        // A worker ends only when told to, or with the whole process.
        drop(self.sender.send(order));
        wake(&self.waker);
    }
}

impl WorkerHandle {
    /// Where it takes orders.
    pub fn orders(&self) -> &Orders {
        &self.orders
    }

    /// Ends the worker.
    pub fn stop(self) {
        self.orders.give(Order::Stop);
        drop(self.thread.join());
    }

    /// What wakes the worker from its sleep.
    pub fn waker(&self) -> Arc<OwnedFd> {
        self.orders.waker.clone()
    }
}

/// Wakes a sleeping worker.
pub(super) fn wake(waker: &OwnedFd) {
    // It fails only where the counter is full: then the worker is awake already.
    let _ = rustix::io::write(waker, &1u64.to_ne_bytes());
}

/// Starts a worker's thread on `cpu`. `slow_path` is woken when frames were punted. Its time counts from the start
/// that is given.
///
/// # Errors
/// The system's, where there is no thread or no event descriptor left.
pub(super) fn spawn(
    index: usize,
    cpu: usize,
    worker: Worker<XskPort>,
    slow_path: Thread,
    (start, ledger): (Instant, Keeper),
) -> std::io::Result<WorkerHandle> {
    let (sender, orders) = unbounded();
    let waker = Arc::new(eventfd(0, EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC)?);
    let body = Body {
        worker,
        orders,
        waker: waker.clone(),
        slow_path,
        start,
        copied: Instant::now(),
        ledger,
    };
    let thread = std::thread::Builder::new().name(format!("worker-{index}")).spawn(move || {
        let mut cpus = CpuSet::new();
        cpus.set(cpu);
        if let Err(error) = sched_setaffinity(None, &cpus) {
            warn!(worker = index, cpu, %error, "cannot pin the worker to its CPU");
        }
        cpus::be(Urgency::Frames);
        body.run();
    })?;
    Ok(WorkerHandle { cpu, orders: Orders { sender, waker }, thread })
}

struct Body {
    worker: Worker<XskPort>,
    orders: Receiver<Order>,
    waker: Arc<OwnedFd>,
    slow_path: Thread,
    start: Instant,
    copied: Instant,
    ledger: Keeper,
}

impl Body {
    fn run(mut self) {
        self.worker.tables_mut().wake();
        let mut busy = self.start;
        let (mut began, mut worked) = (0, false);
        let (mut seen, mut asleep) = (Instant::now(), Duration::ZERO);
        loop {
            let now = Instant::now();
            // Longer than it can sleep: it was kept from running.
            note_stall(&self.ledger, (now - seen).saturating_sub(asleep));
            (seen, asleep) = (now, Duration::ZERO);
            let ns = nanoseconds(now - self.start);
            // One reading of the clock a turn ends the turn before, too.
            if worked {
                self.worker.counters().work.busy_ns.add(ns - began);
            }
            let turn = self.worker.turn(ns);
            (began, worked) = (ns, turn.frames > 0);
            if turn.punted > 0 {
                self.slow_path.unpark();
            }
            if !self.orders.is_empty() && self.obey(ns) {
                return;
            }
            if turn.frames > 0 || turn.waiting > 0 {
                busy = now;
            } else if now - busy < SPIN {
                std::hint::spin_loop();
            } else {
                self.sleep();
                (busy, asleep) = (Instant::now(), LONGEST_SLEEP);
            }
            if now - self.copied > STATISTICS {
                self.copied = now;
                self.copy_statistics();
            }
        }
    }

    /// Sleeps until a frame, the slow path or an order comes.
    fn sleep(&mut self) {
        self.worker.counters().work.sleeps.add(1);
        self.worker.tables_mut().sleep();
        let mut fds = Vec::with_capacity(8);
        fds.push(PollFd::from_borrowed_fd(self.waker.as_fd(), PollFlags::IN));
        for port in self.worker.ports().filter(|port| !port.is_gone()) {
            fds.push(PollFd::from_borrowed_fd(port.poll_fd(), PollFlags::IN));
        }
        let sending = self.worker.ports().any(XskPort::is_sending);
        // Whatever the answer, the loop looks at everything again.
        let _ = poll(&mut fds, Some(if sending { &SENDING } else { &SLEEP }));
        let _ = rustix::io::read(&*self.waker, &mut [0; 8]);
        self.worker.tables_mut().wake();
    }

    /// Carries out all orders; true where the worker is to end.
    fn obey(&mut self, now: u64) -> bool {
        while let Ok(order) = self.orders.try_recv() {
            match order {
                Order::Attach { port, socket, program, reply } => {
                    drop(reply.send(self.attach(port, &program, socket)));
                }
                Order::Detach { port, to } => {
                    let socket = self.worker.detach(port, now);
                    drop(to.send(Detached { worker: self.worker.counters().number, socket }));
                }
                Order::TakeBack(frames) => self.worker.take_back(frames),
                Order::Capture { tap, reply } => {
                    self.worker.captures_mut().attach(tap);
                    let _ = reply.send(());
                }
                Order::EndCaptures => self.worker.captures_mut().detach_ended(),
                Order::Mirror(mirrors) => self.worker.mirror(&mirrors),
                Order::Flows { flows, back } => {
                    drop(self.worker.exchange_flows(flows).map(|flows| back.send(flows)));
                }
                Order::Latency { latency, back } => {
                    drop(self.worker.exchange_latency(latency).map(|old| back.send(old)));
                }
                Order::Talkers { talkers, back } => {
                    drop(self.worker.exchange_talkers(talkers).map(|old| back.send(old)));
                }
                Order::Stamps(port, stamping) => {
                    let latency = self.worker.latency_mut();
                    latency.into_iter().for_each(|latency| latency.follow(port, stamping));
                }
                Order::Stop => {
                    self.worker.tables_mut().sleep();
                    let ports: Vec<PortId> = self.worker.ports_by_id().map(|(id, _)| id).collect();
                    for port in ports {
                        let socket = self.worker.port_mut(port).1.and_then(Option::take);
                        socket.into_iter().for_each(|socket| drop(socket.close()));
                    }
                    return true;
                }
            }
        }
        false
    }

    fn attach(&mut self, id: PortId, program: &XdpProgram, mut socket: Box<XskPort>) -> Attached {
        let (pool, slot) = self.worker.port_mut(id);
        if let Err(error) = socket.start(program, pool) {
            return Err((error, socket));
        }
        if let Some(slot) = slot {
            *slot = Some(*socket);
        }
        Ok(())
    }

    fn copy_statistics(&self) {
        let work = &self.worker.counters().work;
        let by_ports: u64 = self.worker.ports().map(XskPort::system_calls).sum();
        // A sleep is a poll and a read of the event counter.
        work.system_calls.set(by_ports + 2 * work.sleeps.get());
        for (id, port) in self.worker.ports_by_id() {
            let Ok(statistics) = port.statistics() else { continue };
            let kernel = &self.worker.counters().port(id).kernel;
            kernel.rx_dropped.set(statistics.rx_dropped);
            kernel.rx_ring_full.set(statistics.rx_ring_full);
            kernel.rx_fill_ring_empty.set(statistics.rx_fill_ring_empty);
            kernel.rx_invalid_descriptors.set(statistics.rx_invalid_descriptors);
            kernel.tx_invalid_descriptors.set(statistics.tx_invalid_descriptors);
            kernel.tx_ring_empty.set(statistics.tx_ring_empty);
            kernel.refused_descriptors.set(port.refused_descriptors());
        }
    }
}
