//! The writer's side of the shared region: allocation, and retirement until every reader has moved on.

use super::compact::UNIFORM_WORDS;
use super::raw::Region;
use super::slab::{Classes, PAGE_WORDS, Slab};
use std::collections::VecDeque;
use std::sync::Arc;

/// Sizes of chunks in words: those of up to a cache line divide it, so that such a chunk is one miss. A chunk of 64
/// runs has 33; those with escapes are larger.
const CLASSES: Classes = &[2, 4, 8, 12, 16, 20, 24, 28, 30, 33, 41, 52];

/// What freed memory is filled with in debug builds: any entry read from it answers `POISON & 0xFFFF`.
#[cfg(all(debug_assertions, not(loom)))]
const POISON: u64 = 0x8000_7ABC_8000_7ABC;

/// A chunk or a table that no reader can newly reach.
#[derive(Clone, Copy)]
struct Retired {
    offset: u32,
    words: u32,
}

pub(super) struct Heap {
    pub(super) region: Arc<Region>,
    slab: Slab,
    /// Retired since the last call of `reclaim`.
    fresh: Vec<Retired>,
    /// Retired before, oldest first, under the tag that the call gave them.
    sealed: VecDeque<(u64, Vec<Retired>)>,
    used_words: u64,
    retired_words: u64,
    /// The shared one-run chunks (`compact`), 0 before the first use.
    uniform: u32,
    /// Tables set aside so that a change under way cannot lack them.
    stock: Vec<u32>,
}

/// Words of a table of 2^12 entries.
pub(super) const TABLE_WORDS: u32 = 1 << 11;

/// Tables are whole pages; a chunk is never that large.
const LARGEST_CHUNK: u32 = 52;

impl Heap {
    pub(super) fn new(region: Arc<Region>) -> Heap {
        let slab = Slab::new(region.words(), CLASSES);
        Heap {
            region,
            slab,
            fresh: Vec::new(),
            sealed: VecDeque::new(),
            used_words: 0,
            retired_words: 0,
            uniform: 0,
            stock: Vec::new(),
        }
    }

    /// Room for `words` in one block, with undefined contents.
    pub(super) fn alloc(&mut self, words: u32) -> Option<u32> {
        let offset = if words > LARGEST_CHUNK {
            self.slab.alloc_table(words)
        } else {
            self.slab.alloc(words)
        }?;
        self.used_words += self.rounded(words);
        Some(offset)
    }

    /// Like `alloc`, where the caller has made sure that there is room.
    pub(super) fn alloc_sure(&mut self, words: u32) -> u32 {
        self.alloc(words).unwrap_or_else(|| unreachable!("room was made sure of beforehand"))
    }

    /// Makes sure of `tables` calls of `take_table`.
    pub(super) fn stock_tables(&mut self, tables: usize) -> bool {
        while self.stock.len() < tables {
            let Some(table) = self.slab.alloc_table(TABLE_WORDS) else {
                self.return_stock();
                return false;
            };
            self.stock.push(table);
        }
        true
    }

    /// Gives back what a change did not need.
    pub(super) fn return_stock(&mut self) {
        for table in self.stock.drain(..) {
            self.slab.free_table(table, TABLE_WORDS);
        }
    }

    /// A table of `TABLE_WORDS`, with undefined contents.
    pub(super) fn take_table(&mut self) -> u32 {
        self.used_words += u64::from(TABLE_WORDS);
        self.stock.pop().unwrap_or_else(|| unreachable!("tables were put in stock beforehand"))
    }

    /// Makes the shared one-run chunks, once. Recycled memory holds anything, so all of them are
    /// written here, before the first entry leads to one.
    pub(super) fn make_uniform(&mut self) -> bool {
        if self.uniform == 0 {
            let Some(table) = self.slab.alloc_table(UNIFORM_WORDS) else { return false };
            for value in 0..UNIFORM_WORDS / 2 {
                self.region.store64(table + 2 * value, 1);
                self.region.store64(table + 2 * value + 1, u64::from(value));
            }
            self.uniform = table;
        }
        true
    }

