//! From a configuration to the engine's state: ids for what is new, the tables, and each VRF's
//! routes. A pure function of the old state and the configuration: the caller decides whether and
//! in which order the result is published.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;

use super::commit::{CommitError, PortFacts};
use super::exchanges::{exchanges, permit};
use super::keys::keys;
use super::rib::{Host, List, Rib, Source};
use super::state::{Egress, Neighbor, State};
use super::vifs::vifs;
use crate::config::model::{Config, NextHop, PortConfig, RouteAction};
use crate::tables::rules::{FlowKeys, broadcast, reserved, subnet_router_anycast};
use crate::tables::{
    AdjacencyId, AdjacencyKind, Exit, GroupId, Ingress, Port, PortRole, Tunnels, VifId, Vrf, VrfId,
};
use crate::wire::ipv6::is_link_local;

/// Compiles `config`. What `old` has and `config` has not is unwanted in the result, but still
/// there; adjacencies and groups that both have keep their ids. `running` is what `old` was made of.
pub(super) fn compile(
    old: &State,
    running: Option<&Config>,
    config: &Config,
    facts: &[PortFacts],
) -> Result<State, CommitError> {
    let mut state = old.clone();
    state.vifs.release_all();
    state.vrfs.release_all();
    state.exchanges.release_all();
    state.adjacencies.release_all();
    state.groups.release_all();
    // Where flows go is not to change with what the station is called.
    if running.is_none() {
        state.tables.flow_keys = FlowKeys::new(&config.station.name, config.station.router_id);
    }
    vrfs(&mut state, config)?;
    exchanges(&mut state, config)?;
    vifs(&mut state, running, config, facts)?;
    state.find_drained(config);
    ports(&mut state, config, facts)?;
    tunnels(&mut state);
    state.keep_lowered();
    neighbors(&mut state, config)?;
    state.tables.keys = keys(old, &state, config).into();

    let silent = old.silent.iter().copied();
    state.silent = silent.filter(|&(vif, _)| same_place(old, &state, vif)).collect();

    let mut compiler = Compiler { ribs: BTreeMap::new(), hosts: Vec::new(), state };
    for (id, _) in compiler.state.vrfs.wanted() {
        let learned = old.ribs.get(&vrf_id(id)).map(|rib| rib.learned.clone());
        compiler
            .ribs
            .insert(vrf_id(id), Rib { learned: learned.unwrap_or_default(), ..Rib::default() });
    }
    compiler.state.keep_learned(&compiler.ribs)?;
    compiler.state.keep_mapped(old, &mut compiler.ribs)?;
    compiler.connected()?;
    compiler.configured(config)?;
    compiler.exchanged(config)?;
    compiler.hosts()?;
    compiler.stuck();
    compiler.learned(old);
    let Compiler { mut state, ribs, .. } = compiler;
    state.ribs = ribs;

    let adjacencies: Vec<_> = state.adjacencies.wanted().map(|(id, _)| AdjacencyId(id)).collect();
    state.render_adjacencies(&adjacencies);
    let groups: Vec<_> = state.groups.wanted().map(|(id, _)| GroupId(id)).collect();
    state.render_groups(&groups);
    Ok(state)
}

/// Ids come from tables that are limited to 16 bits.
pub(super) fn vrf_id(id: u32) -> VrfId {
    VrfId(u16::try_from(id).unwrap_or(u16::MAX))
}

/// Ids come from tables that are limited to 16 bits.
pub(super) fn vif_id(id: u32) -> VifId {
    VifId(u16::try_from(id).unwrap_or(u16::MAX))
}

fn vrfs(state: &mut State, config: &Config) -> Result<(), CommitError> {
    let mut table = Vec::new();
    let named = config.named_of_reserved();
    for vrf in &config.vrfs {
        let (id, first) = state.vrfs.want(vrf.name.clone()).ok_or(CommitError::Full("VRFs"))?;
        if !first {
            return Err(CommitError::Twice("VRF", vrf.name.clone()));
        }
        let named = named.get(&*vrf.name).into_iter().flatten().copied();
        let reserved = reserved(vrf.kind, named);
        put(&mut table, id, Vrf { name: vrf.name.clone(), kind: vrf.kind, reserved });
    }
    state.tables.vrfs = table.into();
    Ok(())
}

