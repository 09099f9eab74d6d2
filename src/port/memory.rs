//! A port in memory, for tests, benchmarks and replays: frames go in by [`MemoryPort::inject`] and
//! come out by [`MemoryPort::take_sent`].

use std::collections::VecDeque;

use super::stamp::Stamp;
use super::{BURST, Frame, Pool, Port};

/// A port whose wire is two queues.
#[derive(Debug)]
pub struct MemoryPort {
    received: VecDeque<Frame>,
    queued: VecDeque<Frame>,
    sent: Vec<Vec<u8>>,
    ring: usize,
}

impl MemoryPort {
    /// A port whose transmit ring holds `ring` frames between flushes.
    pub fn new(ring: usize) -> MemoryPort {
        MemoryPort { received: VecDeque::new(), queued: VecDeque::new(), sent: Vec::new(), ring }
    }

    /// Puts a packet on the wire towards the station. Returns false where the pool has no frame for
    /// it or it is too long: then it was never received.
    #[must_use]
    pub fn inject(&mut self, pool: &mut Pool, packet: &[u8]) -> bool {
        match pool.take_with(packet) {
            Some(frame) => {
                self.received.push_back(frame);
                true
            }
            None => false,
        }
    }

    /// As [`MemoryPort::inject`], with a stamp in front of the packet.
    #[must_use]
    pub fn inject_stamped(&mut self, pool: &mut Pool, packet: &[u8], stamp: Stamp) -> bool {
        let Some(frame) = pool.take_with(packet) else { return false };
        stamp.put(pool, &frame);
        self.received.push_back(frame);
        true
    }

    /// The packets that the station sent since the last call.
    pub fn take_sent(&mut self) -> Vec<Vec<u8>> {
        std::mem::take(&mut self.sent)
    }
}

impl Port for MemoryPort {
    fn rx(&mut self, _pool: &mut Pool, out: &mut Vec<Frame>) {
        let count = self.received.len().min(BURST - out.len());
        out.extend(self.received.drain(..count));
    }

    fn tx(&mut self, frame: Frame) -> Result<(), Frame> {
        if self.queued.len() == self.ring {
            return Err(frame);
        }
        self.queued.push_back(frame);
        Ok(())
    }

    fn is_half_free(&mut self) -> bool {
        2 * self.queued.len() <= self.ring
    }

    fn flush(&mut self, pool: &mut Pool) {
        for frame in self.queued.drain(..) {
            self.sent.push(pool.area().packet(&frame).to_vec());
            pool.give(frame);
        }
    }

    fn held(&self) -> usize {
        self.received.len() + self.queued.len()
    }
}
