//! Limits of addresses, as [`crate::tables::address_limit`] says. They come behind all checks, and before the bandwidths of
//! VIFs ([`super::meter`]): what one address has too much of uses up nothing of what the VIF has for all others. Addresses
//! are those that the VRF knows: outside of translations.

use super::meter::{marked, sent_octets};
use super::{Burst, Column, Context, Lanes};
use crate::port::BURST;
use crate::tables::address_limit::Slot;
use crate::tables::{AddressLimit, AdjacencyId, Direction, DropReason, Facts, Ingress, place_vif};

/// Drops the lanes that are to be forwarded and exceed what their addresses have.
#[inline(always)]
pub fn run(burst: &mut Burst, c: &mut Context<'_>) {
    if burst.limited {
        let lanes = marked(burst.live, &burst.rules, Ingress::LIMITED);
        let exceeded = exceeding(burst, c, lanes, Direction::Rx, &burst.octets);
        exceeded.for_each(|lane| burst.drop(lane, DropReason::AddressLimitExceeded));
    }
    let to = burst.to_rules[burst.live.span()].iter();
    if c.tables.address_limits.send && to.fold(0, |any, rules| any | rules) & Facts::METERED != 0 {
        let lanes = marked(burst.live, &burst.to_rules, Facts::METERED);
        let exceeded = exceeding(burst, c, lanes, Direction::Tx, &sent_octets(burst, lanes));
        exceeded.for_each(|lane| burst.drop(lane, DropReason::EgressAddressLimitExceeded));
    }
}

/// Of these lanes, those for whose octets an address has no room: the others' are taken.
#[inline(never)]
fn exceeding(
    burst: &Burst,
    c: &Context<'_>,
    lanes: Lanes,
    direction: Direction,
    octets: &Column,
) -> Lanes {
    // Nothing is taken for what is only explained.
    if c.counters.vifs().is_empty() {
        return Lanes(0);
    }
    let mut exceeded = Lanes(0);
    // Buckets are found, and asked for, before the first is needed.
    let mut firsts: [Option<Slot<'_>>; BURST] = [None; BURST];
    for lane in lanes {
        let first = limits(burst, c, lane, direction).first();
        firsts[lane % BURST] = first.and_then(|limit| slot(burst, lane, limit));
    }
    for lane in lanes {
        let cost = u64::from(octets[lane] + c.tables.meters.overhead);
        let others = limits(burst, c, lane, direction).get(1..).unwrap_or_default();
        let others = others.iter().filter_map(|limit| slot(burst, lane, limit));
        if !takes(firsts[lane % BURST].into_iter().chain(others), cost, c.now) {
            exceeded.insert(lane);
        }
    }
    exceeded
}

/// The limits over a lane in a direction.
#[inline(always)]
fn limits<'a>(
    burst: &Burst,
    c: &Context<'a>,
    lane: usize,
    direction: Direction,
) -> &'a [std::sync::Arc<AddressLimit>] {
    let place = match direction {
        Direction::Rx => burst.place[lane],
        Direction::Tx => burst.to_place[lane],
    };
    c.tables.address_limits.of(place_vif(place), direction)
}

/// The bucket of a lane's address.
#[inline(always)]
fn slot<'a>(burst: &Burst, lane: usize, limit: &'a AddressLimit) -> Option<Slot<'a>> {
    if burst.v4.has(lane) {
        let addresses = &burst.v4_addresses;
        limit.slot4(addresses.source[lane], addresses.destination[lane])
    } else {
        let addresses = &burst.v6_addresses;
        limit.slot6(addresses.source[lane], addresses.destination[lane])
    }
}

/// Takes octets of all buckets, or of none.
#[inline(always)]
fn takes<'a>(slots: impl Iterator<Item = Slot<'a>> + Clone, octets: u64, now_ns: u64) -> bool {
    let refuses = slots.clone().position(|slot| !slot.take(octets, now_ns));
    if let Some(refuses) = refuses {
        slots.take(refuses).for_each(|slot| slot.give_back(octets));
    }
    refuses.is_none()
}

/// What a lane exceeds that the slow path is to forward: it counts as it came, whatever becomes of it.
pub(super) fn exceeds(burst: &Burst, c: &Context<'_>, lane: usize) -> Option<DropReason> {
    let to = c.tables.adjacency(AdjacencyId(burst.adjacency[lane])).vif.index();
    let cost = u64::from(burst.octets[lane] + c.tables.meters.overhead);
    let is_over = |vif, direction| {
        let limits = c.tables.address_limits.of(vif, direction).iter();
        let slots = limits.filter_map(|limit| slot(burst, lane, limit));
        !c.counters.vifs().is_empty() && !takes(slots, cost, c.now)
    };
    if is_over(place_vif(burst.place[lane]), Direction::Rx) {
        return Some(DropReason::AddressLimitExceeded);
    }
    is_over(to, Direction::Tx).then_some(DropReason::EgressAddressLimitExceeded)
}
