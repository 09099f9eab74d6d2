//! An interface's carrier by the one ioctl that asks for nothing else.

#![allow(unsafe_code)] // ioctl(2)

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};

use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with};

// Of linux/ethtool.h.
const ETHTOOL_GLINK: u32 = 0x0a;

/// A socket to ask with.
pub(super) struct Carriers(OwnedFd);

impl Carriers {
    /// # Errors
    /// The system's, where no file descriptor is left.
    pub(super) fn new() -> io::Result<Carriers> {
        let socket =
            socket_with(AddressFamily::INET, SocketType::DGRAM, SocketFlags::CLOEXEC, None)?;
        Ok(Carriers(socket))
    }

    /// Whether an interface is administratively up and has a carrier.
    ///
    /// # Errors
    /// ENODEV where there is no such interface, EOPNOTSUPP where its driver does not tell.
    pub(super) fn is_up(&self, interface: &str) -> io::Result<bool> {
        let mut words = [ETHTOOL_GLINK, 0];
        // SAFETY: zero is a valid value of a struct of integers and pointers.
        let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
        if interface.len() >= request.ifr_name.len() {
            return Err(io::Error::from_raw_os_error(libc::ENODEV));
        }
        for (to, from) in request.ifr_name.iter_mut().zip(interface.bytes()) {
            *to = from.cast_signed();
        }
        request.ifr_ifru.ifru_data = words.as_mut_ptr().cast();
        // SAFETY: the request and the two words of `struct ethtool_value` live through the call.
        let result =
            unsafe { libc::ioctl(self.0.as_raw_fd(), libc::SIOCETHTOOL, &raw mut request) };
        if result < 0 { Err(io::Error::last_os_error()) } else { Ok(words[1] != 0) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tells_of_the_loopback_and_refuses_what_is_not_there() {
        let carriers = Carriers::new().unwrap();
        let lo = crate::netlink::link_named("lo").unwrap().unwrap();
        assert_eq!(carriers.is_up("lo").unwrap(), lo.up);
        for name in ["nosuch0", "a-name-that-no-interface-can-have"] {
            assert_eq!(carriers.is_up(name).unwrap_err().raw_os_error(), Some(libc::ENODEV));
        }
    }
}
