//! The router's addresses on a VIF, its own link-local one included, the peers that it speaks to, and who may be its
//! neighbor.

use std::collections::{BTreeSet, HashMap};
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;

use ipnet::{IpNet, Ipv6Net};

use super::state::State;
use crate::config::model::{Config, RouteAction, VifConfig};
use crate::tables::rules::{is_on_link, is_on_subnet, is_router};
use crate::tables::{Vif, VifId};
use crate::wire::ethernet::Mac;
use crate::wire::ipv6::is_link_local;

/// The smallest MTU that IPv6 runs on (RFC 8200 5).
const MIN_MTU_IPV6: u16 = 1280;

/// The configured addresses, and a link-local one if none is among them and IPv6 can run.
pub(super) fn addresses(vif: &VifConfig, mac: Mac) -> Arc<[IpNet]> {
    let mut addresses = vif.addresses.clone();
    if vif.mtu >= MIN_MTU_IPV6 && !addresses.iter().any(|net| is_link_local(net.addr())) {
        addresses.push(link_local(mac));
    }
    addresses.into()
}

/// The next hops of static routes, by the name of their VIF.
pub(super) struct NextHops<'a>(HashMap<&'a str, BTreeSet<IpAddr>>);

impl<'a> NextHops<'a> {
    /// Those of a configuration.
    pub(super) fn of(config: &'a Config) -> NextHops<'a> {
        let routes = config.routes.iter().filter_map(|route| match &route.action {
            RouteAction::Via(next_hops) => Some(next_hops),
            _ => None,
        });
        let lists = config.route_lists.iter().flat_map(|list| [&list.via4, &list.via6]);
        let mut all: HashMap<&str, BTreeSet<IpAddr>> = HashMap::new();
        for next_hop in routes.chain(lists).flatten() {
            all.entry(&next_hop.vif).or_default().insert(next_hop.address);
        }
        NextHops(all)
    }

    /// Whose BGP and BFD the VIF listens to: the peers of its sessions, and with BFD its static routes'
    /// next hops.
    pub(super) fn peers(&self, vif: &VifConfig) -> Arc<[IpAddr]> {
        let mut peers: BTreeSet<IpAddr> = vif.bgp.iter().map(|session| session.peer).collect();
        if vif.bfd.is_some() {
            peers.extend(self.0.get(&*vif.name).into_iter().flatten());
        }
        peers.into_iter().collect()
    }
}

/// The link-local address of a MAC, by modified EUI-64 (RFC 4291 appendix A).
fn link_local(Mac([a, b, c, d, e, f]): Mac) -> IpNet {
    let pair = |high, low| u16::from_be_bytes([high, low]);
    let address =
        Ipv6Addr::new(0xfe80, 0, 0, 0, pair(a ^ 2, b), pair(c, 0xff), pair(0xfe, d), pair(e, f));
    IpNet::V6(Ipv6Net::new_assert(address, 64))
}

impl State {
    /// Whether a neighbor of this address on this VIF gets a host route: a unicast address of a
    /// connected subnet that is not the router's own, not even as anycast. Link-local IPv6 addresses are not unique in
    /// a VRF and never enter the FIB.
    pub fn takes_host_route(&self, id: VifId, address: IpAddr) -> bool {
        let takes = |vif: &Vif| {
            !is_link_local(address) && is_on_subnet(vif, address) && !is_router(vif, address)
        };
        self.tables.vif(id).is_some_and(|vif| vif.up && takes(vif))
    }

    /// The length of the connected subnet that a neighbor on a VIF is in.
    pub fn subnet_length(&self, id: VifId, address: IpAddr) -> u8 {
        let vif = self.tables.vif(id);
        let subnets = vif.into_iter().flat_map(|vif| vif.addresses.iter());
        subnets.filter(|net| net.contains(&address)).map(IpNet::prefix_len).max().unwrap_or(0)
    }

    /// Whether a learned neighbor of this address on this VIF can be.
    pub fn takes_neighbor(&self, id: VifId, address: IpAddr) -> bool {
        let takes = |vif: &Vif| is_on_link(vif, address) && !is_router(vif, address);
        self.tables.vif(id).is_some_and(|vif| vif.up && takes(vif))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn link_local_by_eui_64() {
        let mac = "02:00:5e:10:00:01".parse().unwrap();
        assert_eq!(link_local(mac).to_string(), "fe80::5eff:fe10:1/64");
    }
}
