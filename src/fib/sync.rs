//! How a batch of changes goes down the tree of routes and comes back up as a lookup structure.

use super::chunk::{self, is_leaf, leaf};
use super::compact;
use super::heap::Heap;
use super::key::{Key, STRIDE};
use super::rib::{NONE, NodeRef, covered, position};
use super::root::{ROOT6_BITS, short_bits};
use super::shape::{Place, fill};
use super::tree::{Routes, Tally, Tree, UNKNOWN, Update};

impl<K: Key> Tree<K> {
    /// Brings the node at `depth` and what is below it up to date with `updates`, all of them longer than
    /// `depth`, and with the value `inherited` from above. Gives the node, as it may move, come or go, and the
    /// entry by which readers find it; `found` is that entry now.
    #[expect(clippy::too_many_arguments, reason = "a recursion over what it carries")]
    pub(super) fn sync(
        &mut self,
        heap: &mut Heap,
        mut node: NodeRef,
        depth: u8,
        (place, found): (Place, u32),
        inherited: u32,
        updates: &[Update<K>],
        tally: &mut Tally,
    ) -> (NodeRef, u32) {
        if node == NONE {
            if updates.iter().all(|update| update.value == 0) {
                tally.replaced = None;
                return (NONE, place.vacate::<K>(heap, depth, found, inherited));
            }
            // What its slots hold now is not known: the value from above may be new too.
            node = self.rib.create(UNKNOWN, found);
        }
        let mut entry = self.rib.entry(node);
        let mut within = place;
        if let Place::Table = place {
            if is_leaf(entry) {
                entry = heap.take_table();
                for index in 0..1 << ROOT6_BITS {
                    heap.region.publish32(entry, index, leaf(inherited));
                }
                self.rib.set_entry(node, entry);
            }
            within = place.inside(entry);
        }
        // Readers find the short routes beside the root table: nothing below inherits them.
        let beside = depth < short_bits(K::BITS) && matches!(place, Place::Within(_));
        // The slots whose own or inherited value may have changed.
        let mut changed = if inherited == self.rib.inherited(node) { 0 } else { u64::MAX };
        self.rib.set_inherited(node, inherited);
        for update in updates.iter().filter(|update| update.len <= depth + STRIDE) {
            let position = position(update.key.slot(depth), update.len - depth);
            let value = (update.value != 0).then_some(update.value);
            let old;
            (node, old) = self.rib.set_value(node, position, value);
            if old != value && !beside {
                let (from, count) = covered(position);
                changed |= (u64::MAX >> (64 - count)) << from;
            }
            tally.note(old, update.value);
        }

        // A chunk is compiled anew if a value changed, or a child came or went or stopped needing a chunk.
        let mut compile = changed != 0;
        let mut rest = updates;
        while let Some(first) = rest.first() {
            if first.len <= depth + STRIDE {
                rest = &rest[1..];
                continue;
            }
            let slot = first.key.slot(depth);
            // Sorted: a slot's own prefixes come first, then everything deeper in it.
            let group;
            (group, rest) =
                rest.split_at(rest.partition_point(|update| update.key.slot(depth) == slot));
            let passed = if beside { 0 } else { self.rib.best(node, slot) };
            changed &= !(1 << slot);
            let (before, after);
            (node, before, after) =
                self.sync_child(heap, node, depth, (within, slot), passed, group, tally);
            if before == after || compile {
                continue;
            }
            match within {
                Place::Within(_) => {}
                _ if is_leaf(before) || is_leaf(after) => compile = true,
                // A child with a chunk is a run of its own: the bitmap stays.
                Place::Compact => compact::set_child(heap, entry, slot, after),
                Place::Chunk | Place::Table => chunk::set_child(heap, entry, slot, after),
            }
        }
        if self.rib.maps(node).is_empty() {
            self.rib.destroy(node);
            return (NONE, place.vacate::<K>(heap, depth, entry, inherited));
        }
        if !compile {
            return (node, entry);
        }

        let mut slots = [0; 64];
        if !beside {
            self.rib.spread(node, &mut slots);
        }
        if let Place::Within(here) = within {
            while changed != 0 {
                let slot = changed.trailing_zeros() as usize;
                changed &= changed - 1;
                if self.rib.child(node, slot) == NONE {
                    let (first, count) = here.entries(depth, slot);
                    fill::<K>(heap, here, first, count, slots[slot]);
                } else {
                    (node, _, _) =
                        self.sync_child(heap, node, depth, (within, slot), slots[slot], &[], tally);
                }
            }
            return (node, entry);
        }
        let mut children = self.rib.maps(node).children;
        while children != 0 {
            let slot = children.trailing_zeros() as usize;
            children &= children - 1;
            if self.rib.inherited(self.rib.child(node, slot)) != slots[slot] {
                (node, _, _) =
                    self.sync_child(heap, node, depth, (within, slot), slots[slot], &[], tally);
            }
        }
        let entry = self.compile(heap, node, within, &slots);
        (node, entry)
    }

