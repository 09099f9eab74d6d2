//! Events from outside the configuration: neighbors that come and go, links that go up and down.
//! They change adjacencies and groups in place; what the configuration points at stays.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::sync::Arc;

use ipnet::IpNet;

use super::commit::{CommitError, Engine, Publish, VrfUpdates};
use super::compile::same_place;
use super::rib::Host;
use super::state::{Egress, Neighbor, State};
use crate::shares::Pool;
use crate::slowpath::NeighborEvent;
use crate::tables::{AdjacencyId, AdjacencyKind, GroupId, Port, PortId, VifId, VrfId};
use crate::wire::ethernet::Mac;
use crate::wire::ipv6::is_link_local;

/// What a batch of events touched.
#[derive(Default)]
struct Touched {
    adjacencies: Vec<AdjacencyId>,
    groups: Vec<GroupId>,
    /// Neighbors whose host routes may have changed.
    hosts: Hosts,
}

/// What learned neighbors may take of the adjacencies.
struct Room {
    free: usize,
    /// How many the VIFs of a batch of events have.
    held: BTreeMap<VifId, usize>,
}

/// Neighbors by VRF and address.
pub(super) type Hosts = BTreeSet<(VrfId, IpAddr)>;

impl<P: Publish> Engine<P> {
    /// Takes in a batch of events, in order, with one publication if they concern known next hops
    /// only. Events that make no sense (any more) are ignored: about static neighbors, addresses
    /// outside the VIF's subnets or the router's own, VIFs that are gone or down.
    ///
    /// An error says that a neighbor got no host route, or was not taken in at all, for lack of
    /// room or because its VIF has its share of that. It is still the slow path's neighbor: its
    /// packets go there.
    pub fn neighbor_events(&mut self, events: &[NeighborEvent]) -> Result<(), CommitError> {
        self.moves += 1;
        let mut touched = Touched::default();
        let mut result = Ok(());
        let mut room = self.state.learned_room(events);
        for event in events {
            let done = match *event {
                NeighborEvent::Resolved { vif, address, mac } => {
                    self.state.resolved(vif, address, mac, &mut room, &mut touched)
                }
                NeighborEvent::Lost { vif, address } => {
                    self.state.lost(vif, address, &mut touched);
                    Ok(())
                }
            };
            result = result.and(done);
        }
        if touched.adjacencies.is_empty() && self.state.stuck.is_empty() {
            return result;
        }
        self.state.render_adjacencies(&touched.adjacencies);
        self.state.render_groups(&touched.groups);
        touched.adjacencies.sort_unstable();
        self.state.render_groups_of(&touched.adjacencies);
        self.state.follow_underlay();
        self.publish();
        if !touched.groups.is_empty() {
            // A longer route may keep the FIB from leading there now; the next route that does so expects
            // every worker to know the group.
            self.synchronize();
        }
        result = result.and(self.refresh_hosts(touched.hosts));
        if self.state.has_unwanted() {
            self.synchronize();
            self.clean_up();
        }
        result
    }

    /// Makes the FIB's routes to neighbors what the RIB has for them now, and tries again those that
    /// it refused to change before. Their groups are published.
    pub(super) fn refresh_hosts(&mut self, mut hosts: Hosts) -> Result<(), CommitError> {
        hosts.extend(self.state.stuck.keys());
        let updates = self.host_updates(&hosts);
        let mut result = Ok(());
        if !updates.is_empty() {
            self.synchronize();
            result = self.change_hosts(&updates);
        }
        self.settle(&hosts);
        result
    }

    /// What has to change in the FIB.
    fn host_updates(&self, hosts: &Hosts) -> Vec<VrfUpdates> {
        let mut updates: BTreeMap<VrfId, Vec<(IpNet, Option<u32>)>> = BTreeMap::new();
        for &(vrf, address) in hosts {
            let best = self.state.best_host(vrf, address).map(|group| group.0);
            let prefix = address.into();
            if self.fib.get(u32::from(vrf.0), &prefix) != best {
                updates.entry(vrf).or_default().push((prefix, best));
            }
        }
        updates.into_iter().collect()
    }

