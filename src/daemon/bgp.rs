//! BIRD, as the control thread drives it: what it is to run, and what operators ask of it.

use std::collections::HashMap;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tracing::warn;

use super::answer::no_such;
use super::consent;
use super::control_thread::Control;
use super::drill::Drilled;
use crate::admin::answer::Answer;
use crate::admin::protocol::{BgpDirection, ErrorKind, Refusal};
use crate::admin::rows::BgpRow;
use crate::bird::{self, ClientError, Following, ProcessError, Rendered, Session, Surroundings};
use crate::clock::now_ns;
use crate::config::model::{Config, StationConfig};
use crate::control::{CommitError, Drained};
use crate::tables::{KeyFault, Keys, VrfId};

/// Where BIRD has its files: beside the admin socket.
pub(super) fn directory(station: &StationConfig) -> PathBuf {
    station.socket.with_file_name("bird")
}

/// Has BIRD check what it would run of a configuration that nobody runs yet.
pub(super) fn check(config: &Config) -> Result<(), bird::ProcessError> {
    let vrfs: HashMap<Arc<str>, VrfId> =
        config.vrfs.iter().map(|vrf| vrf.name.clone()).zip((0..).map(VrfId)).collect();
    let (directory, drained) = (&directory(&config.station), &Drained::default());
    let around = Surroundings { vrfs: &vrfs, directory, drained };
    match bird::render(config, &around) {
        Some(rendered) => bird::check(&config.station.bird, &rendered),
        None => Ok(()),
    }
}

/// What BIRD is to run with a configuration, with these ids of VRFs; checked by BIRD if it is not what it runs
/// already, which may take BIRD long. What BIRD refuses is refused. Where there is no BIRD to ask, the rest of
/// the station goes on without: `show bgp` says what is missing, and it is tried again.
pub(super) fn prepare(
    config: &Config,
    vrfs: &HashMap<Arc<str>, VrfId>,
    running: Option<&Rendered>,
    drained: &Drained,
) -> Result<Option<Rendered>, CommitError> {
    let around = Surroundings { vrfs, directory: &directory(&config.station), drained };
    let rendered = bird::render(config, &around);
    if let Some(new) = rendered.as_ref().filter(|new| Some(*new) != running) {
        match bird::check(&config.station.bird, new) {
            Err(error @ ProcessError::Refused(_)) => {
                return Err(CommitError::Routing(error.to_string()));
            }
            Err(error) => warn!(%error, "no BGP session and no BFD until BIRD is there"),
            Ok(()) => {}
        }
    }
    Ok(rendered)
}

impl Control {
    /// Gives BIRD what it is to run. Where that is another thing than before, it is to follow.
    pub(super) fn apply_bgp(&mut self, rendered: Option<Rendered>) -> Option<Following> {
        self.refresh_bgp();
        self.follow_drills();
        let changes = rendered != self.bgp;
        if !changes && rendered.is_some() {
            return None;
        }
        let change = changes.then_some(self.configuration);
        let following = self.bird.apply(rendered.clone(), self.config(), change);
        self.bgp = rendered;
        following
    }

    /// A port came or went: what only it leads to is advertised, or no longer.
    pub(super) fn refresh_bgp(&self) {
        let lost = self.datapath.ports.iter().filter(|(_, port)| !port.facts.link_up);
        self.bird.links_lost(lost.map(|(_, port)| port.config.name.clone()).collect());
    }

    /// The sessions of a VIF, and of one peer on it.
    pub(super) fn sessions(
        &self,
        vif: &str,
        peer: Option<IpAddr>,
    ) -> Result<Vec<Session>, Refusal> {
        if !self.config().vifs.iter().any(|known| *known.name == *vif) {
            return Err(no_such("vif", vif));
        }
        let mut sessions = bird::sessions(self.config());
        sessions
            .retain(|session| *session.vif == *vif && peer.is_none_or(|peer| session.peer == peer));
        if sessions.is_empty() {
            let with = peer.map_or_else(String::new, |peer| format!(" with {peer}"));
            let message = format!("vif \"{vif}\" has no BGP session{with}");
            return Err(Refusal::new(ErrorKind::NotFound, message));
        }
        Ok(sessions)
    }
}

