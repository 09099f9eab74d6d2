//! The ports, as the control thread holds them: what is known of each, and who opens, closes and audits them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crossbeam::channel::Sender;
use tracing::warn;

use super::StationError;
use super::audit_thread::{self, Finding, Open};
use super::port_state::PortState;
use super::port_thread::{Done, Job, Opened};
use super::worker_thread::{Detached, Order, Orders};
use crate::config::model::Config;
use crate::control::PortFacts;
use crate::netlink::LinkEvent;
use crate::port::Frames;
use crate::port::af_xdp::NicError;
use crate::tables::PortId;

/// Ports that a change opens, and what their interfaces are like; none of them is up before it is open.
pub(super) type Opening = BTreeMap<PortId, PortFacts>;

/// The ports.
pub(super) struct Ports {
    list: BTreeMap<PortId, PortState>,
    /// Ids of ports that are gone, and are not another's yet.
    pub closing: BTreeSet<PortId>,
    /// What there is room for.
    pub room: Room,
    hands: Hands,
    /// Jobs given to the thread that opens and closes ports.
    given: u64,
}

/// What the station was started for, and every port has to fit.
#[derive(Clone, Copy, Debug)]
pub(super) struct Room {
    /// How many ports there is memory for.
    pub most: usize,
    /// Queues of each: one a worker.
    pub queues: u32,
    /// How long their frames may be.
    pub frames: Frames,
}

/// Who carries out what becomes of ports.
pub(super) struct Hands {
    /// The workers.
    pub orders: Vec<Orders>,
    /// Where what they let go of is closed.
    pub detached: Sender<Detached>,
    /// The thread that opens and closes.
    pub jobs: Sender<Job>,
    /// The thread that audits.
    pub audits: audit_thread::Orders,
}

impl Ports {
    /// Those of a configuration, none of them open.
    pub fn closed(config: &Config, room: Room, hands: Hands) -> Ports {
        let list = config.ports.iter().map(|port| (port.id, PortState::closed(port.clone())));
        Ports { list: list.collect(), closing: BTreeSet::new(), room, hands, given: 0 }
    }

