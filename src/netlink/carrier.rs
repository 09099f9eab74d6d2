//! How often interfaces' carriers came and went, from sysfs. Its counts (`carrier_changes`, Linux's
//! Documentation/ABI/testing/sysfs-class-net) are read without the kernel's lock of all interfaces, which
//! rtnetlink and ethtool wait for as long as somebody else adds or deletes some.

use std::ffi::CStr;
use std::io;
use std::os::fd::OwnedFd;

use rustix::fs::{Mode, OFlags, openat};
use rustix::io::{Errno, pread};
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags, fsconfig_create, fsmount, fsopen};

/// The sysfs of a network namespace, whichever one is at `/sys`.
pub struct Carriers(OwnedFd);

impl Carriers {
    /// That of the thread's network namespace.
    ///
    /// # Errors
    /// The kernel's; EPERM without CAP_SYS_ADMIN.
    pub fn open() -> io::Result<Carriers> {
        let sysfs = fsopen("sysfs", FsOpenFlags::FSOPEN_CLOEXEC)?;
        fsconfig_create(&sysfs)?;
        let attributes = MountAttrFlags::MOUNT_ATTR_RDONLY
            | MountAttrFlags::MOUNT_ATTR_NOSUID
            | MountAttrFlags::MOUNT_ATTR_NODEV
            | MountAttrFlags::MOUNT_ATTR_NOEXEC;
        Ok(Carriers(fsmount(&sysfs, FsMountFlags::FSMOUNT_CLOEXEC, attributes)?))
    }

    /// The changes of one interface.
    ///
    /// # Errors
    /// ENODEV where the name is not, or no more, that of the interface of this index.
    pub(super) fn of(&self, interface: &str, ifindex: u32) -> io::Result<Changes> {
        let directory = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let path = format!("class/net/{interface}");
        let interface = openat(&self.0, path, directory, Mode::empty())?;
        let file = |name: &CStr| {
            openat(&interface, name, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).map(Changes)
        };
        if file(c"ifindex")?.read()? != ifindex {
            return Err(Errno::NODEV.into());
        }
        Ok(file(c"carrier_changes")?)
    }
}

/// The count of an interface's carrier: each loss and each return is one.
pub(super) struct Changes(OwnedFd);

impl Changes {
    /// What it is now.
    ///
    /// # Errors
    /// ENODEV where the interface is gone.
    pub(super) fn read(&self) -> io::Result<u32> {
        let mut text = [0; 16];
        let len = pread(&self.0, &mut text, 0)?;
        let number =
            std::str::from_utf8(&text[..len]).ok().and_then(|text| text.trim().parse().ok());
        number.ok_or_else(|| io::ErrorKind::InvalidData.into())
    }
}
