//! Routes that controllers stream: prefixes of a VRF that lead into its tunnels.
//!
//! What a controller said stays as it said it, in the RIB of its VRF, or beside the RIBs while the configuration has no such
//! VRF. What becomes of it is the configuration's: next hops lead only to remotes that a VIF of the very VRF has. Those of
//! other next hops lead nowhere until it has them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use ipnet::IpNet;

use super::commit::{CommitError, Engine, Publish};
use super::neighbor::Hosts;
use super::rib::Rib;
use super::state::{Egress, Path, State};
use crate::mappings::{Checked, Hop, Hops, Move, Table};
use crate::shares::Pool;
use crate::tables::{AdjacencyId, AdjacencyKind, GroupId, VifId, VrfId};

/// Mappings of a VRF; beside next hops the group that they make, if they lead anywhere.
pub(super) type Mapped = Table<(), Option<GroupId>>;

impl Mapped {
    /// The group that packets for a prefix may be led to.
    pub fn best(&self, prefix: IpNet) -> Option<GroupId> {
        self.set(self.get(prefix)?.0)?.of
    }

    /// The prefixes whose group is another than in `old`.
    pub fn moved_since(&self, old: &Mapped) -> Vec<IpNet> {
        let group = |of: &Mapped, id| of.set(id).map(|set| (set.hops.clone(), set.of));
        let moved: BTreeSet<u32> =
            self.sets().map(|(id, _)| id).filter(|&id| group(self, id) != group(old, id)).collect();
        self.prefixes_with(moved).collect()
    }

    /// The prefixes that lead to such groups.
    pub fn prefixes_of(&self, is_such: impl Fn(GroupId) -> bool) -> impl Iterator<Item = IpNet> {
        let such = self.sets().filter(|(_, set)| set.of.is_some_and(&is_such));
        self.prefixes_with(such.map(|(id, _)| id).collect())
    }

    /// The prefixes with these next hops. Where there are none, no prefix is looked at.
    fn prefixes_with(&self, hops: BTreeSet<u32>) -> impl Iterator<Item = IpNet> {
        let all = (!hops.is_empty()).then(|| self.prefixes().iter());
        let all = all.into_iter().flatten();
        all.filter(move |(_, (id, ()))| hops.contains(id)).map(|(prefix, _)| prefix)
    }
}

/// Which VIFs of a VRF have tunnels.
type Tunnels = Vec<(Arc<str>, VifId)>;

impl State {
    fn tunnels_of(&self, vrf: VrfId) -> Tunnels {
        let own = self.tables.vifs_by_id();
        let own = own.filter(|(_, vif)| vif.vrf == vrf && vif.tunnel().is_some());
        own.map(|(id, vif)| (vif.name.clone(), id)).collect()
    }

    /// The way of a next hop, or what to write instead. Where it does not say by which VIF, the one that has been there
    /// longest counts: another that comes later moves nothing.
    fn way(&self, vrf: VrfId, tunnels: &Tunnels, hop: &Hop) -> Result<Path, String> {
        let name = self.vrf_name(vrf);
        let vtep = hop.vtep;
        // The remotes of a tunnel are its VIF's neighbors.
        let remote = |vif| self.neighbors.get(&(vif, vtep)).filter(|known| known.configured);
        let leads = |(vif_name, vif): &&(Arc<str>, VifId)| {
            hop.vif.as_ref().is_none_or(|wanted| wanted == vif_name) && remote(*vif).is_some()
        };
        let Some((_, vif)) = tunnels.iter().find(leads) else {
            return Err(match &hop.vif {
                Some(vif) => format!(
                    "vif: no tunnel of vif {vif:?} in vrf {name:?} leads to {vtep}; write one that `show tunnels` has, or \
                     add {vtep} to its remotes first"
                ),
                None => format!(
                    "vtep: {vtep} is no remote of a tunnel in vrf {name:?}; write one that `show tunnels` has, or add it \
                     to the remotes of a VIF there first"
                ),
            });
        };
        let mac = hop.mac.filter(|mac| remote(*vif).is_none_or(|known| known.mac != *mac));
        let kind = AdjacencyKind::Forward;
        let egress = Egress { kind, vrf, vif: *vif, address: vtep, mac };
        Ok(Path { egress, weight: hop.weight, alternate: hop.weight == 0 })
    }

