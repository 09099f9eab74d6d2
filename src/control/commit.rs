//! The engine: holds the running configuration, its tables and the FIB, and takes them from one
//! configuration to the next as a transaction.
//!
//! Order of a change, so that a packet never meets an id without a meaning:
//! 1. publish a snapshot that has what is new beside everything old, and wait for every worker;
//! 2. change the FIB (if it refuses, undo, and publish the old tables again);
//! 3. publish the new tables, still with what the FIB used to lead to, and wait for every worker;
//! 4. remove VRFs, publish without what was removed, wait for every worker, and free its ids.
//!
//! FIB memory is freed at every wait.

use std::sync::Arc;

use ipnet::IpNet;

use super::compile::compile;
use super::diff::{self, Diff};
use super::learn::Learnings;
use super::model::Config;
use super::rib::Rib;
use super::state::State;
use crate::fib::{Fib, FibError};
use crate::publish::Publisher;
use crate::tables::{Adjacency, AdjacencyId, AdjacencyTable, GroupId, Snapshot, VifId, VrfId};
use crate::wire::ethernet::Mac;

/// How snapshots reach the workers.
pub trait Publish {
    /// Makes `snapshot` the one that workers take up with their next burst.
    fn publish(&mut self, snapshot: Snapshot);

    /// Returns once every worker has ended the bursts that it began before the call, and has taken
    /// up what was published before it. Synchronizes with the workers (acquire).
    fn synchronize(&mut self);
}

impl Publish for Publisher<Snapshot> {
    fn publish(&mut self, snapshot: Snapshot) {
        Publisher::publish(self, snapshot);
    }

    fn synchronize(&mut self) {
        Publisher::synchronize(self);
    }
}

/// What the configuration cannot say about a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PortFacts {
    /// Its MAC.
    pub mac: Mac,
    /// The interface's MTU: the longest IP packet, in octets.
    pub mtu: u16,
    /// Frames can be sent.
    pub link_up: bool,
}

/// How much there may be.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// VIFs; counters are allocated for this many.
    pub vifs: u16,
    /// VRFs; no more than the FIB's.
    pub vrfs: u16,
    /// Next hops, neighbors, and addresses of VIFs.
    pub adjacencies: u32,
}

impl Limits {
    /// Limits of a station with room for this many VIFs.
    pub fn for_vifs(vifs: u16) -> Limits {
        Limits { vifs, vrfs: vifs, adjacencies: 64 * u32::from(vifs) }
    }
}

