//! Budgets for the slow path: a token bucket per VIF and class, so that one tenant's flood, or one
//! kind of flood, never uses up another's.

use super::{Burst, Context};
use crate::tables::{DropReason, PuntClass, Verdict, VifId};

const SECOND: u64 = 1_000_000_000;

/// A rate with a burst.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// Frames per second.
    pub per_second: u32,
    /// Frames that may come at once.
    pub burst: u32,
}

/// A token bucket without a clock: it stores the time at which it would be full again ("theoretical
/// arrival time" of the generic cell rate algorithm, ITU-T I.371 annex A), so that a check is one
/// comparison and one addition.
#[derive(Clone, Copy, Debug, Default)]
pub struct TokenBucket {
    full_at: u64,
}

impl TokenBucket {
    /// Takes a token at time `now` (ns); false where there is none.
    #[inline]
    pub fn take(&mut self, now: u64, rate: Rate) -> bool {
        let interval = SECOND / u64::from(rate.per_second.max(1));
        let full_at = self.full_at.max(now) + interval;
        if full_at - now > interval * u64::from(rate.burst) {
            return false;
        }
        self.full_at = full_at;
        true
    }
}

/// What each class may send to the slow path, per VIF and worker.
const RATES: [Rate; PuntClass::COUNT] = [
    Rate { per_second: 500, burst: 100 },  // Neighbor
    Rate { per_second: 2000, burst: 400 }, // Local
    Rate { per_second: 1000, burst: 200 }, // Exception
];

/// One worker's budgets.
#[derive(Debug)]
pub struct Budgets(Box<[[TokenBucket; PuntClass::COUNT]]>);

impl Budgets {
    /// Full budgets for `vifs` VIFs.
    pub fn new(vifs: usize) -> Budgets {
        Budgets(vec![[TokenBucket::default(); PuntClass::COUNT]; vifs].into_boxed_slice())
    }

    fn take(&mut self, vif: VifId, class: PuntClass, now: u64) -> bool {
        match self.0.get_mut(vif.index()) {
            Some(buckets) => buckets[class as usize].take(now, RATES[class as usize]),
            None => false,
        }
    }
}

/// Drops punted lanes that are over their VIF's budget.
#[inline]
pub fn run(burst: &mut Burst, c: &mut Context<'_>) {
    let settled = super::Lanes::first(burst.frames.len()).0 & !burst.live.0;
    for lane in super::Lanes(settled) {
        let (Verdict::Punt(reason), Some(vif)) = (burst.verdicts[lane], burst.lanes[lane].vif)
        else {
            continue;
        };
        if !c.budgets.take(vif, reason.class(), c.now) {
            burst.verdicts[lane] = Verdict::Drop(DropReason::PuntRate);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_gives_its_burst_and_then_its_rate() {
        let rate = Rate { per_second: 100, burst: 10 };
        let mut bucket = TokenBucket::default();
        let start = 5 * SECOND;
        assert_eq!((0..50).filter(|_| bucket.take(start, rate)).count(), 10);
        let later = start + SECOND;
        let given = (0..1000).filter(|i| bucket.take(start + i * SECOND / 1000, rate)).count();
        assert!((99..=100).contains(&given), "{given}");
        assert!(bucket.take(later + SECOND, rate));
    }
}
