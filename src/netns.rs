//! The network namespace that the TAPs and the routing daemon have to themselves. No process of the
//! server can bind a socket to a TAP, and the routing daemon cannot see, or send by, any other interface.
//!
//! The namespace has a name, a file below `/run/netns` as `ip netns add` makes it: it outlives a killed
//! station with all that is in it, the next one finds it again, and operators look inside with
//! `ip netns exec`.
//!
//! A thread is in one network namespace, and what it starts, threads and processes, is in the same one.
//! So only what [`Namespace::within`] starts is in the namespace: the control thread and the workers are
//! where the ports are.

#![allow(unsafe_code)] // unshare(2)

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::thread::{Builder, scope};

use rustix::fs::fstatfs;
use rustix::mount::{
    MountPropagationFlags, UnmountFlags, mount_bind, mount_bind_recursive, mount_change, unmount,
};
use rustix::thread::{LinkNameSpaceType, UnshareFlags, move_into_link_name_space, unshare_unsafe};

/// Where ip-netns(8) has the names.
const DIRECTORY: &str = "/run/netns";
/// The file system of namespaces (`NSFS_MAGIC` of linux/magic.h).
const NSFS_MAGIC: u64 = 0x6e73_6673;

/// There is no namespace to be had.
#[derive(Debug, thiserror::Error)]
#[error(
    "cannot make the network namespace {} for TAPs and BIRD: {error}; the station needs CAP_SYS_ADMIN, and \
     {DIRECTORY} writable (in a container: a tmpfs mounted there), or the namespace made beforehand: \
     `ip netns add {name}`", path(name).display()
)]
pub struct NamespaceError {
    name: String,
    error: io::Error,
}

/// A network namespace with a name.
#[derive(Debug)]
pub struct Namespace {
    name: String,
    file: File,
}

impl Namespace {
    /// The namespace of this name, made where there is none.
    ///
    /// # Errors
    /// The system's, and what to do about it.
    pub fn open(name: &str) -> Result<Namespace, NamespaceError> {
        let open = || {
            let file = on_a_thread(|| {
                see_what_all_see();
                find(&path(name)).map_or_else(|| make(&path(name)), Ok)
            })?;
            let namespace = Namespace { name: name.to_owned(), file };
            // What could not be entered later is of no use now.
            namespace.within(|| Ok(()))?;
            Ok(namespace)
        };
        open().map_err(|error| NamespaceError { name: name.to_owned(), error })
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Does some work in the namespace, and what the work starts stays there.
    ///
    /// # Errors
    /// The work's.
    pub fn within<T: Send>(&self, work: impl FnOnce() -> io::Result<T> + Send) -> io::Result<T> {
        on_a_thread(|| {
            let network = Some(LinkNameSpaceType::Network);
            move_into_link_name_space(self.file.as_fd(), network)?;
            work()
        })
    }

    /// Another handle of the same namespace, for another thread.
    ///
    /// # Errors
    /// The system's, where there is no descriptor left.
    pub fn try_clone(&self) -> io::Result<Namespace> {
        Ok(Namespace { name: self.name.clone(), file: self.file.try_clone()? })
    }

    /// Takes the name away. The namespace goes with the last process in it.
    ///
    /// # Errors
    /// The system's.
    pub fn remove(self) -> io::Result<()> {
        let path = path(&self.name);
        on_a_thread(|| {
            see_what_all_see();
            unmount(&path, UnmountFlags::DETACH)?;
            fs::remove_file(&path)
        })
    }
}

/// Whether a process is in another network namespace than this thread; false where that cannot be told.
pub fn is_elsewhere(process: u32) -> bool {
    let namespace = |of: &str| fs::read_link(format!("/proc/{of}/ns/net")).ok();
    let theirs = namespace(&process.to_string());
    theirs.is_some_and(|theirs| namespace("thread-self").is_some_and(|ours| ours != theirs))
}

fn path(name: &str) -> PathBuf {
    Path::new(DIRECTORY).join(name)
}

/// Runs some work on a thread of its own, whose namespaces and privileges end with it.
///
/// # Errors
/// The work's, and the system's where there is no thread left.
pub fn on_a_thread<T: Send>(work: impl FnOnce() -> io::Result<T> + Send) -> io::Result<T> {
    scope(|scope| {
        let thread = Builder::new().name("netns".into()).spawn_scoped(scope, work)?;
        thread.join().unwrap_or_else(|_| Err(io::Error::other("the thread panicked")))
    })
}

/// Enters the mount namespace of the first process, if this one's is a copy of it (`ip netns exec`, a
/// unit with `ProtectSystem=`): a mount in a copy is seen by nobody else, and is gone with this process.
/// A container's `/run` is another directory; there, and where it is not allowed, nothing changes.
fn see_what_all_see() {
    let enter = || -> io::Result<()> {
        let (ours, theirs) = (fs::metadata("/run")?, fs::metadata("/proc/1/root/run")?);
        if (ours.dev(), ours.ino()) == (theirs.dev(), theirs.ino()) {
            let mounts = File::open("/proc/1/ns/mnt")?;
            // SAFETY: this thread's root and working directory are its own from here on; file
            // descriptors stay shared.
            unsafe { unshare_unsafe(UnshareFlags::FS) }?;
            move_into_link_name_space(mounts.as_fd(), Some(LinkNameSpaceType::Mount))?;
        }
        Ok(())
    };
    let _ = enter();
}

/// The namespace of this name. A file without a namespace is what a mount leaves that is gone.
fn find(path: &Path) -> Option<File> {
    let file = File::open(path).ok()?;
    let magic = u64::try_from(fstatfs(&file).ok()?.f_type).ok()?;
    (magic == NSFS_MAGIC).then_some(file)
}

/// Makes a namespace as `ip netns add` does. This thread is in it from here on.
fn make(path: &Path) -> io::Result<File> {
    DirBuilder::new().recursive(true).mode(0o755).create(DIRECTORY)?;
    // Mounts below it are seen, and end, in all mount namespaces: else a copy would keep a namespace
    // alive whose name is gone.
    let shared = MountPropagationFlags::SHARED | MountPropagationFlags::REC;
    if mount_change(DIRECTORY, shared).is_err() {
        mount_bind_recursive(DIRECTORY, DIRECTORY)?;
        mount_change(DIRECTORY, shared)?;
    }
    OpenOptions::new().write(true).create(true).truncate(false).mode(0o444).open(path)?;
    // SAFETY: file descriptors stay shared.
    unsafe { unshare_unsafe(UnshareFlags::NEWNET) }?;
    mount_bind("/proc/thread-self/ns/net", path)?;
    File::open(path)
}
