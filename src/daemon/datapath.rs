//! The running data path: ports, workers and the slow path, as the control thread holds them.

use std::sync::Arc;
use std::time::Instant;

use crossbeam::channel::{Receiver, Sender, bounded};
use tracing::{info, warn};

use super::StationError;
use super::audit_thread::{self, Finding, Open};
use super::cpus;
use super::port_state::PortState;
use super::port_thread::{self, Done, Job, Opened, Opener};
use super::slow_thread::{self, Peer, SlowHandle, Taps};
use super::tap_threads::{self, TapHandle};
use super::worker_thread::{self, Order, WorkerHandle};
use crate::clock::{nanoseconds, now_ns};
use crate::config::model::Config;
use crate::control::PortFacts;
use crate::fib::FibReader;
use crate::ledger::Keeper;
use crate::netlink::LinkEvent;
use crate::netns::Namespace;
use crate::port::af_xdp::{self, Claim, NicError, frames_for_ring};
use crate::port::{FrameSize, Pool};
use crate::publish::Subscriber;
use crate::slowpath;
use crate::tables::counters::{SlowCounters, WorkerCounters};
use crate::tables::{PortId, Snapshot};
use crate::tap::Devices;
use crate::worker::{Exchange, Worker};

/// Frames between a worker and the slow path, each way.
const PARCELS: usize = 2048;

/// Frames of the kernel that wait for the slow path; more wait in their TAPs.
const FROM_KERNEL: usize = 64;

/// The running data path.
pub(super) struct Datapath {
    pub ports: Vec<PortState>,
    pub workers: Vec<WorkerHandle>,
    pub counters: Vec<Arc<WorkerCounters>>,
    pub slow: SlowHandle,
    pub taps: TapHandle,
    pub slow_counters: Arc<SlowCounters>,
    /// Frames of each worker's memory.
    pub frames: usize,
    /// When the monotonic time of workers and slow path began.
    started: Instant,
    /// A clone for each capture that runs.
    pub captures: Arc<()>,
    /// What the audits of the open ports find.
    pub findings: Receiver<Finding>,
    audits: audit_thread::Orders,
    /// For the thread that opens ports.
    jobs: Sender<Job>,
    /// What came of the jobs.
    pub jobs_done: Receiver<Done>,
}

/// What the ports' interfaces are like before anything is changed about them.
pub(super) struct Plan {
    pub cpus: Vec<usize>,
    pub frame_size: FrameSize,
    pub frames: usize,
    /// The right to touch the ports.
    claim: Claim,
}

/// Chooses the number of workers, their CPUs and their memory, checks privileges, and claims the ports:
/// before anything is touched, for a second station would take them from the first.
pub(super) fn plan(config: &Config) -> Result<Plan, StationError> {
    let mut queues = u32::MAX;
    let mut mtu = 0;
    let mut late = false;
    for port in &config.ports {
        match af_xdp::link_of(&port.interface) {
            Ok(link) => {
                queues = queues.min(af_xdp::queue_count(&port.interface)?);
                mtu = mtu.max(link.mtu);
            }
            Err(NicError::NoInterface(_)) => late = true,
            Err(error) => return Err(error.into()),
        }
    }
    let available = cpus::allowed();
    let queues = usize::try_from(queues).unwrap_or(1).min(available.len()).max(1);
    let cpus = match &config.station.cpus[..] {
        // The last CPUs: interrupts and housekeeping gather on the first.
        [] => available[available.len().saturating_sub(queues)..].to_vec(),
        listed => listed.to_vec(),
    };
    // An MTU above what a frame carries is refused when its interface is prepared. One that comes late may
    // have any.
    let frame_size = match af_xdp::frame_size_for_mtu(mtu) {
        Some(frame_size) if !late => frame_size,
        _ => FrameSize::Large,
    };
    let per_port = frames_for_ring(config.station.ring);
    let frames = config.station.frames.unwrap_or(config.ports.len() * per_port);
    let memory = frames * frame_size.octets() * cpus.len() * config.ports.len();
    af_xdp::check_privileges(memory as u64)?;
    let claim = af_xdp::claim(&config.station.bpffs)?;
    Ok(Plan { cpus, frame_size, frames, claim })
}

/// Who is told of what.
pub(super) struct Told {
    /// Of neighbors and of tunnels' paths.
    pub slow: Sender<slowpath::Told>,
    /// Of new TAPs and of carriers.
    pub taps: Sender<Vec<String>>,
    /// Of stalls.
    pub ledger: Keeper,
}

