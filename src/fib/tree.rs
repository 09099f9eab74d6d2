//! One family's routes of all VRFs, and how a batch of changes reaches the lookup structure.

use super::chunk::{self, LEAF, is_leaf, leaf};
use super::heap::Heap;
use super::key::{Key, STRIDE};
use super::rib::{NONE, NodeRef, Rib, covered, length, position};
use super::walk::Walk;

/// One change; value 0 withdraws. `key` has no bits beyond `len`.
#[derive(Clone, Copy)]
pub(super) struct Update<K> {
    pub(super) key: K,
    pub(super) len: u8,
    pub(super) value: u32,
}

/// One VRF's routes of this family.
#[derive(Clone, Copy, Default)]
pub(super) struct Routes {
    /// The node at depth 0.
    pub(super) root: NodeRef,
    /// The default route's value, 0 for none. It is in no node, so that a change of it is one store.
    pub(super) default: u32,
    pub(super) count: usize,
}

impl Routes {
    pub(super) const EMPTY: Routes = Routes { root: NONE, default: 0, count: 0 };
}

/// What a batch did to one VRF.
#[derive(Default)]
struct Tally {
    added: usize,
    removed: usize,
    /// The last value replaced or withdrawn.
    replaced: Option<u32>,
}

impl Tally {
    fn note(&mut self, old: Option<u32>, new: u32) {
        self.added += usize::from(old.is_none() && new != 0);
        self.removed += usize::from(old.is_some() && new == 0);
        self.replaced = old;
    }
}

pub(super) struct Tree<K> {
    rib: Rib,
    pub(super) routes: usize,
    /// Of the lookup structure, reachable by readers.
    pub(super) fib_octets: u64,
    family: std::marker::PhantomData<K>,
}

impl<K: Key> Tree<K> {
    pub(super) fn new() -> Tree<K> {
        Tree { rib: Rib::new(), routes: 0, fib_octets: 0, family: std::marker::PhantomData }
    }

    pub(super) fn rib_octets(&self) -> u64 {
        self.rib.octets()
    }

    /// Applies `updates`, sorted by key and length, one for each prefix. Gives what the last one replaced.
    ///
    /// Room has been made sure of (`room_needed`).
    pub(super) fn apply(
        &mut self,
        heap: &mut Heap,
        vrf: &mut Routes,
        updates: &[Update<K>],
    ) -> (u32, Option<u32>) {
        let used = heap.used_octets();
        let mut tally = Tally::default();
        let mut rest = updates;
        if let Some((first, others)) = updates.split_first()
            && first.len == 0
        {
            tally.note((vrf.default != 0).then_some(vrf.default), first.value);
            vrf.default = first.value;
            rest = others;
        }
        let mut entry = leaf(0);
        if vrf.root != NONE || !rest.is_empty() {
            (vrf.root, entry) = self.sync(heap, vrf.root, 0, 0, rest, &mut tally);
        }
        vrf.count = vrf.count + tally.added - tally.removed;
        self.routes = self.routes + tally.added - tally.removed;
        self.fib_octets = self.fib_octets + heap.used_octets() - used;
        (entry, tally.replaced)
    }

    /// As many chunks as applying `updates` can take or more; a rough figure where that is below `plenty`.
    pub(super) fn room_needed(&self, vrf: &Routes, updates: &[Update<K>], plenty: u64) -> u64 {
        let levels = u64::from(K::BITS.div_ceil(STRIDE));
        let rough = updates.len() as u64 * (levels + 1) + self.rib.nodes() as u64;
        if rough < plenty / 2 {
            return rough;
        }
        let mut nodes = 0;
        let mut before: Option<&Update<K>> = None;
        for update in updates {
            // The path of this update shares its upper nodes with that of the one before.
            let levels = u64::from(update.len.div_ceil(STRIDE));
            let shared = before.map_or(0, |before| {
                (0..before.len.min(update.len))
                    .step_by(STRIDE as usize)
                    .take_while(|&depth| before.key.slot(depth) == update.key.slot(depth))
                    .count() as u64
            });
            nodes += levels.saturating_sub(shared) + 1 + self.nodes_below(vrf, update);
            before = Some(update);
        }
        nodes
    }

    /// Nodes whose inherited value an update can change.
    fn nodes_below(&self, vrf: &Routes, update: &Update<K>) -> u64 {
        if update.len == 0 {
            return 0;
        }
        let mut node = vrf.root;
        let mut depth = 0;
        while node != NONE && update.len > depth + STRIDE {
            node = self.rib.child(node, update.key.slot(depth));
            depth += STRIDE;
        }
        if node == NONE {
            return 0;
        }
        let (from, count) = covered(position(update.key.slot(depth), update.len - depth));
        (from..from + count).map(|slot| self.count_nodes(self.rib.child(node, slot))).sum()
    }

    fn count_nodes(&self, node: NodeRef) -> u64 {
        if node == NONE {
            return 0;
        }
        let mut children = self.rib.maps(node).children;
        let mut nodes = 1;
        while children != 0 {
            let slot = children.trailing_zeros() as usize;
            nodes += self.count_nodes(self.rib.child(node, slot));
            children &= children - 1;
        }
        nodes
    }

