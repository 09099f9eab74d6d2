//! A batch, and what it would change of what holds.

use std::sync::Arc;

use ipnet::IpNet;

use super::intake::Refused;
use super::{Book, Hops, Table};

/// Changes that are to hold together.
#[derive(Debug, Default)]
pub(super) struct Batch {
    pub vrfs: Vec<Arc<str>>,
    pub hops: Vec<Hops>,
    pub changes: Vec<Change>,
}

/// One of them: VRF and next hops by their numbers in the batch.
#[derive(Clone, Copy, Debug)]
pub(super) struct Change {
    pub line: u64,
    pub vrf: u32,
    pub prefix: IpNet,
    pub to: Option<u32>,
}

impl Batch {
    /// Orders the changes; of one prefix the last line counts.
    pub fn settle(&mut self) {
        self.changes.sort_unstable_by_key(|change| (change.vrf, change.prefix, change.line));
        self.changes.reverse();
        self.changes.dedup_by_key(|change| (change.vrf, change.prefix));
        self.changes.reverse();
    }

    pub fn of_vrfs(&self) -> impl Iterator<Item = (&Arc<str>, &[Change])> {
        let runs = self.changes.chunk_by(|a, b| a.vrf == b.vrf);
        runs.filter_map(|run| Some((self.vrfs.get(run.first()?.vrf as usize)?, run)))
    }

    pub fn hops(&self, number: u32) -> Option<&Hops> {
        self.hops.get(number as usize)
    }
}

/// What a batch changes of what holds.
#[derive(Debug, Default)]
pub(super) struct Plan {
    /// By VRF, those changes that are any.
    pub moves: Vec<(Arc<str>, Vec<Change>)>,
    pub added: u64,
    pub changed: u64,
    pub deleted: u64,
    pub unchanged: u64,
}

impl Book {
    /// What a batch would change.
    ///
    /// # Errors
    /// What is wrong with it, and whether it is too much.
    pub(super) fn plan(&self, name: &str, batch: &Batch) -> Result<Plan, (Refused, bool)> {
        let mut plan = Plan::default();
        let (mut come, mut gone, mut new_hops) = (0, 0, 0);
        for (vrf, changes) in batch.of_vrfs() {
            let held = self.vrfs.get(vrf);
            let last = changes.iter().map(|change| change.line).max().unwrap_or(0);
            if let Some(held) = held.filter(|held| *held.source != *name) {
                let message = format!(
                    "vrf: {vrf:?} has mappings of source {:?}; a VRF's are of one source: have that one delete them first",
                    held.source
                );
                return Err((Refused { line: last, message }, false));
            }
            let table = held.map(|held| &held.table);
            let mut known: Vec<Option<Option<u32>>> = vec![None; batch.hops.len()];
            let (before, mut more, mut less) = (table.map_or(0, Table::len), 0, 0);
            let mut moves = Vec::new();
            for change in changes {
                let old = table.and_then(|table| table.get(change.prefix)).map(|(id, _)| id);
                let new = change.to.map(|to| {
                    *known[to as usize].get_or_insert_with(|| {
                        let hops = &batch.hops[to as usize];
                        let id = table.and_then(|table| table.id(hops));
                        new_hops += if id.is_none() { hops.len() } else { 0 };
                        id
                    })
                });
                match (old, new) {
                    (None, None) => plan.unchanged += 1,
                    (Some(old), Some(Some(new))) if old == new => plan.unchanged += 1,
                    _ => {
                        more += usize::from(old.is_none());
                        less += usize::from(new.is_none());
                        plan.changed += u64::from(old.is_some() && new.is_some());
                        moves.push(*change);
                    }
                }
            }
            let after = before + more - less;
            if more > less && after > self.limits.per_vrf {
                let message = format!(
                    "vrf: {vrf:?} would have {after} mappings; the most is {}",
                    self.limits.per_vrf
                );
                return Err((Refused { line: last, message }, true));
            }
            (come, gone) = (come + more, gone + less);
            if !moves.is_empty() {
                plan.moves.push((vrf.clone(), moves));
            }
        }
        let line = batch.changes.iter().map(|change| change.line).max().unwrap_or(0);
        let (mappings, hops) = (self.mappings + come - gone, self.hops + new_hops);
        for (what, before, after, most) in [
            ("mappings", self.mappings, mappings, self.limits.total),
            ("next hops in lists that differ", self.hops, hops, self.limits.hops),
        ] {
            if after > before && after > most {
                let message =
                    format!("there would be {after} {what} in all VRFs; the most is {most}");
                return Err((Refused { line, message }, true));
            }
        }
        (plan.added, plan.deleted) = (come as u64, gone as u64);
        Ok(plan)
    }
}
