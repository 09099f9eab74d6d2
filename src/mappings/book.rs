//! What holds: the mappings of each VRF, whose they are, and how far each source's sync is.

use std::collections::BTreeMap;
use std::sync::Arc;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::plan::Batch;
use super::{Hops, Move, Table};

/// How much there may be: a flood is refused, and what holds stays.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Mappings of a VRF.
    pub per_vrf: usize,
    /// Mappings of all VRFs.
    pub total: usize,
    /// Next hops in all lists of next hops that differ.
    pub hops: usize,
    /// Sources that hold something or are connected.
    pub sources: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Limits { per_vrf: 1_000_000, total: 2_000_000, hops: 1 << 18, sources: 16 }
    }
}

/// `show mappings`: a source, and what holds of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceRow {
    /// Its name.
    pub source: String,
    /// `connected`, `syncing`: connected, and between a sync's begin and its end; or `lost`: what it said holds.
    pub state: String,
    /// Since when, in milliseconds since 1970: the connection, or its loss.
    pub since_ms: u64,
    /// The generation of the last sync that ended; null where none did.
    pub generation: Option<u64>,
    /// When it ended.
    pub end_of_sync_ms: Option<u64>,
    /// The generation of the sync that has begun.
    pub syncing: Option<u64>,
    /// The position that its last commit named; in a sync only the end does.
    pub position: Option<u64>,
    /// Mappings that hold.
    pub mappings: u64,
    /// Those of them that lead nowhere: the configuration has not their VRF, or none of their VTEPs.
    pub inactive: u64,
    /// VRFs that they are in.
    pub vrfs: u64,
    /// Batches that were refused since the start.
    pub refused_batches: u64,
    /// Those of them that were too much.
    pub limit_refusals: u64,
}

/// A mapping that holds.
pub type Mapping = (IpNet, Hops);

/// How far a source is.
#[derive(Debug, Default)]
pub(super) struct Source {
    /// The connection that speaks for it; 0 where there is none.
    pub session: u64,
    pub since_ms: u64,
    pub generation: Option<u64>,
    pub end_of_sync_ms: Option<u64>,
    pub position: Option<u64>,
    pub sync: Option<Sync>,
    pub refused_batches: u64,
    pub limit_refusals: u64,
}

/// A sync that has begun.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sync {
    generation: u64,
    /// What it has named has this mark.
    mark: u32,
    /// A batch of it was refused: what it did not name may have been in that.
    torn: bool,
}

/// The mappings of a VRF. Beside each is the mark of the sync that named it last.
#[derive(Debug)]
pub(super) struct Vrf {
    pub source: Arc<str>,
    pub table: Table<u32, ()>,
}

impl Vrf {
    /// Gives a prefix next hops and a mark, or none.
    pub fn put(&mut self, prefix: IpNet, value: Option<(u32, u32)>) {
        if let Some(old) = self.table.put(prefix, value) {
            self.table.drop_unused(old);
        }
    }
}

/// What holds of all sources.
#[derive(Debug, Default)]
pub struct Book {
    pub(super) limits: Limits,
    pub(super) sources: BTreeMap<Arc<str>, Source>,
    pub(super) vrfs: BTreeMap<Arc<str>, Vrf>,
    pub(super) mappings: usize,
    pub(super) hops: usize,
    sessions: u64,
    syncs: u32,
    /// Counts what changes, so that it is known whether the disk has it.
    changes: u64,
}

impl Book {
    /// A book in which nothing holds.
    pub fn new(limits: Limits) -> Book {
        Book { limits, ..Book::default() }
    }

    /// Counts changes of what is on disk.
    pub fn changes(&self) -> u64 {
        self.changes
    }

    /// All sources.
    pub fn rows(&self) -> Vec<SourceRow> {
        self.sources.keys().filter_map(|name| self.row(name)).collect()
    }

    /// A source; [`SourceRow::inactive`] is the engine's to say.
    pub fn row(&self, name: &str) -> Option<SourceRow> {
        let source = self.sources.get(name)?;
        let own = || self.vrfs_of(name);
        Some(SourceRow {
            source: name.to_owned(),
            state: match (source.session, source.sync) {
                (0, _) => "lost",
                (_, None) => "connected",
                (_, Some(_)) => "syncing",
            }
            .to_owned(),
            since_ms: source.since_ms,
            generation: source.generation,
            end_of_sync_ms: source.end_of_sync_ms,
            syncing: source.sync.map(|sync| sync.generation),
            position: source.position,
            mappings: own().map(|(_, vrf)| vrf.table.len() as u64).sum(),
            inactive: 0,
            vrfs: own().count() as u64,
            refused_batches: source.refused_batches,
            limit_refusals: source.limit_refusals,
        })
    }

