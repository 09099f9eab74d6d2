//! Top talkers: some packets of VIFs that keep track of their largest addresses, for the thread that does so. A worker that
//! looks for none pays for one look per burst.
//!
//! A packet that is forwarded is looked at once for the VIF by which it came and once for that by which it leaves, where
//! these want it: one of so many, each chosen by itself (uniform probabilistic sampling, RFC 5475 5.2.2.2). How many are
//! passed over follows each VIF's traffic, so that some hundred packets a second are looked at: all of a VIF that has no
//! more, and no more of one that is flooded. Each packet says of how many it is one, and so octets that are made of them are
//! neither too many nor too few on average.

mod channel;

use std::sync::Arc;

use super::flows::next;
use crate::port::BURST;
use crate::stage::Burst;
use crate::tables::{Direction, Facts, Ingress, Snapshot, VifId, place_vif};
pub use channel::{Seen, TalkerChannel};

/// Between two looks at how many packets of a VIF were looked at.
const SLOT_NS: u64 = 100_000_000;
/// More packets in a slot make for half as many; fewer for twice as many.
const MOST: u32 = 64;
const LEAST: u32 = 24;
/// One of 2^16 packets is looked at, at least.
const MAX_STEPS: u32 = 16;

/// The packets of one direction of a VIF.
#[derive(Clone, Copy, Debug, Default)]
struct Skip {
    /// Packets until the next one; 0: none is looked at.
    left: u32,
    /// One of so many is looked at, as a power of two.
    steps: u32,
    /// Packets that were, since that changed or the slot began.
    taken: u32,
}

/// What a worker looks for.
#[derive(Debug)]
pub struct Talkers {
    channel: Arc<TalkerChannel>,
    /// By VIF and direction.
    skips: Box<[[Skip; 2]]>,
    /// VIFs that keep track.
    wanted: Vec<VifId>,
    /// The tables that say so.
    generation: u64,
    slot_ns: u64,
    random: u32,
}

impl Talkers {
    /// For so many VIFs. `seed`: random.
    pub fn new(vifs: usize, channel: Arc<TalkerChannel>, seed: u64) -> Talkers {
        Talkers {
            channel,
            skips: vec![[Skip::default(); 2]; vifs].into(),
            wanted: Vec::with_capacity(vifs),
            generation: u64::MAX,
            slot_ns: 0,
            random: u32::try_from(seed >> 32).unwrap_or(1).max(1),
        }
    }

    /// Looks at packets of a burst whose verdicts have been carried out, by these tables.
    #[inline(always)]
    pub(super) fn look(&mut self, burst: &Burst, tables: &Snapshot, now: u64) {
        let all = burst.live.span();
        let came = burst.rules[all.clone()].iter().fold(0, |all, rules| all | rules);
        let leave = burst.to_rules[all].iter().fold(0, |all, rules| all | rules);
        if came & Ingress::LOGGED | leave & Facts::LOGGED != 0 {
            self.count(burst, tables, now);
        }
    }

    #[inline(never)]
    fn count(&mut self, burst: &Burst, tables: &Snapshot, now: u64) {
        if tables.generation != self.generation {
            self.follow(tables);
        }
        if now.saturating_sub(self.slot_ns) >= SLOT_NS {
            self.renew(now);
        }
        for lane in burst.live {
            if burst.rules[lane % BURST] & Ingress::LOGGED != 0 {
                self.pass(burst, tables, lane, Direction::Rx);
            }
            if burst.to_rules[lane % BURST] & Facts::LOGGED != 0 {
                self.pass(burst, tables, lane, Direction::Tx);
            }
        }
    }

    /// Passes over a packet, or looks at it.
    #[inline(always)]
    fn pass(&mut self, burst: &Burst, tables: &Snapshot, lane: usize, direction: Direction) {
        let place = match direction {
            Direction::Rx => burst.place[lane],
            Direction::Tx => burst.to_place[lane],
        };
        let Some(skips) = self.skips.get_mut(place_vif(place)) else { return };
        let skip = &mut skips[direction as usize];
        match skip.left {
            0 => {}
            1 => self.take(burst, tables, lane, direction, place_vif(place)),
            left => skip.left = left - 1,
        }
    }

