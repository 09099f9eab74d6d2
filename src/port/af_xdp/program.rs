//! The programs of one interface: loaded, attached by pinned links, with the map from queues to
//! sockets.
//!
//! The pinned link of the XDP program is what makes a port fail closed: it outlives the process, while
//! the kernel takes dead sockets out of the map, so the program drops until the next station takes the
//! link over. The guard behind it drops what reaches the kernel's stack past it.

use std::fmt;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use aya::maps::{Array, MapData, PerCpuArray, XskMap};
use aya::programs::{SchedClassifier, Xdp};
use aya::{EbpfLoader, include_bytes_aligned};

use super::attachment::{AttachMode, Attached, Attachment, Loaded};
use super::error::XdpError;
use crate::netlink::Link;
use crate::port::stamp::Stamping;

/// The compiled program: `xdp/station.bpf.c`.
pub static PROGRAM: &[u8] = include_bytes_aligned!(concat!(env!("OUT_DIR"), "/station.bpf.o"));

/// Names in the object file.
const FUNCTION: &str = "station";
const GUARD: &str = "guard";
const SOCKETS: &str = "sockets";
const COUNTERS: &str = "counters";
const TO_KERNEL: &str = "to_kernel";
const NUMBERS: &str = "numbers";
/// The section of `stamping`, which alone is in it.
const STAMPING: &str = ".bss";

/// What the kernel still sees of a port; all else is the workers'.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ToKernel {
    /// Slow protocols (LACP), ethertype 0x8809.
    pub lacp: bool,
    /// LLDP, ethertype 0x88cc.
    pub lldp: bool,
    /// 802.1X, ethertype 0x888e.
    pub eapol: bool,
    /// Everything without an 802.1Q or 802.1ad tag.
    pub untagged: bool,
}

impl ToKernel {
    /// As the program's `to_kernel` takes it.
    pub fn bits(self) -> u32 {
        u32::from(self.lacp)
            | u32::from(self.lldp) << 1
            | u32::from(self.eapol) << 2
            | u32::from(self.untagged) << 3
    }
}

/// What the program did with the frames of a port since it was loaded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct XdpCounters {
    /// Sent to a worker's socket, which may still have dropped them ([`super::XskStatistics`]).
    pub redirected: u64,
    /// Passed to the kernel, as listed.
    pub to_kernel: u64,
    /// Dropped: the queue has no live socket.
    pub no_socket: u64,
    /// Dropped: shorter than an Ethernet header.
    pub malformed: u64,
    /// Dropped by the guard: they had reached the kernel's stack past the program, or had passed it and
    /// are not listed.
    pub bypassed: u64,
}

/// The program on one interface. Dropping it leaves the program attached, and dropping frames once
/// the sockets are gone; [`super::detach`] takes it off.
pub struct XdpProgram {
    interface: String,
    ifindex: u32,
    mode: Attached,
    attachment: Mutex<Attachment>,
    sockets: Mutex<XskMap<MapData>>,
    counters: PerCpuArray<MapData, u64>,
    stamping: Mutex<(Array<MapData, u64>, Option<Stamping>)>,
}

impl XdpProgram {
    /// Attaches the program to an interface of `queues` queues, or takes over the link that an
    /// earlier station left pinned under `bpffs`.
    ///
    /// # Errors
    /// [`XdpError`]; what was attached before still is.
    pub fn attach(
        interface: &str,
        mode: AttachMode,
        to_kernel: ToKernel,
        bpffs: &Path,
        queues: u32,
    ) -> Result<XdpProgram, XdpError> {
        let mut ebpf = EbpfLoader::new()
            .override_global(TO_KERNEL, &to_kernel.bits(), true)
            .map_max_entries(SOCKETS, queues)
            .map_max_entries(NUMBERS, queues)
            .load(PROGRAM)
            .map_err(load_error)?;
        let missing = |what: &str| XdpError::Load(format!("no {what} in the object file"));
        let sockets = ebpf.take_map(SOCKETS).ok_or_else(|| missing(SOCKETS))?;
        let counters = ebpf.take_map(COUNTERS).ok_or_else(|| missing(COUNTERS))?;
        let stamping = ebpf.take_map(STAMPING).ok_or_else(|| missing(STAMPING))?;
        let stamping = Array::try_from(stamping).map_err(load_error)?;
        let own = |fd: BorrowedFd<'_>| fd.try_clone_to_owned().map_err(load_error);
        let guard = ebpf.program_mut(GUARD).ok_or_else(|| missing(GUARD))?;
        let guard: &mut SchedClassifier = guard.try_into().map_err(load_error)?;
        guard.load().map_err(load_error)?;
        let guard = own(guard.fd().map_err(load_error)?.as_fd())?;
        let program = ebpf.program_mut(FUNCTION).ok_or_else(|| missing(FUNCTION))?;
        let program: &mut Xdp = program.try_into().map_err(load_error)?;
        program.load().map_err(load_error)?;
        let id = program.info().map_err(load_error)?.id();
        let station = own(program.fd().map_err(load_error)?.as_fd())?;
        let attachment = Attachment::new(interface, mode, bpffs, Loaded { station, id, guard })?;
        Ok(XdpProgram {
            interface: interface.to_owned(),
            ifindex: attachment.ifindex,
            mode: attachment.mode,
            attachment: Mutex::new(attachment),
            sockets: Mutex::new(XskMap::try_from(sockets).map_err(load_error)?),
            counters: PerCpuArray::try_from(counters).map_err(load_error)?,
            stamping: Mutex::new((stamping, None)),
        })
    }

