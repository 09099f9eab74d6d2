//! Sampling where no VIF logs more than a few packets: how many packets are passed over until the next one that may be
//! logged is drawn at once, instead of a number for each packet. The gaps between the successes of independent trials are
//! geometric (Devroye, "Non-Uniform Random Variate Generation", X.2), so every packet is still chosen by itself.

use super::{Noted, next};
use crate::cpu::eights::Words;
use crate::stage::{Burst, Lanes};
use crate::tables::FlowLog;

/// VIFs log one of so many packets at most.
const RARE: u16 = 16;
/// Numbers are below it.
const ALL: f64 = u32::MAX as f64;

/// Which packets may be logged.
#[derive(Debug, Default)]
pub(super) struct Rare {
    /// The finest threshold of all VIFs; 0: packets are looked at each.
    finest: u32,
    /// Packets until the next one that may be logged.
    left: u64,
    /// The reciprocal of the logarithm of the chance that a packet is passed over.
    scale: f64,
}

impl Rare {
    /// Follows another log.
    pub fn follow(&mut self, log: Option<&FlowLog>, random: &mut u32) {
        let intervals = log.into_iter().flat_map(|log| log.intervals()).copied();
        let finest = intervals.filter(|&interval| interval != 0).min().unwrap_or(0);
        self.finest = if finest < RARE { 0 } else { super::threshold(finest) };
        self.scale = (-f64::from(self.finest) / ALL).ln_1p().recip();
        self.left = if self.finest == 0 { 0 } else { self.draw(random) };
    }

    /// Whether packets are passed over.
    #[inline(always)]
    pub const fn is_so(&self) -> bool {
        self.finest != 0
    }

    /// Chooses the lanes of a burst that are logged; false where there are none.
    #[inline(always)]
    pub fn choose(
        &mut self,
        burst: &Burst,
        thresholds: &Words,
        random: &mut u32,
        noted: &mut Noted,
    ) -> bool {
        let count = burst.all().count() as u64;
        if self.left >= count {
            self.left -= count;
            return false;
        }
        self.look(burst, thresholds, random, noted);
        noted.lanes != Lanes(0)
    }

    #[cold]
    #[inline(never)]
    fn look(&mut self, burst: &Burst, thresholds: &Words, random: &mut u32, noted: &mut Noted) {
        (noted.came, noted.lanes) = (Lanes(0), Lanes(0));
        let count = burst.all().count();
        while let Some(lane) = usize::try_from(self.left).ok().filter(|&lane| lane < count) {
            // It is below the finest threshold already; by how much tells whether it is below the VIF's.
            let number = (u64::from(next(random)) * u64::from(self.finest)) >> 32;
            let of = |place: u32| thresholds.get(place & 0xffff);
            let came = if burst.known.has(lane) { of(burst.place[lane]) } else { 0 };
            let leaves = if burst.live.has(lane) { of(burst.to_place[lane]) } else { 0 };
            if number < came.into() {
                noted.came.insert(lane);
            }
            if number < came.max(leaves).into() {
                noted.lanes.insert(lane);
            }
            noted.thresholds[lane] = came.max(leaves);
            self.left += 1 + self.draw(random);
        }
        self.left -= count as u64;
    }

    /// How many packets are passed over.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "22 times the interval at most, and not below 0"
    )]
    fn draw(&self, random: &mut u32) -> u64 {
        let uniform = (f64::from(next(random)) + 1.0) / ALL;
        (uniform.ln() * self.scale) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The gaps have the mean and the variance of the geometric distribution.
    #[test]
    fn gaps_are_geometric() {
        for interval in [16, 100, 1000, 4096_u32] {
            let finest = u32::MAX / interval;
            let scale = (-f64::from(finest) / ALL).ln_1p().recip();
            let rare = Rare { finest, left: 0, scale };
            let (mut random, draws) = (0x1234_5678, 200_000_u32);
            let gaps: Vec<f64> = (0..draws).map(|_| rare.draw(&mut random) as f64).collect();
            let p = 1.0 / f64::from(interval);
            let mean = gaps.iter().sum::<f64>() / f64::from(draws);
            let variance =
                gaps.iter().map(|gap| (gap - mean).powi(2)).sum::<f64>() / f64::from(draws);
            let (wanted, spread) = ((1.0 - p) / p, (1.0 - p).sqrt() / p);
            let sigma = spread / f64::from(draws).sqrt();
            assert!((mean - wanted).abs() < 4.0 * sigma, "1:{interval}: {mean}, not {wanted}");
            assert!((variance / spread.powi(2) - 1.0).abs() < 0.03, "1:{interval}: {variance}");
        }
    }
}
