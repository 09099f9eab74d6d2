//! Next-hop group -> adjacency. No adjacency is looked at yet: they are asked for here, so that they are near when
//! the next stages need them, however many there are.

use super::{Burst, Context};
use crate::tables::GroupId;
use crate::wire::ipv4::Ipv4;
use crate::wire::ipv6::Ipv6;

/// Chooses each destination's member by flow, and finds the way back to each checked source.
#[inline(never)]
pub fn run(burst: &mut Burst, c: &mut Context<'_>) {
    for lane in burst.live.and(burst.v4) {
        let key = burst.lanes[lane].key;
        let (to, back) = (burst.keys4.group(key), burst.keys4.group(key + 1));
        choose(burst, c, lane, to, back, true);
    }
    for lane in burst.live.and(burst.v6) {
        let key = burst.lanes[lane].key;
        let (to, back) = (burst.keys6.group(key), burst.keys6.group(key + 1));
        choose(burst, c, lane, to, back, false);
    }
}

#[inline(always)]
fn choose(
    burst: &mut Burst,
    c: &Context<'_>,
    lane: usize,
    to: GroupId,
    back: GroupId,
    is_v4: bool,
) {
    let groups = &c.tables.groups;
    let to = groups.choose(to, || flow(burst.l3(c.pool.area(), lane), is_v4));
    c.tables.prefetch_adjacency(to);
    burst.lanes[lane].adjacency = to;
    if burst.checked.has(lane) {
        let back = groups.only(back).unwrap_or_default();
        c.tables.prefetch_adjacency(back);
        burst.lanes[lane].back = back;
    }
}

/// Spreads flows: the same flow always gives the same number, near flows give far numbers.
fn flow(packet: &[u8], is_v4: bool) -> u32 {
    let (addresses, ports) = if is_v4 {
        let Ok(packet) = Ipv4::parse(packet) else { return 0 };
        let addresses = packet.source() ^ packet.destination().rotate_left(16);
        (addresses, packet.ports() ^ u32::from(packet.protocol()))
    } else {
        let Ok(packet) = Ipv6::parse(packet) else { return 0 };
        let addresses = fold(packet.source()) ^ fold(packet.destination()).rotate_left(16);
        (addresses, packet.ports() ^ packet.flow_label())
    };
    let mixed = u64::from(addresses).wrapping_mul(0x9e37_79b9_7f4a_7c15)
        ^ u64::from(ports).wrapping_mul(0xc2b2_ae3d_27d4_eb4f);
    (mixed >> 32) as u32
}

/// 128 bits in 32.
fn fold(address: u128) -> u32 {
    let [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p] = address.to_be_bytes();
    u32::from_be_bytes([a, b, c, d])
        ^ u32::from_be_bytes([e, f, g, h])
        ^ u32::from_be_bytes([i, j, k, l])
        ^ u32::from_be_bytes([m, n, o, p])
}
