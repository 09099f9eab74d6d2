//! The `via` of a route: a weighted set of neighbors, each on a subnet that a VIF of the VRF is
//! connected to.

use std::net::IpAddr;

use super::address;
use super::fields::{At, Fields};
use super::model::{NextHop, VrfConfig};
use super::vifs::{Vifs, leads_to};
use crate::tables::group::BUCKETS;
use crate::wire::ipv6::is_link_local;

/// The largest weight of a next hop; one with 0 is a backup.
pub(crate) const MAX_WEIGHT: u16 = 64;

/// The next hops of a route or list. Without `via` there are none, and nothing is reported.
pub(super) fn read(fields: &Fields<'_>, vrf: Option<&VrfConfig>, vifs: &Vifs) -> Vec<At<NextHop>> {
    let mut hops: Vec<At<NextHop>> = Vec::new();
    let members = fields.tables("via", "[{ address = \"...\" }]");
    if fields.is_empty_array("via") {
        let help = "write via = [{ address = \"...\" }], or action = \"blackhole\"";
        fields.refuse(&fields.span_of("via"), "via", "leads nowhere", help);
    }
    // One more than can pass is enough to refuse the rest.
    for member in members.into_iter().take(BUCKETS + 1) {
        let address = member.need_parsed::<IpAddr>("address", "10.0.0.2", "an address");
        let weight = member.integer("weight", 0..=MAX_WEIGHT).map_or(1, |weight| weight.value);
        let vif = member.string("vif").map(|name| vifs.named.find_name(&member, "vif", &name));
        if let (Some(vrf), Some(address)) = (vrf, address)
            && let Some(vif) = egress(&member, vrf, &address, vif, vifs)
        {
            let hop = NextHop { vif, address: address.value, weight };
            if hops
                .iter()
                .any(|other| other.value.address == hop.address && other.value.vif == hop.vif)
            {
                let message = format!("{} is there twice", hop.address);
                member.refuse(&address.span, "address", message, "write it once, with a weight");
            }
            hops.push(At { value: hop, span: address.span });
        }
        member.finish();
    }
    check_weights(fields, &hops);
    hops
}

/// What is wrong with the weights of a group, and what to write. A group has [`BUCKETS`] buckets: a member whose share is
/// less than one would get no traffic. Those with weight 0 are backups.
pub(crate) fn wrong_weights(weights: impl Iterator<Item = u16>) -> Option<(String, String)> {
    let (mut least, mut total, mut members) = (usize::MAX, 0, 0);
    for weight in weights.map(usize::from) {
        members += 1;
        total += weight;
        least = if weight == 0 { least } else { least.min(weight) };
    }
    if members > 0 && total == 0 {
        let help = "give those that are to carry traffic a weight of 1 or more";
        return Some(("all are backups: their weights are 0".to_owned(), help.to_owned()));
    }
    let help = || format!("use at most {BUCKETS} members and weights closer to each other");
    (total > 0 && least * BUCKETS < total)
        .then(|| (format!("a member's share is less than 1/{BUCKETS}"), help()))
}

fn check_weights(fields: &Fields<'_>, hops: &[At<NextHop>]) {
    for v4 in [true, false] {
        let family = hops.iter().filter(|hop| hop.value.address.is_ipv4() == v4);
        if let Some((message, help)) = wrong_weights(family.map(|hop| hop.value.weight)) {
            fields.refuse(&fields.span_of("via"), "via", message, help);
        }
    }
}

/// The VIF that a next hop is reached by. `named` is what the member's `vif` says, if it has one.
fn egress(
    member: &Fields<'_>,
    vrf: &VrfConfig,
    address: &At<IpAddr>,
    named: Option<Option<usize>>,
    vifs: &Vifs,
) -> Option<std::sync::Arc<str>> {
    let index = match named {
        Some(named) => named?,
        None if is_link_local(address.value) => {
            member.missing("vif", "vif = \"NAME\": a link-local address is on every VIF");
            return None;
        }
        None => {
            let subnet = vifs.subnets(&vrf.name).and_then(|subnets| subnets.of(address.value));
            let at = subnet.map(|subnet| subnet.vif);
            let at = at.or_else(|| vifs.leading_to(address.value, &vrf.name));
            if at.is_none() && !vifs.named.broken {
                let message = format!("{} is on no subnet of vrf {:?}", address.value, vrf.name);
                let help = "write the address of a neighbor on a VIF of that VRF, or of a VTEP that one has a tunnel to";
                member.refuse(&address.span, "address", message, help);
            }
            at?
        }
    };
    let vif = vifs.items().get(index)?;
    if vif.vrf != vrf.name {
        let message =
            format!("vif {:?} is in vrf {:?}, the route in {:?}", vif.name, vif.vrf, vrf.name);
        member.refuse(&member.span_of("vif"), "vif", message, "use a VIF of the route's VRF");
        return None;
    }
    check_on_vif(member, "address", address, index, vifs).then(|| vif.name.clone())
}

/// Whether `address` can be a neighbor on a VIF; reports why not.
pub(super) fn check_on_vif(
    fields: &Fields<'_>,
    key: &'static str,
    address: &At<IpAddr>,
    vif: usize,
    vifs: &Vifs,
) -> bool {
    let Some(vif) = vifs.items().get(vif) else { return false };
    let refuse = |message: String, help: &str| {
        fields.refuse(&address.span, key, message, help);
        false
    };
    if vif.tunnel.is_some() {
        if leads_to(vif, address.value) || vifs.named.broken {
            return true;
        }
        let message = format!("vif {:?} has no tunnel to {}", vif.name, address.value);
        return refuse(message, "write the address of one of its remotes");
    }
    if vif.addresses.iter().any(|own| own.addr() == address.value) {
        let message = format!("{} is the router's own address", address.value);
        return refuse(message, "write the neighbor's address");
    }
    if is_link_local(address.value) {
        return true;
    }
    match vif.addresses.iter().find(|own| own.contains(&address.value)) {
        Some(subnet) => match address::not_a_host(address.value, subnet) {
            Some(why) => refuse(why, "write the address of one host"),
            None => true,
        },
        None if vifs.named.broken => false,
        None => {
            let message = format!("{} is on no subnet of vif {:?}", address.value, vif.name);
            refuse(message, "write an address of one of its subnets")
        }
    }
}
