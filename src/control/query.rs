//! What the admin server asks of the engine. Nothing here changes anything.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;

use super::commit::{Engine, Publish};
use super::rib::Source;
use crate::config::model::Config;
use crate::fib::{FibReader, Stats};
use crate::tables::{Adjacency, GroupId, Member, PortId, Snapshot, VifId, VrfId};

/// One route of a VRF.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Route {
    /// The destination.
    pub prefix: IpNet,
    /// Where the route comes from.
    pub source: Source,
    /// Where it leads: see [`Engine::members`].
    pub group: GroupId,
}

impl<P: Publish> Engine<P> {
    /// The running configuration; none before the first commit.
    pub fn config(&self) -> Option<&Config> {
        self.config.as_deref()
    }

    /// The tables as last published.
    pub fn tables(&self) -> &Snapshot {
        &self.state.tables
    }

    /// A port by name.
    pub fn port(&self, name: &str) -> Option<PortId> {
        let found = (0..).zip(&*self.state.tables.ports).find(|(_, port)| *port.name == *name);
        found.map(|(id, _)| PortId(id))
    }

    /// A VIF by name.
    pub fn vif(&self, name: &str) -> Option<VifId> {
        // Learned routes may keep the id of a VIF that is gone.
        let id = VifId(u16::try_from(self.state.vifs.get(name)?).ok()?);
        self.state.tables.vif(id).map(|_| id)
    }

    /// A VRF by name.
    pub fn vrf(&self, name: &str) -> Option<VrfId> {
        u16::try_from(self.state.vrfs.get(name)?).ok().map(VrfId)
    }

    /// The ids that the VRFs of a configuration have, or would have once it is committed.
    pub fn vrf_ids(&self, config: &Config) -> HashMap<Arc<str>, VrfId> {
        let mut ids = self.state.vrfs.clone();
        ids.release_all();
        let wanted = config.vrfs.iter().filter_map(|vrf| {
            let (id, _) = ids.want(vrf.name.clone())?;
            Some((vrf.name.clone(), VrfId(u16::try_from(id).ok()?)))
        });
        wanted.collect()
    }

    /// The routes in the FIB of a VRF, IPv4 first, each family in the order of addresses.
    pub fn routes(&self, vrf: VrfId) -> impl Iterator<Item = Route> + '_ {
        let routes = self.fib.routes(u32::from(vrf.0));
        routes.map(move |(prefix, group)| self.route(vrf, prefix, group))
    }

    /// The routes of one family in the FIB of a VRF, from a prefix on.
    pub fn routes_from(&self, vrf: VrfId, from: IpNet) -> impl Iterator<Item = Route> + '_ {
        let routes = self.groups_from(vrf, from);
        routes.map(move |(prefix, group)| self.route(vrf, prefix, group.0))
    }

    /// As [`Engine::routes_from`], without where they come from: what a walk over all routes has time for.
    pub fn groups_from(
        &self,
        vrf: VrfId,
        from: IpNet,
    ) -> impl Iterator<Item = (IpNet, GroupId)> + '_ {
        let routes = self.fib.routes_from(u32::from(vrf.0), from);
        routes.map(|(prefix, group)| (prefix, GroupId(group)))
    }

    /// How full the FIB is.
    pub fn fib_stats(&self) -> Stats {
        self.fib.stats()
    }

    /// How many IPv4 and IPv6 routes the FIB of a VRF has.
    pub fn route_counts(&self, vrf: VrfId) -> (usize, usize) {
        self.fib.counts(u32::from(vrf.0))
    }

    /// The FIB as workers see it. Only while the caller keeps the engine from changing it.
    pub fn fib_reader(&self) -> FibReader {
        self.fib.reader()
    }

    /// The route that packets for `address` take.
    pub fn lookup(&self, vrf: VrfId, address: IpAddr) -> Option<Route> {
        let (prefix, group) = self.fib.lookup(u32::from(vrf.0), address)?;
        Some(self.route(vrf, prefix, group))
    }

    fn route(&self, vrf: VrfId, prefix: IpNet, group: u32) -> Route {
        let best = self.state.ribs.get(&vrf).and_then(|rib| rib.best(prefix));
        let source = best.map_or(Source::List, |(source, _)| source);
        Route { prefix, source, group: GroupId(group) }
    }

    /// Whether a routing protocol says that a neighbor is not reached.
    pub fn is_silent(&self, vif: VifId, address: IpAddr) -> bool {
        self.state.silent.contains(&(vif, address))
    }

    /// The members of a group, usable now or not, with their adjacencies.
    pub fn members(&self, group: GroupId) -> impl Iterator<Item = (&Adjacency, Member)> + '_ {
        let members = self.state.members(group).into_iter();
        members.map(|member| (self.state.tables.adjacency(member.adjacency), member))
    }
}
