//! Routes that a routing protocol learned, from the kernel's tables into the RIB and the FIB.
//!
//! A prefix has next hops in two tables: the best ones, and all that could be used. Together they make
//! a group: the best are its primary members, the others its backups. Nothing is taken on trust: a next
//! hop has to be on a VIF of the route's VRF and in one of its subnets.
//!
//! What the RIB says is learned is what the FIB has: a change that the FIB refuses, for lack of memory,
//! is not made at all, counted, and made by a later audit.

mod paths;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::net::IpAddr;

use ipnet::IpNet;

use super::commit::{Engine, Publish};
use super::neighbor::Hosts;
use crate::mirror::{Change, Range, Reason, Table, To};
use crate::tables::{GroupId, VifId, VrfId};
use paths::{At, Batch, Next, Part, Resolved, part, paths, without};

pub use paths::MAX_NEXT_HOPS;

/// What became of learned routes of one family of a VRF.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Learning {
    /// Routes that are learned now.
    pub routes: usize,
    /// Changes taken in.
    pub changes: u64,
    /// Next hops that were not taken.
    pub refused: u64,
    /// Changes that the FIB had no room for.
    pub no_room: u64,
    /// Routes that an audit found to differ from the kernel's.
    pub mismatches: u64,
    /// Those of them that are right now.
    pub repaired: u64,
    /// Routes changed because of a dump that was not an audit.
    pub resynced: u64,
    /// The last refusal.
    pub last_error: Option<String>,
}

/// A family of a VRF; true is IPv6.
type Family = (VrfId, bool);

/// The group that each prefix is to lead to; `None` for no route.
type Moves = Vec<(IpNet, Option<GroupId>)>;

/// What learned routes went through since the start, by family.
#[derive(Default)]
pub(super) struct Learnings(BTreeMap<Family, Learning>);

impl Learnings {
    fn of(&mut self, vrf: VrfId, prefix: IpNet) -> &mut Learning {
        self.0.entry((vrf, matches!(prefix, IpNet::V6(_)))).or_default()
    }
}

impl<P: Publish> Engine<P> {
    /// What learned routes of a family of a VRF went through.
    pub fn learning(&self, vrf: VrfId, v6: bool) -> Learning {
        let routes = self.state.ribs.get(&vrf).map_or(0, |rib| rib.learned.len(v6));
        let learning = self.learnings.0.get(&(vrf, v6)).cloned().unwrap_or_default();
        Learning { routes, ..learning }
    }

    /// Whether a neighbor of a VIF is the next hop of a route.
    pub fn is_next_hop(&self, vif: VifId, address: IpAddr) -> bool {
        let rib = self.tables().vif(vif).and_then(|vif| self.state.ribs.get(&vif.vrf));
        rib.is_some_and(|rib| {
            rib.learned.has_hop((vif, address))
                || rib.hosts.get(&address).is_some_and(|host| host.configured)
        })
    }

    /// Takes in changes of learned routes, in order, those of VRFs that are gone left out. Each is
    /// made in full or, where the FIB refuses it, not at all.
    pub fn learned(&mut self, mut changes: Vec<Change>) {
        self.moves += 1;
        changes.retain(|change| self.state.ribs.contains_key(&change.vrf));
        // Changes of one prefix stay in order.
        changes.sort_by_key(|change| (change.vrf, change.prefix));
        let mut batch = Batch::default();
        let mut rest = &changes[..];
        let mut moves: Vec<(VrfId, Moves)> = Vec::new();
        while let Some(first) = rest.first() {
            let (vrf, prefix) = (first.vrf, first.prefix);
            let count = rest.iter().take_while(|c| (c.vrf, c.prefix) == (vrf, prefix)).count();
            let (same, others) = rest.split_at(count);
            rest = others;
            let old = self.state.ribs.get(&vrf).and_then(|rib| rib.learned.get(prefix));
            let mut group = old;
            for change in same {
                group = self.next_group(&mut batch, group, change);
            }
            self.learnings.of(vrf, prefix).changes += count as u64;
            if group != old {
                match moves.last_mut() {
                    Some((last, moves)) if *last == vrf => moves.push((prefix, group)),
                    _ => moves.push((vrf, vec![(prefix, group)])),
                }
            }
        }
        self.introduce(&batch.new);
        let mut hosts = Hosts::new();
        for (vrf, moves) in moves {
            hosts.extend(self.move_routes(vrf, moves));
        }
        if let Some(&(vrf, address)) = hosts.first()
            && let Err(error) = self.refresh_hosts(hosts)
        {
            let learning = self.learnings.of(vrf, address.into());
            learning.no_room += 1;
            learning.last_error = Some(error.to_string());
        }
        batch.wanted.iter().for_each(|&group| self.state.release_group(group));
        let underlay = changes.iter().any(|change| self.state.is_underlay(change.vrf));
        if underlay && self.state.follow_underlay() {
            self.publish();
        }
        self.synchronize();
        self.clean_up();
    }

