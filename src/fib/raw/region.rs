//! One reserved range of address space that holds every VRF's lookup structure.
//!
//! The whole range that an offset can name is mapped, readable and untouched; only the first `words` are
//! writable. It never moves and is never unmapped while a reader holds it, so growth is a matter of touching
//! more of it and no worker has to stop.

use std::io;
use std::marker::PhantomData;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU16, AtomicU32, AtomicU64, Ordering};

/// An offset counts words of 8 octets and has 31 bits.
const OFFSET_MASK: u32 = 0x7FFF_FFFF;

/// What a reader may add to an offset, rounded up: a flat table's 2^24 entries of 2 octets. Other tables and chunks are smaller.
const SLACK_OCTETS: usize = (2 << 24) + 4096;

#[cfg(not(miri))]
const HUGE_PAGE: usize = 2 << 20;

#[cfg(not(miri))]
const MAPPED_OCTETS: usize = (1 << 31) * 8 + SLACK_OCTETS;

/// The mapping. Readers and the writer share it through an `Arc`.
#[derive(Debug)]
pub(in crate::fib) struct Region {
    base: NonNull<u8>,
    words: u32,
}

// SAFETY: the mapping belongs to no thread, and `drop` unmaps it once.
unsafe impl Send for Region {}
// SAFETY: the memory is accessed through atomics; where it is by inline assembly (`fill16`, the gathers
// of `avx512`), each entry is aligned within what the processor loads or stores whole.
unsafe impl Sync for Region {}

impl Region {
    /// Reserves address space; `words` of it can be written. Memory is taken as it is touched.
    pub(in crate::fib) fn new(words: u32) -> io::Result<Region> {
        let words = words & OFFSET_MASK;
        let base = map(words)?;
        Ok(Region { base, words })
    }

    /// The number of writable words.
    pub(in crate::fib) fn words(&self) -> u32 {
        self.words
    }

    /// What readers see of it.
    #[inline(always)]
    pub(in crate::fib) fn view(&self) -> View<'_> {
        View { base: self.base, region: PhantomData }
    }

    /// As in `View`.
    #[inline(always)]
    pub(in crate::fib) fn load64(&self, word: u32) -> u64 {
        self.view().load64(word)
    }

    /// As in `View`.
    #[inline(always)]
    pub(in crate::fib) fn acquire32(&self, word: u32, index: usize) -> u32 {
        self.view().acquire32(word, index)
    }

    /// As in `View`.
    #[inline(always)]
    pub(in crate::fib) fn acquire16(&self, word: u32, index: usize) -> u16 {
        self.view().acquire16(word, index)
    }

    /// Writes a word that no reader can reach yet.
    #[inline(always)]
    pub(in crate::fib) fn store64(&self, word: u32, value: u64) {
        assert!(word < self.words);
        // SAFETY: inside the writable part by the assertion, aligned.
        unsafe { self.base.cast::<AtomicU64>().add(word as usize).as_ref() }
            .store(value, Ordering::Relaxed);
    }

    /// Publishes a word, and with it everything written before.
    #[inline(always)]
    pub(in crate::fib) fn publish64(&self, word: u32, value: u64) {
        assert!(word < self.words);
        // SAFETY: inside the writable part by the assertion, aligned.
        unsafe { self.base.cast::<AtomicU64>().add(word as usize).as_ref() }
            .store(value, Ordering::Release);
    }

    /// Publishes the `index`-th 32-bit entry of a table at `word`, and with it everything written before.
    #[inline(always)]
    pub(in crate::fib) fn publish32(&self, word: u32, index: usize, value: u32) {
        let at = word as usize * 2 + index;
        assert!(at < self.words as usize * 2);
        // SAFETY: inside the writable part by the assertion, aligned.
        unsafe { self.base.cast::<AtomicU32>().add(at).as_ref() }.store(value, Ordering::Release);
    }

    /// Publishes the `index`-th 16-bit entry of a table at `word`, and with it everything written before.
    #[inline(always)]
    pub(in crate::fib) fn publish16(&self, word: u32, index: usize, value: u16) {
        let at = word as usize * 4 + index;
        assert!(at < self.words as usize * 4);
        // SAFETY: inside the writable part by the assertion, aligned.
        unsafe { self.base.cast::<AtomicU16>().add(at).as_ref() }.store(value, Ordering::Release);
    }

    /// Publishes `value` in `count` 16-bit entries of a table at `word`, from the `index`-th on.
    pub(in crate::fib) fn fill16(&self, word: u32, index: usize, count: usize, value: u16) {
        let at = word as usize * 4 + index;
        assert!(at + count <= self.words as usize * 4);
        #[cfg(all(target_arch = "x86_64", not(miri)))]
        if count > 64 {
            // The processor fills in whole lines, some ten times as fast, in any order. Stores before and after
            // it keep their order to it (Intel SDM 3, "Memory-Ordering Model for String Operations"), as a release's do.
            // SAFETY: inside the writable part by the assertion; entries are aligned, so readers see each as it was
            // or as it is. The direction flag is clear by the calling convention.
            unsafe {
                std::arch::asm!(
                    "rep stosw",
                    inout("rcx") count => _,
                    inout("rdi") self.base.as_ptr().add(2 * at) => _,
                    in("ax") value,
                    options(nostack, preserves_flags)
                );
            }
            return;
        }
        for at in at..at + count {
            // SAFETY: as above, and aligned.
            unsafe { self.base.cast::<AtomicU16>().add(at).as_ref() }
                .store(value, Ordering::Release);
        }
    }
}

