//! TTL and hop limit (RFC 1812 5.3.1, RFC 8200 3): a packet that would leave with 0 is answered instead.

use super::{Burst, Context};
use crate::tables::{PuntReason, Verdict};

/// Not 0 where the TTL runs out here.
#[inline(always)]
pub fn concerns(burst: &Burst, lane: usize) -> u32 {
    u32::from(burst.ttl[lane] <= 1)
}

/// Punts such a lane.
///
/// # Errors
/// The lane's verdict.
pub fn verdict(_: &Burst, _: &Context<'_>, _: usize) -> Result<(), Verdict> {
    Err(Verdict::Punt(PuntReason::TtlExceeded))
}
