//! One admin connection: requests in, answers out, each within its bounds of size and time.

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use crossbeam::channel::{RecvTimeoutError, Sender};

use super::peer::Peer;
use super::{Call, Limits, Reply};
use crate::admin::answer::{Answer, Line};
use crate::admin::protocol::{self, ErrorKind, MAX_REQUEST, Refusal, Request};
use crate::admin::rows::{Outcome, Row};

/// Rows of one line of an answer.
const ROWS: usize = 256;
/// Octets written between two looks at the clock.
const PIECE: usize = 64 << 10;

/// Why a connection ends.
enum End {
    /// The client closed it, or did not ask for anything for long enough.
    Quiet,
    /// The client is told why.
    Refused(Refusal),
}

pub(super) struct Connection {
    stream: UnixStream,
    limits: Limits,
    /// Octets received that are not yet handled.
    pending: Vec<u8>,
    /// It has asked for something.
    asked: bool,
}

impl Connection {
    pub(super) fn new(stream: UnixStream, limits: Limits) -> io::Result<Self> {
        stream.set_write_timeout(Some(limits.write))?;
        Ok(Connection { stream, limits, pending: Vec::new(), asked: false })
    }

    pub(super) fn stream(&self) -> &UnixStream {
        &self.stream
    }

    /// Handles requests until the client leaves or breaks a rule.
    pub(super) fn serve(mut self, calls: &Sender<Call>, peer: Peer) {
        loop {
            let line = match self.receive() {
                Ok(line) => line,
                Err(End::Quiet) => return,
                Err(End::Refused(refusal)) => return self.refuse_at_once(&refusal),
            };
            let answer = match protocol::decode(&line) {
                Ok(request) => ask(request, calls, peer, self.limits.answer),
                Err(refusal) => Answer::Refused(refusal),
            };
            if self.answer(answer).is_err() {
                return;
            }
        }
    }

    /// The next request's line, without its newline.
    fn receive(&mut self) -> Result<Vec<u8>, End> {
        let limit = match (self.pending.is_empty(), self.asked) {
            (true, true) => self.limits.idle,
            (true, false) => self.limits.first,
            (false, _) => self.limits.request,
        };
        let mut deadline = Instant::now() + limit;
        let mut seen = 0;
        loop {
            if let Some(end) = self.pending[seen..].iter().position(|&byte| byte == b'\n') {
                let rest = self.pending.split_off(seen + end + 1);
                let mut line = std::mem::replace(&mut self.pending, rest);
                line.pop();
                self.asked = true;
                return Ok(line);
            }
            seen = self.pending.len();
            if seen >= MAX_REQUEST {
                let message = format!("the request is longer than {} KiB", MAX_REQUEST >> 10);
                return Err(End::Refused(Refusal::new(ErrorKind::TooLarge, message)));
            }
            if self.fill(deadline)? && seen == 0 {
                deadline = Instant::now() + self.limits.request;
            }
        }
    }

    /// Reads what there is, at most what a request may still have.
    fn fill(&mut self, deadline: Instant) -> Result<bool, End> {
        let left = deadline.saturating_duration_since(Instant::now()).max(Duration::from_micros(1));
        self.stream.set_read_timeout(Some(left)).map_err(|_| End::Quiet)?;
        let mut piece = [0; 4096];
        let room = (MAX_REQUEST - self.pending.len()).min(piece.len());
        match self.stream.read(&mut piece[..room]) {
            Ok(0) => Err(End::Quiet),
            Ok(n) => {
                self.pending.extend_from_slice(&piece[..n]);
                if Instant::now() > deadline { Err(self.too_slow()) } else { Ok(true) }
            }
            Err(error) => match error.kind() {
                io::ErrorKind::Interrupted => Ok(false),
                io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => Err(self.too_slow()),
                _ => Err(End::Quiet),
            },
        }
    }

    fn too_slow(&self) -> End {
        if self.pending.is_empty() {
            return End::Quiet;
        }
        End::Refused(Refusal::new(ErrorKind::Timeout, "the request did not end in time"))
    }

    fn answer(&mut self, answer: Answer) -> io::Result<()> {
        match answer {
            Answer::Later(find_out) => self.answer(find_out()),
            Answer::Refused(refusal) => self.write(&Line::<Row>::refused(refusal)),
            Answer::Result(result) => {
                self.write(&Line::<Outcome> { result: Some(result), end: true, ..Line::empty() })
            }
            Answer::Last(result, then) => {
                let written = self.answer(Answer::Result(result));
                // Whoever asked may have gone; what was promised is done.
                then();
                written
            }
            Answer::Rows(mut rows) => loop {
                let chunk: Vec<Row> = rows.by_ref().take(ROWS).collect();
                let end = chunk.len() < ROWS;
                self.write(&Line::<Row> { rows: chunk, end, ..Line::empty() })?;
                if end {
                    return Ok(());
                }
            },
        }
    }

    fn write<R: serde::Serialize>(&mut self, line: &Line<R>) -> io::Result<()> {
        let mut text = serde_json::to_vec(line)?;
        text.push(b'\n');
        for piece in text.chunks(PIECE) {
            self.write_piece(piece)?;
        }
        Ok(())
    }

    /// Writes within the limit, however slowly the client reads: the timeout of the socket alone
    /// starts again with every octet that it takes.
    fn write_piece(&mut self, mut piece: &[u8]) -> io::Result<()> {
        let deadline = Instant::now() + self.limits.write;
        while !piece.is_empty() {
            if Instant::now() > deadline {
                return Err(io::ErrorKind::TimedOut.into());
            }
            match self.stream.write(piece) {
                Ok(n) => piece = &piece[n..],
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Says why the connection ends. What the client still sends is not read.
    pub(super) fn refuse_at_once(&mut self, refusal: &Refusal) {
        // The client may have gone.
        let _ = self.write(&Line::<Row>::refused(refusal.clone()));
    }
}

/// Has the control thread answer a request.
fn ask(request: Request, calls: &Sender<Call>, peer: Peer, limit: Duration) -> Answer {
    if request.is_change() {
        tracing::info!(uid = peer.uid, pid = peer.pid, ?request, "admin request");
    }
    let (reply, answer) = Reply::new();
    let stopping = || Answer::refused(ErrorKind::Internal, "the station is stopping");
    let late = || Answer::refused(ErrorKind::Timeout, "the station did not answer in time");
    let deadline = Instant::now() + limit;
    match calls.send_deadline(Call { request, reply }, deadline) {
        Err(error) if error.is_timeout() => return late(),
        Err(_) => return stopping(),
        Ok(()) => {}
    }
    match answer.recv_deadline(deadline) {
        Ok(answer) => answer,
        Err(RecvTimeoutError::Timeout) => late(),
        Err(RecvTimeoutError::Disconnected) => stopping(),
    }
}
