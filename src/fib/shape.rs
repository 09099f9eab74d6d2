//! The shapes of a VRF's lookup structure, and where in it a node's slots are.
//!
//! A small VRF is chunks all the way down. A large one starts from tables that cost memory and save steps (`root`):
//! IPv4 from one of 2^18 entries, each a compact chunk; IPv6 from one of 2^12 entries, each a leaf or a table
//! of 2^12 more, there only where routes longer than /12 are, whose entries are leaves or chunks.

use super::chunk::{self, is_leaf, leaf};
use super::compact;
use super::heap::Heap;
use super::key::{Key, STRIDE};
use super::root::{self, ROOT4_BITS, ROOT6_BITS, Root, root_bits};
use super::tree::Update;

/// From this many routes on a VRF has tables.
pub(super) const GROW: usize = if cfg!(loom) { 4 } else { 16_384 };
/// Below this many routes it has none.
pub(super) const SHRINK: usize = GROW / 2;

/// A root table without routes, with `tables` second tables in stock; nothing if there is no room.
pub(super) fn new_root<K: Key>(heap: &mut Heap, tables: usize) -> Option<Root> {
    if (K::BITS == 32 && !heap.make_uniform()) || !heap.stock_tables(tables) {
        return None;
    }
    let empty = if K::BITS == 32 { heap.uniform(0) } else { leaf(0) };
    Root::new::<K>(heap, empty)
}

/// Retires a root table and the compact chunks under it.
pub(super) fn retire_root<K: Key>(heap: &mut Heap, root: Root) {
    if K::BITS == 32 {
        root.retire_compact(heap);
    }
    root.retire::<K>(heap);
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
    // Where the value is large each has a chunk of four words. Those of short routes are not in the table.
    if K::BITS == 32 && (STRIDE + 1..ROOT4_BITS).contains(&len) {
        (1 << (ROOT4_BITS - len)) / 8 + 1
    } else {
        0
    }
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
    /// Entries of a table.
    Within(Within),
}

/// Entries of a table from `base` on.
#[derive(Clone, Copy)]
pub(super) struct Within {
    pub(super) table: u32,
    /// The depth up to which the table resolves the bits.
    pub(super) end: u8,
    /// Whether a flat table repeats what this says.
    flat: bool,
    pub(super) base: usize,
}

impl Within {
    /// The first entry and the number of entries of a slot of a node at `depth` that is here.
    #[inline(always)]
    pub(super) fn entries(&self, depth: u8, slot: usize) -> (usize, usize) {
        let count = 1usize << (self.end - depth - STRIDE);
        (self.base + slot * count, count)
    }

    /// What readers find at a slot of the last node in the table.
    pub(super) fn entry(&self, heap: &Heap, slot: usize) -> u32 {
        heap.region.acquire32(self.table, self.base + slot)
    }

    /// Makes readers find `entry` at a slot of the last node in the table.
    pub(super) fn publish(&self, heap: &Heap, slot: usize, entry: u32) {
        heap.region.publish32(self.table, self.base + slot, entry);
    }

    /// Makes the flat table, if there is one, say what now is behind a slot of the last node in the table.
    pub(super) fn repeat(&self, heap: &Heap, slot: usize, slots: (usize, usize)) {
        if self.flat {
            root::repeat(&heap.region, self.table, self.base + slot, slots);
        }
    }
}

impl Place {
    /// Where the node at depth 0 is.
    pub(super) fn root<K: Key>(root: Option<Root>) -> Place {
        match root {
            None => Place::Chunk,
            Some(Root { table, flat, .. }) => {
                Place::Within(Within { table, end: root_bits(K::BITS), flat, base: 0 })
            }
        }
    }

    /// Where the slots of a node that is here are, its entry being `entry`.
    pub(super) fn inside(self, entry: u32) -> Place {
        match self {
            Place::Table => {
                Place::Within(Within { table: entry, end: 2 * ROOT6_BITS, flat: false, base: 0 })
            }
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

    /// The place of the child at `slot` of a node at `depth` that is here.
    #[inline(always)]
    pub(super) fn child<K: Key>(self, depth: u8, slot: usize) -> Place {
        match self {
            Place::Chunk | Place::Compact | Place::Table => Place::Chunk,
            Place::Within(within) if depth + STRIDE < within.end => {
                Place::Within(Within { base: within.entries(depth, slot).0, ..within })
            }
            Place::Within(_) if K::BITS == 32 => Place::Compact,
            Place::Within(within) if within.end == ROOT6_BITS => Place::Table,
            Place::Within(_) => Place::Chunk,
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
            Place::Within(within) => {
                fill::<K>(heap, within, within.base, 1 << (within.end - depth), value);
                found
            }
        }
    }
}

/// Gives `count` entries of a table from `first` on, under which there are no nodes, the value `value`.
pub(super) fn fill<K: Key>(
    heap: &mut Heap,
    Within { table, flat, .. }: Within,
    first: usize,
    count: usize,
    value: u32,
) {
    let compact = K::BITS == 32;
    let shared = match compact {
        true if value >= u32::from(compact::ESCAPE) => None,
        true => Some(heap.uniform(value)),
        false => Some(leaf(value)),
    };
    for index in first..first + count {
        let old = heap.region.acquire32(table, index);
        let new = shared.unwrap_or_else(|| compact::write(heap, old, &[leaf(value); 64]));
        if old == new {
            continue;
        }
        heap.region.publish32(table, index, new);
        if compact && shared.is_some() {
            compact::retire(heap, old);
        }
    }
    if flat {
        root::repeat_value(&heap.region, table, first, count, value);
    }
}
