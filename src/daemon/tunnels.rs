//! `show tunnels`.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::control_thread::Control;
use super::view::{View, labels_of};
use crate::admin::answer::Answer;
use crate::admin::rows::TunnelRow;
use crate::tables::{AdjacencyKind, VrfId};

/// The underlay's next hops to each VTEP.
type Ways = BTreeMap<(VrfId, IpAddr), Vec<String>>;

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
    Answer::later(move || {
        let labels = labels_of(&config);
        let rows = view.vifs().flat_map(|(id, vif)| {
            let (view, ways, labels) = (&view, &ways, &labels);
            let tunnel = vif.tunnel();
            tunnel.into_iter().flat_map(move |tunnel| {
                tunnel.remotes.iter().filter_map(move |remote| {
                    let adjacency = view.tables.neighbors.get(&(id, *remote))?;
                    let adjacency = view.tables.adjacency(*adjacency);
                    let up = adjacency.kind == AdjacencyKind::Forward;
                    let mac = adjacency.l2().first_chunk().copied().unwrap_or_default();
                    Some(TunnelRow {
                        vif: vif.name.to_string(),
                        labels: labels.get(&vif.name).cloned().unwrap_or_default(),
                        vrf: view.vrf_name(vif.vrf),
                        vtep: view.port_name(vif.port).to_owned(),
                        underlay: view.vrf_name(tunnel.underlay),
                        vni: tunnel.vni,
                        local: tunnel.local,
                        remote: *remote,
                        mac: crate::wire::ethernet::Mac(mac).to_string(),
                        state: if up { "up" } else { "down" }.into(),
                        mtu: vif.mtu,
                        via: ways.get(&(tunnel.underlay, *remote)).cloned().unwrap_or_default(),
                    })
                })
            })
        });
        Answer::rows(rows.collect::<Vec<_>>())
    })
}

fn via(control: &Control, view: &View, underlay: VrfId, remote: IpAddr) -> Vec<String> {
    let Some(route) = control.engine.lookup(underlay, remote) else { return Vec::new() };
    let members = control.engine.members(route.group);
    let members = members.filter(|(to, member)| to.kind == AdjacencyKind::Forward && member.usable);
    let way = |(to, _): (&crate::tables::Adjacency, _)| {
        let vif = view.tables.vif(to.vif)?;
        Some(format!("{} on {}", to.address, vif.name))
    };
    members.filter_map(way).collect()
}
