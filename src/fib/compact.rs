//! Compact chunks: like chunks, but with entries of 16 bits, under the 2^18 root of a large IPv4 VRF.
//!
//! ```text
//! word 0     bitmap, as in a chunk
//! then       the runs' short entries, u16 each, to a whole word
//! then       escapes: entries as in a chunk, u32 each
//! ```
//!
//! A short entry below `ESCAPE` is a value. A larger value, or a chunk for prefixes longer than 24 bits, is
//! an escape, and the short entry has its number: a table widens just where it must.
//!
//! Even where 64 slots agree there is a chunk, of one run, so that readers never have to branch. Those of the
//! small values are in a table and shared.

use super::chunk::{LEAF, bitmap_of, is_leaf, runs};
use super::heap::Heap;
use super::raw::Region;

/// The bit of a short entry that says escape; the others are its number.
pub(super) const ESCAPE: u16 = 0x8000;

/// Words of the table with a one-run chunk for every value below `ESCAPE`.
pub(super) const UNIFORM_WORDS: u32 = 2 * ESCAPE as u32;

/// Most words of a compact chunk: the bitmap, 64 short entries, 64 escapes.
const LARGEST: usize = 1 + 16 + 32;

/// The first escape of a chunk with this bitmap, counted in u32 from its start.
#[inline(always)]
pub(super) fn first_escape(bitmap: u64) -> usize {
    2 + 2 * bitmap.count_ones().div_ceil(4) as usize
}

/// The entry of `slot`, as in a chunk.
#[inline(always)]
pub(super) fn entry(region: &Region, chunk: u32, slot: usize) -> u32 {
    let bitmap = region.load64(chunk);
    let short = region.acquire16(chunk, 3 + runs(bitmap, slot));
    if short < ESCAPE {
        return LEAF | u32::from(short);
    }
    region.acquire32(chunk, first_escape(bitmap) + usize::from(short ^ ESCAPE))
}

/// A chunk as it will be in memory.
struct Image {
    words: [u64; LARGEST],
    shorts: usize,
    escapes: usize,
}

impl Image {
    fn new(bitmap: u64, entries: &[u32; 64]) -> Image {
        let shorts = bitmap.count_ones() as usize;
        let mut image = Image { words: [0; LARGEST], shorts, escapes: 0 };
        image.words[0] = bitmap;
        let escapes = first_escape(bitmap) / 2;
        let mut runs = bitmap;
        for i in 0..shorts {
            let entry = entries[(runs.trailing_zeros() & 63) as usize];
            runs &= runs.wrapping_sub(1);
            let short = match u16::try_from(entry ^ LEAF) {
                Ok(value) if value < ESCAPE => u64::from(value),
                _ => {
                    let number = image.escapes;
                    image.words[escapes + number / 2] |= u64::from(entry) << (32 * (number % 2));
                    image.escapes += 1;
                    u64::from(ESCAPE) | number as u64
                }
            };
            image.words[1 + i / 4] |= short << (16 * (i % 4));
        }
        image
    }

    fn words(&self) -> &[u64] {
        &self.words[..1 + self.shorts.div_ceil(4) + self.escapes.div_ceil(2)]
    }
}

/// Bits of a word of short entries that say escape.
const ESCAPES: u64 = 0x8000_8000_8000_8000;

/// Retires a chunk that is not one of the shared ones.
pub(super) fn retire(heap: &mut Heap, chunk: u32) {
    if heap.is_uniform(chunk) {
        return;
    }
    let bitmap = heap.region.load64(chunk);
    let shorts = bitmap.count_ones().div_ceil(4);
    let escapes: u32 = (chunk + 1..chunk + 1 + shorts)
        .map(|word| (heap.region.load64(word) & ESCAPES).count_ones())
        .sum();
    heap.retire(chunk, 1 + shorts + escapes.div_ceil(2));
}

/// Points the escape of `slot`, which is a child's and so that slot's alone, at the child's new chunk.
pub(super) fn set_child(heap: &Heap, chunk: u32, slot: usize, entry: u32) {
    let bitmap = heap.region.load64(chunk);
    let short = heap.region.acquire16(chunk, 3 + runs(bitmap, slot));
    let index = first_escape(bitmap) + usize::from(short ^ ESCAPE);
    heap.region.publish32(chunk, index, entry);
}

#[expect(clippy::cast_possible_truncation, reason = "at most `LARGEST` words")]
/// Like `chunk::write`, for compact chunks; `old` is one.
pub(super) fn write(heap: &mut Heap, old: u32, entries: &[u32; 64]) -> u32 {
    let bitmap = bitmap_of(entries);
    if bitmap == 1 && is_leaf(entries[0]) && entries[0] ^ LEAF < u32::from(ESCAPE) {
        retire(heap, old);
        return heap.uniform(entries[0] ^ LEAF);
    }
    let image = Image::new(bitmap, entries);
    if !heap.is_uniform(old) && update(heap, old, &image) {
        return old;
    }
    let words = image.words();
    let new = heap.alloc_sure(words.len() as u32);
    for (word, &content) in (new..).zip(words) {
        heap.region.store64(word, content);
    }
    retire(heap, old);
    new
}

#[expect(clippy::cast_possible_truncation, reason = "words are split in their entries")]
/// Changes single entries of `old`, if that is enough to make it `image`.
fn update(heap: &Heap, old: u32, image: &Image) -> bool {
    let region = &heap.region;
    if region.load64(old) != image.words[0] {
        return false;
    }
    let shorts = 1 + image.shorts.div_ceil(4);
    let same_escapes = (old + 1..).zip(&image.words[1..shorts]).all(|(word, &new)| {
        let now = region.load64(word);
        now & ESCAPES == new & ESCAPES
    });
    if !same_escapes {
        return false;
    }
    for i in 0..image.shorts {
        // The i-th quarter of its word.
        let short = (image.words[1 + i / 4] >> (16 * (i % 4))) as u16;
        if region.acquire16(old, 4 + i) != short {
            region.publish16(old, 4 + i, short);
        }
    }
    for i in 0..image.escapes {
        let entry = (image.words[shorts + i / 2] >> (32 * (i % 2))) as u32;
        if region.acquire32(old, 2 * shorts + i) != entry {
            region.publish32(old, 2 * shorts + i, entry);
        }
    }
    true
}