/// A region's memory, to read. Passed by value: behind a reference its address would be loaded anew after each acquiring load.
#[derive(Clone, Copy)]
pub(in crate::fib) struct View<'a> {
    base: NonNull<u8>,
    region: PhantomData<&'a Region>,
}

impl View<'_> {
    /// The word at `word`; only meaningful for memory published before (so relaxed is enough).
    #[inline(always)]
    pub(in crate::fib) fn load64(self, word: u32) -> u64 {
        let at = (word & OFFSET_MASK) as usize * 8;
        // SAFETY: `at` is within the mapping (31 bits of words) and aligned; the memory lives as long as self.
        unsafe { self.base.cast::<AtomicU64>().byte_add(at).as_ref() }.load(Ordering::Relaxed)
    }

    /// The word at `word`, with everything its writer did before publishing it.
    #[inline(always)]
    pub(in crate::fib) fn acquire64(self, word: u32) -> u64 {
        let at = (word & OFFSET_MASK) as usize * 8;
        // SAFETY: as in `load64`.
        unsafe { self.base.cast::<AtomicU64>().byte_add(at).as_ref() }.load(Ordering::Acquire)
    }

    /// The `index`-th 32-bit entry of a table that starts at `word`, acquired. `index` is below 2^18.
    #[inline(always)]
    pub(in crate::fib) fn acquire32(self, word: u32, index: usize) -> u32 {
        let at = (word & OFFSET_MASK) as usize * 8 + (index & 0x3_FFFF) * 4;
        // SAFETY: `at` is at most the last word that an offset names plus the slack, all mapped; aligned.
        unsafe { self.base.cast::<AtomicU32>().byte_add(at).as_ref() }.load(Ordering::Acquire)
    }

    /// The `index`-th 16-bit entry of a table that starts at `word`. `index` is below 2^18.
    #[inline(always)]
    pub(in crate::fib) fn acquire16(self, word: u32, index: usize) -> u16 {
        let at = (word & OFFSET_MASK) as usize * 8 + (index & 0x3_FFFF) * 2;
        // SAFETY: as in `acquire32`.
        unsafe { self.base.cast::<AtomicU16>().byte_add(at).as_ref() }.load(Ordering::Acquire)
    }

    /// The `index`-th entry of a flat table at `word`. `index` is below 2^24.
    #[inline(always)]
    pub(in crate::fib) fn acquire_flat(self, word: u32, index: usize) -> u16 {
        let at = (word & OFFSET_MASK) as usize * 8 + (index & 0xFF_FFFF) * 2;
        // SAFETY: as in `acquire32`.
        unsafe { self.base.cast::<AtomicU16>().byte_add(at).as_ref() }.load(Ordering::Acquire)
    }

    /// The address of a word, for gathers.
    #[cfg(all(target_arch = "x86_64", not(any(miri, loom))))]
    pub(super) fn word(self, word: u32) -> *const u8 {
        self.base.as_ptr().wrapping_add((word & OFFSET_MASK) as usize * 8)
    }

    /// Asks for the cache line of a word that will be needed soon.
    #[inline(always)]
    pub(in crate::fib) fn prefetch(self, word: u32) {
        self.prefetch_flat(word, 0);
    }

    /// The same for the `index`-th entry of a flat table at `word`.
    #[inline(always)]
    pub(in crate::fib) fn prefetch_flat(self, word: u32, index: usize) {
        #[cfg(all(target_arch = "x86_64", not(any(miri, loom))))]
        // SAFETY: a prefetch has no effect that a program could see, whatever the address.
        unsafe {
            use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
            _mm_prefetch::<_MM_HINT_T0>(self.word(word).wrapping_add(index * 2).cast());
        }
        #[cfg(not(all(target_arch = "x86_64", not(any(miri, loom)))))]
        let _ = (word, index);
    }
}

