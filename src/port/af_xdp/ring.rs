//! The rings that a socket shares with the kernel: one writes entries and a producer index, the
//! other reads them and writes a consumer index. Indices count all entries ever and wrap at 2^32
//! (kernel Documentation/networking/af_xdp.rst, "Concepts").
//!
//! What the kernel writes is not trusted further than it must be: an index out of range yields
//! fewer entries, never an access outside of the ring.

#![allow(unsafe_code)] // memory shared with the kernel

use std::io;
use std::marker::PhantomData;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, Ordering};

/// What a ring may hold.
///
/// # Safety
/// Every bit pattern is a valid value, and the type has no interior mutability.
pub(super) unsafe trait Entry: Copy {}

// SAFETY: an integer.
unsafe impl Entry for u64 {}
// SAFETY: a struct of integers.
unsafe impl Entry for libc::xdp_desc {}

/// A mapping of ring memory.
struct Mapping {
    base: NonNull<u8>,
    len: usize,
}

impl Mapping {
    fn new(fd: BorrowedFd<'_>, page_offset: libc::off_t, len: usize) -> io::Result<Mapping> {
        // SAFETY: a new mapping; no existing memory is touched.
        let base = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                len,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_SHARED | libc::MAP_POPULATE,
                fd.as_raw_fd(),
                page_offset,
            )
        };
        match NonNull::new(base.cast::<u8>()) {
            Some(base) if base.as_ptr().cast() != libc::MAP_FAILED => Ok(Mapping { base, len }),
            _ => Err(io::Error::last_os_error()),
        }
    }

    /// The start of `count` values of type `T` at an offset that the kernel gave.
    fn at<T>(&self, offset: u64, count: usize) -> io::Result<NonNull<T>> {
        let bad = || io::Error::new(io::ErrorKind::InvalidData, "ring offsets outside its memory");
        let start = usize::try_from(offset).map_err(|_| bad())?;
        let end = count.checked_mul(size_of::<T>()).and_then(|len| start.checked_add(len));
        if end.is_none_or(|end| end > self.len) || !start.is_multiple_of(align_of::<T>()) {
            return Err(bad());
        }
        // SAFETY: `start` is within the mapping.
        Ok(unsafe { self.base.add(start) }.cast())
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: the mapping made in `new`; the ring that holds it goes with it.
        unsafe { libc::munmap(self.base.as_ptr().cast(), self.len) };
    }
}

/// Both sides' view of a ring.
struct Ring<T> {
    _mapping: Mapping,
    producer: NonNull<AtomicU32>,
    consumer: NonNull<AtomicU32>,
    flags: NonNull<AtomicU32>,
    entries: NonNull<T>,
    size: u32,
    _entries: PhantomData<T>,
}

// SAFETY: the mapping is owned by this value alone; the kernel's side is reached by atomics.
unsafe impl<T: Entry + Send> Send for Ring<T> {}

impl<T: Entry> Ring<T> {
    fn new(
        fd: BorrowedFd<'_>,
        page_offset: libc::off_t,
        offsets: &libc::xdp_ring_offset,
        size: u32,
    ) -> io::Result<Ring<T>> {
        if !size.is_power_of_two() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "ring size: not a power of 2"));
        }
        let bad = |_| io::Error::new(io::ErrorKind::InvalidData, "ring offsets out of range");
        let end = offsets.desc.saturating_add(u64::from(size) * size_of::<T>() as u64);
        let mapping = Mapping::new(fd, page_offset, usize::try_from(end).map_err(bad)?)?;
        Ok(Ring {
            producer: mapping.at(offsets.producer, 1)?,
            consumer: mapping.at(offsets.consumer, 1)?,
            flags: mapping.at(offsets.flags, 1)?,
            entries: mapping.at(offsets.desc, size as usize)?,
            size,
            _entries: PhantomData,
            _mapping: mapping,
        })
    }

    #[inline(always)]
    fn producer(&self) -> &AtomicU32 {
        // SAFETY: within the mapping and aligned (checked in `at`), which lives as long as `self`.
        unsafe { self.producer.as_ref() }
    }

    #[inline(always)]
    fn consumer(&self) -> &AtomicU32 {
        // SAFETY: as in `producer`.
        unsafe { self.consumer.as_ref() }
    }

    #[inline(always)]
    fn needs_wakeup(&self) -> bool {
        // SAFETY: as in `producer`.
        let flags = unsafe { self.flags.as_ref() };
        flags.load(Ordering::Relaxed) & libc::XDP_RING_NEED_WAKEUP != 0
    }

    #[inline(always)]
    fn slot(&self, index: u32) -> NonNull<T> {
        // SAFETY: the mask keeps it within the `size` entries that `at` checked.
        unsafe { self.entries.add((index & (self.size - 1)) as usize) }
    }
}

