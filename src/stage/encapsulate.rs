//! VXLAN (RFC 7348): what leaves by a VIF that is a VNI gets the headers of its tunnel, and those of the underlay's way
//! to the VTEP at its other end, which is looked up as for any packet of the underlay.

use super::{Burst, Context, Lanes, WIDTH};
use crate::cpu::prefetch;
use crate::port::Pool;
use crate::tables::rules::{flow, under};
use crate::tables::tunnel::{Inner, OUTER4, OUTER6, Outer, class};
use crate::tables::{
    Adjacency, AdjacencyId, DropReason, Facts, GroupId, MAX_L2, PortId, VrfId, Way,
};
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
        by_nic[i] = u32::from(Facts::port(burst.to_rules[i]) < PortId::FIRST_VTEP);
    }
    let lanes = burst.live.and(Lanes::zero(&by_nic));
    let mut inner = [Inner::default(); WIDTH];
    for lane in lanes {
        prefetch(&raw const c.entrances.0[place(AdjacencyId(burst.adjacency[lane]))]);
        let packet = burst.l3(c.pool.area(), lane);
        let octets = burst.to_octets[lane] as usize;
        let flow = flow(&c.tables.flow_keys, packet);
        inner[lane] = Inner { octets, class: class(packet), flow };
    }
    for lane in lanes {
        if let Err(reason) = put(burst, c, lane, inner[lane]) {
            burst.drop(lane, reason);
        }
    }
}

/// The entrances of tunnels that a worker has found, by the adjacency that leads into each: so that a packet need not be
/// looked up in the underlay as long as nothing has changed there, nor its headers be made anew.
#[derive(Debug)]
pub struct Entrances(Box<[Entrance; PLACES]>);

/// Adjacencies whose ids differ by a multiple of it have one place. A station has an adjacency for each VTEP of each VNI.
const PLACES: usize = 4096;

/// The place of an adjacency.
#[inline(always)]
const fn place(id: AdjacencyId) -> usize {
    id.index() % PLACES
}

/// A tunnel's entrance, as long as it holds. Two cache lines, and no others' beside them.
#[derive(Clone, Copy, Debug)]
#[repr(align(128))]
struct Entrance {
    adjacency: AdjacencyId,
    /// [`crate::tables::Snapshot::generation`], which `adjacency` and `way` are of.
    generation: u64,
    underlay: VrfId,
    /// [`crate::fib::FibReader::changes`] of `underlay`, from before `way` was looked up.
    changes: u64,
    /// In the underlay, to the tunnel's other end.
    way: Way,
    /// `None` where the adjacency leads into no tunnel.
    outer: Option<Outer>,
}

impl Default for Entrances {
    /// None yet.
    fn default() -> Entrances {
        let none = Entrance {
            adjacency: AdjacencyId(0),
            // No tables have it.
            generation: u64::MAX,
            underlay: VrfId(0),
            changes: 0,
            way: Way::default(),
            outer: None,
        };
        let places: Box<[Entrance]> = vec![none; PLACES].into();
        // As many as there are places; an array that is made here would be on the stack.
        Entrances(places.try_into().unwrap_or_else(|_| Box::new([none; PLACES])))
    }
}

/// The entrance behind an adjacency of a VIF that is a VNI.
#[inline(never)]
fn find(c: &Context<'_>, adjacency: AdjacencyId) -> Entrance {
    let to = c.tables.adjacency(adjacency);
    let tunnel = c.tables.vif(to.vif).and_then(|vif| vif.tunnel());
    let underlay = tunnel.map_or(VrfId(0), |tunnel| tunnel.underlay);
    let vrf = u32::from(underlay.0);
    // What changes while it is looked up is looked up again.
    let changes = c.fib.changes(vrf);
    let group = GroupId(c.fib.lookup(vrf, to.address));
    Entrance {
        adjacency,
        generation: c.tables.generation,
        underlay,
        changes,
        way: c.tables.groups.way(group),
        outer: tunnel
            .and_then(|tunnel| Outer::new([tunnel.local, to.address], tunnel.vni, tunnel.marking)),
    }
}