    /// Makes readers find a node's chunk as `slots`, the best values of its own, and its children have it; gives the
    /// entry for it.
    pub(super) fn compile(
        &mut self,
        heap: &mut Heap,
        node: NodeRef,
        within: Place,
        slots: &[u32; 64],
    ) -> u32 {
        let mut entries = slots.map(leaf);
        for (slot, child) in self.rib.children(node) {
            entries[slot] = self.rib.entry(child);
        }
        let entry = match within {
            Place::Compact => compact::write(heap, self.rib.entry(node), &entries),
            _ => chunk::write(heap, self.rib.entry(node), &entries),
        };
        self.rib.set_entry(node, entry);
        entry
    }

    /// `sync` for the child at `slot`, with what follows for `node` and, where it is in one, its table. Gives the
    /// node and the child's entry before and after.
    #[expect(clippy::too_many_arguments, reason = "a recursion over what it carries")]
    fn sync_child(
        &mut self,
        heap: &mut Heap,
        mut node: NodeRef,
        depth: u8,
        (within, slot): (Place, usize),
        passed: u32,
        group: &[Update<K>],
        tally: &mut Tally,
    ) -> (NodeRef, u32, u32) {
        let child = self.rib.child(node, slot);
        let mut before = if child == NONE { leaf(passed) } else { self.rib.entry(child) };
        let last = match within {
            Place::Within(within) if depth + STRIDE == within.end => Some(within),
            _ => None,
        };
        if let Some(within) = last {
            before = within.entry(heap, slot);
        }
        let place = within.child::<K>(depth, slot);
        let (new, after) =
            self.sync(heap, child, depth + STRIDE, (place, before), passed, group, tally);
        if let Some(within) = last {
            if before != after {
                within.publish(heap, slot, after);
            }
            within.repeat(heap, slot, (0, 64));
        }
        if new != child {
            node = self.rib.set_child(node, slot, new);
        }
        (node, before, after)
    }

    /// Makes readers find the short routes, and the default where there are none.
    pub(super) fn set_short(&self, heap: &Heap, vrf: &mut Routes) {
        let Some(root) = &mut vrf.table else { return };
        let (mut above, mut values) = ([0; 64], Vec::new());
        root.short = self.spread_own(vrf.root, &mut above);
        for (slot, above) in above.into_iter().enumerate() {
            // IPv6 has two nodes' worth of them, IPv4 only the upper.
            let (mut own, count) = ([0; 64], 1 << (short_bits(K::BITS) - STRIDE));
            if count > 1 && vrf.root != NONE {
                root.short |= self.spread_own(self.rib.child(vrf.root, slot), &mut own);
            }
            let first = |own: u32| [own, above, vrf.default].into_iter().find(|&value| value != 0);
            values.extend(own[..count].iter().map(|&own| first(own).unwrap_or(0)));
        }
        if root.short {
            root.set_short::<K>(heap, &values);
        }
    }

    /// The best values of a node's own prefixes, and whether it has any.
    fn spread_own(&self, node: NodeRef, slots: &mut [u32; 64]) -> bool {
        let some = node != NONE && self.rib.has_prefixes(node);
        if some {
            self.rib.spread(node, slots);
        }
        some
    }
}
