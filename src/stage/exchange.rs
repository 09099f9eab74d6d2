//! Exchanges: a packet whose route is a permit is looked up in the VRF that the permit names, and is to leave by an
//! adjacency of that one. What the exchange does not let pass stays at its permit, of which `resolve` tells.

use std::net::{Ipv4Addr, Ipv6Addr};

use super::{Burst, Context, Lanes, WIDTH};
use crate::tables::rules::cross;
use crate::tables::{
    AdjacencyId, AdjacencyKind, ExchangeId, Facts, GroupId, NOWHERE, Snapshot, VrfId,
};

/// Leads such lanes on. Costs nothing where the station has no exchange.
#[inline(always)]
pub fn run(burst: &mut Burst, c: &mut Context<'_>) {
    burst.exchanged = Lanes(0);
    if c.tables.exchanges.is_empty() {
        return;
    }
    let lanes = burst.v4.or(burst.v6);
    let mut sends = [0; WIDTH];
    for lane in lanes.eights() {
        sends[lane] = burst.to_place[lane] ^ NOWHERE;
    }
    for lane in burst.live.and(lanes).and(Lanes::zero(&sends)) {
        let to = c.tables.adjacency(AdjacencyId(burst.adjacency[lane]));
        if let AdjacencyKind::Exchange(exchange) = to.kind {
            pass(burst, c, lane, exchange);
        }
    }
}

/// Looks a lane up behind a permit.
fn pass(burst: &mut Burst, c: &Context<'_>, lane: usize, exchange: ExchangeId) {
    let tables: &Snapshot = c.tables;
    let importer = burst.vif(lane).and_then(|id| tables.vif(id)).map(|vif| vif.vrf);
    let fib = |vrf: VrfId, address| GroupId(c.fib.lookup(vrf.0.into(), address));
    let packet = burst.l3(c.pool.area(), lane).octets;
    let ends = if burst.v4.has(lane) {
        let addresses = &burst.v4_addresses;
        [addresses.source[lane], addresses.destination[lane]].map(|a| Ipv4Addr::from_bits(a).into())
    } else {
        let addresses = &burst.v6_addresses;
        [addresses.source[lane], addresses.destination[lane]].map(|a| Ipv6Addr::from_bits(a).into())
    };
    let to = importer.and_then(|importer| cross(tables, exchange, importer, ends, packet, fib));
    let Some(to) = to else { return };
    let facts = tables.adjacencies.facts().get(to.index()).copied().unwrap_or(Facts::NOWHERE);
    burst.exchanged.insert(lane);
    burst.permit[lane] = exchange.0.into();
    burst.adjacency[lane] = to.0;
    burst.to_place[lane] = facts.place;
    burst.to_rules[lane] = facts.rules;
}
