//! Netlink: what every user of it needs; the interfaces by rtnetlink, their drivers and modules by ethtool. Messages are read by hand: a kernel
//! with attributes of a shape that nobody here knows must not keep a station from starting.
//!
//! Parsing never panics; what is too short is left out.

#![allow(unsafe_code)] // poll(2)

mod address;
mod carrier;
mod counts;
mod ethtool;
mod generic;
mod hints;
mod link;
mod request;
mod survey;
mod watch;

use std::io;
use std::os::fd::RawFd;
use std::time::Duration;

use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};

pub use address::addresses;
pub use carrier::Carriers;
pub use counts::{LinkCounts, link_counts};
pub use ethtool::{Ethtool, Fec, LinkModes};
pub use hints::LinkHints;
pub use link::{Link, LinkXdp, link_named, links};
pub use request::{NLM_F_CREATE, NLM_F_DUMP, NLM_F_REPLACE, Request};
pub use survey::{Surveyed, survey};
pub use watch::{LinkEvent, LinkWatcher};

// Of linux/netlink.h.
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const NLMSG_OVERRUN: u16 = 4;
const NLM_F_DUMP_INTR: u16 = 0x10;
/// The flag bits of an attribute's type (NLA_F_NESTED, NLA_F_NET_BYTEORDER).
const NLA_TYPE: u16 = 0x3fff;
/// Octets of a message's header.
const HEADER: usize = 16;

/// A message of the kernel, its header read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Frame<'a> {
    /// A message of a type, without its header.
    Payload(u16, &'a [u8]),
    /// The end of a dump.
    Done,
    /// An error number; 0 is an acknowledgement.
    Error(i32),
}

/// The messages of a datagram, each with whether a change fell into the dump that it is of.
pub(crate) fn frames(datagram: &[u8]) -> impl Iterator<Item = (Frame<'_>, bool)> {
    let mut rest = datagram;
    std::iter::from_fn(move || {
        let (len, kind, flags) = (u32_at(rest, 0)?, u16_at(rest, 4)?, u16_at(rest, 6)?);
        let payload = rest.get(HEADER..usize::try_from(len).ok()?)?;
        rest = rest.get((HEADER + payload.len()).next_multiple_of(4)..).unwrap_or_default();
        let errno = || u32_at(payload, 0).map_or(libc::EPROTO, |e| e.cast_signed().wrapping_neg());
        let frame = match kind {
            // A dump that failed says so at its end.
            NLMSG_DONE => match u32_at(payload, 0) {
                None | Some(0) => Frame::Done,
                Some(_) => Frame::Error(errno()),
            },
            NLMSG_ERROR => Frame::Error(errno()),
            NLMSG_OVERRUN => Frame::Error(libc::ENOBUFS),
            kind => Frame::Payload(kind, payload),
        };
        Some((frame, flags & NLM_F_DUMP_INTR != 0))
    })
}

/// A socket to ask the kernel with.
pub(crate) fn open() -> io::Result<Socket> {
    open_protocol(NETLINK_ROUTE)
}

/// A socket to ask the kernel with by a protocol of netlink's.
fn open_protocol(protocol: isize) -> io::Result<Socket> {
    let mut socket = Socket::new(protocol)?;
    socket.bind_auto()?;
    socket.connect(&SocketAddr::new(0, 0))?;
    Ok(socket)
}

/// A socket that receives what the kernel tells these groups, and never waits.
pub(crate) fn subscribe(groups: &[u32]) -> io::Result<Socket> {
    let mut socket = Socket::new(NETLINK_ROUTE)?;
    socket.bind_auto()?;
    groups.iter().try_for_each(|&group| socket.add_membership(group))?;
    socket.set_non_blocking(true)?;
    Ok(socket)
}

/// Waits until one of the descriptors has something to read; false where nothing came in time.
pub(crate) fn wait(descriptors: &[RawFd], timeout: Duration) -> io::Result<bool> {
    let poll = |&fd: &RawFd| libc::pollfd { fd, events: libc::POLLIN, revents: 0 };
    let mut polls: Vec<libc::pollfd> = descriptors.iter().map(poll).collect();
    let count = libc::nfds_t::try_from(polls.len()).unwrap_or(0);
    let milliseconds = i32::try_from(timeout.as_millis()).unwrap_or(i32::MAX);
    // SAFETY: an array of `count` structs that lives through the call.
    match unsafe { libc::poll(polls.as_mut_ptr(), count, milliseconds) } {
        0 => Ok(false),
        n if n > 0 => Ok(true),
        _ => {
            let error = io::Error::last_os_error();
            if error.kind() == io::ErrorKind::Interrupted { Ok(false) } else { Err(error) }
        }
    }
}

/// Attributes, each a type and a value.
pub(crate) fn attributes(mut rest: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let len = usize::from(u16_at(rest, 0)?);
        let kind = u16_at(rest, 2)? & NLA_TYPE;
        let value = rest.get(4..len)?;
        rest = rest.get(len.next_multiple_of(4)..).unwrap_or_default();
        Some((kind, value))
    })
}

pub(crate) fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

pub(crate) fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}
