//! A worker's packet memory: one mapping cut into frames of equal size, and the pool of free ones.
//!
//! A [`Frame`] is an index, not a pointer: every access goes through the pool's area with a bounds
//! check, so a wrong frame can corrupt a packet but never memory. It cannot be copied, so that each
//! frame has one owner: the pool, a burst, or a port.

#![allow(unsafe_code)]
// mmap
// Addresses and lengths are octets within one mapping: they fit usize, and packets fit u32.
#![allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]

use std::io;
use std::ptr::NonNull;

use crate::prefetch::prefetch;

/// The kernel leaves this much in front of a received packet (XDP_PACKET_HEADROOM), in octets.
const HEADROOM: u64 = 256;

/// Octets of a huge page.
const HUGE_PAGE: usize = 2 << 20;

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
    addr: u64,
    len: u32,
}

impl Frame {
    /// The frame that a ring's descriptor names. For port backends only: the descriptor must come
    /// from the kernel or the pool, so that the frame has no second owner.
    pub(super) const fn from_descriptor(addr: u64, len: u32) -> Frame {
        Frame { addr, len }
    }

    /// Offset of the packet's first octet in the area.
    #[inline(always)]
    pub const fn addr(&self) -> u64 {
        self.addr
    }

    /// Octets of the packet.
    #[inline(always)]
    pub const fn len(&self) -> usize {
        self.len as usize
    }

    /// Whether the packet is empty.
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }
}

/// The memory that holds a worker's frames.
#[derive(Debug)]
pub struct Area {
    base: NonNull<u8>,
    len: usize,
    frame_size: FrameSize,
    huge: bool,
}

// SAFETY: the mapping is owned by this value alone and reached only through its borrows.
unsafe impl Send for Area {}

impl Area {
    /// Maps memory for `frames` frames: on huge pages where the system has them free; else on ordinary
    /// ones, which the kernel is asked to join to huge ones (two frames fill an ordinary page, so that
    /// nearly every frame would miss the TLB).
    ///
    /// # Errors
    /// The system's, where there is not enough memory.
    pub fn new(frames: usize, frame_size: FrameSize) -> io::Result<Area> {
        let len = (frames * frame_size.octets()).next_multiple_of(HUGE_PAGE);
        if let Ok(base) = map(len, libc::MAP_HUGETLB | libc::MAP_POPULATE) {
            return Ok(Area { base, len, frame_size, huge: true });
        }
        // Kernels before 6.7 do not align a mapping to huge pages by themselves.
        let whole = map(len + HUGE_PAGE, 0)?;
        let skip = whole.as_ptr().align_offset(HUGE_PAGE);
        // SAFETY: `skip` is at most a huge page, and the mapping is one longer than `len`.
        let base = unsafe { whole.add(skip) };
        let area = Area { base, len, frame_size, huge: false };
        // SAFETY: what the mapping has before and behind the area, which nothing refers to; then the
        // area itself, which keeps its contents (zeros).
        unsafe {
            libc::munmap(whole.as_ptr().cast(), skip);
            libc::munmap(base.add(len).as_ptr().cast(), HUGE_PAGE - skip);
            // A kernel without huge pages refuses; then they are ordinary ones.
            libc::madvise(base.as_ptr().cast(), len, libc::MADV_HUGEPAGE);
            if libc::madvise(base.as_ptr().cast(), len, libc::MADV_POPULATE_WRITE) != 0 {
                return Err(io::Error::last_os_error());
            }
        }
        Ok(area)
    }

    /// The start of the mapping, for UMEM registration.
    pub(super) fn base(&self) -> NonNull<u8> {
        self.base
    }

    /// Octets mapped; a multiple of the frame size.
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Never: an area has at least one frame.
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The size of its frames.
    pub const fn frame_size(&self) -> FrameSize {
        self.frame_size
    }

    /// Whether it lies on huge pages.
    pub const fn is_huge(&self) -> bool {
        self.huge
    }

    #[inline(always)]
    fn bytes(&self) -> &[u8] {
        // SAFETY: the mapping is `len` octets, initialised (zero), and lives as long as `self`. The
        // kernel writes only to frames in fill or receive rings, which no `Frame` value names.
        unsafe { std::slice::from_raw_parts(self.base.as_ptr(), self.len) }
    }

    #[inline(always)]
    fn bytes_mut(&mut self) -> &mut [u8] {
        // SAFETY: as in `bytes`, and `&mut self` makes this the only borrow.
        unsafe { std::slice::from_raw_parts_mut(self.base.as_ptr(), self.len) }
    }

    /// The packet in a frame.
    ///
    /// # Panics
    /// Never for a frame of this area.
    #[inline(always)]
    pub fn packet(&self, frame: &Frame) -> &[u8] {
        let at = frame.addr as usize;
        &self.bytes()[at..at + frame.len()]
    }

