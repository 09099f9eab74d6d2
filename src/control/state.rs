//! What the engine holds: ids, routes and neighbors, and the tables made of them. Nothing here
//! publishes or touches the FIB; see `commit` for the order in which that happens.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use super::commit::{CommitError, Limits};
use super::drain::Drained;
use super::exchanges::ExchangeKey;
use super::ids::Ids;
use super::mapped::Mapped;
use super::meters;
use super::path_mtu::Lowered;
use super::rib::Rib;
use crate::tables::{
    Adjacency, AdjacencyId, AdjacencyKind, AdjacencyTable, GroupId, Member, Port, Role, Snapshot,
    TunnelPath, Vif, VifId, VrfId,
};
use crate::wire::ethernet::Mac;

/// What an adjacency is for. `Forward` stands for a next hop, whatever its state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Egress {
    pub kind: AdjacencyKind,
    /// Part of the key, so that no adjacency is ever shared by two VRFs.
    pub vrf: VrfId,
    pub vif: VifId,
    pub address: IpAddr,
    /// The MAC of the next hop, where that is not what is known of the neighbor: of a mapping.
    pub mac: Option<Mac>,
}

/// A way of a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Path {
    pub egress: Egress,
    /// Its share as a primary member; 0 for a backup.
    pub weight: u16,
    /// It is among the alternates that were learned. Those that are no primary members are backups.
    pub alternate: bool,
}

/// A path as a group's key has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Share {
    pub adjacency: AdjacencyId,
    pub weight: u16,
    pub alternate: bool,
}

/// What a group is known by: its members, sorted. Their egresses name the VRF.
pub(super) type Members = Arc<[Share]>;

/// What is known of packets that leave by an adjacency.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Prospect {
    /// They go nowhere: the VIF or its port is down.
    Down,
    /// The neighbor has no MAC yet or no more, or a routing protocol says that it is not reached.
    Unknown,
    /// They arrive, but the VIF is drained.
    Drained,
    /// They arrive, as far as is known.
    Good,
}

/// What is known of a neighbor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Neighbor {
    pub mac: Mac,
    pub configured: bool,
}

/// Ids, routes, neighbors and tables.
#[derive(Clone, Debug)]
pub(super) struct State {
    pub vifs: Ids<Arc<str>>,
    pub vrfs: Ids<Arc<str>>,
    pub exchanges: Ids<ExchangeKey>,
    pub adjacencies: Ids<Egress>,
    pub groups: Ids<Members>,
    /// Routes by VRF id.
    pub ribs: BTreeMap<VrfId, Rib>,
    /// Mappings of VRFs that the configuration has not.
    pub unplaced: BTreeMap<Arc<str>, Arc<Mapped>>,
    /// Each holds one reference to its adjacency.
    pub neighbors: BTreeMap<(VifId, IpAddr), Neighbor>,
    /// Host routes that the FIB has refused to withdraw so far. Each holds one reference to the
    /// group that the FIB has: packets still get there.
    pub stuck: BTreeMap<(VrfId, IpAddr), GroupId>,
    /// Neighbors that a routing protocol says are not reached. Nothing is sent there while a group
    /// has another way.
    pub silent: BTreeSet<(VifId, IpAddr)>,
    /// What is drained, by name, and the ids of the VIFs that this is.
    pub drains: Arc<Drained>,
    pub drained: BTreeSet<VifId>,
    /// Paths of tunnels that routers of an underlay say carry less than the underlay's VIFs.
    pub lowered: BTreeMap<TunnelPath, Lowered>,
    /// VIFs whose MTU their port's interface no longer has, with what it has. Nothing leaves there.
    pub misfits: BTreeMap<VifId, u16>,
    /// The limits that the meters hold.
    pub limits: meters::Limits,
    /// Counts compilations, for [`crate::tables::FlowLog::epoch`] and [`crate::tables::Qos::new`].
    pub epoch: u64,
    /// See [`Limits::workers`] and [`Limits::ports`].
    pub workers: usize,
    pub ports: usize,
    /// The tables as they were, or are about to be, published.
    pub tables: Snapshot,
}

