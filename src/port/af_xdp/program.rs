//! The XDP program on one interface: loads it, attaches it by a link pinned in a BPF file system,
//! and keeps its map from queues to sockets.
//!
//! The pinned link is what makes a port fail closed: it outlives the process, while the kernel takes
//! dead sockets out of the map, so the program drops until the next station takes the link over. That
//! replaces the program in one step, so that no frame reaches the kernel in between.

use std::fmt;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use aya::maps::{MapData, PerCpuArray, XskMap};
use aya::programs::{Xdp, loaded_programs};
use aya::{EbpfLoader, include_bytes_aligned};

use super::bpf::{XDP_FLAGS_DRV_MODE, XDP_FLAGS_SKB_MODE, XdpLink};
use super::bpffs;
use super::error::XdpError;
use crate::netlink::{self, Link};

/// The compiled program: `xdp/station.bpf.c`.
pub static PROGRAM: &[u8] = include_bytes_aligned!(concat!(env!("OUT_DIR"), "/station.bpf.o"));

/// Names in the object file.
const FUNCTION: &str = "station";
const SOCKETS: &str = "sockets";
const COUNTERS: &str = "counters";
const TO_KERNEL: &str = "to_kernel";

/// How to attach.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AttachMode {
    /// Native where the driver can, else generic.
    #[default]
    Auto,
    /// In the driver, or not at all.
    Native,
    /// In the kernel's generic receive path.
    Generic,
}

/// How the program is attached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attached {
    /// In the driver.
    Native,
    /// In the kernel's generic receive path.
    Generic,
}

impl fmt::Display for Attached {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Attached::Native => "native",
            Attached::Generic => "generic",
        })
    }
}

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
}

/// The program on one interface. Dropping it leaves the program attached, and dropping frames once
/// the sockets are gone; [`detach`] takes it off.
pub struct XdpProgram {
    interface: String,
    ifindex: u32,
    mode: Attached,
    fallback: Option<String>,
    taken_over: bool,
    _link: XdpLink,
    sockets: Mutex<XskMap<MapData>>,
    counters: PerCpuArray<MapData, u64>,
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
        let state = find(interface)?;
        bpffs::ensure(bpffs)?;
        let pin = pin_path(bpffs, interface);
        let mut ebpf = EbpfLoader::new()
            .override_global(TO_KERNEL, &to_kernel.bits(), true)
            .map_max_entries(SOCKETS, queues)
            .load(PROGRAM)
            .map_err(load_error)?;
        let missing = |what: &str| XdpError::Load(format!("no {what} in the object file"));
        let sockets = ebpf.take_map(SOCKETS).ok_or_else(|| missing(SOCKETS))?;
        let counters = ebpf.take_map(COUNTERS).ok_or_else(|| missing(COUNTERS))?;
        let program = ebpf.program_mut(FUNCTION).ok_or_else(|| missing(FUNCTION))?;
        let program: &mut Xdp = program.try_into().map_err(load_error)?;
        program.load().map_err(load_error)?;
        let program = program.fd().map_err(load_error)?.as_fd();