    /// Brings the node at `depth` and what is below it up to date with `updates`, all of them longer than
    /// `depth`, and with the value `inherited` from above. Gives the node, as it may move, come or go, and the
    /// entry by which readers find it.
    fn sync(
        &mut self,
        heap: &mut Heap,
        mut node: NodeRef,
        depth: u8,
        inherited: u32,
        updates: &[Update<K>],
        tally: &mut Tally,
    ) -> (NodeRef, u32) {
        if node == NONE {
            if updates.iter().all(|update| update.value == 0) {
                tally.replaced = None;
                return (NONE, leaf(inherited));
            }
            node = self.rib.create(inherited, leaf(inherited));
        }
        let published = self.rib.entry(node);
        // Whether slots' values may have changed, so that all of them and all children have to be looked at.
        let mut whole = inherited != self.rib.inherited(node);
        self.rib.set_inherited(node, inherited);
        for update in updates.iter().filter(|update| update.len <= depth + STRIDE) {
            let position = position(update.key.slot(depth), update.len - depth);
            let value = (update.value != 0).then_some(update.value);
            let old;
            (node, old) = self.rib.set_value(node, position, value);
            whole |= old != value;
            tally.note(old, update.value);
        }

        let mut slots = [0; 64];
        if whole {
            self.rib.spread(node, &mut slots);
        }
        let mut rest = updates;
        while let Some(first) = rest.first() {
            if first.len <= depth + STRIDE {
                rest = &rest[1..];
                continue;
            }
            let slot = first.key.slot(depth);
            // Sorted: a slot's own prefixes come first, then everything deeper in it.
            let (group, others) =
                rest.split_at(rest.partition_point(|update| update.key.slot(depth) == slot));
            rest = others;
            let child = self.rib.child(node, slot);
            let before = if child == NONE { LEAF } else { self.rib.entry(child) };
            let passed = if whole { slots[slot] } else { self.rib.best(node, slot) };
            let (new, after) = self.sync(heap, child, depth + STRIDE, passed, group, tally);
            node = self.rib.set_child(node, slot, new);
            if before == after || whole {
                continue;
            }
            if is_leaf(before) || is_leaf(after) {
                whole = true;
                self.rib.spread(node, &mut slots);
            } else {
                // A child with a chunk is a run of its own: the bitmap stays.
                let index = 2 + chunk::run(heap.region.load64(published), slot);
                heap.region.publish32(published, index, after);
            }
        }
        if !whole {
            return self.keep_or_drop(heap, node, published);
        }

        let mut entries = slots.map(leaf);
        let mut children = self.rib.maps(node).children;
        while children != 0 {
            let slot = children.trailing_zeros() as usize;
            let mut child = self.rib.child(node, slot);
            if self.rib.inherited(child) != slots[slot] {
                (child, _) = self.sync(heap, child, depth + STRIDE, slots[slot], &[], tally);
                node = self.rib.set_child(node, slot, child);
            }
            entries[slot] = self.rib.entry(child);
            children &= children - 1;
        }
        let entry = chunk::write(heap, published, &entries);
        self.rib.set_entry(node, entry);
        self.keep_or_drop(heap, node, entry)
    }

    fn keep_or_drop(&mut self, heap: &mut Heap, node: NodeRef, entry: u32) -> (NodeRef, u32) {
        if !self.rib.maps(node).is_empty() {
            return (node, entry);
        }
        chunk::retire(heap, entry);
        let entry = leaf(self.rib.inherited(node));
        self.rib.destroy(node);
        (NONE, entry)
    }

    /// Removes all routes of a VRF. Readers no longer find them.
    pub(super) fn clear(&mut self, heap: &mut Heap, vrf: &Routes) {
        let used = heap.used_octets();
        self.drop_nodes(heap, vrf.root);
        self.fib_octets -= used - heap.used_octets();
        self.routes -= vrf.count;
    }

    fn drop_nodes(&mut self, heap: &mut Heap, node: NodeRef) {
        if node == NONE {
            return;
        }
        let mut children = self.rib.maps(node).children;
        while children != 0 {
            self.drop_nodes(heap, self.rib.child(node, children.trailing_zeros() as usize));
            children &= children - 1;
        }
        chunk::retire(heap, self.rib.entry(node));
        self.rib.destroy(node);
    }

    /// The value of exactly this prefix.
    pub(super) fn get(&self, vrf: &Routes, key: K, len: u8) -> Option<u32> {
        if len == 0 {
            return (vrf.default != 0).then_some(vrf.default);
        }
        let mut node = vrf.root;
        let mut depth = 0;
        while node != NONE && len > depth + STRIDE {
            node = self.rib.child(node, key.slot(depth));
            depth += STRIDE;
        }
        if node == NONE {
            return None;
        }
        self.rib.value(node, position(key.slot(depth), len - depth))
    }

    /// The longest match of an address: its length and value.
    pub(super) fn longest(&self, vrf: &Routes, key: K) -> Option<(u8, u32)> {
        let mut found = (vrf.default != 0).then_some((0, vrf.default));
        let mut node = vrf.root;
        let mut depth = 0;
        while node != NONE {
            let slot = key.slot(depth);
            if let Some(at) = self.rib.maps(node).best(slot) {
                let len = depth + length(at);
                found = self.rib.value(node, at).map(|value| (len, value)).or(found);
            }
            node = self.rib.child(node, slot);
            depth += STRIDE;
        }
        found
    }

    /// The routes by address, shorter first.
    pub(super) fn walk(&self, vrf: &Routes) -> Walk<'_, K> {
        Walk::new(&self.rib, vrf)
    }
}
