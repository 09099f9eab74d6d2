//! Messages by TCP (RFC 7011 10.4).

#![allow(unsafe_code)]

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::AsRawFd;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use super::carrier::Carrier;

/// How long a connection may take to open.
const OPEN: Duration = Duration::from_secs(2);
/// How long a collector may take nothing.
const PATIENCE: Duration = Duration::from_secs(30);
/// Between two looks at whether the station ends.
const LOOK: Duration = Duration::from_millis(200);

pub(super) struct Stream {
    to: SocketAddr,
    connection: Option<TcpStream>,
    /// Octets that were sent.
    sent: u64,
    /// Where messages end that the collector's host has not acknowledged, and the flows in them.
    waiting: VecDeque<(u64, u32)>,
}

impl Stream {
    pub fn new(to: SocketAddr) -> Stream {
        Stream { to, connection: None, sent: 0, waiting: VecDeque::new() }
    }

    /// Forgets the messages that were acknowledged.
    fn forget(&mut self) {
        let unacknowledged = self.connection.as_ref().map_or(0, unacknowledged);
        let arrived = self.sent.saturating_sub(unacknowledged);
        while self.waiting.front().is_some_and(|(end, _)| *end <= arrived) {
            self.waiting.pop_front();
        }
    }
}

impl Carrier for Stream {
    fn open(&mut self) -> io::Result<()> {
        let connection = TcpStream::connect_timeout(&self.to, OPEN)?;
        connection.set_nodelay(true)?;
        connection.set_write_timeout(Some(LOOK))?;
        (self.connection, self.sent) = (Some(connection), 0);
        Ok(())
    }

    fn send(&mut self, message: &[u8], flows: u32, stop: &AtomicBool) -> io::Result<()> {
        let Some(connection) = &mut self.connection else {
            return Err(io::ErrorKind::NotConnected.into());
        };
        has_ended(connection)?;
        let (mut left, began) = (message, Instant::now());
        while !left.is_empty() {
            match connection.write(left) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => {
                    left = left.get(written..).unwrap_or_default();
                    self.sent += written as u64;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    if began.elapsed() > PATIENCE || stop.load(Relaxed) {
                        return Err(io::Error::other("the collector takes nothing"));
                    }
                }
                Err(error) => return Err(error),
            }
        }
        self.waiting.push_back((self.sent, flows));
        self.forget();
        Ok(())
    }

    fn look(&mut self) -> io::Result<()> {
        self.connection.as_mut().map_or(Ok(()), has_ended)
    }

    fn take_lost(&mut self) -> u64 {
        if self.connection.is_some() {
            return 0;
        }
        self.waiting.drain(..).map(|(_, flows)| u64::from(flows)).sum()
    }

    fn is_done(&mut self) -> bool {
        self.forget();
        self.waiting.is_empty()
    }

    fn close(&mut self) {
        self.forget();
        self.connection = None;
    }
}

/// An error where the other end has closed. Collectors have nothing to say: what they send is thrown away.
fn has_ended(connection: &mut TcpStream) -> io::Result<()> {
    connection.set_nonblocking(true)?;
    let read = connection.read(&mut [0; 512]);
    connection.set_nonblocking(false)?;
    match read {
        Ok(0) => Err(io::Error::other("the collector closed the connection")),
        Err(error) if error.kind() != io::ErrorKind::WouldBlock => Err(error),
        _ => Ok(()),
    }
}

/// Octets that the other end has not acknowledged (tcp(7), SIOCOUTQ).
fn unacknowledged(connection: &TcpStream) -> u64 {
    let mut octets: libc::c_int = 0;
    // SAFETY: the descriptor is open, and the call writes an int.
    let done = unsafe { libc::ioctl(connection.as_raw_fd(), libc::TIOCOUTQ, &raw mut octets) };
    if done == 0 { u64::try_from(octets).unwrap_or(0) } else { 0 }
}
