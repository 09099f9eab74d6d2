//! Which events the control thread makes of what it does: ports and VIFs that come and go. And how an event is logged.

use tracing::{error, info, warn};

use super::control_thread::Control;
use crate::config::model::Config;
use crate::events::{Event, Reporter, Severity};
use crate::history::Author;
use crate::ledger::{Cause, Faults};
use crate::tables::{PortId, Vif};

/// Tells an event, which is a line of the log too, as severe as it is.
pub(super) fn log_and_tell(report: &Reporter, event: Event) {
    match event.kind().severity() {
        Severity::Error => error!("{event}"),
        Severity::Warning => warn!("{event}"),
        Severity::Notice | Severity::Info => info!("{event}"),
    }
    report.tell(event);
}

/// The fault for which a VIF forwards nothing.
fn down(faults: &Faults) -> Option<Cause> {
    [Cause::Admin, Cause::Link].into_iter().find(|cause| faults.contains_key(cause))
}

/// What an event says of who asked: user, user who logged in, user who called sudo.
pub(super) fn by(author: Option<&Author>) -> (Option<u32>, Option<u32>, Option<String>) {
    let login_uid = author.and_then(|by| by.login_uid);
    (author.map(|by| by.uid), login_uid, author.and_then(|by| by.sudo_user.clone()))
}

impl Control {
    /// Tells that the station has started, and which of its ports are down.
    pub(super) fn tell_start(&mut self) {
        self.report.tell(Event::StationStart {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            configuration: self.configuration,
            ports: self.config.ports.len() as u64,
            vifs: self.config.vifs.len() as u64,
        });
        self.ports_told = self.datapath.ports.iter().map(|(id, _)| (id, true)).collect();
        let ids: Vec<PortId> = self.ports_told.keys().copied().collect();
        ids.into_iter().for_each(|id| self.tell_port(id));
    }

    /// When a change has been committed: a port that is gone is down, and one that is new was never up.
    pub(super) fn tell_ports(&mut self, next: &Config) {
        let gone = self.config.ports.iter().filter(|port| next.port(&port.name).is_none());
        for port in gone {
            if self.ports_told.remove(&port.id) == Some(true) {
                let (port, interface) = (port.name.to_string(), port.interface.clone());
                let reason = "it is no port any more".to_owned();
                self.report.tell(Event::PortDown { port, interface, reason });
            }
        }
        for port in &next.ports {
            self.ports_told.entry(port.id).or_insert(false);
        }
    }

    /// Tells of a port that has come or gone.
    pub(super) fn tell_port(&mut self, id: PortId) {
        let up = self.is_port_up(id);
        let (told, state) = (self.ports_told.get_mut(&id), self.datapath.ports.get(id));
        let (Some(told), Some(state)) = (told, state) else { return };
        if std::mem::replace(told, up) == up {
            return;
        }
        let (port, interface) = (state.config.name.to_string(), state.config.interface.clone());
        self.report.tell(if up {
            Event::PortUp { port, interface }
        } else {
            let reason = match (&state.trouble, &state.program) {
                (Some(trouble), _) => trouble.clone(),
                (None, None) => "the interface is gone".to_owned(),
                (None, Some(_)) => "no link".to_owned(),
            };
            Event::PortDown { port, interface, reason }
        });
    }

    /// Tells of what was put right of a port.
    pub(super) fn tell_repair(&mut self, id: PortId) {
        let Some(port) = self.datapath.ports.get_mut(id) else { return };
        if let Some(reason) = port.repaired.take() {
            let (port, repairs) = (port.config.name.to_string(), port.repairs);
            self.report.tell(Event::PortRepair { port, reason, repairs });
        }
    }

    /// Tells of a VIF that has come or gone. `told`: what stood of it before; none of one that is new.
    pub(super) fn tell_vif(&self, vif: &Vif, told: Option<&Faults>, faults: &Faults) {
        let (before, now) = (told.and_then(down), down(faults));
        if before.is_some() == now.is_some() {
            return;
        }
        let port = self.engine.tables().port_name(vif.port).to_owned();
        let vif = vif.name.to_string();
        self.report.tell(match now {
            Some(cause) => Event::VifDown { vif, port, cause },
            None => Event::VifUp { vif, port },
        });
    }
}