impl Drop for Region {
    fn drop(&mut self) {
        unmap(self.base, self.words);
    }
}

#[cfg(not(miri))]
fn map(words: u32) -> io::Result<NonNull<u8>> {
    // Read-only private pages are not charged against the overcommit limit; the writable part is small.
    // SAFETY: a fresh anonymous mapping at an address of the kernel's choice touches no memory of ours.
    let start = unsafe {
        libc::mmap(
            std::ptr::null_mut(),
            MAPPED_OCTETS + HUGE_PAGE,
            libc::PROT_READ,
            libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE,
            -1,
            0,
        )
    };
    if start == libc::MAP_FAILED {
        return Err(io::Error::last_os_error());
    }
    // From a huge page's start, or the first of them would be small ones; the rest goes back.
    let before = start.align_offset(HUGE_PAGE);
    let base = start.wrapping_byte_add(before);
    // SAFETY: both ends are parts of the mapping just made, which nobody else knows.
    unsafe {
        if before > 0 {
            libc::munmap(start, before);
        }
        libc::munmap(base.wrapping_byte_add(MAPPED_OCTETS), HUGE_PAGE - before);
    }
    let Some(start) = NonNull::new(base.cast::<u8>()) else {
        return Err(io::Error::other("mmap gave the null address"));
    };
    let octets = words as usize * 8;
    // SAFETY: the range lies inside the mapping just made, which nobody else knows.
    let result = unsafe { libc::mprotect(base, octets, libc::PROT_READ | libc::PROT_WRITE) };
    if result != 0 {
        let error = io::Error::last_os_error();
        unmap(start, words);
        return Err(error);
    }
    // Huge pages only save TLB misses: a kernel without them is as correct.
    // SAFETY: advice on our own mapping.
    unsafe { libc::madvise(base, octets, libc::MADV_HUGEPAGE) };
    Ok(start)
}

#[cfg(not(miri))]
fn unmap(base: NonNull<u8>, _words: u32) {
    // SAFETY: `base` came from `map` with this length, and the last user is gone.
    unsafe { libc::munmap(base.as_ptr().cast(), MAPPED_OCTETS) };
}

/// Miri knows no `mprotect`: there the writable part and the slack are heap memory.
#[cfg(miri)]
fn layout(words: u32) -> std::alloc::Layout {
    std::alloc::Layout::from_size_align(words as usize * 8 + SLACK_OCTETS, 4096).unwrap()
}

#[cfg(miri)]
fn map(words: u32) -> io::Result<NonNull<u8>> {
    // SAFETY: the layout is not empty, for the slack is not.
    let base = unsafe { std::alloc::alloc_zeroed(layout(words)) };
    NonNull::new(base).ok_or_else(|| io::Error::from(io::ErrorKind::OutOfMemory))
}

#[cfg(miri)]
fn unmap(base: NonNull<u8>, words: u32) {
    // SAFETY: `base` came from `map` with the same layout.
    unsafe { std::alloc::dealloc(base.as_ptr(), layout(words)) };
}
