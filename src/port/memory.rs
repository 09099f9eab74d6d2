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
    held: usize,
    /// Frames that may leave; `None`: all.
    credit: Option<usize>,
}

impl MemoryPort {
    /// A port whose transmit ring holds `ring` frames between flushes.
    pub fn new(ring: usize) -> MemoryPort {
        let (received, queued) = (VecDeque::new(), VecDeque::new());
        MemoryPort { received, queued, sent: Vec::new(), ring, held: 0, credit: None }
    }

    /// As [`MemoryPort::new`], by a wire that takes no more frames than [`MemoryPort::grant`] says.
    pub fn slow(ring: usize) -> MemoryPort {
        MemoryPort { credit: Some(0), ..MemoryPort::new(ring) }
    }

    /// So many frames more may leave.
    pub fn grant(&mut self, frames: usize) {
        self.credit = self.credit.map(|credit| credit + frames);
    }

    /// Puts a packet on the wire towards the station. Returns false where the pool has no frame for
    /// it or it is too long: then it was never received.
    #[must_use]
    pub fn inject(&mut self, pool: &mut Pool, packet: &[u8]) -> bool {
        let Some(frame) = pool.take_with(packet) else { return false };
        self.receive(pool, frame);
        true
    }

    /// As [`MemoryPort::inject`], of a packet that lies in several frames, however long its pieces are, as a driver may
    /// deliver it.
    #[must_use]
    pub fn inject_pieces(&mut self, pool: &mut Pool, packet: &[u8], lengths: &[usize]) -> bool {
        let Some(frame) = pool.take_pieces(packet, lengths) else { return false };
        self.receive(pool, frame);
        true
    }

    fn receive(&mut self, pool: &Pool, frame: Frame) {
        self.held += pool.frames_of(&frame);
        self.received.push_back(frame);
    }

    /// As [`MemoryPort::inject`], with a stamp in front of the packet.
    #[must_use]
    pub fn inject_stamped(&mut self, pool: &mut Pool, packet: &[u8], stamp: Stamp) -> bool {
        let Some(frame) = pool.take_with(packet) else { return false };
        stamp.put(pool, &frame);
        self.receive(pool, frame);
        true
    }

    /// The packets that the station sent since the last call.
    pub fn take_sent(&mut self) -> Vec<Vec<u8>> {
        std::mem::take(&mut self.sent)
    }
}

impl Port for MemoryPort {
    fn rx(&mut self, pool: &mut Pool, out: &mut Vec<Frame>) {
        let count = self.received.len().min(BURST - out.len());
        for frame in self.received.drain(..count) {
            self.held -= pool.frames_of(&frame);
            out.push(frame);
        }
    }

    fn tx(&mut self, pool: &mut Pool, frame: Frame) -> Result<(), Frame> {
        if self.queued.len() == self.ring {
            return Err(frame);
        }
        self.held += pool.frames_of(&frame);
        self.queued.push_back(frame);
        Ok(())
    }

    fn is_half_free(&mut self) -> bool {
        2 * self.queued.len() <= self.ring
    }

    fn sending(&self) -> usize {
        self.queued.len()
    }

    fn ring(&self) -> usize {
        self.ring
    }

    fn flush(&mut self, pool: &mut Pool) {
        let count = self.credit.unwrap_or(usize::MAX).min(self.queued.len());
        self.credit = self.credit.map(|credit| credit - count);
        for frame in self.queued.drain(..count) {
            self.held -= pool.frames_of(&frame);
            self.sent.push(pool.area().whole(&frame).to_vec());
            pool.give(frame);
        }
    }

    fn held(&self) -> usize {
        self.held
    }
}
