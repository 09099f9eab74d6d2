//! The addresses that a packet may have which is forwarded.

use std::net::Ipv4Addr;

use ipnet::{IpNet, Ipv4Net};

use super::super::rules::{LINK_LOCAL, NO_HOSTS, RESERVED, broadcast};
use super::super::{Snapshot, Vif, VifId, Vrf, VrfId};
use super::family;
use super::spans::{Span, apart};

/// Which addresses a packet of a VRF may have that is forwarded.
pub(super) struct Hosts<'a> {
    tables: &'a Snapshot,
    /// By family, those that no host has or that stay on their link: [`apart`].
    pub none: [Vec<Span>; 2],
}

impl<'a> Hosts<'a> {
    pub fn of(tables: &'a Snapshot, vrf: VrfId) -> Hosts<'a> {
        let vrf = tables.vrfs.get(vrf.index()).and_then(Option::as_ref);
        let named = vrf.map_or(&[][..], |vrf: &Vrf| &vrf.reserved);
        let named: Vec<Span> = named.iter().map(|net| Span::of(&IpNet::V4(*net))).collect();
        let mut none: [Vec<Span>; 2] = Default::default();
        for net in NO_HOSTS.iter().map(|(net, _)| net).chain(&LINK_LOCAL) {
            let of = &mut none[family(net)];
            match *net == IpNet::V4(RESERVED) {
                true => of.extend(Span::of(net).without(&named)),
                false => of.push(Span::of(net)),
            }
        }
        // It is in RESERVED, and nobody's whatever a VRF names.
        none[0].push(Span::of(&Ipv4Net::from(Ipv4Addr::BROADCAST).into()));
        Hosts { tables, none: none.map(apart) }
    }

    /// The parts of a route's span that can be source and destination of what is forwarded. Of 169.254/16 these are the
    /// subnets of the VIFs that the route's members are on (RFC 3927 2.7; the stage `resolve` says why).
    pub fn of_route(&self, family: usize, span: Span, on: &[VifId]) -> impl Iterator<Item = Span> {
        let link = span.and(Span::of(&LINK_LOCAL[0])).filter(|_| family == 0);
        let on_link = link.map(|link| {
            let vifs = on.iter().filter_map(|id| self.tables.vif(*id));
            apart(vifs.flat_map(|vif| on_subnets(vif, link)).collect())
        });
        span.without(&self.none[family]).chain(on_link.into_iter().flatten())
    }
}

/// The IPv4 addresses of a span that hosts on the VIF's subnets may have.
fn on_subnets(vif: &Vif, span: Span) -> Vec<Span> {
    let of_v4 = vif.addresses.iter().filter(|net| family(net) == 0);
    let broadcasts = of_v4.clone().filter_map(broadcast).map(|to| Span::of(&to.into()));
    let broadcasts = apart(broadcasts.collect());
    let parts = of_v4.filter_map(|net| span.and(Span::of(net)));
    parts.flat_map(|part| part.without(&broadcasts).collect::<Vec<_>>()).collect()
}