    /// Makes the learned routes of a range what the kernel has there, and the FIB what is learned.
    /// Gives how many of them an audit found to differ, and how many of those are right now.
    pub fn learned_range(&mut self, range: &Range) -> (u64, u64) {
        let Some(rib) = self.state.ribs.get(&range.vrf) else { return (0, 0) };
        let known = rib.learned.range(range.from, range.until);
        let mut batch = Batch::default();
        let mut same: HashMap<(GroupId, At), bool> = HashMap::new();
        let mut parts: HashMap<GroupId, Part> = HashMap::new();
        let mut changes = Vec::new();
        let (vrf, table) = (range.vrf, range.table);
        let change = |prefix, to| Change { vrf, table, prefix, to };
        let mut kernel = range.routes.iter().peekable();
        let mut missing = Vec::new();
        for &(prefix, group) in &known {
            while let Some(route) = kernel.next_if(|(other, _)| *other < prefix) {
                missing.push(route);
            }
            let part = parts.entry(group).or_insert_with(|| part(&self.state, group, range.table));
            match kernel.next_if(|(other, _)| *other == prefix) {
                Some((_, hops)) => {
                    let is_same = same
                        .entry((group, hops.as_ptr()))
                        .or_insert_with(|| *part == self.state.resolve(vrf, hops, &mut batch).part);
                    if !*is_same {
                        changes.push(change(prefix, To::Hops(hops.clone())));
                    }
                }
                None if part.is_empty() => {}
                None => changes.push(change(prefix, To::Gone)),
            }
        }
        missing.extend(kernel);
        // Of a route whose next hops are all refused nothing can be made.
        missing.retain(|(_, hops)| !self.state.resolve(vrf, hops, &mut batch).part.is_empty());
        let missing = missing.into_iter();
        changes.extend(missing.map(|(prefix, hops)| change(*prefix, To::Hops(hops.clone()))));
        changes.retain(|change| !range.unsure.contains(&change.prefix));
        self.repair(range, &known, changes)
    }

    /// Carries out what a range found, and counts it.
    fn repair(
        &mut self,
        range: &Range,
        known: &[(IpNet, GroupId)],
        changes: Vec<Change>,
    ) -> (u64, u64) {
        let found = changes.len() as u64;
        let no_room = self.learnings.of(range.vrf, range.from).no_room;
        if !changes.is_empty() {
            self.learned(changes);
        }
        let wrong = self.correct_fib(range.vrf, known);
        let learning = self.learnings.of(range.vrf, range.from);
        let failed = learning.no_room - no_room;
        match range.reason {
            Reason::Resync => {
                learning.resynced += found.saturating_sub(failed);
                (0, 0)
            }
            Reason::Audit => {
                let (mismatches, repaired) =
                    (found + wrong, (found + wrong).saturating_sub(failed));
                learning.mismatches += mismatches;
                learning.repaired += repaired;
                (mismatches, repaired)
            }
        }
    }

    /// Compares the FIB with the RIB at prefixes, and puts right what differs. Returns how much did.
    fn correct_fib(&mut self, vrf: VrfId, known: &[(IpNet, GroupId)]) -> u64 {
        let Some(rib) = self.state.ribs.get(&vrf) else { return 0 };
        let mut wrong = Vec::new();
        for (prefix, _) in known {
            let best = rib.best(*prefix).map(|(_, group)| group.0);
            if self.fib.get(u32::from(vrf.0), prefix) != best {
                wrong.push((*prefix, best));
            }
        }
        if !wrong.is_empty()
            && let Err(error) = self.fib.apply(u32::from(vrf.0), &wrong)
        {
            let learning = self.learnings.of(vrf, wrong[0].0);
            learning.no_room += wrong.len() as u64;
            learning.last_error = Some(error.to_string());
        }
        wrong.len() as u64
    }

