//! Messages by UDP (RFC 7011 10.3): sent once, and what the collector's host refuses is known one message later.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use super::carrier::Carrier;

/// How often a collector that may have missed them is sent templates and names.
const REPEAT: Duration = Duration::from_secs(10);

pub(super) struct Datagrams {
    to: SocketAddr,
    socket: Option<UdpSocket>,
    /// Flows in the message sent last, which may still be refused.
    last: u32,
    /// Those in messages that were refused.
    refused: u64,
}

impl Datagrams {
    pub fn new(to: SocketAddr) -> Datagrams {
        Datagrams { to, socket: None, last: 0, refused: 0 }
    }
}

impl Carrier for Datagrams {
    fn open(&mut self) -> io::Result<()> {
        let any = match self.to {
            SocketAddr::V4(_) => SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)),
            SocketAddr::V6(_) => SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)),
        };
        let socket = UdpSocket::bind(any)?;
        socket.connect(self.to)?;
        socket.set_nonblocking(true)?;
        self.socket = Some(socket);
        Ok(())
    }

    fn send(&mut self, message: &[u8], flows: u32, _: &AtomicBool) -> io::Result<()> {
        let Some(socket) = &self.socket else { return Err(io::ErrorKind::NotConnected.into()) };
        let sent = socket.send(message).map(drop);
        let last = std::mem::replace(&mut self.last, if sent.is_ok() { flows } else { 0 });
        if sent.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused) {
            // This is about the message before, and this one was not sent.
            self.refused += u64::from(last);
        }
        sent
    }

    fn take_lost(&mut self) -> u64 {
        std::mem::take(&mut self.refused)
    }

    fn close(&mut self) {
        self.socket = None;
    }

    fn repeat(&self) -> Option<Duration> {
        Some(REPEAT)
    }

    fn is_lossy(&self) -> bool {
        true
    }
}
