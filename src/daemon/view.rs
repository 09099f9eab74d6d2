//! Answers that connections make on their own threads, from what the control thread hands out at once: the
//! tables, the counters and what the ports are like.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::answer::mac;
use super::control_thread::Control;
use super::slow_thread::Asker;
use crate::admin::answer::Answer;
use crate::admin::rows::{Labels, NeighborRow, Traffic, VifRow, VrfRow};
use crate::config::model::Config;
use crate::observe::{Counters, VifTotals};
use crate::slowpath::NeighborState;
use crate::tables::{PortId, Snapshot, Vif, VifId, Vrf, VrfId};

/// What the tables and counters say.
#[derive(Clone)]
pub(super) struct View {
    pub tables: Snapshot,
    pub counters: Counters,
    /// Each port's name, and whether it has a link.
    ports: Arc<BTreeMap<PortId, (Arc<str>, bool)>>,
}

impl View {
    /// What stands now. Costs the control thread nothing to speak of.
    pub fn of(control: &Control) -> View {
        let ports = control.datapath.ports.iter();
        let ports = ports.map(|(id, port)| (id, (port.config.name.clone(), port.facts.link_up)));
        View {
            tables: control.engine.tables().clone(),
            counters: control.counters.clone(),
            ports: Arc::new(ports.collect()),
        }
    }

    /// The ports' names.
    pub fn ports(&self) -> impl Iterator<Item = (PortId, &str)> {
        self.ports.iter().map(|(id, (name, _))| (*id, &**name))
    }

    /// A port's name, or a VTEP's; empty where there is none of this id.
    pub fn port_name(&self, id: PortId) -> &str {
        self.tables.port_name(id)
    }

    /// All VIFs.
    pub fn vifs(&self) -> impl Iterator<Item = (VifId, &Vif)> {
        self.tables.vifs_by_id()
    }

    /// A VRF's name.
    pub fn vrf_name(&self, id: VrfId) -> String {
        match self.tables.vrfs.get(id.index()) {
            Some(Some(vrf)) => vrf.name.to_string(),
            _ => String::new(),
        }
    }

    /// A row for each VIF, made when it is wanted.
    pub fn rows<R>(self, row: impl Fn(&View, VifId, &Vif) -> R) -> impl Iterator<Item = R> {
        let ids: Vec<VifId> = self.vifs().map(|(id, _)| id).collect();
        ids.into_iter().filter_map(move |id| Some(row(&self, id, self.tables.vif(id)?)))
    }
}

/// The VRFs of some tables.
pub(super) fn vrfs(tables: &Snapshot) -> impl Iterator<Item = (VrfId, &Vrf)> {
    let vrfs = (0..=u16::MAX).map(VrfId).zip(&*tables.vrfs);
    vrfs.filter_map(|(id, vrf)| Some((id, vrf.as_ref()?)))
}

/// `show vifs`.
pub(super) fn show_vifs(control: &Control) -> Answer {
    let (view, config) = (View::of(control), control.config().clone());
    let drains = control.drains.states(&config);
    Answer::later(move || {
        let labels = labels_of(&config);
        Answer::rows(view.rows(move |view, id, vif| VifRow {
            drain: drains.get(&vif.name).copied().unwrap_or_default().to_owned(),
            ..vif_row(view, vif, &view.counters.vif(id), &labels)
        }))
    })
}

/// What the VIFs of a configuration are called by people.
pub(super) fn labels_of(config: &Config) -> HashMap<Arc<str>, Labels> {
    config.vifs.iter().map(|vif| (vif.name.clone(), vif.labels.clone())).collect()
}

