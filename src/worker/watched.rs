//! Carries out the verdicts of a burst that somebody captures: a frame at a time, with a copy of what it was, what
//! became of it, and what leaves.

use super::Worker;
use super::capture::Mark;
use super::ends::{count_sent, lose, settle, transmit_one};
use super::queues::Way;
use crate::port::{BURST, Port};
use crate::tables::{DropReason, Facts, PortId, Verdict, VifId, place_vif};

impl<P: Port> Worker<P> {
    /// As for a burst that nobody captures; returns how many were punted.
    #[cold]
    #[inline(never)]
    pub(super) fn carry_out_watched(&mut self, from: (PortId, u64, u64)) -> usize {
        let (port, generation, now) = from;
        let mut frames = std::mem::take(&mut self.burst.frames);
        let Worker { pool, ports, burst, counters, handoffs, captures, queues, tables, .. } = self;
        let qos = tables.snapshot().qos.as_deref();
        let mut punted = 0;
        for (place, (frame, lane)) in frames.drain(..).zip(burst.lane_of).enumerate() {
            let lane = usize::from(lane) % BURST;
            let mut mark = Mark {
                now_ns: now,
                port,
                outbound: false,
                from: burst.vif(lane),
                to: None,
                verdict: burst.verdicts[lane],
                octets: burst.octets[lane] as usize,
                generation,
            };
            if !burst.live.has(lane) {
                let sent = settle(burst, counters, handoffs, pool, from, lane, &frame);
                punted += usize::from(sent);
                if !sent && matches!(mark.verdict, Verdict::Punt(_)) {
                    mark.verdict = Verdict::Drop(DropReason::PuntQueueFull);
                }
                captures.settled(place, &mark, pool.area().whole(&frame), false);
                pool.give(frame);
                continue;
            }
            let id = Facts::port(burst.to_rules[lane]);
            mark.verdict = Verdict::Forward;
            mark.to = u16::try_from(place_vif(burst.to_place[lane])).ok().map(VifId);
            let (at, len) = (burst.to_at[lane], burst.to_octets[lane]);
            let frame = frame.with_packet(at, len);
            let out = Mark { port: id, outbound: true, octets: len as usize, ..mark };
            captures.leaving(&out, pool.area().whole(&frame));
            let egress = ports.get_mut(id.index()).and_then(Option::as_mut);
            let mut egress = Way::to(id, egress, queues, qos, counters);
            match transmit_one(burst, frame, lane, (&mut egress, &mut *pool), counters.vifs()) {
                Ok(len) => {
                    count_sent(counters, id, 1, len.into());
                    captures.settled(place, &mark, &[][..], false);
                    captures.left(&out);
                }
                Err((frame, reason)) => {
                    mark.verdict = Verdict::Drop(reason);
                    captures.settled(place, &mark, pool.area().whole(&frame), true);
                    lose(burst, counters, pool, lane, (reason, now), frame);
                }
            }
        }
        self.burst.frames = frames;
        punted
    }
}
