//! What a change of ports needs before it is committed: their ids, and what their interfaces are like.

use std::time::{Duration, Instant};

use super::change::Changes;
use super::ports::{Opening, Room};
use crate::admin::protocol::{ErrorKind, Refusal};
use crate::config::model::Config;
use crate::control::PortFacts;
use crate::port::af_xdp::{NicError, fits, link_of};
use crate::tables::PortId;

/// How long a change waits for ports that are being closed, where it needs their memory.
const CLOSED: Duration = Duration::from_secs(5);
/// Between two looks at them.
const LOOK: Duration = Duration::from_millis(10);

/// The ports that a change opens, and what is to be said of those that it opens and closes.
#[derive(Default)]
pub(super) struct Looked {
    pub opening: Opening,
    pub notes: Vec<String>,
}

impl Changes {
    /// Gives the ports of a configuration their ids, and looks at the interfaces that it opens. One that is not there is
    /// opened when it appears.
    pub(super) fn look_at_ports(
        &self,
        running: &Config,
        next: &mut Config,
    ) -> Result<Looked, Refusal> {
        let room = self.place_ports(running, next)?;
        let mut looked = Looked::default();
        for port in &next.ports {
            let interface = &port.interface;
            if running.port(&port.name).is_some_and(|old| port.is_used_as(old)) {
                continue;
            }
            let facts = match fits(interface, room.queues, room.frames) {
                Ok(link) => {
                    if !link.admin_up {
                        looked.notes.push(format!(
                            "{interface} is down: port {} opens once it is up (ip link set dev {interface} up)",
                            port.name
                        ));
                    }
                    PortFacts::of(link.mac, link.mtu, false)
                }
                Err(NicError::NoInterface(_)) => {
                    looked.notes.push(format!(
                        "there is no interface {interface} yet: port {} opens when it appears",
                        port.name
                    ));
                    PortFacts::UNKNOWN
                }
                Err(error) => {
                    let message = format!("port {}: {error}", port.name);
                    return Err(Refusal::new(ErrorKind::Conflict, message));
                }
            };
            looked.opening.insert(port.id, facts);
        }
        let is_used = |interface: &str| next.ports.iter().any(|port| port.interface == interface);
        let left = running.ports.iter().filter(|port| !is_used(&port.interface));
        let left = left.filter(|port| link_of(&port.interface).is_ok());
        looked.notes.extend(left.map(|port| {
            let (interface, file) = (&port.interface, self.file.display());
            format!(
                "{interface} stays closed to the kernel: `stationd detach --config {file} --interface {interface}` opens it"
            )
        }));
        Ok(looked)
    }

    /// The ids; those of ports that are just being closed are waited for, where there are no others.
    fn place_ports(&self, running: &Config, next: &mut Config) -> Result<Room, Refusal> {
        let deadline = Instant::now() + CLOSED;
        loop {
            let (room, closing) = self.ask(|control| {
                (control.datapath.ports.room, control.datapath.ports.closing.clone())
            })?;
            let known = running.ports.iter().map(|port| (&*port.name, port.id));
            next.place_ports(known, &closing, PortId::FIRST_VTEP.index());
            let fit = next.ports.iter().all(|port| port.id.index() < room.most);
            if fit || closing.is_empty() || Instant::now() >= deadline {
                return Ok(room);
            }
            std::thread::sleep(LOOK);
        }
    }
}
