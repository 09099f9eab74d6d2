//! The system calls of one AF_XDP socket: making it with its memory and rings, binding it to a
//! queue, waking the kernel, statistics.

#![allow(unsafe_code)] // system calls

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use super::super::Extent;
use super::ring::{Consumer, Producer};

/// Lets one `sendto` carry more than 32 descriptors in copy mode (linux/if_xdp.h, since 6.17).
const XDP_MAX_TX_SKB_BUDGET: libc::c_int = 9;
/// asm-generic/socket.h; not in `libc`.
const SO_PREFER_BUSY_POLL: libc::c_int = 69;
const SO_BUSY_POLL_BUDGET: libc::c_int = 70;

/// `AF_XDP` as `struct sockaddr_xdp` has it.
const FAMILY: u16 = 44;
const _: () = assert!(FAMILY as i32 == libc::AF_XDP);

/// A socket and its four rings.
pub(super) struct Socket {
    fd: OwnedFd,
    /// Frames for the kernel to receive into.
    pub(super) fill: Producer<u64>,
    /// Frames that it received.
    pub(super) rx: Consumer<libc::xdp_desc>,
    /// Frames to send.
    pub(super) tx: Producer<libc::xdp_desc>,
    /// Frames that it has sent.
    pub(super) completion: Consumer<u64>,
}

/// What the kernel counted for a socket since it was opened (`XDP_STATISTICS`), in frames.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct XskStatistics {
    /// Received and dropped for another reason than those below, such as longer than a frame.
    pub rx_dropped: u64,
    /// Descriptors in the fill ring that the kernel refused.
    pub rx_invalid_descriptors: u64,
    /// Descriptors in the transmit ring that the kernel refused.
    pub tx_invalid_descriptors: u64,
    /// Received and dropped because the worker did not empty the receive ring in time.
    pub rx_ring_full: u64,
    /// Times that the kernel found no frame to receive into.
    pub rx_fill_ring_empty: u64,
    /// Times that the kernel found nothing to send.
    pub tx_ring_empty: u64,
}

/// Which step of opening a socket failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    Socket,
    Umem,
    Rings,
    Map,
}

/// A step and the kernel's answer.
pub(super) struct StepError(pub(super) Step, pub(super) io::Error);

impl Socket {
    /// Opens a socket whose memory is `area` and whose rings have `ring` entries; it is not bound.
    pub(super) fn new(area: Extent, ring: u32) -> Result<Socket, StepError> {
        let at = |step| move |error| StepError(step, error);
        // SAFETY: a new file descriptor, owned by nothing else.
        let fd = unsafe {
            let fd = libc::socket(libc::AF_XDP, libc::SOCK_RAW | libc::SOCK_CLOEXEC, 0);
            if fd < 0 {
                return Err(StepError(Step::Socket, io::Error::last_os_error()));
            }
            OwnedFd::from_raw_fd(fd)
        };
        let umem = libc::xdp_umem_reg {
            addr: area.base as u64,
            len: area.len as u64,
            chunk_size: area.frame_size as u32,
            headroom: 0,
            flags: 0,
            tx_metadata_len: 0,
        };
        set_option(fd.as_fd(), libc::SOL_XDP, libc::XDP_UMEM_REG, &umem).map_err(at(Step::Umem))?;
        for option in [
            libc::XDP_UMEM_FILL_RING,
            libc::XDP_UMEM_COMPLETION_RING,
            libc::XDP_RX_RING,
            libc::XDP_TX_RING,
        ] {
            set_option(fd.as_fd(), libc::SOL_XDP, option, &ring).map_err(at(Step::Rings))?;
        }
        let offsets: libc::xdp_mmap_offsets =
            get_option(fd.as_fd(), libc::XDP_MMAP_OFFSETS).map_err(at(Step::Rings))?;
        // The page offsets are constants of the kernel's interface that fit.
        let fill_page = libc::XDP_UMEM_PGOFF_FILL_RING as libc::off_t;
        let completion_page = libc::XDP_UMEM_PGOFF_COMPLETION_RING as libc::off_t;
        let map = at(Step::Map);
        Ok(Socket {
            fill: Producer::new(fd.as_fd(), fill_page, &offsets.fr, ring).map_err(map)?,
            rx: Consumer::new(fd.as_fd(), libc::XDP_PGOFF_RX_RING, &offsets.rx, ring)
                .map_err(map)?,
            tx: Producer::new(fd.as_fd(), libc::XDP_PGOFF_TX_RING, &offsets.tx, ring)
                .map_err(map)?,
            completion: Consumer::new(fd.as_fd(), completion_page, &offsets.cr, ring)
                .map_err(map)?,
            fd,
        })
    }

    /// Binds the socket to a queue of an interface. `mode` is `XDP_COPY`, `XDP_ZEROCOPY`, or 0 for
    /// zero-copy where the driver can.
    pub(super) fn bind(&self, interface: u32, queue: u32, mode: u16) -> io::Result<()> {
        let address = libc::sockaddr_xdp {
            sxdp_family: FAMILY,
            sxdp_flags: mode | libc::XDP_USE_NEED_WAKEUP,
            sxdp_ifindex: interface,
            sxdp_queue_id: queue,
            sxdp_shared_umem_fd: 0,
        };
        // SAFETY: the pointer and length describe `address`.
        let result = unsafe {
            libc::bind(
                self.fd.as_raw_fd(),
                (&raw const address).cast(),
                socklen::<libc::sockaddr_xdp>(),
            )
        };
        check(result >= 0)
    }

