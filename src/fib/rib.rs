//! The routes as they were given: a tree of nodes of six bits, all VRFs of a family in one slab.
//!
//! A node holds the prefixes that are 1 to 6 bits longer than its depth, so a /24 costs a bit and a value in
//! the node at depth 18, not a node of its own. Position `2^l - 2 + bits` in the 126-bit map stands for the
//! prefix that is `l` bits longer with those bits; positions ascend by length, then by address. (The default
//! route belongs to no node; the VRF keeps it.)
//!
//! ```text
//! word 0      the value inherited from above | the lookup structure's entry for this node
//! word 1, 2   map of own prefixes (62 + 64 bits)
//! word 3      map of children (64 bits)
//! then        values (u32 each, in map order), children (u32 each, in map order)
//! ```

use super::slab::{Classes, Slab};

/// A node, by its word in the slab; 0 is none.
pub(super) type NodeRef = u32;
pub(super) const NONE: NodeRef = 0;

const HEADER: usize = 8;
const CLASSES: Classes =
    &[5, 6, 7, 8, 9, 10, 11, 12, 14, 16, 18, 21, 24, 28, 32, 36, 42, 51, 64, 85, 102];

#[expect(clippy::cast_possible_truncation, reason = "a slot has six bits")]
/// The position of the prefix `len` bits (1..=6) below a node's depth at `slot`.
#[inline(always)]
pub(super) fn position(slot: usize, len: u8) -> u32 {
    (1 << len) - 2 + (slot >> (6 - len)) as u32
}

/// The first slot and the number of slots that a position covers.
#[inline(always)]
pub(super) fn covered(position: u32) -> (usize, usize) {
    let len = (position + 2).ilog2();
    let slots = 1usize << (6 - len);
    ((position + 2 - (1 << len)) as usize * slots, slots)
}

/// How many bits longer than the node's depth the prefix at a position is.
#[expect(clippy::cast_possible_truncation, reason = "1 to 6")]
pub(super) fn length(position: u32) -> u8 {
    (position + 2).ilog2() as u8
}

/// A node's maps.
#[derive(Clone, Copy)]
pub(super) struct Maps {
    pub(super) short: u64,
    pub(super) long: u64,
    pub(super) children: u64,
}

impl Maps {
    #[inline(always)]
    fn values(&self) -> usize {
        (self.short.count_ones() + self.long.count_ones()) as usize
    }

    #[inline(always)]
    fn has(&self, position: u32) -> bool {
        if position < 62 {
            self.short >> position & 1 == 1
        } else {
            self.long >> (position - 62) & 1 == 1
        }
    }

    /// How many values precede `position`.
    #[inline(always)]
    fn rank(&self, position: u32) -> usize {
        if position < 62 {
            (self.short & ((1 << position) - 1)).count_ones() as usize
        } else {
            let below = self.long & ((1 << (position - 62)) - 1);
            (self.short.count_ones() + below.count_ones()) as usize
        }
    }

    #[inline(always)]
    fn flip(&mut self, position: u32) {
        if position < 62 {
            self.short ^= 1 << position;
        } else {
            self.long ^= 1 << (position - 62);
        }
    }

    /// The own positions that cover `slot`, longest first.
    #[inline(always)]
    pub(super) fn best(&self, slot: usize) -> Option<u32> {
        (1..=6).rev().map(|len| position(slot, len)).find(|&position| self.has(position))
    }

    /// Whether there is nothing but, perhaps, the prefix at `position`.
    pub(super) fn only(&self, position: u32) -> bool {
        let mut others = *self;
        if others.has(position) {
            others.flip(position);
        }
        others.is_empty()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.short | self.long | self.children == 0
    }
}

/// All nodes of a family.
pub(super) struct Rib {
    mem: Vec<u32>,
    slab: Slab,
    used_words: usize,
    nodes: usize,
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "words are split in halves, and a node has fewer than 200 items"
)]
impl Rib {
    pub(super) fn new() -> Rib {
        Rib { mem: Vec::new(), slab: Slab::new(u32::MAX, CLASSES), used_words: 0, nodes: 0 }
    }

    /// Octets in use.
    pub(super) fn octets(&self) -> u64 {
        self.used_words as u64 * 8
    }

