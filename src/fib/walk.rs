//! A VRF's routes in order: by address, a shorter prefix before the longer ones that it covers.

use super::key::{Key, STRIDE};
use super::rib::{NONE, NodeRef, Rib, position};
use super::tree::Routes;
use ipnet::IpNet;

/// Where the walk is in one node: the next own prefix at `slot` to look at is `len` bits longer than the
/// node's depth; past 6 it is the child's turn.
struct Place<K> {
    node: NodeRef,
    depth: u8,
    key: K,
    slot: usize,
    len: u8,
}

pub(super) struct Walk<'a, K> {
    rib: &'a Rib,
    default: u32,
    places: Vec<Place<K>>,
}

impl<'a, K: Key> Walk<'a, K> {
    pub(super) fn new(rib: &'a Rib, vrf: &Routes) -> Walk<'a, K> {
        let mut walk = Walk { rib, default: vrf.default, places: Vec::new() };
        walk.enter(vrf.root, 0, K::default());
        walk
    }

    /// A walk that begins with the prefix `key`, `len`, whether it is there or not.
    pub(super) fn from(rib: &'a Rib, vrf: &Routes, key: K, len: u8) -> Walk<'a, K> {
        let mut walk = Walk::new(rib, vrf);
        if len == 0 {
            return walk;
        }
        walk.default = 0;
        let mut rest = len;
        while let Some(place) = walk.places.last_mut() {
            place.slot = key.slot(place.depth);
            if rest <= STRIDE {
                place.len = rest;
                break;
            }
            rest -= STRIDE;
            // What is shorter comes before, the child's prefixes next, and then the slots after it.
            let (node, depth, slot) = (place.node, place.depth, place.slot);
            let at = place.key.with_slot(depth, slot);
            place.slot += 1;
            let child = rib.child(node, slot);
            if child == NONE {
                break;
            }
            walk.enter(child, depth + STRIDE, at);
        }
        walk
    }

    fn enter(&mut self, node: NodeRef, depth: u8, key: K) {
        if node != NONE {
            self.places.push(Place { node, depth, key, slot: 0, len: 1 });
        }
    }
}

impl<K: Key> Iterator for Walk<'_, K> {
    type Item = (IpNet, u32);

    fn next(&mut self) -> Option<(IpNet, u32)> {
        if self.default != 0 {
            let value = std::mem::take(&mut self.default);
            return K::default().net(0).map(|net| (net, value));
        }
        while let Some(place) = self.places.last_mut() {
            if place.slot == 64 {
                self.places.pop();
                continue;
            }
            let (node, depth, slot, len) = (place.node, place.depth, place.slot, place.len);
            let key = place.key.with_slot(depth, slot);
            if len > STRIDE {
                place.slot += 1;
                place.len = 1;
                self.enter(self.rib.child(node, slot), depth + STRIDE, key);
                continue;
            }
            place.len += 1;
            // A prefix belongs to the slot at which it starts.
            if slot & ((1 << (STRIDE - len)) - 1) == 0
                && let Some(value) = self.rib.value(node, position(slot, len))
            {
                return key.net(depth + len).map(|net| (net, value));
            }
        }
        None
    }
}
