//! `show tunnels`.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::sync::Arc;

use super::control_thread::Control;
use super::view::{View, labels_of};
use crate::admin::answer::Answer;
use crate::admin::rows::{Labels, TunnelRow};
use crate::tables::{Adjacency, AdjacencyKind, VrfId};
use crate::wire::ethernet::Mac;

/// The underlay's next hops to each VTEP.
pub(super) type Ways = BTreeMap<(VrfId, IpAddr), Vec<String>>;

/// All tunnels. The FIB is asked here, once for each VTEP.
pub(super) fn show(control: &Control) -> Answer {
    let (view, config) = (View::of(control), control.config().clone());
    let mut ways = Ways::new();
    for tunnel in view.vifs().filter_map(|(_, vif)| vif.tunnel()) {
        for remote in tunnel.remotes.iter() {
            let way = ways.entry((tunnel.underlay, *remote));
            way.or_insert_with(|| via(control, &view, tunnel.underlay, *remote));
        }
    }
    Answer::later(move || Answer::rows(rows(&view, &labels_of(&config), &ways)))
}

/// A row for each tunnel, with these ways.
pub(super) fn rows(view: &View, labels: &HashMap<Arc<str>, Labels>, ways: &Ways) -> Vec<TunnelRow> {
    let mut rows = Vec::new();
    for (id, vif) in view.vifs() {
        let Some(tunnel) = vif.tunnel() else { continue };
        for remote in tunnel.remotes.iter() {
            let Some(adjacency) = view.tables.neighbors.get(&(id, *remote)) else { continue };
            let adjacency = view.tables.adjacency(*adjacency);
            let up = adjacency.kind == AdjacencyKind::Forward;
            let mac = adjacency.l2().first_chunk().copied().unwrap_or_default();
            rows.push(TunnelRow {
                vif: vif.name.to_string(),
                labels: labels.get(&vif.name).cloned().unwrap_or_default(),
                vrf: view.vrf_name(vif.vrf),
                vtep: view.port_name(vif.port).to_owned(),
                underlay: view.vrf_name(tunnel.underlay),
                vni: tunnel.vni,
                local: tunnel.local,
                remote: *remote,
                mac: Mac(mac).to_string(),
                state: if up { "up" } else { "down" }.into(),
                mtu: vif.mtu,
                via: ways.get(&(tunnel.underlay, *remote)).cloned().unwrap_or_default(),
            });
        }
    }
    rows
}

fn via(control: &Control, view: &View, underlay: VrfId, remote: IpAddr) -> Vec<String> {
    let Some(route) = control.engine.lookup(underlay, remote) else { return Vec::new() };
    let members = control.engine.members(route.group);
    let members = members.filter(|(to, member)| to.kind == AdjacencyKind::Forward && member.usable);
    let way = |(to, _): (&Adjacency, _)| {
        let vif = view.tables.vif(to.vif)?;
        Some(format!("{} on {}", to.address, vif.name))
    };
    members.filter_map(way).collect()
}