    pub(super) fn nodes(&self) -> usize {
        self.nodes
    }

    fn words(values: usize, children: usize) -> u32 {
        ((HEADER + values + children).div_ceil(2) as u32).max(5)
    }

    fn at(node: NodeRef) -> usize {
        node as usize * 2
    }

    fn alloc(&mut self, words: u32) -> NodeRef {
        // The slab spans 32 GiB; the process is out of memory long before it.
        let node = self.slab.alloc(words).unwrap_or_else(|| unreachable!("a RIB of 32 GiB"));
        let touched = self.slab.touched_words() as usize * 2;
        if self.mem.len() < touched {
            self.mem.resize(touched, 0);
        }
        self.used_words += self.slab.rounded(words) as usize;
        node
    }

    fn release(&mut self, node: NodeRef, words: u32) {
        self.slab.free(node, words);
        self.used_words -= self.slab.rounded(words) as usize;
    }

    /// A node with no prefix and no child.
    pub(super) fn create(&mut self, inherited: u32, entry: u32) -> NodeRef {
        let node = self.alloc(Self::words(0, 0));
        self.nodes += 1;
        let at = Self::at(node);
        self.mem[at..at + HEADER].copy_from_slice(&[inherited, entry, 0, 0, 0, 0, 0, 0]);
        node
    }

    pub(super) fn destroy(&mut self, node: NodeRef) {
        let maps = self.maps(node);
        self.nodes -= 1;
        self.release(node, Self::words(maps.values(), maps.children.count_ones() as usize));
    }

    #[inline(always)]
    pub(super) fn maps(&self, node: NodeRef) -> Maps {
        let m = &self.mem[Self::at(node)..][..HEADER];
        let wide = |low: u32, high: u32| u64::from(low) | u64::from(high) << 32;
        Maps { short: wide(m[2], m[3]), long: wide(m[4], m[5]), children: wide(m[6], m[7]) }
    }

    fn set_maps(&mut self, node: NodeRef, maps: Maps) {
        let m = &mut self.mem[Self::at(node)..][..HEADER];
        (m[2], m[3]) = (maps.short as u32, (maps.short >> 32) as u32);
        (m[4], m[5]) = (maps.long as u32, (maps.long >> 32) as u32);
        (m[6], m[7]) = (maps.children as u32, (maps.children >> 32) as u32);
    }

    /// The value that this node's slots have where it holds no prefix.
    #[inline(always)]
    pub(super) fn inherited(&self, node: NodeRef) -> u32 {
        self.mem[Self::at(node)]
    }

    pub(super) fn set_inherited(&mut self, node: NodeRef, value: u32) {
        self.mem[Self::at(node)] = value;
    }

    /// Whether this node holds any prefix.
    pub(super) fn has_prefixes(&self, node: NodeRef) -> bool {
        let maps = self.maps(node);
        maps.short | maps.long != 0
    }

    /// The lookup structure's entry that stands for this node.
    #[inline(always)]
    pub(super) fn entry(&self, node: NodeRef) -> u32 {
        self.mem[Self::at(node) + 1]
    }

    pub(super) fn set_entry(&mut self, node: NodeRef, entry: u32) {
        self.mem[Self::at(node) + 1] = entry;
    }

    pub(super) fn value(&self, node: NodeRef, position: u32) -> Option<u32> {
        let maps = self.maps(node);
        maps.has(position).then(|| self.mem[Self::at(node) + HEADER + maps.rank(position)])
    }

    pub(super) fn child(&self, node: NodeRef, slot: usize) -> NodeRef {
        let maps = self.maps(node);
        if maps.children >> slot & 1 == 0 {
            return NONE;
        }
        let rank = (maps.children & ((1 << slot) - 1)).count_ones() as usize;
        self.mem[Self::at(node) + HEADER + maps.values() + rank]
    }

