//! What a large VRF's lookups start from: the root table, and what is in the same block behind it.
//!
//! ```text
//! IPv4   2^18 entries of 32 bits   | 64 values of the short routes | flat table: 2^24 of 16 bits, in the largest VRFs
//! IPv6   2^12 entries of 32 bits   | 2^12 values of the short routes |
//! ```
//!
//! The **short routes**, /1 to /6 of IPv4 and /1 to /12 of IPv6, are in no entry and no chunk, just as the default is not: leaf 0 refers to
//! the value for the first bits, or a change of one would be as many changes as there are chunks under it.
//!
//! The **flat table** repeats what the compact chunks say, a short entry for each /24: one load where those take three. What is
//! an escape there is one here, without its number: the answer is then in the compact chunk. It is written after
//! the chunk and the root's entry, so whoever finds an escape finds what it stands for.

use super::chunk::runs;
use super::compact::{self, ESCAPE};
use super::heap::Heap;
use super::key::{Key, STRIDE};
use super::raw::Region;

/// The depth at which IPv4's root table ends.
pub(super) const ROOT4_BITS: u8 = if cfg!(loom) { 6 } else { 18 };
/// The bits that a flat table resolves: the compact chunks' too.
pub(super) const FLAT_BITS: u8 = ROOT4_BITS + STRIDE;
/// The bits that each of IPv6's tables resolves.
pub(super) const ROOT6_BITS: u8 = 12;

/// Words of the flat table.
const FLAT_WORDS: u32 = 1 << (FLAT_BITS - 2);

/// Room to ask for before making a root table, in chunks of the largest size (416 octets): for IPv4's MiB and the
/// shared chunks.
pub(super) const ROOT_CHUNKS: u64 = if cfg!(loom) { 4 } else { 4096 };
/// The same for one with a flat table.
const FLAT_CHUNKS: u64 = if cfg!(loom) { 20 } else { 90_000 };

/// Slots of a root table's entry in the flat table.
const SLOTS: usize = 1 << STRIDE;

/// Bits that the root table of a family resolves.
pub(super) const fn root_bits(family_bits: u8) -> u8 {
    if family_bits == 32 { ROOT4_BITS } else { ROOT6_BITS }
}

/// The longest of the short routes of a family.
pub(super) const fn short_bits(family_bits: u8) -> u8 {
    if family_bits == 32 { STRIDE } else { ROOT6_BITS }
}

/// Words of the values of the short routes.
const fn short_words(family_bits: u8) -> u32 {
    1 << (short_bits(family_bits) - 1)
}

const fn root_words(family_bits: u8) -> u32 {
    1 << (root_bits(family_bits) - 1)
}

/// Where the values of the short routes are.
#[inline(always)]
pub(super) fn short_values<K: Key>(table: u32) -> u32 {
    table + root_words(K::BITS)
}

/// Where the flat table is.
#[inline(always)]
pub(super) fn flat_table(table: u32) -> u32 {
    table + root_words(32) + short_words(32)
}

/// A root table with what is behind it.
#[derive(Clone, Copy)]
pub(super) struct Root {
    pub(super) table: u32,
    /// Whether there are short routes.
    pub(super) short: bool,
    /// Whether there is a flat table.
    pub(super) flat: bool,
}

impl Root {
    fn words<K: Key>(flat: bool) -> u32 {
        root_words(K::BITS) + short_words(K::BITS) + if flat { FLAT_WORDS } else { 0 }
    }

    /// One whose entries all are `empty`, which nobody can reach yet; nothing if there is no room.
    pub(super) fn new<K: Key>(heap: &mut Heap, empty: u32) -> Option<Root> {
        let table = heap.alloc(Self::words::<K>(false))?;
        for word in 0..root_words(K::BITS) {
            heap.region.store64(table + word, u64::from(empty) | u64::from(empty) << 32);
        }
        Some(Root { table, short: false, flat: false })
    }

    /// Gives the block back, but nothing that its entries lead to.
    pub(super) fn retire<K: Key>(self, heap: &mut Heap) {
        heap.retire(self.table, Self::words::<K>(self.flat));
    }

    /// Retires the compact chunks to which IPv4's entries lead.
    pub(super) fn retire_compact(self, heap: &mut Heap) {
        for index in 0..1 << ROOT4_BITS {
            compact::retire(heap, heap.region.acquire32(self.table, index));
        }
    }

    /// A copy with the flat table that this one lacks, or without the one it has; nothing if there is no room.
    pub(super) fn other_shape(self, heap: &mut Heap) -> Option<Root> {
        let flat = !self.flat;
        // As much as a change would leave, and more: the table is a luxury.
        if flat && heap.free_chunks() < FLAT_CHUNKS + heap.all_chunks() / 8 {
            return None;
        }
        let table = heap.alloc(Self::words::<u32>(flat))?;
        for word in 0..root_words(32) + short_words(32) {
            heap.region.store64(table + word, heap.region.load64(self.table + word));
        }
        if flat {
            for index in 0..1 << ROOT4_BITS {
                repeat(&heap.region, table, index, (0, SLOTS));
            }
        }
        Some(Root { table, flat, ..self })
    }

    /// Gives the short routes the values `values`.
    pub(super) fn set_short<K: Key>(&self, heap: &Heap, values: &[u32]) {
        let table = short_values::<K>(self.table);
        for (index, &value) in values.iter().enumerate() {
            heap.region.publish32(table, index, value);
        }
    }
}

/// Makes the flat table repeat `count` slots from `from` of the compact chunk at `index` of its root table.
pub(super) fn repeat(region: &Region, table: u32, index: usize, (from, count): (usize, usize)) {
    let chunk = region.acquire32(table, index);
    let bitmap = region.load64(chunk);
    let mut slot = from;
    while slot < from + count {
        let short = region.acquire16(chunk, 3 + runs(bitmap, slot));
        let later = bitmap & (u64::MAX << slot << 1);
        let end = (later.trailing_zeros() as usize).min(from + count);
        region.fill16(flat_table(table), index * SLOTS + slot, end - slot, short.min(ESCAPE));
        slot = end;
    }
}

/// Makes the flat table say `value` for `count` entries of its root table from `index` on.
pub(super) fn repeat_value(region: &Region, table: u32, index: usize, count: usize, value: u32) {
    let short = u16::try_from(value).unwrap_or(ESCAPE).min(ESCAPE);
    region.fill16(flat_table(table), index * SLOTS, count * SLOTS, short);
}