    /// Whether the kernel granted zero-copy.
    pub(super) fn zero_copy(&self) -> io::Result<bool> {
        let options: libc::xdp_options = get_option(self.fd.as_fd(), libc::XDP_OPTIONS)?;
        Ok(options.flags & libc::XDP_OPTIONS_ZEROCOPY != 0)
    }

    /// Asks that one system call may send `budget` descriptors. Not all kernels know how.
    pub(super) fn set_transmit_budget(&self, budget: u32) -> io::Result<()> {
        set_option(self.fd.as_fd(), libc::SOL_XDP, XDP_MAX_TX_SKB_BUDGET, &budget)
    }

    /// Makes the system calls of this socket drive the NIC for up to `microseconds` each, `budget`
    /// frames at a time (kernel Documentation/networking/napi.rst, "Busy polling").
    pub(super) fn set_busy_poll(&self, microseconds: u32, budget: u32) -> io::Result<()> {
        let set =
            |option, value: u32| set_option(self.fd.as_fd(), libc::SOL_SOCKET, option, &value);
        set(SO_PREFER_BUSY_POLL, 1)?;
        set(libc::SO_BUSY_POLL, microseconds)?;
        set(SO_BUSY_POLL_BUDGET, budget)
    }

    /// The kernel's counters.
    pub(super) fn statistics(&self) -> io::Result<XskStatistics> {
        let s: libc::xdp_statistics = get_option(self.fd.as_fd(), libc::XDP_STATISTICS)?;
        Ok(XskStatistics {
            rx_dropped: s.rx_dropped,
            rx_invalid_descriptors: s.rx_invalid_descs,
            tx_invalid_descriptors: s.tx_invalid_descs,
            rx_ring_full: s.rx_ring_full,
            rx_fill_ring_empty: s.rx_fill_ring_empty_descs,
            tx_ring_empty: s.tx_ring_empty_descs,
        })
    }

    /// Makes the kernel look at the transmit ring.
    #[inline]
    pub(super) fn wake_tx(&self) -> io::Result<()> {
        // SAFETY: no buffer, no address.
        let result = unsafe {
            libc::sendto(
                self.fd.as_raw_fd(),
                std::ptr::null(),
                0,
                libc::MSG_DONTWAIT,
                std::ptr::null(),
                0,
            )
        };
        check(result >= 0)
    }

    /// Makes the kernel look at the fill ring, and at the NIC when busy polling.
    #[inline]
    pub(super) fn wake_rx(&self) -> io::Result<()> {
        // SAFETY: no buffer, no address.
        let result = unsafe {
            libc::recvfrom(
                self.fd.as_raw_fd(),
                std::ptr::null_mut(),
                0,
                libc::MSG_DONTWAIT,
                std::ptr::null_mut(),
                std::ptr::null_mut(),
            )
        };
        check(result >= 0)
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// The error of a system call that failed.
fn check(succeeded: bool) -> io::Result<()> {
    if succeeded { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// The size of an option or address: a few octets.
#[expect(clippy::cast_possible_truncation)]
const fn socklen<T>() -> libc::socklen_t {
    size_of::<T>() as libc::socklen_t
}

fn set_option<T: Copy>(
    fd: BorrowedFd<'_>,
    level: libc::c_int,
    option: libc::c_int,
    value: &T,
) -> io::Result<()> {
    // SAFETY: the pointer and length describe `value`; the kernel copies it.
    let result = unsafe {
        libc::setsockopt(
            fd.as_raw_fd(),
            level,
            option,
            std::ptr::from_ref(value).cast(),
            socklen::<T>(),
        )
    };
    check(result >= 0)
}

/// What `getsockopt` may fill in.
///
/// # Safety
/// Every bit pattern is a valid value.
unsafe trait Plain: Copy {}
// SAFETY: structs of integers.
unsafe impl Plain for libc::xdp_mmap_offsets {}
// SAFETY: a struct of integers.
unsafe impl Plain for libc::xdp_options {}
// SAFETY: a struct of integers.
unsafe impl Plain for libc::xdp_statistics {}

/// Reads an option of `SOL_XDP`.
fn get_option<T: Plain>(fd: BorrowedFd<'_>, option: libc::c_int) -> io::Result<T> {
    let mut value = MaybeUninit::<T>::zeroed();
    let mut len = socklen::<T>();
    // SAFETY: the pointer and length describe `value`.
    let result = unsafe {
        libc::getsockopt(
            fd.as_raw_fd(),
            libc::SOL_XDP,
            option,
            value.as_mut_ptr().cast(),
            &raw mut len,
        )
    };
    check(result >= 0)?;
    if len as usize != size_of::<T>() {
        return Err(io::Error::new(
            io::ErrorKind::Unsupported,
            "the kernel is older than 5.9: its AF_XDP has another layout",
        ));
    }
    // SAFETY: zeroed and then written by the kernel, and every bit pattern is valid.
    Ok(unsafe { value.assume_init() })
}
