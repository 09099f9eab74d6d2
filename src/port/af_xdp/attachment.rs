//! The links that hold the station's programs on an interface: made, or taken over from an earlier
//! station; put back where another hand took them off; removed.
//!
//! Each link is pinned in a BPF file system and outlives the process. A takeover replaces the program
//! of a link in one step, so that no frame reaches the kernel in between.

use std::fmt;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use aya::programs::loaded_programs;

use super::bpf::{BpfLink, Hook, XDP_FLAGS_DRV_MODE, XDP_FLAGS_SKB_MODE};
use super::bpffs;
use super::error::XdpError;
use super::nic::{NicError, link_of};
use crate::netlink::Link;

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

/// The two programs, loaded.
pub(super) struct Loaded {
    /// What runs in XDP.
    pub(super) station: OwnedFd,
    /// Its id.
    pub(super) id: u32,
    /// What runs where the kernel's stack begins.
    pub(super) guard: OwnedFd,
}

/// Both programs on one interface.
pub(super) struct Attachment {
    interface: String,
    bpffs: PathBuf,
    pub(super) ifindex: u32,
    pub(super) mode: Attached,
    /// Why it is attached in generic mode though native was tried first.
    pub(super) fallback: Option<String>,
    /// The link was an earlier station's, which had kept the port closed.
    pub(super) taken_over: bool,
    programs: Loaded,
    station: Pinned,
    /// `None` where the kernel is older than 6.6 and has no such hook.
    guard: Option<Pinned>,
}

/// A link and its pin.
struct Pinned {
    link: BpfLink,
    pin: PathBuf,
    /// Device and inode of the pin: another file of that name is none of ours.
    file: Option<(u64, u64)>,
}

impl Attachment {
    /// Attaches both programs, or takes over the links that are pinned under `bpffs`.
    pub(super) fn new(
        interface: &str,
        mode: AttachMode,
        bpffs: &Path,
        programs: Loaded,
    ) -> Result<Attachment, XdpError> {
        let state = find(interface)?;
        bpffs::ensure(bpffs)?;
        let (pin, guard_pin) =
            (pin_path(bpffs, "xdp", interface), pin_path(bpffs, "guard", interface));
        let mut taken = take_over(interface, &state, mode, &pin, programs.station.as_fd());
        // The guard keeps the port closed while its program changes the mode.
        if let Err(XdpError::Mode { .. }) = taken
            && take_over_guard(interface, state.index, guard_pin.clone(), programs.guard.as_fd())?
                .is_some()
        {
            remove(&pin)?;
            taken = Ok(None);
        }
        let state = find(interface)?;
        let (station, mode, fallback, taken_over) = match taken? {
            Some((link, mode)) => (Pinned::already(link, pin), mode, None, true),
            None => {
                refuse_foreign(interface, &state)?;
                let program = programs.station.as_fd();
                let (link, mode, fallback) = create(interface, state.index, mode, program)?;
                (Pinned::new(link, pin)?, mode, fallback, false)
            }
        };
        let guard = programs.guard.as_fd();
        let guard = take_over_guard(interface, state.index, guard_pin, guard)?;
        Ok(Attachment {
            interface: interface.to_owned(),
            bpffs: bpffs.to_owned(),
            ifindex: state.index,
            mode,
            fallback,
            taken_over,
            programs,
            station,
            guard,
        })
    }

    /// Whether the kernel has a hook for the second line of defence.
    pub(super) fn is_guarded(&self) -> bool {
        self.guard.is_some()
    }

    /// Puts back what another hand took away, the program first. `state`: the interface now. Returns
    /// what was missing.
    ///
    /// # Errors
    /// What could not be put back.
    pub(super) fn restore(&mut self, state: &Link) -> Result<Vec<String>, XdpError> {
        let mut restored = Vec::new();
        let there = state.xdp.map(|xdp| (xdp.program, xdp.native));
        if there != Some((self.programs.id, self.mode == Attached::Native)) {
            refuse_foreign(&self.interface, state)?;
            let mode = match self.mode {
                Attached::Native => AttachMode::Native,
                Attached::Generic => AttachMode::Generic,
            };
            let program = self.programs.station.as_fd();
            let (link, ..) = create(&self.interface, self.ifindex, mode, program)?;
            self.station.replace(link);
            restored.push("the XDP program had been taken off".to_owned());
        }
        if let Some(guard) = &mut self.guard {
            let info = guard.link.info().map_err(pin_error("look at the link of", &guard.pin))?;
            if info.ifindex != self.ifindex {
                let program = self.programs.guard.as_fd();
                guard.replace(create_guard(&self.interface, self.ifindex, program)?);
                restored.push("the guard behind the XDP program had been taken off".to_owned());
            }
        }
        for pinned in [Some(&mut self.station), self.guard.as_mut()].into_iter().flatten() {
            if !pinned.is_pinned() {
                bpffs::ensure(&self.bpffs)?;
                pinned.pin()?;
                restored.push(format!("its pin {} had been removed", pinned.pin.display()));
            }
        }
        Ok(restored)
    }
}

impl Pinned {
    /// A link that was opened by its pin.
    fn already(link: BpfLink, pin: PathBuf) -> Pinned {
        let file = identity(&pin);
        Pinned { link, pin, file }
    }