pub(super) fn put<T>(table: &mut Vec<Option<T>>, id: u32, item: T) {
    let at = id as usize;
    if table.len() <= at {
        table.resize_with(at + 1, || None);
    }
    table[at] = Some(item);
}

/// What is known of a port.
pub(super) fn facts_of(port: &PortConfig, facts: &[PortFacts]) -> Result<PortFacts, CommitError> {
    facts.get(port.id.index()).copied().ok_or(CommitError::Facts(port.name.clone()))
}

/// Builds the ports, and keeps the old table of each one that did not change.
fn ports(state: &mut State, config: &Config, facts: &[PortFacts]) -> Result<(), CommitError> {
    let mut ports: Vec<Option<Port>> = Vec::new();
    for port in &config.ports {
        let facts = facts_of(port, facts)?;
        let mut built = Port::new(port.name.clone(), facts.mac, port.role);
        built.up = facts.link_up;
        put(&mut ports, port.id.0.into(), built);
    }
    for (id, vif) in (0..).zip(state.tables.vifs.iter()) {
        if let Some(vif) = vif
            && vif.tunnel().is_none()
            && let Some(Some(port)) = ports.get_mut(vif.port.index())
            && !port.insert(VifId(id), vif)
        {
            return Err(CommitError::Twice("the VLAN id of VIF", vif.name.clone()));
        }
    }
    for (place, vtep) in config.vteps.iter().enumerate() {
        let built = Port::new(vtep.name.clone(), vtep.mac, PortRole::Core);
        put(&mut ports, config.vtep_id(place).0.into(), built);
    }
    let (old, vacant) = (&state.tables.ports, Arc::new(Port::vacant()));
    let table = ports.into_iter().enumerate().map(|(at, port)| match (port, old.get(at)) {
        (None, _) => vacant.clone(),
        (Some(port), Some(old)) if **old == port => old.clone(),
        (Some(port), _) => Arc::new(port),
    });
    state.tables.ports = table.collect();
    Ok(())
}

/// Where tunnels end.
fn tunnels(state: &mut State) {
    let ends = state.tables.vifs_by_id().filter_map(|(id, vif)| {
        let mac = state.tables.ports.get(vif.port.index())?.mac;
        let tunnel = vif.tunnel()?;
        let inwards = tunnel.marking.inwards;
        Some((tunnel, Exit { ingress: Ingress::of(id, vif), mac, inwards }))
    });
    state.tables.tunnels = Arc::new(Tunnels::new(ends));
}

/// Static neighbors, and the routers at the other ends of tunnels.
fn neighbors(state: &mut State, config: &Config) -> Result<(), CommitError> {
    state.neighbors = BTreeMap::new();
    let configured = config.neighbors.iter().map(|known| (&known.vif, known.address, known.mac));
    let remotes = config.vifs.iter().flat_map(|vif| {
        let remotes = vif.tunnel.iter().flat_map(|tunnel| &tunnel.remotes);
        remotes.map(|remote| (&vif.name, remote.address, remote.mac))
    });
    for (vif, address, mac) in configured.chain(remotes) {
        let vif = vif_named(state, vif)?;
        let known = Neighbor { mac, configured: true };
        let first = state.neighbors.insert((vif, address), known).is_none();
        if let Some(egress) = state.next_hop(vif, address).filter(|_| first) {
            state.want_adjacency(egress)?;
        }
    }
    Ok(())
}

fn vif_named(state: &State, name: &Arc<str>) -> Result<VifId, CommitError> {
    let id = state.vifs.get(&**name).map(vif_id);
    id.filter(|&id| state.tables.vif(id).is_some())
        .ok_or_else(|| CommitError::Unknown("VIF", name.clone()))
}

