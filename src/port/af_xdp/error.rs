//! Why a port could not be had, each with what to do about it.

use std::io;
use std::path::PathBuf;

use super::attachment::Attached;
use super::bpffs::BpffsError;

/// Why the program is not attached.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum XdpError {
    /// There is no such interface.
    #[error("there is no interface {0}: see `ip link`")]
    NoInterface(String),
    /// The interface could not be looked up.
    #[error("cannot look up {interface}: {source}")]
    Netlink {
        /// The interface.
        interface: String,
        /// The kernel's answer.
        source: io::Error,
    },
    /// There is nowhere to pin the link.
    #[error(transparent)]
    Bpffs(#[from] BpffsError),
    /// The kernel does not take the program.
    #[error(
        "cannot load the XDP program: {0}; it needs CAP_BPF and CAP_NET_ADMIN, and a kernel from 5.9 with BPF"
    )]
    Load(String),
    /// Somebody else's program is there.
    #[error(
        "{interface} already has an XDP program, {name} (id {id}), that is not this station's: remove it first (`bpftool net show dev {interface}` tells how it is attached; `ip link set dev {interface} xdp off` removes one without a link)"
    )]
    Foreign {
        /// The interface.
        interface: String,
        /// The program's name.
        name: String,
        /// The program's id.
        id: u32,
    },
    /// The pinned link is attached in the mode that the configuration rules out.
    #[error(
        "{interface} has this station's program in {attached} mode and the configuration wants the other; on this kernel (before Linux 6.6) the change opens the port for a moment, so it is yours to make: `stationd detach`, then start again"
    )]
    Mode {
        /// The interface.
        interface: String,
        /// The mode that it has.
        attached: Attached,
    },
    /// The pin belongs to an interface that lives under another name or in another namespace.
    #[error(
        "{pin} is the link of another interface (index {ifindex}), not of {interface}: if that was renamed, `stationd detach` under its old name first; if it is another station's, give this one a bpffs directory of its own"
    )]
    OtherInterface {
        /// The interface.
        interface: String,
        /// The pin.
        pin: PathBuf,
        /// The index of the link's interface.
        ifindex: u32,
    },
    /// The kernel refused to attach.
    #[error("cannot attach XDP to {interface} in {mode} mode: {source}")]
    Attach {
        /// The interface.
        interface: String,
        /// The mode.
        mode: Attached,
        /// The kernel's answer.
        source: io::Error,
    },
    /// The kernel refused to attach the guard.
    #[error("cannot attach the guard behind XDP to {interface}: {source}")]
    Guard {
        /// The interface.
        interface: String,
        /// The kernel's answer.
        source: io::Error,
    },
    /// A pin could not be read, made or removed.
    #[error("cannot {action} {pin}: {source}")]
    Pin {
        /// What was tried.
        action: &'static str,
        /// The pin.
        pin: PathBuf,
        /// The kernel's answer.
        source: io::Error,
    },
    /// A socket could not be entered into the map.
    #[error(
        "{interface} queue {queue}: cannot enter its socket into the XDP program's map: {reason}"
    )]
    Register {
        /// The interface.
        interface: String,
        /// Its queue.
        queue: u32,
        /// The kernel's answer.
        reason: String,
    },
}

/// Why a socket could not be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum XskError {
    /// The ring size is unusable.
    #[error("a ring of {0} entries: make it a power of two from 64 to 32768")]
    Ring(u32),
    /// Zero-copy is required and cannot be had.
    #[error(
        "{interface} queue {queue}: zero-copy is required but not granted ({reason}): set zero_copy = \"auto\" to fall back to copying"
    )]
    NoZeroCopy {
        /// The interface.
        interface: String,
        /// Its queue.
        queue: u32,
        /// Why.
        reason: String,
    },
    /// Another socket has the queue.
    #[error(
        "{interface} queue {queue} is in use by another AF_XDP socket: stop the program that has it (`ss --xdp -p` lists them)"
    )]
    Busy {
        /// The interface.
        interface: String,
        /// Its queue.
        queue: u32,
    },
    /// The interface has not that many queues.
    #[error("{interface} has no queue {queue}: see `ethtool -l {interface}`")]
    NoQueue {
        /// The interface.
        interface: String,
        /// Its queue.
        queue: u32,
    },
    /// Its MTU needs packets in several frames, and the kernel is too old for them.
    #[error(
        "{interface} has an MTU of more than a frame has room for, and this kernel knows no packets in several frames (Linux does since 6.6): lower its MTU to {most} (ip link set ... mtu {most}), or take a newer kernel"
    )]
    NoChains {
        /// The interface.
        interface: String,
        /// The largest MTU that goes without.
        most: u32,
    },
    /// The kernel's answer to another step.
    #[error("{interface} queue {queue}: cannot {step}: {source}{advice}")]
    System {
        /// The interface.
        interface: String,
        /// Its queue.
        queue: u32,
        /// What was tried.
        step: &'static str,
        /// What to do about it.
        advice: &'static str,
        /// The kernel's answer.
        source: io::Error,
    },
    /// The socket could not be entered into the XDP program's map.
    #[error(transparent)]
    Program(#[from] XdpError),
}
