//! BFD of a VIF, in BIRD's language.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::net::IpAddr;

use super::session::{bfd_protocol, tap};
use crate::config::model::{Config, NextHop, RouteAction, VifConfig};

/// A VIF's BFD has a protocol of its own: sessions are told apart by a number in the packet, and a
/// tenant could guess another's.
pub(super) fn render(out: &mut String, config: &Config, vif: &VifConfig) {
    let Some(bfd) = vif.bfd else { return };
    let tap = tap(config, vif);
    let (name, interval, multiplier) = (bfd_protocol(&tap), bfd.interval_ms, bfd.multiplier);
    let _ = write!(
        out,
        "\nprotocol bfd '{name}' {{\n  \
           debug {{ states, events }};\n  \
           vrf \"{tap}\";\n  accept direct;\n  \
           interface \"{tap}\" {{ interval {interval} ms; multiplier {multiplier}; }};\n"
    );
    for (peer, local) in neighbors(config, vif) {
        let _ = writeln!(out, "  neighbor {peer} dev \"{tap}\" local {local};");
    }
    let _ = writeln!(out, "}}");
}

/// Whom a VIF's BFD watches: BGP peers and the next hops of static routes, each with the router's address
/// in its subnet.
pub(super) fn neighbors(config: &Config, vif: &VifConfig) -> BTreeSet<(IpAddr, IpAddr)> {
    let routes = config.routes.iter().filter_map(|route| match &route.action {
        RouteAction::Via(hops) => Some(hops),
        _ => None,
    });
    let lists = config.route_lists.iter().flat_map(|list| [&list.via4, &list.via6]);
    let hops = routes.chain(lists).flatten().filter(|hop| hop.vif == vif.name);
    let local = |hop: &NextHop| {
        let own = vif.addresses.iter().find(|own| own.contains(&hop.address))?;
        Some((hop.address, own.addr()))
    };
    let peers = vif.bgp.iter().map(|bgp| (bgp.peer, bgp.local));
    hops.filter_map(local).chain(peers).collect()
}
