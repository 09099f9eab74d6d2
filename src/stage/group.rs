//! Next-hop group -> adjacency, and what decides whether a packet may leave by it. The adjacencies themselves are asked
//! for here, so that they are near when [`super::rewrite`] needs them, however many there are.

use super::{Burst, Context, Lanes};
use crate::cpu::prefetch;
use crate::tables::{Facts, NOWHERE, place_vif};
use crate::wire::ipv4::Ipv4;
use crate::wire::ipv6::Ipv6;

/// Chooses each destination's member by flow, and finds the one way back to each checked source.
#[inline(always)]
pub fn run(burst: &mut Burst, c: &mut Context<'_>) {
    let (ways, facts) = (c.tables.groups.ways(), c.tables.adjacencies.facts());
    let (adjacencies, counters) = (c.tables.adjacencies.as_ptr(), c.counters.vifs().as_ptr());
    let lanes = burst.v4.or(burst.v6).span();
    let mut several = Lanes(0);
    for lane in lanes.clone() {
        let way = ways.get(burst.to_group[lane] as usize);
        // Groups of several members are in no place of the table, nor is what is no group.
        let Some((way, facts)) = way.and_then(|way| Some((way, facts.get(way.index())?))) else {
            several.insert(lane);
            continue;
        };
        leave(burst, lane, way.index(), *facts);
        prefetch(adjacencies.wrapping_add(way.index()));
        prefetch(counters.wrapping_add(place_vif(facts.place)));
    }
    for lane in several {
        let to = match ways.get(burst.to_group[lane] as usize) {
            Some(way) if way.only().is_none() => {
                let flow = flow(burst.l3(c.pool.area(), lane), burst.v4.has(lane));
                c.tables.groups.choose(*way, flow).index()
            }
            _ => 0,
        };
        leave(burst, lane, to, facts.get(to).copied().unwrap_or(Facts::NOWHERE));
    }
    if burst.checked {
        for lane in lanes {
            let way = ways.get(burst.back_group[lane] as usize);
            let back = way.and_then(|way| facts.get(way.index()));
            burst.back_place[lane] = back.map_or(NOWHERE, |back| back.place);
        }
    }
}

/// The packet is to leave by an adjacency.
#[inline(always)]
#[expect(clippy::cast_possible_truncation, reason = "adjacencies have ids of 32 bits")]
fn leave(burst: &mut Burst, lane: usize, adjacency: usize, facts: Facts) {
    burst.adjacency[lane] = adjacency as u32;
    burst.to_place[lane] = facts.place;
    burst.to_rules[lane] = facts.rules;
}

/// Spreads flows: the same flow always gives the same number, near flows give far numbers.
fn flow(packet: &[u8], is_v4: bool) -> u32 {
    let (addresses, ports) = if is_v4 {
        let Ok(packet) = Ipv4::parse(packet) else { return 0 };
        let addresses = packet.source() ^ packet.destination().rotate_left(16);
        (addresses, packet.ports() ^ u32::from(packet.protocol()))
    } else {
        let Ok(packet) = Ipv6::parse(packet) else { return 0 };
        let addresses = fold(packet.source()) ^ fold(packet.destination()).rotate_left(16);
        (addresses, packet.ports() ^ packet.flow_label())
    };
    let mixed = u64::from(addresses).wrapping_mul(0x9e37_79b9_7f4a_7c15)
        ^ u64::from(ports).wrapping_mul(0xc2b2_ae3d_27d4_eb4f);
    (mixed >> 32) as u32
}

/// 128 bits in 32.
fn fold(address: u128) -> u32 {
    let [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p] = address.to_be_bytes();
    u32::from_be_bytes([a, b, c, d])
        ^ u32::from_be_bytes([e, f, g, h])
        ^ u32::from_be_bytes([i, j, k, l])
        ^ u32::from_be_bytes([m, n, o, p])
}
