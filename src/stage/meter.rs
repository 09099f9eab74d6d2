//! Bandwidth: what a VIF receives and sends is policed by octets, as [`crate::tables::meter`] says. It comes behind all
//! checks: what is dropped for another reason uses up nothing. The work of two stages, [`super::meter_in`] and
//! [`super::meter_out`].

use super::{Burst, Column, Context, Lanes, WIDTH};
use crate::port::BURST;
use crate::tables::counters::{MeterCounters, VifCounters};
use crate::tables::{AdjacencyId, Direction, DropReason, Facts, Ingress, VifId, place_vif};
use crate::wire::ethernet::MIN_PAYLOAD;

/// Nobody is refused for longer than this, so that a rate that is raised holds at once.
const LONGEST_DENIAL_NS: u64 = 10_000_000;

/// Drops the lanes that are to be forwarded and exceed what the VIFs have by which they came.
#[inline(always)]
pub(super) fn received(burst: &mut Burst, c: &Context<'_>) {
    if burst.metered {
        let lanes = marked(burst.live, &burst.rules, Ingress::METERED);
        let exceeded = exceeding(c, lanes, Direction::Rx, &burst.place, &burst.octets);
        exceeded.for_each(|lane| burst.drop(lane, DropReason::BandwidthExceeded));
    }
}

/// Drops the lanes that exceed what the VIFs have by which they are to leave.
#[inline(always)]
pub(super) fn sent(burst: &mut Burst, c: &Context<'_>) {
    let to = burst.to_rules[burst.live.span()].iter();
    if c.tables.meters.send && to.fold(0, |any, rules| any | rules) & Facts::METERED != 0 {
        let lanes = marked(burst.live, &burst.to_rules, Facts::METERED);
        let octets = sent_octets(burst, lanes);
        let exceeded = exceeding(c, lanes, Direction::Tx, &burst.to_place, &octets);
        exceeded.for_each(|lane| burst.drop(lane, DropReason::EgressBandwidthExceeded));
    }
}

/// Octets of the frames that these lanes are to leave as, without their tunnels.
#[inline(always)]
pub(super) fn sent_octets(burst: &Burst, lanes: Lanes) -> Column {
    let mut octets = [0; WIDTH];
    for i in lanes.eights() {
        octets[i] = to_send(burst, i);
    }
    octets
}

/// The same of one lane.
#[inline(always)]
#[expect(clippy::cast_possible_truncation, reason = "46 octets")]
pub(super) fn to_send(burst: &Burst, lane: usize) -> u32 {
    Facts::l2_len(burst.to_rules[lane]) + burst.ip_len[lane].max(MIN_PAYLOAD as u32)
}

/// The lanes of a full burst.
const WHOLE: Lanes = Lanes::first(BURST);

/// Of these lanes, those that have the flag.
#[inline(always)]
pub(super) fn marked(lanes: Lanes, rules: &[u32; WIDTH], flag: u32) -> Lanes {
    // Mostly all of a full burst.
    if lanes == WHOLE && rules[..BURST].iter().fold(flag, |all, rules| all & rules) != 0 {
        return WHOLE;
    }
    let mut without = [0; WIDTH];
    for i in lanes.eights() {
        without[i] = !rules[i] & flag;
    }
    lanes.and(Lanes::zero(&without))
}

/// Of these lanes, those for whose octets there is no room: the others' are taken.
#[inline(always)]
fn exceeding(
    c: &Context<'_>,
    lanes: Lanes,
    direction: Direction,
    places: &[u32; WIDTH],
    octets: &[u32; WIDTH],
) -> Lanes {
    let (vifs, overhead) = (c.counters.vifs(), c.tables.meters.overhead);
    let mut exceeded = Lanes(0);
    let mut one = |lane: usize, cost: u32| {
        if !spend(vifs, place_vif(places[lane]), direction, cost.into())
            && !renew_lane(c, places, lane, direction, cost.into())
        {
            exceeded.insert(lane);
        }
    };
    if lanes == WHOLE {
        let mut costs = [0; BURST];
        for (cost, octets) in costs.iter_mut().zip(octets) {
            *cost = octets + overhead;
        }
        // Eight a turn: of twelve instructions a frame three were the loop's.
        for (eight, costs) in costs.as_chunks::<8>().0.iter().enumerate() {
            for (next, &cost) in costs.iter().enumerate() {
                one(8 * eight + next, cost);
            }
        }
    } else {
        lanes.for_each(|lane| one(lane, octets[lane] + overhead));
    }
    exceeded
}

/// Takes a frame's octets from what the worker has of the VIF's. False where it has less.
#[inline(always)]
fn spend(vifs: &[VifCounters], vif: usize, direction: Direction, cost: u64) -> bool {
    let Some(counters) = vifs.get(vif) else { return false };
    let leased = &counters.leased[direction as usize];
    let left = leased.get().checked_sub(cost);
    left.inspect(|left| leased.set(*left)).is_some()
}

/// [`renew`] for a lane, so that the loop need not keep which VIF it was.
#[cold]
#[inline(never)]
fn renew_lane(
    c: &Context<'_>,
    places: &[u32; WIDTH],
    lane: usize,
    direction: Direction,
    cost: u64,
) -> bool {
    renew(c, place_vif(places[lane]), direction, cost)
}

/// Gets another lease and spends `cost` octets of it. False, and counted as exceeded, where none is to be had.
fn renew(c: &Context<'_>, vif: usize, direction: Direction, cost: u64) -> bool {
    let (Some(counters), Ok(id)) = (c.counters.vifs().get(vif), u16::try_from(vif)) else {
        return true;
    };
    let leased = &counters.leased[direction as usize];
    let meter: &MeterCounters = &counters.rare.meters[direction as usize];
    if c.now >= meter.denied_until.get() {
        let left = leased.get();
        match c.tables.meters.lease(VifId(id), direction, cost.saturating_sub(left), c.now) {
            Ok(lease) => {
                meter.leased.add(lease.octets);
                meter.committed.add(if lease.committed { lease.octets } else { 0 });
                leased.set(left + lease.octets - cost);
                return true;
            }
            Err(until) => meter.denied_until.set(until.min(c.now + LONGEST_DENIAL_NS)),
        }
    }
    meter.exceeded_frames.add(1);
    meter.exceeded_octets.add(cost);
    false
}

/// What a lane exceeds that the slow path is to forward: it counts as it came, whatever becomes of it.
pub(super) fn exceeds(burst: &Burst, c: &Context<'_>, lane: usize) -> Option<DropReason> {
    let to = c.tables.adjacency(AdjacencyId(burst.adjacency[lane]));
    let cost = u64::from(burst.octets[lane] + c.tables.meters.overhead);
    let is_over = |vif, direction| {
        !spend(c.counters.vifs(), vif, direction, cost) && !renew(c, vif, direction, cost)
    };
    let received = burst.rules[lane] & Ingress::METERED != 0;
    if received && is_over(place_vif(burst.place[lane]), Direction::Rx) {
        return Some(DropReason::BandwidthExceeded);
    }
    (to.metered && is_over(to.vif.index(), Direction::Tx))
        .then_some(DropReason::EgressBandwidthExceeded)
}
