//! VIFs of a configuration as the packet path sees them, with what polices and judges their packets.

use std::collections::HashMap;
use std::sync::Arc;

use super::addresses::{NextHops, addresses};
use super::commit::{CommitError, PortFacts};
use super::compile::{put, vif_id, vrf_id};
use super::lists::{lists, named};
use super::meters::Planner;
use super::state::State;
use crate::config::model::{Config, VifConfig};
use crate::config::same_hardware;
use crate::tables::{AccessLists, Meters, PortId, Vif};

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
    let ports: HashMap<&str, (PortId, PortFacts)> = config
        .ports
        .iter()
        .zip(facts)
        .zip(0..)
        .map(|((port, facts), id)| (&*port.name, (PortId(id), *facts)))
        .collect();
    let (next_hops, lists) = (NextHops::of(config), lists(state, config)?);
    let old_limits = std::mem::take(&mut state.limits);
    let mut planner = Planner::new(config, &old_limits);
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
        let built = Vif {
            name: vif.name.clone(),
            up: vif.up,
            kind: vif.kind,
            port,
            tags: vif.tags,
            vrf: vrf_id(vrf),
            mtu: vif.mtu,
            source_check: vif.source_check,
            pcp: vif.pcp,
            metered,
            acl_in: named(&lists, vif.acl_in.as_ref())?,
            acl_out: named(&lists, vif.acl_out.as_ref())?,
            addresses: addresses(vif, facts.mac),
            peers: next_hops.peers(vif),
        };
        put(&mut table, id, built);
    }
    state.limits = planner.limits;
    state.tables.meters = Arc::new(meters);
    state.tables.vifs = table.into();
    state.tables.acls = Arc::new(AccessLists::new(lists, &state.tables.vifs));
    Ok(())
}

fn same_port(running: &Config, config: &Config, name: &str) -> bool {
    let port = |config: &Config| config.ports.iter().find(|port| *port.name == *name).cloned();
    port(running).zip(port(config)).is_some_and(|(old, new)| same_hardware(&old, &new))
}
