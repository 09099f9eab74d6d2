//! `[[route]]`, `[[route_list]]` and `[[neighbor]]`.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use ipnet::IpNet;

use super::address;
use super::diff::Table;
use super::fields::{At, Fields};
use super::labels::changes;
use super::lists;
use super::model::{NeighborConfig, RouteAction, RouteConfig, RouteListConfig, VrfConfig};
use super::names::Named;
use super::next_hops;
use super::station::check_path;
use super::vifs::{Subnet, Subnets, Vifs};
use crate::wire::ethernet::Mac;

pub(super) fn routes(
    root: &Fields<'_>,
    vrfs: &Named<VrfConfig>,
    vifs: &Vifs,
) -> Vec<At<RouteConfig>> {
    let mut routes = Vec::new();
    let mut taken: HashMap<(Arc<str>, IpNet), Range<usize>> = HashMap::new();
    for fields in root.tables("route", "[{ ... }]") {
        let vrf = vrfs.find(&fields, "vrf").and_then(|index| vrfs.items().get(index));
        let prefix = fields
            .need_parsed::<IpNet>("prefix", "10.0.0.0/8", "a prefix")
            .filter(|prefix| check_prefix(&fields, prefix, vrf));
        let action = action(&fields, vrf, prefix.as_ref().map(|prefix| prefix.value), vifs);
        if let (Some(vrf), Some(prefix)) = (vrf, &prefix) {
            if let Some(first) = taken.get(&(vrf.name.clone(), prefix.value)) {
                let line = fields.problems.line(first);
                let message =
                    format!("{} has a route on line {line} in vrf {:?}", prefix.value, vrf.name);
                let help = "write one route with several members in via";
                fields.refuse(&prefix.span, "prefix", message, help);
            } else {
                taken.insert((vrf.name.clone(), prefix.value), prefix.span.clone());
            }
            let subnet =
                vifs.subnets(&vrf.name).and_then(|subnets| subnets.of(prefix.value.network()));
            if let Some(why) = subnet.and_then(|subnet| connected(vifs, subnet, prefix.value)) {
                fields.refuse(&prefix.span, "prefix", why, "remove the route");
            }
        }
        if let (Some(vrf), Some(prefix), Some(action)) = (vrf, prefix, action) {
            let route = RouteConfig { vrf: vrf.name.clone(), prefix: prefix.value, action };
            routes.push(At { value: route, span: prefix.span });
        }
        fields.finish();
    }
    routes
}

fn check_prefix(fields: &Fields<'_>, prefix: &At<IpNet>, vrf: Option<&VrfConfig>) -> bool {
    let why = address::unroutable(&prefix.value, vrf.map(|vrf| vrf.kind));
    let Some(why) = why else { return true };
    let net = prefix.value.trunc();
    let help = if net == prefix.value {
        "write a unicast prefix".to_owned()
    } else {
        format!("write \"{net}\"")
    };
    fields.refuse(&prefix.span, "prefix", why, help);
    false
}

/// Why a subnet's VRF needs `net` for itself; `None` where it does not.
fn connected(vifs: &Vifs, subnet: &Subnet, net: IpNet) -> Option<String> {
    let vif = vifs.items().get(subnet.vif).map_or("", |vif| &*vif.name);
    if net == subnet.net {
        Some(format!("{net} is the subnet of vif {vif:?}"))
    } else if net == IpNet::from(subnet.own) {
        Some(format!("{net} is the address of vif {vif:?}"))
    } else {
        None
    }
}

