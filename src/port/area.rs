//! A worker's packet memory: one mapping cut into frames of equal size.
//!
//! A [`Frame`] is an index, not a pointer: every access goes through the area with a bounds
//! check, so a wrong frame can corrupt a packet but never memory. It cannot be copied, so that each
//! frame has one owner: the pool, a burst, or a port. What a port holds, the kernel may be writing:
//! references are made to single packets of frames that are in a burst, and never to more of the area.

#![allow(unsafe_code)]
// mmap
// Addresses and lengths are octets within one mapping: they fit usize, and packets fit u32.
#![allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]

use std::io;
use std::marker::PhantomData;
use std::ops::Range;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU64, Ordering};

use super::chain::{Chains, Packet, Piece};
use super::frame::{Frame, FrameSize};
use crate::cpu::{self, prefetch};

/// Octets of a huge page.
const HUGE_PAGE: usize = 2 << 20;

/// Room for what is written in front of an IP packet: MACs, tags and ethertype at its end. Octets.
pub const FRONT: usize = 22;
/// What [`Editor::octets`] gives: that, and the shortest payload behind it. Octets.
pub const AROUND: usize = FRONT + 46;
/// Room for a tunnel's headers in front of an IP packet, from MACs to MACs. Octets.
pub const ROOM: usize = FRONT + 56 + 14;
/// What [`Editor::with_room`] gives: that, and the shortest payload behind it. Octets.
pub const WITH_ROOM: usize = ROOM + 46;

/// Tells areas apart, also those that are no more: a mapping's address may come again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct AreaId(u64);

impl AreaId {
    fn next() -> AreaId {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        AreaId(NEXT.fetch_add(1, Ordering::Relaxed))
    }
}

/// Where an area is: what the kernel has to know of it. Nothing is read or written by it, so a thread may open sockets
/// for a worker that has the area and goes on.
#[derive(Clone, Copy, Debug)]
pub struct Extent {
    pub(super) id: AreaId,
    /// The address of its first octet.
    pub(super) base: usize,
    /// Octets; a multiple of the frame size.
    pub(super) len: usize,
    pub(super) frame_size: FrameSize,
}

/// The memory that holds a worker's frames.
#[derive(Debug)]
pub struct Area {
    id: AreaId,
    base: NonNull<u8>,
    len: usize,
    frame_size: FrameSize,
    huge: bool,
    pub(super) chains: Chains,
}

