//! VIFs of a configuration as the packet path sees them, with what polices and judges their packets.

use std::collections::HashMap;
use std::sync::Arc;

use super::address_limits::Limiter;
use super::addresses::{NextHops, addresses};
use super::commit::{CommitError, PortFacts};
use super::compile::{facts_of, put, vif_id, vrf_id};
use super::lists::{lists, named};
use super::meters::Planner;
use super::qos::qos;
use super::state::State;
use crate::config::model::{Config, VifConfig, VtepConfig};
use crate::tables::tunnel::Marking;
use crate::tables::{
    AccessLists, FlowLog, Meters, Overlay, PortId, Translations, Tunnel, Vif, VrfId, VrfKind,
};

/// Gives each VIF its id and its place in the tables. `running` is what the state was made of.
pub(super) fn vifs(
    state: &mut State,
    running: Option<&Config>,
    config: &Config,
    facts: &[PortFacts],
) -> Result<(), CommitError> {
    let unchanged: HashMap<&str, &VifConfig> = running
        .into_iter()
        .flat_map(|running| running.vifs.iter().filter(|vif| same_port(running, config, &vif.port)))
        .map(|vif| (&*vif.name, vif))
        .collect();
    state.misfits.clear();
    let nics: Vec<_> = config
        .ports
        .iter()
        .map(|port| Ok((&*port.name, (port.id, facts_of(port, facts)?))))
        .collect::<Result<_, CommitError>>()?;
    // How long packets in tunnels may be is the underlay's matter.
    let vteps = config.vteps.iter().enumerate().map(|(place, vtep)| {
        let facts = PortFacts { mac: vtep.mac, mtu: u16::MAX, link_up: true };
        (&*vtep.name, (config.vtep_id(place), facts))
    });
    let ports: HashMap<&str, (PortId, PortFacts)> = nics.into_iter().chain(vteps).collect();
    let overlays = Overlays::of(state, config);
    let (next_hops, lists) = (NextHops::of(config), lists(state, config)?);
    let old_limits = std::mem::take(&mut state.limits);
    let mut planner = Planner::new(config, &old_limits);
    let old_addresses = state.tables.address_limits.clone();
    let mut limiter = Limiter::new(config, &old_addresses);
    let mut meters = Meters::new(config.station.frame_overhead_octets.into());
    let mut table = Vec::new();
    for vif in &config.vifs {
        let (port, facts) =
            *ports.get(&*vif.port).ok_or(CommitError::Unknown("port", vif.port.clone()))?;
        let vrf = state
            .vrfs
            .get(&*vif.vrf)
            .filter(|&id| state.tables.vrfs.get(id as usize).is_some_and(Option::is_some))
            .ok_or(CommitError::Unknown("VRF", vif.vrf.clone()))?;
        // An interface that shrank under one VIF must not keep everybody else's changes out, nor that VIF from being
        // set down or called otherwise.
        let misfit = vif.mtu > facts.mtu;
        let as_before = |old: &&VifConfig| {
            VifConfig { up: old.up, labels: old.labels.clone(), ..vif.clone() } == **old
        };
        if misfit && !unchanged.get(&*vif.name).is_some_and(as_before) {
            return Err(CommitError::Mtu {
                vif: vif.name.clone(),
                mtu: vif.mtu,
                port: vif.port.clone(),
                limit: facts.mtu,
            });
        }
        let (id, first) = state.vifs.want(vif.name.clone()).ok_or(CommitError::Full("VIFs"))?;
        if !first {
            return Err(CommitError::Twice("VIF", vif.name.clone()));
        }
        if misfit {
            state.misfits.insert(vif_id(id), facts.mtu);
        }
        let plans = planner.plans(vif);
        let metered = plans.each_ref().map(|plan| !plan.is_empty());
        if metered.contains(&true) {
            meters.set(vif_id(id), plans);
        }
        let limited = limiter.limit(vif_id(id), vif)?;
        let built = Vif {
            name: vif.name.clone(),
            up: vif.up,
            kind: vif.kind,
            port,
            tags: vif.tags,
            overlay: overlays.overlay(vif),
            joins_stations: vif.join_stations,
            vrf: vrf_id(vrf),
            mtu: vif.mtu.min(overlays.most(vif)),
            source_check: vif.source_check,
            pcp: vif.pcp,
            metered,
            limited,
            top_talkers: vif.top_talkers,
            acl_in: named(&lists, vif.acl_in.as_ref())?,
            acl_out: named(&lists, vif.acl_out.as_ref())?,
            flow_log: vif.flow_log.unwrap_or(0),
            twamp_reflector: vif.twamp_reflector,
            translations: Translations::new(&vif.translate).map(Arc::new),
            addresses: match vif.tunnel {
                Some(_) => vif.addresses.clone().into(),
                None => addresses(vif, facts.mac),
            },
            peers: next_hops.peers(vif),
        };
        put(&mut table, id, built);
    }
    state.epoch += 1;
    state.tables.qos = qos(state, config, &table, &mut planner)?;
    state.limits = planner.limits;
    state.tables.meters = Arc::new(meters);
    state.tables.address_limits = Arc::new(limiter.limits);
    state.tables.vifs = table.into();
    let epoch = u16::try_from(state.epoch & 0xffff).unwrap_or(0);
    state.tables.flow_log = FlowLog::new(epoch, &state.tables.vifs).map(Arc::new);
    state.tables.acls = Arc::new(AccessLists::new(lists, &state.tables.vifs));
    Ok(())
}

