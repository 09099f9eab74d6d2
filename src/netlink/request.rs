//! Requests to the kernel, and lists of what it has.

use std::io;

use netlink_sys::Socket;

use super::{Frame, HEADER, frames, open, u16_at};

// Of linux/netlink.h.
const NLM_F_REQUEST: u16 = 0x1;
const NLM_F_ACK: u16 = 0x4;
/// The kernel lists everything of the kind.
pub const NLM_F_DUMP: u16 = 0x300;
/// What is there already is replaced.
pub const NLM_F_REPLACE: u16 = 0x100;
/// What is not there is made.
pub const NLM_F_CREATE: u16 = 0x400;

/// An attribute that holds others (in its type).
pub(super) const NLA_F_NESTED: u16 = 1 << 15;

/// An attribute's octets; none where no message could hold it.
pub(super) fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
    let Ok(length) = u16::try_from(value.len() + 4) else { return Vec::new() };
    let mut octets = [length.to_ne_bytes(), kind.to_ne_bytes()].concat();
    octets.extend_from_slice(value);
    octets.resize(octets.len().next_multiple_of(4), 0);
    octets
}

/// A message to the kernel.
#[derive(Clone, Debug)]
pub struct Request(Vec<u8>);

impl Request {
    /// A request of a type, with flags and the struct that its type begins with.
    pub fn new(kind: u16, flags: u16, head: &[u8]) -> Request {
        let mut bytes = vec![0; HEADER];
        bytes[4..6].copy_from_slice(&kind.to_ne_bytes());
        bytes[6..8].copy_from_slice(&(NLM_F_REQUEST | flags).to_ne_bytes());
        bytes.extend_from_slice(head);
        Request(bytes)
    }

    /// Adds an attribute; one that no message could hold is left out.
    #[must_use]
    pub fn with(mut self, kind: u16, value: &[u8]) -> Request {
        self.0.extend(attribute(kind, value));
        self
    }

    fn add_flags(&mut self, flags: u16) {
        let all = flags | u16_at(&self.0, 6).unwrap_or(0);
        self.0[6..8].copy_from_slice(&all.to_ne_bytes());
    }

    /// Sends it, for the caller to read what comes.
    pub(crate) fn send(mut self, socket: &Socket) -> io::Result<()> {
        let length = u32::try_from(self.0.len()).map_err(io::Error::other)?;
        self.0[..4].copy_from_slice(&length.to_ne_bytes());
        socket.send(&self.0, 0).map(drop)
    }

    /// Has the kernel carry it out.
    ///
    /// # Errors
    /// The kernel's answer.
    pub fn call(mut self) -> io::Result<()> {
        self.add_flags(NLM_F_ACK);
        let socket = open()?;
        self.send(&socket)?;
        loop {
            let (datagram, _) = socket.recv_from_full()?;
            for (frame, _) in frames(&datagram) {
                match frame {
                    Frame::Error(0) => return Ok(()),
                    Frame::Error(errno) => return Err(io::Error::from_raw_os_error(errno)),
                    Frame::Payload(..) | Frame::Done => {}
                }
            }
        }
    }

    /// Asks for one thing; `item` reads the answer, by type and payload.
    ///
    /// # Errors
    /// The kernel's answer where it is one.
    pub fn get<T>(self, item: impl Fn(u16, &[u8]) -> Option<T>) -> io::Result<Option<T>> {
        let socket = open()?;
        self.send(&socket)?;
        let (datagram, _) = socket.recv_from_full()?;
        match frames(&datagram).next() {
            Some((Frame::Payload(kind, payload), _)) => Ok(item(kind, payload)),
            Some((Frame::Error(errno), _)) if errno != 0 => {
                Err(io::Error::from_raw_os_error(errno))
            }
            _ => Ok(None),
        }
    }

    /// Lists everything of a kind; `item` reads one message, by type and payload.
    ///
    /// # Errors
    /// The kernel's.
    pub fn dump<T>(self, item: impl Fn(u16, &[u8]) -> Option<T>) -> io::Result<Vec<T>> {
        const ATTEMPTS: u32 = 16;
        for _ in 0..ATTEMPTS {
            if let Some(items) = self.clone().try_dump(&item)? {
                return Ok(items);
            }
        }
        Err(io::Error::other("it changes too fast to be listed"))
    }

    /// `None` where a change interrupted it.
    fn try_dump<T>(mut self, item: impl Fn(u16, &[u8]) -> Option<T>) -> io::Result<Option<Vec<T>>> {
        self.add_flags(NLM_F_DUMP);
        let socket = open()?;
        self.send(&socket)?;
        let (mut items, mut interrupted) = (Vec::new(), false);
        loop {
            let (datagram, _) = socket.recv_from_full()?;
            for (frame, was_interrupted) in frames(&datagram) {
                interrupted |= was_interrupted;
                match frame {
                    Frame::Payload(kind, payload) => items.extend(item(kind, payload)),
                    Frame::Done => return Ok((!interrupted).then_some(items)),
                    Frame::Error(0) => {}
                    Frame::Error(errno) => return Err(io::Error::from_raw_os_error(errno)),
                }
            }
        }
    }
}
