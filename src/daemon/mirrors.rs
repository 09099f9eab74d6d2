//! Mirrors: somebody has a VIF's or a port's traffic copied to somewhere. They are no part of the configuration, since who
//! may change that may not mirror; they last until they are stopped, their time is over, or what they are of is gone.

mod wanted;

use std::path::Path;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tracing::warn;

use self::wanted::{identity, labels};
use super::announce::by;
use super::answer::{invalid, no_such};
use super::change::{Changes, Order, internal};
use super::control_thread::Control;
use super::kept::Kept;
use super::worker_thread;
use crate::admin::answer::Answer;
use crate::admin::protocol::{ErrorKind, MirrorRequest, Refusal, Request, Terms};
use crate::admin::rows::{ChangeResult, MirrorRow};
use crate::clock::now_ms;
use crate::config::model::Config;
use crate::disk::Files;
use crate::events::Event;
use crate::tables::Snapshot;
use crate::tables::mirrors::{MAX_MIRRORS, Mirror, Missed};

/// Why a mirror ends whose VIF or port is not what it was.
const GONE: &str = "what is mirrored is gone, or another's now";

/// A mirror as it is kept.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Entry {
    request: MirrorRequest,
    /// What its VIF or port was when it was started: where it is something else, it is another's.
    identity: String,
    since_ms: u64,
    until_ms: Option<u64>,
    uid: Option<u32>,
    login_uid: Option<u32>,
    sudo_user: Option<String>,
    comment: Option<String>,
}

/// A mirror that is there.
#[derive(Clone)]
struct Running {
    entry: Entry,
    mirror: Arc<Mirror>,
    /// The thread for changes was told to stop it.
    ending: bool,
}

/// The mirrors, as the control thread has them.
pub(super) struct Mirrors {
    kept: Kept<Entry>,
    list: Vec<Running>,
    /// Those of the daemon before.
    before: Vec<Entry>,
}

impl Mirrors {
    /// Reads what was mirrored when the daemon before ended.
    pub fn read(state: &Path) -> Mirrors {
        let kept = Kept::new(state, "mirrors.json");
        let before = kept.read(&Files);
        Mirrors { kept, list: Vec::new(), before }
    }

    /// All rows; who has what says the configuration.
    pub fn rows(&self, config: &Config) -> Vec<MirrorRow> {
        self.list.iter().map(|running| running.row(config)).collect()
    }
}

impl Entry {
    /// `vif` or `port`, and its name.
    fn of(&self) -> (&'static str, &str) {
        let MirrorRequest { vif, port, .. } = &self.request;
        match (vif, port) {
            (Some(vif), _) => ("vif", vif),
            (None, port) => ("port", port.as_deref().unwrap_or_default()),
        }
    }
}

impl Running {
    fn row(&self, config: &Config) -> MirrorRow {
        let (Running { entry, mirror, .. }, request) = (self, &self.entry.request);
        let labels = labels(config, request).cloned().unwrap_or_default();
        let missed = Missed::WORDS.iter().map(|&(word, missed)| {
            (word.to_owned(), mirror.sum(|counters| counters.missed[missed as usize].get()))
        });
        MirrorRow {
            name: request.name.clone(),
            vif: request.vif.clone(),
            port: request.port.clone(),
            labels,
            direction: request.direction,
            filter: request.filter.as_ref().map(|filter| filter.expression.clone()),
            snap: mirror.snap as u64,
            to: request.to.to_string(),
            rate: mirror.limit.pace.rate,
            since_ms: entry.since_ms,
            until_ms: entry.until_ms,
            copies: mirror.sum(|counters| counters.copies.get()),
            octets: mirror.sum(|counters| counters.octets.get()),
            truncated: mirror.sum(|counters| counters.truncated.get()),
            missed: missed.collect(),
            uid: entry.uid,
            login_uid: entry.login_uid,
            sudo_user: entry.sudo_user.clone(),
            comment: entry.comment.clone(),
        }
    }

    /// Why it is to end now, if it is.
    fn is_over(&self, tables: &Snapshot, config: &Config) -> Option<&'static str> {
        let entry = &self.entry;
        if entry.until_ms.is_some_and(|until_ms| now_ms() >= until_ms) {
            return Some("its time is over");
        }
        let changed = identity(config, &entry.request).as_ref() != Some(&entry.identity);
        let reason = changed.then_some(GONE);
        reason.or_else(|| self.mirror.unfit(tables).map(|unfit| unfit.reason()))
    }
}

impl Control {
    /// Goes on with the mirrors of the daemon before, as far as what they are of is the same.
    pub(super) fn resume_mirrors(&mut self) {
        let before = std::mem::take(&mut self.mirrors.before);
        let count = before.len();
        let mut list = Vec::new();
        for entry in before {
            let same = identity(self.config(), &entry.request).as_ref() == Some(&entry.identity);
            let made = if same { self.mirror(&entry.request) } else { Err(gone()) };
            match made {
                Ok(mirror) => list.push(Running { entry, mirror: mirror.into(), ending: false }),
                Err(refusal) => {
                    warn!(mirror = entry.request.name, %refusal, "a mirror does not go on after the start");
                    self.report.tell(ended(
                        &entry,
                        refusal.to_string(),
                        0,
                        &Order::unasked(stop(&entry)),
                    ));
                }
            }
        }
        if list.len() < count
            && let Err(error) = write(&self.mirrors.kept, &list)
        {
            warn!(%error, "the next start tries the mirrors again that ended");
        }
        self.set_mirrors(list);
    }

    fn set_mirrors(&mut self, list: Vec<Running>) {
        self.mirrors.list = list;
        let mirrors: Arc<[Arc<Mirror>]> =
            self.mirrors.list.iter().map(|running| running.mirror.clone()).collect();
        for worker in &self.datapath.workers {
            worker.orders().give(worker_thread::Order::Mirror(mirrors.clone()));
        }
    }

