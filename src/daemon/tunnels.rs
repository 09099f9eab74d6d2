//! `show tunnels`.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::sync::Arc;

use super::control_thread::Control;
use super::view::{View, labels_of};
use crate::admin::answer::Answer;
use crate::admin::rows::{Labels, TunnelRow};
use crate::clock::now_ms;
use crate::tables::{Adjacency, AdjacencyKind, TunnelPath, VrfId};
use crate::wire::ethernet::Mac;

/// The underlay's next hops to each VTEP.
pub(super) type Ways = BTreeMap<(VrfId, IpAddr), Vec<String>>;

/// Until when the underlay is believed to carry less on a path: milliseconds since 1970.
pub(super) type Lowered = BTreeMap<TunnelPath, u64>;

/// All tunnels. The FIB is asked here, once for each VTEP.
pub(super) fn show(control: &Control) -> Answer {
    let (view, config) = (View::of(control), control.config().clone());
    let (mut ways, mut lowered) = (Ways::new(), Lowered::new());
    let (now_ms, now_ns) = (now_ms(), control.now_ns());
    for tunnel in view.vifs().filter_map(|(_, vif)| vif.tunnel()) {
        for remote in tunnel.remotes.iter() {
            let way = ways.entry((tunnel.underlay, *remote));
            way.or_insert_with(|| via(control, &view, tunnel.underlay, *remote));
            let path = tunnel.path(*remote);
            lowered.extend(
                control.engine.lowered(path).map(|known| {
                    (path, now_ms + known.until_ns.saturating_sub(now_ns) / 1_000_000)
                }),
            );
        }
    }
    Answer::later(move || Answer::rows(rows(&view, &labels_of(&config), &ways, &lowered)))
}

/// A row for each tunnel, with these ways.
pub(super) fn rows(
    view: &View,
    labels: &HashMap<Arc<str>, Labels>,
    ways: &Ways,
    lowered: &Lowered,
) -> Vec<TunnelRow> {
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
                station: vif.station().map(ToString::to_string),
                mac: Mac(mac).to_string(),
                state: if up { "up" } else { "down" }.into(),
                mtu: adjacency.mtu,
                lowered_until_ms: lowered.get(&tunnel.path(*remote)).copied(),
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
