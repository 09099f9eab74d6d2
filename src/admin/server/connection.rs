//! One admin connection: requests in, answers out, each within its bounds of size and time.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::thread;
use std::time::{Duration, Instant};

use crossbeam::channel::{Receiver, bounded};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::ask::ask;
use super::audit::{Asked, Audit};
use super::peer::Peer;
use super::{Control, Limits, author};
use crate::admin::answer::{Answer, Line, Piece, Take};
use crate::admin::protocol::{self, ErrorKind, MAX_FILE, MAX_REQUEST, Refusal, Right};
use crate::admin::rows::{Outcome, Row};
use crate::mappings::{Lines, Marked};

/// Rows of one line of an answer.
const ROWS: usize = 256;
/// Octets written between two looks at the clock.
const PIECE: usize = 64 << 10;
/// Between two lines of a stream, where nothing happens.
const SIGN_OF_LIFE: Duration = Duration::from_secs(10);

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
    pub(super) fn serve(mut self, control: &Control, peer: Peer, audit: &Audit) {
        loop {
            let line = match self.receive() {
                Ok(line) => line,
                Err(End::Quiet) => return,
                Err(End::Refused(refusal)) => return self.refuse_at_once(&refusal),
            };
            let answer = match protocol::decode(&line) {
                Ok((request, _)) if !peer.may(request.right()) => {
                    tracing::warn!(uid = peer.uid, pid = peer.pid, ?request, "denied");
                    audit.denied(Some(&request), peer);
                    // What follows may be a text: it must not be taken for requests.
                    let refusal = Refusal::new(ErrorKind::Denied, denied(request.right()));
                    if request.octets() > 0 {
                        return self.refuse_at_once(&refusal);
                    }
                    Answer::Refused(refusal)
                }
                Ok((request, terms)) => {
                    let text = match self.receive_text(request.octets()) {
                        Ok(text) => text,
                        Err(End::Quiet) => return,
                        Err(End::Refused(refusal)) => return self.refuse_at_once(&refusal),
                    };
                    let author = match request.right() {
                        Right::Ask => author::bare(peer),
                        Right::Change | Right::Mirror | Right::Own => author::of(peer),
                    };
                    let asked = (request.right() != Right::Ask)
                        .then(|| Asked::new(&request, &author, &terms));
                    let answer = ask((request, terms, text), author, control, &self.limits);
                    match asked {
                        Some(asked) => {
                            let answer = found_out(answer);
                            audit.answered(asked, &answer);
                            answer
                        }
                        None => answer,
                    }
                }
                // What follows may be a text: it must not be taken for requests.
                Err(refusal) if memmem(&line, b"\"octets\"") => {
                    return self.refuse_at_once(&refusal);
                }
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

    /// The text that follows a request.
    fn receive_text(&mut self, octets: u64) -> Result<String, End> {
        let refused = |kind, message: String| End::Refused(Refusal::new(kind, message));
        let wanted = usize::try_from(octets).unwrap_or(usize::MAX);
        if octets > MAX_FILE {
            let message = format!("the text is longer than {} MiB", MAX_FILE >> 20);
            return Err(refused(ErrorKind::TooLarge, message));
        }
        let deadline = Instant::now() + self.limits.request;
        let rest = self.pending.split_off(wanted.min(self.pending.len()));
        let mut text = std::mem::replace(&mut self.pending, rest);
        let mut piece = [0; 16 << 10];
        while text.len() < wanted {
            let left = deadline.saturating_duration_since(Instant::now());
            self.stream
                .set_read_timeout(Some(left.max(Duration::from_micros(1))))
                .map_err(|_| End::Quiet)?;
            let room = (wanted - text.len()).min(piece.len());
            match self.stream.read(&mut piece[..room]) {
                Ok(0) => return Err(End::Quiet),
                Ok(n) if Instant::now() <= deadline => text.extend_from_slice(&piece[..n]),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                _ => {
                    let message = "the text did not come whole in time".to_owned();
                    return Err(refused(ErrorKind::Timeout, message));
                }
            }
        }
        String::from_utf8(text).map_err(|error| {
            let at = error.utf8_error().valid_up_to();
            refused(ErrorKind::Invalid, format!("octet {at} of the text is not UTF-8"))
        })
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
            later @ Answer::Later(_) => self.answer(found_out(later)),
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
            Answer::Stream(next) => self.pass_on(next),
            Answer::Intake(first, take) => self.take_in(first, take),
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

    /// Passes on what happens until it ends, or the client does. A client that does not read loses what it does not
    /// take, and only after a long while the connection.
    fn pass_on(&mut self, mut next: Box<dyn FnMut(bool) -> Piece + Send>) -> io::Result<()> {
        let patience = std::mem::replace(&mut self.limits.write, self.limits.idle);
        self.stream.set_write_timeout(Some(self.limits.write))?;
        // At once, so that the client knows that it has begun.
        self.write(&Line::<Row>::empty())?;
        let mut written = Instant::now();
        loop {
            let Piece { rows, last } = next(self.has_enough());
            if last || !rows.is_empty() || written.elapsed() > SIGN_OF_LIFE {
                self.write(&Line::<Row> { rows, end: last, ..Line::empty() })?;
                written = Instant::now();
            }
            if last {
                self.limits.write = patience;
                return self.stream.set_write_timeout(Some(patience));
            }
        }
    }

    /// Takes lines until the client closes its sending half or breaks a rule; then the connection ends. Between lines it
    /// may be silent for as long as it likes: a client of this socket that dies closes it. Lines are read while the batch
    /// before is brought to the engine.
    fn take_in(&mut self, first: Row, take: Take) -> io::Result<()> {
        self.write(&row(first))?;
        let stream = self.stream.try_clone()?;
        stream.set_read_timeout(None)?;
        let pending = std::mem::take(&mut self.pending);
        let mut reader = BufReader::with_capacity(MAX_REQUEST, pending.chain(stream));
        let (sender, batches) = bounded(1);
        let (rest, answered) = thread::scope(|scope| {
            let answer = || self.answer_batches(&batches, take);
            let answering = thread::Builder::new()
                .name("mappings-in".to_owned())
                .spawn_scoped(scope, answer)?;
            let (mut lines, mut line) = (Lines::default(), Vec::new());
            loop {
                line.clear();
                let read = reader.by_ref().take(MAX_REQUEST as u64).read_until(b'\n', &mut line);
                if read.is_err() || line.pop() != Some(b'\n') {
                    break;
                }
                if lines.take(&line).is_some_and(|batch| sender.send(batch).is_err()) {
                    break;
                }
            }
            drop(sender);
            // One that panics has ended the process.
            let answered = answering.join().unwrap_or(Ok(()));
            io::Result::Ok((line.len() + 1, answered))
        })?;
        answered?;
        if rest >= MAX_REQUEST {
            let message = format!("the line is longer than {} KiB", MAX_REQUEST >> 10);
            self.refuse_at_once(&Refusal::new(ErrorKind::TooLarge, message));
        } else {
            self.write(&Line::<Row> { end: true, ..Line::empty() })?;
        }
        Err(io::ErrorKind::ConnectionAborted.into())
    }

    /// Answers batches as they come. Where it ends before them, nothing more is read.
    fn answer_batches(&mut self, batches: &Receiver<Marked>, mut take: Take) -> io::Result<()> {
        for batch in batches {
            let written = match take(batch) {
                Ok(answer) => self.write(&row(answer.into())),
                Err(why) => {
                    self.refuse_at_once(&Refusal::new(ErrorKind::Conflict, why));
                    Err(io::ErrorKind::ConnectionAborted.into())
                }
            };
            if written.is_err() {
                // It may have gone.
                let _ = self.stream.shutdown(Shutdown::Both);
                return written;
            }
        }
        Ok(())
    }

    /// Whether the client has closed its sending half, or is gone.
    fn has_enough(&self) -> bool {
        let mut fds = [PollFd::new(&self.stream, PollFlags::RDHUP)];
        let at_once = Timespec { tv_sec: 0, tv_nsec: 0 };
        poll(&mut fds, Some(&at_once)).is_ok_and(|ready| ready > 0)
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

/// A line of one row.
fn row(row: Row) -> Line<Row> {
    Line { rows: vec![row], ..Line::empty() }
}

/// What a peer is told who has not the right.
const fn denied(right: Right) -> &'static str {
    match right {
        Right::Own => "this shows customers' traffic or secrets: be root or the station's own user",
        Right::Mirror => {
            "this leads customers' traffic elsewhere: be root or in the group station-mirror"
        }
        Right::Ask | Right::Change => {
            "this changes or sends something: be root or in the group station-admin"
        }
    }
}

/// Whether `piece` is somewhere in `octets`.
fn memmem(octets: &[u8], piece: &[u8]) -> bool {
    octets.windows(piece.len()).any(|window| window == piece)
}

/// Finds out what an answer leaves to the connection's own thread.
fn found_out(mut answer: Answer) -> Answer {
    while let Answer::Later(find_out) = answer {
        answer = find_out();
    }
    answer
}
