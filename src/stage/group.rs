//! Next-hop group -> adjacency, and what decides whether a packet may leave by it. The adjacencies themselves are asked
//! for here, so that they are near when [`super::rewrite`] needs them, however many there are.

use super::{Burst, Context, Lanes};
use crate::cpu::prefetch;
use crate::tables::{Facts, NOWHERE, place_vif, rules};

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
        let way = ways.get(burst.to_group[lane] as usize).copied().unwrap_or_default();
        let to = rules::member(c.tables, way, burst.l3(c.pool.area(), lane).octets).index();
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
