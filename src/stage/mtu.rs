//! The egress MTU, in octets of IP packet: longer packets are answered or fragmented on the slow path.

use super::{Burst, Context};
use crate::tables::{Facts, PuntReason, Verdict};

/// Not 0 where the packet is longer than its egress carries.
#[inline(always)]
pub fn concerns(burst: &Burst, lane: usize) -> u32 {
    u32::from(burst.ip_len[lane] > Facts::mtu(burst.to_rules[lane]))
}

/// Punts such a lane.
///
/// # Errors
/// The lane's verdict.
pub fn verdict(_: &Burst, _: &Context<'_>, _: usize) -> Result<(), Verdict> {
    Err(Verdict::Punt(PuntReason::TooBig))
}