    /// Pins a new link.
    fn new(link: BpfLink, pin: PathBuf) -> Result<Pinned, XdpError> {
        let mut pinned = Pinned { link, pin, file: None };
        pinned.pin()?;
        Ok(pinned)
    }

    /// Takes another link in; its pin is made by the next [`Pinned::pin`].
    fn replace(&mut self, link: BpfLink) {
        (self.link, self.file) = (link, None);
    }

    fn is_pinned(&self) -> bool {
        self.file.is_some() && identity(&self.pin) == self.file
    }

    fn pin(&mut self) -> Result<(), XdpError> {
        match std::fs::remove_file(&self.pin) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(pin_error("remove", &self.pin)(error));
            }
            _ => {}
        }
        self.link.pin(&self.pin).map_err(pin_error("pin the link at", &self.pin))?;
        self.file = identity(&self.pin);
        Ok(())
    }
}

fn identity(pin: &Path) -> Option<(u64, u64)> {
    std::fs::symlink_metadata(pin).ok().map(|meta| (meta.dev(), meta.ino()))
}

/// Takes the station's programs off an interface and removes their pins, also where a station runs.
/// The kernel sees the interface's frames again. False where there is no pin.
///
/// # Errors
/// [`XdpError::Pin`]: a pin is not the link of such a program, or may not be removed.
pub fn detach(bpffs: &Path, interface: &str) -> Result<bool, XdpError> {
    let mut was_closed = false;
    for hook in ["xdp", "guard"] {
        was_closed |= remove(&pin_path(bpffs, hook, interface))?;
    }
    Ok(was_closed)
}

/// Takes a program off its interface and removes its pin; false where there is none.
fn remove(pin: &Path) -> Result<bool, XdpError> {
    let link = match BpfLink::open(pin) {
        Ok(link) => link,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(e) => return Err(pin_error("open", pin)(e)),
    };
    let info = link.info().map_err(pin_error("detach", pin))?;
    if info.ifindex != 0 {
        link.detach().map_err(pin_error("detach", pin))?;
    }
    std::fs::remove_file(pin).map_err(pin_error("remove", pin))?;
    Ok(true)
}

/// The link that an earlier station left, now with the new program.
fn take_over(
    interface: &str,
    state: &Link,
    mode: AttachMode,
    pin: &Path,
    program: BorrowedFd<'_>,
) -> Result<Option<(BpfLink, Attached)>, XdpError> {
    let link = match BpfLink::open(pin) {
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
) -> Result<(BpfLink, Attached, Option<String>), XdpError> {
    let attach = |mode| {
        let flags = match mode {
            Attached::Native => XDP_FLAGS_DRV_MODE,
            Attached::Generic => XDP_FLAGS_SKB_MODE,
        };
        BpfLink::create(program, ifindex, Hook::Xdp(flags)).map_err(|source| {
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

/// The guard's link, an earlier station's where that is pinned. `None` where the kernel has no such
/// hook.
fn take_over_guard(
    interface: &str,
    ifindex: u32,
    pin: PathBuf,
    program: BorrowedFd<'_>,
) -> Result<Option<Pinned>, XdpError> {
    if let Ok(link) = BpfLink::open(&pin)
        && link.info().is_ok_and(|info| info.ifindex == ifindex)
        && link.update(program).is_ok()
    {
        return Ok(Some(Pinned::already(link, pin)));
    }
    match create_guard(interface, ifindex, program) {
        Ok(link) => Pinned::new(link, pin).map(Some),
        // Unknown to kernels before 6.6.
        Err(XdpError::Guard { source, .. }) if source.raw_os_error() == Some(libc::EINVAL) => {
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

fn create_guard(
    interface: &str,
    ifindex: u32,
    program: BorrowedFd<'_>,
) -> Result<BpfLink, XdpError> {
    BpfLink::create(program, ifindex, Hook::TcxIngress)
        .map_err(|source| XdpError::Guard { interface: interface.to_owned(), source })
}

fn find(interface: &str) -> Result<Link, XdpError> {
    link_of(interface).map_err(|error| match error {
        NicError::System { source, .. } => {
            XdpError::Netlink { interface: interface.to_owned(), source }
        }
        _ => XdpError::NoInterface(interface.to_owned()),
    })
}

/// The pin of an interface's program. BPF file systems take no dots in names, interfaces do.
fn pin_path(bpffs: &Path, hook: &str, interface: &str) -> PathBuf {
    let name = interface.replace('%', "%25").replace('.', "%2e");
    bpffs.join(format!("{hook}-{name}"))
}

fn pin_error(action: &'static str, pin: &Path) -> impl FnOnce(io::Error) -> XdpError {
    move |source| XdpError::Pin { action, pin: pin.to_owned(), source }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pins_of_different_interfaces_differ_and_have_no_dots() {
        let pin = |name| pin_path(Path::new("/b"), "xdp", name);
        assert_eq!(pin("eth1"), Path::new("/b/xdp-eth1"));
        assert_eq!(pin("eth1.5"), Path::new("/b/xdp-eth1%2e5"));
        assert_ne!(pin("eth1%2e5"), pin("eth1.5"));
    }
}