impl State {
    pub fn new(limits: Limits) -> Self {
        State {
            vifs: Ids::new(0, usize::from(limits.vifs)),
            vrfs: Ids::new(0, usize::from(limits.vrfs)),
            exchanges: Ids::new(0, usize::from(u16::MAX)),
            adjacencies: Ids::new(1, usize::try_from(limits.adjacencies).unwrap_or(usize::MAX)),
            // 24 bits, and 0 is "no route".
            groups: Ids::new(1, 1 << 24),
            ribs: BTreeMap::new(),
            unplaced: BTreeMap::new(),
            neighbors: BTreeMap::new(),
            stuck: BTreeMap::new(),
            silent: BTreeSet::new(),
            drains: Arc::default(),
            drained: BTreeSet::new(),
            lowered: BTreeMap::new(),
            misfits: BTreeMap::new(),
            limits: meters::Limits::new(),
            epoch: 0,
            workers: limits.workers,
            ports: limits.ports,
            tables: Snapshot::default(),
        }
    }

    /// The operator's name for a VRF, for messages.
    pub fn vrf_name(&self, vrf: VrfId) -> Arc<str> {
        self.vrfs.key(u32::from(vrf.0)).cloned().unwrap_or_default()
    }

    /// The adjacency of an egress, wanted once more.
    pub fn want_adjacency(&mut self, egress: Egress) -> Result<AdjacencyId, CommitError> {
        let (id, _) = self.adjacencies.want(egress).ok_or(CommitError::Full("adjacencies"))?;
        Ok(AdjacencyId(id))
    }

    /// Most adjacencies that learned neighbors may take: the other half is the operator's, so that
    /// no tenant's hosts can keep a configuration out.
    pub fn most_learned(&self) -> usize {
        self.adjacencies.end() / 2
    }

    /// The group of these egresses, wanted once more. Those with weight 0 are backups.
    pub fn want_group(&mut self, egresses: &[(Egress, u16)]) -> Result<GroupId, CommitError> {
        let path =
            |&(egress, weight): &(Egress, u16)| Path { egress, weight, alternate: weight == 0 };
        self.want_paths(&egresses.iter().map(path).collect::<Vec<_>>()).map(|(id, _)| id)
    }

    /// The group of these paths, wanted once more, and whether nobody had wanted it until now.
    pub fn want_paths(&mut self, paths: &[Path]) -> Result<(GroupId, bool), CommitError> {
        let mut members = Vec::with_capacity(paths.len());
        for &Path { egress, weight, alternate } in paths {
            let adjacency = match self.want_adjacency(egress) {
                Ok(adjacency) => adjacency,
                Err(error) => {
                    self.release_members(&members);
                    return Err(error);
                }
            };
            members.push(Share { adjacency, weight, alternate });
        }
        members.sort_unstable();
        let members = Members::from(members);
        let wanted = self.groups.want(members.clone());
        // A group holds one reference to each member, however often it is wanted itself.
        if !matches!(wanted, Some((_, true))) {
            self.release_members(&members);
        }
        let (id, first) = wanted.ok_or(CommitError::Full("next-hop groups"))?;
        Ok((GroupId(id), first))
    }

    fn release_members(&mut self, members: &[Share]) {
        for member in members {
            self.adjacencies.release(member.adjacency.0);
        }
    }

    /// The group of one egress.
    pub fn want_single(&mut self, egress: Egress) -> Result<GroupId, CommitError> {
        self.want_group(&[(egress, 1)])
    }

    /// The paths of a group that is not swept yet.
    pub fn paths(&self, id: GroupId) -> Vec<Path> {
        let members = self.groups.key(id.0).map_or(&[][..], |members| members);
        let path = |&Share { adjacency, weight, alternate }: &Share| {
            let egress = *self.adjacencies.key(adjacency.0)?;
            Some(Path { egress, weight, alternate })
        };
        members.iter().filter_map(path).collect()
    }

    /// A group that was not swept yet, wanted once more. False if there is none of this id.
    pub fn want_again(&mut self, id: GroupId) -> bool {
        let paths = self.paths(id);
        !paths.is_empty() && self.want_paths(&paths).is_ok_and(|(same, _)| same == id)
    }

