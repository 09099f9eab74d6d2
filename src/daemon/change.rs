//! An operator's changes. Each one is an edit of the configuration file's text that takes the way of a
//! reload: parsed, compiled, checked by BIRD, written, and then committed as one generation or not at all.
//! So there is one truth, and what was committed survives a crash.
//!
//! All that takes its time happens on a thread of its own, one change after the other, against what ran when
//! it began; the control thread serves links, peers and neighbors meanwhile. Then the candidate is compiled
//! once more, quickly, while routes and neighbors rest, and committed in slices.

use std::path::PathBuf;
use std::sync::Arc;

use crossbeam::channel::{Receiver, Sender, bounded, unbounded};
use tracing::error;

use super::bgp;
use super::control_thread::{Control, End, Prepared};
use super::desk::Desk;
use crate::admin::answer::Answer;
use crate::admin::protocol::{ErrorKind, Refusal, Request};
use crate::admin::rows::ChangeResult;
use crate::admin::server::Reply;
use crate::config::Diff;
use crate::config::model::Config;
use crate::config::{self, edit};
use crate::control::{CommitError, difference};
use crate::history::{Replaced, replace};

/// Attempts to commit what another change of the interfaces makes stale.
const ATTEMPTS: usize = 5;

/// A change that somebody wants.
pub(super) struct Job {
    pub request: Request,
    /// None where a signal wants it.
    pub reply: Option<Reply>,
}

/// Starts the thread. It ends when the sender that it gives is dropped.
///
/// # Errors
/// The system's, where there is no thread left.
pub(super) fn spawn(file: PathBuf, desk: Desk) -> std::io::Result<Sender<Job>> {
    let (sender, jobs): (_, Receiver<Job>) = unbounded();
    let changes = Changes { file, desk };
    std::thread::Builder::new().name("changes".into()).spawn(move || {
        for Job { request, reply } in jobs {
            let answer = changes.answer(&request);
            match (reply, answer) {
                (Some(reply), answer) => reply.send(answer),
                (None, Answer::Refused(refusal)) => {
                    error!(%refusal, "the configuration stays as it was");
                }
                (None, _) => {}
            }
        }
    })?;
    Ok(sender)
}

struct Changes {
    file: PathBuf,
    desk: Desk,
}

impl Changes {
    fn answer(&self, request: &Request) -> Answer {
        if let Request::Stop { keep_sessions } = *request {
            return self.stop(keep_sessions).unwrap_or_else(Answer::Refused);
        }
        let dry_run = matches!(request, Request::Reload { dry_run: true });
        let done = match request {
            Request::Reload { .. } => self.reload(dry_run),
            edit => self.edit(edit),
        };
        // Where the station has ended meanwhile, that is the answer.
        match self.generation().and_then(|generation| Ok((generation, done?))) {
            Ok((generation, diff)) => Answer::result(ChangeResult {
                generation,
                dry_run,
                changes: diff.changes.iter().map(ToString::to_string).collect(),
            }),
            Err(refusal) => Answer::Refused(refusal),
        }
    }

    /// Ends the station, after the changes before. What only loses the sessions later is refused at once.
    fn stop(&self, keep_sessions: bool) -> Result<Answer, Refusal> {
        if keep_sessions {
            // The next station could not take them over.
            if let Err(error) = config::load(&self.file) {
                let message = format!("the next start would fail: {}", error.report());
                return Err(Refusal::new(ErrorKind::Invalid, message));
            }
            let trouble =
                |control: &mut Control| (control.bgp.is_some(), control.bird.questions().trouble());
            if let (true, Some(trouble)) = self.ask(trouble)? {
                let message = format!(
                    "there are no sessions to keep: {trouble}; without --keep-sessions the station ends all the same"
                );
                return Err(Refusal::new(ErrorKind::Conflict, message));
            }
        }
        let generation = self.generation()?;
        let end = if keep_sessions { End::SessionsKept } else { End::PeersTold };
        let words = match end {
            End::SessionsKept => {
                "- station: ends; BIRD, its sessions and the TAPs are left for the next start"
            }
            End::PeersTold => "- station: ends, with its BGP sessions",
        };
        let result = ChangeResult { generation, dry_run: false, changes: vec![words.to_owned()] };
        let desk = self.desk.clone();
        // The client is to have its answer before the process is gone.
        let then = move || {
            // Where nobody takes it the station ends already.
            let _ = desk.ask(move |control| control.end = Some(end));
        };
        Ok(Answer::Last(result.into(), Box::new(then)))
    }

    /// Carries out a request that edits the configuration file.
    fn edit(&self, request: &Request) -> Result<Diff, Refusal> {
        let (text, running) =
            self.ask(|control| (control.text.clone(), control.config().clone()))?;
        self.unchanged(&text)?;
        let new = edited(&text, &running, request)?;
        let next = config::parse_as(&new, &self.file)
            .map_err(|error| Refusal::new(ErrorKind::Invalid, error.report()))?;
        let next = self.check(next)?;
        // That may have taken long enough for another hand to edit the file.
        self.unchanged(&text)?;
        // What is not on disk must not run: after a restart it would be gone.
        let written = replace(&self.file, &new).map_err(|error| self.cannot("write", &error))?;
        self.commit(next, new, Some(written))
    }

    /// Refuses where the file is not what runs.
    fn unchanged(&self, text: &str) -> Result<(), Refusal> {
        match std::fs::read_to_string(&self.file) {
            Ok(found) if found == text => Ok(()),
            Ok(_) => {
                let message = "the configuration file has changed since it was loaded: \
                               `stationctl reload` first, or put it back";
                Err(Refusal::new(ErrorKind::Conflict, message))
            }
            Err(error) => Err(self.cannot("read", &error)),
        }
    }