/// Puts a lane's frame, which is whole, into the tunnel that its adjacency leads into.
#[inline(always)]
fn put(
    burst: &mut Burst,
    c: &mut Context<'_>,
    lane: usize,
    inner: Inner,
) -> Result<(), DropReason> {
    let id = AdjacencyId(burst.adjacency[lane]);
    let known = &c.entrances.0[place(id)];
    let holds = known.adjacency == id
        && known.generation == c.tables.generation
        && known.changes == c.fib.changes(known.underlay.0.into());
    if !holds {
        c.entrances.0[place(id)] = find(c, id);
    }
    let entrance = &c.entrances.0[place(id)];
    let to = under(c.tables, entrance.underlay, entrance.way, inner.flow)?;
    match &entrance.outer {
        Some(Outer::V4(outer)) => {
            head(burst, c.pool, lane, (to, ETHERTYPE_IPV4), |out: &mut [u8; OUTER4]| {
                outer.write(out, inner);
            })?;
        }
        Some(Outer::V6(outer)) => {
            let sum = checksum::sum(in_tunnel(burst, c, lane));
            head(burst, c.pool, lane, (to, ETHERTYPE_IPV6), |out: &mut [u8; OUTER6]| {
                outer.write(out, inner, sum);
            })?;
        }
        None => return Err(DropReason::EgressDown),
    }
    if let Some(through) = c.counters.vifs().get(to.vif.index()) {
        through.tx_frames.add(1);
        through.tx_octets.add(burst.to_octets[lane].into());
    }
    Ok(())
}

/// Puts the outer headers in front of a lane's frame, and those of the underlay's link, by which it leaves.
#[inline(always)]
#[expect(clippy::cast_possible_truncation, reason = "headers are short")]
fn head<const LEN: usize>(
    burst: &mut Burst,
    pool: &mut Pool,
    lane: usize,
    (to, ethertype): (&Adjacency, u16),
    write: impl FnOnce(&mut [u8; LEN]),
) -> Result<(), DropReason> {
    if burst.to_octets[lane] + LEN as u32 > u32::from(to.mtu) {
        return Err(DropReason::FrameTooLong);
    }
    let mut editor = pool.editor();
    let before = editor.before(burst.to_at[lane]).ok_or(DropReason::FrameTooLong)?;
    let (before, outer) = before.split_last_chunk_mut().ok_or(DropReason::FrameTooLong)?;
    write(outer);
    let (before, kind) = before.split_last_chunk_mut().ok_or(DropReason::FrameTooLong)?;
    *kind = ethertype.to_be_bytes();
    let front = before.last_chunk_mut::<MAX_L2>().ok_or(DropReason::FrameTooLong)?;
    *front = to.front;
    if to.preserve_pcp {
        let tags = usize::from(to.l2_len).saturating_sub(14);
        for tag in front[MAX_L2 - tags.min(MAX_L2)..].chunks_exact_mut(4) {
            tag[2] |= (burst.priority[lane] << 4) as u8;
        }
    }
    let more = LEN as u32 + u32::from(to.l2_len);
    burst.to_at[lane] = burst.to_at[lane].wrapping_sub(more);
    burst.to_octets[lane] += more;
    burst.to_rules[lane] = Facts::by_port(burst.to_rules[lane], to.port);
    Ok(())
}

/// The frame that is in the tunnel. Behind the packet it may have zeros, which are not seen here.
#[inline(always)]
fn in_tunnel<'a>(burst: &Burst, c: &'a Context<'_>, lane: usize) -> &'a [u8] {
    let (l3, len) = (burst.l3[lane] as usize, burst.ip_len[lane] as usize);
    let frame = burst.packet(c.pool.area(), lane);
    frame.get(l3.saturating_sub(HEADER_LEN)..l3 + len).unwrap_or_default()
}
