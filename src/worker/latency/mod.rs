//! Residence time: how long some of the frames that are forwarded are in the station, from the XDP program's look at them
//! to their place on a transmit ring. A worker that times none pays for one look per burst.
//!
//! The clock is read once a burst that has a frame to time, after all of its frames were put on their rings.

mod channel;
mod follower;

use std::fmt;
use std::sync::Arc;

use crate::port::stamp::{Stamp, Stamping};
use crate::port::{Area, BURST, Frame};
use crate::stage::Burst;
use crate::tables::PortId;
pub use channel::{LatencyChannel, Sample, Untimed};

use follower::Follower;

/// No frame is in the station for longer: nanoseconds.
pub const LONGEST_NS: u64 = 10_000_000_000;

/// What time it is: nanoseconds of CLOCK_MONOTONIC.
pub type Clock = Box<dyn Fn() -> u64 + Send>;

/// What a worker times.
pub struct Latency {
    clock: Clock,
    channel: Arc<LatencyChannel>,
    /// By [`PortId`].
    ports: Vec<Option<Follower>>,
    /// Of the burst under way, how many are timed; and by number their places, and since when they are here.
    count: usize,
    places: [u8; BURST],
    since_ns: [u64; BURST],
}

impl Latency {
    /// Nothing is timed yet of `ports` ports; samples go to `channel`.
    pub fn new(ports: usize, channel: Arc<LatencyChannel>, clock: Clock) -> Latency {
        Latency {
            clock,
            channel,
            ports: (0..ports).map(|_| None).collect(),
            count: 0,
            places: [0; BURST],
            since_ns: [0; BURST],
        }
    }

    /// The frames that come by a port from now on are stamped so; or are not timed any more. Between turns.
    pub fn follow(&mut self, port: PortId, stamping: Option<Stamping>) {
        if let Some(slot) = self.ports.get_mut(port.index()) {
            *slot = stamping.map(|stamping| Follower::new(stamping, (self.clock)()));
        }
    }

    /// Finds the frames to time of a burst that was received by a port, before it goes its way. False where there are
    /// none.
    #[inline(never)]
    pub(super) fn look(&mut self, port: PortId, frames: &[Frame], area: &Area) -> bool {
        self.count = 0;
        let Latency { clock, ports, count, places, since_ns, .. } = self;
        let Some(Some(follower)) = ports.get_mut(port.index()) else { return false };
        let stamp = |place: usize| Stamp::before(area, &frames[place]);
        let burst = (frames.len().min(BURST), frames.len() >= BURST);
        follower.look(burst, &*clock, stamp, |place, ns| {
            let (Ok(of), at) = (u8::try_from(place), *count % BURST) else { return };
            (places[at], since_ns[at]) = (of, ns);
            *count += 1;
        });
        *count > 0
    }

    /// The verdicts of the burst have been carried out, by tables of this generation: tells how long those of its frames
    /// were here that were to be timed and that left.
    #[inline(never)]
    pub(super) fn record(&mut self, port: PortId, generation: u64, burst: &Burst) {
        let now = (self.clock)();
        let unstamped = self.ports[port.index()].as_ref().is_some_and(Follower::is_alone);
        let untimed = self.channel.port(port);
        for (place, since) in self.places.iter().zip(&self.since_ns).take(self.count) {
            let lane = usize::from(burst.lane_of[usize::from(*place) % BURST]);
            let Some(vif) = burst.vif(lane).filter(|_| burst.live.has(lane)) else { continue };
            let Some(ns) = now.checked_sub(*since).filter(|ns| *ns <= LONGEST_NS) else {
                untimed.into_iter().for_each(|untimed| untimed.refused.add(1));
                continue;
            };
            if !self.channel.send(Sample { ns, generation, port, vif, unstamped }) {
                untimed.into_iter().for_each(|untimed| untimed.full.add(1));
            }
        }
    }
}

impl fmt::Debug for Latency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Latency").field("ports", &self.ports).finish_non_exhaustive()
    }
}
