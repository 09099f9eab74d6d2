//! The egress MTU, in octets of IP packet: longer packets are answered or fragmented on the slow path.

use super::{Burst, Context};
use crate::tables::{PuntReason, Verdict};

/// Punts lanes that are longer than their egress carries.
#[inline(never)]
pub fn run(burst: &mut Burst, c: &mut Context<'_>) {
    for lane in burst.live.and(burst.odd) {
        let state = &burst.lanes[lane];
        if state.ip_len > c.tables.adjacency(state.adjacency).mtu {
            burst.settle(lane, Verdict::Punt(PuntReason::TooBig));
        }
    }
}
