//! A configuration on its way to being what runs: compiled on any thread against a [`Base`], then brought
//! into the FIB in slices by the control thread, which takes in links and peers between them.
//!
//! Order of a commit, so that a packet never meets an id without a meaning:
//! 1. publish a snapshot that has what is new beside everything old, and wait for every worker;
//! 2. change the FIB (if it refuses, undo, and publish the old tables again);
//! 3. publish the new tables, still with what the FIB used to lead to, and wait for every worker;
//! 4. remove VRFs, publish without what was removed, wait for every worker, and free its ids.
//!
//! FIB memory is freed at every wait.

use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;

use super::commit::{CommitError, Engine, PortFacts, Publish, VrfUpdates};
use super::compile::compile;
use super::isolation;
use super::rib::Rib;
use super::state::State;
use crate::config::model::Config;
use crate::config::{self, Diff};
use crate::fib::FibError;
use crate::tables::{
    AccessLists, Adjacency, AdjacencyId, AdjacencyTable, GroupId, PortId, Snapshot, VifId, VrfId,
};

/// Routes brought into the FIB between two looks at what is urgent: less than a millisecond's.
const SLICE: usize = 2048;

/// A prefix's group, `None` to withdraw it.
type Update = (IpNet, Option<u32>);

/// What a candidate is compiled against: the engine's state at a moment.
pub struct Base {
    pub(super) state: State,
    pub(super) config: Option<Arc<Config>>,
    moves: u64,
}

/// A configuration that is compiled, and not committed yet.
pub struct Candidate {
    next: State,
    config: Arc<Config>,
    /// The interfaces that it was compiled for.
    facts: Vec<PortFacts>,
    diff: Diff,
    updates: Vec<VrfUpdates>,
    /// The peers that were not reached when it was compiled.
    silent: BTreeSet<(VifId, IpAddr)>,
    moves: u64,
}

/// A commit that is under way.
pub(super) struct Commit {
    pub next: State,
    pub config: Arc<Config>,
    diff: Diff,
    updates: Vec<VrfUpdates>,
    /// VRFs that the FIB has because of it.
    new_vrfs: Vec<VrfId>,
    /// The list of `updates` and the place in it up to which the FIB has them.
    reached: (usize, usize),
}

/// What `new` would change of `old`, where that can be changed while the station runs.
///
/// # Errors
/// [`CommitError::NeedsRestart`].
pub fn difference(old: Option<&Config>, new: &Config) -> Result<Diff, CommitError> {
    let restart = old.map_or_else(Vec::new, |old| config::needs_restart(old, new));
    match restart.is_empty() {
        true => Ok(config::diff(old, new)),
        false => Err(CommitError::NeedsRestart(restart)),
    }
}

impl Base {
    /// Compiles a configuration for these interfaces. Needs no engine, and can take its time.
    ///
    /// # Errors
    /// Why the configuration cannot be what runs.
    pub fn compile(
        self,
        config: Arc<Config>,
        facts: &[PortFacts],
    ) -> Result<Candidate, CommitError> {
        let running = self.config.as_deref();
        let diff = difference(running, &config)?;
        let most = self.state.ports;
        if config.ports.iter().any(|port| port.id.index() >= most) {
            return Err(CommitError::Ports(most));
        }
        let next = compile(&self.state, running, &config, facts)?;
        isolation::check(&next, &config)?;
        let updates = updates(&self.state, &next);
        let (silent, facts, moves) = (self.state.silent, facts.to_vec(), self.moves);
        Ok(Candidate { next, config, facts, diff, updates, silent, moves })
    }
}

impl Candidate {
    /// The ids that the configuration's VRFs get.
    pub fn vrf_ids(&self) -> HashMap<Arc<str>, VrfId> {
        let vrfs = (0..=u16::MAX).map(VrfId).zip(&*self.next.tables.vrfs);
        vrfs.filter_map(|(id, vrf)| Some((vrf.as_ref()?.name.clone(), id))).collect()
    }
}

impl<P: Publish> Engine<P> {
    /// What runs now, to compile a candidate against.
    pub fn base(&self) -> Base {
        Base { state: self.state.clone(), config: self.config.clone(), moves: self.moves }
    }