    /// The shared compact chunk whose slots all have `value`, below `compact::ESCAPE`.
    #[inline]
    pub(super) fn uniform(&self, value: u32) -> u32 {
        self.uniform + 2 * value
    }

    pub(super) fn is_uniform(&self, chunk: u32) -> bool {
        chunk.wrapping_sub(self.uniform) < UNIFORM_WORDS
    }

    fn rounded(&self, words: u32) -> u64 {
        u64::from(if words > LARGEST_CHUNK { words } else { self.slab.rounded(words) })
    }

    /// Puts away a block that was just unlinked; readers may still be in it.
    pub(super) fn retire(&mut self, offset: u32, words: u32) {
        let rounded = self.rounded(words);
        self.used_words -= rounded;
        self.retired_words += rounded;
        self.fresh.push(Retired { offset, words });
    }

    /// See `Fib::reclaim`.
    pub(super) fn reclaim(&mut self, sealed: u64, quiescent: u64) {
        if !self.fresh.is_empty() {
            self.sealed.push_back((sealed, std::mem::take(&mut self.fresh)));
        }
        while self.sealed.front().is_some_and(|(tag, _)| *tag <= quiescent) {
            let Some((_, blocks)) = self.sealed.pop_front() else { break };
            for Retired { offset, words } in blocks {
                self.retired_words -= self.rounded(words);
                #[cfg(all(debug_assertions, not(loom)))]
                for word in 0..words {
                    self.region.store64(offset + word, POISON);
                }
                if words > LARGEST_CHUNK {
                    self.slab.free_table(offset, words);
                } else {
                    self.slab.free(offset, words);
                }
            }
        }
    }

    /// Chunks of the largest size that can be had for certain.
    pub(super) fn free_chunks(&self) -> u64 {
        Self::chunks_in(self.slab.free_pages())
    }

    /// Chunks of the largest size that an empty heap has room for.
    pub(super) fn all_chunks(&self) -> u64 {
        Self::chunks_in(self.region.words() / PAGE_WORDS)
    }

    fn chunks_in(pages: u32) -> u64 {
        // Each size may have to start its own page.
        let classes = if cfg!(loom) { 1 } else { CLASSES.len() as u64 };
        let pages = u64::from(pages).saturating_sub(classes);
        pages * u64::from(PAGE_WORDS / LARGEST_CHUNK)
    }

    /// Octets of pages that are in no use.
    pub(super) fn free_octets(&self) -> u64 {
        u64::from(self.slab.free_pages()) * u64::from(PAGE_WORDS) * 8
    }

    /// Chunks in use, and free ones beside them.
    pub(super) fn blocks(&self) -> (u32, u32) {
        self.slab.blocks()
    }

    /// Octets ever handed out.
    pub(super) fn touched_octets(&self) -> u64 {
        u64::from(self.slab.touched_words()) * 8
    }

    pub(super) fn used_octets(&self) -> u64 {
        self.used_words * 8
    }

    pub(super) fn retired_octets(&self) -> u64 {
        self.retired_words * 8
    }
}

#[cfg(test)]
mod tests {
    use super::super::chunk::{LEAF, leaf};
    use super::super::compact::{self, ESCAPE};
    use super::*;

    /// Values of short routes leave words of 1 behind, the word that a one-run chunk begins with.
    #[test]
    fn shared_chunks_are_right_in_recycled_memory() {
        let mut heap = Heap::new(Arc::new(Region::new(1 << 18).unwrap()));
        let used = heap.alloc(1 << 17).unwrap();
        heap.retire(used, 1 << 17);
        heap.reclaim(1, 1);
        for word in used..used + (1 << 17) {
            heap.region.store64(word, 1);
        }
        assert!(heap.make_uniform());
        for value in 0..u32::from(ESCAPE) {
            let chunk = heap.uniform(value);
            assert!((used..used + (1 << 17)).contains(&chunk), "in what was recycled");
            for slot in [0, 63] {
                let entry = compact::entry(heap.region.view(), chunk, slot);
                assert_eq!(entry, leaf(value), "value {value}, {}", entry & !LEAF);
            }
        }
    }
}
