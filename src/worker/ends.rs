//! How a frame ends: it leaves by a port, goes to the slow path, or is dropped; and what is counted of that.

use super::Handoffs;
use super::handoff::Label;
use super::queues::Queued;
use crate::port::{BURST, Frame, Octets, Pool, Port};
use crate::stage::Burst;
use crate::tables::counters::{VifCounters, WorkerCounters};
use crate::tables::{AdjacencyId, Choice, DropReason, Loss, PortId, Verdict, place_vif};

/// Puts frames that leave by the same port now, and their lanes, on its ring.
#[inline(always)]
pub(super) fn transmit<'a>(
    burst: &Burst,
    frames: impl Iterator<Item = (Frame, &'a u8)>,
    (id, now): (PortId, u64),
    mut egress: impl Egress,
    counters: &WorkerCounters,
    pool: &mut Pool,
) {
    let vifs = counters.vifs();
    let (mut sent, mut octets) = (0, 0);
    for (frame, &lane) in frames {
        let lane = usize::from(lane) % BURST;
        match transmit_one(burst, frame, lane, (&mut egress, pool), vifs) {
            Ok(len) => {
                sent += 1;
                octets += u64::from(len);
            }
            Err((frame, reason)) => lose(burst, counters, pool, lane, (reason, now), frame),
        }
    }
    count_sent(counters, id, sent, octets);
}

/// As [`transmit`], by a port's queues.
#[inline(never)]
pub(super) fn transmit_queued<'a, P: Port>(
    burst: &Burst,
    frames: impl Iterator<Item = (Frame, &'a u8)>,
    by: (PortId, u64),
    way: Queued<'_, P>,
    counters: &WorkerCounters,
    pool: &mut Pool,
) {
    transmit(burst, frames, by, way, counters, pool);
}

/// Where frames that leave by one port are put.
pub(super) trait Egress {
    /// Puts a lane's frame there; gives it back where it does not leave, and why.
    fn put(
        &mut self,
        frame: Frame,
        burst: &Burst,
        lane: usize,
        pool: &mut Pool,
    ) -> Result<(), (Frame, DropReason)>;
}

/// The port's ring, if it is there.
impl<P: Port> Egress for Option<&mut P> {
    #[inline(always)]
    fn put(
        &mut self,
        frame: Frame,
        _: &Burst,
        _: usize,
        pool: &mut Pool,
    ) -> Result<(), (Frame, DropReason)> {
        match self {
            Some(port) => port.tx(pool, frame).map_err(|frame| (frame, DropReason::TxFull)),
            None => Err((frame, DropReason::EgressDown)),
        }
    }
}

/// Puts a lane's frame on its port's ring; gives its octets, or the frame back and why it does not leave. It is counted
/// as received either way, and as sent.
#[inline(always)]
pub(super) fn transmit_one(
    burst: &Burst,
    frame: Frame,
    lane: usize,
    (egress, pool): (&mut impl Egress, &mut Pool),
    vifs: &[VifCounters],
) -> Result<u32, (Frame, DropReason)> {
    let len = burst.to_octets[lane];
    let frame = frame.with_packet(burst.to_at[lane], len);
    let ingress = count_received(vifs, burst, lane);
    egress.put(frame, burst, lane, pool)?;
    ingress.forwarded.add(1);
    let egress = &vifs[place_vif(burst.to_place[lane])];
    egress.tx_frames.add(1);
    egress.tx_octets.add(len.into());
    Ok(len)
}

/// Drops a frame that its port does not take, as it would have left.
#[cold]
#[inline(never)]
pub(super) fn lose(
    burst: &Burst,
    counters: &WorkerCounters,
    pool: &mut Pool,
    lane: usize,
    (reason, now): (DropReason, u64),
    frame: Frame,
) {
    burst.lose(lane, reason);
    if let Some(vif) = burst.vif(lane) {
        counters.vif(vif).rare.drops[reason.index()].add(1);
        if let Some(drops) = counters.last_drops.vif(vif) {
            drops.record(Loss::Dropped(reason), pool.area().whole(&frame).start(), now);
        }
    }
    pool.give(frame);
}

/// Carries out a drop or a punt of a frame of this port, decided now by tables of this generation; returns whether it went
/// to the slow path. What the slow path has no room for is dropped.
#[inline]
pub(super) fn settle(
    burst: &Burst,
    counters: &WorkerCounters,
    handoffs: &Handoffs,
    pool: &Pool,
    (port, generation, now): (PortId, u64, u64),
    lane: usize,
    frame: &Frame,
) -> bool {
    let (drop, punt) = match burst.verdicts[lane] {
        Verdict::Drop(reason) => (reason, None),
        Verdict::Punt(reason) => (DropReason::PuntQueueFull, Some(reason)),
        Verdict::Forward => return false,
    };
    let Some(vif) = burst.vif(lane) else {
        counters.port(port).drops[drop.index()].add(1);
        if let Some(drops) = counters.last_drops.port(port) {
            drops.record(Loss::Dropped(drop), pool.area().whole(frame).start(), now);
        }
        return false;
    };
    let received = count_received(counters.vifs(), burst, lane);
    if let Some(reason) = punt {
        let l3 = u8::try_from(burst.l3[lane]).unwrap_or(u8::MAX);
        let adjacency = AdjacencyId(burst.adjacency[lane]);
        // What passes by an exchange the slow path looks up anew, in both VRFs.
        let chosen = reason.has_egress() && !burst.exchanged.has(lane);
        let choice = chosen.then_some(Choice { generation, adjacency });
        let label = Label { reason, l3, choice, ..Label::to_port(port, vif) };
        if handoffs.queue(reason).send(label, pool.area().whole(frame)) {
            received.rare.punted[reason.index()].add(1);
            return true;
        }
        burst.lose(lane, drop);
    }
    received.rare.drops[drop.index()].add(1);
    if let Some(drops) = counters.last_drops.vif(vif) {
        drops.record(Loss::Dropped(drop), pool.area().whole(frame).start(), now);
    }
    false
}

/// Counts a lane's frame as received by its VIF, which is known; gives that VIF's counters.
#[inline(always)]
fn count_received<'a>(vifs: &'a [VifCounters], burst: &Burst, lane: usize) -> &'a VifCounters {
    let vif = &vifs[place_vif(burst.place[lane])];
    vif.rx_frames.add(1);
    vif.rx_octets.add(burst.octets[lane].into());
    vif
}

/// Counts frames as sent by a port.
#[inline(always)]
pub(super) fn count_sent(counters: &WorkerCounters, port: PortId, frames: u64, octets: u64) {
    if frames > 0 {
        let port = counters.port(port);
        port.tx_frames.add(frames);
        port.tx_octets.add(octets);
    }
}