    /// That a next hop is to say by which VIF, where there is another way to its VTEP.
    fn other_way(&self, tunnels: &Tunnels, hop: &Hop, way: &Path) -> Option<String> {
        let mut others =
            tunnels.iter().filter(|(_, vif)| *vif != way.egress.vif && hop.vif.is_none());
        let (other, _) = others.find(|(_, vif)| self.neighbors.contains_key(&(*vif, hop.vtep)))?;
        let name = self.tables.vif(way.egress.vif).map_or("", |vif| &vif.name);
        let vtep = hop.vtep;
        Some(format!("vif: tunnels of vif {name:?} and of {other:?} lead to {vtep}; write \"vif\""))
    }

    /// The group of those next hops that the configuration has, wanted once more, and whether nobody had wanted it.
    fn want_hops(
        &mut self,
        vrf: VrfId,
        tunnels: &Tunnels,
        hops: &Hops,
    ) -> Result<Option<(GroupId, bool)>, CommitError> {
        let mut ways: Vec<Path> = Vec::new();
        for way in hops.iter().filter_map(|hop| self.way(vrf, tunnels, hop).ok()) {
            // With and without the name or the MAC that it has anyway, it is one.
            if ways.iter().all(|other| other.egress != way.egress) {
                ways.push(way);
            }
        }
        match ways.is_empty() {
            true => Ok(None),
            false => self.want_paths(&ways).map(Some),
        }
    }

    /// For a new configuration, whose VIFs and neighbors are known: the mappings of its VRFs lead where it lets them. Those
    /// of VRFs that are gone are kept for when they are back.
    pub fn keep_mapped(
        &mut self,
        old: &State,
        ribs: &mut BTreeMap<VrfId, Rib>,
    ) -> Result<(), CommitError> {
        for (vrf, rib) in
            old.ribs.iter().filter(|(vrf, rib)| !ribs.contains_key(vrf) && !rib.mapped.is_empty())
        {
            let mut mapped = rib.mapped.clone();
            Arc::make_mut(&mut mapped).all_mut().for_each(|of| *of = None);
            self.unplaced.insert(old.vrf_name(*vrf), mapped);
        }
        for (&vrf, rib) in ribs {
            rib.mapped = match old.ribs.get(&vrf) {
                Some(old) => old.mapped.clone(),
                None => self.unplaced.remove(&self.vrf_name(vrf)).unwrap_or_default(),
            };
            let tunnels = self.tunnels_of(vrf);
            let sets: Vec<(u32, Hops, Option<GroupId>)> =
                rib.mapped.sets().map(|(id, set)| (id, set.hops.clone(), set.of)).collect();
            for (id, hops, group) in sets {
                let new = self.want_hops(vrf, &tunnels, &hops)?.map(|(group, _)| group);
                if new != group
                    && let Some(of) = Arc::make_mut(&mut rib.mapped).of_mut(id)
                {
                    *of = new;
                }
            }
        }
        Ok(())
    }
}

impl<P: Publish> Engine<P> {
    /// Mappings that hold before there is a configuration: what it leads anywhere forwards with its first commit.
    pub fn hold(&mut self, mappings: BTreeMap<Arc<str>, Table<(), Option<GroupId>>>) {
        let all = mappings.into_iter().map(|(vrf, mapped)| (vrf, Arc::new(mapped)));
        self.state.unplaced = all.collect();
    }

    /// What is to be said of a VRF and of next hops that mappings in it are to have.
    pub fn check_hops(&self, vrf: &str, hops: &[Hops]) -> Checked {
        let Some(id) = self.vrf(vrf).filter(|id| self.state.ribs.contains_key(id)) else {
            return Checked { kind: None, refused: Vec::new() };
        };
        let tunnels = self.state.tunnels_of(id);
        let wrong = |hops: &Hops| {
            hops.iter().find_map(|hop| match self.state.way(id, &tunnels, hop) {
                Ok(way) => self.state.other_way(&tunnels, hop, &way),
                Err(why) => Some(why),
            })
        };
        let refused = hops.iter().enumerate().filter_map(|(at, hops)| Some((at, wrong(hops)?)));
        let kind =
            self.state.tables.vrfs.get(id.index()).and_then(Option::as_ref).map(|vrf| vrf.kind);
        Checked { kind, refused: refused.collect() }
    }

