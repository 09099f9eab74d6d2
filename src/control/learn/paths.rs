//! From a route's next hops to the paths of a group, and which next hops are not taken.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;

use crate::control::commit::CommitError;
use crate::control::rib::Rib;
use crate::control::state::{Egress, Path, State};
use crate::mirror::{Hop, Hops, Table};
use crate::shares::Pool;
use crate::tables::rules::{is_on_link, is_ours};
use crate::tables::{AdjacencyKind, GroupId, VifId, VrfId};

/// Most next hops of learned routes on one VIF: each is asked for, and takes an adjacency.
pub const MAX_NEXT_HOPS: usize = 64;
/// Most next hops of one route.
const MAX_PATHS: usize = 64;

/// A table's share of a group, in the order of egresses: each with its weight.
pub(super) type Part = Vec<(Egress, u16)>;

/// Where next hops are kept: those of a batch stay where they are until it ends.
pub(super) type At = *const Hop;

/// The egresses of next hops, and those that were not taken.
#[derive(Clone, Default)]
pub(super) struct Resolved {
    pub part: Part,
    pub refused: u64,
    pub error: Option<String>,
}

/// The group that a change leads to, and the next hops that were not taken.
#[derive(Clone, Copy)]
pub(super) struct Next {
    pub group: Option<GroupId>,
    pub refused: u64,
}

/// What was worked out during one batch.
#[derive(Default)]
pub(super) struct Batch {
    /// The egresses of next hops in a VRF.
    pub hops: HashMap<(VrfId, At), Resolved>,
    /// What a change makes of a group (0 is none).
    pub next: HashMap<(VrfId, u32, Table, bool, At), Next>,
    /// Each holds a reference to the group until the batch ends.
    pub wanted: Vec<GroupId>,
    /// Groups that workers do not know yet.
    pub new: Vec<GroupId>,
    /// Next hops that no route led to before.
    pub new_hops: HashSet<Egress>,
}

/// The paths of these best next hops and alternates.
pub(super) fn paths(best: &Part, alternates: &Part) -> Vec<Path> {
    let is_alternate = |egress: &Egress| alternates.iter().any(|(other, _)| other == egress);
    let is_best = |egress: &Egress| best.iter().any(|(other, _)| other == egress);
    let primary = best.iter().map(|&(egress, weight)| Path {
        egress,
        weight,
        alternate: is_alternate(&egress),
    });
    let backup = alternates
        .iter()
        .filter(|(egress, _)| !is_best(egress))
        .map(|&(egress, _)| Path { egress, weight: 0, alternate: true });
    primary.chain(backup).collect()
}

/// A table's share of a group.
pub(super) fn part(state: &State, group: GroupId, table: Table) -> Part {
    let paths = state.paths(group).into_iter();
    let mut part: Part = match table {
        Table::Best => paths.filter(|p| p.weight > 0).map(|p| (p.egress, p.weight)).collect(),
        // Their weights do not count.
        Table::Alternates => paths.filter(|p| p.alternate).map(|p| (p.egress, 1)).collect(),
    };
    sort(&mut part);
    part
}

pub(super) fn without(mut part: Part, gone: &Part) -> Part {
    part.retain(|(egress, _)| gone.iter().all(|(gone, _)| gone != egress));
    part
}

fn sort(part: &mut Part) {
    part.sort_by_key(|(egress, _)| (egress.vif, egress.address));
    part.dedup_by_key(|(egress, _)| (egress.vif, egress.address));
}

impl State {
    /// For a new configuration: the groups of learned routes, which only the routing daemon changes.
    /// While one leads to a VIF that is gone, that VIF's id means no other.
    pub fn keep_learned(&mut self, ribs: &BTreeMap<VrfId, Rib>) -> Result<(), CommitError> {
        for rib in ribs.values() {
            for group in rib.learned.groups() {
                if !self.want_again(group) {
                    return Err(CommitError::Full("next-hop groups"));
                }
            }
            for vif in rib.learned.vifs() {
                let name = self.vifs.key(u32::from(vif.0)).cloned();
                if let Some(name) = name.filter(|_| self.tables.vif(vif).is_none()) {
                    self.vifs.want(name);
                }
            }
        }
        Ok(())
    }

