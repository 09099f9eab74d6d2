//! Failover drills: BGP sessions of a VIF are taken down by a Cease that says so in words, and come back by themselves. The
//! thread for changes begins and ends them, the control thread and BIRD's supervisor keep the sessions down meanwhile.

mod list;
mod measure;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use tracing::error;

pub(super) use self::list::{Drilled, Drills};
use self::list::{moment, over, peers};
use self::measure::{Measure, Subject, WINDOW};
use super::announce::by;
use super::answer::no_such;
use super::change::{Changes, Order, internal};
use super::control_thread::Control;
use super::drain::{lines, notes_of_dark, refusal_of_dark};
use crate::admin::answer::Answer;
use crate::admin::protocol::{DrillRequest, ErrorKind, Refusal};
use crate::admin::rows::{BgpRow, ChangeResult, DrillRow};
use crate::bird::{ClientError, Session};
use crate::clock::now_ms;
use crate::control::Gone;
use crate::disk::Files;
use crate::events::Event;
use crate::history::Author;

/// Drills that are over and remembered.
const REMEMBERED: usize = 100;
/// The longest between two looks whether one is over: the clock may be set.
const LOOK: Duration = Duration::from_secs(60);
/// What windows of rates are asked for what left before.
const BEFORE_S: u64 = 10;

/// `show drills` and `drill history`.
pub(super) fn show(control: &Control, over: bool) -> Answer {
    let wanted = |drill: &&DrillRow| over || drill.is_running();
    let rows = control.drills.list.iter().filter(wanted).cloned().map(Box::new);
    Answer::rows(rows.collect::<Vec<_>>())
}

impl Control {
    /// Has BIRD keep the sessions of drills down, and no others: they may have other names with what is configured now.
    pub(super) fn follow_drills(&self) {
        self.bird.drilled(self.drills.sessions(self.config()));
    }

    /// These drills run and are over from now on. Gives what has BIRD begin those that are new, and waits for that.
    fn set_drills(
        &mut self,
        list: Vec<DrillRow>,
    ) -> impl FnOnce() -> Result<(), ClientError> + use<> {
        self.drills.list = list;
        self.account();
        self.bird.drill(self.drills.sessions(self.config()))
    }

    /// What is to be measured of a drill.
    fn subject(&self, vif: &str) -> Option<Subject> {
        let id = self.engine.vif(vif)?;
        let vrf = self.engine.tables().vif(id)?.vrf;
        let vifs = self.vifs().filter(|(_, vif)| vif.vrf == vrf);
        let vrf = vifs.map(|(id, vif)| (id, vif.name.clone())).collect();
        Some(Subject { counters: self.counters.clone(), vif: id, vrf, before: Default::default() })
    }
}

/// What the thread for changes has of drills.
pub(super) struct Measures {
    /// By VIF.
    running: BTreeMap<String, Measure>,
    /// When something is to be looked at.
    pub at: Option<Instant>,
}

impl Measures {
    /// At the start: what was left may be over.
    pub fn at_once() -> Measures {
        Measures { running: BTreeMap::new(), at: Some(Instant::now()) }
    }
}

