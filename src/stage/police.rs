//! Budgets for the slow path: per VIF and class, so that one tenant's flood, or one kind of flood,
//! never uses up another's. Where several tenants' packets enter by one VIF, as on a core VIF, its
//! exceptions are shared by the VIFs that they were for, and by kind: see [`crate::shares`].

use super::{Burst, Context, address, meter};
use crate::limit::{Rate, TokenBucket};
use crate::shares::{Pool, SharedRate, Taken};
use crate::tables::{AdjacencyId, PuntClass, PuntReason, Verdict, VifId};

/// What each class but exceptions may send to the slow path, per VIF and worker. The bursts are small
/// beside the queues, so that a few VIFs cannot fill them.
const RATES: [Rate; PuntClass::COUNT - 1] = [
    Rate::new(500, 50),   // Bfd: 16 peers at 50 ms, or 4 at 10 ms
    Rate::new(200, 100),  // Bgp: keepalives and the updates of a calm day
    Rate::new(500, 50),   // Neighbor
    Rate::new(2000, 100), // Local
];

/// Exceptions of a VIF, per worker. One tenant's of one kind alone: 1,000 a second, 200 at once.
const EXCEPTIONS: SharedRate =
    SharedRate { pool: Pool::Exceptions, tokens: 400, window_ns: 200_000_000 };

/// BGP beyond a VIF's own budget, all VIFs of a worker together: one session may send a full table at
/// the wire's speed, and hundreds that try cannot keep the slow path from the others' budgets. One
/// VIF alone: 20,000 a second, 1,000 at once.
const BGP_BULK: SharedRate =
    SharedRate { pool: Pool::BgpBulk, tokens: 2_000, window_ns: 50_000_000 };

/// Kinds of exceptions that do not use up each other's budget.
const KINDS: usize = 4;

fn kind(reason: PuntReason) -> usize {
    match reason {
        PuntReason::NextHopUnresolved => 0,
        PuntReason::TtlExceeded => 1,
        PuntReason::TooBig => 2,
        _ => 3,
    }
}

/// The tenants that a VIF tells apart at once. Which ones share a slot changes with each window.
const SLOTS: usize = 8;

fn slot(tenant: VifId, window: u64) -> usize {
    const MIX: u64 = 0x9e37_79b9_7f4a_7c15;
    let mixed = (u64::from(tenant.0) ^ window.wrapping_mul(MIX) >> 32).wrapping_mul(MIX);
    (mixed >> 61) as usize % SLOTS
}

/// The budgets of one VIF.
#[derive(Clone, Copy, Debug, Default)]
struct VifBudgets {
    own: [TokenBucket; RATES.len()],
    bgp_bulk: Taken,
    exceptions: Taken,
    shares: [[Taken; SLOTS]; KINDS],
}

/// One worker's budgets.
#[derive(Debug)]
pub struct Budgets {
    vifs: Box<[VifBudgets]>,
    bgp_bulk: Taken,
}

impl Budgets {
    /// Full budgets for `vifs` VIFs.
    pub fn new(vifs: usize) -> Budgets {
        let vifs = vec![VifBudgets::default(); vifs].into_boxed_slice();
        Budgets { vifs, bgp_bulk: Taken::default() }
    }

    /// Whether a frame of `vif` may go to the slow path. `tenant`: the VIF that it was for, or, where
    /// that is not known, any.
    pub fn take(&mut self, vif: VifId, reason: PuntReason, tenant: VifId, now_ns: u64) -> bool {
        let Some(budgets) = self.vifs.get_mut(vif.index()) else { return false };
        let class = reason.class();
        match (budgets.own.get_mut(class as usize), RATES.get(class as usize)) {
            (Some(own), Some(rate)) => {
                own.take(now_ns, rate)
                    || class == PuntClass::Bgp
                        && BGP_BULK.take(now_ns, &mut self.bgp_bulk, &mut budgets.bgp_bulk)
            }
            _ => {
                let slot = slot(tenant, EXCEPTIONS.window(now_ns));
                let share = &mut budgets.shares[kind(reason)][slot];
                EXCEPTIONS.take(now_ns, &mut budgets.exceptions, share)
            }
        }
    }
}

/// Drops punted lanes that are over their budget, or that are to be forwarded and exceed a limit.
#[inline(always)]
pub fn run(burst: &mut Burst, c: &mut Context<'_>) {
    for lane in burst.settled() {
        let (Verdict::Punt(reason), Some(vif)) = (burst.verdicts[lane], burst.vif(lane)) else {
            continue;
        };
        let tenant = c.tables.adjacency(AdjacencyId(burst.adjacency[lane])).vif;
        if !c.budgets.take(vif, reason, tenant, c.now) {
            burst.verdicts[lane] = Verdict::Drop(reason.class().over_budget());
        } else if reason.has_egress()
            && let Some(exceeded) =
                address::exceeds(burst, c, lane).or_else(|| meter::exceeds(burst, c, lane))
        {
            burst.verdicts[lane] = Verdict::Drop(exceeded);
        }
    }
}