    /// The group of a prefix after a change, wanted by the batch.
    fn next_group(
        &mut self,
        batch: &mut Batch,
        old: Option<GroupId>,
        change: &Change,
    ) -> Option<GroupId> {
        let (hops, less) = match &change.to {
            To::Hops(hops) => (Some(hops), false),
            To::Without(hops) => (Some(hops), true),
            To::Gone => (None, false),
        };
        let at = hops.map_or(std::ptr::null(), |hops| hops.as_ptr());
        let key = (change.vrf, old.map_or(0, |group| group.0), change.table, less, at);
        let next = match batch.next.get(&key) {
            Some(known) => *known,
            None => {
                let resolved = match hops {
                    Some(hops) => self.state.resolve(change.vrf, hops, batch),
                    None => Resolved::default(),
                };
                let (next, error) = self.make_group(batch, old, change.table, less, resolved);
                if let Some(error) = error {
                    let learning = self.learnings.of(change.vrf, change.prefix);
                    learning.last_error = Some(format!("{}: {error}", change.prefix));
                }
                batch.next.insert(key, next);
                next
            }
        };
        self.learnings.of(change.vrf, change.prefix).refused += next.refused;
        next.group
    }

    /// The group that has `resolved` for a table's part of `old`, or is without it.
    fn make_group(
        &mut self,
        batch: &mut Batch,
        old: Option<GroupId>,
        table: Table,
        less: bool,
        resolved: Resolved,
    ) -> (Next, Option<String>) {
        let [best, alternates] = [Table::Best, Table::Alternates].map(|other| {
            let old = old.map_or(Part::new(), |old| part(&self.state, old, other));
            match (other == table, less) {
                (false, _) => old,
                (true, false) => resolved.part.clone(),
                (true, true) => without(old, &resolved.part),
            }
        });
        let paths = paths(&best, &alternates);
        let mut next = Next { group: None, refused: resolved.refused };
        if paths.is_empty() {
            return (next, resolved.error);
        }
        match self.state.want_paths(&paths) {
            Ok((group, first)) => {
                batch.wanted.push(group);
                if first {
                    batch.new.push(group);
                }
                next.group = Some(group);
                (next, resolved.error)
            }
            Err(error) => {
                next.refused += 1;
                (next, Some(error.to_string()))
            }
        }
    }

    /// Leads prefixes to other groups, in the FIB and then in the RIB. Returns the neighbors whose
    /// host routes that may concern.
    fn move_routes(&mut self, vrf: VrfId, moves: Moves) -> Hosts {
        let mut hosts = Hosts::new();
        let Some(rib) = self.state.ribs.get(&vrf) else { return hosts };
        let mut updates = Vec::with_capacity(moves.len());
        for &(prefix, group) in &moves {
            hosts.extend(rib.hosts_under(prefix).map(|address| (vrf, address)));
            if rib.above_learned(prefix).is_some() {
                continue;
            }
            // A group that is new to the RIB is not known there as one that leads nowhere.
            let leads = |group: &GroupId| self.state.leads(*group);
            let other = rib.exchanged.get(&prefix).copied();
            let new = group.filter(leads).or(other).map(|group| group.0);
            if new != rib.learned.best(prefix).or(other).map(|group| group.0) {
                updates.push((prefix, new));
            }
        }
        let refused = self.change_learned(vrf, &mut updates);
        for (prefix, group) in moves {
            if !refused.contains(&prefix) {
                self.state.move_route(vrf, prefix, group);
            }
        }
        hosts
    }

    /// Brings changes into the FIB and returns the prefixes that it refused to change.
    fn change_learned(
        &mut self,
        vrf: VrfId,
        updates: &mut [(IpNet, Option<u32>)],
    ) -> HashSet<IpNet> {
        let mut refused = HashSet::new();
        if updates.is_empty() || self.fib.apply(u32::from(vrf.0), updates).is_ok() {
            return refused;
        }
        // Withdrawals first: they give room.
        updates.sort_by_key(|(_, group)| group.is_some());
        for update in updates {
            if let Err(error) = self.fib.apply(u32::from(vrf.0), &[*update]) {
                let learning = self.learnings.of(vrf, update.0);
                learning.no_room += 1;
                learning.last_error = Some(format!("{}: {error}", update.0));
                refused.insert(update.0);
            }
        }
        refused
    }
}