    /// Begins to commit a candidate. Links and peers may have changed since its base; nothing else.
    /// [`Engine::step`] goes on; until it is done, only links and peers may change.
    ///
    /// # Errors
    /// [`CommitError::Stale`], or that the FIB has no room for the VRFs. Nothing has changed then.
    pub fn begin(&mut self, candidate: Candidate, facts: &[PortFacts]) -> Result<(), CommitError> {
        let Candidate { mut next, config, facts: compiled, diff, updates, silent, moves } =
            candidate;
        let interface = |facts: &PortFacts| (facts.mac, facts.mtu);
        let same = compiled.iter().map(interface).eq(facts.iter().map(interface));
        if moves != self.moves || !same || self.commit.is_some() {
            return Err(CommitError::Stale);
        }
        for (id, facts) in (0..=u8::MAX).map(PortId).zip(facts) {
            next.set_link(id, facts.link_up);
        }
        for &peer in silent.symmetric_difference(&self.state.silent) {
            next.follow_peer(&self.state, peer);
        }
        self.moves += 1;
        let introduced = introduce(&self.state, &next);
        if let Some(introduced) = introduced {
            self.send(introduced);
            self.synchronize();
        }
        let new_vrfs = self.add_vrfs(&next)?;
        self.commit = Some(Commit { next, config, diff, updates, new_vrfs, reached: (0, 0) });
        Ok(())
    }

    /// Whether a commit is under way.
    pub fn is_committing(&self) -> bool {
        self.commit.is_some()
    }

    /// Brings a slice of the commit that is under way into the FIB; what it has changed, once it is done.
    ///
    /// # Errors
    /// The FIB's refusal. Everything is as before then.
    pub fn step(&mut self) -> Result<Option<Diff>, CommitError> {
        let Some(mut commit) = self.commit.take() else { return Ok(Some(Diff::default())) };
        let mut left = SLICE;
        while left > 0 {
            let (at, from) = commit.reached;
            let Some((vrf, changes)) = commit.updates.get(at) else {
                return Ok(Some(self.finish(commit)));
            };
            let slice = &changes[from..][..left.min(changes.len() - from)];
            match self.apply_some(*vrf, slice) {
                Ok(count) => {
                    let reached = from + count;
                    let whole = reached == changes.len();
                    commit.reached = if whole { (at + 1, 0) } else { (at, reached) };
                    left -= count;
                }
                Err(source) => {
                    let refused = CommitError::Fib { vrf: commit.next.vrf_name(*vrf), source };
                    return Err(self.take_back(commit, refused));
                }
            }
        }
        self.synchronize();
        self.commit = Some(commit);
        Ok(None)
    }

    /// Applies the changes, or the first of them; how many. There may be no room for what all of them need at
    /// most, and enough for what they need one by one.
    fn apply_some(&mut self, vrf: VrfId, changes: &[Update]) -> Result<usize, FibError> {
        let (mut count, mut waited) = (changes.len(), false);
        loop {
            match self.fib.apply(u32::from(vrf.0), &changes[..count]) {
                Ok(()) => return Ok(count),
                Err(FibError::Exhausted { .. }) if !waited => {
                    // What is unlinked already may be used again.
                    self.synchronize();
                    waited = true;
                }
                Err(FibError::Exhausted { .. }) if count > 1 => count /= 2,
                Err(error) => return Err(error),
            }
        }
    }

    /// Adds the VRFs that `next` has and the FIB has not, or none.
    fn add_vrfs(&mut self, next: &State) -> Result<Vec<VrfId>, CommitError> {
        let new = next.ribs.keys().filter(|vrf| !self.state.ribs.contains_key(vrf));
        let new: Vec<VrfId> = new.copied().collect();
        for (at, &vrf) in new.iter().enumerate() {
            if let Err(source) = self.fib.add_vrf(u32::from(vrf.0)) {
                self.remove_vrfs(&new[..at]);
                self.publish();
                self.synchronize();
                return Err(CommitError::Fib { vrf: next.vrf_name(vrf), source });
            }
        }
        Ok(new)
    }

