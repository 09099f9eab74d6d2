//! Where next hops are looked up that routers of our own AS name (RFC 4271 9.1.2.1): they may be routers beyond the peer.

use std::fmt::Write as _;

use ipnet::IpNet;

use super::originate::link_local;
use super::render::{Domain, by_itself, word};
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
        let _ = writeln!(out, "{word} table '{table}';");
        let _ = writeln!(
            out,
            "protocol static 'n{digit}.{}' {{\n  {word} {{ table '{table}'; }};",
            self.vrf
        );
        for vif in self.vifs().filter(|vif| self.leads_to_core(vif)) {
            let tap = tap(self.config, vif);
            for net in vif.addresses.iter().map(IpNet::trunc) {
                if self.has(&net) && !link_local(&net) {
                    let _ = writeln!(out, "  route {net} via \"{tap}\";");
                }
            }
        }
        for vif in vifs.iter().filter(|vif| self.leads_to_core(vif)) {
            let tap = tap(self.config, vif);
            let peers = vif.bgp.iter().map(|bgp| bgp.peer).filter(|peer| self.has(&(*peer).into()));
            out.extend(peers.map(|peer| by_itself(peer, &tap)));
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
            let vif = self.vif(&hop.vif).filter(|vif| self.leads_to_core(vif))?;
            let tap = tap(self.config, vif);
            (hop.weight > 0).then(|| format!(" via {}%'{tap}' weight {}", hop.address, hop.weight))
        };
        let ways: String = hops.iter().filter_map(way).collect();
        if !ways.is_empty() {
            let _ = writeln!(out, "  route {prefix}{ways};");
        }
    }

    fn leads_to_core(&self, vif: &VifConfig) -> bool {
        vif.up && self.role(vif) == PortRole::Core
    }
}