pub(super) fn vif_row(
    view: &View,
    vif: &Vif,
    totals: &VifTotals,
    labels: &HashMap<Arc<str>, Labels>,
) -> VifRow {
    let link = view.ports.get(&vif.port);
    let link_up = link.map_or(vif.tunnel().is_some(), |(_, link_up)| *link_up);
    VifRow {
        name: vif.name.to_string(),
        labels: labels.get(&vif.name).cloned().unwrap_or_default(),
        port: view.port_name(vif.port).to_owned(),
        vlan: vif.network(),
        service_tag: vif.tags.service,
        kind: vif.kind,
        vrf: view.vrf_name(vif.vrf),
        mtu: vif.mtu,
        state: match (vif.up, link_up) {
            (false, _) => "down",
            (true, false) => "port-down",
            (true, true) => "up",
        }
        .into(),
        addresses: vif.addresses.to_vec(),
        source_check: vif.source_check,
        join_stations: vif.joins_stations,
        traffic: traffic(totals),
        drain: String::new(),
        forwarded: totals.forwarded,
        punted: totals.punted.iter().sum(),
        dropped: totals.drops.iter().sum(),
    }
}

/// What came and went by a VIF.
pub(super) fn traffic(totals: &VifTotals) -> Traffic {
    let VifTotals { rx_frames, rx_octets, tx_frames, tx_octets, .. } = *totals;
    Traffic { rx_frames, rx_octets, tx_frames, tx_octets }
}

/// `show vrfs`. The FIB keeps the numbers of routes.
pub(super) fn show_vrfs(control: &Control) -> Answer {
    let (tables, counts) = (control.engine.tables().clone(), route_counts(control));
    let config = control.config().clone();
    Answer::later(move || Answer::rows(vrf_rows(&tables, counts, &config)))
}

/// IPv4 and IPv6 routes of all VRFs, in the tables' order.
pub(super) fn route_counts(control: &Control) -> Vec<(usize, usize)> {
    control.vrfs().map(|(id, _)| control.engine.route_counts(id)).collect()
}

/// The VRFs of the tables whose routes were counted.
pub(super) fn vrf_rows(
    tables: &Snapshot,
    counts: Vec<(usize, usize)>,
    config: &Config,
) -> Vec<VrfRow> {
    let mut members: HashMap<VrfId, u64> = HashMap::new();
    for (_, vif) in tables.vifs_by_id() {
        *members.entry(vif.vrf).or_default() += 1;
    }
    let labels: HashMap<&str, &Labels> =
        config.vrfs.iter().map(|vrf| (&*vrf.name, &vrf.labels)).collect();
    let rows = vrfs(tables).zip(counts).map(|((id, vrf), (v4, v6))| VrfRow {
        name: vrf.name.to_string(),
        labels: labels.get(&*vrf.name).copied().cloned().unwrap_or_default(),
        kind: vrf.kind,
        vifs: members.get(&id).copied().unwrap_or(0),
        ipv4_routes: v4 as u64,
        ipv6_routes: v6 as u64,
    });
    rows.collect()
}

/// `show neighbors`: the configured ones and those that the slow path knows.
pub(super) fn show_neighbors(control: &Control) -> Answer {
    let (view, learned) = (View::of(control), control.datapath.slow.asker());
    Answer::later(move || Answer::rows(neighbors(&view, &learned)))
}

fn neighbors(view: &View, learned: &Asker) -> Vec<NeighborRow> {
    let mut rows = Vec::new();
    let tables = &view.tables;
    let mut row = |id: VifId, address, mac, state: &str, age_s| {
        let Some(vif) = tables.vif(id) else { return };
        rows.push(NeighborRow {
            vif: vif.name.to_string(),
            vrf: view.vrf_name(vif.vrf),
            address,
            mac,
            state: state.into(),
            age_s,
        });
    };
    for (&(vif, address), &id) in &*tables.neighbors {
        let adjacency = tables.adjacency(id);
        if adjacency.static_neighbor {
            row(vif, address, mac(adjacency), "static", 0);
        }
    }
    for known in learned.neighbors() {
        let state = match known.state {
            NeighborState::Incomplete => "unresolved",
            NeighborState::Reachable | NeighborState::Probing => "reachable",
            NeighborState::Failed => "failed",
        };
        let mac = known.mac.map(|mac| mac.to_string());
        row(known.vif, known.address, mac, state, known.age_ns / 1_000_000_000);
    }
    rows.sort_by(|a, b| (&a.vif, a.address).cmp(&(&b.vif, b.address)));
    rows
}