    /// Brings host routes into the FIB; those that it refuses are given up.
    fn change_hosts(&mut self, updates: &[VrfUpdates]) -> Result<(), CommitError> {
        let mut result = Ok(());
        for (vrf, updates) in updates {
            if self.fib.apply(u32::from(vrf.0), updates).is_ok() {
                continue;
            }
            for update in updates {
                if let Err(source) = self.fib.apply(u32::from(vrf.0), &[*update]) {
                    self.state.give_up_host(*vrf, update.0.addr(), update.1);
                    result = result
                        .and(Err(CommitError::Fib { vrf: self.state.vrf_name(*vrf), source }));
                }
            }
        }
        result
    }

    /// Keeps what the FIB still leads to although it should not; the next events try again.
    fn settle(&mut self, hosts: &Hosts) {
        let before = std::mem::take(&mut self.state.stuck);
        for &(vrf, address) in hosts {
            let Some(group) = self.fib.get(u32::from(vrf.0), &address.into()).map(GroupId) else {
                continue;
            };
            if self.state.best_host(vrf, address) != Some(group) && self.state.want_again(group) {
                self.state.stuck.insert((vrf, address), group);
            }
        }
        before.into_values().for_each(|group| self.state.release_group(group));
    }

    /// Takes in what a routing protocol says of neighbors, by name of their VIF: reached, or not. One
    /// publication, whatever the number of routes.
    pub fn peer_states<'a>(&mut self, peers: impl IntoIterator<Item = (&'a str, IpAddr, bool)>) {
        let mut touched = Vec::new();
        for (name, address, up) in peers {
            if let Some(vif) = self.vif(name) {
                touched.extend(self.state.set_peer((vif, address), up));
                if let Some(commit) = &mut self.commit {
                    commit.next.follow_peer(&self.state, (vif, address));
                }
            }
        }
        if !touched.is_empty() {
            touched.sort_unstable();
            self.state.render_groups_of(&touched);
            self.state.follow_underlay();
            self.publish();
        }
    }

    /// Takes a port's link up or down: one publication, whatever the number of routes.
    pub fn link_changed(&mut self, id: PortId, up: bool) {
        if let Some(commit) = &mut self.commit {
            commit.next.set_link(id, up);
        }
        if self.state.set_link(id, up) {
            self.publish();
        }
    }
}

impl State {
    /// What is left of the adjacencies for learned neighbors: exact where that decides about one of
    /// `events`.
    fn learned_room(&self, events: &[NeighborEvent]) -> Room {
        let most = self.most_learned();
        let vifs: BTreeSet<VifId> = events.iter().map(NeighborEvent::vif).collect();
        let held = vifs.into_iter().map(|vif| (vif, self.learned_on(vif..=vif)));
        let held: BTreeMap<VifId, usize> = held.collect();
        let never_used = most.saturating_sub(self.adjacencies.len());
        let enough = held.values().max().unwrap_or(&0) + events.len();
        let free = match never_used > enough {
            true => never_used,
            false => most.saturating_sub(self.learned_on(VifId(0)..=VifId(u16::MAX))),
        };
        Room { free, held }
    }

    /// How many adjacencies learned neighbors on these VIFs have. Those of next hops are the
    /// operator's, whoever knows their MAC.
    fn learned_on(&self, vifs: RangeInclusive<VifId>) -> usize {
        let own = |&(vif, address): &(VifId, IpAddr)| {
            let rib = self.tables.vif(vif).and_then(|vif| self.ribs.get(&vif.vrf));
            let host = rib.and_then(|rib| rib.hosts.get(&address));
            host.is_none_or(|host| !host.configured)
        };
        let first = (*vifs.start(), IpAddr::from([0; 4]));
        let last = (*vifs.end(), IpAddr::from([0xff; 16]));
        let here = self.neighbors.range(first..=last);
        here.filter(|(key, known)| !known.configured && own(key)).count()
    }

