//! Frames: places in a worker's memory, of which each has one owner.

/// What may be read of each received frame at once, from its first octet on, however short it is: the longest
/// Ethernet header with its tags, and [`super::Area::columns`] behind it.
pub(super) const READ: u32 = 64;

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

    /// The longest packet, L2 header included, that fits behind the headroom.
    pub const fn capacity(self) -> usize {
        self.octets() - 256
    }

    /// Whether a packet of `len` octets at an address lies within one frame, and what is read of it at once too.
    #[inline(always)]
    pub(super) fn has_room(self, addr: u64, len: u32) -> bool {
        let size = self.octets() as u64;
        (addr & (size - 1)) + u64::from(len.max(READ)) <= size
    }

    /// The smallest frame for packets of `octets`, L2 header included.
    pub const fn for_packet(octets: usize) -> Option<FrameSize> {
        if octets <= FrameSize::Small.capacity() {
            Some(FrameSize::Small)
        } else if octets <= FrameSize::Large.capacity() {
            Some(FrameSize::Large)
        } else {
            None
        }
    }
}

/// One packet buffer: where its packet starts in the area and how long it is, in octets.
#[derive(Debug, PartialEq, Eq)]
pub struct Frame {
    addr: u32,
    len: u32,
}

impl Frame {
    /// The frame that a ring's descriptor names. For port backends only: the descriptor must come
    /// from the kernel or the pool, so that the frame has no second owner.
    #[inline(always)]
    #[expect(clippy::cast_possible_truncation, reason = "an area has 4 GiB at most")]
    pub(super) const fn from_descriptor(addr: u64, len: u32) -> Frame {
        Frame { addr: addr as u32, len }
    }

    /// Offset of the packet's first octet in the area.
    #[inline(always)]
    pub const fn addr(&self) -> u32 {
        self.addr
    }

    /// Octets of the packet.
    #[inline(always)]
    pub const fn len(&self) -> usize {
        self.len as usize
    }

    /// The frame with another packet in it: `len` octets at `addr`, which must be within it.
    #[inline(always)]
    pub const fn with_packet(self, addr: u32, len: u32) -> Frame {
        Frame { addr, len }
    }

    /// Where its packet is: address and octets.
    pub const fn place(&self) -> (u32, u32) {
        (self.addr, self.len)
    }

    /// Whether the packet is empty.
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }
}