    /// The children by slot.
    #[inline]
    pub(super) fn children(&self, node: NodeRef) -> impl Iterator<Item = (usize, NodeRef)> + '_ {
        let maps = self.maps(node);
        let mut slots = maps.children;
        // Counting is dear on a processor of no particular kind: only where there is something to skip.
        let skipped = if slots == 0 { 0 } else { maps.values() };
        let children = &self.mem[Self::at(node) + HEADER + skipped..];
        children.iter().map_while(move |&child| {
            let slot = slots.trailing_zeros() as usize;
            (slots != 0).then(|| {
                slots &= slots - 1;
                (slot, child)
            })
        })
    }

    /// Points an existing child's place elsewhere.
    fn replace_child(&mut self, node: NodeRef, slot: usize, child: NodeRef) {
        let maps = self.maps(node);
        let rank = (maps.children & ((1 << slot) - 1)).count_ones() as usize;
        self.mem[Self::at(node) + HEADER + maps.values() + rank] = child;
    }

    /// Sets, replaces or (`NONE`) removes the child at `slot`; the node may move.
    #[must_use]
    pub(super) fn set_child(&mut self, node: NodeRef, slot: usize, child: NodeRef) -> NodeRef {
        let mut maps = self.maps(node);
        let there = maps.children >> slot & 1 == 1;
        let rank = (maps.children & ((1 << slot) - 1)).count_ones() as usize;
        let index = maps.values() + rank;
        match (there, child) {
            (false, NONE) => node,
            (true, child) if child != NONE => {
                self.replace_child(node, slot, child);
                node
            }
            (_, child) => {
                maps.children ^= 1 << slot;
                self.splice(node, maps, index, (!there).then_some(child))
            }
        }
    }

    /// Sets or (`None`) removes a prefix; the node may move. Gives the value that was there.
    pub(super) fn set_value(
        &mut self,
        node: NodeRef,
        position: u32,
        value: Option<u32>,
    ) -> (NodeRef, Option<u32>) {
        let mut maps = self.maps(node);
        let rank = maps.rank(position);
        let old = maps.has(position).then(|| self.mem[Self::at(node) + HEADER + rank]);
        match (old, value) {
            (None, None) => (node, None),
            (Some(_), Some(value)) => {
                self.mem[Self::at(node) + HEADER + rank] = value;
                (node, old)
            }
            (_, value) => {
                maps.flip(position);
                (self.splice(node, maps, rank, value), old)
            }
        }
    }

    /// Inserts `item` at `index` of the node's items, or removes that item, and gives it the new maps.
    fn splice(&mut self, node: NodeRef, maps: Maps, index: usize, item: Option<u32>) -> NodeRef {
        let before = self.maps(node);
        let items = before.values() + before.children.count_ones() as usize;
        let old_words = Self::words(items, 0);
        let new_words = Self::words(if item.is_some() { items + 1 } else { items - 1 }, 0);
        let from = Self::at(node) + HEADER;
        let mut to_node = node;
        if self.slab.rounded(old_words) != self.slab.rounded(new_words) {
            to_node = self.alloc(new_words);
            self.mem.copy_within(from - HEADER..from + index, Self::at(to_node));
        }
        let to = Self::at(to_node) + HEADER;
        match item {
            Some(item) => {
                self.mem.copy_within(from + index..from + items, to + index + 1);
                self.mem[to + index] = item;
            }
            None => self.mem.copy_within(from + index + 1..from + items, to + index),
        }
        if to_node != node {
            self.release(node, old_words);
        }
        self.set_maps(to_node, maps);
        to_node
    }

    /// The best value of each slot, inheriting where the node has no prefix.
    #[inline]
    pub(super) fn spread(&self, node: NodeRef, slots: &mut [u32; 64]) {
        let maps = self.maps(node);
        let values = &self.mem[Self::at(node) + HEADER..][..maps.values()];
        slots.fill(self.inherited(node));
        let mut short = maps.short;
        let shorts = short.count_ones() as usize;
        for &value in &values[..shorts] {
            let (from, count) = covered(short.trailing_zeros());
            slots[from..from + count].fill(value);
            short &= short - 1;
        }
        let mut long = maps.long;
        for &value in &values[shorts..] {
            slots[(long.trailing_zeros() & 63) as usize] = value;
            long &= long - 1;
        }
    }

    /// The best value at one slot.
    pub(super) fn best(&self, node: NodeRef, slot: usize) -> u32 {
        let maps = self.maps(node);
        match maps.best(slot) {
            Some(position) => self.mem[Self::at(node) + HEADER + maps.rank(position)],
            None => self.inherited(node),
        }
    }
}