        let (link, mode, fallback, taken_over) =
            match take_over(interface, &state, mode, &pin, program)? {
                Some((link, mode)) => (link, mode, None, true),
                None => {
                    refuse_foreign(interface, &state)?;
                    let (link, mode, fallback) = create(interface, state.index, mode, program)?;
                    link.pin(&pin).map_err(pin_error("pin the XDP link at", &pin))?;
                    (link, mode, fallback, false)
                }
            };
        Ok(XdpProgram {
            interface: interface.to_owned(),
            ifindex: state.index,
            mode,
            fallback,
            taken_over,
            _link: link,
            sockets: Mutex::new(XskMap::try_from(sockets).map_err(load_error)?),
            counters: PerCpuArray::try_from(counters).map_err(load_error)?,
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
    pub fn fallback(&self) -> Option<&str> {
        self.fallback.as_deref()
    }

    /// Whether it took over the link of an earlier station, which had kept the port closed.
    pub fn taken_over(&self) -> bool {
        self.taken_over
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

/// Takes the station's program off an interface and removes its pin, also where a station runs. The
/// kernel sees the interface's frames again. False where there is no pin.
///
/// # Errors
/// [`XdpError::Pin`]: the pin is not an XDP link, or may not be removed.
pub fn detach(bpffs: &Path, interface: &str) -> Result<bool, XdpError> {
    let pin = pin_path(bpffs, interface);
    let link = match XdpLink::open(&pin) {
        Ok(link) => link,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(e) => return Err(pin_error("open", &pin)(e)),
    };
    let info = link.info().map_err(pin_error("detach", &pin))?;
    if info.ifindex != 0 {
        link.detach().map_err(pin_error("detach", &pin))?;
    }
    std::fs::remove_file(&pin).map_err(pin_error("remove", &pin))?;
    Ok(true)
}

/// The link that an earlier station left, now with the new program.
fn take_over(
    interface: &str,
    state: &Link,
    mode: AttachMode,
    pin: &Path,
    program: BorrowedFd<'_>,
) -> Result<Option<(XdpLink, Attached)>, XdpError> {
    let link = match XdpLink::open(pin) {
        Ok(link) => link,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(pin_error("open", pin)(e)),
    };
    let info = link.info().map_err(pin_error("take over", pin))?;
    if info.ifindex == 0 {
        // The interface that it was attached to is gone; this one is new.
        std::fs::remove_file(pin).map_err(pin_error("remove", pin))?;
        return Ok(None);
    }
    // Indices of interfaces repeat in other network namespaces, ids of programs do not.
    let attached = state.xdp.filter(|xdp| xdp.program == info.program);
    let Some(attached) = attached.filter(|_| info.ifindex == state.index) else {
        return Err(XdpError::OtherInterface {
            interface: interface.to_owned(),
            pin: pin.to_owned(),
            ifindex: info.ifindex,
        });
    };
    let attached = if attached.native { Attached::Native } else { Attached::Generic };
    match (mode, attached) {
        (AttachMode::Native, Attached::Generic) | (AttachMode::Generic, Attached::Native) => {
            return Err(XdpError::Mode { interface: interface.to_owned(), attached });
        }
        _ => {}
    }
    link.update(program).map_err(pin_error("put the new program on", pin))?;
    Ok(Some((link, attached)))
}

/// An error where the interface has a program.
fn refuse_foreign(interface: &str, state: &Link) -> Result<(), XdpError> {
    let Some(xdp) = state.xdp else { return Ok(()) };
    let name = loaded_programs()
        .filter_map(Result::ok)
        .find(|program| program.id() == xdp.program)
        .and_then(|program| program.name_as_str().map(str::to_owned))
        .filter(|name| !name.is_empty())
        .unwrap_or_else(|| "unnamed".to_owned());
    Err(XdpError::Foreign { interface: interface.to_owned(), name, id: xdp.program })
}

/// A new link; why it is generic though native was tried.
fn create(
    interface: &str,
    ifindex: u32,
    mode: AttachMode,
    program: BorrowedFd<'_>,
) -> Result<(XdpLink, Attached, Option<String>), XdpError> {
    let attach = |mode| {
        let flags = match mode {
            Attached::Native => XDP_FLAGS_DRV_MODE,
            Attached::Generic => XDP_FLAGS_SKB_MODE,
        };
        XdpLink::create(program, ifindex, flags).map_err(|source| {
            // Somebody was faster.
            if matches!(source.raw_os_error(), Some(libc::EBUSY | libc::EEXIST))
                && let Ok(state) = find(interface)
                && let Err(foreign) = refuse_foreign(interface, &state)
            {
                return foreign;
            }
            XdpError::Attach { interface: interface.to_owned(), mode, source }
        })
    };
    match mode {
        AttachMode::Native => Ok((attach(Attached::Native)?, Attached::Native, None)),
        AttachMode::Generic => Ok((attach(Attached::Generic)?, Attached::Generic, None)),
        AttachMode::Auto => match attach(Attached::Native) {
            Ok(link) => Ok((link, Attached::Native, None)),
            // What the driver cannot do. All else (no permission, no interface) fails again.
            Err(XdpError::Attach { source, .. }) => {
                Ok((attach(Attached::Generic)?, Attached::Generic, Some(source.to_string())))
            }
            Err(other) => Err(other),
        },
    }
}

fn find(interface: &str) -> Result<Link, XdpError> {
    netlink::link_named(interface)
        .map_err(|source| XdpError::Netlink { interface: interface.to_owned(), source })?
        .ok_or_else(|| XdpError::NoInterface(interface.to_owned()))
}

/// The pin of an interface. BPF file systems take no dots in names, interfaces do.
fn pin_path(bpffs: &Path, interface: &str) -> PathBuf {
    let name = interface.replace('%', "%25").replace('.', "%2e");
    bpffs.join(format!("xdp-{name}"))
}

fn pin_error(action: &'static str, pin: &Path) -> impl FnOnce(io::Error) -> XdpError {
    move |source| XdpError::Pin { action, pin: pin.to_owned(), source }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pins_of_different_interfaces_differ_and_have_no_dots() {
        let pin = |name| pin_path(Path::new("/b"), name);
        assert_eq!(pin("eth1"), Path::new("/b/xdp-eth1"));
        assert_eq!(pin("eth1.5"), Path::new("/b/xdp-eth1%2e5"));
        assert_ne!(pin("eth1%2e5"), pin("eth1.5"));
    }
}
