//! The daemon: starts the threads, joins them, and runs the control thread.

mod control_thread;
mod datapath;
mod slow_thread;
mod worker_thread;

pub use control_thread::run;

use crate::control::CommitError;
use crate::control::config::ConfigError;
use crate::fib::FibError;
use crate::port::af_xdp::{NicError, PrivilegeError, XdpError, XskError};

/// Why the station could not start, or had to stop.
#[derive(Debug, thiserror::Error)]
pub enum StationError {
    /// The configuration file.
    #[error("{0}")]
    Config(Box<ConfigError>),
    /// Capabilities or limits.
    #[error(transparent)]
    Privilege(#[from] PrivilegeError),
    /// An interface.
    #[error(transparent)]
    Nic(#[from] NicError),
    /// The XDP program.
    #[error(transparent)]
    Xdp(#[from] XdpError),
    /// A socket.
    #[error(transparent)]
    Xsk(#[from] XskError),
    /// No memory for frames.
    #[error("cannot get memory for frames: {0}; lower [station] frames or ring")]
    Memory(std::io::Error),
    /// No memory for routes.
    #[error(transparent)]
    Fib(#[from] FibError),
    /// The configuration does not fit this machine.
    #[error(transparent)]
    Commit(#[from] CommitError),
    /// A thread could not be started.
    #[error("cannot start a thread: {0}")]
    Thread(std::io::Error),
    /// A worker ended, which it never should.
    #[error("a worker ended unexpectedly")]
    WorkerGone,
}
