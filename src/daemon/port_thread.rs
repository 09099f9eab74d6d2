//! Opens and closes ports: prepares the interface, attaches XDP, opens the workers' sockets, and closes those that they
//! have let go of. All of that waits, for drivers, for the kernel's lock of all interfaces, for RCU. So once the station
//! runs a thread of its own does it, a port at a time; workers and the control thread serve all others meanwhile.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam::channel::{Receiver, Sender, bounded, unbounded};
use crossbeam::select;
use tracing::{info, warn};

use super::StationError;
use super::worker_thread::{Detached, Order, Orders};
use crate::config::model::{KernelProtocol, PortConfig, XdpMode, ZeroCopy};
use crate::netlink::Link;
use crate::port::af_xdp::{
    self, AttachMode, Nic, NicError, SocketOptions, ToKernel, XdpProgram, XskError, XskPort,
};
use crate::port::{Extent, Frames};
use crate::tables::PortId;
use crate::worker::Handoffs;

/// How long the kernel may take to let go of a queue whose last socket is closed.
const LETS_GO: Duration = Duration::from_secs(2);

/// How long the slow path may take for what waits for it: all of its queues, many times over.
const TAKEN: Duration = Duration::from_secs(1);

/// A worker, for who opens its sockets.
pub(super) struct Served {
    pub orders: Orders,
    /// Its memory.
    pub area: Extent,
    /// What it hands to the slow path.
    pub handoffs: Arc<Handoffs>,
}

/// What ports need to be opened and closed.
pub(super) struct Opener {
    pub workers: Vec<Served>,
    pub bpffs: PathBuf,
    pub ring: u32,
    pub frames: Frames,
    /// Where sockets come that workers were told to let go of at once.
    pub detached: Receiver<Detached>,
}

/// A port that is open.
pub(super) struct Opened {
    pub program: Arc<XdpProgram>,
    pub nic: Arc<Nic>,
    /// Whether every worker's socket got zero-copy.
    pub zero_copy: bool,
    /// The interface afterwards: a NIC may bounce its link after an attach.
    pub link: Result<Link, NicError>,
}

/// What the thread is to do with a port. The number of a job comes back with what came of it.
pub(super) enum Job {
    /// Open it.
    Open(PortId, u64, Box<PortConfig>),
    /// Ask the kernel for its interface, of this name.
    Ask(PortId, u64, String),
    /// Close it for good: its id is to be another's.
    Close(PortId),
}

/// What came of it.
pub(super) enum Done {
    /// It is open, or some workers may have it open and must let go of it.
    Open(PortId, u64, Result<Opened, StationError>),
    /// What the kernel says of its interface.
    Ask(PortId, u64, Result<Link, NicError>),
    /// Nothing is left of it.
    Closed(PortId),
}

/// Starts the thread, which ends when nobody can give it a job any more.
///
/// # Errors
/// The system's.
pub(super) fn spawn(opener: Arc<Opener>) -> std::io::Result<(Sender<Job>, Receiver<Done>)> {
    let (jobs, their_jobs): (_, Receiver<Job>) = unbounded();
    let (their_done, done) = unbounded();
    std::thread::Builder::new().name("ports".into()).spawn(move || {
        loop {
            let job = select! {
                recv(their_jobs) -> job => job,
                recv(opener.detached) -> detached => {
                    detached.into_iter().for_each(|detached| opener.close_socket(detached));
                    continue;
                }
            };
            let Ok(job) = job else { return };
            let done = match job {
                Job::Open(id, number, config) => Done::Open(id, number, opener.open(id, &config)),
                Job::Ask(id, number, interface) => {
                    Done::Ask(id, number, af_xdp::link_of(&interface))
                }
                Job::Close(id) => {
                    opener.close(id);
                    opener.wait_for_slow_path();
                    Done::Closed(id)
                }
            };
            if their_done.send(done).is_err() {
                return;
            }
        }
    })?;
    Ok((jobs, done))
}