    /// One user of the group less.
    pub fn release_group(&mut self, id: GroupId) {
        if self.groups.release(id.0)
            && let Some(members) = self.groups.key(id.0).cloned()
        {
            self.release_members(&members);
        }
    }

    /// The egress of a neighbor of a VIF that exists.
    pub fn next_hop(&self, id: VifId, address: IpAddr) -> Option<Egress> {
        let vrf = self.tables.vif(id)?.vrf;
        Some(Egress { kind: AdjacencyKind::Forward, vrf, vif: id, address, mac: None })
    }

    /// Writes wanted adjacencies into the table, from what is known of VIFs, ports and neighbors. Those of tunnels come
    /// last: they are what the others' are.
    pub fn render_adjacencies(&mut self, ids: &[AdjacencyId]) {
        let is_tunnel = |id: &&AdjacencyId| self.tunnel_of(**id).is_some();
        let (tunnels, others): (Vec<AdjacencyId>, Vec<AdjacencyId>) =
            ids.iter().partition(is_tunnel);
        self.render_some(&others);
        if !tunnels.is_empty() {
            self.render_some(&tunnels);
        }
    }

    fn render_some(&mut self, ids: &[AdjacencyId]) {
        let mut table = self.tables.adjacencies.to_vec();
        let none = Adjacency::special(AdjacencyKind::NoRoute, VrfId(0));
        table.resize(self.adjacencies.len().max(1), none);
        let mut neighbors = std::mem::take(&mut self.tables.neighbors);
        for &id in ids {
            let Some(&egress) = self.adjacencies.key(id.0) else { continue };
            table[id.index()] = self.render(egress);
            let key = (egress.vif, egress.address);
            let is_neighbor = egress.kind == AdjacencyKind::Forward && egress.mac.is_none();
            if is_neighbor && neighbors.get(&key) != Some(&id) {
                Arc::make_mut(&mut neighbors).insert(key, id);
            }
        }
        self.tables.neighbors = neighbors;
        self.tables.adjacencies = Arc::new(AdjacencyTable::new(table));
    }

    fn render(&self, egress: Egress) -> Adjacency {
        use AdjacencyKind::{Broadcast, EgressDown, Forward, Glean, Local, Unresolved};
        if !matches!(egress.kind, Forward | Glean | Local | Broadcast) {
            return Adjacency::special(egress.kind, egress.vrf);
        }
        let Egress { kind, vrf, vif: id, address, mac } = egress;
        let vif = self.tables.vif(id).filter(|vif| vif.vrf == vrf);
        let Some((vif, port)) = vif.and_then(|vif| Some((vif, self.port_of(vif)?))) else {
            // Learned routes may lead there a moment longer than the VIF is there.
            return Adjacency { vif: id, address, ..Adjacency::special(EgressDown, vrf) };
        };
        let mut adjacency = match self.neighbors.get(&(id, address)) {
            Some(neighbor) if kind == Forward => Adjacency {
                static_neighbor: neighbor.configured,
                ..Adjacency::forward(id, vif, address, mac.unwrap_or(neighbor.mac), port.mac)
            },
            None if kind == Forward => Adjacency::on_vif(Unresolved, id, vif, address),
            _ => Adjacency::on_vif(kind, id, vif, address),
        };
        if let Some(tunnel) = vif.tunnel() {
            adjacency.mtu = adjacency.mtu.min(self.path_mtu(tunnel.path(address)));
        }
        let usable = vif.up
            && port.up
            && !self.misfits.contains_key(&id)
            && vif.tunnel().is_none_or(|tunnel| self.is_reached(tunnel, address));
        if matches!(kind, Forward | Glean) && !usable {
            adjacency.kind = EgressDown;
        }
        adjacency
    }

    fn port_of(&self, vif: &Vif) -> Option<&Port> {
        self.tables.ports.get(vif.port.index()).map(|port| &**port)
    }

    /// Writes groups into the table, from the adjacencies in theirs.
    pub fn render_groups(&mut self, ids: &[GroupId]) {
        let mut table = std::mem::take(&mut self.tables.groups);
        if !ids.is_empty() {
            let table = Arc::make_mut(&mut table);
            ids.iter().for_each(|&id| table.set(id, &self.members(id)));
        }
        self.tables.groups = table;
    }