/// `show bgp`.
pub(super) fn show(control: &Control, vif: Option<&str>) -> Answer {
    let sessions = match vif {
        None => bird::sessions(control.config()),
        Some(vif) => match control.sessions(vif, None) {
            Ok(sessions) => sessions,
            Err(refusal) => return Answer::Refused(refusal),
        },
    };
    let (questions, remarks) = (control.bird.questions(), Remarks::of(control));
    Answer::later(move || match questions.summary(&sessions) {
        Ok(rows) => Answer::rows(remarks.added_to(rows)),
        Err(error) => refused(&error),
    })
}

/// What the station knows of sessions and BIRD does not: what peers' SYNs say of their keys, and drills.
pub(super) struct Remarks {
    keys: Arc<Keys>,
    drilled: Drilled,
    /// When the slow path's time began: nanoseconds since 1970.
    epoch_ns: u64,
}

impl Remarks {
    pub(super) fn of(control: &Control) -> Remarks {
        Remarks {
            keys: control.engine.tables().keys.clone(),
            drilled: control.drills.drilled(),
            epoch_ns: control.datapath.epoch_ns(),
        }
    }

    /// Adds it to what BIRD says of the sessions.
    pub(super) fn added_to(&self, mut rows: Vec<BgpRow>) -> Vec<BgpRow> {
        for row in &mut rows {
            let Some(key) = self.keys.get(&row.vif.as_str().into(), row.peer) else { continue };
            row.key_failures = KeyFault::ALL.iter().map(|fault| key.faults(*fault)).sum();
            // By the operator, with BIRD, or by a limit: no key would help.
            let waits = !row.is_up() && !matches!(&*row.state, "down" | "shut");
            if let Some((fault, at_ns)) = key.fault().filter(|_| waits) {
                let age_ns = now_ns().saturating_sub(self.epoch_ns.saturating_add(at_ns));
                let age = Duration::from_secs(Duration::from_nanos(age_ns).as_secs());
                row.cause = Some(fault.name().to_owned());
                row.last_error =
                    format!("{} ({} ago)", fault.help(), humantime::format_duration(age));
            }
        }
        self.drilled.added_to(&mut rows);
        rows
    }
}

/// `show bgp VIF routes`.
pub(super) fn routes(control: &Control, vif: &str, direction: BgpDirection) -> Answer {
    let sessions = match control.sessions(vif, None) {
        Ok(sessions) => sessions,
        Err(refusal) => return Answer::Refused(refusal),
    };
    let questions = control.bird.questions();
    Answer::later(move || match questions.routes(sessions, direction) {
        Ok(rows) => Answer::Rows(Box::new(rows.map(Into::into))),
        Err(error) => refused(&error),
    })
}

/// `bgp reset`. Without `yes` only sessions that are not up.
pub(super) fn reset(control: &Control, vif: &str, peer: Option<IpAddr>, yes: bool) -> Answer {
    let sessions = match control.sessions(vif, peer) {
        Ok(sessions) => sessions,
        Err(refusal) => return Answer::Refused(refusal),
    };
    if control.config().vifs.iter().any(|known| *known.name == *vif && !known.up) {
        let message =
            format!("vif \"{vif}\" is down: `stationctl vif up {vif}` starts its sessions");
        return Answer::refused(ErrorKind::Conflict, message);
    }
    if sessions.iter().any(|session| control.drills.has(session)) {
        let message = format!(
            "a failover drill has vif \"{vif}\" down: `stationctl drill stop {vif}` starts its sessions"
        );
        return Answer::refused(ErrorKind::Conflict, message);
    }
    let (reset, questions) = (control.bird.reset(&sessions), control.bird.questions());
    let words = |session: &Session| format!("~ bgp {} on vif {}: reset", session.peer, session.vif);
    let result = control.unchanged_result(sessions.iter().map(words).collect());
    Answer::later(move || {
        if !yes {
            match questions.summary(&sessions) {
                Ok(rows) => {
                    let cuts = consent::resets(&rows);
                    if !cuts.is_empty() {
                        return Answer::Refused(consent::refusal(&cuts));
                    }
                }
                Err(error) => return refused(&error),
            }
        }
        match reset() {
            Ok(()) => Answer::result(result),
            Err(error) => refused(&error),
        }
    })
}

pub(super) fn refused(error: &ClientError) -> Answer {
    let kind = match error {
        ClientError::Busy => ErrorKind::Conflict,
        _ => ErrorKind::Internal,
    };
    Answer::Refused(Refusal::new(kind, error.to_string()))
}