struct Compiler {
    state: State,
    ribs: BTreeMap<VrfId, Rib>,
    /// Next hops of the routes that count.
    hosts: Vec<(VifId, IpAddr)>,
}

impl Compiler {
    /// Adds a route unless one of a stronger source holds the prefix already.
    fn own(
        &mut self,
        vrf: VrfId,
        prefix: IpNet,
        source: Source,
        egresses: &[(Egress, u16)],
    ) -> Result<(), CommitError> {
        let rib = self.ribs.entry(vrf).or_default();
        if let std::collections::hash_map::Entry::Vacant(entry) = rib.own.entry(prefix) {
            entry.insert((source, self.state.want_group(egresses)?));
            self.note_next_hops(egresses);
        }
        Ok(())
    }

    /// Routes that the addresses of VIFs make. The router's own addresses come first: nothing may
    /// take them over.
    fn connected(&mut self) -> Result<(), CommitError> {
        use AdjacencyKind::{Broadcast, Glean, Local};
        type Part = fn(&IpNet) -> Option<IpNet>;
        let parts: [(AdjacencyKind, Source, Part); 4] = [
            (Local, Source::Local, |net| Some(net.addr().into())),
            (Local, Source::Local, |net| subnet_router_anycast(net).map(IpNet::from)),
            (Broadcast, Source::Connected, |net| broadcast(net).map(IpNet::from)),
            (Glean, Source::Connected, |net| Some(net.trunc())),
        ];
        let vifs = self.state.tables.vifs.clone();
        for (kind, source, part) in parts {
            for (id, vif) in (0..).map(VifId).zip(vifs.iter()) {
                let Some(vif) = vif.as_ref().filter(|vif| vif.up) else { continue };
                for net in vif.addresses.iter().filter(|net| !is_link_local(net.addr())) {
                    let address = net.addr();
                    let egress = Egress { kind, vrf: vif.vrf, vif: id, address, mac: None };
                    if let Some(prefix) = part(net) {
                        self.own(vif.vrf, prefix, source, &[(egress, 1)])?;
                    }
                }
            }
        }
        Ok(())
    }

