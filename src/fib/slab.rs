//! Which words of an arena are free: pages of equal blocks, and runs of whole pages.
//!
//! It hands out offsets and touches no memory, so the lookup arena and the RIB share it. A page whose blocks
//! are all free goes back and serves any other size, so that endless churn cannot strand memory in one size.

use std::collections::BTreeMap;

/// Words (of 8 octets) in a page.
pub(super) const PAGE_WORDS: u32 = if cfg!(loom) { 64 } else { 512 };
const NIL: u32 = u32::MAX;
const FREE: u8 = 0xFF;

/// Sizes in words, ascending. A block of up to 8 words never crosses a cache line when its size divides 8.
pub(super) type Classes = &'static [u16];

#[derive(Clone)]
struct Page {
    class: u8,
    free: u16,
    prev: u32,
    next: u32,
    /// One bit a block, set while it is free.
    bits: [u64; 4],
}

const EMPTY: Page = Page { class: FREE, free: 0, prev: NIL, next: NIL, bits: [0; 4] };

struct Class {
    words: u32,
    blocks: u16,
    /// 2^16 / words rounded up: a division that costs a multiplication (exact below 512).
    reciprocal: u32,
    /// The first page with a free block.
    partial: u32,
}

pub(super) struct Slab {
    classes: Vec<Class>,
    class_of: Vec<u8>,
    pages: Vec<Page>,
    max_pages: u32,
    /// Free runs of pages below `pages.len()`: first page and length.
    runs: BTreeMap<u32, u32>,
    free_in_runs: u32,
    /// Blocks handed out, and free ones beside them in pages of their size.
    used_blocks: u32,
    free_blocks: u32,
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "a slab has at most 2^32 words, so page numbers have 23 bits and block sizes 16"
)]
impl Slab {
    /// A slab of `words`, whose first page is never handed out: offset 0 can mean "none".
    pub(super) fn new(words: u32, classes: Classes) -> Slab {
        let largest = classes.last().copied().unwrap_or(0) as usize;
        let mut class_of = vec![0u8; largest + 1];
        let mut from = 0;
        for (at, &words) in (0u8..).zip(classes) {
            for slot in &mut class_of[from..=words as usize] {
                *slot = at;
            }
            from = words as usize + 1;
        }
        let classes = classes
            .iter()
            .map(|&words| Class {
                words: u32::from(words),
                blocks: (PAGE_WORDS as u16) / words,
                reciprocal: (1 << 16) / u32::from(words) + 1,
                partial: NIL,
            })
            .collect();
        Slab {
            classes,
            class_of,
            pages: vec![EMPTY],
            max_pages: words / PAGE_WORDS,
            runs: BTreeMap::new(),
            free_in_runs: 0,
            used_blocks: 0,
            free_blocks: 0,
        }
    }

    /// The words that a block asked for with `words` really takes.
    pub(super) fn rounded(&self, words: u32) -> u32 {
        self.classes[self.class_of[words as usize] as usize].words
    }

    /// Pages that are in no use.
    pub(super) fn free_pages(&self) -> u32 {
        self.max_pages.saturating_sub(self.pages.len() as u32) + self.free_in_runs
    }

    /// Blocks handed out, and free ones beside them in pages of their size.
    pub(super) fn blocks(&self) -> (u32, u32) {
        (self.used_blocks, self.free_blocks)
    }

    /// One past the highest word ever handed out.
    pub(super) fn touched_words(&self) -> u32 {
        self.pages.len() as u32 * PAGE_WORDS
    }

    /// A block of at least `words`.
    pub(super) fn alloc(&mut self, words: u32) -> Option<u32> {
        let class = self.class_of[words as usize];
        let mut at = self.classes[class as usize].partial;
        if at == NIL {
            at = self.alloc_run(1)?;
            let c = &self.classes[class as usize];
            let page = &mut self.pages[at as usize];
            page.class = class;
            page.free = c.blocks;
            self.free_blocks += u32::from(c.blocks);
            for (i, bits) in page.bits.iter_mut().enumerate() {
                let left = (c.blocks as usize).saturating_sub(i * 64);
                *bits = if left >= 64 { u64::MAX } else { (1 << left) - 1 };
            }
            self.link(at);
        }
        let page = &mut self.pages[at as usize];
        let word = page.bits.iter().position(|&bits| bits != 0)?;
        let bit = page.bits[word].trailing_zeros();
        page.bits[word] &= page.bits[word] - 1;
        page.free -= 1;
        self.free_blocks -= 1;
        self.used_blocks += 1;
        if page.free == 0 {
            self.unlink(at);
        }
        Some(at * PAGE_WORDS + (word as u32 * 64 + bit) * self.classes[class as usize].words)
    }

    /// Takes back a block that was asked for with the same `words`.
    pub(super) fn free(&mut self, offset: u32, words: u32) {
        let class = self.class_of[words as usize];
        let c = &self.classes[class as usize];
        let at = offset / PAGE_WORDS;
        let block = (offset % PAGE_WORDS * c.reciprocal) >> 16;
        let page = &mut self.pages[at as usize];
        debug_assert_eq!(page.class, class);
        debug_assert_eq!(page.bits[block as usize / 64] >> (block % 64) & 1, 0, "freed twice");
        page.bits[block as usize / 64] |= 1 << (block % 64);
        page.free += 1;
        self.free_blocks += 1;
        self.used_blocks -= 1;
        let blocks = c.blocks;
        let all = page.free == blocks;
        if page.free == 1 {
            self.link(at);
        }
        // The last page with room stays, or a size that has one block would take and give a page each time.
        let page = &self.pages[at as usize];
        if all && (page.prev != NIL || page.next != NIL) {
            self.free_blocks -= u32::from(blocks);
            self.unlink(at);
            self.free_run(at, 1);
        }
    }