fn action(
    fields: &Fields<'_>,
    vrf: Option<&VrfConfig>,
    prefix: Option<IpNet>,
    vifs: &Vifs,
) -> Option<RouteAction> {
    let words = [
        ("blackhole", RouteActionWord::Blackhole),
        ("unreachable", RouteActionWord::Unreachable),
        ("prohibit", RouteActionWord::Prohibit),
    ];
    let action = fields.choice("action", &words);
    let via = next_hops::read(fields, vrf, vifs);
    if fields.has("via") && fields.has("action") {
        let span = fields.span_of("action");
        fields.refuse(&span, "action", "stands beside via", "keep one of the two");
        return None;
    }
    if let Some(action) = action {
        return Some(match action.value {
            RouteActionWord::Blackhole => RouteAction::Blackhole,
            RouteActionWord::Unreachable => RouteAction::Unreachable,
            RouteActionWord::Prohibit => RouteAction::Prohibit,
        });
    }
    if fields.has("action") {
        return None;
    }
    if !fields.has("via") {
        fields.missing("via", "via = [{ address = \"...\" }] or action = \"blackhole\"");
        return None;
    }
    let prefix = prefix?;
    for hop in &via {
        // Through a tunnel packets of either family go, whatever the underlay's is.
        let differs = hop.value.address.is_ipv4() != prefix.addr().is_ipv4();
        if differs && !vifs.is_tunnel(&hop.value.vif) {
            let message = format!("{} is not of the family of {prefix}", hop.value.address);
            fields.refuse(&hop.span, "via", message, "write a next hop of the prefix's family");
        }
    }
    Some(RouteAction::Via(via.into_iter().map(|hop| hop.value).collect()))
}

#[derive(Clone, Copy)]
enum RouteActionWord {
    Blackhole,
    Unreachable,
    Prohibit,
}

pub(super) fn route_lists(
    root: &Fields<'_>,
    vrfs: &Named<VrfConfig>,
    vifs: &Vifs,
    routes: &[At<RouteConfig>],
    base_dir: &Path,
) -> Vec<RouteListConfig> {
    let mut lists: Vec<RouteListConfig> = Vec::new();
    for fields in root.tables("route_list", "[{ ... }]") {
        let vrf = vrfs.find(&fields, "vrf").and_then(|index| vrfs.items().get(index));
        let file = fields
            .need_string("file", "table.txt")
            .filter(|file| check_path(&fields, "file", file, 4095));
        let via = next_hops::read(&fields, vrf, vifs);
        if !fields.has("via") {
            fields.missing("via", "via = [{ address = \"...\" }]");
        }
        let of_family = |v4: bool| -> Vec<_> {
            let hops = via.iter().map(|hop| &hop.value);
            hops.filter(|hop| hop.address.is_ipv4() == v4 || vifs.is_tunnel(&hop.vif))
                .cloned()
                .collect()
        };
        let (via4, via6) = (of_family(true), of_family(false));
        if let (Some(vrf), Some(file)) = (vrf, file) {
            let path = base_dir.join(file.value);
            match lists::read(&path) {
                Err(problems) => {
                    for problem in problems {
                        let help = "fix the list: one prefix a line, # begins a comment";
                        let problem = format!("{}: {problem}", path.display());
                        fields.refuse(&file.span, "file", problem, help);
                    }
                }
                Ok(prefixes) => {
                    let vrf_name = vrf.name.clone();
                    let list = RouteListConfig { vrf: vrf_name, file: path, prefixes, via4, via6 };
                    check_reserved(&fields, &file.span, &list, vrf);
                    check_families(&fields, &list);
                    check_duplicates(&fields, &file.span, &list, vrf, vifs, routes, &lists);
                    lists.push(list);
                }
            }
        }
        fields.finish();
    }
    lists
}

/// What no VRF routes was refused with the list, which is read for all.
fn check_reserved(
    fields: &Fields<'_>,
    span: &Range<usize>,
    list: &RouteListConfig,
    vrf: &VrfConfig,
) {
    let mut refused =
        list.reserved().iter().filter_map(|net| address::unroutable(net, Some(vrf.kind)));
    if let Some(why) = refused.next() {
        fields.refuse(span, "file", format!("{}: {why}", list.file.display()), "remove it");
    }
}

/// Each family that a list has needs a next hop.
fn check_families(fields: &Fields<'_>, list: &RouteListConfig) {
    if !fields.has("via") {
        return;
    }
    // Sorted: IPv4 first.
    let v4 = list.prefixes.first().filter(|net| net.addr().is_ipv4() && list.via4.is_empty());
    let v6 = list.prefixes.last().filter(|net| net.addr().is_ipv6() && list.via6.is_empty());
    for net in v4.into_iter().chain(v6) {
        let family = if net.addr().is_ipv4() { "IPv4" } else { "IPv6" };
        let message =
            format!("the list has {family} prefixes ({net}), but via has no such address");
        let span = fields.span_of("via");
        fields.refuse(&span, "via", message, format!("add an {family} next hop"));
    }
}