/// Why a configuration was refused. Everything is as before then.
#[derive(Debug, thiserror::Error)]
pub enum CommitError {
    /// What changed cannot change while the station runs.
    #[error("needs a restart: {}", .0.join(", "))]
    NeedsRestart(Vec<String>),
    /// The facts are about other ports.
    #[error("there are {0} ports, and facts about {1}")]
    Facts(usize, usize),
    /// A VIF's packets do not fit its port.
    #[error(
        "vif {vif}: mtu {mtu} is more than the {limit} of port {port}'s interface; \
         lower it, or raise the interface's (ip link set ... mtu)"
    )]
    Mtu {
        /// The VIF.
        vif: Arc<str>,
        /// Its MTU.
        mtu: u16,
        /// Its port.
        port: Arc<str>,
        /// The interface's MTU.
        limit: u16,
    },
    /// A name that nothing has.
    #[error("there is no {0} {1}")]
    Unknown(&'static str, Arc<str>),
    /// A name or VLAN id that two have.
    #[error("{0} {1} is there twice")]
    Twice(&'static str, Arc<str>),
    /// A route would lead out of its VRF.
    #[error("a next hop is on vif {0}, which is in another VRF than its route")]
    OtherVrf(Arc<str>),
    /// The routing daemon does not take what the configuration makes.
    #[error("{0}")]
    Routing(String),
    /// No id is left. Ids of what a change removes are free only after it.
    #[error("too many {0}; if this change also removes some, remove those first")]
    Full(&'static str),
    /// The FIB refused, most likely for lack of memory.
    #[error("vrf {vrf}: {source}")]
    Fib {
        /// The VRF.
        vrf: Arc<str>,
        /// Why.
        source: FibError,
    },
    /// The FIB refused, and then refused to take back what it had accepted.
    #[error("{refused}; and the old routes of vrf {vrf} could not be restored ({source}): restart")]
    Broken {
        /// The first refusal.
        refused: Box<CommitError>,
        /// The VRF that is incomplete now.
        vrf: Arc<str>,
        /// Why.
        source: FibError,
    },
}

/// FIB changes of one VRF: the group of each prefix, `None` to withdraw it.
pub(super) type VrfUpdates = (VrfId, Vec<(IpNet, Option<u32>)>);

/// The control engine.
pub struct Engine<P> {
    pub(super) config: Option<Config>,
    pub(super) state: State,
    pub(super) fib: Fib,
    pub(super) publisher: P,
    /// What learned routes went through.
    pub(super) learnings: Learnings,
    generation: u64,
    /// The tag of FIB memory that was unlinked last.
    sealed: u64,
    /// The FIB is not what the state says: no id may ever mean something else.
    broken: bool,
}

impl<P: Publish> Engine<P> {
    /// An engine that runs no configuration yet. `fib` is empty and has room for `limits.vrfs`.
    pub fn new(fib: Fib, publisher: P, limits: Limits) -> Self {
        let state = State::new(limits);
        Engine {
            config: None,
            state,
            fib,
            publisher,
            learnings: Learnings::default(),
            generation: 0,
            sealed: 0,
            broken: false,
        }
    }

    /// What `config` would change, without changing it.
    pub fn diff(&self, config: &Config) -> Result<Diff, CommitError> {
        if let Some(old) = &self.config {
            let restart = diff::needs_restart(old, config);
            if !restart.is_empty() {
                return Err(CommitError::NeedsRestart(restart));
            }
        }
        Ok(diff::diff(self.config.as_ref(), config))
    }

    /// VIFs that run, but send nothing, because their port's interface has shrunk since they were
    /// configured: name, MTU, and the interface's.
    pub fn misfits(&self) -> Vec<(Arc<str>, u16, u16)> {
        let misfit = |(&id, &limit): (&VifId, &u16)| {
            let vif = self.state.tables.vif(id)?;
            Some((vif.name.clone(), vif.mtu, limit))
        };
        self.state.misfits.iter().filter_map(misfit).collect()
    }

    /// Makes `config` what the station runs, or changes nothing. `facts` are about its ports, in
    /// the same order. A new or changed VIF has to fit its port; see [`Engine::misfits`].
    pub fn commit(&mut self, config: &Config, facts: &[PortFacts]) -> Result<Diff, CommitError> {
        let diff = self.diff(config)?;
        if config.ports.len() != facts.len() {
            return Err(CommitError::Facts(config.ports.len(), facts.len()));
        }
        let next = compile(&self.state, self.config.as_ref(), config, facts)?;
        let updates = updates(&self.state, &next);
        let introduced = introduce(&self.state, &next);
        if let Some(introduced) = &introduced {
            self.send(introduced.clone());
            self.synchronize();
        }
        if let Err(error) = self.change_fib(&next, &updates) {
            if matches!(error, CommitError::Broken { .. }) {
                // The FIB may lead to what is old and to what is new.
                self.broken = true;
                self.state.join_ids(next);
                self.state.tables = introduced.unwrap_or(self.state.tables.clone());
            }
            self.publish();
            self.synchronize();
            return Err(error);
        }

        let gone: Vec<VrfId> =
            self.state.ribs.keys().filter(|vrf| !next.ribs.contains_key(vrf)).copied().collect();
        self.state = next;
        self.config = Some(config.clone());
        self.publish();
        self.synchronize();
        self.remove_vrfs(&gone);
        self.clean_up();
        Ok(diff)
    }

    /// Adds new VRFs and applies the updates, or leaves the FIB as it was.
    fn change_fib(&mut self, next: &State, updates: &[VrfUpdates]) -> Result<(), CommitError> {
        let new = next.ribs.keys().filter(|vrf| !self.state.ribs.contains_key(vrf));
        let new: Vec<VrfId> = new.copied().collect();
        for (at, &vrf) in new.iter().enumerate() {
            if let Err(source) = self.fib.add_vrf(u32::from(vrf.0)) {
                self.remove_vrfs(&new[..at]);
                return Err(CommitError::Fib { vrf: next.vrf_name(vrf), source });
            }
        }
        for (at, (vrf, changes)) in updates.iter().enumerate() {
            if let Err(source) = self.fib.apply(u32::from(vrf.0), changes) {
                let refused = CommitError::Fib { vrf: next.vrf_name(*vrf), source };
                self.remove_vrfs(&new);
                return Err(match self.undo(&updates[..at]) {
                    Ok(()) => refused,
                    Err((vrf, source)) => CommitError::Broken {
                        refused: Box::new(refused),
                        vrf: self.state.vrf_name(vrf),
                        source,
                    },
                });
            }
        }
        Ok(())
    }

    /// Puts back what the state has for the prefixes of `updates`.
    fn undo(&mut self, updates: &[VrfUpdates]) -> Result<(), (VrfId, FibError)> {
        // Withdrawals first, then a wait: the old routes may need the room that this frees.
        for insert in [false, true] {
            for (vrf, changes) in updates {
                let Some(rib) = self.state.ribs.get(vrf) else { continue };
                let old = |prefix| rib.best(prefix).map(|(_, group)| group.0);
                let back = changes.iter().map(|&(prefix, _)| (prefix, old(prefix)));
                let back: Vec<_> = back.filter(|(_, old)| old.is_some() == insert).collect();
                self.fib.apply(u32::from(vrf.0), &back).map_err(|source| (*vrf, source))?;
            }
            self.synchronize();
        }
        Ok(())
    }

    /// Removes VRFs that no packet gets to, with their routes.
    fn remove_vrfs(&mut self, vrfs: &[VrfId]) {
        for vrf in vrfs {
            let removed = self.fib.remove_vrf(u32::from(vrf.0));
            debug_assert!(removed.is_ok(), "the engine added VRF {vrf:?}");
        }
    }

    /// Publishes the state's tables as the next generation.
    pub(super) fn publish(&mut self) {
        self.send(self.state.tables.clone());
        self.state.tables.generation = self.generation;
    }

    fn send(&mut self, tables: Snapshot) {
        self.generation += 1;
        self.publisher.publish(Snapshot { generation: self.generation, ..tables });
    }

    /// Waits for every worker; then what the FIB has unlinked so far is free.
    pub(super) fn synchronize(&mut self) {
        self.sealed += 1;
        self.fib.reclaim(self.sealed, self.sealed - 1);
        self.publisher.synchronize();
        self.fib.reclaim(self.sealed, self.sealed);
    }

    /// After a wait: publishes tables without what nothing leads to, and frees its ids once no
    /// worker knows them any more.
    pub(super) fn clean_up(&mut self) {
        if self.state.has_unwanted() && !self.broken {
            self.state.sweep();
            self.publish();
            self.synchronize();
            self.state.recycle();
        }
    }
}

/// The FIB changes between two states.
fn updates(old: &State, next: &State) -> Vec<VrfUpdates> {
    let empty = Rib::default();
    let since = |vrf, rib: &Rib| rib.updates_since(old.ribs.get(vrf).unwrap_or(&empty));
    let all = next.ribs.iter().map(|(vrf, rib)| (*vrf, since(vrf, rib)));
    let mut all: Vec<VrfUpdates> = all.filter(|(_, changes)| !changes.is_empty()).collect();
    // The FIB may refuse what adds routes. What only withdraws comes after all that, so that it
    // need not be taken back.
    all.sort_by_key(|(_, changes)| changes.iter().all(|(_, group)| group.is_none()));
    all
}

/// The old tables with what `next` has in addition, if the FIB is going to lead there. No packet
/// gets to it yet, and all else is as before, in case the FIB refuses.
fn introduce(old: &State, next: &State) -> Option<Snapshot> {
    let is_new = |id: &u32| old.groups.key(*id).is_none();
    let new: Vec<u32> = next.groups.wanted().map(|(id, _)| id).filter(is_new).collect();
    if new.is_empty() {
        return None;
    }
    let mut tables = old.tables.clone();
    tables.vifs = added(&old.tables.vifs, &next.tables.vifs).into();
    tables.vrfs = added(&old.tables.vrfs, &next.tables.vrfs).into();
    let adjacencies: Vec<Adjacency> = (0..)
        .zip(&**next.tables.adjacencies)
        .map(|(id, adjacency)| match old.adjacencies.key(id) {
            Some(_) => *old.tables.adjacency(AdjacencyId(id)),
            None => *adjacency,
        })
        .collect();
    tables.adjacencies = Arc::new(AdjacencyTable::new(adjacencies));
    let groups = Arc::make_mut(&mut tables.groups);
    new.into_iter().for_each(|id| groups.set(GroupId(id), &next.members(GroupId(id))));
    Some(tables)
}

/// `old`, with the slots of `next` where it has none.
fn added<T: Clone>(old: &[Option<T>], next: &[Option<T>]) -> Vec<Option<T>> {
    let slot =
        |at: usize| old.get(at).cloned().flatten().or_else(|| next.get(at).cloned().flatten());
    (0..old.len().max(next.len())).map(slot).collect()
}
