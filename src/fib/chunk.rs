//! Chunks: 64 entries as a bitmap of where runs start and one entry a run.
//!
//! ```text
//! word 0     bit i set: entry i differs from entry i - 1 (bit 0 is always set)
//! word 1..   the runs' entries, u32 each; a run's number is the bits set up to i, less one
//! ```
//!
//! An entry is a leaf with its value, or the offset of the chunk for the next six bits. The bitmap of a
//! published chunk never changes; its entries may, each by one store, for that changes no other answer.

use super::heap::Heap;

/// The bit of an entry that says leaf; the low 24 bits are then its value.
pub(super) const LEAF: u32 = 1 << 31;

#[inline(always)]
pub(super) fn leaf(value: u32) -> u32 {
    LEAF | value
}

#[inline(always)]
pub(super) fn is_leaf(entry: u32) -> bool {
    entry & LEAF != 0
}

/// How many runs start up to `slot`; its own is the last of them.
#[inline(always)]
pub(super) fn runs(bitmap: u64, slot: usize) -> usize {
    (bitmap << (63 - slot)).count_ones() as usize
}

/// Words of a chunk with this bitmap.
pub(super) fn words(bitmap: u64) -> u32 {
    1 + bitmap.count_ones().div_ceil(2)
}

/// Where runs start.
pub(super) fn bitmap_of(entries: &[u32; 64]) -> u64 {
    // Bytes of 0 and 1 first, for that the compiler makes vectors of; then eight of them to eight bits.
    let mut differs = [1u8; 64];
    for i in 1..64 {
        differs[i] = u8::from(entries[i] != entries[i - 1]);
    }
    let mut bitmap = 0;
    for (i, bytes) in differs.as_chunks::<8>().0.iter().enumerate() {
        let bits = u64::from_le_bytes(*bytes).wrapping_mul(0x0102_0408_1020_4080) >> 56;
        bitmap |= bits << (8 * i);
    }
    bitmap
}

/// Retires the chunk that `entry` points at, if it does.
pub(super) fn retire(heap: &mut Heap, entry: u32) {
    if !is_leaf(entry) {
        let bitmap = heap.region.load64(entry);
        heap.retire(entry, words(bitmap));
    }
}

/// Points the run of `slot`, which is a child's and so that slot's alone, at the child's new chunk.
pub(super) fn set_child(heap: &Heap, chunk: u32, slot: usize, entry: u32) {
    let index = 1 + runs(heap.region.load64(chunk), slot);
    heap.region.publish32(chunk, index, entry);
}

/// Makes `entries` what readers find behind `old`, if the bitmap is the same, or behind the entry returned.
///
/// The caller has made sure that memory suffices.
pub(super) fn write(heap: &mut Heap, old: u32, entries: &[u32; 64]) -> u32 {
    let bitmap = bitmap_of(entries);
    if bitmap == 1 && is_leaf(entries[0]) {
        retire(heap, old);
        return entries[0];
    }
    let mut runs = bitmap;
    if !is_leaf(old) && heap.region.load64(old) == bitmap {
        for index in 2.. {
            if runs == 0 {
                break;
            }
            let entry = entries[runs.trailing_zeros() as usize];
            if heap.region.acquire32(old, index) != entry {
                heap.region.publish32(old, index, entry);
            }
            runs &= runs - 1;
        }
        return old;
    }
    let new = heap.alloc_sure(words(bitmap));
    heap.region.store64(new, bitmap);
    for word in new + 1.. {
        if runs == 0 {
            break;
        }
        let low = entries[runs.trailing_zeros() as usize];
        runs &= runs - 1;
        let high = if runs == 0 { LEAF } else { entries[runs.trailing_zeros() as usize] };
        runs &= runs.wrapping_sub(1);
        heap.region.store64(word, u64::from(low) | u64::from(high) << 32);
    }
    retire(heap, old);
    new
}
