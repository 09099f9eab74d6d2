//! Generic netlink: a family that is found by its name, and its requests.

use std::io;

use netlink_sys::Socket;
use netlink_sys::protocols::NETLINK_GENERIC;

use super::{Frame, Request, attributes, frames, open_protocol, u16_at};

// Of linux/genetlink.h.
const GENL_ID_CTRL: u16 = 0x10;
const CTRL_CMD_GETFAMILY: u8 = 3;
const CTRL_ATTR_FAMILY_ID: u16 = 1;
const CTRL_ATTR_FAMILY_NAME: u16 = 2;
/// Octets of `struct genlmsghdr`, which a message begins with.
pub(super) const GENERIC_HEADER: usize = 4;

/// A family of the kernel's, to be asked.
pub(super) struct GenericFamily {
    socket: Socket,
    id: u16,
    version: u8,
}

impl GenericFamily {
    /// The family of this name.
    ///
    /// # Errors
    /// ENOENT where the kernel has none of the name.
    pub(super) fn open(name: &str, version: u8) -> io::Result<GenericFamily> {
        let socket = open_protocol(NETLINK_GENERIC)?;
        // The kernel has answered when the call that sends comes back: to wait for an answer would be for ever.
        socket.set_non_blocking(true)?;
        let terminated = [name.as_bytes(), &[0]].concat();
        let request = Request::new(GENL_ID_CTRL, 0, &[CTRL_CMD_GETFAMILY, 1, 0, 0])
            .with(CTRL_ATTR_FAMILY_NAME, &terminated);
        let answer = exchange(&socket, request)?;
        let id = family_id(&answer).ok_or(io::ErrorKind::InvalidData)?;
        Ok(GenericFamily { socket, id, version })
    }

    /// A request to it, for [`GenericFamily::ask`].
    pub(super) fn request(&self, command: u8) -> Request {
        Request::new(self.id, 0, &[command, self.version, 0, 0])
    }

    /// Asks for one thing; gives the attributes of the answer.
    ///
    /// # Errors
    /// The kernel's answer where it is one.
    pub(super) fn ask(&self, request: Request) -> io::Result<Vec<u8>> {
        exchange(&self.socket, request)
    }
}

fn exchange(socket: &Socket, request: Request) -> io::Result<Vec<u8>> {
    request.send(socket)?;
    let (datagram, _) = socket.recv_from_full()?;
    answer(&datagram)
}

/// The attributes of the answer in a datagram.
pub(super) fn answer(datagram: &[u8]) -> io::Result<Vec<u8>> {
    match frames(datagram).next() {
        Some((Frame::Payload(_, payload), _)) => {
            Ok(payload.get(GENERIC_HEADER..).unwrap_or_default().to_vec())
        }
        Some((Frame::Error(errno), _)) if errno != 0 => Err(io::Error::from_raw_os_error(errno)),
        _ => Err(io::ErrorKind::InvalidData.into()),
    }
}

fn family_id(answer: &[u8]) -> Option<u16> {
    let (_, id) = attributes(answer).find(|(kind, _)| *kind == CTRL_ATTR_FAMILY_ID)?;
    u16_at(id, 0)
}
