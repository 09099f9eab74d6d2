//! The running data path: ports, workers and the slow path, as the control thread holds them.

use std::sync::Arc;
use std::time::Instant;

use crossbeam::channel::{Receiver, Sender, bounded, unbounded};
use tracing::info;

use super::StationError;
use super::audit_thread::{self, Finding};
use super::cpus;
use super::port_thread::{self, Done, Opener, Served};
use super::ports::{Hands, Ports, Room};
use super::slow_thread::{self, Peer, SlowHandle, Taps};
use super::tap_threads::{self, TapHandle};
use super::worker_thread::{self, WorkerHandle};
use crate::clock::{nanoseconds, now_ns};
use crate::config::model::Config;
use crate::fib::FibReader;
use crate::ledger::Keeper;
use crate::netns::Namespace;
use crate::port::af_xdp::{self, Claim, NicError, frames_for_ring};
use crate::port::{Frames, LARGEST_MTU, Pool};
use crate::publish::Subscriber;
use crate::slowpath;
use crate::tables::Snapshot;
use crate::tables::counters::{SlowCounters, WorkerCounters};
use crate::tap::Devices;
use crate::worker::{Handoffs, Worker};

/// Frames between a worker and the slow path, each way.
const PARCELS: usize = 2048;

/// Frames of the kernel that wait for the slow path; more wait in their TAPs.
const FROM_KERNEL: usize = 64;

/// The running data path.
pub(super) struct Datapath {
    pub ports: Ports,
    pub workers: Vec<WorkerHandle>,
    pub counters: Vec<Arc<WorkerCounters>>,
    pub slow: SlowHandle,
    pub taps: TapHandle,
    pub slow_counters: Arc<SlowCounters>,
    /// Frames of each worker's memory.
    pub frames: usize,
    /// When the monotonic time of workers and slow path began.
    pub started: Instant,
    /// A clone for each capture that runs.
    pub captures: Arc<()>,
    /// What the audits of the open ports find.
    pub findings: Receiver<Finding>,
    /// What came of the jobs of the thread that opens and closes ports.
    pub jobs_done: Receiver<Done>,
}

/// What the ports' interfaces are like before anything is changed about them.
pub(super) struct Plan {
    pub cpus: Vec<usize>,
    pub frames: Frames,
    /// How many frames each worker has.
    pub count: usize,
    /// How many ports there is memory for.
    pub ports: usize,
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
    // An MTU above what any packet may have is refused when its interface is prepared. One that comes late may
    // have any.
    let mtu = if late { mtu.max(LARGEST_MTU) } else { mtu };
    let frames = af_xdp::frames_for_mtu(mtu);
    let per_port = frames_for_ring(config.station.ring);
    let ports = config.most_ports();
    let count = config.station.frames.unwrap_or(ports * per_port);
    // Each socket registers all of its worker's.
    let memory = count * frames.size.octets() * cpus.len() * ports;
    af_xdp::check_privileges(memory as u64)?;
    let claim = af_xdp::claim(&config.station.bpffs)?;
    Ok(Plan { cpus, frames, count, ports, claim })
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
        let mut served = Vec::new();
        for (index, (&cpu, tables)) in plan.cpus.iter().zip(subscribers).enumerate() {
            let pool = Pool::new(plan.count, plan.frames.size).map_err(StationError::Memory)?;
            info!(
                worker = index,
                cpu,
                frames = plan.count,
                huge_pages = pool.area().is_huge(),
                "memory"
            );
            let own = Arc::new(WorkerCounters::new(plan.ports, vifs).numbered(index));
            let handoffs = Arc::new(Handoffs::new(PARCELS, plan.frames.longest(), vifs));
            let area = pool.area().extent();
            let worker = Worker::new(
                pool,
                plan.ports,
                vifs,
                fib.clone(),
                tables,
                own.clone(),
                handoffs.clone(),
            );
            let clock = (started, ledger.clone());
            let handle = worker_thread::spawn(index, cpu, worker, slow.thread(), clock)
                .map_err(StationError::Thread)?;
            peers.push(Peer { handoffs: handoffs.clone(), waker: handle.waker() });
            let orders = handle.orders().clone();
            served.push(Served { orders, area, handoffs });
            workers.push(handle);
            counters.push(own);
        }
        slow.connect(peers);
        let (audits, findings) = audit_thread::spawn(plan.claim).map_err(StationError::Thread)?;
        let (detached, their_detached) = unbounded();
        let orders = served.iter().map(|worker| worker.orders.clone()).collect();
        let opener = Arc::new(Opener {
            workers: served,
            bpffs: config.station.bpffs.clone(),
            ring: config.station.ring,
            frames: plan.frames,
            detached: their_detached,
        });
        let (jobs, jobs_done) = port_thread::spawn(opener.clone()).map_err(StationError::Thread)?;
        let queues = u32::try_from(workers.len()).unwrap_or(u32::MAX);
        let room = Room { most: plan.ports, queues, frames: plan.frames };
        let mut ports = Ports::closed(config, room, Hands { orders, detached, jobs, audits });
        for port in &config.ports {
            ports.begin(port.id, opener.open(port.id, port))?;
        }
        Ok(Datapath {
            ports,
            workers,
            counters,
            slow,
            taps,
            slow_counters,
            frames: plan.count,
            started,
            captures: Arc::default(),
            findings,
            jobs_done,
        })
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
}
