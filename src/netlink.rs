//! rtnetlink by hand: requests, dumps, and the parts of messages. Nobody here needs to know more of the
//! kernel's messages than the few attributes that he reads: an attribute of a shape that a parser does
//! not know must not keep a station from starting.
//!
//! Parsing never panics; what is too short is left out.

use std::io;

use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};

// Of linux/netlink.h.
/// The type of an error, or of an acknowledgement.
pub const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
/// The type of "messages were lost".
pub const NLMSG_OVERRUN: u16 = 4;
const NLM_F_REQUEST: u16 = 0x1;
const NLM_F_ACK: u16 = 0x4;
/// What is there already is replaced.
pub const NLM_F_REPLACE: u16 = 0x100;
/// What is not there is made.
pub const NLM_F_CREATE: u16 = 0x400;
const NLM_F_DUMP: u16 = 0x300;
const NLM_F_DUMP_INTR: u16 = 0x10;
/// The flag bits of an attribute's type (NLA_F_NESTED, NLA_F_NET_BYTEORDER).
const NLA_TYPE: u16 = 0x3fff;
/// Octets of `struct nlmsghdr`.
const HEADER: usize = 16;

/// One message of a datagram.
#[derive(Clone, Copy, Debug)]
pub struct Message<'a> {
    /// Its type.
    pub kind: u16,
    /// It belongs to a dump that a change fell into.
    pub interrupted: bool,
    /// What follows the header.
    pub payload: &'a [u8],
}

impl Message<'_> {
    /// The error that a message of type `NLMSG_ERROR` carries; 0 is an acknowledgement.
    pub fn errno(&self) -> i32 {
        u32_at(self.payload, 0).map_or(libc::EPROTO, |errno| errno.cast_signed().wrapping_neg())
    }
}

/// The messages of a datagram.
pub fn messages(mut rest: &[u8]) -> impl Iterator<Item = Message<'_>> {
    std::iter::from_fn(move || {
        let length = usize::try_from(u32_at(rest, 0)?).ok()?;
        let (kind, flags) = (u16_at(rest, 4)?, u16_at(rest, 6)?);
        let payload = rest.get(HEADER..length)?;
        rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some(Message { kind, interrupted: flags & NLM_F_DUMP_INTR != 0, payload })
    })
}

/// The attributes of a message, by type.
pub fn attributes(mut rest: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let length = usize::from(u16_at(rest, 0)?);
        let kind = u16_at(rest, 2)? & NLA_TYPE;
        let value = rest.get(4..length)?;
        rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some((kind, value))
    })
}

/// The number at `at`, if it is there.
pub fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

/// The number at `at`, if it is there.
pub fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
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
        if let Ok(length) = u16::try_from(value.len() + 4) {
            self.0.extend_from_slice(&length.to_ne_bytes());
            self.0.extend_from_slice(&kind.to_ne_bytes());
            self.0.extend_from_slice(value);
            self.0.resize(self.0.len().next_multiple_of(4), 0);
        }
        self
    }

    fn add_flags(&mut self, flags: u16) {
        let all = flags | u16_at(&self.0, 6).unwrap_or(0);
        self.0[6..8].copy_from_slice(&all.to_ne_bytes());
    }

    fn send(mut self, socket: &Socket) -> io::Result<()> {
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
        let socket = connect()?;
        self.send(&socket)?;
        loop {
            let (datagram, _) = socket.recv_from_full()?;
            let answer = messages(&datagram).find(|message| message.kind == NLMSG_ERROR);
            match answer.map(|message| message.errno()) {
                None => {}
                Some(0) => return Ok(()),
                Some(errno) => return Err(io::Error::from_raw_os_error(errno)),
            }
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
        let socket = connect()?;
        self.send(&socket)?;
        let (mut items, mut interrupted) = (Vec::new(), false);
        loop {
            let (datagram, _) = socket.recv_from_full()?;
            for message in messages(&datagram) {
                interrupted |= message.interrupted;
                match message.kind {
                    NLMSG_DONE => return Ok((!interrupted).then_some(items)),
                    NLMSG_ERROR if message.errno() != 0 => {
                        return Err(io::Error::from_raw_os_error(message.errno()));
                    }
                    NLMSG_ERROR => {}
                    NLMSG_OVERRUN => return Err(io::Error::from_raw_os_error(libc::ENOBUFS)),
                    kind => items.extend(item(kind, message.payload)),
                }
            }
        }
    }
}

fn connect() -> io::Result<Socket> {
    let mut socket = Socket::new(NETLINK_ROUTE)?;
    socket.bind_auto()?;
    socket.connect(&SocketAddr::new(0, 0))?;
    Ok(socket)
}