impl Changes {
    /// Takes the sessions of a VIF, or that with one peer, down for a time.
    pub(super) fn drill_start(
        &mut self,
        order: &Order,
        request: &DrillRequest,
    ) -> Result<Answer, Refusal> {
        let DrillRequest { vif, seconds, anyway, .. } = request;
        if !DrillRequest::SECONDS.contains(seconds) {
            let message = "a drill lasts 10 seconds at least, and 4,320 minutes (3 days) at most";
            return Err(Refusal::new(ErrorKind::Invalid, message));
        }
        let sessions = self.sessions_to_drill(request)?;
        let (old, gone) = self.ask(|control| {
            let drained = control.drains.names();
            (control.drills.list.clone(), Gone { drained, peers: control.drills.peers() })
        })?;
        let (now, (uid, login_uid, sudo_user)) = (now_ms(), by(order.by.as_ref()));
        let mut drill = DrillRow {
            vif: vif.clone(),
            peers: sessions.iter().map(|session| session.peer).collect(),
            state: "running".to_owned(),
            since_ms: now,
            until_ms: now.saturating_add(seconds * 1000),
            uid,
            login_uid,
            sudo_user: sudo_user.clone(),
            comment: order.terms.comment.clone(),
            ..DrillRow::default()
        };
        let mut then = gone.clone();
        then.peers.extend(peers(&drill));
        let dark = self.dark(&then, &gone)?;
        let lines = lines(&dark);
        if !dark.is_empty() && !anyway {
            return Err(refusal_of_dark(&lines, &format!("starts the drill of vif {vif}")));
        }
        drill.dark_prefixes = dark.len() as u64;
        let mut list = old.clone();
        list.push(drill.clone());
        self.keep_drills(&list)?;
        let measure = self.measure(vif)?;
        let begin = self.ask(move |control| control.set_drills(list))?;
        if let Err(error) = begin() {
            self.keep_drills(&old)?;
            drop(self.ask(move |control| control.set_drills(old))?());
            let message = format!("{error}; nothing has changed");
            return Err(Refusal::new(ErrorKind::Internal, message));
        }
        self.measures.running.extend(measure.map(|measure| (vif.clone(), measure)));
        self.tell(Event::DrillBegin {
            vif: vif.clone(),
            peers: drill.peers.clone(),
            until_ms: drill.until_ms,
            dark_prefixes: drill.dark_prefixes,
            comment: drill.comment,
            uid,
            login_uid,
            sudo_user,
        });
        let until = moment(drill.until_ms);
        let change = |peer| format!("~ bgp {peer} on vif {vif}: down by a drill until {until}");
        let changes = drill.peers.iter().map(change).collect();
        let result =
            ChangeResult { changes, notes: notes_of_dark(lines), ..ChangeResult::default() };
        self.answered(result, None, order)
    }

    /// The sessions of which at least one is up; or why there is nothing to test.
    fn sessions_to_drill(&self, request: &DrillRequest) -> Result<Vec<Session>, Refusal> {
        let (name, peer) = (request.vif.clone(), request.peer);
        let conflict = |message: String| Err(Refusal::new(ErrorKind::Conflict, message));
        let (config, sessions, running, questions) = self.ask(move |control| {
            let running = control.drills.running().find(|drill| drill.vif == name);
            let running = running.map(|drill| drill.until_ms);
            let drained = control.drains.names();
            let is_drained = |vif: &crate::config::model::VifConfig| drained.has(vif);
            let config = control.config().clone();
            let vif = config.vif(&name);
            let vif = vif.map(|vif| (vif.up, vif.bgp.is_empty(), is_drained(vif)));
            (vif, control.sessions(&name, peer), running, control.bird.questions())
        })?;
        let vif = &request.vif;
        match config {
            None => return Err(no_such("vif", vif)),
            Some((_, true, _)) => {
                return conflict(format!(
                    "vif \"{vif}\" has no BGP session, which is what a drill takes down: `stationctl drain vif {vif}` \
                     leads traffic elsewhere, `stationctl vif down {vif}` stops it"
                ));
            }
            Some((false, ..)) => {
                return conflict(format!("vif \"{vif}\" is down: `stationctl vif up {vif}` first"));
            }
            Some((true, false, true)) => {
                return conflict(format!(
                    "vif \"{vif}\" is drained: nothing is to pass by it that could fail over; `stationctl show drains`, \
                     and undrain first"
                ));
            }
            Some((true, false, false)) => {}
        }
        let sessions = sessions?;
        if let Some(until_ms) = running {
            let until = moment(until_ms);
            return conflict(format!(
                "a drill of vif \"{vif}\" runs until {until}: `stationctl drill stop {vif}` ends it"
            ));
        }
        let rows = questions.summary(&sessions);
        let rows = rows.map_err(|error| Refusal::new(ErrorKind::Internal, error.to_string()))?;
        if !rows.iter().any(BgpRow::is_up) {
            return conflict(format!(
                "no session of the drill is established, so nothing would fail over: `stationctl show bgp {vif}` says why"
            ));
        }
        Ok(sessions)
    }

    /// Begins to measure.
    fn measure(&self, vif: &str) -> Result<Option<Measure>, Refusal> {
        let name = vif.to_owned();
        let Some(mut subject) = self.ask(move |control| control.subject(&name))? else {
            return Ok(None);
        };
        #[expect(clippy::cast_precision_loss, reason = "rates for people")]
        let rate = |passed: crate::observe::Passed| {
            passed.traffic.tx_frames as f64 / passed.time.as_secs_f64().max(1e-3)
        };
        let known = self.rates.read(|rates| rates.by_vif(BEFORE_S));
        subject.before = known.into_iter().map(|(vif, passed)| (vif, rate(passed))).collect();
        Measure::begin(subject).map(Some).map_err(|error| internal(error.to_string()))
    }

