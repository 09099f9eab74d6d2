//! An operator's changes. Each one is an edit of the configuration file's text that takes the way of a
//! reload: parsed, compiled, checked by BIRD, written, and then committed as one generation or not at all.
//! So there is one truth, and what was committed survives a crash.
//!
//! All that takes its time happens on a thread of its own, one change after the other, against what ran when
//! it began; the control thread serves links, peers and neighbors meanwhile. Then the candidate is compiled
//! once more, quickly, while routes and neighbors rest, and committed in slices.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam::channel::{Receiver, RecvTimeoutError, bounded};
use tracing::error;

use super::book::{self, Book, Made};
use super::control_thread::{Change, Control, Prepared};
use super::desk::Desk;
use super::draft::Draft;
use super::drill::Measures;
use super::opening::Looked;
use super::ports::Opening;
use super::rates::RateBook;
use super::trial::Trial;
use super::{bgp, consent};
use crate::admin::answer::Answer;
use crate::admin::protocol::{ErrorKind, Refusal, Request, Terms};
use crate::admin::rows::ChangeResult;
use crate::admin::server::Reply;
use crate::bird::Following;
use crate::clock::{milliseconds, now_ms};
use crate::config::Diff;
use crate::config::model::Config;
use crate::control::{CommitError, difference};
use crate::events::Reporter;
use crate::history::{Author, Confirm};

/// How long the answer to a change waits for BIRD.
pub(super) const FOLLOWED: Duration = Duration::from_secs(10);
/// Attempts to commit what another change of the interfaces makes stale.
const ATTEMPTS: usize = 5;

/// What somebody wants.
pub(super) struct Order {
    pub request: Request,
    pub terms: Terms,
    /// The text that came with it.
    pub text: String,
    /// None where a signal, or the station itself, wants it.
    pub by: Option<Author>,
}

impl Order {
    /// What is done without a client who could be asked.
    pub fn unasked(request: Request) -> Order {
        let terms = Terms { yes: true, ..Terms::default() };
        Order { request, terms, text: String::new(), by: None }
    }
}

/// A change that somebody wants.
pub(super) struct Job {
    pub order: Order,
    /// None where a signal wants it.
    pub reply: Option<Reply>,
}

/// Starts the thread. It ends when nobody can send it jobs any more.
///
/// # Errors
/// The system's, where there is no thread left.
pub(super) fn spawn(
    file: PathBuf,
    desk: Desk,
    report: Reporter,
    book: Book,
    rates: RateBook,
    jobs: Receiver<Job>,
) -> std::io::Result<()> {
    let measures = Measures::at_once();
    let mut changes = Changes { file, desk, report, book, rates, trial: None, measures };
    let work = move || while changes.turn(&jobs) {};
    std::thread::Builder::new().name("changes".into()).spawn(work)?;
    Ok(())
}

/// The thread's own.
pub(super) struct Changes {
    pub(super) file: PathBuf,
    pub(super) desk: Desk,
    pub(super) report: Reporter,
    pub(super) book: Book,
    pub(super) rates: RateBook,
    pub(super) trial: Option<Trial>,
    pub(super) measures: Measures,
}

impl Changes {
    /// Does what is wanted next, takes back what nobody confirmed, and ends drills; false where the station has ended.
    fn turn(&mut self, jobs: &Receiver<Job>) -> bool {
        let trial = self.trial.as_ref().map(|trial| trial.at);
        let job = match trial.into_iter().chain(self.measures.at).min() {
            Some(at) => jobs.recv_deadline(at),
            None => jobs.recv().map_err(|_| RecvTimeoutError::Disconnected),
        };
        match job {
            Ok(Job { order, reply }) => match (reply, self.answer(&order)) {
                (Some(reply), answer) => reply.send(answer),
                (None, Answer::Refused(refusal)) => {
                    error!(%refusal, "the configuration stays as it was");
                }
                (None, _) => {}
            },
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return false,
        }
        self.expire();
        self.tend_drills();
        true
    }

