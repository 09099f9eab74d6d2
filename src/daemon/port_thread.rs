//! Opens ports: prepares the interface, attaches XDP, and has every worker open its socket. All of that waits,
//! for drivers, for the kernel's lock of all interfaces, for workers. So once the station runs a thread of
//! its own does it, a port at a time, and the control thread serves links, peers and neighbors meanwhile.

use std::path::PathBuf;
use std::sync::Arc;

use crossbeam::channel::{Receiver, Sender, bounded, unbounded};
use tracing::{info, warn};

use super::StationError;
use super::worker_thread::{Order, Orders};
use crate::config::model::{KernelProtocol, PortConfig, XdpMode, ZeroCopy};
use crate::netlink::Link;
use crate::port::FrameSize;
use crate::port::af_xdp::{self, AttachMode, Nic, NicError, SocketOptions, ToKernel, XdpProgram};
use crate::tables::PortId;

/// What a port needs to be opened.
pub(super) struct Opener {
    pub workers: Vec<Orders>,
    pub bpffs: PathBuf,
    pub ring: u32,
    pub frame_size: FrameSize,
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

/// What the thread is to do with a port.
pub(super) enum Job {
    /// Open it.
    Open(PortId, PortConfig),
    /// Ask the kernel for its interface, of this name.
    Ask(PortId, String),
}

/// What came of it.
pub(super) enum Done {
    /// It is open, or some workers may have it open and must close it.
    Open(PortId, Result<Opened, StationError>),
    /// What the kernel says of its interface.
    Ask(PortId, Result<Link, NicError>),
}

/// Starts the thread, which ends when nobody can give it a job any more.
///
/// # Errors
/// The system's.
pub(super) fn spawn(opener: Arc<Opener>) -> std::io::Result<(Sender<Job>, Receiver<Done>)> {
    let (jobs, their_jobs): (_, Receiver<Job>) = unbounded();
    let (their_done, done) = unbounded();
    std::thread::Builder::new().name("ports".into()).spawn(move || {
        for job in their_jobs {
            let done = match job {
                Job::Open(id, config) => Done::Open(id, opener.open(id, &config)),
                Job::Ask(id, interface) => Done::Ask(id, af_xdp::link_of(&interface)),
            };
            if their_done.send(done).is_err() {
                return;
            }
        }
    })?;
    Ok((jobs, done))
}

impl Opener {
    /// Prepares the interface, attaches XDP and opens every worker's socket. After an error workers may have
    /// theirs open.
    ///
    /// # Errors
    /// The interface's, the program's or a socket's.
    pub fn open(&self, id: PortId, config: &PortConfig) -> Result<Opened, StationError> {
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
        let nic = Arc::new(Nic::prepare(interface, queues, self.frame_size, attached)?);
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
        };
        let mut zero_copy = true;
        for worker in &self.workers {
            let (reply, answer) = bounded(1);
            worker.give(Order::Attach { port: id, program: program.clone(), options, reply });
            zero_copy &= answer.recv().map_err(|_| StationError::WorkerGone)??;
        }
        info!(
            port = %config.name, interface, mode = ?program.mode(), zero_copy,
            taken_over = program.taken_over(), guarded = program.is_guarded(), "port open"
        );
        Ok(Opened { program, nic, zero_copy, link: af_xdp::link_of(interface) })
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