    /// Writes those groups that have several members, one of them in `touched`, which must be
    /// sorted: how packets spread over them may have changed. A group of one leads where it led.
    pub fn render_groups_of(&mut self, touched: &[AdjacencyId]) {
        let is_touched = |member: &Share| touched.binary_search(&member.adjacency).is_ok();
        let groups = self.groups.wanted().filter(|(_, members)| members.len() > 1);
        let groups = groups.filter(|(_, members)| members.iter().any(is_touched));
        let groups: Vec<_> = groups.map(|(id, _)| GroupId(id)).collect();
        self.render_groups(&groups);
    }

    /// The members of a group. Usable are those of which nothing bad is known; where there is none,
    /// those of which nothing is known for certain.
    pub fn members(&self, id: GroupId) -> Vec<Member> {
        let members = self.groups.key(id.0).map_or(&[][..], |members| members);
        let prospects = members.iter().map(|member| self.prospect(member.adjacency));
        let best = prospects.clone().max().unwrap_or(Prospect::Down).max(Prospect::Unknown);
        let member = |(&Share { adjacency, weight, .. }, prospect)| Member {
            adjacency,
            weight,
            role: if weight == 0 { Role::Backup } else { Role::Primary },
            usable: prospect == best,
        };
        members.iter().zip(prospects).map(member).collect()
    }

    /// What is known of packets that leave there.
    pub(super) fn prospect(&self, id: AdjacencyId) -> Prospect {
        let adjacency = self.tables.adjacency(id);
        match adjacency.kind {
            AdjacencyKind::EgressDown => Prospect::Down,
            AdjacencyKind::Forward
                if !self.silent.contains(&(adjacency.vif, adjacency.address)) =>
            {
                let drained = self.drained.contains(&adjacency.vif);
                if drained { Prospect::Drained } else { Prospect::Good }
            }
            _ => Prospect::Unknown,
        }
    }

    /// Takes in the ids of `next`, a successor that did not come to be.
    pub fn join_ids(&mut self, next: State) {
        self.vifs.join(next.vifs);
        self.vrfs.join(next.vrfs);
        self.exchanges.join(next.exchanges);
        self.adjacencies.join(next.adjacencies);
        self.groups.join(next.groups);
    }

    /// Whether [`State::sweep`] would do something.
    pub fn has_unwanted(&self) -> bool {
        self.groups.has_unwanted()
            || self.adjacencies.has_unwanted()
            || self.vifs.has_unwanted()
            || self.vrfs.has_unwanted()
            || self.exchanges.has_unwanted()
    }

    /// Takes what nobody wants out of the tables. Nothing in the FIB may lead to it any more.
    pub fn sweep(&mut self) {
        let groups = self.groups.sweep();
        if !groups.is_empty() {
            let table = Arc::make_mut(&mut self.tables.groups);
            groups.iter().for_each(|&(id, _)| table.clear(GroupId(id)));
        }
        let adjacencies = self.adjacencies.sweep();
        if !adjacencies.is_empty() {
            let mut table = self.tables.adjacencies.to_vec();
            let neighbors = Arc::make_mut(&mut self.tables.neighbors);
            for (id, egress) in adjacencies {
                if let Some(slot) = table.get_mut(id as usize) {
                    *slot = Adjacency::special(AdjacencyKind::NoRoute, VrfId(0));
                }
                let key = (egress.vif, egress.address);
                if neighbors.get(&key) == Some(&AdjacencyId(id)) {
                    neighbors.remove(&key);
                }
            }
            self.tables.adjacencies = Arc::new(AdjacencyTable::new(table));
        }
        // Their slots in the tables are empty already: no packet gets there.
        self.vifs.sweep();
        self.vrfs.sweep();
        self.exchanges.sweep();
    }

    /// Ids swept before may be given out again.
    pub fn recycle(&mut self) {
        self.groups.recycle();
        self.adjacencies.recycle();
        self.vifs.recycle();
        self.vrfs.recycle();
        self.exchanges.recycle();
    }
}
