//! Frames: places in a worker's memory, of which each has one owner.

/// What may be read of each received frame at once, from its first octet on, however short it is: the longest
/// Ethernet header with its tags, and [`super::Area::columns`] behind it.
pub(super) const READ: u32 = 64;

/// The largest MTU of a port, in octets.
pub const LARGEST_MTU: u32 = 9216;

/// Octets of the longest packet, with two tags.
pub const LONGEST: usize = LARGEST_MTU as usize + 14 + 2 * 4;

/// Octets of one frame's memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FrameSize {
    /// For packets of up to 1,792 octets.
    Small = 2048,
    /// For packets of up to 3,840 octets.
    Large = 4096,
}

impl FrameSize {
    /// In octets.
    pub const fn octets(self) -> usize {
        self as usize
    }

    /// The longest packet, L2 header included, that fits behind the headroom. A longer one lies in several frames.
    pub const fn capacity(self) -> usize {
        self.octets() - 256
    }

    /// Where the frame begins that has an address in it.
    #[inline(always)]
    pub(super) const fn start_of(self, addr: u64) -> u64 {
        addr & !(self.octets() as u64 - 1)
    }

    /// Whether a packet of `len` octets at an address lies within one frame, and what is read of it at once too.
    #[inline(always)]
    pub(super) fn has_room(self, addr: u64, len: u32) -> bool {
        let size = self.octets() as u64;
        (addr & (size - 1)) + u64::from(len.max(READ)) <= size
    }

    /// The best frame for packets of up to `octets`, L2 header included.
    pub const fn for_packet(octets: usize) -> FrameSize {
        if octets <= FrameSize::Small.capacity() { FrameSize::Small } else { FrameSize::Large }
    }
}

/// What a station's memory is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frames {
    /// The size of frames.
    pub size: FrameSize,
    /// Whether packets may lie in several of them.
    pub chains: bool,
}

impl Frames {
    /// Octets of the longest packet, L2 header included.
    pub const fn longest(self) -> usize {
        if self.chains { LONGEST } else { self.size.capacity() }
    }
}

/// One packet buffer: where its packet starts in the area and how long it is, in octets. Of a packet in several frames
/// ([`super::chain`]) this is the first; it stands for all of them.
#[derive(Debug, PartialEq, Eq)]
pub struct Frame {
    addr: u32,
    /// The length, and [`CHAINED`].
    len: u32,
}

/// The packet goes on in another frame.
const CHAINED: u32 = 1 << 31;

impl Frame {
    /// The frame that a ring's descriptor names. For port backends only: the descriptor must come
    /// from the kernel or the pool, so that the frame has no second owner.
    #[inline(always)]
    #[expect(clippy::cast_possible_truncation, reason = "an area has 4 GiB at most")]
    pub(super) const fn from_descriptor(addr: u64, len: u32) -> Frame {
        Frame { addr: addr as u32, len }
    }

    /// As [`Frame::from_descriptor`], of the first of several frames that are chained.
    pub(super) const fn first_of_chain(addr: u32, len: u32) -> Frame {
        Frame { addr, len: len | CHAINED }
    }

    /// Whether the packet lies in several frames.
    #[inline(always)]
    pub const fn is_chain(&self) -> bool {
        self.len & CHAINED != 0
    }

    /// Offset of the packet's first octet in the area.
    #[inline(always)]
    pub const fn addr(&self) -> u32 {
        self.addr
    }

    /// Octets of the packet.
    #[inline(always)]
    pub const fn len(&self) -> usize {
        (self.len & !CHAINED) as usize
    }

    /// The frame with another packet in it: `len` octets at `addr`, which must be within it, or within the first of
    /// several.
    #[inline(always)]
    pub const fn with_packet(self, addr: u32, len: u32) -> Frame {
        Frame { addr, len: len | self.len & CHAINED }
    }

    /// Where its packet is: address and octets.
    pub const fn place(&self) -> (u32, u32) {
        (self.addr, self.len & !CHAINED)
    }

    /// Whether the packet is empty.
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }
}