    /// Ends the drill of a VIF before its time.
    pub(super) fn drill_stop(&mut self, order: &Order, vif: &str) -> Result<Answer, Refusal> {
        let (config, mut list) =
            self.ask(|control| (control.config().clone(), control.drills.list.clone()))?;
        let running = list.iter_mut().find(|drill| drill.is_running() && drill.vif == *vif);
        let mut result = ChangeResult::default();
        let Some(drill) = running else {
            if !config.vifs.iter().any(|known| *known.name == *vif) {
                return Err(no_such("vif", vif));
            }
            result.notes.push(format!("no drill of vif {vif} runs"));
            return self.answered(result, None, order);
        };
        self.end_drill(drill, "stopped", order.by.as_ref());
        let change = |peer| format!("~ bgp {peer} on vif {vif}: starts again");
        result.changes.extend(drill.peers.iter().map(change));
        self.put_drills(list)?;
        self.answered(result, None, order)
    }

    /// Ends what is over, and writes down what was measured.
    pub(super) fn tend_drills(&mut self) {
        self.measures.at = None;
        let known = self.ask(|control| (control.config().clone(), control.drills.list.clone()));
        let Ok((config, old)) = known else { return };
        let (now, mut list) = (now_ms(), old.clone());
        for drill in list.iter_mut().filter(|drill| drill.is_running()) {
            if let Some(why) = over(&config, drill, now) {
                self.end_drill(drill, why, None);
            } else if let Some(measure) = self.measures.running.get_mut(&drill.vif)
                && measure.is_done()
            {
                measure.finish(drill);
            }
        }
        let due = list.iter().filter(|drill| drill.is_running()).map(|drill| {
            let left = Duration::from_millis(drill.until_ms.saturating_sub(now));
            let measures = self.measures.running.get(&drill.vif);
            let measures = measures.is_some_and(Measure::is_under_way);
            if measures { left.min(WINDOW + Duration::from_millis(500)) } else { left }
        });
        self.measures.at = due.min().map(|left| Instant::now() + left.min(LOOK));
        if list != old
            && let Err(refusal) = self.put_drills(list)
        {
            error!(%refusal, "the drills' file is not what runs");
        }
    }

    /// Writes down that a drill is over, and tells of it.
    fn end_drill(&mut self, drill: &mut DrillRow, why: &str, who: Option<&Author>) {
        let now = now_ms();
        if let Some(mut measure) = self.measures.running.remove(&drill.vif) {
            measure.finish(drill);
            drill.frames_lost = Some(measure.lost());
        }
        (drill.state, drill.end_ms) = ("over".to_owned(), Some(now));
        drill.ended = Some(why.to_owned());
        let (uid, login_uid, sudo_user) = by(who);
        self.tell(Event::DrillEnd {
            vif: drill.vif.clone(),
            peers: drill.peers.clone(),
            reason: why.to_owned(),
            after_ms: now.saturating_sub(drill.since_ms),
            frames_lost: drill.frames_lost,
            uid,
            login_uid,
            sudo_user,
        });
    }

    /// Ends drills first and writes that then: a session that stays down is worse than a drill that is ended once more.
    fn put_drills(&self, mut list: Vec<DrillRow>) -> Result<(), Refusal> {
        let mut over = list.iter().filter(|drill| !drill.is_running()).count();
        list.retain(|drill| {
            let forgotten = !drill.is_running() && over > REMEMBERED;
            over -= usize::from(forgotten);
            !forgotten
        });
        let new = list.clone();
        let tell = self.ask(move |control| control.set_drills(new))?;
        let told = tell();
        self.keep_drills(&list)?;
        told.map_err(|error| Refusal::new(ErrorKind::Internal, error.to_string()))
    }

    fn keep_drills(&self, list: &[DrillRow]) -> Result<(), Refusal> {
        let kept = self.ask(|control| control.drills.kept.clone())?;
        kept.write(&Files, list).map_err(internal)
    }
}