// SAFETY: the mapping is no thread's own. In this process it is reached only through borrows of this value; the
// kernel, which knows it as UMEM, does not care which thread that is.
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
        let id = AreaId::next();
        let chains = Chains::new(len / frame_size.octets(), frame_size);
        if let Ok(base) = map(len, libc::MAP_HUGETLB | libc::MAP_POPULATE) {
            return Ok(Area { id, base, len, frame_size, huge: true, chains });
        }
        // Kernels before 6.7 do not align a mapping to huge pages by themselves.
        let whole = map(len + HUGE_PAGE, 0)?;
        let skip = whole.as_ptr().align_offset(HUGE_PAGE);
        // SAFETY: `skip` is at most a huge page, and the mapping is one longer than `len`.
        let base = unsafe { whole.add(skip) };
        let area = Area { id, base, len, frame_size, huge: false, chains };
        // SAFETY: both calls of munmap are of what the mapping has before and behind the area: `skip` octets, and the
        // rest of the huge page that was mapped beside `len`. Nothing refers to them. Both advices keep the
        // area's contents (zeros).
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

    /// Which area it is: a port keeps that of the one that it was opened with.
    #[inline(always)]
    pub(super) const fn id(&self) -> AreaId {
        self.id
    }

    /// Where it is.
    pub fn extent(&self) -> Extent {
        let Area { id, base, len, frame_size, .. } = *self;
        Extent { id, base: base.as_ptr().addr(), len, frame_size }
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

    /// Where the packet in a frame begins, if all of it is in the area, and how many octets it has there.
    #[inline(always)]
    fn start(&self, frame: &Frame) -> (NonNull<u8>, usize) {
        let at = frame.addr() as usize;
        let len = if frame.is_chain() { self.first_of(frame) } else { frame.len() };
        assert!(at + len <= self.len, "a frame of another area");
        // SAFETY: within the mapping, by the line above.
        (unsafe { self.base.add(at) }, len)
    }

    /// Octets of a chain's packet in its first frame.
    #[cold]
    fn first_of(&self, frame: &Frame) -> usize {
        let (at, len) = frame.place();
        self.chains.end_of_first(at, len).saturating_sub(at) as usize
    }

    /// The packet in a frame; of a chain the octets in its first one.
    ///
    /// # Panics
    /// Never for a frame of this area.
    #[inline(always)]
    pub fn packet(&self, frame: &Frame) -> &[u8] {
        let (start, len) = self.start(frame);
        // SAFETY: `start` saw that the octets are in the mapping, which lives as long as `self` and is initialised (the
        // kernel gave zeros). Whoever shows a `Frame` has it in a burst: it is in no ring, and a port that is given
        // it hands it to the kernel in `Port::flush`, which borrows the area for itself (`&mut Pool`).
        unsafe { std::slice::from_raw_parts(start.as_ptr(), len) }
    }

    /// All of the packet in a frame or a chain.
    #[inline(always)]
    pub fn whole(&self, frame: &Frame) -> Packet<'_> {
        let (at, len) = frame.place();
        self.whole_at(at, len)
    }

    /// All octets of a packet at a place. They must be of the caller's burst, as for [`Area::at`].
    #[inline(always)]
    pub fn whole_at(&self, at: u32, len: u32) -> Packet<'_> {
        Packet::new(self, at, len)
    }

    /// The packet in a frame, to be edited; of a chain the octets in its first one.
    ///
    /// # Panics
    /// Never for a frame of this area.
    #[inline(always)]
    pub fn packet_mut(&mut self, frame: &Frame) -> &mut [u8] {
        let (start, len) = self.start(frame);
        // SAFETY: as in `packet`; `&mut self` makes this the only reference into the area.
        unsafe { std::slice::from_raw_parts_mut(start.as_ptr(), len) }
    }

    /// Writes a packet into a frame or a chain that was taken for as many octets.
    pub(super) fn write(&mut self, frame: &Frame, mut packet: &[u8]) {
        if !frame.is_chain() {
            return self.packet_mut(frame).copy_from_slice(packet);
        }
        let ((first, octets), mut done) = (frame.place(), 0);
        while let Some((at, len)) = self.chains.piece(first, octets, done) {
            let Some((octets, rest)) = packet.split_at_checked(len as usize) else { return };
            self.packet_mut(&Frame::from_descriptor(at.into(), len)).copy_from_slice(octets);
            packet = rest;
            done += len;
        }
    }

    /// The first octets at a place in the area, which may reach beyond the packet's end; `None` where they are not all of
    /// one frame. The place must be in a packet of the caller's burst.
    #[inline(always)]
    pub fn at<const N: usize>(&self, place: u32) -> Option<&[u8; N]> {
        // SAFETY: `N` octets are in the mapping and all of one frame, by `within`; they are initialised. The frame is in a
        // burst, so the kernel does not touch it, and whoever writes there borrows the area for itself.
        self.within(place, N).map(|octets| unsafe { octets.cast().as_ref() })
    }

    /// Where so many octets are, if all of them are of one frame.
    #[inline(always)]
    fn within(&self, place: u32, len: usize) -> Option<NonNull<u8>> {
        let (first, size) = (place as usize, self.frame_size.octets());
        let is_within = (first & (size - 1)) + len <= size && first + len <= self.len;
        // SAFETY: in the mapping, by the line above.
        is_within.then(|| unsafe { self.base.add(first) })
    }

    /// Octets of one frame; `None` where they are not. They must be of the caller's burst, as for [`Area::at`].
    pub(super) fn octets(&self, place: u32, len: u32) -> Option<&[u8]> {
        let octets = self.within(place, len as usize)?;
        // SAFETY: as in `at`: in the mapping and of one frame, by the line above, and of a burst.
        Some(unsafe { std::slice::from_raw_parts(octets.as_ptr(), len as usize) })
    }

    /// Copies octets of one packet into another, behind its first `skip` ones: as many as it has room for, and as there are.
    pub(super) fn copy(&mut self, (place, len): Piece, into: &Frame, skip: u32) {
        let (first, room) = into.place();
        let (mut done, total) = (0, len.min(room.saturating_sub(skip)));
        while done < total {
            let of = |at, len, skip| self.chains.piece(at, len, skip);
            let (Some(from), Some(to)) = (of(place, len, done), of(first, room, skip + done))
            else {
                return;
            };
            let octets = from.1.min(to.1);
            if octets == 0 || !self.copy_within(from.0, to.0, octets) {
                return;
            }
            done += octets;
        }
    }

    /// Copies octets of one frame into another; false where they are not.
    fn copy_within(&mut self, from: u32, to: u32, len: u32) -> bool {
        let apart = (from ^ to) & !(self.frame_size.octets() as u32 - 1) != 0;
        let [Some(source), Some(target)] = [from, to].map(|at| self.within(at, len as usize))
        else {
            return false;
        };
        if apart {
            // SAFETY: `within` saw that both are in the mapping, each all of one frame, and those are two: so they do not
            // overlap. `&mut self` lets nobody have a reference to them.
            unsafe { target.copy_from_nonoverlapping(source, len as usize) };
        }
        apart
    }

    /// Reads the first words at each lane's place in the area into columns, eight lanes at a time. Whatever is not
    /// needed, 32 octets are read: where a packet ends earlier, the words may be anything. Lanes without a packet of
    /// their own name the place of one that has.
    #[inline(always)]
    pub fn columns<const N: usize, const W: usize>(
        &self,
        lanes: Range<usize>,
        at: &[u32; N],
        columns: &mut [[u32; N]; W],
    ) {
        // SAFETY: the mapping is `len` octets that can be read, initialised, and lives as long as `self`. The words are
        // copied one load at a time and no reference is made: a place in a frame that a port holds, which the
        // callers avoid, would give words of which some are old and some new.
        unsafe { cpu::columns(self.base, self.len, lanes, at, columns) };
    }

    /// Gives packets other headers, see [`Editor`].
    #[inline(always)]
    pub fn editor(&mut self) -> Editor<'_> {
        let frame_size = self.frame_size.octets() as u32;
        let last = (self.len - AROUND) as u32;
        Editor { frame_size, last, base: self.base, area: PhantomData }
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
    base: NonNull<u8>,
    /// The last offset in the area with [`AROUND`] octets behind it.
    last: u32,
    area: PhantomData<&'a mut Area>,
}

