//! VXLAN (RFC 7348): what leaves by a VIF that is a VNI gets the headers of its tunnel, and those of the underlay's way
//! to the VTEP at its other end, which is looked up as for any packet of the underlay.

use super::{Burst, Context, Lanes, WIDTH};
use crate::cpu::prefetch;
use crate::fib::FibReader;
use crate::port::{Pool, ROOM};
use crate::tables::rules::{flow, flow_of_start, sends_under, under};
use crate::tables::tunnel::{Inner, OUTER4, OUTER6, Outer, class};
use crate::tables::{
    Adjacency, AdjacencyId, DropReason, Facts, GroupId, MAX_L2, PortId, Snapshot, VrfId, Way,
};
use crate::wire::ethernet::{ETHERTYPE_IPV4, ETHERTYPE_IPV6, HEADER_LEN, MIN_PAYLOAD};

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
    if lanes == Lanes(0) {
        return;
    }
    let tables = c.tables;
    c.entrances.refresh(tables, c.fib);
    for lane in lanes {
        prefetch(&raw const c.entrances.places[place(AdjacencyId(burst.adjacency[lane]))]);
    }
    for lane in lanes {
        if let Err(reason) = put(burst, c, lane) {
            burst.drop(lane, reason);
        }
    }
}

/// The entrances of tunnels that a worker has found, by the adjacency that leads into each: so that a packet need not be
/// looked up in the underlay as long as nothing has changed there, nor its headers be made anew.
#[derive(Debug)]
pub struct Entrances {
    places: Box<[Entrance; PLACES]>,
    /// Those that were found since have it: others hold no more.
    epoch: u64,
    /// [`crate::tables::Snapshot::generation`] of the epoch.
    generation: u64,
    /// The sum of [`FibReader::changes`] of all underlays, each of which only grows, from before anything of the epoch was
    /// looked up.
    changes: u64,
}

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
    /// [`Entrances::epoch`], which all else is of.
    epoch: u64,
    underlay: VrfId,
    /// In the underlay, to the tunnel's other end.
    way: Way,
    /// The only adjacency there, if there is one and it sends.
    only: Option<AdjacencyId>,
    /// `None` where the adjacency leads into no tunnel.
    outer: Option<Outer>,
}

impl Default for Entrances {
    /// None yet.
    fn default() -> Entrances {
        let none = Entrance {
            adjacency: AdjacencyId(0),
            epoch: 0,
            underlay: VrfId(0),
            way: Way::default(),
            only: None,
            outer: None,
        };
        let places: Box<[Entrance]> = vec![none; PLACES].into();
        Entrances {
            // As many as there are places; an array that is made here would be on the stack.
            places: places.try_into().unwrap_or_else(|_| Box::new([none; PLACES])),
            epoch: 0,
            // No tables have it.
            generation: u64::MAX,
            changes: 0,
        }
    }
}

impl Entrances {
    /// Begins another epoch where the tables or an underlay's routes are others.
    #[inline(always)]
    fn refresh(&mut self, tables: &Snapshot, fib: &FibReader) {
        let changes =
            tables.tunnels.underlays().iter().map(|vrf| fib.changes(vrf.0.into())).sum::<u64>();
        if (self.generation, self.changes) != (tables.generation, changes) {
            (self.generation, self.changes) = (tables.generation, changes);
            self.epoch += 1;
        }
    }
}

/// The entrance behind an adjacency of a VIF that is a VNI.
#[inline(never)]
fn find(c: &Context<'_>, adjacency: AdjacencyId) -> Entrance {
    let to = c.tables.adjacency(adjacency);
    let tunnel = c.tables.vif(to.vif).and_then(|vif| vif.tunnel());
    let underlay = tunnel.map_or(VrfId(0), |tunnel| tunnel.underlay);
    let way = c.tables.groups.way(GroupId(c.fib.lookup(underlay.0.into(), to.address)));
    Entrance {
        adjacency,
        epoch: c.entrances.epoch,
        underlay,
        way,
        only: way.only().filter(|id| sends_under(c.tables.adjacency(*id), underlay)),
        outer: tunnel
            .and_then(|tunnel| Outer::new([tunnel.local, to.address], tunnel.vni, tunnel.marking)),
    }
}

/// Puts a lane's frame, which is whole, into the tunnel that its adjacency leads into.
#[inline(always)]
fn put(burst: &mut Burst, c: &mut Context<'_>, lane: usize) -> Result<(), DropReason> {
    let id = AdjacencyId(burst.adjacency[lane]);
    let known = &c.entrances.places[place(id)];
    if known.adjacency != id || known.epoch != c.entrances.epoch {
        c.entrances.places[place(id)] = find(c, id);
    }
    let octets = burst.to_octets[lane] as usize;
    // All that counts is mostly seen in what was just written to.
    let start = c.pool.area().at::<MIN_PAYLOAD>(burst.l3_at(lane)).filter(|_| burst.v4.has(lane));
    let of_start = start.and_then(|s| Some((class(s), flow_of_start(&c.tables.flow_keys, s)?)));
    let (class, flow) = of_start.unwrap_or_else(|| {
        let packet = burst.l3(c.pool.area(), lane).octets;
        (class(packet), flow(&c.tables.flow_keys, packet))
    });
    let inner = Inner { octets, class, flow };
    let entrance = &c.entrances.places[place(id)];
    let to = match entrance.only {
        Some(id) => c.tables.adjacency(id),
        None => under(c.tables, entrance.underlay, entrance.way, flow)?,
    };
    match &entrance.outer {
        Some(Outer::V4(outer)) => {
            head(burst, c.pool, lane, (to, ETHERTYPE_IPV4), |out: &mut [u8; OUTER4]| {
                outer.write(out, inner);
            })?;
        }
        Some(Outer::V6(outer)) => {
            let sum = in_tunnel(burst, c, lane);
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
    // The inner frame has no tags.
    let room = editor.with_room(burst.l3_at(lane)).ok_or(DropReason::FrameTooLong)?;
    let (room, _) = room.split_at_mut(ROOM - HEADER_LEN);
    let (room, outer) = room.split_last_chunk_mut().ok_or(DropReason::FrameTooLong)?;
    write(outer);
    let (room, kind) = room.split_last_chunk_mut().ok_or(DropReason::FrameTooLong)?;
    *kind = ethertype.to_be_bytes();
    let front = room.last_chunk_mut::<MAX_L2>().ok_or(DropReason::FrameTooLong)?;
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

/// The sum of the frame that is in the tunnel. Behind the packet it may have zeros, which count for nothing.
#[inline(always)]
fn in_tunnel(burst: &Burst, c: &Context<'_>, lane: usize) -> u16 {
    const MACS_AND_TYPE: u32 = 14;
    let (l3, len) = (burst.l3[lane], burst.ip_len[lane]);
    let whole = c.pool.area().whole_at(burst.at[lane], burst.octets[lane]);
    whole.sum(l3.saturating_sub(MACS_AND_TYPE), l3 + len)
}
