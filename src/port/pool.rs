//! The free frames of a worker's memory.

use std::io;

use super::area::{Area, AreaId, Editor};
use super::frame::{Frame, FrameSize};

/// The kernel leaves this much in front of a received packet (XDP_PACKET_HEADROOM), in octets.
const HEADROOM: u64 = 256;

/// A worker's area and its free frames.
#[derive(Debug)]
pub struct Pool {
    area: Area,
    free: Vec<u64>,
    total: usize,
}

/// Frames that a closed port had, for the pool of their area.
#[derive(Debug)]
pub struct Returned {
    pub(super) area: AreaId,
    pub(super) addrs: Vec<u64>,
}

impl Pool {
    /// A pool of `frames` free frames.
    ///
    /// # Errors
    /// The system's, where there is not enough memory.
    pub fn new(frames: usize, frame_size: FrameSize) -> io::Result<Pool> {
        let area = Area::new(frames, frame_size)?;
        let free = (0..frames as u64).rev().map(|i| i * frame_size.octets() as u64).collect();
        Ok(Pool { area, free, total: frames })
    }

    /// The memory of the frames.
    #[inline(always)]
    pub fn area(&self) -> &Area {
        &self.area
    }

    /// Takes a free frame's start address, for a fill ring.
    #[inline(always)]
    pub(super) fn take_addr(&mut self) -> Option<u64> {
        self.free.pop()
    }

    /// Returns a frame by any address within it, as rings give it back.
    #[inline(always)]
    pub(super) fn give_addr(&mut self, addr: u64) {
        self.free.push(addr & !(self.area.frame_size().octets() as u64 - 1));
    }

    /// Returns a frame.
    #[inline(always)]
    pub fn give(&mut self, frame: Frame) {
        self.give_addr(frame.addr().into());
    }

    /// Takes the frames of a closed port back. Those of another area are not its own: they stay nobody's.
    pub fn take_back(&mut self, returned: Returned) {
        let own = returned.area == self.area.id();
        returned.addrs.into_iter().filter(|_| own).for_each(|addr| self.give_addr(addr));
    }

    /// Takes a free frame for a packet of so many octets.
    #[inline(always)]
    fn take(&mut self, octets: usize) -> Option<Frame> {
        let len = u32::try_from(octets).ok()?;
        if octets > self.area.frame_size().capacity() {
            return None;
        }
        Some(Frame::from_descriptor(self.free.pop()? + HEADROOM, len))
    }

    /// Takes a free frame and copies a packet into it. `None` where no frame is free or the packet
    /// is longer than a frame's capacity.
    pub fn take_with(&mut self, packet: &[u8]) -> Option<Frame> {
        let frame = self.take(packet.len())?;
        self.area.packet_mut(&frame).copy_from_slice(packet);
        Some(frame)
    }

    /// Takes a free frame for a copy of octets of another one, which is of the caller's burst, with `front` before them;
    /// as with [`Pool::take_with`].
    pub fn take_copy(&mut self, front: &[u8], octets: (u32, u32)) -> Option<Frame> {
        let frame = self.take(front.len() + octets.1 as usize)?;
        self.area.packet_mut(&frame)[..front.len()].copy_from_slice(front);
        self.area.copy(octets, &frame, front.len());
        Some(frame)
    }

    /// The packet in a frame, to be edited.
    ///
    /// # Panics
    /// Never for a frame of this pool.
    #[inline(always)]
    pub fn packet_mut(&mut self, frame: &Frame) -> &mut [u8] {
        self.area.packet_mut(frame)
    }

    /// Gives packets other headers, see [`Editor`].
    #[inline(always)]
    pub fn editor(&mut self) -> Editor<'_> {
        self.area.editor()
    }

    /// Frames free now.
    pub fn free(&self) -> usize {
        self.free.len()
    }

    /// Frames in all: free + held by ports + in bursts.
    pub fn total(&self) -> usize {
        self.total
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_is_what_stands_in_front_and_what_was_copied() {
        let mut pool = Pool::new(2, FrameSize::Small).unwrap();
        let first = pool.take_with(b"station").unwrap();
        let copy = pool.take_copy(b"> ", (first.addr() + 2, 3)).unwrap();
        assert_eq!(pool.area().packet(&copy), b"> ati");
        assert!(pool.take_copy(b"", (first.addr(), 7)).is_none(), "the pool is empty");
        pool.give(copy);
        assert!(pool.take_copy(&[0; 8], (first.addr(), 1785)).is_none(), "longer than a frame");
        assert_eq!(pool.free(), 1);
        assert!(pool.area().octets(first.addr(), 1793).is_none(), "of two frames");
        assert_eq!(pool.area().packet(&first), b"station");
    }

    #[test]
    fn a_packet_longer_than_a_frame_is_refused_and_leaks_nothing() {
        let mut pool = Pool::new(1, FrameSize::Small).unwrap();
        assert!(pool.take_with(&vec![0; FrameSize::Small.capacity() + 1]).is_none());
        let frame = pool.take_with(&vec![0; FrameSize::Small.capacity()]).unwrap();
        assert!(pool.take_with(&[0]).is_none(), "the pool is empty");
        pool.give(frame);
        assert_eq!(pool.free(), 1);
    }
}