    /// Reads the file again and takes it into use, or only says what would change.
    fn reload(&self, dry_run: bool) -> Result<Diff, Refusal> {
        let (next, text) = config::load(&self.file)
            .map_err(|error| Refusal::new(ErrorKind::Invalid, error.report()))?;
        let next = self.check(next)?;
        match dry_run {
            true => Ok(next.diff),
            false => self.commit(next, text, None),
        }
    }

    /// Finds out all that speaks against a configuration, however long that takes.
    fn check(&self, mut next: Config) -> Result<Checked, Refusal> {
        let running = self.ask(|control| control.config().clone())?;
        // First what is cheap to find.
        let diff = difference(Some(&running), &next).map_err(|error| refusal(&error))?;
        next.share_lists(&running);
        drop(running);
        let next = Arc::new(next);
        let (base, facts, bird) = self.ask(|control| {
            (control.engine.base(), control.datapath.facts(), control.bgp.clone())
        })?;
        let candidate = base.compile(next.clone(), &facts).map_err(|error| refusal(&error))?;
        let vrfs = candidate.vrf_ids();
        let bird = bgp::prepare(&next, &vrfs, bird.as_ref()).map_err(|error| refusal(&error))?;
        Ok(Checked { config: next, diff, vrfs, bird })
    }

    /// Has the control thread commit what was checked. What was written is taken back where it cannot.
    fn commit(
        &self,
        next: Checked,
        text: String,
        written: Option<Replaced>,
    ) -> Result<Diff, Refusal> {
        let text: Arc<str> = text.into();
        let mut done = Err(refusal(&CommitError::Stale));
        for _ in 0..ATTEMPTS {
            match self.try_commit(&next, &text) {
                Err(CommitError::Stale) => {}
                result => {
                    done = result.map_err(|error| refusal(&error));
                    break;
                }
            }
        }
        match (written, &done) {
            (None, _) => {}
            (Some(written), Ok(_)) => written.keep(),
            (Some(written), Err(_)) => {
                if let Err(error) = written.take_back() {
                    error!(file = %self.file.display(), %error, "cannot take a refused change back");
                }
            }
        }
        done
    }

    fn try_commit(&self, next: &Checked, text: &Arc<str>) -> Result<Diff, CommitError> {
        let stopped = || CommitError::Routing(stopping().message);
        let opened = self
            .desk
            .ask(|control| (control.pause(), control.engine.base(), control.datapath.facts()));
        let (pause, base, facts) = opened.ok_or_else(stopped)?;
        let candidate = base.compile(next.config.clone(), &facts)?;
        // BIRD's tables are those of the VRFs' ids.
        if candidate.vrf_ids() != next.vrfs {
            return Err(CommitError::Stale);
        }
        let (reply, done) = bounded(1);
        let (config, text, bird) = (next.config.clone(), text.clone(), next.bird.clone());
        let prepared = Prepared { candidate, config, text, bird, reply, pause };
        self.desk.ask(|control| control.begin(prepared)).ok_or_else(stopped)?;
        done.recv().map_err(|_| stopped())?
    }

    fn ask<T: Send + 'static>(
        &self,
        question: impl FnOnce(&mut Control) -> T + Send + 'static,
    ) -> Result<T, Refusal> {
        self.desk.ask(question).ok_or_else(stopping)
    }

    fn generation(&self) -> Result<u64, Refusal> {
        self.ask(|control| control.engine.tables().generation)
    }

    fn cannot(&self, what: &str, error: &std::io::Error) -> Refusal {
        let message =
            format!("cannot {what} {}: {error}; nothing has changed", self.file.display());
        Refusal::new(ErrorKind::Internal, message)
    }
}

/// A configuration against which nothing speaks.
struct Checked {
    config: Arc<Config>,
    diff: Diff,
    /// The ids of its VRFs that BIRD's configuration was made for.
    vrfs: std::collections::HashMap<Arc<str>, crate::tables::VrfId>,
    bird: Option<crate::bird::Rendered>,
}

/// Makes all counters count from zero.
pub(super) fn clear_counters(control: &mut Control) -> Answer {
    control.counters.clear(control.datapath.ports.len());
    let generation = control.engine.tables().generation;
    Answer::result(ChangeResult { generation, dry_run: false, changes: Vec::new() })
}

fn edited(text: &str, config: &Config, request: &Request) -> Result<String, Refusal> {
    Ok(match request {
        Request::RouteAdd(route) => edit::route_add(text, route)?,
        Request::RouteDel(route) => edit::route_del(text, config, route)?,
        Request::VifAdd(vif) => edit::vif_add(text, vif)?,
        Request::VifDel(vif) => edit::vif_del(text, config, &vif.name)?,
        Request::VifUp(vif) => edit::vif_set_up(text, &vif.name, true)?,
        Request::VifDown(vif) => edit::vif_set_up(text, &vif.name, false)?,
        _ => return Err(Refusal::new(ErrorKind::Internal, "not a change of the configuration")),
    })
}

fn stopping() -> Refusal {
    Refusal::new(ErrorKind::Internal, "the station is stopping")
}

fn refusal(error: &CommitError) -> Refusal {
    let kind = match error {
        CommitError::NeedsRestart(_) | CommitError::Full(_) | CommitError::Stale => {
            ErrorKind::Conflict
        }
        CommitError::Fib { .. } | CommitError::Broken { .. } => ErrorKind::Internal,
        _ => ErrorKind::Invalid,
    };
    Refusal::new(kind, error.to_string())
}