    /// The FIB is what it is to be: so are the tables from now on.
    fn finish(&mut self, commit: Commit) -> Diff {
        let Commit { next, config, diff, .. } = commit;
        let gone: Vec<VrfId> =
            self.state.ribs.keys().filter(|vrf| !next.ribs.contains_key(vrf)).copied().collect();
        self.state = next;
        self.config = Some(config);
        self.publish();
        self.synchronize();
        self.remove_vrfs(&gone);
        self.clean_up();
        diff
    }

    /// Puts the FIB back to what the state says, and publishes that.
    fn take_back(&mut self, commit: Commit, refused: CommitError) -> CommitError {
        let (lists, part) = commit.reached;
        self.remove_vrfs(&commit.new_vrfs);
        let whole = commit.updates[..lists].iter().map(|(vrf, changes)| (*vrf, &changes[..]));
        let begun = commit.updates.get(lists).map(|(vrf, changes)| (*vrf, &changes[..part]));
        let undone = self.undo(&whole.chain(begun).collect::<Vec<_>>());
        let error = match undone {
            Ok(()) => refused,
            Err((vrf, source)) => {
                // The FIB may lead to what is old and to what is new.
                self.broken = true;
                let introduced = introduce(&self.state, &commit.next);
                self.state.join_ids(commit.next);
                self.state.tables = introduced.unwrap_or(self.state.tables.clone());
                let vrf = self.state.vrf_name(vrf);
                CommitError::Broken { refused: Box::new(refused), vrf, source }
            }
        };
        self.publish();
        self.synchronize();
        error
    }

    /// Puts back what the state has for the prefixes of `updates`.
    fn undo(&mut self, updates: &[(VrfId, &[Update])]) -> Result<(), (VrfId, FibError)> {
        // Withdrawals first, then a wait: the old routes may need the room that this frees.
        for insert in [false, true] {
            for (vrf, changes) in updates {
                let Some(rib) = self.state.ribs.get(vrf) else { continue };
                let old = |prefix| rib.best(prefix).map(|(_, group)| group.0);
                let back = changes.iter().map(|&(prefix, _)| (prefix, old(prefix)));
                let back: Vec<_> = back.filter(|(_, old)| old.is_some() == insert).collect();
                // Room is as short as it was on the way here.
                for slice in back.chunks(SLICE) {
                    let mut from = 0;
                    while from < slice.len() {
                        let applied = self.apply_some(*vrf, &slice[from..]);
                        from += applied.map_err(|source| (*vrf, source))?;
                    }
                }
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
}

/// The FIB changes between two states.
fn updates(old: &State, next: &State) -> Vec<VrfUpdates> {
    let empty = Rib::default();
    let since = |vrf, rib: &Rib| rib.updates_since(old.ribs.get(vrf).unwrap_or(&empty));
    let all = next.ribs.iter().map(|(vrf, rib)| (*vrf, since(vrf, rib)));
    let mut all: Vec<VrfUpdates> = all.filter(|(_, changes)| !changes.is_empty()).collect();
    // In order, so that a slice touches few parts of the FIB.
    all.iter_mut().for_each(|(_, changes)| changes.sort_unstable_by_key(|(prefix, _)| *prefix));
    // The FIB may refuse what adds routes. What only withdraws comes after all that, so that it
    // need not be taken back.
    all.sort_by_key(|(_, changes)| changes.iter().all(|(_, group)| group.is_none()));
    all
}

/// The old tables with what `next` has in addition, if the FIB is going to lead there. No packet
/// gets to it yet, and all else is as before, in case the FIB refuses.
pub(super) fn introduce(old: &State, next: &State) -> Option<Snapshot> {
    let is_new = |id: &u32| old.groups.key(*id).is_none();
    let new: Vec<u32> = next.groups.wanted().map(|(id, _)| id).filter(is_new).collect();
    if new.is_empty() {
        return None;
    }
    let mut tables = old.tables.clone();
    tables.vifs = added(&old.tables.vifs, &next.tables.vifs).into();
    tables.acls = Arc::new(AccessLists::new(old.tables.acls.named.clone(), &tables.vifs));
    tables.vrfs = added(&old.tables.vrfs, &next.tables.vrfs).into();
    tables.exchanges = added(&old.tables.exchanges, &next.tables.exchanges).into();
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