    /// At the start: takes in what came of opening a port. One whose interface is not there is opened when it appears.
    ///
    /// # Errors
    /// What else keeps it from being opened.
    pub fn begin(
        &mut self,
        id: PortId,
        opened: Result<Opened, StationError>,
    ) -> Result<(), StationError> {
        match opened {
            Ok(opened) => self.opened(id, opened),
            Err(error) if is_not_there(&error) => self.failed(id, &error),
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// All of them, in the order of their ids.
    pub fn iter(&self) -> impl Iterator<Item = (PortId, &PortState)> {
        self.list.iter().map(|(&id, port)| (id, port))
    }

    /// One of them.
    pub fn get(&self, id: PortId) -> Option<&PortState> {
        self.list.get(&id)
    }

    /// One of them, to take note of what was told of it.
    pub fn get_mut(&mut self, id: PortId) -> Option<&mut PortState> {
        self.list.get_mut(&id)
    }

    /// What the engine must know of the ports, by their ids.
    pub fn facts(&self) -> Vec<PortFacts> {
        let mut facts = vec![PortFacts::UNKNOWN; self.room.most];
        self.list.iter().for_each(|(id, port)| facts[id.index()] = port.facts);
        facts
    }

    /// The same, with those of ports that a change is to open.
    pub fn facts_with(&self, opening: &Opening) -> Vec<PortFacts> {
        let mut facts = self.facts();
        for (id, of) in opening {
            facts.get_mut(id.index()).into_iter().for_each(|facts| *facts = *of);
        }
        facts
    }

    /// Follows a configuration that is committed: closes ports that are gone, and opens those of `opening`, new ones and
    /// those whose NIC is used otherwise. No other port notices.
    pub fn follow(&mut self, config: &Config, opening: &Opening) {
        let kept: BTreeSet<PortId> = config.ports.iter().map(|port| port.id).collect();
        let gone: Vec<PortId> = self.list.keys().filter(|id| !kept.contains(id)).copied().collect();
        for id in gone {
            self.detach(id);
            self.list.remove(&id);
            self.closing.insert(id);
            // The thread ends only with this.
            drop(self.hands.jobs.send(Job::Close(id)));
        }
        for port in &config.ports {
            let Some(facts) = opening.get(&port.id) else {
                self.list.get_mut(&port.id).into_iter().for_each(|it| it.config = port.clone());
                continue;
            };
            let mut state = PortState::closed(port.clone());
            state.facts = *facts;
            if self.list.contains_key(&port.id) {
                self.detach(port.id);
            }
            if let Some(old) = self.list.get(&port.id) {
                (state.repairs, state.carrier_changes) = (old.repairs, old.carrier_changes);
            }
            self.list.insert(port.id, state);
            self.open(port.id);
        }
    }

    /// Follows a change of an interface. Returns the port, if it is one.
    pub fn link_event(&mut self, event: &LinkEvent) -> Option<PortId> {
        let name = match event {
            LinkEvent::Present { interface, .. } | LinkEvent::Gone { interface, .. } => interface,
        };
        let (&id, port) = self.list.iter_mut().find(|(_, port)| port.config.interface == *name)?;
        if port.opening.is_some() {
            // Its interface is looked at afterwards.
            port.missed = true;
            return None;
        }
        match event {
            LinkEvent::Gone { ifindex, .. } => {
                if port.program.as_ref().is_some_and(|program| program.ifindex() == *ifindex) {
                    warn!(port = %port.config.name, interface = name, "the interface is gone");
                    self.detach(id);
                }
            }
            LinkEvent::Present { ifindex, mac, mtu, up, .. } => {
                let same =
                    port.program.as_ref().is_some_and(|program| program.ifindex() == *ifindex);
                if same {
                    port.learn(*mac, *mtu, *up);
                } else {
                    // Whether up or not: XDP comes first, so that the kernel sees nothing of it.
                    self.detach(id);
                    self.open(id);
                }
            }
        }
        Some(id)
    }

    /// Takes in what an audit found. Returns the port where it is closed because of that.
    pub fn audited(&mut self, finding: Finding) -> Option<PortId> {
        let Finding { port: id, program, audit } = finding;
        let port = self.list.get_mut(&id)?;
        // It may have been closed, or opened anew, since.
        port.program.as_ref().filter(|current| Arc::ptr_eq(current, &program))?;
        if port.audited(audit) {
            return None;
        }
        self.detach(id);
        Some(id)
    }

    /// Has the facts asked for again that could not be read, and the ports tried again that could not be
    /// opened.
    pub fn retry(&mut self) {
        let closed = |port: &PortState| port.program.is_none();
        let due = self.list.iter().filter(|(_, port)| closed(port) || port.unread);
        let due: Vec<_> = due.map(|(&id, port)| (id, closed(port))).collect();
        for (id, closed) in due {
            if closed { self.open(id) } else { self.ask(id) }
        }
    }

    /// Has a port opened, if that is not under way.
    fn open(&mut self, id: PortId) {
        let Some(port) = self.list.get_mut(&id).filter(|port| port.opening.is_none()) else {
            return;
        };
        self.given += 1;
        (port.opening, port.missed) = (Some(self.given), false);
        let job = Job::Open(id, self.given, Box::new(port.config.clone()));
        // The thread ends only with this.
        drop(self.hands.jobs.send(job));
    }

    /// Has the kernel asked for a port's interface, if that is not under way.
    fn ask(&mut self, id: PortId) {
        let Some(port) = self.list.get_mut(&id).filter(|port| port.asking.is_none()) else {
            return;
        };
        self.given += 1;
        port.asking = Some(self.given);
        drop(self.hands.jobs.send(Job::Ask(id, self.given, port.config.interface.clone())));
    }

    /// Takes in what came of a job. Returns the port, if something may be new of it. What a later job or another
    /// configuration has overtaken is nothing: that closes what this one has opened.
    pub fn done(&mut self, done: Done) -> Option<PortId> {
        match done {
            Done::Open(id, number, result) => {
                let port = self.list.get_mut(&id).filter(|port| port.opening == Some(number))?;
                port.opening = None;
                let missed = std::mem::take(&mut port.missed);
                match result {
                    Ok(opened) => {
                        self.opened(id, opened);
                        // What came meanwhile may be newer than what was asked last.
                        if missed && let Some(port) = self.list.get_mut(&id) {
                            port.unread = true;
                            self.ask(id);
                        }
                        Some(id)
                    }
                    Err(error) => {
                        self.failed(id, &error);
                        if missed && is_not_there(&error) {
                            self.open(id);
                        }
                        None
                    }
                }
            }
            Done::Ask(id, number, answer) => {
                let port = self.list.get_mut(&id).filter(|port| port.asking == Some(number))?;
                port.asking = None;
                // The kernel may have told of it since.
                if !port.unread {
                    return None;
                }
                let ifindex = port.program.as_ref().map(|program| program.ifindex());
                match &answer {
                    Ok(link) if ifindex != Some(link.index) => {
                        self.detach(id);
                        self.open(id);
                    }
                    Err(NicError::NoInterface(_)) => self.detach(id),
                    _ => port.take_answer(answer),
                }
                Some(id)
            }
            Done::Closed(id) => {
                self.closing.remove(&id);
                None
            }
        }
    }

    /// A port is open now.
    fn opened(&mut self, id: PortId, opened: Opened) {
        let Opened { program, nic, zero_copy, link } = opened;
        let Some(port) = self.list.get_mut(&id) else { return };
        // It ends only with the process.
        drop(self.hands.audits.send((id, Some(Open { program: program.clone(), nic }))));
        (port.program, port.zero_copy) = (Some(program), zero_copy);
        port.trouble = None;
        port.take_answer(link);
    }

    /// A port could not be opened: says once why not.
    fn failed(&mut self, id: PortId, error: &StationError) {
        self.detach(id);
        let Some(port) = self.list.get_mut(&id) else { return };
        let text = error.to_string();
        if port.trouble.as_ref() != Some(&text) {
            warn!(port = %port.config.name, error = text, "the port is down; it is tried again");
            port.trouble = Some(text);
        }
    }

    /// Has every worker let go of a port. The program stays attached: the port is closed.
    fn detach(&mut self, id: PortId) {
        for worker in &self.hands.orders {
            worker.give(Order::Detach { port: id, to: self.hands.detached.clone() });
        }
        drop(self.hands.audits.send((id, None)));
        if let Some(port) = self.list.get_mut(&id) {
            (port.program, port.zero_copy) = (None, false);
            port.gone();
        }
    }
}

/// Whether an interface is not there yet, or not up.
fn is_not_there(error: &StationError) -> bool {
    matches!(error, StationError::Nic(NicError::NoInterface(_) | NicError::Down(_)))
}
