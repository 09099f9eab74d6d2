//! Bursts: all lanes take each step together, so that their cache misses overlap.

use super::chunk::{LEAF, is_leaf};
use super::compact;
use super::head::Head;
use super::key::{Key, STRIDE};
use super::raw::{Kernels, LANES, Region};
use super::reader::FibReader;
use super::root::{ROOT4_BITS, ROOT6_BITS, flat_table};
use super::scalar;

/// Where the last chunk of an IPv4 address ends: bits 30 and 31, and four that are not there.
const BITS4: u8 = 36;

/// Calls `lookup` for `LANES` lanes at a time, the last ones filled up.
#[inline(always)]
pub(super) fn in_lanes<A: Copy + Default>(
    vrfs: &[u32],
    addrs: &[A],
    out: &mut [u32],
    lookup: impl Fn(&[u32; LANES], &[A; LANES], &mut [u32; LANES]),
) {
    let count = vrfs.len().min(addrs.len()).min(out.len());
    let (whole_vrfs, rest_vrfs) = vrfs[..count].as_chunks();
    let (whole_addrs, rest_addrs) = addrs[..count].as_chunks();
    let (whole_out, rest_out) = out[..count].as_chunks_mut();
    for ((vrfs, addrs), out) in whole_vrfs.iter().zip(whole_addrs).zip(whole_out) {
        lookup(vrfs, addrs, out);
    }
    if let (Some(&vrf), Some(&addr)) = (rest_vrfs.first(), rest_addrs.first()) {
        let (mut vrfs, mut addrs, mut out) = ([vrf; LANES], [addr; LANES], [0; LANES]);
        vrfs[..rest_vrfs.len()].copy_from_slice(rest_vrfs);
        addrs[..rest_addrs.len()].copy_from_slice(rest_addrs);
        lookup(&vrfs, &addrs, &mut out);
        rest_out.copy_from_slice(&out[..rest_out.len()]);
    }
}

/// The VRF of all lanes, if it is one.
#[inline(always)]
fn single(vrfs: &[u32; LANES]) -> Option<u32> {
    let differ = vrfs.iter().fold(0, |differ, &vrf| differ | (vrf ^ vrfs[0]));
    (differ == 0).then_some(vrfs[0])
}

/// The bits from 2^18 down, left-aligned in 64.
#[inline(always)]
fn keys4(addrs: &[u32; LANES]) -> [u64; LANES] {
    addrs.map(|addr| u64::from(addr) << 32)
}

pub(super) fn lookup4(
    reader: &FibReader,
    vrfs: &[u32; LANES],
    addrs: &[u32; LANES],
    out: &mut [u32; LANES],
) {
    let (region, kernels) = (&*reader.region, reader.kernels);
    if let Some(vrf) = single(vrfs) {
        let head = reader.heads.load4(region, vrf);
        let defaults = uncovered(region, head, addrs);
        if head.has_flat() {
            let table = flat_table(head.entry());
            let mut escapes = kernels.flat4(region, table, addrs, &defaults, out);
            while escapes != 0 {
                let i = escapes.trailing_zeros() as usize;
                escapes &= escapes - 1;
                let leaf = scalar::compact4(region, head, addrs[i]);
                out[i] = answer(leaf, defaults[i]);
            }
        } else if head.has_table() {
            let mut chunks = [0; LANES];
            kernels.root4(region, head.entry(), addrs, &mut chunks);
            compact4(region, kernels, &chunks, addrs, &defaults, out);
        } else {
            *out = [head.entry(); LANES];
            kernels.descend(region, &keys4(addrs), out, 0, BITS4);
            finish(out, &defaults);
        }
        return;
    }
    let mut defaults = [0; LANES];
    let mut chunks = [0; LANES];
    // Lanes of large VRFs sit the descent out, lanes of small ones look at the chunk at 0 and are not listened to.
    let mut entries = [LEAF; LANES];
    let mut large = 0u64;
    for i in 0..LANES {
        let head = reader.heads.load4(region, vrfs[i]);
        defaults[i] = head.default();
        if head.has_table() {
            defaults[i] = scalar::uncovered(region, head, addrs[i]);
            chunks[i] = region.acquire32(head.entry(), (addrs[i] >> (32 - ROOT4_BITS)) as usize);
            region.prefetch(chunks[i]);
            large |= 1 << i;
        } else {
            entries[i] = head.entry();
        }
    }
    if large != u64::MAX {
        kernels.descend(region, &keys4(addrs), &mut entries, 0, BITS4);
        finish(&mut entries, &defaults);
    }
    if large == 0 {
        *out = entries;
        return;
    }
    compact4(region, kernels, &chunks, addrs, &defaults, out);
    for i in 0..LANES {
        if large >> i & 1 == 0 {
            out[i] = entries[i];
        }
    }
}

