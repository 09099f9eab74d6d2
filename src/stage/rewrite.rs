//! The last stage: decrements the TTL and puts the adjacency's MACs and tags in front of the packet.

use super::{Burst, Context, Flags};
use crate::tables::{Adjacency, AdjacencyKind, DropReason, PuntReason, Verdict};
use crate::wire::ethernet::{ETHERTYPE_IPV4, ETHERTYPE_IPV6};
use crate::wire::{ipv4, ipv6};

/// Makes each live lane's frame ready to transmit; punts those whose next hop has no MAC yet and those
/// with options to process.
#[inline(never)]
pub fn run(burst: &mut Burst, c: &mut Context<'_>) {
    for lane in burst.live.and(burst.odd) {
        let state = &burst.lanes[lane];
        if c.tables.adjacency(state.adjacency).kind != AdjacencyKind::Forward {
            burst.settle(lane, Verdict::Punt(PuntReason::NextHopUnresolved));
        } else if state.flags.has(Flags::OPTIONS) {
            burst.settle(lane, Verdict::Punt(PuntReason::IpOptions));
        }
    }
    for lane in burst.live.and(burst.v4) {
        rewrite(burst, c, lane, ETHERTYPE_IPV4, ipv4::decrement_ttl);
    }
    for lane in burst.live.and(burst.v6) {
        rewrite(burst, c, lane, ETHERTYPE_IPV6, ipv6::decrement_hop_limit);
    }
}

/// Trims padding behind the IP packet, and puts the adjacency's header in front of it.
#[inline(always)]
fn rewrite(
    burst: &mut Burst,
    c: &mut Context<'_>,
    lane: usize,
    ethertype: u16,
    decrement: impl Fn(&mut [u8]),
) {
    let state = &burst.lanes[lane];
    let adjacency = c.tables.adjacency(state.adjacency);
    let (l3, len) = (usize::from(state.l3), usize::from(state.ip_len));
    let head = usize::from(adjacency.l2_len);
    let Some(packet) = c.pool.reframe(&mut burst.frames[lane], l3, len, head) else {
        return burst.drop(lane, DropReason::FrameTooLong);
    };
    match head {
        18 => write::<18>(packet, adjacency, state.pcp, ethertype, decrement),
        22 => write::<22>(packet, adjacency, state.pcp, ethertype, decrement),
        _ => write::<14>(packet, adjacency, state.pcp, ethertype, decrement),
    }
}

/// Writes an L2 header of `N` octets and edits the packet behind it.
#[inline(always)]
fn write<const N: usize>(
    packet: &mut [u8],
    adjacency: &Adjacency,
    pcp: u8,
    ethertype: u16,
    decrement: impl Fn(&mut [u8]),
) {
    let (Some((l2, l3)), Some(header)) =
        (packet.split_first_chunk_mut::<N>(), adjacency.l2.first_chunk::<N>())
    else {
        return;
    };
    *l2 = *header;
    l2[N - 2..].copy_from_slice(&ethertype.to_be_bytes());
    if pcp != 0 && adjacency.preserve_pcp {
        // In every tag, as where the VIF sets it.
        for tci in [14, 18] {
            if tci + 4 <= N {
                l2[tci] |= pcp << 5;
            }
        }
    }
    decrement(l3);
}
