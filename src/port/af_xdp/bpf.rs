//! Links of BPF programs to interfaces through bpf(2). The loader's crate has links too, but does not tell which interface a
//! pinned one is attached to, and quietly attaches without a link (which cannot be pinned) where
//! the kernel refuses one.

#![allow(unsafe_code)] // bpf(2)

use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// Attach in the kernel's generic receive path (linux/if_link.h).
pub(super) const XDP_FLAGS_SKB_MODE: u32 = 1 << 1;
/// Attach in the driver.
pub(super) const XDP_FLAGS_DRV_MODE: u32 = 1 << 2;

// Commands and types of linux/bpf.h.
const BPF_OBJ_PIN: libc::c_int = 6;
const BPF_OBJ_GET: libc::c_int = 7;
const BPF_LINK_CREATE: libc::c_int = 28;
const BPF_LINK_UPDATE: libc::c_int = 29;
const BPF_LINK_DETACH: libc::c_int = 34;
const BPF_XDP: u32 = 37;
/// The beginning of the kernel's stack, behind XDP (since Linux 6.6).
const BPF_TCX_INGRESS: u32 = 46;

/// Where a program is attached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Hook {
    /// XDP, in the mode that these flags say.
    Xdp(u32),
    /// The beginning of the kernel's stack.
    TcxIngress,
}

/// A program's attachment to an interface, which lives as long as a descriptor or a pin refers to it.
#[derive(Debug)]
pub(super) struct BpfLink(OwnedFd);

/// What the kernel says of a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct LinkInfo {
    /// The program's id.
    pub(super) program: u32,
    /// The interface's index; 0 where the interface is gone.
    pub(super) ifindex: u32,
}

impl BpfLink {
    /// Attaches a program.
    pub(super) fn create(program: BorrowedFd<'_>, ifindex: u32, hook: Hook) -> io::Result<BpfLink> {
        /// `link_create` of `union bpf_attr`.
        #[repr(C)]
        struct Create {
            program: RawFd,
            ifindex: u32,
            attach_type: u32,
            flags: u32,
        }
        let (attach_type, flags) = match hook {
            Hook::Xdp(flags) => (BPF_XDP, flags),
            Hook::TcxIngress => (BPF_TCX_INGRESS, 0),
        };
        let create = Create { program: program.as_raw_fd(), ifindex, attach_type, flags };
        // SAFETY: plain integers, and a descriptor that lives.
        let fd = unsafe { bpf(BPF_LINK_CREATE, &create) }?;
        // SAFETY: a new file descriptor, owned by nothing else.
        Ok(BpfLink(unsafe { OwnedFd::from_raw_fd(fd) }))
    }

    /// Opens a pinned link.
    pub(super) fn open(pin: &Path) -> io::Result<BpfLink> {
        let path = CString::new(pin.as_os_str().as_bytes())?;
        let object = Object { path: path.as_ptr() as u64, fd: 0, flags: 0 };
        // SAFETY: the path lives through the call.
        let fd = unsafe { bpf(BPF_OBJ_GET, &object) }?;
        // SAFETY: a new file descriptor, owned by nothing else.
        Ok(BpfLink(unsafe { OwnedFd::from_raw_fd(fd) }))
    }

    /// Pins the link: it outlives this process.
    pub(super) fn pin(&self, pin: &Path) -> io::Result<()> {
        let path = CString::new(pin.as_os_str().as_bytes())?;
        let object = Object { path: path.as_ptr() as u64, fd: self.0.as_raw_fd(), flags: 0 };
        // SAFETY: the path and the descriptor live through the call.
        unsafe { bpf(BPF_OBJ_PIN, &object) }.map(drop)
    }

    /// Replaces the link's program in one step: each frame meets the old one or the new one.
    pub(super) fn update(&self, program: BorrowedFd<'_>) -> io::Result<()> {
        /// `link_update` of `union bpf_attr`.
        #[repr(C)]
        struct Update {
            link: RawFd,
            program: RawFd,
            flags: u32,
            old_program: RawFd,
        }
        let update = Update {
            link: self.0.as_raw_fd(),
            program: program.as_raw_fd(),
            flags: 0,
            old_program: 0,
        };
        // SAFETY: plain integers, and descriptors that live.
        unsafe { bpf(BPF_LINK_UPDATE, &update) }.map(drop)
    }

    /// Takes the program off the interface, whoever else has the link open.
    pub(super) fn detach(&self) -> io::Result<()> {
        /// `link_detach` of `union bpf_attr`.
        #[repr(C)]
        struct Detach {
            link: RawFd,
        }
        // SAFETY: a descriptor that lives.
        unsafe { bpf(BPF_LINK_DETACH, &Detach { link: self.0.as_raw_fd() }) }.map(drop)
    }

    /// What the link joins. An error where it is no link of a program to an interface.
    pub(super) fn info(&self) -> io::Result<LinkInfo> {
        let text = std::fs::read_to_string(format!("/proc/self/fdinfo/{}", self.0.as_raw_fd()))?;
        parse_info(&text).ok_or_else(|| {
            io::Error::new(io::ErrorKind::InvalidData, "it is not the link of an XDP program")
        })
    }
}

impl AsFd for BpfLink {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// The lines that `bpf_link_show_fdinfo`, `bpf_xdp_link_show_fdinfo` and `tcx_link_fdinfo` write.
fn parse_info(text: &str) -> Option<LinkInfo> {
    let field = |name: &str| {
        text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':').map(str::trim))
    };
    if !matches!(field("link_type")?, "xdp" | "tcx") {
        return None;
    }
    Some(LinkInfo {
        program: field("prog_id")?.parse().ok()?,
        ifindex: field("ifindex")?.parse().ok()?,
    })
}

/// The object commands' part of `union bpf_attr`.
#[repr(C)]
struct Object {
    path: u64,
    fd: RawFd,
    flags: u32,
}

/// # Safety
/// `attributes` is the part of `union bpf_attr` that `command` takes, and what it points to lives.
unsafe fn bpf<T>(command: libc::c_int, attributes: &T) -> io::Result<RawFd> {
    // SAFETY: the pointer and length describe `attributes`; the rest is the caller's promise.
    let result = unsafe {
        libc::syscall(libc::SYS_bpf, command, std::ptr::from_ref(attributes), size_of::<T>())
    };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    RawFd::try_from(result).map_err(io::Error::other)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_the_kernel_says_of_links_to_interfaces_and_of_no_others() {
        let text = "pos:\t0\nflags:\t02000000\nlink_type:\txdp\nlink_id:\t7\nprog_tag:\tabc\n\
                    prog_id:\t42\nifindex:\t3\n";
        assert_eq!(parse_info(text), Some(LinkInfo { program: 42, ifindex: 3 }));
        assert!(parse_info(&text.replace("\txdp", "\ttcx")).is_some());
        assert_eq!(parse_info(&text.replace("\txdp", "\txdpx")), None);
        assert_eq!(parse_info("pos:\t0\n"), None);
    }
}