impl Opener {
    /// Prepares the interface, attaches XDP and opens every worker's socket, for a port that is open already too. After
    /// an error workers may have theirs open.
    ///
    /// # Errors
    /// The interface's, the program's or a socket's.
    pub fn open(&self, id: PortId, config: &PortConfig) -> Result<Opened, StationError> {
        // A queue serves one socket.
        self.close(id);
        let queues = u32::try_from(self.workers.len()).unwrap_or(u32::MAX);
        let interface = &config.interface;
        let mode = match config.xdp {
            XdpMode::Auto => AttachMode::Auto,
            XdpMode::Native => AttachMode::Native,
            XdpMode::Generic => AttachMode::Generic,
        };
        let to_kernel = to_kernel(&config.to_kernel);
        // Closed first: from here on the kernel sees nothing of the port but what is listed.
        let program = XdpProgram::attach(interface, mode, to_kernel, &self.bpffs, queues);
        let attached = program.as_ref().ok().map(XdpProgram::mode);
        let nic = Arc::new(Nic::prepare(interface, queues, self.frames, attached)?);
        let program = Arc::new(program?);
        if let Some(reason) = program.fallback() {
            warn!(interface, reason, "no native XDP: attached in generic mode");
        }
        let options = SocketOptions {
            ring: self.ring,
            zero_copy: match config.zero_copy {
                ZeroCopy::Auto => af_xdp::ZeroCopy::Auto,
                ZeroCopy::Require => af_xdp::ZeroCopy::Require,
                ZeroCopy::Off => af_xdp::ZeroCopy::Off,
            },
            busy_poll_us: config.busy_poll_us,
            chains: nic.needs_chains(),
        };
        let mut zero_copy = true;
        for (queue, worker) in (0..).zip(&self.workers) {
            let socket = self.open_socket(&program, worker.area, queue, options)?;
            zero_copy &= socket.zero_copy();
            let (reply, answer) = bounded(1);
            let (socket, program) = (Box::new(socket), program.clone());
            worker.orders.give(Order::Attach { port: id, socket, program, reply });
            if let Err((error, socket)) = answer.recv().map_err(|_| StationError::WorkerGone)? {
                worker.orders.give(Order::TakeBack(socket.close()));
                return Err(error.into());
            }
        }
        info!(
            port = %config.name, interface, mode = ?program.mode(), zero_copy, chains = nic.needs_chains(),
            taken_over = program.taken_over(), guarded = program.is_guarded(), "port open"
        );
        Ok(Opened { program, nic, zero_copy, link: af_xdp::link_of(interface) })
    }

    /// Opens a socket; where another one was closed just now, as soon as the kernel has let go of the queue.
    fn open_socket(
        &self,
        program: &XdpProgram,
        area: Extent,
        queue: u32,
        options: SocketOptions,
    ) -> Result<XskPort, XskError> {
        let deadline = Instant::now() + LETS_GO;
        loop {
            match XskPort::open(program, area, queue, options) {
                Err(XskError::Busy { .. }) if Instant::now() < deadline => {
                    // It may be that of a port that had the interface until now.
                    self.close_detached();
                    std::thread::sleep(Duration::from_millis(2));
                }
                result => return result,
            }
        }
    }

    /// Has every worker let go of a port, and closes its sockets.
    fn close(&self, id: PortId) {
        let (to, detached) = unbounded();
        for worker in &self.workers {
            worker.orders.give(Order::Detach { port: id, to: to.clone() });
        }
        drop(to);
        detached.iter().for_each(|detached| self.close_socket(detached));
        // Those that they had let go of before.
        self.close_detached();
    }

    /// Closes what workers were told to let go of at once.
    fn close_detached(&self) {
        self.detached.try_iter().for_each(|detached| self.close_socket(detached));
    }

    /// Waits until the slow path has taken what the workers had handed to it before: it came by a port whose id is to be
    /// another's. Under a flood that is over long before the time is.
    fn wait_for_slow_path(&self) {
        let deadline = Instant::now() + TAKEN;
        let waits = |worker: &Served| !worker.handoffs.is_quiet();
        while self.workers.iter().any(waits) && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    fn close_socket(&self, Detached { worker, socket }: Detached) {
        if let (Some(socket), Some(worker)) = (socket, self.workers.get(worker)) {
            worker.orders.give(Order::TakeBack(socket.close()));
        }
    }
}

fn to_kernel(protocols: &[KernelProtocol]) -> ToKernel {
    let has = |protocol| protocols.contains(&protocol);
    ToKernel {
        lacp: has(KernelProtocol::Lacp),
        lldp: has(KernelProtocol::Lldp),
        eapol: has(KernelProtocol::Eapol),
        untagged: has(KernelProtocol::Untagged),
    }
}
