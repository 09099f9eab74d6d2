//! One family's routes of all VRFs, and how a batch of changes reaches the lookup structure.

use super::chunk::{self, LEAF, is_leaf, leaf};
use super::compact;
use super::head::Head;
use super::heap::Heap;
use super::key::{Key, STRIDE};
use super::rib::{NONE, NodeRef, Rib, covered, length, position};
use super::shape::{self, GROW, Place, ROOT6_BITS, SHRINK, fill};
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
    table: Option<u32>,
    /// The entry to start from, if there is no table.
    entry: u32,
}

impl Routes {
    pub(super) const EMPTY: Routes =
        Routes { root: NONE, default: 0, count: 0, table: None, entry: LEAF };
}

/// An inherited value like no other, so that all slots of the node count as changed.
const UNKNOWN: u32 = u32::MAX;

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
    /// From how many routes on a VRF has tables, and below how many it has none.
    pub(super) grow_at: usize,
    pub(super) shrink_at: usize,
    family: std::marker::PhantomData<K>,
}

impl<K: Key> Tree<K> {
    pub(super) fn new() -> Tree<K> {
        Tree {
            rib: Rib::new(),
            routes: 0,
            fib_octets: 0,
            grow_at: GROW,
            shrink_at: SHRINK,
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
            Some(table) => shape::new_tables(heap, table, updates),
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
        if !rest.is_empty() {
            if vrf.table.is_none() && vrf.count + rest.len() >= self.grow_at {
                self.grow(heap, vrf, rest);
            }
            self.sync_root(heap, vrf, rest, &mut tally);
        }
        vrf.count = vrf.count + tally.added - tally.removed;
        self.routes = self.routes + tally.added - tally.removed;
        if vrf.table.is_some() && vrf.count < self.shrink_at {
            self.shrink(heap, vrf);
        }
        self.fib_octets = self.fib_octets + heap.used_octets() - used;
        let head = match vrf.table {
            None => Head::new(vrf.entry, vrf.default),
            Some(table) => Head::with_table(table, vrf.default),
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

    /// Gives a VRF its root table, if there is room, for `updates` to fill: readers see it only after these.
    fn grow(&mut self, heap: &mut Heap, vrf: &mut Routes, updates: &[Update<K>]) {
        let grown = Routes { table: Some(0), ..*vrf };
        let room = heap.free_chunks().saturating_sub(self.rib.nodes() as u64 + shape::ROOT_CHUNKS);
        if room < self.room_needed(&grown, updates, 2 * room) {
            return;
        }
        let tables = self.tables_of(vrf.root, 0) + shape::most_tables(updates);
        let Some(table) = shape::new_root::<K>(heap, tables) else { return };
        self.release(heap, vrf.root, 0, Place::Chunk);
        vrf.table = Some(table);
        vrf.entry = LEAF;
        let place = Place::root::<K>(vrf.table);
        self.reset(heap, vrf.root, 0, place);
    }

    /// Takes a VRF's root table away, if there is room.
    fn shrink(&mut self, heap: &mut Heap, vrf: &mut Routes) {
        let Some(table) = vrf.table else { return };
        if heap.free_chunks() < self.count_nodes(vrf.root) {
            return;
        }
        self.release(heap, vrf.root, 0, Place::root::<K>(vrf.table));
        shape::retire_root::<K>(heap, table);
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
            Place::Compact | Place::Within { .. } => {}
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
    /// entry by which readers find it; `found` is that entry now.
    #[expect(clippy::too_many_arguments, reason = "a recursion over what it carries")]
    fn sync(
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
        // The slots whose own or inherited value may have changed.
        let mut changed = if inherited == self.rib.inherited(node) { 0 } else { u64::MAX };
        self.rib.set_inherited(node, inherited);
        for update in updates.iter().filter(|update| update.len <= depth + STRIDE) {
            let position = position(update.key.slot(depth), update.len - depth);
            let value = (update.value != 0).then_some(update.value);
            let old;
            (node, old) = self.rib.set_value(node, position, value);
            if old != value {
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
            let passed = self.rib.best(node, slot);
            changed &= !(1 << slot);
            let (before, after);
            (node, before, after) =
                self.sync_child(heap, node, depth, (within, slot), passed, group, tally);
            if before == after || compile {
                continue;
            }
            match within {
                Place::Within { .. } => {}
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
        self.rib.spread(node, &mut slots);
        if let Place::Within { table, end, base } = within {
            while changed != 0 {
                let slot = changed.trailing_zeros() as usize;
                changed &= changed - 1;
                if self.rib.child(node, slot) == NONE {
                    let (first, count) = Place::entries(base, end, depth, slot);
                    fill::<K>(heap, table, end, first, count, slots[slot]);
                } else {
                    (node, _, _) =
                        self.sync_child(heap, node, depth, (within, slot), slots[slot], &[], tally);
                }
            }
            return (node, entry);
        }
        let mut entries = slots.map(leaf);
        let mut children = self.rib.maps(node).children;
        while children != 0 {
            let slot = children.trailing_zeros() as usize;
            children &= children - 1;
            let child = self.rib.child(node, slot);
            entries[slot] = if self.rib.inherited(child) == slots[slot] {
                self.rib.entry(child)
            } else {
                let after;
                (node, _, after) =
                    self.sync_child(heap, node, depth, (within, slot), slots[slot], &[], tally);
                after
            };
        }
        let entry = match within {
            Place::Compact => compact::write(heap, entry, &entries),
            _ => chunk::write(heap, entry, &entries),
        };
        self.rib.set_entry(node, entry);
        (node, entry)
    }

    /// `sync` for the child at `slot`, with what follows for `node` and, where it is in one, its table. Gives the
    /// node and the child's entry before and after.
    #[expect(clippy::too_many_arguments, reason = "a recursion over what it carries")]
    fn sync_child(
        &mut self,
        heap: &mut Heap,
        node: NodeRef,
        depth: u8,
        (within, slot): (Place, usize),
        passed: u32,
        group: &[Update<K>],
        tally: &mut Tally,
    ) -> (NodeRef, u32, u32) {
        let child = self.rib.child(node, slot);
        let mut before = if child == NONE { leaf(passed) } else { self.rib.entry(child) };
        let mut at = None;
        if let Place::Within { table, end, base } = within
            && depth + STRIDE == end
        {
            before = heap.region.acquire32(table, base + slot);
            at = Some((table, base + slot));
        }
        let place = within.child::<K>(depth, slot);
        let (new, after) =
            self.sync(heap, child, depth + STRIDE, (place, before), passed, group, tally);
        if let Some((table, index)) = at
            && before != after
        {
            heap.region.publish32(table, index, after);
        }
        (self.rib.set_child(node, slot, new), before, after)
    }

    /// Removes all routes of a VRF, which readers no longer find.
    pub(super) fn clear(&mut self, heap: &mut Heap, vrf: &Routes) {
        let used = heap.used_octets();
        self.release(heap, vrf.root, 0, Place::root::<K>(vrf.table));
        if let Some(table) = vrf.table {
            shape::retire_root::<K>(heap, table);
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
}
