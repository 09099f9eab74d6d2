//! What the control thread waits for, and in which order it takes it: what traffic waits for comes first,
//! however much else there is.

use std::time::{Duration, Instant};

use crossbeam::channel::{Receiver, never};
use crossbeam::select;
use signal_hook::consts::SIGHUP;

use super::audit_thread::Finding;
use super::desk::Task;
use super::holds::note_stall;
use super::port_thread::Done;
use crate::admin::server::Call;
use crate::bird::PeerEvent;
use crate::ledger::Keeper;
use crate::mirror::Update;
use crate::netlink::LinkEvent;
use crate::slowpath::Told;

/// Between two ticks.
const TICK: Duration = Duration::from_secs(1);

/// What comes.
pub(super) enum Event {
    /// A port's interface changed.
    Link(LinkEvent),
    /// A peer was lost, or is back.
    Peer(PeerEvent),
    /// The slow path tells of a neighbor, or of a tunnel's path.
    Told(Told),
    /// TAPs are new or have another carrier.
    Taps(Vec<String>),
    /// An open port was audited.
    Audit(Finding),
    /// A port was opened, or could not be, or its interface was asked for.
    Port(Done),
    /// Routes changed.
    Learned(Update),
    /// Another thread wants something.
    Task(Task),
    /// A client wants something.
    Call(Call),
    /// A second has passed.
    Tick,
    /// Nothing else waits, or it is the turn of what the control thread has to do itself.
    Work,
    /// The configuration file is to be read again.
    Reload,
    /// The station is to end.
    Stop,
}

impl Event {
    /// As in the log.
    pub fn word(&self) -> &'static str {
        match self {
            Event::Link(_) => "link",
            Event::Peer(_) => "peer",
            Event::Told(Told::Neighbor(_)) => "neighbor",
            Event::Told(Told::TooBig(_)) => "path_mtu",
            Event::Taps(_) => "taps",
            Event::Audit(_) => "audit",
            Event::Port(_) => "port",
            Event::Learned(_) => "routes",
            Event::Task(_) => "task",
            Event::Call(_) => "call",
            Event::Tick => "tick",
            Event::Work => "work",
            Event::Reload => "reload",
            Event::Stop => "stop",
        }
    }
}

/// Where it comes from.
pub(super) struct Events {
    pub links: Receiver<LinkEvent>,
    pub peers: Receiver<PeerEvent>,
    pub told: Receiver<Told>,
    pub taps: Receiver<Vec<String>>,
    pub findings: Receiver<Finding>,
    pub ports: Receiver<Done>,
    pub learned: Receiver<Update>,
    pub tasks: Receiver<Task>,
    pub calls: Receiver<Call>,
    pub signals: Receiver<i32>,
    /// When the next tick is.
    pub tick_at: Instant,
    /// It was the turn of work last.
    pub worked: bool,
    /// It was the turn of a neighbor last.
    pub resolved: bool,
    pub ledger: Keeper,
}

/// Takes what a channel has. What its senders left behind when they ended is nothing.
fn taken<T>(channel: &Receiver<T>) -> Option<T> {
    channel.try_recv().ok()
}

impl Events {
    /// The next event. `rests`: neighbors and routes wait. `busy`: there is work to do.
    pub fn next(&mut self, rests: bool, busy: bool) -> Event {
        let urgent = self.urgent(rests || self.resolved);
        self.resolved = matches!(urgent, Some(Event::Told(_)));
        if let Some(urgent) = urgent {
            return urgent;
        }
        if Instant::now() >= self.tick_at {
            self.tick_at = Instant::now() + TICK;
            return Event::Tick;
        }
        // Work and everybody else take turns.
        self.worked = busy && !self.worked;
        if self.worked {
            return Event::Work;
        }
        loop {
            let began = Instant::now();
            let wait = if busy { Duration::ZERO } else { self.tick_at - began };
            let event = self.wait(wait, rests);
            // Longer than it asked for: it was kept from running.
            note_stall(&self.ledger, began.elapsed().saturating_sub(wait));
            if let Some(event) = event {
                return event;
            }
            if busy {
                self.worked = true;
                return Event::Work;
            }
            if Instant::now() >= self.tick_at {
                self.tick_at = Instant::now() + TICK;
                return Event::Tick;
            }
        }
    }

    /// What traffic waits for. Neighbors, whom anybody's packets make, come every other time at most.
    fn urgent(&self, without_neighbors: bool) -> Option<Event> {
        let link = || taken(&self.links).map(Event::Link);
        let peer = || taken(&self.peers).map(Event::Peer);
        let told = || taken(&self.told).map(Event::Told);
        let urgent = link().or_else(peer);
        if without_neighbors { urgent } else { urgent.or_else(told) }
    }

    /// Waits for whatever comes first; of what is there, each has the same chance.
    fn wait(&self, wait: Duration, rests: bool) -> Option<Event> {
        let (nothing_told, no_updates) = (never(), never());
        let told = if rests { &nothing_told } else { &self.told };
        let learned = if rests { &no_updates } else { &self.learned };
        select! {
            recv(self.links) -> event => event.ok().map(Event::Link),
            recv(self.peers) -> event => event.ok().map(Event::Peer),
            recv(told) -> told => told.ok().map(Event::Told),
            recv(self.taps) -> taps => taps.ok().map(Event::Taps),
            recv(self.findings) -> finding => finding.ok().map(Event::Audit),
            recv(self.ports) -> done => done.ok().map(Event::Port),
            recv(learned) -> update => update.ok().map(Event::Learned),
            recv(self.tasks) -> task => task.ok().map(Event::Task),
            recv(self.calls) -> call => call.ok().map(Event::Call),
            recv(self.signals) -> signal => Some(match signal {
                Ok(SIGHUP) => Event::Reload,
                _ => Event::Stop,
            }),
            default(wait) => None,
        }
    }
}
