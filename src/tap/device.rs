//! One open TAP (linux/if_tun.h): frames without any header of the driver's.

#![allow(unsafe_code)] // ioctl(2)

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::fs::{Mode, OFlags, open};
use rustix::net::{AddressFamily, SocketType, netdevice, socket};

const TUNSETIFF: libc::Ioctl = 0x4004_54ca;
const TUNSETPERSIST: libc::Ioctl = 0x4004_54cb;
const TUNSETCARRIER: libc::Ioctl = 0x4004_54e2;
const IFF_TAP: libc::c_short = 0x0002;
const IFF_NO_PI: libc::c_short = 0x1000;
/// Leaves the carrier off (Linux 6.3; older kernels switch it on for a moment).
const IFF_NO_CARRIER: libc::c_short = 0x0040;

/// An open TAP.
#[derive(Debug)]
pub struct Device {
    file: OwnedFd,
    /// The interface's index.
    pub index: u32,
    carrier: AtomicBool,
}

impl Device {
    /// Takes over the TAP of this name, or makes it; without carrier. A new one goes with the last file
    /// descriptor until [`Device::persist`].
    ///
    /// # Errors
    /// The system's: there is no `/dev/net/tun`, the name is another interface's, or somebody has it
    /// open.
    pub fn open(name: &str) -> io::Result<Device> {
        let flags = OFlags::RDWR | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = open("/dev/net/tun", flags, Mode::empty())?;
        // SAFETY: zero is a valid value of a struct of integers and pointers.
        let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
        if name.len() >= request.ifr_name.len() {
            return Err(io::Error::from_raw_os_error(libc::ENAMETOOLONG));
        }
        for (to, from) in request.ifr_name.iter_mut().zip(name.bytes()) {
            *to = from.cast_signed();
        }
        request.ifr_ifru.ifru_flags = IFF_TAP | IFF_NO_PI | IFF_NO_CARRIER;
        // SAFETY: TUNSETIFF reads and writes one ifreq, which lives through the call.
        check(unsafe { libc::ioctl(file.as_raw_fd(), TUNSETIFF, &raw mut request) })?;
        let any = socket(AddressFamily::INET, SocketType::DGRAM, None)?;
        let index = netdevice::name_to_index(any, name)?;
        let device = Device { file, index, carrier: AtomicBool::new(true) };
        device.set_carrier(false)?;
        Ok(device)
    }

    /// Makes the TAP outlive this process.
    ///
    /// # Errors
    /// The system's.
    pub fn persist(&self) -> io::Result<()> {
        // SAFETY: TUNSETPERSIST takes its argument by value.
        check(unsafe { libc::ioctl(self.file.as_raw_fd(), TUNSETPERSIST, 1) })
    }

    /// Shows the kernel whether the wire is there.
    ///
    /// # Errors
    /// The system's: the interface is gone.
    pub fn set_carrier(&self, up: bool) -> io::Result<()> {
        if self.carrier.load(Ordering::Relaxed) == up {
            return Ok(());
        }
        let value = libc::c_int::from(up);
        // SAFETY: TUNSETCARRIER reads one int, which lives through the call.
        check(unsafe { libc::ioctl(self.file.as_raw_fd(), TUNSETCARRIER, &raw const value) })?;
        self.carrier.store(up, Ordering::Relaxed);
        Ok(())
    }

    /// Reads one frame that the kernel sent; `WouldBlock` where there is none.
    ///
    /// # Errors
    /// The system's.
    pub fn read(&self, frame: &mut [u8]) -> io::Result<usize> {
        Ok(rustix::io::read(&self.file, frame)?)
    }

    /// Gives the kernel a frame; never waits.
    ///
    /// # Errors
    /// The system's: the kernel did not take it.
    pub fn write(&self, frame: &[u8]) -> io::Result<()> {
        rustix::io::write(&self.file, frame)?;
        Ok(())
    }
}

impl AsFd for Device {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

fn check(result: libc::c_int) -> io::Result<()> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
