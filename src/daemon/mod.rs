//! The daemon: starts the threads, joins them, and runs the control thread.

mod acls;
mod address_limits;
mod announce;
mod answer;
mod audit_thread;
mod bandwidth;
mod bgp;
mod billing;
mod book;
mod calls;
mod captures;
mod change;
mod config_file;
mod consent;
mod control_thread;
mod counters;
mod cpus;
mod datapath;
mod descriptors;
mod desk;
mod draft;
mod drain;
mod drill;
mod drops;
mod event_stream;
mod events;
mod exchanges;
mod explain;
mod failover;
mod flow_log;
mod flow_thread;
mod followers;
mod heartbeat;
mod history;
mod holds;
mod init;
mod kept;
mod latency;
mod mappings;
mod metrics;
mod mirrors;
mod opening;
mod outages;
mod ping;
mod port_details;
mod port_state;
mod port_thread;
mod ports;
mod privilege;
mod probe_history;
mod probe_thread;
mod probes;
mod qos;
mod rates;
mod reachability;
mod routes;
mod rpki;
mod sampling;
mod slow_thread;
mod start;
mod stations;
mod stop;
mod talkers;
mod tap_threads;
mod told;
mod translations;
mod trial;
mod tunnels;
mod view;
mod watch_thread;
mod worker_thread;

pub use init::{InitError, init};
pub use start::run;

use std::path::Path;

use crate::admin::client;
use crate::admin::protocol::Request;
use crate::admin::rows::PortRow;
use crate::bird::ProcessError;
use crate::config::model::Config;
use crate::config::{self, ConfigError};
use crate::control::CommitError;
use crate::fib::FibError;
use crate::netns::NamespaceError;
use crate::port::af_xdp::{self, BpffsError, NicError, PrivilegeError, XdpError, XskError};

/// Checks a configuration file without starting anything, and says what it holds.
///
/// # Errors
/// All that is wrong with it.
pub fn check(file: &Path) -> Result<(), StationError> {
    let (config, _) = config::load(file).map_err(|error| StationError::Config(Box::new(error)))?;
    match bgp::check(&config) {
        Err(ProcessError::Program { program, error })
            if error.kind() == std::io::ErrorKind::NotFound =>
        {
            println!("{program} is not here: whether it takes the BGP sessions is not checked");
        }
        checked => checked?,
    }
    if let Some(exposed) = config::exposure(file, &config) {
        println!("warning: {exposed}");
    }
    let listed: usize = config.route_lists.iter().map(|list| list.prefixes.len()).sum();
    println!(
        "{}: {} ports, {} VRFs, {} VIFs, {} routes: correct",
        file.display(),
        config.ports.len(),
        config.vrfs.len(),
        config.vifs.len(),
        config.routes.len() + listed
    );
    Ok(())
}

/// Takes the XDP program off every port of a configuration.
///
/// # Errors
/// The first port's that could not be opened.
pub fn detach(file: &Path) -> Result<(), StationError> {
    let (config, _) = config::load(file).map_err(|error| StationError::Config(Box::new(error)))?;
    // A running station would not notice that its ports are open.
    let _claim = af_xdp::claim(&config.station.bpffs)?;
    for port in &config.ports {
        let state = open_to_kernel(&config, &port.interface)?;
        println!("{} ({}): {state}", port.name, port.interface);
    }
    Ok(())
}

/// Takes the XDP program off an interface that was a port, also while the station runs.
///
/// # Errors
/// It is a port, or could not be opened.
pub fn detach_former(file: &Path, interface: &str) -> Result<(), StationError> {
    let (config, _) = config::load(file).map_err(|error| StationError::Config(Box::new(error)))?;
    let mut ports: Vec<(String, String)> = Vec::new();
    ports.extend(config.ports.iter().map(|port| (port.name.to_string(), port.interface.clone())));
    // What a running station has may be another configuration.
    let _claim = match af_xdp::claim(&config.station.bpffs) {
        Ok(claim) => Some(claim),
        Err(error) => {
            let running = client::all::<PortRow>(&config.station.socket, &Request::ShowPorts);
            let running = running.map_err(|_| StationError::Bpffs(error))?;
            ports.extend(running.into_iter().map(|port| (port.name, port.interface)));
            None
        }
    };
    if let Some((port, _)) = ports.into_iter().find(|(_, of)| of == interface) {
        return Err(StationError::IsPort { interface: interface.to_owned(), port });
    }
    println!("{interface}: {}", open_to_kernel(&config, interface)?);
    Ok(())
}

fn open_to_kernel(config: &Config, interface: &str) -> Result<&'static str, StationError> {
    let was_closed = af_xdp::detach(&config.station.bpffs, interface)?;
    Ok(if was_closed { "open to the kernel now" } else { "was not attached" })
}

/// Why the station could not start, or had to stop.
#[derive(Debug, thiserror::Error)]
pub enum StationError {
    /// The configuration file.
    #[error("{}", .0.report())]
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
    /// The directory of pinned links.
    #[error(transparent)]
    Bpffs(#[from] BpffsError),
    /// A socket.
    #[error(transparent)]
    Xsk(#[from] XskError),
    /// The network namespace of TAPs and BIRD.
    #[error(transparent)]
    Namespace(#[from] NamespaceError),
    /// No memory for frames.
    #[error("cannot get memory for frames: {0}; lower [station] frames or ring")]
    Memory(std::io::Error),
    /// No memory for routes.
    #[error(transparent)]
    Fib(#[from] FibError),
    /// The configuration does not fit this machine.
    #[error(transparent)]
    Commit(#[from] CommitError),
    /// Privileges that are not needed could not be given away.
    #[error("cannot give away privileges: {0}")]
    Drop(std::io::Error),
    /// A thread could not be started.
    #[error("cannot start a thread: {0}")]
    Thread(std::io::Error),
    /// The admin socket.
    #[error("cannot serve {}: {error}", path.display())]
    Socket {
        /// Its path.
        path: std::path::PathBuf,
        /// Why.
        error: std::io::Error,
    },
    /// The routing daemon does not take what the configuration makes.
    #[error(transparent)]
    Bird(#[from] ProcessError),
    /// A first configuration could not be written.
    #[error(transparent)]
    Init(#[from] InitError),
    /// An interface is a port, and stays closed.
    #[error("{interface} is port {port}: `stationctl port del {port}` first")]
    IsPort {
        /// The interface.
        interface: String,
        /// The port.
        port: String,
    },
    /// A worker ended, which it never should.
    #[error("a worker ended unexpectedly")]
    WorkerGone,
}