impl Datapath {
    /// Attaches XDP to every port and starts all threads. Ports whose interface is not there are
    /// started when it appears. The workers run, and drop everything, until the first publication. The TAPs
    /// are in `namespace`.
    pub fn start(
        config: &Config,
        plan: Plan,
        namespace: &Namespace,
        fib: &FibReader,
        mut subscribers: Vec<Subscriber<Snapshot>>,
        told: Told,
    ) -> Result<Datapath, StationError> {
        let Told { slow: told, taps: taps_changed, ledger } = told;
        let vifs = usize::from(config.station.max_vifs);
        let slow_counters = Arc::new(SlowCounters::new(plan.cpus.len(), vifs));
        let Some(slow_tables) = subscribers.pop() else {
            return Err(StationError::Thread(std::io::Error::other("no subscriber")));
        };
        let devices = Arc::new(Devices::default());
        let (from_kernel, frames) = bounded(FROM_KERNEL);
        let taps = Taps { devices: devices.clone(), frames };
        let (slow_fib, counted) = (fib.clone(), slow_counters.clone());
        let started = Instant::now();
        let clock = (started, ledger.clone());
        let slow = slow_thread::spawn(slow_fib, slow_tables, counted, told, taps, clock)
            .map_err(StationError::Thread)?;
        let socket = &config.station.socket;
        let waker = slow.thread();
        let taps = tap_threads::spawn(devices, from_kernel, waker, namespace, socket, taps_changed)
            .map_err(StationError::Thread)?;
        let (mut workers, mut counters, mut peers) = (Vec::new(), Vec::new(), Vec::new());
        for (index, (&cpu, tables)) in plan.cpus.iter().zip(subscribers).enumerate() {
            let pool = Pool::new(plan.frames, plan.frame_size).map_err(StationError::Memory)?;
            info!(
                worker = index,
                cpu,
                frames = plan.frames,
                huge_pages = pool.area().is_huge(),
                "memory"
            );
            let own = Arc::new(WorkerCounters::new(config.ports.len(), vifs).numbered(index));
            let exchange = Arc::new(Exchange::new(PARCELS, vifs));
            let worker = Worker::new(
                pool,
                config.ports.len(),
                vifs,
                fib.clone(),
                tables,
                own.clone(),
                exchange.clone(),
            );
            let clock = (started, ledger.clone());
            let handle = worker_thread::spawn(index, cpu, worker, slow.thread(), clock)
                .map_err(StationError::Thread)?;
            peers.push(Peer { exchange, waker: handle.waker() });
            workers.push(handle);
            counters.push(own);
        }
        slow.connect(peers);
        let ports = config.ports.iter().cloned().map(PortState::closed);
        let (audits, findings) = audit_thread::spawn(plan.claim).map_err(StationError::Thread)?;
        let opener = Arc::new(Opener {
            workers: workers.iter().map(|worker: &WorkerHandle| worker.orders().clone()).collect(),
            bpffs: config.station.bpffs.clone(),
            ring: config.station.ring,
            frame_size: plan.frame_size,
        });
        let (jobs, jobs_done) = port_thread::spawn(opener.clone()).map_err(StationError::Thread)?;
        let mut datapath = Datapath {
            ports: ports.collect(),
            workers,
            counters,
            slow,
            taps,
            slow_counters,
            frames: plan.frames,
            started,
            captures: Arc::default(),
            findings,
            audits,
            jobs,
            jobs_done,
        };
        for id in (0..=u8::MAX).map(PortId).take(config.ports.len()) {
            match opener.open(id, &config.ports[id.index()]) {
                Ok(opened) => datapath.opened(id, opened),
                Err(error) if is_not_there(&error) => datapath.failed(id, &error),
                Err(error) => return Err(error),
            }
        }
        Ok(datapath)
    }

    /// When the monotonic time of workers and slow path began, as the clock says now: nanoseconds since 1970.
    pub fn epoch_ns(&self) -> u64 {
        now_ns().saturating_sub(nanoseconds(self.started.elapsed()))
    }

    /// Turns of each worker's loop and of the slow path's: what goes round, grows.
    pub fn turns(&self) -> impl Iterator<Item = u64> {
        let workers = self.counters.iter().map(|worker| worker.work.loops.get());
        workers.chain([self.slow_counters.turns.get()])
    }

    /// What the engine must know of the ports.
    pub fn facts(&self) -> Vec<PortFacts> {
        self.ports.iter().map(|port| port.facts).collect()
    }

    /// Follows a change of an interface. Returns the port, if it is one.
    pub fn link_event(&mut self, event: &LinkEvent) -> Option<PortId> {
        let name = match event {
            LinkEvent::Present { interface, .. } | LinkEvent::Gone { interface, .. } => interface,
        };
        let found = self.ports.iter().position(|port| port.config.interface == *name)?;
        let id = PortId(u8::try_from(found).ok()?);
        let port = &mut self.ports[found];
        if port.opening {
            // Its interface is looked at afterwards.
            port.missed = true;
            return None;
        }
        match event {
            LinkEvent::Gone { ifindex, .. } => {
                if port.program.as_ref().is_some_and(|program| program.ifindex() == *ifindex) {
                    warn!(port = %port.config.name, interface = name, "the interface is gone");
                    self.detach(id);
                }
            }
            LinkEvent::Present { ifindex, mac, mtu, up, .. } => {
                let same =
                    port.program.as_ref().is_some_and(|program| program.ifindex() == *ifindex);
                if same {
                    port.learn(*mac, *mtu, *up);
                } else {
                    // Whether up or not: XDP comes first, so that the kernel sees nothing of it.
                    self.detach(id);
                    self.open(id);
                }
            }
        }
        Some(id)
    }