    /// How many mappings of a VRF lead nowhere.
    pub fn inactive_mappings(&self, vrf: &str) -> usize {
        let Some(mapped) = self.mapped(vrf) else { return 0 };
        mapped.sets().filter(|(_, set)| set.of.is_none()).map(|(_, set)| set.prefixes()).sum()
    }

    /// The word for what a mapping does.
    pub fn mapping_state(&self, vrf: &str, prefix: IpNet) -> &'static str {
        let rib = self.vrf(vrf).and_then(|id| self.state.ribs.get(&id));
        match rib.map(|rib| (rib.mapped.best(prefix), rib.configured(prefix))) {
            Some((Some(_), None)) => "active",
            Some((Some(_), Some(_))) => "covered",
            Some((None, _)) | None => "inactive",
        }
    }

    fn mapped(&self, vrf: &str) -> Option<&Mapped> {
        let rib = self.vrf(vrf).and_then(|id| self.state.ribs.get(&id));
        rib.map(|rib| &rib.mapped).or_else(|| self.state.unplaced.get(vrf)).map(|mapped| &**mapped)
    }

    /// Leads prefixes of a VRF as a controller says: all of them, or none.
    ///
    /// # Errors
    /// What there is no room for.
    pub fn map(&mut self, vrf: &str, moves: &[Move]) -> Result<(), CommitError> {
        self.moves += 1;
        let id = self.vrf(vrf).filter(|id| self.state.ribs.contains_key(id));
        let Some(id) = id else {
            let mapped = self.state.unplaced.entry(vrf.into()).or_default();
            place(Arc::make_mut(mapped), moves);
            if mapped.is_empty() {
                self.state.unplaced.remove(vrf);
            }
            return Ok(());
        };
        let new = self.adopt_hops(id, moves)?;
        let updates = self.updates_of(id, moves);
        let applied = updates.is_empty() || self.apply_or_wait(id, &updates);
        let Some(rib) = self.state.ribs.get_mut(&id) else { return Ok(()) };
        let mapped = Arc::make_mut(&mut rib.mapped);
        let gone: Vec<Option<GroupId>> = match applied {
            true => place(mapped, moves),
            false => new.into_iter().filter_map(|set| mapped.drop_unused(set)).collect(),
        };
        let mut hosts = Hosts::new();
        if !rib.hosts.is_empty() {
            let under = moves.iter().flat_map(|(prefix, _)| rib.hosts_under(*prefix));
            hosts.extend(under.map(|address| (id, address)));
        }
        gone.into_iter().flatten().for_each(|group| self.state.release_group(group));
        // Where the FIB has no room for a neighbor, the slow path serves it.
        let _ = self.refresh_hosts(hosts);
        self.synchronize();
        self.clean_up();
        match applied {
            true => Ok(()),
            false => Err(CommitError::Full("routes in the FIB")),
        }
    }

    /// Gives next hops that are new their groups, which workers know then; their numbers.
    fn adopt_hops(&mut self, vrf: VrfId, moves: &[Move]) -> Result<Vec<u32>, CommitError> {
        let tunnels = self.state.tunnels_of(vrf);
        let (mut new, mut groups) = (Vec::new(), Vec::new());
        let mut failed = None;
        let mut last: Option<&Hops> = None;
        for hops in moves.iter().filter_map(|(_, hops)| hops.as_ref()) {
            let known = |state: &State| {
                state.ribs.get(&vrf).is_none_or(|rib| rib.mapped.id(hops).is_some())
            };
            if last == Some(hops) || known(&self.state) {
                continue;
            }
            last = Some(hops);
            let wanted = match self.has_room(vrf, &tunnels, hops) {
                true => self.state.want_hops(vrf, &tunnels, hops),
                false => Err(CommitError::Full("adjacencies")),
            };
            match (wanted, self.state.ribs.get_mut(&vrf)) {
                (Ok(wanted), Some(rib)) => {
                    let group = wanted.map(|(group, _)| group);
                    new.push(Arc::make_mut(&mut rib.mapped).adopt(hops, group));
                    groups.extend(wanted.filter(|(_, first)| *first).map(|(group, _)| group));
                }
                (Err(error), _) => {
                    failed = Some(error);
                    break;
                }
                (Ok(_), None) => break,
            }
        }
        if let Some(error) = failed {
            let Some(rib) = self.state.ribs.get_mut(&vrf) else { return Err(error) };
            let mapped = Arc::make_mut(&mut rib.mapped);
            let gone: Vec<_> = new.into_iter().filter_map(|set| mapped.drop_unused(set)).collect();
            gone.into_iter().flatten().for_each(|group| self.state.release_group(group));
            return Err(error);
        }
        self.introduce(&groups);
        Ok(new)
    }

    /// Whether the VRF may have the adjacencies that next hops need: those with MACs of their own.
    fn has_room(&self, vrf: VrfId, tunnels: &Tunnels, hops: &Hops) -> bool {
        let ways = hops.iter().filter_map(|hop| self.state.way(vrf, tunnels, hop).ok());
        let need = ways.filter(|way| !self.state.adjacencies.is_wanted(&way.egress)).count();
        let held = self.state.ribs.get(&vrf).map_or(0, |rib| rib.mapped.hops());
        let free = self.state.most_learned().saturating_sub(self.state.adjacencies.in_use() + need);
        need == 0 || Pool::MappedNextHops.may_take(held, free)
    }

    /// What changes in the FIB.
    fn updates_of(&self, vrf: VrfId, moves: &[Move]) -> Vec<(IpNet, Option<u32>)> {
        let Some(rib) = self.state.ribs.get(&vrf) else { return Vec::new() };
        let group = |hops: &Hops| rib.mapped.set(rib.mapped.id(hops)?)?.of;
        let mut updates = Vec::with_capacity(moves.len());
        for (prefix, hops) in moves {
            if rib.configured(*prefix).is_some() {
                continue;
            }
            let new = hops.as_ref().and_then(group);
            let old = rib.mapped.best(*prefix);
            if new != old {
                let new = new.or_else(|| rib.below_mapped(*prefix));
                updates.push((*prefix, new.map(|group| group.0)));
            }
        }
        updates
    }

    /// Whether the FIB took changes: all or none of them.
    fn apply_or_wait(&mut self, vrf: VrfId, updates: &[(IpNet, Option<u32>)]) -> bool {
        let vrf = u32::from(vrf.0);
        if self.fib.apply(vrf, updates).is_ok() {
            return true;
        }
        // What is unlinked already may be used again.
        self.synchronize();
        self.fib.apply(vrf, updates).is_ok()
    }

    /// Publishes groups before the FIB leads to them.
    pub(super) fn introduce(&mut self, groups: &[GroupId]) {
        if groups.is_empty() {
            return;
        }
        let members = groups.iter().flat_map(|&group| self.state.members(group));
        let adjacencies: BTreeSet<AdjacencyId> = members.map(|member| member.adjacency).collect();
        self.state.render_adjacencies(&adjacencies.into_iter().collect::<Vec<_>>());
        self.state.render_groups(groups);
        self.publish();
        self.synchronize();
    }
}

/// Notes where prefixes lead now; what was beside next hops that none has any more.
fn place(mapped: &mut Mapped, moves: &[Move]) -> Vec<Option<GroupId>> {
    let mut left = Vec::new();
    for (prefix, hops) in moves {
        let value = hops.as_ref().map(|hops| (mapped.adopt(hops, None), ()));
        left.extend(mapped.put(*prefix, value));
    }
    // At the end: what one prefix has left another may have come to.
    left.sort_unstable();
    left.dedup();
    left.into_iter().filter_map(|id| mapped.drop_unused(id)).collect()
}
