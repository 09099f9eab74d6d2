//! Between a worker that looks for top talkers and the thread that keeps them.

use crossbeam::queue::ArrayQueue;

use crate::tables::counters::Counter;
use crate::tables::{Direction, VifId};

/// Packets that wait for the thread, per worker.
const WAITING: usize = 16_384;

/// A packet that was looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seen {
    /// The tables that it was forwarded by, which know the ids.
    pub generation: u64,
    /// Whose it is.
    pub vif: VifId,
    /// The VIF by which it leaves.
    pub to: VifId,
    /// Whether it came by `vif` or leaves there.
    pub direction: Direction,
    /// It is IPv4: addresses have 32 bits.
    pub is_v4: bool,
    /// Where it comes from, as in the VRF.
    pub source: u128,
    /// Where it goes, as behind the VIF by which it leaves.
    pub destination: u128,
    /// Octets of the frame as it came, or as it leaves.
    pub octets: u32,
    /// It is one of so many.
    pub interval: u32,
}

/// What a worker and the thread share.
#[derive(Debug)]
pub struct TalkerChannel {
    seen: ArrayQueue<Seen>,
    /// By VIF and direction: octets of packets for which there was no room, times their intervals.
    missed: Box<[[Counter; 2]]>,
}

impl TalkerChannel {
    /// A channel for packets of `vifs` VIFs.
    pub fn new(vifs: usize) -> TalkerChannel {
        let missed = (0..vifs).map(|_| Default::default()).collect();
        TalkerChannel { seen: ArrayQueue::new(WAITING), missed }
    }

    /// Octets of a VIF that were to be looked at and for which there was no room.
    pub fn missed(&self, vif: VifId, direction: Direction) -> u64 {
        self.missed.get(vif.index()).map_or(0, |missed| missed[direction as usize].get())
    }

    /// Hands a packet over; false, and counted, where there is no room.
    pub(super) fn send(&self, seen: Seen) -> bool {
        let is_sent = self.seen.push(seen).is_ok();
        if let Some(missed) = self.missed.get(seen.vif.index()).filter(|_| !is_sent) {
            missed[seen.direction as usize].add(u64::from(seen.octets) * u64::from(seen.interval));
        }
        is_sent
    }

    /// The packet that waits the longest.
    pub fn receive(&self) -> Option<Seen> {
        self.seen.pop()
    }
}
