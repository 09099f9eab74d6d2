//! What the station itself originates in a VRF: its connected subnets, static routes and prefix lists, for
//! peers to learn, and the prefixes that no peer may announce because they are the station's.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::sync::Arc;

use ipnet::IpNet;

use super::policy::{GRACEFUL_SHUTDOWN, add, owner};
use super::render::{Domain, word};
use super::rendered::Ways;
use super::session::{digit, family};
use crate::admin::protocol::Family;
use crate::config::model::{AllowedPrefix, NextHop, RouteAction, RouteListConfig, VifConfig};
use crate::tables::PortRole;

/// A preference below that of BGP, which is 100, and above the numbers that causes have.
const BELOW_BGP: u32 = 90;

/// The ports that lead to a prefix; none where it needs no port.
type Ports = Option<BTreeSet<Arc<str>>>;

impl Domain<'_> {
    /// What the station itself originates: it may come from no peer.
    pub(super) fn own_prefixes(&self) -> Vec<AllowedPrefix> {
        let mut own: BTreeSet<IpNet> = self.connected().map(|(net, _)| net).collect();
        let actions = self.config.routes.iter().filter(|route| {
            *route.vrf == *self.vrf && !matches!(route.action, RouteAction::Via(_))
        });
        own.extend(actions.map(|route| route.prefix).filter(|net| self.has(net)));
        own.into_iter().filter(|net| net.prefix_len() > 0).map(all_within).collect()
    }

    /// In a public VRF, the static prefixes that lead to the provider: customers announce none of them by
    /// chance.
    pub(super) fn provider_prefixes(&self, vifs: &[&VifConfig]) -> BTreeSet<IpNet> {
        if !self.public || !vifs.iter().any(|vif| self.role(vif) == PortRole::Customer) {
            return BTreeSet::new();
        }
        let provider = |hops: &[NextHop]| self.owner(hops) == PortRole::Core;
        let mut prefixes: BTreeSet<IpNet> = BTreeSet::new();
        for route in self.config.routes.iter().filter(|route| *route.vrf == *self.vrf) {
            if matches!(&route.action, RouteAction::Via(hops) if provider(hops)) {
                prefixes.insert(route.prefix);
            }
        }
        for list in self.config.route_lists.iter().filter(|list| *list.vrf == *self.vrf) {
            if provider(self.hops(list)) {
                prefixes.extend(list.prefixes.iter());
            }
        }
        prefixes.retain(|net| self.has(net) && net.prefix_len() > 0);
        prefixes
    }

    fn hops<'l>(&self, list: &'l RouteListConfig) -> &'l [NextHop] {
        if self.family == Family::Ipv4 { &list.via4 } else { &list.via6 }
    }

    pub(super) fn has(&self, net: &IpNet) -> bool {
        family(net.addr()) == self.family
    }

    /// The subnets of the VRF's VIFs.
    fn connected(&self) -> impl Iterator<Item = (IpNet, &VifConfig)> {
        let nets =
            self.vifs().flat_map(|vif| vif.addresses.iter().map(move |net| (net.trunc(), vif)));
        nets.filter(|(net, _)| self.has(net) && !link_local(net))
    }

    /// Connected subnets, static routes and prefix lists, for peers to learn. Those that the same ports lead
    /// to are a protocol, which is disabled while none of the ports has a link: what it costs to say so
    /// depends neither on the number of sessions nor on that of routes of others.
    pub(super) fn originated(&self, out: &mut String, table: &str, ways: &mut Ways) {
        let mut routes: BTreeMap<IpNet, (PortRole, Ports, bool)> = BTreeMap::new();
        for (net, vif) in self.connected().filter(|(_, vif)| vif.up) {
            let ports = BTreeSet::from([vif.port.clone()]);
            let drained = self.drained.has(vif);
            routes.insert(net, (self.role(vif), Some(ports), drained));
        }
        for route in self.config.routes.iter().filter(|route| *route.vrf == *self.vrf) {
            let way = match &route.action {
                RouteAction::Via(hops) => match self.ports(hops) {
                    ports if ports.is_empty() => continue,
                    ports => (self.owner(hops), Some(ports), self.all_drained(hops)),
                },
                _ => (PortRole::Core, None, false),
            };
            routes.extend(self.has(&route.prefix).then_some((route.prefix, way)));
        }
        for list in self.config.route_lists.iter().filter(|list| *list.vrf == *self.vrf) {
            let hops = self.hops(list);
            let ports = self.ports(hops);
            if !ports.is_empty() {
                let way = (self.owner(hops), Some(ports), self.all_drained(hops));
                let prefixes = list.prefixes.iter().filter(|net| self.has(net));
                routes.extend(prefixes.map(|net| (*net, way.clone())));
            }
        }
        self.exchanged(out, table);
        let mut protocols: BTreeMap<Ports, String> = BTreeMap::new();
        for (net, (role, ports, drained)) in routes {
            let from = owner(role);
            let text = protocols.entry(ports).or_default();
            // Only drained VIFs lead there: who has another station takes that.
            let shut =
                if drained { format!(" {};", add(&GRACEFUL_SHUTDOWN)) } else { String::new() };
            let _ = writeln!(text, "  route {net} blackhole {{ station_from = {from};{shut} }};");
        }
        let (digit, word) = (digit(self.family), word(self.family));
        for (ports, routes) in protocols {
            let way = ports.map(|ports| self.way(ports, ways)).unwrap_or_default();
            let name = format!("s{digit}.{}{way}", self.vrf);
            let _ = writeln!(out, "protocol static '{name}' {{\n  {word} {{ table '{table}'; }};");
            let _ = writeln!(out, "{routes}}}");
        }
    }

    /// Prefixes that the VRF reaches by exchanges, whatever the other VRF has of them now. As in the FIB, what a peer
    /// announces of the very same prefix comes first.
    fn exchanged(&self, out: &mut String, table: &str) {
        let into = self.config.exchanges.iter().filter(|exchange| *exchange.to == *self.vrf);
        let nets: BTreeSet<&IpNet> =
            into.flat_map(|exchange| &exchange.prefixes).filter(|net| self.has(net)).collect();
        if nets.is_empty() {
            return;
        }
        let (name, word) = (format!("x{}.{}", digit(self.family), self.vrf), word(self.family));
        let _ = writeln!(
            out,
            "protocol static '{name}' {{\n  {word} {{ table '{table}'; preference {BELOW_BGP}; }};"
        );
        let from = owner(PortRole::Core);
        for net in nets {
            let _ = writeln!(out, "  route {net} blackhole {{ station_from = {from}; }};");
        }
        let _ = writeln!(out, "}}");
    }

    /// The suffix of protocols whose routes these ports lead to.
    fn way(&self, ports: BTreeSet<Arc<str>>, ways: &mut Ways) -> String {
        let nics = self.config.ports.iter().map(|port| &port.name);
        let vteps = self.config.vteps.iter().map(|vtep| &vtep.name);
        let number =
            |port: &Arc<str>| nics.clone().chain(vteps.clone()).position(|known| known == port);
        let numbers: Vec<_> =
            ports.iter().filter_map(number).map(|number| number.to_string()).collect();
        let way = format!(":{}", numbers.join("-"));
        ways.entry(way.clone()).or_insert(ports);
        way
    }

    /// The ports of next hops whose VIFs are up.
    fn ports(&self, hops: &[NextHop]) -> BTreeSet<Arc<str>> {
        self.live(hops).map(|vif| vif.port.clone()).collect()
    }

    /// Whether all next hops whose VIFs are up are on drained ones.
    fn all_drained(&self, hops: &[NextHop]) -> bool {
        self.live(hops).all(|vif| self.drained.has(vif))
    }

    /// The VIFs of next hops that are up.
    fn live(&self, hops: &[NextHop]) -> impl Iterator<Item = &VifConfig> {
        hops.iter().filter_map(|hop| self.vif(&hop.vif)).filter(|vif| vif.up)
    }

    /// Whose prefix a route's is: the provider's where all of its next hops are.
    fn owner(&self, hops: &[NextHop]) -> PortRole {
        let all_core = hops.iter().all(|hop| self.role_of(&hop.vif) == PortRole::Core);
        if all_core { PortRole::Core } else { PortRole::Customer }
    }
}

/// A prefix with all that lies within it.
pub(super) fn all_within(net: IpNet) -> AllowedPrefix {
    AllowedPrefix { net, longest: net.max_prefix_len() }
}

pub(super) fn link_local(net: &IpNet) -> bool {
    match net {
        IpNet::V4(net) => net.addr().is_link_local(),
        IpNet::V6(net) => net.addr().is_unicast_link_local(),
    }
}
