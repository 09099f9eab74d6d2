//! A worker's packet memory: one mapping cut into frames of equal size.
//!
//! A [`Frame`] is an index, not a pointer: every access goes through the area with a bounds
//! check, so a wrong frame can corrupt a packet but never memory. It cannot be copied, so that each
//! frame has one owner: the pool, a burst, or a port.

#![allow(unsafe_code)]
// mmap
// Addresses and lengths are octets within one mapping: they fit usize, and packets fit u32.
#![allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]

use std::io;
use std::ops::Range;
use std::ptr::NonNull;

use crate::cpu::{self, prefetch};

/// Octets of a huge page.
const HUGE_PAGE: usize = 2 << 20;

/// Room for what is written in front of an IP packet: MACs, tags and ethertype at its end. Octets.
pub const FRONT: usize = 22;
/// What [`Editor::around`] gives: that, and the shortest payload behind it. Octets.
pub const AROUND: usize = FRONT + 46;

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
    addr: u32,
    len: u32,
}

impl Frame {
    /// The frame that a ring's descriptor names. For port backends only: the descriptor must come
    /// from the kernel or the pool, so that the frame has no second owner.
    #[inline(always)]
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
    /// The system's, where there is not enough memory; more than 4 GiB are refused.
    pub fn new(frames: usize, frame_size: FrameSize) -> io::Result<Area> {
        let len = (frames * frame_size.octets()).next_multiple_of(HUGE_PAGE);
        if u32::try_from(len.saturating_sub(1)).is_err() {
            return Err(io::Error::other("the frames of a worker may take 4 GiB at most"));
        }
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

    /// Reads the first words at each lane's place in the area into columns, eight lanes at a time. Whatever is not
    /// needed, 32 octets are read: where a packet ends earlier, the words may be anything.
    #[inline(always)]
    pub fn columns<const N: usize, const W: usize>(
        &self,
        lanes: Range<usize>,
        at: &[u32; N],
        columns: &mut [[u32; N]; W],
    ) {
        cpu::columns(self.bytes(), lanes, at, columns);
    }

    /// Gives packets other headers, see [`Editor`].
    #[inline(always)]
    pub fn editor(&mut self) -> Editor<'_> {
        let frame_size = self.frame_size.octets() as u32;
        let bytes = self.bytes_mut();
        Editor { frame_size, last: bytes.len() - AROUND, bytes }
    }

    /// Hints the processor that the first line of the packet that a ring names will be read. Any address is safe.
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

/// Puts headers in front of packets within their frames.
#[derive(Debug)]
pub struct Editor<'a> {
    frame_size: u32,
    bytes: &'a mut [u8],
    /// The last place in `bytes` with [`AROUND`] octets.
    last: usize,
}

impl Editor<'_> {
    /// Whether the octets around this place in the area, those that [`Editor::around`] gives, are of one frame.
    #[inline(always)]
    pub fn is_within(&self, place: u32) -> bool {
        let first = (place & (self.frame_size - 1)).wrapping_sub(FRONT as u32);
        first <= self.frame_size - AROUND as u32
    }

    /// The octets around a place in the area, beginning [`FRONT`] before it: to write a header in front of it and edit
    /// the packet behind it.
    #[inline(always)]
    pub fn around(&mut self, place: u32) -> Option<&mut [u8; AROUND]> {
        let first = place.wrapping_sub(FRONT as u32) as usize;
        if first > self.last {
            return None;
        }
        // SAFETY: there are `AROUND` octets at every place in `bytes` up to the last.
        Some(unsafe { &mut *self.bytes.as_mut_ptr().add(first).cast() })
    }
}

#[cfg(test)]
mod tests {
    use super::super::Pool;
    use super::*;

    #[test]
    fn a_packet_gets_another_header() {
        let mut pool = Pool::new(2, FrameSize::Small).unwrap();
        let packet: Vec<u8> = (0..64).collect();
        let frame = pool.take_with(&packet).unwrap();
        let place = frame.addr + 18;
        let mut editor = pool.editor();
        let around = editor.around(place).unwrap();
        assert_eq!(around[FRONT - 18..], packet[..AROUND - FRONT + 18]);
        around[FRONT - 22..FRONT - 18].fill(7);
        let frame = frame.with_packet(place - 22, 62);
        assert_eq!(pool.area().packet(&frame), [&[7; 4], &packet[..58]].concat());
        let end = pool.area().len() as u32;
        let mut editor = pool.editor();
        assert!(editor.around(22).is_some() && editor.around(end - 46).is_some());
        for outside in [0, FRONT as u32 - 1, end - 45, end, u32::MAX] {
            assert!(editor.around(outside).is_none(), "{outside}");
        }
        pool.give(frame);
        assert_eq!(pool.free(), pool.total());
    }

    #[test]
    fn what_is_around_a_place_is_of_one_frame() {
        let mut pool = Pool::new(2, FrameSize::Small).unwrap();
        let editor = pool.editor();
        assert!(!editor.is_within(2048 + 21) && editor.is_within(2048 + 22));
        assert!(editor.is_within(4096 - 46) && !editor.is_within(4096 - 45));
    }
}