/// A prefix has one route in a VRF, wherever it is written.
fn check_duplicates(
    fields: &Fields<'_>,
    span: &Range<usize>,
    list: &RouteListConfig,
    vrf: &VrfConfig,
    vifs: &Vifs,
    routes: &[At<RouteConfig>],
    lists: &[RouteListConfig],
) {
    let has = |net: IpNet| list.prefixes.binary_search(&net).is_ok();
    let refuse = |message: String| {
        fields.refuse(span, "file", message, "keep the prefix in one place");
    };
    for route in routes.iter().filter(|route| route.value.vrf == vrf.name) {
        if has(route.value.prefix) {
            let line = fields.problems.line(&route.span);
            refuse(format!("{} also has a [[route]] on line {line}", route.value.prefix));
        }
    }
    for other in lists.iter().filter(|other| other.vrf == vrf.name) {
        if let Some(net) = first_common(&list.prefixes, &other.prefixes) {
            refuse(format!("{net} is also in {}", other.file.display()));
        }
    }
    for subnet in vifs.subnets(&vrf.name).into_iter().flat_map(Subnets::iter) {
        let nets = [subnet.net, IpNet::from(subnet.own)].into_iter().filter(|net| has(*net));
        nets.filter_map(|net| connected(vifs, subnet, net)).for_each(refuse);
    }
}

/// The first prefix that two sorted lists share.
fn first_common(a: &[IpNet], b: &[IpNet]) -> Option<IpNet> {
    let (mut a, mut b) = (a.iter().peekable(), b.iter().peekable());
    loop {
        match a.peek()?.cmp(b.peek()?) {
            std::cmp::Ordering::Less => a.next(),
            std::cmp::Ordering::Greater => b.next(),
            std::cmp::Ordering::Equal => return a.next().copied(),
        };
    }
}

pub(super) fn neighbors(root: &Fields<'_>, vifs: &Vifs) -> Vec<NeighborConfig> {
    let mut neighbors = Vec::new();
    let mut seen: HashSet<(usize, IpAddr)> = HashSet::new();
    for fields in root.tables("neighbor", "[{ ... }]") {
        let vif = vifs.named.find(&fields, "vif");
        let address = fields.need_parsed::<IpAddr>("address", "10.0.0.2", "an address");
        let mac = fields.need_parsed::<Mac>("mac", "02:00:00:00:00:01", "a MAC address");
        if let Some(mac) = &mac
            && (mac.value.is_group() || mac.value == Mac::default())
        {
            let message = format!("{} is not the MAC of one host", mac.value);
            fields.refuse(&mac.span, "mac", message, "write the neighbor's own MAC address");
        }
        if let Some(vif) =
            vif.and_then(|index| vifs.items().get(index)).filter(|vif| vif.tunnel.is_some())
        {
            let message = format!("vif {:?} has tunnels", vif.name);
            let help = "write the MACs of the other ends in its remotes";
            fields.refuse(&fields.span_of("vif"), "vif", message, help);
        }
        if let (Some(index), Some(address)) = (vif, &address) {
            next_hops::check_on_vif(&fields, "address", address, index, vifs);
            if !seen.insert((index, address.value)) {
                let message = format!("{} is there twice on this VIF", address.value);
                fields.refuse(&address.span, "address", message, "remove one of the two");
            }
        }
        let vif = vif.and_then(|index| vifs.items().get(index));
        if let (Some(vif), Some(address), Some(mac)) = (vif, address, mac) {
            let (address, mac) = (address.value, mac.value);
            neighbors.push(NeighborConfig { vif: vif.name.clone(), address, mac });
        }
        fields.finish();
    }
    neighbors
}

/// How changes of static neighbors are told.
pub(super) fn neighbor_table() -> Table<NeighborConfig, (Arc<str>, IpAddr)> {
    Table {
        key: |neighbor| (neighbor.vif.clone(), neighbor.address),
        name: |neighbor| format!("{} on vif {}", neighbor.address, neighbor.vif),
        detail: |neighbor| neighbor.mac.to_string(),
        change: |a, b| changes(&[("mac", a.mac.to_string(), b.mac.to_string())]),
    }
}
