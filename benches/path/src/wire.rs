//! A port in memory whose frames never end: the same packets again and again, each copied into a fresh
//! frame as DPDK's net_pcap does with `infinite_rx=1`, because the path rewrites frames in place. What is
//! sent is gone.

use station::port::stamp::{Stamp, Stamping};
use station::port::{BURST, Frame, Pool, Port};

use crate::measure::now_ns;

/// Octets between packets.
const STRIDE: usize = 128;

#[derive(Default)]
pub struct Wire {
    packets: Vec<[u8; STRIDE]>,
    octets: Vec<usize>,
    next: usize,
    queued: Vec<Frame>,
    /// How frames are stamped, if at all; the number of the next one, and the time.
    pub stamping: Option<Stamping>,
    number: u32,
    now_ns: u64,
}

/// So many frames have the same time: it is not the clock that is measured.
const SAME_TIME: u32 = 1 << 16;

impl Wire {
    /// A wire with these packets on it.
    pub fn load(&mut self, packets: &[Vec<u8>]) {
        let padded = |packet: &Vec<u8>| {
            let mut octets = [0; STRIDE];
            octets[..packet.len()].copy_from_slice(packet);
            octets
        };
        self.packets = packets.iter().map(padded).collect();
        self.octets = packets.iter().map(Vec::len).collect();
        self.next = 0;
        self.queued.reserve(BURST);
    }

    /// Gives a frame its number, and its stamp where it has one.
    fn stamp(&mut self, stamping: Stamping, pool: &mut Pool, frame: &Frame) {
        let number = self.number;
        self.number = number.wrapping_add(1);
        if number.is_multiple_of(SAME_TIME) {
            self.now_ns = now_ns();
        }
        if stamping.stamps(number) {
            Stamp { nonce: stamping.nonce, number, ns: self.now_ns }.put(pool, frame);
        }
    }
}

impl Port for Wire {
    #[inline]
    fn rx(&mut self, pool: &mut Pool, out: &mut Vec<Frame>) {
        if self.packets.is_empty() {
            return;
        }
        let first = out.len();
        while out.len() < BURST {
            let packet = &self.packets[self.next][..self.octets[self.next]];
            let Some(frame) = pool.take_with(packet) else { return };
            out.push(frame);
            self.next += 1;
            if self.next == self.packets.len() {
                self.next = 0;
            }
        }
        if let Some(stamping) = self.stamping {
            out[first..].iter().for_each(|frame| self.stamp(stamping, pool, frame));
        }
    }

    #[inline]
    fn tx(&mut self, _: &mut Pool, frame: Frame) -> Result<(), Frame> {
        self.queued.push(frame);
        Ok(())
    }

    fn is_half_free(&mut self) -> bool {
        true
    }

    #[inline]
    fn sending(&self) -> usize {
        self.queued.len()
    }

    fn ring(&self) -> usize {
        2048
    }

    #[inline]
    fn flush(&mut self, pool: &mut Pool) {
        for frame in self.queued.drain(..) {
            pool.give(frame);
        }
    }

    fn held(&self) -> usize {
        self.queued.len()
    }
}