    /// Hands a packet over.
    #[cold]
    fn take(
        &mut self,
        burst: &Burst,
        tables: &Snapshot,
        lane: usize,
        direction: Direction,
        vif: usize,
    ) {
        let (Ok(id), Ok(to)) = (u16::try_from(vif), u16::try_from(place_vif(burst.to_place[lane])))
        else {
            return;
        };
        let (v4, v6) = (&burst.v4_addresses, &burst.v6_addresses);
        let is_v4 = burst.v4.has(lane);
        let [source, destination] = match is_v4 {
            true => [v4.source[lane].into(), v4.destination[lane].into()],
            false => [v6.source[lane], v6.destination[lane]],
        };
        let octets = match direction {
            Direction::Rx => burst.octets[lane],
            Direction::Tx => burst.to_octets[lane],
        };
        let skip = &mut self.skips[vif][direction as usize];
        let seen = Seen {
            generation: tables.generation,
            vif: VifId(id),
            to: VifId(to),
            direction,
            is_v4,
            source,
            destination,
            octets,
            interval: 1 << skip.steps,
        };
        skip.taken += 1;
        let is_full = !self.channel.send(seen);
        if (skip.taken > MOST || is_full) && skip.steps < MAX_STEPS {
            (skip.steps, skip.taken) = (skip.steps + 1, MOST / 2);
        }
        skip.left = gap(skip.steps, &mut self.random);
    }

    /// A slot has passed, or several: of VIFs of which few packets were looked at more are.
    #[cold]
    fn renew(&mut self, now: u64) {
        let slots = now.saturating_sub(self.slot_ns) / SLOT_NS;
        self.slot_ns = now;
        for id in &self.wanted {
            let Some(skips) = self.skips.get_mut(id.index()) else { continue };
            for skip in skips {
                let idle = u32::try_from(slots - 1).unwrap_or(u32::MAX);
                let finer = idle.saturating_add(u32::from(skip.taken < LEAST)).min(skip.steps);
                if finer > 0 {
                    skip.steps -= finer;
                    // What is to come is as likely as if it began now: the gaps have no memory.
                    skip.left = gap(skip.steps, &mut self.random);
                }
                skip.taken = 0;
            }
        }
    }

    /// Follows other tables.
    #[cold]
    fn follow(&mut self, tables: &Snapshot) {
        self.generation = tables.generation;
        for id in self.wanted.drain(..) {
            if !tables.vif(id).is_some_and(|vif| vif.top_talkers) {
                self.skips[id.index()] = Default::default();
            }
        }
        for (id, _) in tables.vifs_by_id().filter(|(_, vif)| vif.top_talkers) {
            let Some(skips) = self.skips.get_mut(id.index()) else { continue };
            // There is room for all.
            self.wanted.push(id);
            for skip in skips.iter_mut().filter(|skip| skip.left == 0) {
                *skip = Skip { left: 1, ..Skip::default() };
            }
        }
    }
}

/// Packets until the next one that is looked at, that one counted, where each is with a chance of one in 2^`steps`: the gaps
/// between the successes of independent trials are geometric (Devroye, "Non-Uniform Random Variate Generation", X.2).
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "22 times the interval at most, and not below 0"
)]
fn gap(steps: u32, random: &mut u32) -> u32 {
    if steps == 0 {
        return 1;
    }
    let uniform = (f64::from(next(random)) + 1.0) / f64::from(u32::MAX);
    let scale = (-1.0 / f64::from(1_u32 << steps)).ln_1p();
    1 + (uniform.ln() / scale) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each packet is looked at with the chance that is said, and whether the one before was tells nothing.
    #[test]
    fn gaps_are_geometric() {
        let mut random = 0x1234_5678;
        for steps in [0, 1, 4, 10] {
            let (draws, interval) = (200_000_u32, f64::from(1_u32 << steps));
            let gaps: Vec<f64> = (0..draws).map(|_| gap(steps, &mut random).into()).collect();
            let mean = gaps.iter().sum::<f64>() / f64::from(draws);
            let alone = gaps.iter().filter(|gap| **gap == 1.0).count() as f64 / f64::from(draws);
            let spread = (interval * (interval - 1.0) / f64::from(draws)).sqrt();
            assert!((mean - interval).abs() <= 4.0 * spread, "1:{interval}: {mean}");
            let chance = 1.0 / interval;
            let spread = (chance * (1.0 - chance) / f64::from(draws)).sqrt();
            assert!((alone - chance).abs() <= 4.0 * spread, "1:{interval}: {alone}");
        }
    }
}
