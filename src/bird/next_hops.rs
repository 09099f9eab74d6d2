//! Where next hops are looked up that routers of our own AS name (RFC 4271 9.1.2.1): they may be routers beyond the peer.

use std::fmt::Write as _;

use ipnet::IpNet;

use super::originate::link_local;
use super::render::{Domain, word};
use super::session::{digit, tap};
use crate::config::model::{NextHop, RouteAction, VifConfig};
use crate::tables::PortRole;

impl Domain<'_> {
    /// The table that the sessions within our own AS resolve next hops by.
    pub(super) fn resolving_table(&self) -> String {
        format!("g{}.{}", digit(self.family), self.vrf)
    }

    /// That table: the subnets of the VRF's core VIFs, and the static routes that lead to the core. Nothing that is learned
    /// is in it: no customer's announcement moves what the core's next hops mean.
    pub(super) fn resolution(&self, out: &mut String, vifs: &[&VifConfig]) {
        let (digit, word, table) = (digit(self.family), word(self.family), self.resolving_table());
        let core = |vif: &&VifConfig| *vif.vrf == *self.vrf && vif.up && self.is_core(&vif.name);
        let _ = writeln!(out, "{word} table '{table}';");
        let _ = writeln!(
            out,
            "protocol static 'n{digit}.{}' {{\n  {word} {{ table '{table}'; }};",
            self.vrf
        );
        for vif in self.config.vifs.iter().filter(core) {
            let tap = tap(self.config, vif);
            for net in vif.addresses.iter().map(IpNet::trunc) {
                if self.has(&net) && !link_local(&net) {
                    let _ = writeln!(out, "  route {net} via \"{tap}\";");
                }
            }
        }
        // By its address, never the link-local one that it may give beside it.
        for vif in vifs.iter().copied().filter(core) {
            for peer in vif.bgp.iter().map(|bgp| bgp.peer) {
                if self.has(&peer.into()) {
                    let tap = tap(self.config, vif);
                    let _ = writeln!(out, "  route {} via {peer}%'{tap}';", IpNet::from(peer));
                }
            }
        }
        for route in self.config.routes.iter().filter(|route| *route.vrf == *self.vrf) {
            if let RouteAction::Via(hops) = &route.action
                && self.has(&route.prefix)
            {
                self.by_core(out, &route.prefix, hops);
            }
        }
        let _ = writeln!(out, "}}");
    }

    /// A static route, as far as it leads to the core.
    fn by_core(&self, out: &mut String, prefix: &IpNet, hops: &[NextHop]) {
        let way = |hop: &NextHop| {
            let vif = self.config.vifs.iter().find(|vif| vif.name == hop.vif)?;
            let usable = vif.up && hop.weight > 0 && self.is_core(&vif.name);
            let tap = tap(self.config, vif);
            usable.then(|| format!(" via {}%'{tap}' weight {}", hop.address, hop.weight))
        };
        let ways: String = hops.iter().filter_map(way).collect();
        if !ways.is_empty() {
            let _ = writeln!(out, "  route {prefix}{ways};");
        }
    }

    fn is_core(&self, vif: &str) -> bool {
        self.role_of(vif) == PortRole::Core
    }
}
