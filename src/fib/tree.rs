//! One family's routes of all VRFs, and how a batch of changes reaches the lookup structure.

use super::Layout;
use super::chunk::{self, LEAF};
use super::head::Head;
use super::heap::Heap;
use super::key::{Key, STRIDE};
use super::rib::{NONE, NodeRef, Rib, covered, length, position};
use super::root::{self, ROOT6_BITS, Root, short_bits};
use super::shape::{self, GROW, Place, SHRINK};
use super::walk::Walk;

/// One change; value 0 withdraws. `key` has no bits beyond `len`.
#[derive(Clone, Copy)]
pub(super) struct Update<K> {
    pub(super) key: K,
    pub(super) len: u8,
    pub(super) value: u32,
}

/// One VRF's routes of this family.
#[derive(Clone, Copy)]
pub(super) struct Routes {
    /// The node at depth 0.
    pub(super) root: NodeRef,
    /// The default route's value, 0 for none. It is in no node, so that a change of it is one store.
    pub(super) default: u32,
    pub(super) count: usize,
    /// The root table, if the VRF is large.
    pub(super) table: Option<Root>,
    /// The entry to start from, if there is no table.
    pub(super) entry: u32,
}

impl Routes {
    pub(super) const EMPTY: Routes =
        Routes { root: NONE, default: 0, count: 0, table: None, entry: LEAF };

    pub(super) fn layout(&self) -> Layout {
        match self.table {
            None => Layout::Chunks,
            Some(Root { flat: false, .. }) => Layout::Table,
            Some(Root { flat: true, .. }) => Layout::Flat,
        }
    }
}

/// An inherited value like no other, so that all slots of the node count as changed.
pub(super) const UNKNOWN: u32 = u32::MAX;

/// What a batch did to one VRF.
#[derive(Default)]
pub(super) struct Tally {
    added: usize,
    removed: usize,
    /// The last value replaced or withdrawn.
    pub(super) replaced: Option<u32>,
}

impl Tally {
    pub(super) fn note(&mut self, old: Option<u32>, new: u32) {
        self.added += usize::from(old.is_none() && new != 0);
        self.removed += usize::from(old.is_some() && new == 0);
        self.replaced = old;
    }
}

pub(super) struct Tree<K> {
    pub(super) rib: Rib,
    pub(super) routes: usize,
    /// Of the lookup structure, reachable by readers.
    pub(super) fib_octets: u64,
    /// From how many routes on a VRF has tables, and below how many it has none.
    pub(super) grow_at: usize,
    pub(super) shrink_at: usize,
    /// From how many routes on an IPv4 VRF has a flat table; below half of it it has none.
    pub(super) flat_at: usize,
    family: std::marker::PhantomData<K>,
}

impl<K: Key> Tree<K> {
    pub(super) fn new(flat_at: usize) -> Tree<K> {
        Tree {
            rib: Rib::new(),
            routes: 0,
            fib_octets: 0,
            grow_at: GROW,
            shrink_at: SHRINK,
            flat_at,
            family: std::marker::PhantomData,
        }
    }

    pub(super) fn rib_octets(&self) -> u64 {
        self.rib.octets()
    }

    /// Sets aside the tables that `updates`, sorted by key and length, one for each prefix, can need. Gives the
    /// chunks for which there must be room besides, or nothing if the tables cannot be had.
    pub(super) fn reserve(
        &self,
        heap: &mut Heap,
        vrf: &Routes,
        updates: &[Update<K>],
    ) -> Option<u64> {
        let tables = match vrf.table {
            Some(root) => shape::new_tables(heap, root.table, updates),
            None => 0,
        };
        heap.stock_tables(tables).then(|| self.room_needed(vrf, updates, heap.free_chunks()))
    }

    /// Applies `updates`, after `reserve`. Gives the head by which readers find the VRF's routes, and what the
    /// last update replaced.
    pub(super) fn apply(
        &mut self,
        heap: &mut Heap,
        vrf: &mut Routes,
        updates: &[Update<K>],
    ) -> (Head, Option<u32>) {
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
        let mut grows = false;
        if !rest.is_empty() {
            grows = vrf.table.is_none()
                && vrf.count + rest.len() >= self.grow_at
                && self.grow(heap, vrf, rest);
            let short = !grows
                && matches!(rest, [update] if self.change_one(heap, vrf, update, &mut tally));
            if !short {
                self.sync_root(heap, vrf, rest, &mut tally);
            }
        }
        vrf.count = vrf.count + tally.added - tally.removed;
        self.routes = self.routes + tally.added - tally.removed;
        if vrf.table.is_some() && vrf.count < self.shrink_at {
            self.shrink(heap, vrf);
        }
        if let Some(root) = vrf.table {
            let flat_from = if root.flat { self.flat_at / 2 } else { self.flat_at };
            if root.flat != (vrf.count >= flat_from)
                && let Some(other) = root.other_shape(heap)
            {
                root.retire::<K>(heap);
                vrf.table = Some(other);
            }
            if grows || updates.iter().any(|update| update.len <= short_bits(K::BITS)) {
                self.set_short(heap, vrf);
            }
        }
        self.fib_octets = self.fib_octets + heap.used_octets() - used;
        let head = match vrf.table {
            None => Head::new(vrf.entry, vrf.default),
            Some(root) => Head::with_root(root, vrf.default),
        };
        (head, tally.replaced)
    }