    /// `count` adjacent pages; gives the first page's number.
    fn alloc_run(&mut self, count: u32) -> Option<u32> {
        let found = self.runs.iter().find(|&(_, &len)| len >= count).map(|(&at, &len)| (at, len));
        if let Some((at, len)) = found {
            self.runs.remove(&at);
            if len > count {
                self.runs.insert(at + count, len - count);
            }
            self.free_in_runs -= count;
            return Some(at);
        }
        let at = self.pages.len() as u32;
        if count > self.max_pages.saturating_sub(at) {
            return None;
        }
        self.pages.resize((at + count) as usize, EMPTY);
        Some(at)
    }

    fn free_run(&mut self, at: u32, count: u32) {
        for page in &mut self.pages[at as usize..(at + count) as usize] {
            page.class = FREE;
        }
        self.free_in_runs += count;
        let (mut at, mut count) = (at, count);
        if let Some((&before, &len)) = self.runs.range(..at).next_back()
            && before + len == at
        {
            self.runs.remove(&before);
            (at, count) = (before, count + len);
        }
        if let Some(len) = self.runs.remove(&(at + count)) {
            count += len;
        }
        self.runs.insert(at, count);
    }

    /// Whole pages for a table of `words`.
    pub(super) fn alloc_table(&mut self, words: u32) -> Option<u32> {
        self.alloc_run(words.div_ceil(PAGE_WORDS)).map(|page| page * PAGE_WORDS)
    }

    /// Takes back a table of `words`.
    pub(super) fn free_table(&mut self, offset: u32, words: u32) {
        self.free_run(offset / PAGE_WORDS, words.div_ceil(PAGE_WORDS));
    }

    fn link(&mut self, at: u32) {
        let class = self.pages[at as usize].class as usize;
        let next = self.classes[class].partial;
        self.pages[at as usize].prev = NIL;
        self.pages[at as usize].next = next;
        if next != NIL {
            self.pages[next as usize].prev = at;
        }
        self.classes[class].partial = at;
    }

    fn unlink(&mut self, at: u32) {
        let Page { class, prev, next, .. } = self.pages[at as usize];
        if prev == NIL {
            self.classes[class as usize].partial = next;
        } else {
            self.pages[prev as usize].next = next;
        }
        if next != NIL {
            self.pages[next as usize].prev = prev;
        }
        self.pages[at as usize].prev = NIL;
        self.pages[at as usize].next = NIL;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const CLASSES: Classes = &[2, 4, 8, 12, 52];

    proptest! {
        /// Blocks never overlap, never cross what they must not, and everything freed can be had again.
        #[test]
        fn blocks_are_disjoint_and_come_back(ops in prop::collection::vec((any::<bool>(), 1u32..=52, any::<prop::sample::Index>()), 1..400)) {
            let mut slab = Slab::new(64 * PAGE_WORDS, CLASSES);
            let full = slab.free_pages();
            let mut live: BTreeMap<u32, u32> = BTreeMap::new();
            for (take, words, pick) in ops {
                if take || live.is_empty() {
                    let Some(at) = slab.alloc(words) else { continue };
                    let size = slab.rounded(words);
                    prop_assert!(size >= words && at >= PAGE_WORDS);
                    prop_assert!(size > 8 || at % 8 + size <= 8, "crosses a cache line");
                    let before = live.range(..=at).next_back().map(|(a, w)| a + slab.rounded(*w));
                    prop_assert!(before.is_none_or(|end| end <= at));
                    let after = live.range(at..).next().map(|(a, _)| *a);
                    prop_assert!(after.is_none_or(|next| at + size <= next));
                    live.insert(at, words);
                } else {
                    let at = *live.keys().nth(pick.index(live.len())).unwrap();
                    slab.free(at, live.remove(&at).unwrap());
                }
            }
            for (at, words) in live {
                slab.free(at, words);
            }
            // At most one page a size is kept back.
            let kept = CLASSES.iter().map(|&words| PAGE_WORDS / u32::from(words)).sum::<u32>();
            let (used, free) = slab.blocks();
            prop_assert!(used == 0 && free <= kept, "{} used, {} free", used, free);
            prop_assert!(slab.free_pages() as usize + CLASSES.len() >= full as usize);
        }
    }

    #[test]
    fn tables_merge_again_and_exhaustion_is_told() {
        let mut slab = Slab::new(9 * PAGE_WORDS, CLASSES);
        let a = slab.alloc_table(3 * PAGE_WORDS).unwrap();
        let b = slab.alloc_table(5 * PAGE_WORDS).unwrap();
        assert_eq!(slab.alloc(2), None);
        slab.free_table(a, 3 * PAGE_WORDS);
        assert_eq!(slab.alloc_table(4 * PAGE_WORDS), None);
        slab.free_table(b, 5 * PAGE_WORDS);
        assert_eq!(slab.alloc_table(8 * PAGE_WORDS), Some(PAGE_WORDS));
    }
}
