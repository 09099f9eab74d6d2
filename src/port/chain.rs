//! Packets that are longer than a frame has room for: they lie in several, which are chained. Only the first has headers
//! that anybody looks at, so that the packet path goes its way with a chain as with a frame: what it rewrites, adds and
//! takes away is at the packet's start, and what it cuts off at its end is left out when it is sent.

use super::area::Area;
use super::frame::FrameSize;
use crate::wire::{Start, checksum};

/// Most frames of one packet: what the kernel takes (`MAX_SKB_FRAGS`, and the first).
pub(super) const MOST: usize = 18;

/// What a chain's first frame has of its packet at least: all headers that the path looks at, in octets. A driver that
/// fills its buffers has more.
pub(super) const FIRST: u32 = 512;

/// Where a piece of a packet is: its first octet in the area, and how many octets it has.
pub(super) type Piece = (u32, u32);

/// What is behind a frame in its chain. In no chain, nothing.
#[derive(Clone, Copy, Debug, Default)]
struct Link {
    /// Where the frame's octets end in the area; 0 in no chain.
    end: u32,
    /// Where those of the next frame begin; 0 is behind the last one: no packet begins at an area's first octet, which
    /// is the kernel's headroom.
    next: u32,
}

/// The chains of an area.
#[derive(Debug)]
pub(super) struct Chains {
    /// By frame.
    links: Box<[Link]>,
    /// An address shifted by so many bits is a frame.
    shift: u32,
}

impl Chains {
    /// None among `frames` frames.
    pub(super) fn new(frames: usize, frame_size: FrameSize) -> Chains {
        let links = vec![Link::default(); frames].into_boxed_slice();
        Chains { links, shift: frame_size.octets().trailing_zeros() }
    }

    fn link_of(&self, place: u32) -> Link {
        self.links.get((place >> self.shift) as usize).copied().unwrap_or_default()
    }

    fn set(&mut self, place: u32, link: Link) {
        if let Some(of) = self.links.get_mut((place >> self.shift) as usize) {
            *of = link;
        }
    }

    /// Chains the frames of these pieces, which are one packet's.
    pub(super) fn chain(&mut self, pieces: &[Piece]) {
        let nexts = pieces.iter().skip(1).map(|(at, _)| *at).chain([0]);
        for (&(at, len), next) in pieces.iter().zip(nexts) {
            self.set(at, Link { end: at + len, next });
        }
    }

    /// Takes a chain apart; shows a place in each of its frames to `each`.
    pub(super) fn unchain(&mut self, first: u32, mut each: impl FnMut(u32)) {
        let mut next = first;
        while next != 0 {
            let at = next;
            next = self.link_of(at).next;
            self.set(at, Link::default());
            each(at);
        }
    }

    /// A place in each frame of a chain, in their order.
    pub(super) fn frames(&self, first: u32) -> impl Iterator<Item = u32> {
        std::iter::successors(Some(first), |at| Some(self.link_of(*at).next).filter(|at| *at != 0))
    }

    /// Where the octets of the first frame end that a packet of `len` octets at a place has.
    #[inline(always)]
    pub(super) fn end_of_first(&self, place: u32, len: u32) -> u32 {
        match self.link_of(place).end {
            0 => place.saturating_add(len),
            end => end.min(place.saturating_add(len)),
        }
    }

    /// Of a packet of `len` octets at a place, where it goes on behind the first `skip`, and how far in that frame.
    #[inline]
    pub(super) fn piece(&self, place: u32, len: u32, skip: u32) -> Option<Piece> {
        let mut before = 0;
        self.pieces(place, len).find_map(|(at, len)| {
            let within = skip - before;
            before += len.min(within);
            (within < len).then(|| (at + within, len - within))
        })
    }

    /// The pieces of a packet of `len` octets at a place, in their order.
    #[inline]
    pub(super) fn pieces(&self, place: u32, len: u32) -> Pieces<'_> {
        Pieces { chains: self, at: place, left: len }
    }
}

/// See [`Chains::pieces`].
#[derive(Clone, Debug)]
pub(super) struct Pieces<'a> {
    chains: &'a Chains,
    at: u32,
    left: u32,
}

impl Iterator for Pieces<'_> {
    type Item = Piece;

    #[inline]
    fn next(&mut self) -> Option<Piece> {
        if self.left == 0 {
            return None;
        }
        let Link { end, next } = self.chains.link_of(self.at);
        let len = if end == 0 { self.left } else { end.saturating_sub(self.at).min(self.left) };
        let piece = (self.at, len);
        (self.at, self.left) = (next, if next == 0 { 0 } else { self.left - len });
        Some(piece)
    }
}