    fn answer(&mut self, order: &Order) -> Answer {
        match &order.request {
            Request::Drain(request) => self.drain(order, request).unwrap_or_else(Answer::Refused),
            Request::Undrain(target) => self.undrain(order, target).unwrap_or_else(Answer::Refused),
            Request::DrillStart(request) => {
                self.drill_start(order, request).unwrap_or_else(Answer::Refused)
            }
            Request::DrillStop(vif) => {
                self.drill_stop(order, &vif.name).unwrap_or_else(Answer::Refused)
            }
            Request::MirrorStart(request) => {
                self.mirror_start(order, request).unwrap_or_else(Answer::Refused)
            }
            Request::MirrorStop { name } => {
                self.mirror_stop(order, name).unwrap_or_else(Answer::Refused)
            }
            &Request::Stop { keep_sessions } => {
                self.stop(keep_sessions, order).unwrap_or_else(Answer::Refused)
            }
            Request::ConfigConfirm => {
                self.confirm(order).map_or_else(Answer::Refused, Answer::result)
            }
            _ => self.change(order).unwrap_or_else(Answer::Refused),
        }
    }

    /// Carries out what changes the configuration, or says what it would. Whoever waits for the answer waits for
    /// BIRD, and nobody else does.
    fn change(&mut self, order: &Order) -> Result<Answer, Refusal> {
        if order.request.is_change() {
            self.not_on_trial(&order.request)?;
        }
        let (text, running) = self.running()?;
        let draft = self.draft(order, &text, &running)?;
        let (mut result, following) = self.carry_out(draft, order)?;
        let bound = if order.terms.no_wait { Duration::ZERO } else { FOLLOWED };
        Ok(match following {
            None => Answer::result(result),
            Some(following) => Answer::later(move || {
                result.routing = Some(following.wait(bound));
                Answer::result(result)
            }),
        })
    }

    /// Takes a draft into use: checked, in the history and in the file before it runs. Or leaves everything. Where it
    /// changes something for BIRD, that is to follow.
    pub(super) fn carry_out(
        &mut self,
        draft: Draft,
        order: &Order,
    ) -> Result<(ChangeResult, Option<Following>), Refusal> {
        let (text, running) = self.running()?;
        let mut next = self.check(draft.config)?;
        let changes = next.diff.changes.iter().map(ToString::to_string).collect();
        let cuts = match order.terms.yes && order.request.is_change() {
            true => Vec::new(),
            false => self.cuts(&running, &next.config)?,
        };
        let notes = [draft.notes, std::mem::take(&mut next.notes)].concat();
        let mut result = ChangeResult { changes, notes, ..ChangeResult::default() };
        if !order.request.is_change() {
            (result.dry_run, result.cuts) = (true, cuts);
            return Ok((self.numbered(result)?, None));
        }
        if !cuts.is_empty() {
            return Err(consent::refusal(&cuts));
        }
        if draft.write && !draft.displaced {
            // The check may have taken long enough for another hand to edit the file.
            self.unchanged(&text)?;
        }
        self.book.reopen(&self.file, &running, &text).map_err(internal)?;
        let back_to = self.book.number;
        let lists = book::lists(&next.config);
        let same = *text == draft.text && book::lists(&running) == lists;
        let confirm = draft.confirm.filter(|_| !same).map(|patience| Confirm {
            until_ms: now_ms().saturating_add(milliseconds(patience)),
            back_to,
            confirmed_ms: None,
            confirmed_by: None,
        });
        result.until_ms = confirm.as_ref().map(|confirm| confirm.until_ms);
        if same {
            result.notes.push("this is what runs already".to_owned());
        }
        let (by, comment) = (order.by.clone(), order.terms.comment.clone());
        let made = Made { command: draft.command, by, comment, confirm };
        let number = match same {
            true => None,
            false => {
                let prepared = self.book.prepare(&made, &next.config, lists, &draft.text);
                Some(prepared.map_err(internal)?)
            }
        };
        let kept = next.config.station.history;
        let written = self.write(&draft.text, draft.write, &text).inspect_err(|_| {
            number.iter().for_each(|&number| self.book.discard(number));
        })?;
        let committed = number.unwrap_or(back_to);
        let done = self.commit(next, draft.text, committed);
        self.settle_file(written, done.is_ok(), draft.displaced.then_some(committed));
        match (number, &done) {
            (None, _) => {}
            (Some(number), Err(_)) => self.book.discard(number),
            (Some(number), Ok(_)) => {
                self.report.tell(made.event(number, result.changes.len() as u64));
                let back_to = result.until_ms.map(|_| back_to);
                self.book.keep(number, kept, back_to);
                self.trial = draft.confirm.zip(back_to).map(|(patience, back_to)| Trial {
                    number,
                    back_to,
                    config: running,
                    text,
                    at: Instant::now() + patience,
                });
            }
        }
        let following = done?;
        Ok((self.numbered(result)?, following))
    }

