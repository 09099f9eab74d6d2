//! BIRD, as the control thread drives it: what it is to run, and what operators ask of it.

use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;

use super::answer::no_such;
use super::control_thread::Control;
use crate::bird::{self, ClientError, Rendered, Session, Surroundings};
use crate::control::CommitError;
use crate::control::answer::Answer;
use crate::control::model::{Config, StationConfig};
use crate::control::protocol::{BgpDirection, ErrorKind, Refusal};
use crate::control::rows::ChangeResult;
use crate::tables::VrfId;

/// Where BIRD has its files: beside the admin socket.
pub(super) fn directory(station: &StationConfig) -> PathBuf {
    station.socket.with_file_name("bird")
}

/// Has BIRD check what it would run of a configuration that nobody runs yet.
pub(super) fn check(config: &Config) -> Result<(), bird::ProcessError> {
    let vrfs: HashMap<Arc<str>, VrfId> =
        config.vrfs.iter().map(|vrf| vrf.name.clone()).zip((0..).map(VrfId)).collect();
    let around = Surroundings {
        vrfs: &vrfs,
        dead_ports: &BTreeSet::new(),
        directory: &directory(&config.station),
    };
    match bird::render(config, &around) {
        Some(rendered) => bird::check(&config.station.bird, &rendered),
        None => Ok(()),
    }
}

/// What BIRD is to run with a configuration, with these ids of VRFs and while these ports are dead; checked by
/// BIRD if it is not what it runs already. It may take BIRD long.
pub(super) fn prepare(
    config: &Config,
    vrfs: &HashMap<Arc<str>, VrfId>,
    dead_ports: &BTreeSet<Arc<str>>,
    running: Option<&Rendered>,
) -> Result<Option<Rendered>, CommitError> {
    let around = Surroundings { vrfs, dead_ports, directory: &directory(&config.station) };
    let rendered = bird::render(config, &around);
    if let Some(new) = rendered.as_ref().filter(|new| Some(*new) != running) {
        bird::check(&config.station.bird, new)
            .map_err(|error| CommitError::Routing(error.to_string()))?;
    }
    Ok(rendered)
}

impl Control {
    /// What BIRD is to run with a configuration, as the ports are now.
    fn render(&self, config: &Config) -> Option<Rendered> {
        let around = Surroundings {
            vrfs: &self.engine.vrf_ids(config),
            dead_ports: &self.dead_ports(),
            directory: &directory(&config.station),
        };
        bird::render(config, &around)
    }

    /// The ports without a link.
    pub(super) fn dead_ports(&self) -> BTreeSet<Arc<str>> {
        let dead = self.datapath.ports.iter().filter(|port| !port.facts.link_up);
        dead.map(|port| port.config.name.clone()).collect()
    }

    /// Gives BIRD what it is to run.
    pub(super) fn apply_bgp(&mut self, rendered: Option<Rendered>) {
        if rendered != self.bgp || rendered.is_none() {
            self.bird.apply(rendered.clone(), self.config());
            self.bgp = rendered;
        }
    }

    /// A port came or went: what only it leads to is advertised, or no longer.
    pub(super) fn refresh_bgp(&mut self) {
        let rendered = self.render(self.config());
        if rendered != self.bgp {
            self.apply_bgp(rendered);
        }
    }

    /// The sessions of a VIF, and of one peer on it.
    fn sessions(&self, vif: &str, peer: Option<IpAddr>) -> Result<Vec<Session>, Refusal> {
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
    let (socket, trouble) = (control.bird.socket(), control.bird.trouble());
    Answer::later(move || Answer::rows(bird::summary(&socket, &sessions, trouble.as_deref())))
}

/// `show bgp VIF routes`.
pub(super) fn routes(control: &Control, vif: &str, direction: BgpDirection) -> Answer {
    let sessions = match control.sessions(vif, None) {
        Ok(sessions) => sessions,
        Err(refusal) => return Answer::Refused(refusal),
    };
    let socket = control.bird.socket();
    Answer::later(move || match bird::routes(&socket, sessions, direction) {
        Ok(rows) => Answer::Rows(Box::new(rows.map(Into::into))),
        Err(error) => refused(&error),
    })
}

/// `bgp reset`.
pub(super) fn reset(control: &Control, vif: &str, peer: Option<IpAddr>) -> Answer {
    let sessions = match control.sessions(vif, peer) {
        Ok(sessions) => sessions,
        Err(refusal) => return Answer::Refused(refusal),
    };
    if control.config().vifs.iter().any(|known| *known.name == *vif && !known.up) {
        let message =
            format!("vif \"{vif}\" is down: `stationctl vif up {vif}` starts its sessions");
        return Answer::refused(ErrorKind::Conflict, message);
    }
    let socket = control.bird.socket();
    let generation = control.engine.tables().generation;
    Answer::later(move || match bird::reset(&socket, &sessions) {
        Ok(()) => {
            let reset =
                |session: &Session| format!("~ bgp {} on vif {}: reset", session.peer, session.vif);
            let changes = sessions.iter().map(reset).collect();
            Answer::result(ChangeResult { generation, dry_run: false, changes })
        }
        Err(error) => refused(&error),
    })
}

fn refused(error: &ClientError) -> Answer {
    Answer::Refused(Refusal::new(ErrorKind::Internal, error.to_string()))
}
