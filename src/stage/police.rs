//! Budgets for the slow path: a token bucket per VIF and class, so that one tenant's flood, or one
//! kind of flood, never uses up another's.

use super::{Burst, Context};
use crate::limit::{Rate, TokenBucket};
use crate::tables::{PuntClass, Verdict, VifId};

/// What each class may send to the slow path, per VIF and worker. The bursts are small beside the
/// queues, so that a few VIFs cannot fill them.
const RATES: [Rate; PuntClass::COUNT] = [
    Rate::new(500, 50),   // Bfd: 16 peers at 50 ms, or 4 at 10 ms
    Rate::new(200, 100),  // Bgp: keepalives and the updates of a calm day
    Rate::new(500, 50),   // Neighbor
    Rate::new(2000, 100), // Local
    Rate::new(1000, 200), // Exception
];

/// BGP beyond a VIF's own budget, all VIFs of a worker together: one session may send a full table at
/// the wire's speed, and hundreds that try cannot keep the slow path from the others' budgets.
const BGP_BULK: Rate = Rate::new(20_000, 1_000);

/// One worker's budgets.
#[derive(Debug)]
pub struct Budgets {
    vifs: Box<[[TokenBucket; PuntClass::COUNT]]>,
    bgp_bulk: TokenBucket,
}

impl Budgets {
    /// Full budgets for `vifs` VIFs.
    pub fn new(vifs: usize) -> Budgets {
        let vifs = vec![[TokenBucket::default(); PuntClass::COUNT]; vifs].into_boxed_slice();
        Budgets { vifs, bgp_bulk: TokenBucket::default() }
    }

    fn take(&mut self, vif: VifId, class: PuntClass, now: u64) -> bool {
        let Some(buckets) = self.vifs.get_mut(vif.index()) else { return false };
        buckets[class as usize].take(now, &RATES[class as usize])
            || class == PuntClass::Bgp && self.bgp_bulk.take(now, &BGP_BULK)
    }
}

/// Drops punted lanes that are over their VIF's budget.
#[inline(always)]
pub fn run(burst: &mut Burst, c: &mut Context<'_>) {
    for lane in burst.settled() {
        let (Verdict::Punt(reason), Some(vif)) = (burst.verdicts[lane], burst.vif(lane)) else {
            continue;
        };
        if !c.budgets.take(vif, reason.class(), c.now) {
            burst.verdicts[lane] = Verdict::Drop(reason.class().over_budget());
        }
    }
}
