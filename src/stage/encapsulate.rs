//! VXLAN (RFC 7348): what leaves by a VIF that is a VNI gets the headers of its tunnel, and those of the underlay's way
//! to the VTEP at its other end, which is looked up as for any packet of the underlay.

use std::net::IpAddr;

use super::{Burst, Context, Lanes, WIDTH};
use crate::port::BEFORE;
use crate::tables::rules::{flow, under};
use crate::tables::tunnel::{OUTER4, OUTER6, class, outer4, outer6};
use crate::tables::{AdjacencyId, DropReason, Facts, GroupId, MAX_L2, Snapshot, Tunnel};
use crate::wire::checksum;
use crate::wire::ethernet::{ETHERTYPE_IPV4, ETHERTYPE_IPV6, HEADER_LEN};

/// Puts frames that are to leave in tunnels into them. Costs nothing where the station has none.
#[inline(always)]
pub fn run(burst: &mut Burst, c: &mut Context<'_>) {
    if c.tables.tunnels.is_empty() {
        return;
    }
    let mut by_nic = [0; WIDTH];
    for i in burst.live.eights() {
        by_nic[i] = u32::from(Facts::port(burst.to_rules[i]) < c.tables.tunnels.first_vtep());
    }
    let mut last = None;
    for lane in burst.live.and(Lanes::zero(&by_nic)) {
        // Frames of a burst often go to the same VTEP.
        let id = AdjacencyId(burst.adjacency[lane]);
        let way = match last {
            Some((known, way)) if known == id => way,
            _ => way(c, id),
        };
        last = Some((id, way));
        let put = way.ok_or(DropReason::EgressDown).and_then(|way| put(burst, c, lane, &way));
        if let Err(reason) = put {
            burst.drop(lane, reason);
        }
    }
}

/// A tunnel, and the underlay's group that leads to its other end.
#[derive(Clone, Copy)]
struct Way<'a> {
    tunnel: &'a Tunnel,
    remote: IpAddr,
    group: GroupId,
}

/// The way of what leaves by an adjacency of a VIF that is a VNI.
#[inline(always)]
fn way<'a>(c: &Context<'a>, id: AdjacencyId) -> Option<Way<'a>> {
    let tables: &'a Snapshot = c.tables;
    let adjacency = tables.adjacency(id);
    let tunnel = tables.vif(adjacency.vif)?.tunnel()?;
    let underlay = u32::from(tunnel.underlay.0);
    let group = GroupId(match adjacency.address {
        IpAddr::V4(remote) => c.fib.lookup4(underlay, remote.to_bits()),
        IpAddr::V6(remote) => c.fib.lookup6(underlay, remote.to_bits()),
    });
    Some(Way { tunnel, remote: adjacency.address, group })
}

/// Puts a lane's frame, which is whole, into a tunnel.
#[inline(always)]
#[expect(clippy::cast_possible_truncation, reason = "headers are short")]
fn put(
    burst: &mut Burst,
    c: &mut Context<'_>,
    lane: usize,
    way: &Way<'_>,
) -> Result<(), DropReason> {
    let packet = burst.l3(c.pool.area(), lane);
    let (flow, class) = (flow(&c.tables.flow_keys, packet), class(packet));
    let to = under(c.tables, way.tunnel, way.group, flow)?;
    let inner = burst.to_octets[lane] as usize;
    let ends = (way.tunnel.local, way.remote);
    let outer = if ends.0.is_ipv4() { OUTER4 } else { OUTER6 };
    if inner + outer > usize::from(to.mtu) {
        return Err(DropReason::FrameTooLong);
    }
    let sum = if ends.0.is_ipv4() { 0 } else { checksum::sum(in_tunnel(burst, c, lane)) };
    let mut editor = c.pool.editor();
    let before = editor.before(burst.to_at[lane]).ok_or(DropReason::FrameTooLong)?;
    let vni = way.tunnel.vni;
    let ethertype = match ends {
        (IpAddr::V4(local), IpAddr::V4(remote)) => {
            let ends = [local.to_bits(), remote.to_bits()];
            before[BEFORE - OUTER4..].copy_from_slice(&outer4(ends, vni, inner, class, flow));
            ETHERTYPE_IPV4
        }
        (IpAddr::V6(local), IpAddr::V6(remote)) => {
            let ends = [local.to_bits(), remote.to_bits()];
            let head = outer6(ends, vni, inner, class, flow, sum);
            before[BEFORE - OUTER6..].copy_from_slice(&head);
            ETHERTYPE_IPV6
        }
        _ => return Err(DropReason::EgressDown),
    };
    let end = BEFORE - outer;
    before[end - 2..end].copy_from_slice(&ethertype.to_be_bytes());
    let front = &mut before[end - 2 - MAX_L2..end - 2];
    front.copy_from_slice(&to.front);
    if to.preserve_pcp {
        let tags = usize::from(to.l2_len).saturating_sub(14);
        for tag in front[MAX_L2 - tags.min(MAX_L2)..].chunks_exact_mut(4) {
            tag[2] |= (burst.priority[lane] << 4) as u8;
        }
    }
    let more = (outer + usize::from(to.l2_len)) as u32;
    burst.to_at[lane] = burst.to_at[lane].wrapping_sub(more);
    burst.to_octets[lane] += more;
    burst.to_rules[lane] = Facts::by_port(burst.to_rules[lane], to.port);
    if let Some(through) = c.counters.vifs().get(to.vif.index()) {
        through.tx_frames.add(1);
        through.tx_octets.add(burst.to_octets[lane].into());
    }
    Ok(())
}

/// The frame that is in the tunnel. Behind the packet it may have zeros, which are not seen here.
#[inline(always)]
fn in_tunnel<'a>(burst: &Burst, c: &'a Context<'_>, lane: usize) -> &'a [u8] {
    let (l3, len) = (burst.l3[lane] as usize, burst.ip_len[lane] as usize);
    let frame = burst.packet(c.pool.area(), lane);
    frame.get(l3.saturating_sub(HEADER_LEN)..l3 + len).unwrap_or_default()
}