    fn resolved(
        &mut self,
        vif: VifId,
        address: IpAddr,
        mac: Mac,
        room: &mut Room,
        touched: &mut Touched,
    ) -> Result<(), CommitError> {
        let known = self.neighbors.get(&(vif, address)).copied();
        let learned = Neighbor { mac, configured: false };
        if known.is_some_and(|known| known.configured || known == learned)
            || !self.takes_neighbor(vif, address)
        {
            return Ok(());
        }
        let Some(egress) = self.next_hop(vif, address) else { return Ok(()) };
        if !self.adjacencies.is_wanted(&egress) {
            let held = room.held.entry(vif).or_default();
            if !Pool::LearnedAdjacencies.may_take(*held, room.free) {
                return Err(CommitError::Full("learned neighbors"));
            }
            (*held, room.free) = (*held + 1, room.free - 1);
        }
        let adjacency = self.want_adjacency(egress)?;
        if known.is_some() {
            self.adjacencies.release(adjacency.0);
        }
        self.neighbors.insert((vif, address), learned);
        touched.adjacencies.push(adjacency);
        if is_link_local(address) {
            return Ok(());
        }
        if self.ribs.get(&egress.vrf).is_some_and(|rib| !rib.hosts.contains_key(&address)) {
            let group = self.want_single(egress)?;
            touched.groups.push(group);
            touched.hosts.insert((egress.vrf, address));
            let subnet = self.subnet_length(vif, address);
            let host = Host { group, subnet, configured: false };
            self.ribs.entry(egress.vrf).or_default().hosts.insert(address, host);
        }
        Ok(())
    }

    fn lost(&mut self, vif: VifId, address: IpAddr, touched: &mut Touched) {
        let learned = |known: &Neighbor| !known.configured;
        if !self.neighbors.get(&(vif, address)).is_some_and(learned) {
            return;
        }
        let Some(egress) = self.next_hop(vif, address) else { return };
        let Some(adjacency) = self.adjacencies.get(&egress) else { return };
        self.neighbors.remove(&(vif, address));
        self.adjacencies.release(adjacency);
        touched.adjacencies.push(AdjacencyId(adjacency));
        let hosts = self.ribs.get_mut(&egress.vrf).map(|rib| &mut rib.hosts);
        if let Some(host) = hosts.and_then(|hosts| {
            let learned = hosts.get(&address).is_some_and(|host| !host.configured);
            if learned { hosts.remove(&address) } else { None }
        }) {
            touched.hosts.insert((egress.vrf, address));
            self.release_group(host.group);
        }
    }

    fn best_host(&self, vrf: VrfId, address: IpAddr) -> Option<GroupId> {
        let (_, group) = self.ribs.get(&vrf)?.best(address.into())?;
        Some(group)
    }

    /// Takes a neighbor's own host route out of the RIB, if that is what the FIB refused.
    fn give_up_host(&mut self, vrf: VrfId, address: IpAddr, refused: Option<u32>) {
        let Some(rib) = self.ribs.get_mut(&vrf) else { return };
        let host = rib.hosts.get(&address).filter(|host| Some(host.group.0) == refused).copied();
        if let Some(host) = host {
            rib.hosts.remove(&address);
            self.release_group(host.group);
        }
    }

    /// False if the port was so already, or is not there.
    pub(super) fn set_link(&mut self, id: PortId, up: bool) -> bool {
        let mut ports = self.tables.ports.to_vec();
        let other = |port: &&mut Arc<Port>| port.up != up && !port.is_vacant();
        let Some(port) = ports.get_mut(id.index()).filter(other) else {
            return false;
        };
        Arc::make_mut(port).up = up;
        self.tables.ports = ports.into();
        let leaves = |egress: &Egress| {
            matches!(egress.kind, AdjacencyKind::Forward | AdjacencyKind::Glean)
                && self.tables.vif(egress.vif).is_some_and(|vif| vif.port == id)
        };
        let adjacencies = self.adjacencies.wanted().filter(|(_, egress)| leaves(egress));
        let adjacencies: Vec<_> = adjacencies.map(|(id, _)| AdjacencyId(id)).collect();
        self.render_adjacencies(&adjacencies);
        self.render_groups_of(&adjacencies);
        self.follow_underlay();
        true
    }

    /// Takes over what `now` says of a peer, where its VIF is the same.
    pub(super) fn follow_peer(&mut self, now: &State, peer: (VifId, IpAddr)) {
        if same_place(now, self, peer.0) {
            let touched = self.set_peer(peer, !now.silent.contains(&peer));
            self.render_groups_of(touched.as_slice());
            self.follow_underlay();
        }
    }

    /// The adjacency to look at again; `None` if the peer was so already, or is no next hop.
    fn set_peer(&mut self, peer: (VifId, IpAddr), up: bool) -> Option<AdjacencyId> {
        let news = if up { self.silent.remove(&peer) } else { self.silent.insert(peer) };
        let egress = self.next_hop(peer.0, peer.1).filter(|_| news)?;
        self.adjacencies.get(&egress).map(AdjacencyId)
    }
}
