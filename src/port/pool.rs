//! The free frames of a worker's memory.

use std::io;

use super::area::{Area, AreaId, Editor};
use super::chain::{MOST, Piece};
use super::frame::{Frame, FrameSize, LONGEST};

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
        self.free.push(self.area.frame_size().start_of(addr));
    }

    /// Returns a frame, or all of a chain.
    #[inline(always)]
    pub fn give(&mut self, frame: Frame) {
        if frame.is_chain() {
            return self.give_chain(frame.addr());
        }
        self.give_addr(frame.addr().into());
    }

    #[cold]
    fn give_chain(&mut self, first: u32) {
        let Pool { area, free, .. } = self;
        let size = area.frame_size();
        area.chains.unchain(first, |at| free.push(size.start_of(at.into())));
    }

    /// Frames that a packet lies in.
    pub fn frames_of(&self, frame: &Frame) -> usize {
        match frame.is_chain() {
            true => self.area.chains.frames(frame.addr()).count(),
            false => 1,
        }
    }

    /// A frame or a chain that has the pieces of a packet, whose frames are the caller's.
    pub(super) fn join(&mut self, pieces: &[Piece]) -> Option<Frame> {
        let (&(first, len), more) = pieces.split_first()?;
        if more.is_empty() {
            return Some(Frame::from_descriptor(first.into(), len));
        }
        self.area.chains.chain(pieces);
        Some(Frame::first_of_chain(first, pieces.iter().map(|(_, len)| len).sum()))
    }

    /// Takes the chain of a packet apart: shows each of its pieces, in their order. What has none of its octets is free.
    pub(super) fn split(&mut self, frame: &Frame, mut piece: impl FnMut(Piece)) {
        let (first, len) = frame.place();
        let pieces = self.area.chains.pieces(first, len);
        let count = pieces.clone().count();
        pieces.for_each(&mut piece);
        let (Pool { area, free, .. }, mut seen) = (self, 0);
        let size = area.frame_size();
        area.chains.unchain(first, |at| {
            seen += 1;
            if seen > count {
                free.push(size.start_of(at.into()));
            }
        });
    }

    /// The pieces of the packet in a frame or a chain.
    pub(super) fn pieces_of(&self, frame: &Frame) -> impl Iterator<Item = Piece> + Clone {
        let (first, len) = frame.place();
        self.area.chains.pieces(first, len)
    }

    /// A packet of a chain in one frame, where it fits and one is free; else as it was.
    pub(super) fn in_one(&mut self, chain: Frame) -> Result<Frame, Frame> {
        if chain.len() > self.area.frame_size().capacity() {
            return Err(chain);
        }
        let Some(frame) = self.take(chain.len()) else { return Err(chain) };
        self.area.copy(chain.place(), &frame, 0);
        self.give(chain);
        Ok(frame)
    }

    /// Takes the frames of a closed port back. Those of another area are not its own: they stay nobody's.
    pub fn take_back(&mut self, returned: Returned) {
        let own = returned.area == self.area.id();
        returned.addrs.into_iter().filter(|_| own).for_each(|addr| self.give_addr(addr));
    }

    /// Takes a free frame for a packet of so many octets, or a chain.
    #[inline(always)]
    fn take(&mut self, octets: usize) -> Option<Frame> {
        let len = u32::try_from(octets).ok()?;
        if octets > self.area.frame_size().capacity() {
            return self.take_chain(len);
        }
        Some(Frame::from_descriptor(self.free.pop()? + HEADROOM, len))
    }

    #[cold]
    #[expect(clippy::cast_possible_truncation, reason = "a packet is short")]
    fn take_chain(&mut self, octets: u32) -> Option<Frame> {
        if octets as usize > LONGEST {
            return None;
        }
        let capacity = self.area.frame_size().capacity() as u32;
        let before = (0..octets).step_by(capacity as usize);
        self.take_each(before.map(|before| (octets - before).min(capacity)))
    }

    /// Takes a free frame for each piece of a packet; none where not as many are free.
    #[expect(clippy::cast_possible_truncation, reason = "an area has 4 GiB at most")]
    fn take_each(&mut self, lengths: impl ExactSizeIterator<Item = u32>) -> Option<Frame> {
        let mut pieces = [(0, 0); MOST];
        let pieces = pieces.get_mut(..lengths.len())?;
        let rest = self.free.len().checked_sub(pieces.len())?;
        for ((piece, addr), len) in
            pieces.iter_mut().zip(self.free.drain(rest..).rev()).zip(lengths)
        {
            *piece = ((addr + HEADROOM) as u32, len);
        }
        self.join(pieces)
    }

    /// Takes a free frame, or a chain, and copies a packet into it. `None` where not as many are free or the packet
    /// is longer than [`LONGEST`].
    pub fn take_with(&mut self, packet: &[u8]) -> Option<Frame> {
        let frame = self.take(packet.len())?;
        self.area.write(&frame, packet);
        Some(frame)
    }

    /// As [`Pool::take_with`], with pieces of these lengths, each of at least an octet and at most a frame's capacity, and
    /// as long together as the packet.
    pub(super) fn take_pieces(&mut self, packet: &[u8], lengths: &[usize]) -> Option<Frame> {
        let fits = |len: &usize| (1..=self.area.frame_size().capacity()).contains(len);
        if lengths.iter().sum::<usize>() != packet.len() || !lengths.iter().all(fits) {
            return None;
        }
        let lengths = lengths.iter().map(|len| u32::try_from(*len).unwrap_or(u32::MAX));
        let frame = self.take_each(lengths)?;
        self.area.write(&frame, packet);
        Some(frame)
    }

    /// Takes a free frame for a copy of octets of another packet, which is of the caller's burst, with `front`, some
    /// headers, before them; as with [`Pool::take_with`].
    pub fn take_copy(&mut self, front: &[u8], octets: Piece) -> Option<Frame> {
        let skip = u32::try_from(front.len()).ok()?;
        let frame = self.take(front.len() + octets.1 as usize)?;
        self.area.packet_mut(&frame)[..front.len()].copy_from_slice(front);
        self.area.copy(octets, &frame, skip);
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
    use crate::port::Octets;

    #[test]
    fn a_copy_is_what_stands_in_front_and_what_was_copied() {
        let mut pool = Pool::new(2, FrameSize::Small).unwrap();
        let first = pool.take_with(b"station").unwrap();
        let copy = pool.take_copy(b"> ", (first.addr() + 2, 3)).unwrap();
        assert_eq!(pool.area().packet(&copy), b"> ati");
        assert!(pool.take_copy(b"", (first.addr(), 7)).is_none(), "the pool is empty");
        pool.give(copy);
        assert!(pool.take_copy(&[0; 8], (first.addr(), 1785)).is_none(), "it would need two");
        assert_eq!(pool.free(), 1);
        assert_eq!(pool.area().packet(&first), b"station");
    }

    #[test]
    fn a_packet_longer_than_a_frame_lies_in_several_or_is_refused_and_leaks_nothing() {
        let mut pool = Pool::new(7, FrameSize::Small).unwrap();
        assert!(pool.take_with(&vec![0; LONGEST + 1]).is_none());
        assert_eq!(pool.free(), 7);
        let bytes: Vec<u8> = (0..LONGEST).map(|i| (i % 251).to_le_bytes()[0]).collect();
        let chain = pool.take_with(&bytes).unwrap();
        assert_eq!((chain.len(), pool.free(), pool.frames_of(&chain)), (LONGEST, 1, 6));
        let read = |pool: &Pool, frame: &Frame| {
            let mut all = vec![0; LONGEST];
            let len = pool.area().whole(frame).copy_to(&mut all);
            all.truncate(len);
            all
        };
        assert_eq!(read(&pool, &chain), bytes);
        assert_eq!(pool.area().packet(&chain), &bytes[..1792]);
        for (skip, end) in [(0, 9238), (14, 9000), (1791, 5001), (3000, 3001), (5, 5)] {
            let sum = pool.area().whole(&chain).sum(skip, end);
            let plain = crate::wire::checksum::sum(&bytes[skip as usize..end as usize]);
            assert_eq!(sum % 0xffff, plain % 0xffff, "{skip}..{end}");
        }
        assert!(pool.take_with(&vec![0; 1793]).is_none(), "there are not as many");
        // As the path rewrites it: a tag less in front, and cut off in the second frame.
        let (at, _) = chain.place();
        let cut = chain.with_packet(at + 4, 2000);
        assert_eq!(read(&pool, &cut), bytes[4..2004]);
        let mut pieces = Vec::new();
        pool.split(&cut, |piece| pieces.push(piece));
        assert_eq!(pieces.iter().map(|(_, len)| len).collect::<Vec<_>>(), [&1788, &212]);
        assert_eq!(pool.free(), 5, "what had none of it is free");
        pieces.iter().for_each(|(at, _)| pool.give_addr((*at).into()));
        let long = pool.take_with(&bytes[..2000]).unwrap();
        let copy = pool.take_copy(b"front", (long.addr() + 10, 1990)).unwrap();
        assert_eq!(read(&pool, &copy), [b"front", &bytes[10..2000]].concat());
        let (at, _) = long.place();
        let short = long.with_packet(at + 300, 1700);
        let first = pool.in_one(copy).unwrap_err();
        let one = pool.in_one(short).unwrap();
        assert!(!one.is_chain());
        assert_eq!(read(&pool, &one), bytes[300..2000]);
        pool.give(first);
        pool.give(one);
        assert_eq!(pool.free(), 7);
    }
}
