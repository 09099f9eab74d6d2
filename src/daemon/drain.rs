//! Drains: a VIF, a port or the station is taken out of service before somebody unplugs it. Own groups are led elsewhere
//! first, then peers are told to go elsewhere too (RFC 8326), then the counters say when nothing passes any more.

mod watch;

use std::collections::{BTreeSet, HashMap};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tracing::info;

pub(super) use self::watch::passed;
use self::watch::{Watch, Watched};
use super::announce::by;
use super::answer::no_such;
use super::bgp;
use super::change::{Changes, FOLLOWED, Order, internal, refusal};
use super::control_thread::Control;
use super::kept::Kept;
use crate::admin::answer::Answer;
use crate::admin::protocol::{DrainRequest, DrainScope, DrainTarget, ErrorKind, Refusal};
use crate::admin::rows::{ChangeResult, DrainRow};
use crate::bird::{Following, Rendered};
use crate::clock::now_ms;
use crate::config::model::Config;
use crate::control::{Dark, Drained, Gone};
use crate::disk::Files;
use crate::events::{Event, Reporter};
use crate::tables::counters::WorkerCounters;

/// Most prefixes that are named of those that would have no way.
const NAMED: usize = 1000;

/// Something that is drained.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Drain {
    #[serde(flatten)]
    target: DrainTarget,
    /// Milliseconds since 1970.
    since_ms: u64,
    /// It is quiet where no more frames a second pass.
    at_most: u64,
    /// Who began it.
    uid: Option<u32>,
    login_uid: Option<u32>,
    sudo_user: Option<String>,
    comment: Option<String>,
}

/// What is drained, as the control thread has it.
pub(super) struct Drains {
    kept: Kept<Drain>,
    list: Vec<Drain>,
    watch: Watch,
}

impl Drains {
    /// Reads what was drained when the daemon before ended, and starts the thread that watches it.
    ///
    /// # Errors
    /// The system's, where there is no thread left.
    pub fn start(
        state: &Path,
        workers: Vec<Arc<WorkerCounters>>,
        report: Reporter,
    ) -> std::io::Result<Drains> {
        let kept = Kept::new(state, "drains.json");
        let list: Vec<Drain> = kept.read(&Files);
        for Drain { target, since_ms, .. } in &list {
            info!(%target, since_ms, "drained, as before the start");
        }
        Ok(Drains { kept, list, watch: Watch::start(workers, report)? })
    }

    /// What is drained, by name.
    pub fn names(&self) -> Drained {
        names(&self.list)
    }

    /// In a word, how a drain stands.
    fn state(&self, target: &DrainTarget) -> &'static str {
        match self.watch.standing(target).quiet_ms {
            Some(_) => "quiet",
            None => "draining",
        }
    }

    /// How the drain stands that takes a port out; empty where none does.
    pub fn state_of_port(&self, port: &str) -> &'static str {
        let takes = |drain: &&Drain| match drain.target.scope {
            DrainScope::Station => true,
            DrainScope::Port => drain.target.name.as_deref() == Some(port),
            DrainScope::Vif => false,
        };
        let states = self.list.iter().filter(takes).map(|drain| self.state(&drain.target));
        // What is quiet by one is quiet.
        states.max().unwrap_or_default()
    }

    /// How the drains stand that take VIFs out, by VIF.
    pub fn states(&self, config: &Config) -> HashMap<Arc<str>, &'static str> {
        let mut states: HashMap<Arc<str>, &'static str> = HashMap::new();
        for drain in &self.list {
            let (names, state) = (names(std::slice::from_ref(drain)), self.state(&drain.target));
            for vif in config.vifs.iter().filter(|vif| names.has(vif)) {
                let known = states.entry(vif.name.clone()).or_default();
                *known = state.max(known);
            }
        }
        states
    }
}

fn names(list: &[Drain]) -> Drained {
    let mut drained = Drained::default();
    for Drain { target, .. } in list {
        let name = target.name.as_deref().unwrap_or_default().into();
        match target.scope {
            DrainScope::Station => drained.station = true,
            DrainScope::Port => drop(drained.ports.insert(name)),
            DrainScope::Vif => drop(drained.vifs.insert(name)),
        }
    }
    drained
}

/// Refuses what the configuration has not.
fn exists(config: &Config, target: &DrainTarget) -> Result<(), Refusal> {
    let name = target.name.as_deref();
    let is_there = match (target.scope, name) {
        (DrainScope::Station, None) => true,
        (DrainScope::Port, Some(name)) => config.port(name).is_some(),
        (DrainScope::Vif, Some(name)) => config.vifs.iter().any(|vif| *vif.name == *name),
        _ => {
            let message = "a VIF or a port needs its name, and the station has none here";
            return Err(Refusal::new(ErrorKind::Invalid, message));
        }
    };
    match is_there {
        true => Ok(()),
        false => Err(no_such(target.scope.word(), name.unwrap_or_default())),
    }
}

