//! Tunnels follow their underlay: a VTEP is reached while the underlay's route to it leads to a neighbor that is. What
//! changes there changes adjacencies of tunnels and the groups that they are in, never prefixes.

use std::collections::BTreeSet;
use std::net::IpAddr;

use ipnet::IpNet;

use super::state::{Egress, State};
use crate::tables::rules::is_on_subnet;
use crate::tables::{
    AdjacencyId, AdjacencyKind, GroupId, Overlay, Tunnel, Vif, VifId, VrfId, VrfKind,
};

impl State {
    /// The tunnel that an adjacency leads into, and the VTEP at its other end.
    pub fn tunnel_of(&self, id: AdjacencyId) -> Option<(&Tunnel, IpAddr)> {
        let egress = self.adjacencies.key(id.0)?;
        let Egress { kind: AdjacencyKind::Forward, vif, address, .. } = *egress else {
            return None;
        };
        Some((self.tables.vif(vif)?.tunnel()?, address))
    }

    /// VTEPs on subnets of their underlay, each with the VIF that the subnet is on: neighbors, to be asked for like the
    /// next hops of routes.
    pub fn remotes_on_link(&self) -> Vec<(VifId, IpAddr)> {
        let vifs = self.tables.vifs.iter().flatten();
        let tunnels = vifs.filter_map(Vif::tunnel);
        let remotes: BTreeSet<(VrfId, IpAddr)> = tunnels
            .flat_map(|tunnel| tunnel.remotes.iter().map(|remote| (tunnel.underlay, *remote)))
            .collect();
        let vifs = self.tables.vifs_by_id();
        let underlay = vifs.filter(|(_, vif)| vif.overlay == Overlay::Underlay);
        let on_link = |(id, vif): (VifId, &Vif)| {
            let on_link = remotes
                .iter()
                .filter(|(vrf, remote)| *vrf == vif.vrf && is_on_subnet(vif, *remote));
            on_link.map(|(_, remote)| (id, *remote)).collect::<Vec<_>>()
        };
        underlay.flat_map(on_link).collect()
    }

    /// Whether a tunnel's packets to a VTEP leave, as far as is known.
    pub fn is_reached(&self, tunnel: &Tunnel, remote: IpAddr) -> bool {
        let group = self.longest(tunnel.underlay, remote);
        let members = group.and_then(|group| self.groups.key(group.0));
        members.into_iter().flat_map(|members| members.iter()).any(|member| {
            let to = self.tables.adjacency(member.adjacency);
            to.kind == AdjacencyKind::Forward && !self.silent.contains(&(to.vif, to.address))
        })
    }

    /// The group of the longest route to an address.
    fn longest(&self, vrf: VrfId, address: IpAddr) -> Option<GroupId> {
        let rib = self.ribs.get(&vrf)?;
        let host = IpNet::from(address);
        let mut lengths = (0..=host.max_prefix_len()).rev();
        lengths.find_map(|length| {
            let prefix = IpNet::new(address, length).ok()?.trunc();
            rib.best(prefix).map(|(_, group)| group)
        })
    }

    /// Whether a VRF carries tunnels.
    pub fn is_underlay(&self, vrf: VrfId) -> bool {
        let vrf = self.tables.vrfs.get(vrf.index()).and_then(Option::as_ref);
        vrf.is_some_and(|vrf| vrf.kind == VrfKind::Underlay)
    }

    /// Brings the adjacencies of tunnels, and the groups that they are in, to what the underlay is now. Whether any
    /// changed: they are to be published.
    pub fn follow_underlay(&mut self) -> bool {
        if self.tables.tunnels.is_empty() {
            return false;
        }
        let all = self.adjacencies.wanted().map(|(id, _)| AdjacencyId(id));
        let changed = all.filter(|&id| {
            let Some((tunnel, remote)) = self.tunnel_of(id) else { return false };
            let is_down = self.tables.adjacency(id).kind == AdjacencyKind::EgressDown;
            self.is_reached(tunnel, remote) == is_down
        });
        let mut changed: Vec<AdjacencyId> = changed.collect();
        if changed.is_empty() {
            return false;
        }
        changed.sort_unstable();
        let before: Vec<AdjacencyKind> =
            changed.iter().map(|&id| self.tables.adjacency(id).kind).collect();
        self.render_adjacencies(&changed);
        // A VIF that is down stays so, whatever its underlay is.
        if changed.iter().map(|&id| self.tables.adjacency(id).kind).eq(before) {
            return false;
        }
        self.render_groups_of(&changed);
        true
    }
}
