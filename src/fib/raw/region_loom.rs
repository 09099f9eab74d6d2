//! The region as loom sees it: loom's atomics, in the same places with the same orderings as in `region`.
//!
//! Loom has no accesses of mixed sizes, so all are 32 bits wide: a word is two, a short entry is half of one.
//! Memory that was never written holds an entry that no route has.

use crate::proof::weakened;
use loom::sync::atomic::{AtomicU32, Ordering};
use std::io;

/// The ordering of a store that publishes at `place`. Too weak, the model must find the reader that
/// sees an entry before its chunk ("publish"), or a flat table's escape before what it stands for ("flat").
fn publishing(place: &str) -> Ordering {
    if weakened(place) { Ordering::Relaxed } else { Ordering::Release }
}

#[derive(Debug)]
pub(in crate::fib) struct Region(Vec<AtomicU32>);

impl Region {
    pub(in crate::fib) fn new(words: u32) -> io::Result<Region> {
        Ok(Region((0..words * 2).map(|_| AtomicU32::new(0x8000_7ABC)).collect()))
    }

    pub(in crate::fib) fn words(&self) -> u32 {
        (self.0.len() / 2) as u32
    }

    fn pair(&self, word: u32, order: Ordering) -> u64 {
        let low = self.0[word as usize * 2].load(order);
        let high = self.0[word as usize * 2 + 1].load(order);
        u64::from(low) | u64::from(high) << 32
    }

    pub(in crate::fib) fn load64(&self, word: u32) -> u64 {
        self.pair(word, Ordering::Relaxed)
    }

    pub(in crate::fib) fn acquire64(&self, word: u32) -> u64 {
        self.pair(word, Ordering::Acquire)
    }

    pub(in crate::fib) fn acquire32(&self, word: u32, index: usize) -> u32 {
        self.0[word as usize * 2 + index].load(Ordering::Acquire)
    }

    pub(in crate::fib) fn acquire16(&self, word: u32, index: usize) -> u16 {
        (self.acquire32(word, index / 2) >> (16 * (index % 2))) as u16
    }

    pub(in crate::fib) fn acquire_flat(&self, word: u32, index: usize) -> u16 {
        self.acquire16(word, index)
    }

    pub(in crate::fib) fn prefetch(&self, _word: u32) {}

    pub(in crate::fib) fn prefetch_flat(&self, _word: u32, _index: usize) {}

    pub(in crate::fib) fn view(&self) -> View<'_> {
        View(self)
    }

    pub(in crate::fib) fn store64(&self, word: u32, value: u64) {
        self.0[word as usize * 2].store(value as u32, Ordering::Relaxed);
        self.0[word as usize * 2 + 1].store((value >> 32) as u32, Ordering::Relaxed);
    }

    pub(in crate::fib) fn publish64(&self, word: u32, value: u64) {
        // Two stores where the processor has one: of a head they change at most one in this model.
        self.publish32(word, 1, (value >> 32) as u32);
        self.publish32(word, 0, value as u32);
    }

    pub(in crate::fib) fn publish32(&self, word: u32, index: usize, value: u32) {
        self.store32(word, index, value, publishing("publish"));
    }

    fn store32(&self, word: u32, index: usize, value: u32, order: Ordering) {
        let at = &self.0[word as usize * 2 + index];
        // SAFETY: only the writer, which this is, ever writes.
        if unsafe { at.unsync_load() } != value {
            at.store(value, order);
        }
    }

    pub(in crate::fib) fn publish16(&self, word: u32, index: usize, value: u16) {
        self.store16(word, index, value, publishing("publish"));
    }

    fn store16(&self, word: u32, index: usize, value: u16, order: Ordering) {
        let shift = 16 * (index % 2);
        // SAFETY: only the writer, which this is, ever writes.
        let other =
            unsafe { self.0[word as usize * 2 + index / 2].unsync_load() } & !(0xFFFF << shift);
        self.store32(word, index / 2, other | u32::from(value) << shift, order);
    }

    pub(in crate::fib) fn fill16(&self, word: u32, index: usize, count: usize, value: u16) {
        (index..index + count)
            .for_each(|index| self.store16(word, index, value, publishing("flat")));
    }
}

/// What readers see of a region.
#[derive(Clone, Copy)]
pub(in crate::fib) struct View<'a>(&'a Region);

impl std::ops::Deref for View<'_> {
    type Target = Region;

    fn deref(&self) -> &Region {
        self.0
    }
}
