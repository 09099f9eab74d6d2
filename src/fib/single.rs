//! The short way for one change: down to the node that holds the prefix and back up as far as readers must learn.
//!
//! It serves where no node comes or goes and nothing below inherits the value: most changes of a full table. `sync` does
//! everything else.

use super::chunk::{self, is_leaf};
use super::compact;
use super::heap::Heap;
use super::key::{Key, STRIDE};
use super::rib::{NONE, NodeRef, covered, position};
use super::root::ROOT4_BITS;
use super::shape::Place;
use super::tree::{Routes, Tally, Tree, Update};

/// Nodes above the one that holds a prefix: at most these many.
const MOST_ABOVE: usize = 21;

/// A node on the way down, and where it was left.
#[derive(Clone, Copy)]
struct Step {
    node: NodeRef,
    within: Place,
    depth: u8,
    slot: usize,
}

impl<K: Key> Tree<K> {
    /// Does `update`, longer than the default, if it is of that kind. Otherwise nothing has changed.
    pub(super) fn change_one(
        &mut self,
        heap: &mut Heap,
        vrf: &mut Routes,
        update: &Update<K>,
        tally: &mut Tally,
    ) -> bool {
        let nowhere = Step { node: NONE, within: Place::Chunk, depth: 0, slot: 0 };
        let mut path = [nowhere; MOST_ABOVE];
        let mut above = 0;
        let (mut node, mut depth) = (vrf.root, 0);
        let mut place = Place::root::<K>(vrf.table);
        while node != NONE && update.len > depth + STRIDE {
            let (slot, within) = (update.key.slot(depth), place.inside(self.rib.entry(node)));
            path[above] = Step { node, within, depth, slot };
            above += 1;
            node = self.rib.child(node, slot);
            place = within.child::<K>(depth, slot);
            depth += STRIDE;
        }
        if node == NONE || above == 0 || !matches!(place, Place::Chunk | Place::Compact) {
            return false;
        }
        let position = position(update.key.slot(depth), update.len - depth);
        let (from, count) = covered(position);
        let maps = self.rib.maps(node);
        if maps.children & ((u64::MAX >> (64 - count)) << from) != 0
            || update.value == 0 && maps.only(position)
        {
            return false;
        }
        let value = (update.value != 0).then_some(update.value);
        let (moved, old) = self.rib.set_value(node, position, value);
        tally.note(old, update.value);
        if old == value {
            return true;
        }
        let path = &path[..above];
        if moved != node
            && let Some(&Step { node: parent, slot, .. }) = path.last()
        {
            // The place is there, so that the parent does not move.
            let _ = self.rib.set_child(parent, slot, moved);
        }
        if let Some(entry) = self.climb(heap, moved, place, path) {
            vrf.entry = entry;
        }
        // The last node in IPv4's root table.
        const LAST: usize = (ROOT4_BITS / STRIDE - 1) as usize;
        if let Some(&Step { within: Place::Within(within), slot, .. }) = path.get(LAST) {
            let deeper = depth > ROOT4_BITS;
            let slots = if deeper { (update.key.slot(ROOT4_BITS), 1) } else { (from, count) };
            within.repeat(heap, slot, slots);
        }
        true
    }

    /// Compiles the node at `place`, and what leads to it by `path`, up to where the entry stays. Gives the VRF's first
    /// entry, if it comes that far.
    fn climb(
        &mut self,
        heap: &mut Heap,
        node: NodeRef,
        place: Place,
        path: &[Step],
    ) -> Option<u32> {
        let mut slots = [0; 64];
        self.rib.spread(node, &mut slots);
        let mut before = self.rib.entry(node);
        let mut after = self.compile(heap, node, place, &slots);
        for &Step { node, within, depth, slot } in path.iter().rev() {
            if before == after {
                return None;
            }
            let entry = self.rib.entry(node);
            match within {
                Place::Within(within) => {
                    debug_assert_eq!(depth + STRIDE, within.end);
                    within.publish(heap, slot, after);
                    return None;
                }
                _ if is_leaf(before) || is_leaf(after) => {
                    self.rib.spread(node, &mut slots);
                    before = entry;
                    after = self.compile(heap, node, within, &slots);
                }
                // A child with a chunk is a run of its own: the bitmap stays.
                Place::Compact => {
                    compact::set_child(heap, entry, slot, after);
                    return None;
                }
                Place::Chunk | Place::Table => {
                    chunk::set_child(heap, entry, slot, after);
                    return None;
                }
            }
        }
        Some(after)
    }
}
