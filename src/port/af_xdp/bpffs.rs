//! The BPF file system where links are pinned. A pin lives as long as the mount, so a mount that
//! would vanish with this process is refused: the station would open when it dies.

#![allow(unsafe_code)] // statfs(2) and mount(2)

use std::ffi::CString;
use std::fs::{File, Metadata, TryLockError};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Why there is no directory to pin links in.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BpffsError {
    /// The path is not absolute.
    #[error("the bpffs directory {0} must be an absolute path")]
    Relative(PathBuf),
    /// It cannot be made.
    #[error("cannot make {path} on a BPF file system: {source}")]
    Make {
        /// What was to be made.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// No BPF file system is mounted, and none can be.
    #[error(
        "no BPF file system at {path}, and it cannot be mounted: {source}; as root: `mount -t bpf bpf {path}`"
    )]
    Mount {
        /// Where.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// No BPF file system is mounted, and a mount made here would not last.
    #[error(
        "no BPF file system at {0}, and this process has a mount namespace of its own: what it mounts would vanish with it, and the port would be open while the station is down; first, on the host: `mount -t bpf bpf {0}`"
    )]
    Private(PathBuf),
    /// A station runs.
    #[error(
        "a station is running with {0}: stop it first; two would take the ports from each other"
    )]
    Claimed(PathBuf),
}

/// The right to touch the ports that are pinned in a directory; given back when the process ends,
/// however it ends.
#[derive(Debug)]
pub struct Claim {
    dir: PathBuf,
    /// Held for its lock.
    file: File,
}

impl Claim {
    /// Claims the directory again where another hand removed it.
    ///
    /// # Errors
    /// [`BpffsError::Claimed`] where another process was faster.
    pub fn renew(&mut self) -> Result<(), BpffsError> {
        let identity = |meta: Metadata| (meta.dev(), meta.ino());
        let ours = self.file.metadata().map(identity).ok();
        if ours.is_none() || std::fs::metadata(&self.dir).map(identity).ok() != ours {
            *self = claim(&self.dir)?;
        }
        Ok(())
    }
}

/// Claims a directory of pins, and makes it where there is none.
///
/// # Errors
/// [`BpffsError::Claimed`] while another process has the claim.
pub fn claim(dir: &Path) -> Result<Claim, BpffsError> {
    ensure(dir)?;
    let failed = |source| BpffsError::Make { path: dir.to_owned(), source };
    let file = File::open(dir).map_err(failed)?;
    match file.try_lock() {
        Ok(()) => Ok(Claim { dir: dir.to_owned(), file }),
        Err(TryLockError::WouldBlock) => Err(BpffsError::Claimed(dir.to_owned())),
        Err(TryLockError::Error(source)) => Err(failed(source)),
    }
}

/// Makes `dir` on a BPF file system, mounting one where there is none.
pub(super) fn ensure(dir: &Path) -> Result<(), BpffsError> {
    if !dir.is_absolute() {
        return Err(BpffsError::Relative(dir.to_owned()));
    }
    let existing = dir.ancestors().find(|path| path.exists()).unwrap_or(Path::new("/"));
    let make = |source| BpffsError::Make { path: dir.to_owned(), source };
    if is_bpffs(existing).map_err(make)? {
        return std::fs::create_dir_all(dir).map_err(make);
    }
    // /sys takes no new directories, but has an empty one for this purpose: mount there. Elsewhere
    // make the directory and mount on it.
    let target = if std::fs::create_dir_all(dir).is_ok() { dir } else { existing };
    let empty = std::fs::read_dir(target).map_err(make)?.next().is_none();
    if !empty {
        let source = io::Error::other("the directory is not empty");
        return Err(BpffsError::Mount { path: target.to_owned(), source });
    }
    if has_own_mounts() {
        return Err(BpffsError::Private(target.to_owned()));
    }
    mount(target).map_err(|source| BpffsError::Mount { path: target.to_owned(), source })?;
    std::fs::create_dir_all(dir).map_err(make)
}

/// Whether this process's mounts are not the host's, as `ip netns exec` and containers have it. The
/// kernel's threads have the host's; where they do not show, the first process has. Where nothing can
/// be told, they are taken to be the same.
fn has_own_mounts() -> bool {
    let namespace = |process: &str| std::fs::read_link(format!("/proc/{process}/ns/mnt")).ok();
    let kernel_shows =
        std::fs::read_to_string("/proc/2/comm").is_ok_and(|name| name.trim_end() == "kthreadd");
    let hosts = kernel_shows.then(|| namespace("2")).flatten().or_else(|| namespace("1"));
    hosts.is_some_and(|hosts| namespace("thread-self").is_some_and(|ours| ours != hosts))
}

fn is_bpffs(path: &Path) -> io::Result<bool> {
    let path = CString::new(path.as_os_str().as_bytes())?;
    // SAFETY: zero is a valid value of a struct of integers.
    let mut stat: libc::statfs = unsafe { std::mem::zeroed() };
    // SAFETY: the path and the struct live through the call.
    if unsafe { libc::statfs(path.as_ptr(), &raw mut stat) } < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(stat.f_type == libc::BPF_FS_MAGIC)
}

fn mount(path: &Path) -> io::Result<()> {
    let path = CString::new(path.as_os_str().as_bytes())?;
    let flags = libc::MS_NOSUID | libc::MS_NODEV | libc::MS_NOEXEC;
    // SAFETY: the strings live through the call.
    let result = unsafe {
        libc::mount(
            c"bpf".as_ptr(),
            path.as_ptr(),
            c"bpf".as_ptr(),
            flags,
            c"mode=0700".as_ptr().cast(),
        )
    };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