    fn vrfs_of<'a>(&'a self, source: &'a str) -> impl Iterator<Item = (&'a Arc<str>, &'a Vrf)> {
        self.vrfs.iter().filter(move |(_, vrf)| *vrf.source == *source)
    }

    /// The names of the VRFs of a source.
    pub fn names(&self, source: &str) -> Vec<Arc<str>> {
        self.vrfs_of(source).map(|(name, _)| name.clone()).collect()
    }

    /// Whose the mappings of a VRF are, and a page of them, from `from` on or behind it; none where it has none.
    pub fn page(
        &self,
        vrf: &str,
        from: IpNet,
        behind: bool,
        most: usize,
    ) -> Option<(Arc<str>, Vec<Mapping>)> {
        let Vrf { source, table } = self.vrfs.get(vrf)?;
        let at = table.prefixes().get(from).filter(|_| !behind).map(|value| (from, value));
        let all = at.into_iter().chain(table.prefixes().after(from));
        let mapping = |(prefix, (id, _))| Some((prefix, table.set(id)?.hops.clone()));
        Some((source.clone(), all.filter_map(mapping).take(most).collect()))
    }

    /// The mappings of each VRF, for an engine that has none yet.
    pub fn tables<S: Default>(&self) -> BTreeMap<Arc<str>, Table<(), S>> {
        let copy = |(name, vrf): (&Arc<str>, &Vrf)| {
            let mut copy = Table::default();
            for (prefix, (id, _)) in vrf.table.prefixes().iter() {
                if let Some(set) = vrf.table.set(id) {
                    let id = copy.adopt(&set.hops, S::default());
                    copy.put(prefix, Some((id, ())));
                }
            }
            (name.clone(), copy)
        };
        self.vrfs.iter().map(copy).collect()
    }

    /// A connection speaks for a source from now on, and no other; its number.
    ///
    /// # Errors
    /// That there are too many sources.
    pub(super) fn open(&mut self, name: &Arc<str>, now_ms: u64) -> Result<u64, String> {
        if !self.sources.contains_key(name) && self.sources.len() >= self.limits.sources {
            let holds = |name: &Arc<str>| self.vrfs.values().any(|vrf| vrf.source == *name);
            let forgotten =
                |(name, source): &(&Arc<str>, &Source)| source.session == 0 && !holds(name);
            let forgotten = self.sources.iter().find(forgotten).map(|(name, _)| name.clone());
            if let Some(name) = forgotten {
                self.sources.remove(&name);
            }
        }
        if !self.sources.contains_key(name) && self.sources.len() >= self.limits.sources {
            let most = self.limits.sources;
            return Err(format!(
                "there are {most} sources already, which is the most: see `show mappings`"
            ));
        }
        self.sessions += 1;
        let source = self.sources.entry(name.clone()).or_default();
        (source.session, source.since_ms, source.sync) = (self.sessions, now_ms, None);
        Ok(self.sessions)
    }

    /// Whether a connection still speaks for its source.
    pub(super) fn speaks(&self, name: &str, session: u64) -> bool {
        self.sources.get(name).is_some_and(|source| source.session == session)
    }

    /// A connection is gone; whether it spoke for its source. What the source said holds.
    pub(super) fn close(&mut self, name: &str, session: u64, now_ms: u64) -> bool {
        let holds = self.vrfs_of(name).next().is_some();
        let Some(source) = self.sources.get_mut(name).filter(|source| source.session == session)
        else {
            return false;
        };
        (source.session, source.since_ms, source.sync) = (0, now_ms, None);
        if !holds && source.generation.is_none() {
            self.sources.remove(name);
        }
        true
    }

    /// A sync begins.
    ///
    /// # Errors
    /// That it is not newer than the last.
    pub(super) fn begin(&mut self, name: &str, generation: u64) -> Result<(), String> {
        let Some(source) = self.sources.get_mut(name) else { return Err(String::new()) };
        if let Some(last) = source.generation.filter(|last| generation <= *last) {
            return Err(format!(
                "generation: {generation} is not newer than {last}, whose sync has ended; write one above {last}"
            ));
        }
        // From 1 on: 0 is no sync's.
        self.syncs = self.syncs.checked_add(1).unwrap_or(1);
        source.sync = Some(Sync { generation, mark: self.syncs, torn: false });
        Ok(())
    }

    /// Whether the sync of this generation can end now.
    ///
    /// # Errors
    /// Why it cannot.
    pub(super) fn may_end(&self, name: &str, generation: u64) -> Result<(), String> {
        let sync = self.sources.get(name).and_then(|source| source.sync);
        match sync {
            None => Err("end: no sync has begun on this connection; write a begin first".to_owned()),
            Some(sync) if sync.generation != generation => Err(format!(
                "generation: {generation} is not that of the sync, which is {}; write that", sync.generation
            )),
            Some(Sync { torn: true, .. }) => Err(
                "end: a batch since the begin was refused, and what it named would be swept; begin again".to_owned(),
            ),
            Some(_) => Ok(()),
        }
    }

    /// A batch was refused, because it is too much or otherwise.
    pub(super) fn refused(&mut self, name: &str, is_limit: bool) {
        let Some(source) = self.sources.get_mut(name) else { return };
        source.refused_batches += 1;
        source.limit_refusals += u64::from(is_limit);
        if let Some(sync) = &mut source.sync {
            sync.torn = true;
        }
    }

    /// Where a prefix of a VRF is led now.
    pub(super) fn hops(&self, vrf: &str, prefix: IpNet) -> Option<Hops> {
        let table = &self.vrfs.get(vrf)?.table;
        Some(table.set(table.get(prefix)?.0)?.hops.clone())
    }

    /// A batch holds.
    pub(super) fn hold(&mut self, name: &str, batch: &Batch, position: Option<u64>) {
        let Some((name, source)) = self.sources.get_key_value(name) else { return };
        let (name, mark) = (name.clone(), source.sync.map(|sync| sync.mark));
        for (vrf, changes) in batch.of_vrfs() {
            let entry = self.vrfs.entry(vrf.clone());
            let held =
                entry.or_insert_with(|| Vrf { source: name.clone(), table: Table::default() });
            let (before, hops) = (held.table.len(), held.table.hops());
            let mut known: Vec<Option<u32>> = vec![None; batch.hops.len()];
            for change in changes {
                let id = change.to.and_then(|to| {
                    let known = known.get_mut(to as usize)?;
                    let adopt = || held.table.adopt(&batch.hops[to as usize], ());
                    Some(*known.get_or_insert_with(adopt))
                });
                held.put(change.prefix, id.map(|id| (id, mark.unwrap_or(0))));
            }
            self.mappings = self.mappings + held.table.len() - before;
            self.hops = self.hops + held.table.hops() - hops;
        }
        self.vrfs.retain(|_, vrf| !vrf.table.is_empty());
        // In a sync only its end is a position: until then more holds than the controller's at any.
        if let Some(source) = self.sources.get_mut(&*name).filter(|source| source.sync.is_none()) {
            source.position = position.or(source.position);
        }
        self.changes += 1;
    }

    /// What the sync of a source did not name.
    pub(super) fn unnamed(&self, name: &str) -> Vec<(Arc<str>, Vec<Move>)> {
        let Some(sync) = self.sources.get(name).and_then(|source| source.sync) else {
            return Vec::new();
        };
        let of = |(vrf, held): (&Arc<str>, &Vrf)| {
            let all = held.table.prefixes().iter();
            let unnamed = all.filter(|(_, (_, mark))| *mark != sync.mark);
            (vrf.clone(), unnamed.map(|(prefix, _)| (prefix, None)).collect())
        };
        self.vrfs_of(name).map(of).collect()
    }

    /// Mappings are gone.
    pub(super) fn drop_all(&mut self, vrf: &Arc<str>, gone: &[Move]) {
        let Some(held) = self.vrfs.get_mut(vrf) else { return };
        let (before, hops) = (held.table.len(), held.table.hops());
        for (prefix, _) in gone {
            held.put(*prefix, None);
        }
        self.mappings -= before - held.table.len();
        self.hops -= hops - held.table.hops();
        if held.table.is_empty() {
            self.vrfs.remove(vrf);
        }
        self.changes += 1;
    }

    /// The sync of a source has ended.
    pub(super) fn end(&mut self, name: &str, position: Option<u64>, now_ms: u64) {
        if let Some(source) = self.sources.get_mut(name)
            && let Some(sync) = source.sync.take()
        {
            (source.generation, source.end_of_sync_ms) = (Some(sync.generation), Some(now_ms));
            source.position = position.or(source.position);
            self.changes += 1;
        }
    }
}
