//! The last stage: decrements the TTL and puts the adjacency's MACs and tags in front of the packet.

use super::{Burst, Context, Flags};
use crate::tables::{AdjacencyKind, DropReason, PuntReason, Verdict};
use crate::wire::ethernet::{ETHERTYPE_IPV4, ETHERTYPE_IPV6};
use crate::wire::{ipv4, ipv6};

/// Makes each live lane's frame ready to transmit; punts those whose next hop has no MAC yet and those
/// with options to process.
#[inline]
pub fn run(burst: &mut Burst, c: &mut Context<'_>) {
    for lane in burst.live {
        let state = &burst.lanes[lane];
        let adjacency = c.tables.adjacency(state.adjacency);
        if adjacency.kind != AdjacencyKind::Forward {
            burst.settle(lane, Verdict::Punt(PuntReason::NextHopUnresolved));
            continue;
        }
        if state.flags.has(Flags::OPTIONS) {
            burst.settle(lane, Verdict::Punt(PuntReason::IpOptions));
            continue;
        }
        let is_v4 = burst.v4.0 & (1 << lane) != 0;
        let l2_len = usize::from(adjacency.l2_len);
        let frame = &mut burst.frames[lane];
        // Trim padding behind the IP packet, then make the L2 header as long as the egress needs.
        c.pool.truncate(frame, usize::from(state.l3) + usize::from(state.ip_len));
        if !c.pool.shift(frame, i64::from(state.l3) - i64::from(adjacency.l2_len)) {
            burst.drop(lane, DropReason::FrameTooLong);
            continue;
        }
        let packet = c.pool.area_mut().packet_mut(frame);
        let (l2, l3) = packet.split_at_mut(l2_len);
        l2.copy_from_slice(&adjacency.l2[..l2_len]);
        let ethertype = if is_v4 { ETHERTYPE_IPV4 } else { ETHERTYPE_IPV6 };
        l2[l2_len - 2..].copy_from_slice(&ethertype.to_be_bytes());
        if adjacency.preserve_pcp {
            // In every tag, as where the VIF sets it.
            for tci in [14, 18] {
                if tci + 4 <= l2_len {
                    l2[tci] |= state.pcp << 5;
                }
            }
        }
        if is_v4 {
            ipv4::decrement_ttl(l3);
        } else {
            ipv6::decrement_hop_limit(l3);
        }
    }
}
