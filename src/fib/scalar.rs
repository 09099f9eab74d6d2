//! One lookup in plain code: what every machine can do, and what the vector code is checked against.

use super::NO_ROUTE;
use super::chunk::{is_leaf, runs};
use super::compact;
use super::head::Head;
use super::key::{Key, STRIDE};
use super::raw::{Task, View};
use super::root::{FLAT_BITS, ROOT4_BITS, ROOT6_BITS, flat_table, short_bits, short_values};

/// The bits of a leaf that are its value.
pub(super) const VALUE: u32 = 0xFF_FFFF;

/// The longest match of `addr` in the VRF with this head.
pub(super) struct One<'a, K> {
    pub(super) region: View<'a>,
    pub(super) head: Head,
    pub(super) addr: K,
}

impl Task for One<'_, u32> {
    type Answer = u32;

    #[inline(always)]
    fn run(self) -> u32 {
        let One { region, head, addr } = self;
        let leaf = match head.has_table() {
            true => compact4(region, head, addr),
            false => descend(region, head.entry(), addr, 0),
        };
        finish(region, head, leaf, addr)
    }
}

impl Task for One<'_, u128> {
    type Answer = u32;

    #[inline(always)]
    fn run(self) -> u32 {
        let One { region, head, addr } = self;
        let (entry, depth) = match head.has_table() {
            true => tables6(region, head.entry(), addr),
            false => (head.entry(), 0),
        };
        finish(region, head, descend(region, entry, addr, depth), addr)
    }
}

/// What a flat table alone answers: nothing where there is none, or it has no value for `addr`.
#[inline(always)]
pub(super) fn flat4(region: View, head: Head, addr: u32) -> Option<u32> {
    if !head.has_flat() {
        return None;
    }
    let short = region.acquire_flat(flat_table(head.entry()), (addr >> (32 - FLAT_BITS)) as usize);
    (short < compact::ESCAPE).then(|| finish(region, head, u32::from(short), addr))
}

/// The leaf that a root table of IPv4 leads to.
#[inline(always)]
pub(super) fn compact4(region: View, head: Head, addr: u32) -> u32 {
    let chunk = region.acquire32(head.entry(), (addr >> (32 - ROOT4_BITS)) as usize);
    let entry = compact::entry(region, chunk, addr.slot(ROOT4_BITS));
    descend(region, entry, addr, ROOT4_BITS + STRIDE)
}

/// The entry that the tables of a large IPv6 VRF lead to, and its depth.
#[inline(always)]
pub(super) fn tables6(region: View, root: u32, addr: u128) -> (u32, u8) {
    let index = |depth: u8| addr.slot(depth) << STRIDE | addr.slot(depth + STRIDE);
    let entry = region.acquire32(root, index(0));
    if is_leaf(entry) {
        return (entry, ROOT6_BITS);
    }
    (region.acquire32(entry, index(ROOT6_BITS)), 2 * ROOT6_BITS)
}

/// The leaf that chunks lead to from `entry`, which is for the bits from `depth`.
#[inline(always)]
pub(super) fn descend<K: Key>(region: View, mut entry: u32, key: K, mut depth: u8) -> u32 {
    while !is_leaf(entry) && depth < K::BITS {
        let index = 1 + runs(region.load64(entry), key.slot(depth));
        entry = region.acquire32(entry, index);
        depth += STRIDE;
    }
    entry
}

/// The answer that a leaf stands for.
#[inline(always)]
pub(super) fn finish<K: Key>(region: View, head: Head, leaf: u32, addr: K) -> u32 {
    match leaf & VALUE {
        NO_ROUTE => uncovered(region, head, addr),
        value => value,
    }
}

/// The answer where none but a short route covers `addr` or, in a small VRF, none but the default.
#[inline(always)]
pub(super) fn uncovered<K: Key>(region: View, head: Head, addr: K) -> u32 {
    match head.has_short() {
        true => {
            let bits = addr.slot(0) << STRIDE | addr.slot(STRIDE);
            let index = bits >> (2 * STRIDE - short_bits(K::BITS));
            region.acquire32(short_values::<K>(head.entry()), index)
        }
        false => head.default(),
    }
}