    /// The interface's name.
    pub fn interface(&self) -> &str {
        &self.interface
    }

    /// The interface's index.
    pub fn ifindex(&self) -> u32 {
        self.ifindex
    }

    /// How it is attached.
    pub fn mode(&self) -> Attached {
        self.mode
    }

    /// Why it is attached in generic mode though native was tried first.
    pub fn fallback(&self) -> Option<String> {
        self.attachment().fallback.clone()
    }

    /// Whether it took over the link of an earlier station, which had kept the port closed.
    pub fn taken_over(&self) -> bool {
        self.attachment().taken_over
    }

    /// Whether a guard stands behind the program: on kernels from 6.6.
    pub fn is_guarded(&self) -> bool {
        self.attachment().is_guarded()
    }

    /// Puts back what another hand took away of links and pins. `state`: the interface now. Returns what
    /// was missing.
    ///
    /// # Errors
    /// What could not be put back.
    pub(super) fn restore(&self, state: &Link) -> Result<Vec<String>, XdpError> {
        self.attachment().restore(state)
    }

    fn attachment(&self) -> MutexGuard<'_, Attachment> {
        self.attachment.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sends the frames of a queue to a socket.
    ///
    /// # Errors
    /// [`XdpError::Register`]: the queue is not one of those that the program was attached for, or
    /// `socket` is not an AF_XDP socket.
    pub fn register(&self, queue: u32, socket: BorrowedFd<'_>) -> Result<(), XdpError> {
        let mut sockets = self.sockets.lock().unwrap_or_else(PoisonError::into_inner);
        sockets.set(queue, socket.as_raw_fd(), 0).map_err(|e| XdpError::Register {
            interface: self.interface.clone(),
            queue,
            reason: chain(&e),
        })
    }

    /// Drops the frames of a queue from now on. The kernel does it by itself when a socket closes.
    pub fn unregister(&self, queue: u32) {
        let mut sockets = self.sockets.lock().unwrap_or_else(PoisonError::into_inner);
        // It fails where there is no socket, which is what was asked for.
        let _ = sockets.unset(queue);
    }

    /// Which frames are stamped; none where it does not stamp any.
    pub fn stamping(&self) -> Option<Stamping> {
        self.stamping.lock().unwrap_or_else(PoisonError::into_inner).1
    }

    /// Stamps these frames from now on, or none.
    ///
    /// # Errors
    /// The kernel's.
    pub fn stamp(&self, stamping: Option<Stamping>) -> io::Result<()> {
        let mut held = self.stamping.lock().unwrap_or_else(PoisonError::into_inner);
        held.0.set(0, stamping.map_or(0, Stamping::word), 0).map_err(io::Error::other)?;
        held.1 = stamping;
        Ok(())
    }

    /// What the program did so far.
    ///
    /// # Errors
    /// The kernel's.
    pub fn counters(&self) -> io::Result<XdpCounters> {
        let sum = |index: u32| {
            let values = self.counters.get(&index, 0).map_err(io::Error::other)?;
            Ok::<u64, io::Error>(values.iter().sum())
        };
        Ok(XdpCounters {
            redirected: sum(0)?,
            to_kernel: sum(1)?,
            no_socket: sum(2)?,
            malformed: sum(3)?,
            bypassed: sum(4)?,
        })
    }
}

impl fmt::Debug for XdpProgram {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("XdpProgram")
            .field("interface", &self.interface)
            .field("ifindex", &self.ifindex)
            .field("mode", &self.mode)
            .finish_non_exhaustive()
    }
}

fn load_error(error: impl std::error::Error) -> XdpError {
    XdpError::Load(chain(&error))
}

/// An error with its causes: the loader's say what failed, and only their cause says why.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        source = cause.source();
    }
    text
}