    /// Has the thread for changes end mirrors whose time is over, or of which something is gone. What is gone the workers
    /// have seen in the tables themselves.
    pub(super) fn tend_mirrors(&mut self) {
        let mut orders = Vec::new();
        for at in 0..self.mirrors.list.len() {
            let running = &self.mirrors.list[at];
            let reason = running.is_over(self.engine.tables(), &self.config);
            if let Some(reason) = reason.filter(|_| !running.ending) {
                let mut order = Order::unasked(stop(&running.entry));
                order.terms = Terms { comment: Some(reason.to_owned()), ..Terms::default() };
                orders.push(order);
                self.mirrors.list[at].ending = true;
            }
        }
        orders.into_iter().for_each(|order| self.change_for(order, None));
    }
}

fn gone() -> Refusal {
    Refusal::new(ErrorKind::Conflict, GONE)
}

fn stop(entry: &Entry) -> Request {
    Request::MirrorStop { name: entry.request.name.clone() }
}

fn ended(entry: &Entry, reason: String, copies: u64, order: &Order) -> Event {
    let (scope, name) = entry.of();
    let (uid, login_uid, sudo_user) = by(order.by.as_ref());
    Event::MirrorEnd {
        mirror: entry.request.name.clone(),
        scope: scope.to_owned(),
        name: Some(name.to_owned()),
        reason,
        copies,
        after_ms: now_ms().saturating_sub(entry.since_ms),
        uid,
        login_uid,
        sudo_user,
    }
}

impl Changes {
    /// Starts a mirror.
    pub(super) fn mirror_start(
        &self,
        order: &Order,
        request: &MirrorRequest,
    ) -> Result<Answer, Refusal> {
        let wanted = request.clone();
        let (mirror, identity, mut list, kept) = self.ask(move |control| {
            let mirror = control.mirror(&wanted)?;
            let identity = identity(control.config(), &wanted).ok_or_else(gone)?;
            Ok::<_, Refusal>((
                mirror,
                identity,
                control.mirrors.list.clone(),
                control.mirrors.kept.clone(),
            ))
        })??;
        if list.iter().any(|running| running.entry.request.name == request.name) {
            let message = format!("there is a mirror {:?}: stop it first", request.name);
            return Err(Refusal::new(ErrorKind::Conflict, message));
        }
        if list.len() >= MAX_MIRRORS {
            let message = format!("there are {MAX_MIRRORS} mirrors already: stop one of them");
            return Err(Refusal::new(ErrorKind::Busy, message));
        }
        if request.seconds.is_some_and(|seconds| !MirrorRequest::SECONDS.contains(&seconds)) {
            return Err(invalid("a mirror lasts 1 second to 366 days, or until it is stopped"));
        }
        let (uid, login_uid, sudo_user) = by(order.by.as_ref());
        let since_ms = now_ms();
        let until_ms = request.seconds.map(|seconds| since_ms + 1000 * seconds);
        let comment = order.terms.comment.clone();
        let request = request.clone();
        let entry =
            Entry { request, identity, since_ms, until_ms, uid, login_uid, sudo_user, comment };
        let (scope, name) = entry.of();
        let changes = vec![format!(
            "+ mirror {}: {scope} {name} to {}",
            entry.request.name, entry.request.to
        )];
        let begin = Event::MirrorBegin {
            mirror: entry.request.name.clone(),
            scope: scope.to_owned(),
            name: Some(name.to_owned()),
            direction: entry.request.direction.word().to_owned(),
            to: entry.request.to.to_string(),
            filter: entry.request.filter.as_ref().map(|filter| filter.expression.clone()),
            until_ms,
            comment: entry.comment.clone(),
            uid,
            login_uid,
            sudo_user: entry.sudo_user.clone(),
        };
        list.push(Running { entry, mirror: mirror.into(), ending: false });
        // Told before anything is copied, and on disk, so that no crash forgets it.
        write(&kept, &list)?;
        self.tell(begin);
        self.ask(move |control| control.set_mirrors(list))?;
        self.answered(ChangeResult { changes, ..ChangeResult::default() }, None, order)
    }

    /// Ends a mirror.
    pub(super) fn mirror_stop(&self, order: &Order, name: &str) -> Result<Answer, Refusal> {
        let (mut list, kept) =
            self.ask(|control| (control.mirrors.list.clone(), control.mirrors.kept.clone()))?;
        let found = list.iter().position(|running| running.entry.request.name == name);
        let Running { entry, mirror, .. } =
            list.remove(found.ok_or_else(|| no_such("mirror", name))?);
        let written = write(&kept, &list);
        // A mirror that is to end ends, whatever the disk says.
        self.ask(move |control| control.set_mirrors(list))?;
        let reason = match &order.by {
            Some(_) => "stopped".to_owned(),
            None => order.terms.comment.clone().unwrap_or_default(),
        };
        let copies = mirror.sum(|counters| counters.copies.get());
        self.tell(ended(&entry, reason, copies, order));
        written?;
        let changes = vec![format!("- mirror {name}")];
        self.answered(ChangeResult { changes, ..ChangeResult::default() }, None, order)
    }
}

fn write(kept: &Kept<Entry>, list: &[Running]) -> Result<(), Refusal> {
    let entries: Vec<Entry> = list.iter().map(|running| running.entry.clone()).collect();
    kept.write(&Files, &entries).map_err(internal)
}

/// `show mirrors`.
pub(super) fn show(control: &Control) -> Answer {
    let rows = control.mirrors.rows(control.config());
    Answer::rows(rows.into_iter().map(Box::new).collect::<Vec<_>>())
}