/// Our end of a ring that we fill: the fill and transmit rings.
pub(super) struct Producer<T> {
    ring: Ring<T>,
    /// The next entry to write; what is before it may not be published yet.
    next: u32,
    /// What was last published.
    published: u32,
    /// The consumer's index when last read: it can only be further by now.
    consumed: u32,
}

impl<T: Entry> Producer<T> {
    /// Maps a ring of `size` entries (a power of two).
    pub(super) fn new(
        fd: BorrowedFd<'_>,
        page_offset: libc::off_t,
        offsets: &libc::xdp_ring_offset,
        size: u32,
    ) -> io::Result<Producer<T>> {
        let ring = Ring::new(fd, page_offset, offsets, size)?;
        let next = ring.producer().load(Ordering::Relaxed);
        let consumed = ring.consumer().load(Ordering::Acquire);
        Ok(Producer { ring, next, published: next, consumed })
    }

    /// Entries in all.
    pub(super) fn size(&self) -> u32 {
        self.ring.size
    }

    /// Free entries; asks the consumer only where fewer than `wanted` are known to be free.
    #[inline(always)]
    pub(super) fn free(&mut self, wanted: u32) -> u32 {
        let known = self.ring.size.saturating_sub(self.next.wrapping_sub(self.consumed));
        if known >= wanted {
            return known;
        }
        // Acquire: the consumer has read an entry before we overwrite it.
        self.consumed = self.ring.consumer().load(Ordering::Acquire);
        self.ring.size.saturating_sub(self.next.wrapping_sub(self.consumed))
    }

    /// Writes the next entry, or returns false where the ring is full.
    #[inline(always)]
    #[must_use]
    pub(super) fn push(&mut self, entry: T) -> bool {
        if self.free(1) == 0 {
            return false;
        }
        // SAFETY: the slot is within the ring, and free: the consumer will not read it before
        // `publish`.
        unsafe { self.ring.slot(self.next).write(entry) };
        self.next = self.next.wrapping_add(1);
        true
    }

    /// Entries written but not published.
    #[inline(always)]
    pub(super) fn unpublished(&self) -> u32 {
        self.next.wrapping_sub(self.published)
    }

    /// Takes back the last entry that was pushed and not handed over.
    pub(super) fn retract(&mut self) -> Option<T> {
        if self.unpublished() == 0 {
            return None;
        }
        self.next = self.next.wrapping_sub(1);
        // SAFETY: the slot is within the ring; it was pushed and not published, so it is written and ours.
        Some(unsafe { self.ring.slot(self.next).read() })
    }

    /// Hands over what was pushed.
    #[inline(always)]
    pub(super) fn publish(&mut self) {
        // Release: the entries are written before the consumer sees them.
        self.ring.producer().store(self.next, Ordering::Release);
        self.published = self.next;
    }

    /// Published entries that the consumer has not taken yet.
    #[inline(always)]
    pub(super) fn pending(&mut self) -> u32 {
        self.consumed = self.ring.consumer().load(Ordering::Acquire);
        self.published.wrapping_sub(self.consumed)
    }

    /// The consumer asks for a system call.
    #[inline(always)]
    pub(super) fn needs_wakeup(&self) -> bool {
        self.ring.needs_wakeup()
    }
}