    /// Whether packets may be led to a group: some member is a primary one.
    pub(super) fn leads(&self, group: GroupId) -> bool {
        self.groups.key(group.0).is_some_and(|members| members.iter().any(|m| m.weight > 0))
    }

    /// Notes in the RIB where a prefix leads now.
    pub(super) fn move_route(&mut self, vrf: VrfId, prefix: IpNet, group: Option<GroupId>) {
        let Some(rib) = self.ribs.get_mut(&vrf) else { return };
        let moved = Arc::make_mut(&mut rib.learned).set(prefix, group);
        for (group, comes) in [(moved.come, true), (moved.gone, false)] {
            let Some(group) = group else { continue };
            let hops: Vec<_> = self.paths(group).into_iter().map(|path| path.egress).collect();
            let hops = hops.into_iter().map(|egress| (egress.vif, egress.address));
            let leads = self.leads(group);
            if comes {
                self.want_again(group);
            } else {
                self.release_group(group);
            }
            let Some(Rib { learned, .. }) = self.ribs.get_mut(&vrf) else { return };
            let learned = Arc::make_mut(learned);
            if comes {
                learned.adopt(group, leads, hops);
            } else {
                learned.forget(group, hops);
            }
        }
    }

    /// The egresses of next hops, without those that cannot be taken.
    pub(super) fn resolve(&self, vrf: VrfId, hops: &Hops, batch: &mut Batch) -> Resolved {
        if let Some(known) = batch.hops.get(&(vrf, hops.as_ptr())) {
            return known.clone();
        }
        let mut resolved = Resolved::default();
        for hop in hops.iter() {
            let egress = self.egress(vrf, &hop.vif, hop.address);
            let taken = resolved.part.len();
            match egress.and_then(|egress| self.has_room(vrf, egress, taken, batch)) {
                Ok(egress) => resolved.part.push((egress, hop.weight.max(1))),
                Err(why) => {
                    resolved.refused += 1;
                    resolved.error = Some(format!("via {} on {}: {why}", hop.address, hop.vif));
                }
            }
        }
        sort(&mut resolved.part);
        batch.hops.insert((vrf, hops.as_ptr()), resolved.clone());
        resolved
    }

    /// The egress of a next hop, if a route of the VRF may lead there.
    fn egress(&self, vrf: VrfId, vif: &Arc<str>, address: IpAddr) -> Result<Egress, &'static str> {
        let id = self.vifs.get(&**vif).and_then(|id| u16::try_from(id).ok());
        let id = id.map(VifId).ok_or("there is no such VIF")?;
        let vif = self.tables.vif(id).ok_or("there is no such VIF")?;
        if vif.vrf != vrf {
            return Err("SECURITY: the VIF is in another VRF");
        }
        if is_ours(vif, address) || !is_on_link(vif, address) {
            return Err("not a neighbor on the VIF's subnets");
        }
        Ok(Egress { kind: AdjacencyKind::Forward, vrf, vif: id, address, mac: None })
    }

    /// Refuses a next hop that is one too many: of a route, of a VIF, or of the VIF's share of the
    /// half of all adjacencies that is not the operator's.
    fn has_room(
        &self,
        vrf: VrfId,
        egress: Egress,
        taken: usize,
        batch: &mut Batch,
    ) -> Result<Egress, &'static str> {
        if taken >= MAX_PATHS {
            return Err("the route has too many next hops");
        }
        let learned = self.ribs.get(&vrf).map(|rib| &rib.learned);
        if learned.is_some_and(|learned| learned.has_hop((egress.vif, egress.address)))
            || batch.new_hops.contains(&egress)
        {
            return Ok(egress);
        }
        let here = learned.map_or(0, |learned| learned.hops_on(egress.vif));
        let new = batch.new_hops.iter().filter(|new| new.vif == egress.vif).count();
        if here + new >= MAX_NEXT_HOPS {
            return Err("learned routes of the VIF have too many next hops");
        }
        let free = self.most_learned().saturating_sub(self.adjacencies.in_use());
        if !self.adjacencies.is_wanted(&egress) && !Pool::LearnedNextHops.may_take(here + new, free)
        {
            return Err("there are too many adjacencies for the VIF to have one more");
        }
        batch.new_hops.insert(egress);
        Ok(egress)
    }
}