impl Control {
    /// These are drained from now on: own groups are led elsewhere when the engine returns, and BIRD follows then.
    fn set_drains(&mut self, list: Vec<Drain>, bird: Option<Rendered>) -> Option<Following> {
        self.drains.list = list;
        self.engine.drain(self.drains.names());
        self.watch_drains();
        let following = self.apply_bgp(bird);
        self.account();
        following
    }

    /// The VIFs that are drained may be others.
    pub(super) fn watch_drains(&self) {
        let watched = self.drains.list.iter().map(|drain| {
            let names = names(std::slice::from_ref(drain));
            let vifs = self.config().vifs.iter().filter(|vif| names.has(vif));
            let known =
                vifs.filter_map(|vif| Some((self.engine.vif(&vif.name)?, vif.name.clone())));
            Watched {
                target: drain.target.clone(),
                since_ms: drain.since_ms,
                at_most: drain.at_most,
                vifs: known.collect(),
            }
        });
        self.drains.watch.follow(watched.collect());
    }
}

/// `show drains`.
pub(super) fn show(control: &Control) -> Answer {
    Answer::rows(rows(control))
}

/// What is drained, and what still passes there.
pub(super) fn rows(control: &Control) -> Vec<DrainRow> {
    let config = control.config();
    let row = |drain: &Drain| {
        let names = names(std::slice::from_ref(drain));
        let standing = control.drains.watch.standing(&drain.target);
        let Drain { target, since_ms, at_most, uid, login_uid, sudo_user, comment } = drain.clone();
        DrainRow {
            scope: target.scope,
            state: control.drains.state(&target).to_owned(),
            name: target.name.unwrap_or_else(|| config.station.name.clone()),
            since_ms,
            quiet_ms: standing.quiet_ms,
            vifs: config.vifs.iter().filter(|vif| names.has(vif)).count() as u64,
            rx_frames_per_s: standing.rx,
            tx_frames_per_s: standing.tx,
            at_most,
            flows: standing.flows,
            uid,
            login_uid,
            sudo_user,
            comment,
        }
    };
    control.drains.list.iter().map(row).collect()
}

impl Changes {
    /// Drains something. What is drained already stays so.
    pub(super) fn drain(&self, order: &Order, request: &DrainRequest) -> Result<Answer, Refusal> {
        let target = &request.target;
        let (config, old) = self.drained()?;
        exists(&config, target)?;
        let mut list = old.clone();
        let (at, is_new) = match list.iter().position(|drain| drain.target == *target) {
            Some(at) => (at, false),
            None => {
                let (uid, login_uid, sudo_user) = by(order.by.as_ref());
                let (since_ms, comment) = (now_ms(), order.terms.comment.clone());
                let (target, at_most) = (target.clone(), 0);
                list.push(Drain { target, since_ms, at_most, uid, login_uid, sudo_user, comment });
                (list.len() - 1, true)
            }
        };
        list[at].at_most = request.at_most;
        if !is_new {
            let mut result = ChangeResult::default();
            result.notes.push(format!("{target} is drained already"));
            let following = (list != old).then(|| self.put(&config, list)).transpose()?.flatten();
            return self.answered(result, following, order);
        }
        let peers = self.ask(|control| control.drills.peers())?;
        let now = Gone { drained: names(&old), peers };
        let dark = self.dark(&Gone { drained: names(&list), ..now.clone() }, &now)?;
        let lines = lines(&dark);
        if !dark.is_empty() && !request.anyway {
            return Err(refusal_of_dark(&lines, &format!("drains {target}")));
        }
        let Drain { uid, login_uid, sudo_user, comment, .. } = list[at].clone();
        let following = self.put(&config, list)?;
        self.tell(Event::DrainBegin {
            scope: target.scope.word().to_owned(),
            name: target.name.clone(),
            dark_prefixes: dark.len() as u64,
            uid,
            login_uid,
            sudo_user,
            comment,
        });
        let changes = vec![format!("~ {target}: drained")];
        let notes = notes_of_dark(lines);
        let result = ChangeResult { changes, notes, ..ChangeResult::default() };
        self.answered(result, following, order)
    }