    /// Static and listed routes.
    fn configured(&mut self, config: &Config) -> Result<(), CommitError> {
        for route in &config.routes {
            let vrf = self.vrf_named(&route.vrf)?;
            let special = |kind| {
                let address = IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED);
                vec![(Egress { kind, vrf, vif: VifId(0), address, mac: None }, 1)]
            };
            let egresses = match &route.action {
                RouteAction::Via(via) => self.via(vrf, via)?,
                RouteAction::Blackhole => special(AdjacencyKind::Blackhole),
                RouteAction::Unreachable => special(AdjacencyKind::Unreachable),
                RouteAction::Prohibit => special(AdjacencyKind::Prohibited),
            };
            self.own(vrf, route.prefix, Source::Static, &egresses)?;
        }
        for list in &config.route_lists {
            let vrf = self.vrf_named(&list.vrf)?;
            let mut group = |via: &[NextHop]| match via {
                [] => Ok(None),
                via => {
                    let egresses = self.via(vrf, via)?;
                    self.note_next_hops(&egresses);
                    self.state.want_group(&egresses).map(Some)
                }
            };
            let (group4, group6) = (group(&list.via4)?, group(&list.via6)?);
            let list = List { prefixes: list.prefixes.clone(), group4, group6 };
            self.ribs.entry(vrf).or_default().lists.push(list);
        }
        Ok(())
    }

    /// Routes that lead to the permits of exchanges.
    fn exchanged(&mut self, config: &Config) -> Result<(), CommitError> {
        for exchange in &config.exchanges {
            let (vrf, group) = permit(&mut self.state, exchange)?;
            let rib = self.ribs.entry(vrf).or_default();
            rib.exchanged.extend(exchange.prefixes.iter().map(|net| (*net, group)));
        }
        Ok(())
    }

    fn vrf_named(&self, name: &Arc<str>) -> Result<VrfId, CommitError> {
        let id = self.state.vrfs.get(&**name).map(vrf_id);
        id.filter(|id| self.ribs.contains_key(id))
            .ok_or_else(|| CommitError::Unknown("VRF", name.clone()))
    }

    /// The egresses of next hops. That they stay in their VRF is what keeps tenants apart, so it is
    /// checked here too, whatever validation did.
    fn via(&self, vrf: VrfId, via: &[NextHop]) -> Result<Vec<(Egress, u16)>, CommitError> {
        let mut egresses = Vec::with_capacity(via.len());
        for hop in via {
            let vif = vif_named(&self.state, &hop.vif)?;
            match self.state.next_hop(vif, hop.address) {
                Some(egress) if egress.vrf == vrf => egresses.push((egress, hop.weight)),
                _ => return Err(CommitError::OtherVrf(hop.vif.clone())),
            }
        }
        Ok(egresses)
    }

    fn note_next_hops(&mut self, egresses: &[(Egress, u16)]) {
        let next_hops = egresses.iter().filter(|(egress, _)| egress.kind == AdjacencyKind::Forward);
        self.hosts.extend(next_hops.map(|(egress, _)| (egress.vif, egress.address)));
    }

    /// Host routes of next hops and of static neighbors.
    fn hosts(&mut self) -> Result<(), CommitError> {
        let mut all = std::mem::take(&mut self.hosts);
        all.extend(self.state.neighbors.keys());
        all.extend(self.state.remotes_on_link());
        for (vif, address) in all {
            self.host(vif, address, true)?;
        }
        Ok(())
    }

    fn host(&mut self, vif: VifId, address: IpAddr, configured: bool) -> Result<(), CommitError> {
        let Some(egress) = self.state.next_hop(vif, address) else { return Ok(()) };
        let rib = self.ribs.entry(egress.vrf).or_default();
        if self.state.takes_host_route(vif, address) && !rib.hosts.contains_key(&address) {
            let group = self.state.want_single(egress)?;
            let subnet = self.state.subnet_length(vif, address);
            rib.hosts.insert(address, Host { group, subnet, configured });
        }
        Ok(())
    }

    /// Groups that the FIB leads to against the engine's will, while their VRF is there.
    fn stuck(&mut self) {
        let mut stuck = std::mem::take(&mut self.state.stuck);
        stuck
            .retain(|(vrf, _), group| self.ribs.contains_key(vrf) && self.state.want_again(*group));
        self.state.stuck = stuck;
    }

    /// The learned neighbors that are still where they were learned. They come last, and where
    /// there is no room they are left out: the slow path will report those that have packets.
    fn learned(&mut self, old: &State) {
        let mut room = self.state.most_learned();
        for (&(vif, address), &known) in &old.neighbors {
            if known.configured
                || self.state.neighbors.contains_key(&(vif, address))
                || !same_place(old, &self.state, vif)
                || !self.state.takes_neighbor(vif, address)
            {
                continue;
            }
            let Some(egress) = self.state.next_hop(vif, address) else { continue };
            if !self.state.adjacencies.is_wanted(&egress) {
                let Some(left) = room.checked_sub(1) else { continue };
                room = left;
            }
            if self.state.want_adjacency(egress).is_ok() {
                self.state.neighbors.insert((vif, address), known);
                // Without a host route it is still a neighbor.
                let _ = self.host(vif, address, false);
            }
        }
    }
}

/// Whether a VIF is on the same wire of the same VRF in both.
pub(super) fn same_place(old: &State, new: &State, id: VifId) -> bool {
    match (old.tables.vif(id), new.tables.vif(id)) {
        (Some(old), Some(new)) => {
            (old.port, old.tags, old.vrf, &old.name) == (new.port, new.tags, new.vrf, &new.name)
        }
        _ => false,
    }
}
