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
use super::raw::View;

/// The bit of a short entry that says escape; those below are its number. (The model has room for a few values and escapes.)
pub(super) const ESCAPE: u16 = if cfg!(loom) { 8 } else { 0x8000 };

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
pub(super) fn entry(region: View, chunk: u32, slot: usize) -> u32 {
    let bitmap = region.load64(chunk);
    let short = region.acquire16(chunk, 3 + runs(bitmap, slot));
    if short < ESCAPE {
        return LEAF | u32::from(short);
    }
    region.acquire32(chunk, first_escape(bitmap) + usize::from(short ^ ESCAPE))
}

/// An entry as a short one, if it fits.
fn short(entry: u32) -> Option<u16> {
    u16::try_from(entry ^ LEAF).ok().filter(|&value| value < ESCAPE)
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
            let short = match short(entry) {
                Some(value) => u64::from(value),
                None => {
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
const ESCAPES: u64 = ESCAPE as u64 * 0x0001_0001_0001_0001;

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
    if !heap.is_uniform(old)
        && heap.region.load64(old) == bitmap
        && change_runs(heap, old, bitmap, entries)
    {
        return old;
    }
    let image = Image::new(bitmap, entries);
    let words = image.words();
    let new = heap.alloc_sure(words.len() as u32);
    for (word, &content) in (new..).zip(words) {
        heap.region.store64(word, content);
    }
    retire(heap, old);
    new
}

/// Gives the runs of `old`, whose bitmap this is, the new entries, if each stays a value or an escape as it was. Otherwise
/// only some of the runs have theirs.
fn change_runs(heap: &Heap, old: u32, bitmap: u64, entries: &[u32; 64]) -> bool {
    let region = &heap.region;
    let mut runs = bitmap;
    for index in 4.. {
        if runs == 0 {
            break;
        }
        let entry = entries[(runs.trailing_zeros() & 63) as usize];
        runs &= runs - 1;
        let now = region.acquire16(old, index);
        match short(entry) {
            Some(value) if now < ESCAPE => {
                if now != value {
                    region.publish16(old, index, value);
                }
            }
            None if now >= ESCAPE => {
                let escape = first_escape(bitmap) + usize::from(now ^ ESCAPE);
                if region.acquire32(old, escape) != entry {
                    region.publish32(old, escape, entry);
                }
            }
            _ => return false,
        }
    }
    true
}
