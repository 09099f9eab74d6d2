//! The egress MTU, in octets of IP packet: longer packets are answered or fragmented on the slow path.

use super::{Burst, Context};
use crate::tables::{PuntReason, Verdict};

/// Punts lanes that are longer than their egress carries.
#[inline(always)]
pub fn run(burst: &mut Burst, _: &mut Context<'_>) {
    for lane in burst.live.and(burst.odd) {
        if burst.ip_len[lane] > burst.to_rules[lane] & 0xffff {
            burst.settle(lane, Verdict::Punt(PuntReason::TooBig));
        }
    }
}
