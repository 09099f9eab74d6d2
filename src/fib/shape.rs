//! The shapes of a VRF's lookup structure, and where in it a node's slots are.
//!
//! A small VRF is chunks all the way down. A large one starts from tables that cost memory and save steps:
//! IPv4 from one of 2^18 entries, each a compact chunk; IPv6 from one of 2^12 entries, each a leaf or a table
//! of 2^12 more, there only where routes longer than /12 are, whose entries are leaves or chunks.

use super::chunk::{self, is_leaf, leaf};
use super::compact;
use super::heap::Heap;
use super::key::{Key, STRIDE};
use super::tree::Update;

/// From this many routes on a VRF has tables.
pub(super) const GROW: usize = 16_384;
/// Below this many routes it has none.
pub(super) const SHRINK: usize = 8_192;

/// The depth at which IPv4's root table ends.
pub(super) const ROOT4_BITS: u8 = 18;
/// The bits that each of IPv6's tables resolves.
pub(super) const ROOT6_BITS: u8 = 12;

/// Room to ask for before making a root table, in chunks of the largest size (416 octets): for IPv4's MiB and the
/// shared chunks.
pub(super) const ROOT_CHUNKS: u64 = 4096;

/// Bits that the root table of a family resolves.
const fn root_bits(family_bits: u8) -> u8 {
    if family_bits == 32 { ROOT4_BITS } else { ROOT6_BITS }
}

const fn root_words(family_bits: u8) -> u32 {
    1 << (root_bits(family_bits) - 1)
}

/// A root table without routes, with `tables` more in stock; nothing if there is no room.
pub(super) fn new_root<K: Key>(heap: &mut Heap, tables: usize) -> Option<u32> {
    if (K::BITS == 32 && !heap.make_uniform()) || !heap.stock_tables(tables) {
        return None;
    }
    let table = heap.alloc(root_words(K::BITS))?;
    let empty = if K::BITS == 32 { heap.uniform(0) } else { leaf(0) };
    for index in 0..1 << root_bits(K::BITS) {
        heap.region.publish32(table, index, empty);
    }
    Some(table)
}

/// Retires a root table and the compact chunks under it.
pub(super) fn retire_root<K: Key>(heap: &mut Heap, table: u32) {
    if K::BITS == 32 {
        for index in 0..1 << ROOT4_BITS {
            compact::retire(heap, heap.region.acquire32(table, index));
        }
    }
    heap.retire(table, root_words(K::BITS));
}

/// How many second tables `updates`, sorted, make necessary under the root table.
pub(super) fn new_tables<K: Key>(heap: &Heap, table: u32, updates: &[Update<K>]) -> usize {
    prefixes_with_table(updates)
        .filter(|&index| is_leaf(heap.region.acquire32(table, index)))
        .count()
}

/// How many second tables `updates`, sorted, can need.
pub(super) fn most_tables<K: Key>(updates: &[Update<K>]) -> usize {
    prefixes_with_table(updates).count()
}

/// The different places in IPv6's root table under which `updates`, sorted, add longer prefixes.
fn prefixes_with_table<K: Key>(updates: &[Update<K>]) -> impl Iterator<Item = usize> {
    let longer = updates.iter().filter(|u| K::BITS == 128 && u.len > ROOT6_BITS && u.value != 0);
    let mut before = None;
    longer.map(|u| u.key.slot(0) << STRIDE | u.key.slot(STRIDE)).filter(move |&index| {
        let new = before != Some(index);
        before = Some(index);
        new
    })
}

/// The room, in chunks of the largest size, that a change of a prefix can need for table entries without a node.
pub(super) fn most_filled<K: Key>(len: u8) -> u64 {
    // Where the value is large each has a chunk of four words.
    if K::BITS == 32 && len < ROOT4_BITS { (1 << (ROOT4_BITS - len)) / 8 + 1 } else { 0 }
}

/// Where a node's slots are in the lookup structure.
#[derive(Clone, Copy)]
pub(super) enum Place {
    /// A chunk of its own.
    Chunk,
    /// A compact chunk of its own.
    Compact,
    /// A table of its own.
    Table,
    /// Entries of a table from `base` on; the table resolves the bits up to depth `end`.
    Within { table: u32, end: u8, base: usize },
}

impl Place {
    /// Where the node at depth 0 is.
    pub(super) fn root<K: Key>(table: Option<u32>) -> Place {
        match table {
            None => Place::Chunk,
            Some(table) => Place::Within { table, end: root_bits(K::BITS), base: 0 },
        }
    }

    /// Where the slots of a node that is here are, its entry being `entry`.
    pub(super) fn inside(self, entry: u32) -> Place {
        match self {
            Place::Table => Place::Within { table: entry, end: 2 * ROOT6_BITS, base: 0 },
            place => place,
        }
    }

    /// The entry that stands for no route.
    pub(super) fn empty(self, heap: &Heap) -> u32 {
        match self {
            Place::Compact => heap.uniform(0),
            _ => leaf(0),
        }
    }

    /// The first entry and the number of entries of a slot of a node at `depth` within a table.
    #[inline(always)]
    pub(super) fn entries(base: usize, end: u8, depth: u8, slot: usize) -> (usize, usize) {
        let count = 1usize << (end - depth - STRIDE);
        (base + slot * count, count)
    }

    /// The place of the child at `slot` of a node at `depth` that is here.
    #[inline(always)]
    pub(super) fn child<K: Key>(self, depth: u8, slot: usize) -> Place {
        match self {
            Place::Chunk | Place::Compact | Place::Table => Place::Chunk,
            Place::Within { table, end, base } if depth + STRIDE < end => {
                Place::Within { table, end, base: Place::entries(base, end, depth, slot).0 }
            }
            Place::Within { end, .. } if K::BITS == 32 && end == ROOT4_BITS => Place::Compact,
            Place::Within { end, .. } if end == ROOT6_BITS => Place::Table,
            Place::Within { .. } => Place::Chunk,
        }
    }

    /// Gives a place without a node the value of what covers it. `found` is its entry now.
    pub(super) fn vacate<K: Key>(self, heap: &mut Heap, depth: u8, found: u32, value: u32) -> u32 {
        match self {
            Place::Chunk => {
                chunk::retire(heap, found);
                leaf(value)
            }
            Place::Compact => compact::write(heap, found, &[leaf(value); 64]),
            Place::Table => {
                if !is_leaf(found) {
                    heap.retire(found, super::heap::TABLE_WORDS);
                }
                leaf(value)
            }
            Place::Within { table, end, base } => {
                fill::<K>(heap, table, end, base, 1 << (end - depth), value);
                found
            }
        }
    }
}

/// Gives `count` entries of a table, under which there are no nodes, the value `value`.
pub(super) fn fill<K: Key>(
    heap: &mut Heap,
    table: u32,
    end: u8,
    base: usize,
    count: usize,
    value: u32,
) {
    if K::BITS == 32 && value >= u32::from(compact::ESCAPE) {
        for index in base..base + count {
            let old = heap.region.acquire32(table, index);
            let new = compact::write(heap, old, &[leaf(value); 64]);
            if new != old {
                heap.region.publish32(table, index, new);
            }
        }
        return;
    }
    let compact = K::BITS == 32 && end == ROOT4_BITS;
    let new = if compact { heap.uniform(value) } else { leaf(value) };
    for index in base..base + count {
        let old = heap.region.acquire32(table, index);
        if old == new {
            continue;
        }
        heap.region.publish32(table, index, new);
        if compact {
            compact::retire(heap, old);
        }
    }
}