    /// What runs, and its text.
    pub(super) fn running(&self) -> Result<(Arc<str>, Arc<Config>), Refusal> {
        self.ask(|control| (control.text.clone(), control.config().clone()))
    }

    /// Finds out all that speaks against a configuration, however long that takes.
    fn check(&self, mut next: Config) -> Result<Checked, Refusal> {
        let running = self.ask(|control| control.config().clone())?;
        // First what is cheap to find.
        let diff = difference(Some(&running), &next).map_err(|error| refusal(&error))?;
        let Looked { opening, notes } = self.look_at_ports(&running, &mut next)?;
        next.share_lists(&running);
        drop(running);
        let next = Arc::new(next);
        let of_ports = opening.clone();
        let (base, facts, bird, drained) = self.ask(move |control| {
            let facts = control.datapath.ports.facts_with(&of_ports);
            (control.engine.base(), facts, control.bgp.clone(), control.drains.names())
        })?;
        let candidate = base.compile(next.clone(), &facts).map_err(|error| refusal(&error))?;
        let vrfs = candidate.vrf_ids();
        let bird = bgp::prepare(&next, &vrfs, bird.as_ref(), &drained);
        let bird = bird.map_err(|error| refusal(&error))?;
        Ok(Checked { config: next, diff, vrfs, bird, opening, notes })
    }

    /// Has the control thread commit what was checked.
    fn commit(
        &self,
        next: Checked,
        text: String,
        number: u64,
    ) -> Result<Option<Following>, Refusal> {
        let text: Arc<str> = text.into();
        for _ in 0..ATTEMPTS {
            match self.try_commit(&next, &text, number) {
                Err(CommitError::Stale) => {}
                result => return result.map_err(|error| refusal(&error)),
            }
        }
        Err(refusal(&CommitError::Stale))
    }

    fn try_commit(
        &self,
        next: &Checked,
        text: &Arc<str>,
        number: u64,
    ) -> Result<Option<Following>, CommitError> {
        let stopped = || CommitError::Routing(stopping().message);
        let opening = next.opening.clone();
        let begun = self.desk.ask(move |control| {
            let facts = control.datapath.ports.facts_with(&opening);
            (control.pause(), control.engine.base(), facts)
        });
        let (pause, base, facts) = begun.ok_or_else(stopped)?;
        let candidate = base.compile(next.config.clone(), &facts)?;
        // BIRD's tables are those of the VRFs' ids.
        if candidate.vrf_ids() != next.vrfs {
            return Err(CommitError::Stale);
        }
        let (reply, done) = bounded(1);
        let change = Change {
            config: next.config.clone(),
            text: text.clone(),
            number,
            bird: next.bird.clone(),
            opening: next.opening.clone(),
            reply,
        };
        let prepared = Prepared { candidate, change, pause };
        self.desk.ask(|control| control.begin(prepared)).ok_or_else(stopped)?;
        done.recv().map_err(|_| stopped())?
    }

    pub(super) fn ask<T: Send + 'static>(
        &self,
        question: impl FnOnce(&mut Control) -> T + Send + 'static,
    ) -> Result<T, Refusal> {
        self.desk.ask(question).ok_or_else(stopping)
    }

    /// The result with the numbers of what runs.
    pub(super) fn numbered(&self, mut result: ChangeResult) -> Result<ChangeResult, Refusal> {
        (result.generation, result.configuration) =
            self.ask(|control| (control.engine.tables().generation, control.configuration))?;
        Ok(result)
    }
}

/// A configuration against which nothing speaks.
struct Checked {
    config: Arc<Config>,
    diff: Diff,
    /// The ids of its VRFs that BIRD's configuration was made for.
    vrfs: std::collections::HashMap<Arc<str>, crate::tables::VrfId>,
    bird: Option<crate::bird::Rendered>,
    /// The interfaces of ports that it opens.
    opening: Opening,
    notes: Vec<String>,
}

pub(super) fn internal(message: String) -> Refusal {
    Refusal::new(ErrorKind::Internal, message)
}

pub(super) fn stopping() -> Refusal {
    Refusal::new(ErrorKind::Internal, "the station is stopping")
}

pub(super) fn refusal(error: &CommitError) -> Refusal {
    let kind = match error {
        CommitError::NeedsRestart(_) | CommitError::Full(_) | CommitError::Stale => {
            ErrorKind::Conflict
        }
        CommitError::Fib { .. } | CommitError::Broken { .. } => ErrorKind::Internal,
        _ => ErrorKind::Invalid,
    };
    Refusal::new(kind, error.to_string())
}
