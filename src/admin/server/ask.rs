//! The way of a request to the control thread and of its answer back, and what is said where the control thread hangs.

use std::time::{Duration, Instant};

use crossbeam::channel::{RecvTimeoutError, SendTimeoutError};

use super::{Call, Control, Limits, Reply};
use crate::admin::answer::Answer;
use crate::admin::protocol::{ErrorKind, Request, Right, Terms};
use crate::history::Author;

/// Pieces of waiting in which the control thread does not go round before it counts as hung. They are counted, and not
/// the time: in a station that was stopped whole and goes on again nobody had a turn.
const PIECES: u32 = 8;

/// Has the control thread answer a request.
pub(super) fn ask(
    (request, terms, text): (Request, Terms, String),
    author: Author,
    control: &Control,
    limits: &Limits,
) -> Answer {
    let right = request.right();
    if right != Right::Ask {
        let (uid, pid, login_uid) = (author.uid, author.pid, author.login_uid);
        tracing::info!(uid, pid, login_uid, ?request, comment = terms.comment, "admin request");
    }
    let (reply, answer) = Reply::new();
    let stopping = || Answer::refused(ErrorKind::Internal, "the station is stopping");
    let mut wait = Wait::begin(control, limits);
    let mut call = Call { request, terms, text, author, reply };
    loop {
        match control.calls.send_timeout(call, wait.piece) {
            Ok(()) => break,
            Err(SendTimeoutError::Timeout(back)) => call = back,
            Err(SendTimeoutError::Disconnected(_)) => return stopping(),
        }
        if let Some(over) = wait.over("it was not asked, and does nothing of this") {
            return over;
        }
    }
    let after = match right {
        Right::Ask => "it does not answer",
        // It is in the queue, or under way: nobody can take it back.
        Right::Change | Right::Mirror | Right::Own => {
            "this may still be done, and committed: look whether it is before you try again"
        }
    };
    loop {
        match answer.recv_timeout(wait.piece) {
            Ok(answer) => return answer,
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return stopping(),
        }
        if let Some(over) = wait.over(after) {
            return over;
        }
    }
}

/// How long is waited, and whether the control thread goes round meanwhile.
struct Wait<'a> {
    control: &'a Control,
    deadline: Instant,
    hung: Duration,
    piece: Duration,
    /// Rounds that were seen, and pieces since without another.
    rounds: u64,
    still: u32,
}

impl<'a> Wait<'a> {
    fn begin(control: &'a Control, limits: &Limits) -> Wait<'a> {
        Wait {
            control,
            deadline: Instant::now() + limits.answer,
            hung: limits.hung,
            piece: limits.hung / PIECES,
            rounds: control.rounds.so_far(),
            still: 0,
        }
    }

    /// Called after each piece: what is answered where no more is waited for. `after`: what is said where the control
    /// thread hangs.
    fn over(&mut self, after: &str) -> Option<Answer> {
        let rounds = self.control.rounds.so_far();
        self.still = if rounds == self.rounds { self.still + 1 } else { 0 };
        self.rounds = rounds;
        if self.still >= PIECES {
            let seconds = self.hung.as_secs_f32();
            let message = format!("the control thread has not gone round for {seconds} s: {after}");
            return Some(Answer::refused(ErrorKind::Timeout, message));
        }
        let late = Instant::now() >= self.deadline;
        late.then(|| Answer::refused(ErrorKind::Timeout, "the station did not answer in time"))
    }
}
