//! The gate before a commit: what the compiled tables let meet may be no more than what the configuration declares.
//!
//! It believes nothing of how they were compiled. It goes from each wire to its VIF, from the VIF's VRF through every group that
//! its routes lead to, and from these to each VIF that packets could leave by, and compares all of it with the configuration by
//! names. So it holds for all addresses: a route is whichever of the VRF's groups.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::commit::CommitError;
use super::rib::Rib;
use super::state::State;
use crate::config::model::{Config, ExchangeConfig, VifConfig};
use crate::tables::{
    Adjacency, AdjacencyId, AdjacencyKind, ExchangeId, GroupId, PortId, Snapshot, Tags, Vif, VrfId,
};

/// What the configuration declares, by name.
struct Declared<'a> {
    vifs: HashMap<&'a str, &'a VifConfig>,
    exchanges: HashMap<&'a str, &'a ExchangeConfig>,
}

/// What would meet that is not declared.
type Meeting = Result<(), String>;

/// Whether tables and routes that were compiled of a configuration let nothing else meet.
pub(super) fn check(state: &State, config: &Config) -> Result<(), CommitError> {
    let vifs = config.vifs.iter().map(|vif| (&*vif.name, vif));
    let exchanges = config.exchanges.iter().map(|exchange| (&*exchange.name, exchange));
    let declared = Declared { vifs: vifs.collect(), exchanges: exchanges.collect() };
    let meeting = declared.wires(&state.tables).and_then(|()| {
        state.ribs.iter().try_for_each(|(vrf, rib)| declared.ways_out(state, *vrf, rib))
    });
    meeting.map_err(|what| CommitError::Isolation(what.into()))
}

/// Every way that packets of a group may take, now or when others are lost.
fn ways(state: &State, group: GroupId) -> impl Iterator<Item = AdjacencyId> {
    let members = state.groups.key(group.0).into_iter().flat_map(|members| members.iter());
    let now = state.tables.groups.buckets(group).iter().copied();
    now.chain(members.map(|member| member.adjacency))
}

/// Whether an adjacency is the VRF's own, and so is the VIF that it is on.
fn in_vrf(state: &State, vrf: VrfId, adjacency: &Adjacency) -> Meeting {
    let name = |vrf| vrf_name(&state.tables, vrf);
    let met =
        |other: VrfId| format!("a route of vrf {} would lead into vrf {}", name(vrf), name(other));
    if adjacency.vrf != vrf {
        return Err(met(adjacency.vrf));
    }
    let on_vif = adjacency.kind.is_on_vif()
        || matches!(adjacency.kind, AdjacencyKind::Local | AdjacencyKind::Broadcast);
    match state.tables.vif(adjacency.vif).filter(|_| on_vif) {
        Some(vif) if vif.vrf != vrf => Err(format!("{}, to vif {}", met(vif.vrf), vif.name)),
        Some(vif) if adjacency.kind == AdjacencyKind::Forward && !is_of(adjacency, vif) => {
            Err(format!("packets for vif {} would leave as another's", vif.name))
        }
        _ => Ok(()),
    }
}

/// Whether what the packet path reads of an adjacency's VIF is that VIF's.
fn is_of(adjacency: &Adjacency, vif: &Vif) -> bool {
    (adjacency.port, adjacency.to_customer, adjacency.to_station, adjacency.joins_stations)
        == (vif.port, vif.kind.is_some(), vif.station().is_some(), vif.joins_stations)
}

impl Declared<'_> {
    /// From each wire to the VIF that is declared there, and to no other.
    fn wires(&self, tables: &Snapshot) -> Meeting {
        let mut wires: HashSet<(PortId, Tags)> = HashSet::new();
        for (id, vif) in tables.vifs_by_id() {
            let name = &vif.name;
            let Some(declared) = self.vifs.get(&**name) else {
                return Err(format!("vif {name} would be there, which is not declared"));
            };
            let vrf = vrf_name(tables, vif.vrf);
            if vrf != declared.vrf {
                return Err(format!("vif {name} would be in vrf {vrf}, not in {}", declared.vrf));
            }
            let tunnel = declared.tunnel.as_ref();
            let station = tunnel.and_then(|tunnel| tunnel.station.as_ref());
            if (vif.kind, vif.tags, vif.joins_stations, vif.station())
                != (declared.kind, declared.tags, declared.join_stations, station)
            {
                return Err(format!("vif {name} would be of another kind or wire than declared"));
            }
            if vif.tunnel().is_none() {
                wires.insert((vif.port, vif.tags));
                if tables.vif_of(vif.port, vif.tags) != Some(id) {
                    return Err(format!("the frames of vif {name} would not come to it"));
                }
            }
        }
        let known = tables.ports.iter().map(|port| port.wires()).sum::<usize>();
        match known == wires.len() {
            true => Ok(()),
            false => Err(format!("{known} tags would be taken for VIFs, and {} are", wires.len())),
        }
    }

    /// From a VRF through every group that its routes lead to: only to itself, or by an exchange that is declared.
    fn ways_out(&self, state: &State, vrf: VrfId, rib: &Rib) -> Meeting {
        for group in rib.groups() {
            for id in ways(state, group) {
                let adjacency = state.tables.adjacency(id);
                in_vrf(state, vrf, adjacency)?;
                if let AdjacencyKind::Exchange(id) = adjacency.kind {
                    self.permit(state, vrf, id)?;
                }
            }
        }
        for (prefix, group) in &rib.exchanged {
            let permits =
                ways(state, *group).filter_map(|id| match state.tables.adjacency(id).kind {
                    AdjacencyKind::Exchange(id) => state.tables.exchange(id),
                    _ => None,
                });
            for exchange in permits {
                let declared = self.exchanges.get(&*exchange.name);
                if !declared.is_some_and(|declared| declared.prefixes.contains(prefix)) {
                    return Err(format!("exchange {} would let {prefix} pass", exchange.name));
                }
            }
        }
        Ok(())
    }

    /// That a permit is declared, in this direction.
    fn permit(&self, state: &State, vrf: VrfId, id: ExchangeId) -> Meeting {
        let Some(exchange) = state.tables.exchange(id) else { return Ok(()) };
        let [from, to] = [exchange.exporter, vrf].map(|vrf| vrf_name(&state.tables, vrf));
        let is_declared =
            |declared: &&ExchangeConfig| *declared.from == *from && *declared.to == *to;
        match exchange.importer == vrf
            && self.exchanges.get(&*exchange.name).is_some_and(is_declared)
        {
            true => Ok(()),
            false => Err(format!("exchange {} would join vrf {to} to vrf {from}", exchange.name)),
        }
    }
}

fn vrf_name(tables: &Snapshot, vrf: VrfId) -> Arc<str> {
    let vrf = tables.vrfs.get(vrf.index()).and_then(Option::as_ref);
    vrf.map_or_else(|| "?".into(), |vrf| vrf.name.clone())
}

#[cfg(test)]
mod tests;