/// Our end of a ring that the kernel fills: the receive and completion rings.
pub(super) struct Consumer<T> {
    ring: Ring<T>,
    /// The next entry to read.
    next: u32,
    /// The producer's index when last read.
    produced: u32,
}

impl<T: Entry> Consumer<T> {
    /// Maps a ring of `size` entries (a power of two).
    pub(super) fn new(
        fd: BorrowedFd<'_>,
        page_offset: libc::off_t,
        offsets: &libc::xdp_ring_offset,
        size: u32,
    ) -> io::Result<Consumer<T>> {
        let ring = Ring::new(fd, page_offset, offsets, size)?;
        let next = ring.consumer().load(Ordering::Relaxed);
        Ok(Consumer { ring, next, produced: next })
    }

    /// The next entry, if there is one. Its slot is the producer's again after `release`.
    #[inline(always)]
    pub(super) fn pop(&mut self) -> Option<T> {
        if self.next == self.produced {
            // Acquire: the entries were written before the index.
            let produced = self.ring.producer().load(Ordering::Acquire);
            // More than a ring of entries, or fewer than none, is a lie: take nothing.
            if produced.wrapping_sub(self.next) > self.ring.size {
                return None;
            }
            self.produced = produced;
            if self.next == produced {
                return None;
            }
        }
        // SAFETY: the slot is within the ring, and the producer wrote it before its index.
        let entry = unsafe { self.ring.slot(self.next).read() };
        self.next = self.next.wrapping_add(1);
        Some(entry)
    }

