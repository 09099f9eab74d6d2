//! The client's end of the admin protocol.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::sockopt::socket_peercred;
use rustix::process::{PidfdFlags, pidfd_open};
use serde::de::DeserializeOwned;

use super::answer::Line;
use super::protocol::{self, ErrorKind, Refusal, Request, Terms};

/// Longer than the station takes for anything.
const PATIENCE: Duration = Duration::from_secs(90);
/// How often a station that does not answer is looked at: one that was stopped is not waited for.
const LOOK: Duration = Duration::from_secs(2);
/// The longest line of an answer, in octets.
const LONGEST: u64 = 64 << 20;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The station said no.
    #[error("{}", .0.message)]
    Refused(Refusal),
    /// Its socket is not there.
    #[error("there is no {}: is stationd running?", .0.display())]
    Absent(PathBuf),
    /// The station is not there, or does not speak as it should.
    #[error("{0}")]
    Unreachable(String),
}

/// One request's connection.
pub struct Client {
    stream: BufReader<UnixStream>,
    ended: bool,
}

impl Client {
    /// Connects and sends a request.
    ///
    /// # Errors
    /// [`Failure`].
    pub fn connect(socket: &Path, request: &Request) -> Result<Self, Failure> {
        Self::ask(socket, request, &Terms::default(), "")
    }

    /// Connects and sends a request that changes something, and the text that follows it.
    ///
    /// # Errors
    /// [`Failure`].
    pub fn ask(
        socket: &Path,
        request: &Request,
        terms: &Terms,
        text: &str,
    ) -> Result<Self, Failure> {
        let stream = UnixStream::connect(socket).map_err(|error| no_station(socket, &error))?;
        let broken = |error: io::Error| Failure::Unreachable(format!("cannot ask: {error}"));
        stream.set_read_timeout(Some(LOOK)).map_err(broken)?;
        stream.set_write_timeout(Some(PATIENCE)).map_err(broken)?;
        let mut octets = protocol::encode(request, terms).map_err(|error| broken(error.into()))?;
        octets.extend_from_slice(text.as_bytes());
        match (&stream).write_all(&octets) {
            // The station closed at once: it has said why.
            Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(broken(error)),
            _ => Ok(Client { stream: BufReader::new(stream), ended: false }),
        }
    }

    /// The next line of the answer; `None` after the last.
    ///
    /// # Errors
    /// [`Failure`].
    pub fn line<R: DeserializeOwned>(&mut self) -> Result<Option<Line<R>>, Failure> {
        if self.ended {
            return Ok(None);
        }
        let (mut text, deadline) = (Vec::new(), Instant::now() + PATIENCE);
        loop {
            // What came before a timeout stays in the text.
            match (&mut self.stream).take(LONGEST).read_until(b'\n', &mut text) {
                Ok(_) => break,
                Err(error) if !waits(&error) => {
                    return Err(Failure::Unreachable(format!("the connection broke: {error}")));
                }
                Err(_) if Instant::now() > deadline => {
                    return Err(Failure::Unreachable("the station does not answer".to_owned()));
                }
                Err(_) => self.look_at_station()?,
            }
        }
        if text.last() != Some(&b'\n') {
            let message = "the station closed the connection before the end of its answer";
            return Err(Failure::Unreachable(message.to_owned()));
        }
        let line: Line<R> = serde_json::from_slice(&text).map_err(|error| {
            Failure::Unreachable(format!("the station's answer is not understood: {error}"))
        })?;
        self.ended = line.end;
        match line.error {
            Some(refusal) => Err(Failure::Refused(refusal)),
            None => Ok(Some(line)),
        }
    }

    /// A station that was stopped answers nobody until it goes on.
    fn look_at_station(&self) -> Result<(), Failure> {
        let Ok(station) = socket_peercred(self.stream.get_ref()) else { return Ok(()) };
        let pid = station.pid.as_raw_pid();
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        // proc_pid_stat(5): the state follows the name, which ends with the last parenthesis.
        match stat.rsplit_once(") ").and_then(|(_, rest)| rest.chars().next()) {
            Some('T' | 't') => Err(Failure::Unreachable(format!(
                "stationd is stopped (process {pid}): `kill -CONT {pid}` has it go on"
            ))),
            _ => Ok(()),
        }
    }

    /// A handle to end a stream by: closing its sending half tells the station that the client has enough.
    ///
    /// # Errors
    /// [`Failure::Unreachable`]: there are no descriptors left.
    pub fn handle(&self) -> Result<UnixStream, Failure> {
        let handle = self.stream.get_ref().try_clone();
        handle.map_err(|error| Failure::Unreachable(format!("cannot watch the station: {error}")))
    }

    /// Waits until the station's process is gone, with all that it held.
    ///
    /// # Errors
    /// [`Failure::Unreachable`]: it still runs after a long time, or cannot be watched.
    pub fn wait_for_end(&mut self) -> Result<(), Failure> {
        let failed = |error: rustix::io::Errno| {
            Failure::Unreachable(format!("cannot see the station end: {error}"))
        };
        let station = socket_peercred(self.stream.get_ref()).map_err(failed)?.pid;
        let process = match pidfd_open(station, PidfdFlags::empty()) {
            Err(rustix::io::Errno::SRCH) => return Ok(()),
            opened => opened.map_err(failed)?,
        };
        let patience = Timespec { tv_sec: PATIENCE.as_secs().cast_signed(), tv_nsec: 0 };
        match poll(&mut [PollFd::new(&process, PollFlags::IN)], Some(&patience)).map_err(failed)? {
            0 => Err(Failure::Unreachable("the station does not end".to_owned())),
            _ => Ok(()),
        }
    }
}

/// All rows, or the one result, of an answer.
///
/// # Errors
/// As [`Client::connect`] and [`Client::line`].
pub fn all<R: DeserializeOwned>(socket: &Path, request: &Request) -> Result<Vec<R>, Failure> {
    let mut client = Client::connect(socket, request)?;
    let mut rows = Vec::new();
    while let Some(line) = client.line::<R>()? {
        rows.extend(line.rows);
        rows.extend(line.result);
    }
    Ok(rows)
}

fn waits(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut)
}

fn no_station(socket: &Path, error: &io::Error) -> Failure {
    let path = socket.display();
    match error.kind() {
        io::ErrorKind::PermissionDenied => Failure::Refused(Refusal::new(
            ErrorKind::Denied,
            format!(
                "permission denied on {path}: be root, or in the group station-read or station-admin"
            ),
        )),
        io::ErrorKind::NotFound => Failure::Absent(socket.to_owned()),
        io::ErrorKind::ConnectionRefused => {
            Failure::Unreachable(format!("nobody answers on {path}: stationd is not running"))
        }
        _ => Failure::Unreachable(format!("cannot connect to {path}: {error}")),
    }
}
