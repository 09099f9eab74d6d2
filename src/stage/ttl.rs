//! TTL and hop limit (RFC 1812 5.3.1, RFC 8200 3): a packet that would leave with 0 is answered instead.

use super::{Burst, Context};
use crate::tables::{PuntReason, Verdict};

/// Punts lanes whose TTL runs out here.
#[inline(always)]
pub fn run(burst: &mut Burst, _: &mut Context<'_>) {
    for lane in burst.live.and(burst.odd) {
        if burst.ttl[lane] <= 1 {
            burst.settle(lane, Verdict::Punt(PuntReason::TtlExceeded));
        }
    }
}