    /// Puts back into service what is drained. A name that the configuration has no more can still be.
    pub(super) fn undrain(&self, order: &Order, target: &DrainTarget) -> Result<Answer, Refusal> {
        let (config, mut list) = self.drained()?;
        let mut result = ChangeResult::default();
        let Some(at) = list.iter().position(|drain| drain.target == *target) else {
            exists(&config, target)?;
            result.notes.push(format!("{target} is not drained"));
            result.notes.extend(still(&config, &list, target));
            return self.answered(result, None, order);
        };
        let since_ms = list.remove(at).since_ms;
        result.changes.push(format!("~ {target}: in service"));
        result.notes.extend(still(&config, &list, target));
        let following = self.put(&config, list)?;
        let (uid, login_uid, sudo_user) = by(order.by.as_ref());
        self.tell(Event::DrainEnd {
            scope: target.scope.word().to_owned(),
            name: target.name.clone(),
            after_ms: now_ms().saturating_sub(since_ms),
            uid,
            login_uid,
            sudo_user,
        });
        self.answered(result, following, order)
    }

    fn drained(&self) -> Result<(Arc<Config>, Vec<Drain>), Refusal> {
        self.ask(|control| (control.config().clone(), control.drains.list.clone()))
    }

    /// What has a way while `now` is gone, and none once `then` is.
    pub(super) fn dark(&self, then: &Gone, now: &Gone) -> Result<BTreeSet<Dark>, Refusal> {
        let base = self.ask(|control| control.engine.base())?;
        let mut dark = base.dark(then);
        if *now != Gone::default() {
            let before = base.dark(now);
            dark.retain(|each| !before.contains(each));
        }
        Ok(dark)
    }

    /// Has this drained from now on: on disk first, so that no crash forgets it.
    fn put(&self, config: &Arc<Config>, list: Vec<Drain>) -> Result<Option<Following>, Refusal> {
        let (vrfs, running, kept) = self.ask({
            let config = config.clone();
            move |control| {
                let kept = control.drains.kept.clone();
                (control.engine.vrf_ids(&config), control.bgp.clone(), kept)
            }
        })?;
        let bird = bgp::prepare(config, &vrfs, running.as_ref(), &names(&list));
        let bird = bird.map_err(|error| refusal(&error))?;
        kept.write(&Files, &list).map_err(internal)?;
        self.ask(move |control| control.set_drains(list, bird))
    }

    pub(super) fn tell(&self, event: Event) {
        info!("{event}");
        self.report.tell(event);
    }

    /// The answer, once BIRD follows.
    pub(super) fn answered(
        &self,
        result: ChangeResult,
        following: Option<Following>,
        order: &Order,
    ) -> Result<Answer, Refusal> {
        let mut result = self.numbered(result)?;
        let bound = if order.terms.no_wait { Duration::ZERO } else { FOLLOWED };
        Ok(match following {
            None => Answer::result(result),
            Some(following) => Answer::later(move || {
                result.routing = Some(following.wait(bound));
                Answer::result(result)
            }),
        })
    }
}

/// The prefixes, a line each, as many as anybody reads.
pub(super) fn lines(dark: &BTreeSet<Dark>) -> Vec<String> {
    let line = |Dark { vrf, prefix }: &Dark| format!("{prefix} in vrf {vrf}");
    let mut lines: Vec<String> = dark.iter().take(NAMED).map(line).collect();
    if dark.len() > NAMED {
        lines.push(format!("and {} more", dark.len() - NAMED));
    }
    lines
}

/// The refusal of what would leave prefixes without a way; `all_the_same`: what --anyway does.
pub(super) fn refusal_of_dark(lines: &[String], all_the_same: &str) -> Refusal {
    let message = format!(
        "no other way leads to:\n  {}\nnothing has changed; --anyway {all_the_same} all the same",
        lines.join("\n  ")
    );
    Refusal::new(ErrorKind::Conflict, message)
}

/// The prefixes that have no way, where somebody wanted that.
pub(super) fn notes_of_dark(lines: Vec<String>) -> Vec<String> {
    lines.into_iter().map(|line| format!("no other way leads to {line}")).collect()
}

/// What else keeps a target out of service.
fn still(config: &Config, list: &[Drain], target: &DrainTarget) -> Option<String> {
    let port = match (target.scope, &target.name) {
        (DrainScope::Vif, Some(name)) => config.vif(name).map(|vif| vif.port.to_string()),
        _ => None,
    };
    let other = list.iter().map(|drain| &drain.target).find(|other| match other.scope {
        DrainScope::Station => true,
        DrainScope::Port => port.is_some() && other.name == port,
        DrainScope::Vif => false,
    })?;
    Some(format!("{target} is still out of service: {other} is drained"))
}