    fn sync_root(
        &mut self,
        heap: &mut Heap,
        vrf: &mut Routes,
        updates: &[Update<K>],
        tally: &mut Tally,
    ) {
        let place = Place::root::<K>(vrf.table);
        (vrf.root, vrf.entry) = self.sync(heap, vrf.root, 0, (place, vrf.entry), 0, updates, tally);
    }

    /// Gives a VRF its root table, if there is room, for `updates` to fill: readers see it only after these. Says
    /// whether it did.
    fn grow(&mut self, heap: &mut Heap, vrf: &mut Routes, updates: &[Update<K>]) -> bool {
        let grown = Routes { table: Some(Root { table: 0, short: false, flat: false }), ..*vrf };
        let room = heap.free_chunks().saturating_sub(self.rib.nodes() as u64 + root::ROOT_CHUNKS);
        if room < self.room_needed(&grown, updates, 2 * room) {
            return false;
        }
        let tables = self.tables_of(vrf.root, 0) + shape::most_tables(updates);
        let Some(root) = shape::new_root::<K>(heap, tables) else { return false };
        self.release(heap, vrf.root, 0, Place::Chunk);
        vrf.table = Some(root);
        vrf.entry = LEAF;
        self.reset(heap, vrf.root, 0, Place::root::<K>(vrf.table));
        true
    }

    /// Takes a VRF's root table away, if there is room.
    fn shrink(&mut self, heap: &mut Heap, vrf: &mut Routes) {
        let Some(root) = vrf.table else { return };
        if heap.free_chunks() < self.count_nodes(vrf.root) {
            return;
        }
        self.release(heap, vrf.root, 0, Place::root::<K>(vrf.table));
        shape::retire_root::<K>(heap, root);
        vrf.table = None;
        vrf.entry = LEAF;
        self.reset(heap, vrf.root, 0, Place::Chunk);
        self.sync_root(heap, vrf, &[], &mut Tally::default());
    }

    /// Retires what the nodes from `node` down own in the lookup structure, but for what a table does.
    fn release(&mut self, heap: &mut Heap, node: NodeRef, depth: u8, place: Place) {
        if node == NONE {
            return;
        }
        let entry = self.rib.entry(node);
        let within = place.inside(entry);
        match place {
            Place::Chunk => chunk::retire(heap, entry),
            Place::Table => heap.retire(entry, super::heap::TABLE_WORDS),
            // The table's entry says the same.
            Place::Compact | Place::Within(_) => {}
        }
        let mut children = self.rib.maps(node).children;
        while children != 0 {
            let slot = children.trailing_zeros() as usize;
            children &= children - 1;
            let child = self.rib.child(node, slot);
            self.release(heap, child, depth + STRIDE, within.child::<K>(depth, slot));
        }
    }

    /// Makes the nodes from `node` down, whose new place is `place`, compile at the next `sync`.
    fn reset(&mut self, heap: &Heap, node: NodeRef, depth: u8, place: Place) {
        if node == NONE {
            return;
        }
        self.rib.set_inherited(node, UNKNOWN);
        self.rib.set_entry(node, place.empty(heap));
        let mut children = self.rib.maps(node).children;
        while children != 0 {
            let slot = children.trailing_zeros() as usize;
            children &= children - 1;
            let child = self.rib.child(node, slot);
            self.reset(heap, child, depth + STRIDE, place.child::<K>(depth, slot));
        }
    }

    /// How many IPv6 tables below the root's the nodes from `node` down will have.
    fn tables_of(&self, node: NodeRef, depth: u8) -> usize {
        if node == NONE || K::BITS == 32 {
            return 0;
        }
        if depth == ROOT6_BITS {
            return 1;
        }
        let mut children = self.rib.maps(node).children;
        let mut tables = 0;
        while children != 0 {
            let slot = children.trailing_zeros() as usize;
            children &= children - 1;
            tables += self.tables_of(self.rib.child(node, slot), depth + STRIDE);
        }
        tables
    }

    /// As many chunks as applying `updates` can take or more; a rough figure where that is below `plenty`.
    pub(super) fn room_needed(&self, vrf: &Routes, updates: &[Update<K>], plenty: u64) -> u64 {
        let levels = u64::from(K::BITS.div_ceil(STRIDE));
        let mut filled: u64 = 0;
        if vrf.table.is_some() {
            filled = updates.iter().map(|update| shape::most_filled::<K>(update.len)).sum();
        }
        let rough = updates.len() as u64 * (levels + 1) + self.rib.nodes() as u64 + filled;
        if rough < plenty / 2 {
            return rough;
        }
        let mut nodes = filled;
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
        if update.len == 0 || update.len <= short_bits(K::BITS) && vrf.table.is_some() {
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

    /// Removes all routes of a VRF, which readers no longer find.
    pub(super) fn clear(&mut self, heap: &mut Heap, vrf: &Routes) {
        let used = heap.used_octets();
        self.release(heap, vrf.root, 0, Place::root::<K>(vrf.table));
        if let Some(root) = vrf.table {
            shape::retire_root::<K>(heap, root);
        }
        self.destroy(vrf.root);
        self.fib_octets -= used - heap.used_octets();
        self.routes -= vrf.count;
    }

    fn destroy(&mut self, node: NodeRef) {
        if node == NONE {
            return;
        }
        let mut children = self.rib.maps(node).children;
        while children != 0 {
            self.destroy(self.rib.child(node, children.trailing_zeros() as usize));
            children &= children - 1;
        }
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

    /// The routes from the prefix `key`, `len` on.
    pub(super) fn walk_from(&self, vrf: &Routes, key: K, len: u8) -> Walk<'_, K> {
        Walk::from(&self.rib, vrf, key, len)
    }
}