    /// The packet in a frame, to be edited.
    ///
    /// # Panics
    /// Never for a frame of this area.
    #[inline(always)]
    pub fn packet_mut(&mut self, frame: &Frame) -> &mut [u8] {
        let at = frame.addr as usize;
        &mut self.bytes_mut()[at..at + frame.len()]
    }

    /// Hints the processor that the packet's first line will be read.
    #[inline(always)]
    pub fn prefetch(&self, frame: &Frame) {
        self.prefetch_at(frame.addr);
    }

    /// The same for a packet that a ring names. Any address is safe.
    #[inline(always)]
    pub(super) fn prefetch_at(&self, addr: u64) {
        prefetch(self.base.as_ptr().wrapping_add(addr as usize));
    }
}

/// A new mapping of `len` octets, with more `flags`.
fn map(len: usize, flags: libc::c_int) -> io::Result<NonNull<u8>> {
    // SAFETY: a new anonymous mapping; no existing memory is touched.
    let base = unsafe {
        libc::mmap(
            std::ptr::null_mut(),
            len,
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | flags,
            -1,
            0,
        )
    };
    match NonNull::new(base.cast::<u8>()) {
        Some(base) if base.as_ptr().cast() != libc::MAP_FAILED => Ok(base),
        _ => Err(io::Error::last_os_error()),
    }
}

impl Drop for Area {
    fn drop(&mut self) {
        // SAFETY: the mapping made in `new`, which nothing borrows any more.
        unsafe { libc::munmap(self.base.as_ptr().cast(), self.len) };
    }
}

/// A worker's area and its free frames.
#[derive(Debug)]
pub struct Pool {
    area: Area,
    free: Vec<u64>,
    total: usize,
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

    /// The memory of the frames, to be edited.
    #[inline(always)]
    pub fn area_mut(&mut self) -> &mut Area {
        &mut self.area
    }

    /// Takes a free frame's start address, for a fill ring.
    #[inline(always)]
    pub(super) fn take_addr(&mut self) -> Option<u64> {
        self.free.pop()
    }

    /// Returns a frame by any address within it, as rings give it back.
    #[inline(always)]
    pub(super) fn give_addr(&mut self, addr: u64) {
        self.free.push(addr & !(self.area.frame_size.octets() as u64 - 1));
    }

    /// Returns a frame.
    #[inline(always)]
    pub fn give(&mut self, frame: Frame) {
        self.give_addr(frame.addr);
    }

    /// Takes a free frame and copies a packet into it. `None` where no frame is free or the packet
    /// is longer than a frame's capacity.
    pub fn take_with(&mut self, packet: &[u8]) -> Option<Frame> {
        let len = u32::try_from(packet.len()).ok()?;
        if packet.len() > self.area.frame_size.capacity() {
            return None;
        }
        let addr = self.free.pop()? + HEADROOM;
        let frame = Frame { addr, len };
        self.area.packet_mut(&frame).copy_from_slice(packet);
        Some(frame)
    }

    /// Replaces the packet's first `cut` octets by `head` octets of room, and keeps `len` octets behind
    /// them. Gives the packet; leaves the frame as it is and gives `None` where that leaves its memory.
    #[inline(always)]
    pub fn reframe(
        &mut self,
        frame: &mut Frame,
        cut: usize,
        len: usize,
        head: usize,
    ) -> Option<&mut [u8]> {
        let size = self.area.frame_size.octets();
        let at = frame.addr as usize & (size - 1);
        let (first, end) = ((at + cut).checked_sub(head)?, at + cut + len);
        if end > size {
            return None;
        }
        frame.addr = frame.addr - at as u64 + first as u64;
        frame.len = (end - first) as u32;
        Some(self.area.packet_mut(frame))
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
    fn a_packet_moves_within_its_frame_only() {
        let mut pool = Pool::new(2, FrameSize::Small).unwrap();
        let mut frame = pool.take_with(&[7; 64]).unwrap();
        assert!(pool.reframe(&mut frame, 0, 64, 8).is_some());
        assert_eq!(frame.len(), 72);
        assert_eq!(pool.area().packet(&frame)[8..], [7; 64]);
        assert!(pool.reframe(&mut frame, 12, 60, 0).is_some());
        assert_eq!(pool.area().packet(&frame), [7; 60]);
        assert!(pool.reframe(&mut frame, 0, 60, 256 + 5).is_none(), "before its memory");
        assert!(pool.reframe(&mut frame, 0, 2048 - 260 + 1, 0).is_none(), "past its end");
        assert_eq!(frame.len(), 60);
        pool.give(frame);
        assert_eq!(pool.free(), pool.total());
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