    /// Takes in what an audit found. Returns the port where it is closed because of that.
    pub fn audited(&mut self, finding: Finding) -> Option<PortId> {
        let Finding { port: id, program, audit } = finding;
        let port = self.ports.get_mut(id.index())?;
        // It may have been closed, or opened anew, since.
        port.program.as_ref().filter(|current| Arc::ptr_eq(current, &program))?;
        if port.audited(audit) {
            return None;
        }
        self.detach(id);
        Some(id)
    }

    /// Has the facts asked for again that could not be read, and the ports tried again that could not be
    /// opened.
    pub fn retry(&mut self) {
        for id in (0..=u8::MAX).map(PortId).take(self.ports.len()) {
            let port = &self.ports[id.index()];
            if port.program.is_none() {
                self.open(id);
            } else if port.unread {
                self.ask(id);
            }
        }
    }

    /// Has a port opened, if that is not under way.
    fn open(&mut self, id: PortId) {
        let port = &mut self.ports[id.index()];
        if !std::mem::replace(&mut port.opening, true) {
            port.missed = false;
            // The thread ends only with this.
            drop(self.jobs.send(Job::Open(id, port.config.clone())));
        }
    }

    /// Has the kernel asked for a port's interface, if that is not under way.
    fn ask(&mut self, id: PortId) {
        let port = &mut self.ports[id.index()];
        if !std::mem::replace(&mut port.asking, true) {
            drop(self.jobs.send(Job::Ask(id, port.config.interface.clone())));
        }
    }

    /// Takes in what came of a job. Returns the port, if something may be new of it.
    pub fn done(&mut self, done: Done) -> Option<PortId> {
        match done {
            Done::Open(id, result) => {
                let port = &mut self.ports[id.index()];
                port.opening = false;
                let missed = std::mem::take(&mut port.missed);
                match result {
                    Ok(opened) => {
                        self.opened(id, opened);
                        // What came meanwhile may be newer than what was asked last.
                        if missed {
                            self.ports[id.index()].unread = true;
                            self.ask(id);
                        }
                        Some(id)
                    }
                    Err(error) => {
                        self.failed(id, &error);
                        if missed && is_not_there(&error) {
                            self.open(id);
                        }
                        None
                    }
                }
            }
            Done::Ask(id, answer) => {
                let port = &mut self.ports[id.index()];
                port.asking = false;
                // The kernel may have told of it since.
                if !port.unread {
                    return None;
                }
                let ifindex = port.program.as_ref().map(|program| program.ifindex());
                match &answer {
                    Ok(link) if ifindex != Some(link.index) => {
                        self.detach(id);
                        self.open(id);
                    }
                    Err(NicError::NoInterface(_)) => self.detach(id),
                    _ => port.take_answer(answer),
                }
                Some(id)
            }
        }
    }

    /// A port is open now.
    fn opened(&mut self, id: PortId, opened: Opened) {
        let Opened { program, nic, zero_copy, link } = opened;
        // It ends only with the process.
        drop(self.audits.send((id, Some(Open { program: program.clone(), nic }))));
        let port = &mut self.ports[id.index()];
        (port.program, port.zero_copy) = (Some(program), zero_copy);
        port.trouble = None;
        port.take_answer(link);
    }

    /// A port could not be opened: says once why not.
    fn failed(&mut self, id: PortId, error: &StationError) {
        self.detach(id);
        let port = &mut self.ports[id.index()];
        let text = error.to_string();
        if port.trouble.as_ref() != Some(&text) {
            warn!(port = %port.config.name, error = text, "the port is down; it is tried again");
            port.trouble = Some(text);
        }
    }

    /// Closes every worker's socket of a port. The program stays attached: the port is closed.
    fn detach(&mut self, id: PortId) {
        for worker in &self.workers {
            worker.orders().give(Order::Detach { port: id });
        }
        drop(self.audits.send((id, None)));
        let port = &mut self.ports[id.index()];
        (port.program, port.zero_copy) = (None, false);
        port.gone();
    }
}

/// Whether an interface is not there yet, or not up.
fn is_not_there(error: &StationError) -> bool {
    matches!(error, StationError::Nic(NicError::NoInterface(_) | NicError::Down(_)))
}