/// The answers below the root table's entries.
#[inline(always)]
fn compact4(
    region: &Region,
    kernels: Kernels,
    chunks: &[u32; LANES],
    addrs: &[u32; LANES],
    defaults: &[u32; LANES],
    out: &mut [u32; LANES],
) {
    let mut escapes = kernels.compact(region, chunks, addrs, defaults, out);
    while escapes != 0 {
        let i = escapes.trailing_zeros() as usize;
        escapes &= escapes - 1;
        // Few lanes have a prefix longer than /24 or a value above 15 bits: one at a time.
        let entry = compact::entry(region, chunks[i], addrs[i].slot(ROOT4_BITS));
        let leaf = scalar::descend(region, entry, addrs[i], ROOT4_BITS + STRIDE);
        out[i] = answer(leaf, defaults[i]);
    }
}

pub(super) fn lookup6(
    reader: &FibReader,
    vrfs: &[u32; LANES],
    addrs: &[u128; LANES],
    out: &mut [u32; LANES],
) {
    let (region, kernels) = (&*reader.region, reader.kernels);
    let keys = addrs.map(|addr| (addr >> 64) as u64);
    let mut defaults = [0; LANES];
    let mut small = [LEAF; LANES];
    let mut large = [LEAF; LANES];
    let mut depth = 2 * ROOT6_BITS;
    if let Some(vrf) = single(vrfs) {
        let head = reader.heads.load6(region, vrf);
        defaults = uncovered(region, head, addrs);
        if head.has_table() {
            large = [head.entry(); LANES];
            kernels.tables6(region, &keys, &mut large, 0);
            kernels.tables6(region, &keys, &mut large, ROOT6_BITS);
        } else {
            large = [head.entry(); LANES];
            depth = 0;
        }
    } else {
        let mut any = false;
        for i in 0..LANES {
            let head = reader.heads.load6(region, vrfs[i]);
            defaults[i] = head.default();
            if head.has_table() {
                defaults[i] = scalar::uncovered(region, head, addrs[i]);
                (large[i], _) = scalar::tables6(region, head.entry(), addrs[i]);
            } else {
                small[i] = head.entry();
                any |= !is_leaf(small[i]) || small[i] != LEAF;
            }
        }
        if any {
            descend6(region, kernels, &keys, addrs, &mut small, 0);
        }
    }
    descend6(region, kernels, &keys, addrs, &mut large, depth);
    for i in 0..LANES {
        // At most one of the two is a value.
        out[i] = large[i] | small[i];
    }
    finish(out, &defaults);
}

/// The vector code sees the first 64 bits: the few lanes with longer prefixes finish one at a time.
#[inline(always)]
fn descend6(
    region: &Region,
    kernels: Kernels,
    keys: &[u64; LANES],
    addrs: &[u128; LANES],
    entries: &mut [u32; LANES],
    depth: u8,
) {
    const END: u8 = 60;
    kernels.descend(region, keys, entries, depth, END);
    let open = entries.iter().fold(u32::MAX, |all, entry| all & entry) & LEAF == 0;
    if open {
        for (entry, &addr) in entries.iter_mut().zip(addrs) {
            *entry = scalar::descend(region, *entry, addr, END);
        }
    }
}

/// What each lane's answer is where it finds leaf 0.
#[inline(always)]
fn uncovered<K: Key>(region: &Region, head: Head, addrs: &[K; LANES]) -> [u32; LANES] {
    match head.has_short() {
        true => addrs.map(|addr| scalar::uncovered(region, head, addr)),
        false => [head.default(); LANES],
    }
}

#[inline(always)]
fn answer(leaf: u32, default: u32) -> u32 {
    let value = leaf & scalar::VALUE;
    if value == 0 { default } else { value }
}

/// Leaves become answers.
#[inline(always)]
fn finish(leaves: &mut [u32; LANES], defaults: &[u32; LANES]) {
    for (leaf, &default) in leaves.iter_mut().zip(defaults) {
        *leaf = answer(*leaf, default);
    }
}