/// What VIFs have to do with tunnels.
struct Overlays<'a> {
    vteps: HashMap<&'a str, (&'a VtepConfig, VrfId)>,
    /// The underlays, and the longest packet that all of the VIFs of each carry.
    underlays: HashMap<&'a str, u16>,
}

impl<'a> Overlays<'a> {
    fn of(state: &State, config: &'a Config) -> Overlays<'a> {
        let vteps = config.vteps.iter().filter_map(|vtep| {
            let underlay = vrf_id(state.vrfs.get(&*vtep.vrf)?);
            Some((&*vtep.name, (vtep, underlay)))
        });
        let underlays = config.vrfs.iter().filter(|vrf| vrf.kind == VrfKind::Underlay);
        let mut underlays: HashMap<&str, u16> =
            underlays.map(|vrf| (&*vrf.name, u16::MAX)).collect();
        for vif in &config.vifs {
            if let Some(most) = underlays.get_mut(&*vif.vrf) {
                *most = vif.mtu.min(*most);
            }
        }
        Overlays { vteps: vteps.collect(), underlays }
    }

    fn overlay(&self, vif: &VifConfig) -> Overlay {
        match (&vif.tunnel, self.vteps.get(&*vif.port)) {
            (Some(tunnel), Some((vtep, underlay))) => Overlay::Within(Tunnel {
                vni: tunnel.vni,
                underlay: *underlay,
                local: vtep.address,
                remotes: tunnel.remotes.iter().map(|remote| remote.address).collect(),
                station: tunnel.station.clone(),
                marking: Marking::new(vtep.dscp),
            }),
            _ if self.underlays.contains_key(&*vif.vrf) => Overlay::Underlay,
            _ => Overlay::Apart,
        }
    }

    /// The longest packet that fits a VIF's tunnels.
    fn most(&self, vif: &VifConfig) -> u16 {
        let of_vtep = |(vtep, _): &(&VtepConfig, VrfId)| {
            let most = self.underlays.get(&*vtep.vrf).copied()?;
            Some(most.saturating_sub(Tunnel::overhead(vtep.address)))
        };
        let vtep = self.vteps.get(&*vif.port).filter(|_| vif.tunnel.is_some());
        vtep.and_then(of_vtep).unwrap_or(u16::MAX)
    }
}

fn same_port(running: &Config, config: &Config, name: &str) -> bool {
    let ports = running.port(name).zip(config.port(name));
    ports.is_some_and(|(old, new)| new.is_used_as(old))
}