    /// The entries that `pop` will give next, as far as they are known to be there.
    #[inline(always)]
    pub(super) fn known(&self) -> impl Iterator<Item = T> + '_ {
        let known = self.produced.wrapping_sub(self.next);
        // SAFETY: as in `pop`, which let `produced` be within a ring of `next`.
        (0..known).map(|i| unsafe { self.ring.slot(self.next.wrapping_add(i)).read() })
    }

    /// Gives the slots of what was popped back to the producer.
    #[inline(always)]
    pub(super) fn release(&mut self) {
        // Release: the entries are read before the producer overwrites them.
        self.ring.consumer().store(self.next, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::{AsFd, FromRawFd, OwnedFd};

    use super::*;

    const OFFSETS: libc::xdp_ring_offset =
        libc::xdp_ring_offset { producer: 0, consumer: 64, desc: 192, flags: 128 };

    fn memory() -> OwnedFd {
        // SAFETY: a new file descriptor, owned by nothing else.
        unsafe {
            let fd = libc::memfd_create(c"ring".as_ptr(), 0);
            assert!(fd >= 0);
            let fd = OwnedFd::from_raw_fd(fd);
            assert_eq!(libc::ftruncate(fd.as_raw_fd(), 4096), 0);
            fd
        }
    }

    /// Both ends of one ring whose indices start at `start`.
    fn ring(size: u32, start: u32) -> (Producer<u64>, Consumer<u64>) {
        let fd = memory();
        let both = Ring::<u64>::new(fd.as_fd(), 0, &OFFSETS, size).unwrap();
        both.producer().store(start, Ordering::Relaxed);
        both.consumer().store(start, Ordering::Relaxed);
        (
            Producer::new(fd.as_fd(), 0, &OFFSETS, size).unwrap(),
            Consumer::new(fd.as_fd(), 0, &OFFSETS, size).unwrap(),
        )
    }

    #[test]
    fn an_empty_ring_yields_nothing_and_a_full_one_takes_nothing() {
        let (mut producer, mut consumer) = ring(4, 0);
        assert_eq!(consumer.pop(), None);
        for entry in 0..4 {
            assert!(producer.push(entry));
        }
        assert_eq!(producer.free(1), 0);
        assert!(!producer.push(4));
        assert_eq!(consumer.pop(), None, "not published");
        assert_eq!((producer.unpublished(), producer.pending()), (4, 0));
        producer.publish();
        assert_eq!((producer.unpublished(), producer.pending()), (0, 4));
        assert_eq!(consumer.known().count(), 0, "`pop` has not looked");
        assert_eq!(consumer.pop(), Some(0));
        assert_eq!(consumer.known().collect::<Vec<_>>(), [1, 2, 3]);
        assert!(!producer.push(4), "popped is not released");
        consumer.release();
        assert!(producer.push(4));
        assert!(!producer.push(5));
    }

    #[test]
    fn what_is_retracted_is_never_seen() {
        let (mut producer, mut consumer) = ring(4, u32::MAX);
        assert!(producer.push(0));
        producer.publish();
        assert!(producer.push(1) && producer.push(2));
        assert_eq!([(); 3].map(|()| producer.retract()), [Some(2), Some(1), None]);
        assert_eq!((producer.unpublished(), producer.free(4)), (0, 3));
        producer.publish();
        assert_eq!((consumer.pop(), consumer.pop()), (Some(0), None));
    }

    #[test]
    fn entries_keep_their_order_across_the_wrap_of_the_indices() {
        for start in [0, 3, u32::MAX - 5, u32::MAX] {
            let (mut producer, mut consumer) = ring(8, start);
            let (mut sent, mut received) = (0u64, 0u64);
            for round in 0..100 {
                for _ in 0..=(round % 8) {
                    sent += u64::from(producer.push(sent));
                }
                producer.publish();
                for _ in 0..=(round % 5) {
                    if let Some(entry) = consumer.pop() {
                        assert_eq!(entry, received);
                        received += 1;
                    }
                }
                consumer.release();
                assert_eq!(u64::from(producer.pending()), sent - received);
                assert_eq!(u64::from(producer.free(9)), 8 - (sent - received));
            }
            assert!(received > 200, "the ring was used");
        }
    }

    #[test]
    fn a_producer_index_out_of_range_yields_nothing() {
        let (producer, mut consumer) = ring(4, 10);
        for wrong in [9, 15, 10u32.wrapping_sub(4), u32::MAX] {
            producer.ring.producer().store(wrong, Ordering::Release);
            assert_eq!(consumer.pop(), None, "{wrong}");
        }
        producer.ring.producer().store(14, Ordering::Release);
        assert!(consumer.pop().is_some());
    }

    #[test]
    fn a_consumer_index_out_of_range_frees_no_more_than_the_ring() {
        let (mut producer, consumer) = ring(4, 10);
        consumer.ring.consumer().store(11, Ordering::Release);
        assert_eq!(producer.free(5), 0, "ahead of the producer");
        assert!(!producer.push(0));
    }

    #[test]
    fn offsets_outside_of_the_memory_are_refused() {
        let fd = memory();
        for offsets in [
            libc::xdp_ring_offset { producer: 1 << 20, ..OFFSETS },
            libc::xdp_ring_offset { consumer: 65, ..OFFSETS },
            libc::xdp_ring_offset { desc: 193, ..OFFSETS },
            libc::xdp_ring_offset { desc: u64::MAX, ..OFFSETS },
        ] {
            assert!(Ring::<u64>::new(fd.as_fd(), 0, &offsets, 4).is_err());
        }
        assert!(Ring::<u64>::new(fd.as_fd(), 0, &OFFSETS, 3).is_err(), "not a power of two");
    }

    #[test]
    fn two_threads_exchange_entries_in_order() {
        let (mut producer, mut consumer) = ring(16, u32::MAX - 100);
        let writer = std::thread::spawn(move || {
            let mut entry = 0;
            while entry < 20_000 {
                entry += u64::from(producer.push(entry));
                producer.publish();
                std::thread::yield_now();
            }
        });
        let mut expected = 0;
        while expected < 20_000 {
            match consumer.pop() {
                Some(entry) => {
                    assert_eq!(entry, expected);
                    expected += 1;
                    consumer.release();
                }
                None => std::thread::yield_now(),
            }
        }
        writer.join().unwrap();
    }
}