/// Octets that may lie in several pieces.
pub trait Octets: Copy {
    /// The first of them, and how many there are.
    fn start(&self) -> Start<'_>;

    /// Copies as many to `to` as it has room for, or as there are; gives how many.
    fn copy_to(&self, to: &mut [u8]) -> usize;
}

impl Octets for &[u8] {
    fn start(&self) -> Start<'_> {
        (*self).into()
    }

    fn copy_to(&self, to: &mut [u8]) -> usize {
        let len = self.len().min(to.len());
        to[..len].copy_from_slice(&self[..len]);
        len
    }
}

/// All octets of a packet, however many frames they lie in.
#[derive(Clone, Copy, Debug)]
pub struct Packet<'a> {
    area: &'a Area,
    at: u32,
    len: u32,
}

impl Octets for Packet<'_> {
    fn start(&self) -> Start<'_> {
        let end = self.area.chains.end_of_first(self.at, self.len);
        let octets = self.area.octets(self.at, end.saturating_sub(self.at)).unwrap_or_default();
        Start { octets, len: self.len as usize }
    }

    fn copy_to(&self, mut to: &mut [u8]) -> usize {
        let mut copied = 0;
        for (at, len) in self.area.chains.pieces(self.at, self.len) {
            let piece = self.area.octets(at, len).unwrap_or_default();
            let part = &piece[..piece.len().min(to.len())];
            let (octets, rest) = to.split_at_mut(part.len());
            octets.copy_from_slice(part);
            copied += part.len();
            to = rest;
        }
        copied
    }
}

impl<'a> Packet<'a> {
    /// Of `len` octets at a place.
    pub(super) fn new(area: &'a Area, at: u32, len: u32) -> Packet<'a> {
        Packet { area, at, len }
    }

    /// All of them in one place.
    pub fn to_vec(&self) -> Vec<u8> {
        let mut octets = vec![0; self.len as usize];
        self.copy_to(&mut octets);
        octets
    }

    /// The sum of its octets behind the first `skip`, up to `end`, as [`checksum::sum`] has it.
    pub fn sum(&self, skip: u32, end: u32) -> u16 {
        let (mut sum, mut done) = (0, skip);
        while let Some((at, len)) = self.area.chains.piece(self.at, end.min(self.len), done) {
            let of_piece = checksum::sum(self.area.octets(at, len).unwrap_or_default());
            // Behind an odd number of octets those of every word are the other way round (RFC 1071 2 (B)).
            let of_piece =
                if (done - skip).is_multiple_of(2) { of_piece } else { of_piece.swap_bytes() };
            sum = checksum::fold(u32::from(sum) + u32::from(of_piece));
            done += len;
        }
        sum
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chain_is_read_as_long_as_the_packet_is_and_taken_apart_whole() {
        let mut chains = Chains::new(8, FrameSize::Small);
        let pieces = [(256, 1792), (3 * 2048 + 256, 1792), (2048 + 256, 700)];
        chains.chain(&pieces);
        let read = |at, len| chains.pieces(at, len).collect::<Vec<_>>();
        assert_eq!(read(256, 4284), pieces);
        // A tunnel's headers in front, a tag less, padding cut off, two frames cut off.
        assert_eq!(read(186, 4354), [(186, 1862), pieces[1], pieces[2]]);
        assert_eq!(read(260, 4280), [(260, 1788), pieces[1], pieces[2]]);
        assert_eq!(read(256, 4000), [pieces[0], pieces[1], (2304, 416)]);
        assert_eq!(read(256, 100), [(256, 100)]);
        assert_eq!(read(4 * 2048, 100), [(4 * 2048, 100)], "in no chain");
        assert_eq!((chains.end_of_first(256, 4284), chains.end_of_first(256, 9)), (2048, 265));
        assert_eq!(chains.piece(256, 4284, 1791), Some((2047, 1)));
        assert_eq!(chains.piece(256, 4284, 1800), Some((3 * 2048 + 264, 1784)));
        assert_eq!((chains.piece(256, 4284, 4284), chains.piece(9, 9, 5)), (None, Some((14, 4))));
        let mut frames = Vec::new();
        chains.unchain(260, |at| frames.push(at / 2048));
        assert_eq!(frames, [0, 3, 1]);
        assert_eq!(chains.pieces(256, 4284).count(), 1, "it is none any more");
        chains.unchain(7 * 2048, |at| frames.push(at / 2048));
        assert_eq!(frames, [0, 3, 1, 7]);
    }
}
