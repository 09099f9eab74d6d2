//! Which events requests make: those that change something, or show customers' traffic, and those who may not ask.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::peer::Peer;
use crate::admin::answer::Answer;
use crate::admin::protocol::{Request, Terms};
use crate::events::{Event, Reporter, Spaced};
use crate::history::Author;

/// Between two events that somebody was denied, at least: anybody can ask.
const APART: Duration = Duration::from_secs(1);

/// Tells of requests.
#[derive(Clone)]
pub(super) struct Audit {
    report: Reporter,
    denied: Arc<Mutex<Spaced>>,
}

impl Audit {
    pub(super) fn new(report: Reporter) -> Audit {
        Audit { report, denied: Arc::default() }
    }

    /// Somebody asked who may not. `request`: none where the connection was refused.
    pub(super) fn denied(&self, request: Option<&Request>, peer: Peer) {
        let mut denied = self.denied.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = denied.happened(APART, Instant::now()) {
            let (request, Peer { uid, pid, .. }) = (request.map(Request::name), peer);
            self.report.tell(Event::Denied { request, uid, pid, count });
        }
    }

    /// What somebody asked for was answered.
    pub(super) fn answered(&self, asked: Asked, answer: &Answer) {
        let Asked { request, author, comment } = asked;
        let refused = match answer {
            Answer::Refused(refusal) => refusal.message.lines().next().map(str::to_owned),
            _ => None,
        };
        let Author { uid, pid, login_uid, sudo_user, .. } = author;
        self.report.tell(Event::Request {
            request,
            uid,
            pid,
            login_uid,
            sudo_user,
            comment,
            refused,
        });
    }
}

/// Who asked for what.
pub(super) struct Asked {
    request: String,
    author: Author,
    comment: Option<String>,
}

impl Asked {
    pub(super) fn new(request: &Request, author: &Author, terms: &Terms) -> Asked {
        let (author, comment) = (author.clone(), terms.comment.clone());
        Asked { request: request.name(), author, comment }
    }
}
