//! Budgets for the slow path: a token bucket per VIF and class, so that one tenant's flood, or one
//! kind of flood, never uses up another's.

use super::{Burst, Context};
use crate::limit::{Rate, TokenBucket};
use crate::tables::{DropReason, PuntClass, Verdict, VifId};

/// What each class may send to the slow path, per VIF and worker. The bursts are small beside the
/// queue, so that a few VIFs cannot fill it.
const RATES: [Rate; PuntClass::COUNT] = [
    Rate::new(500, 50),   // Neighbor
    Rate::new(2000, 100), // Local
    Rate::new(1000, 200), // Exception
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
            Some(buckets) => buckets[class as usize].take(now, &RATES[class as usize]),
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