/// Where the octets around a place begin, all of which are of that place's frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Around(u32);

impl Around {
    /// In no frame.
    pub const NONE: Around = Around(u32::MAX);
}

impl Editor<'_> {
    /// The octets around a place in the area, from [`FRONT`] before it on; [`Around::NONE`] where they are not all of one
    /// frame.
    #[inline(always)]
    pub fn locate(&self, place: u32) -> Around {
        let first = (place & (self.frame_size - 1)).wrapping_sub(FRONT as u32);
        let within = first <= self.frame_size - AROUND as u32;
        if within { Around(place.wrapping_sub(FRONT as u32)) } else { Around::NONE }
    }

    /// These octets: to write a header in front of the place and edit the packet behind it. The place must be in a
    /// packet of the caller's burst.
    #[inline(always)]
    pub fn octets(&mut self, around: Around) -> Option<&mut [u8; AROUND]> {
        if around.0 > self.last {
            return None;
        }
        // SAFETY: there are `AROUND` octets in the mapping at every offset up to `last`; they are initialised, and the
        // area is borrowed for as long as the editor lives. All are of one frame (`locate`), the one of a packet in
        // a burst, so the kernel does not touch them; `&mut self` makes this the only reference.
        Some(unsafe { self.base.add(around.0 as usize).cast().as_mut() })
    }

    /// The octets around a place in the area, from [`ROOM`] before it on; `None` where they are not all of one frame. The
    /// place must be in a packet of the caller's burst.
    #[inline(always)]
    pub fn with_room(&mut self, place: u32) -> Option<&mut [u8; WITH_ROOM]> {
        let first = (place & (self.frame_size - 1)).wrapping_sub(ROOM as u32);
        let within = first <= self.frame_size - WITH_ROOM as u32;
        if !within || place > self.last + FRONT as u32 {
            return None;
        }
        // SAFETY: `place` is at least `ROOM` behind the start of a frame, and has 46 octets behind it in that frame and in the
        // mapping, where `last` is `AROUND` before the end; they are initialised, and the area is borrowed for as long as
        // the editor lives. The frame is in a burst, so the kernel does not touch it; `&mut self` makes this the only
        // reference.
        Some(unsafe { self.base.add(place as usize - ROOM).cast().as_mut() })
    }
}

#[cfg(test)]
mod tests;
