//! Bursts: all lanes take each step together, so that their cache misses overlap.

use super::chunk::LEAF;
use super::compact;
use super::head::Head;
use super::key::{Key, STRIDE};
use super::raw::{Kernels, LANES, Task, View};
use super::reader::FibReader;
use super::root::{ROOT4_BITS, ROOT6_BITS, flat_table};
use super::scalar;

/// Where the last chunk of an IPv4 address ends: bits 30 and 31, and four that are not there.
const BITS4: u8 = 36;
/// Where the last chunk of an IPv6 address ends that is wholly in its first 64 bits.
const END6: u8 = 60;

/// Addresses and their VRFs, and where the answers go; the shortest counts.
pub(super) struct Burst<'a, A> {
    pub(super) reader: &'a FibReader,
    pub(super) vrfs: &'a [u32],
    pub(super) addrs: &'a [A],
    pub(super) out: &'a mut [u32],
}

/// Addresses of a family, as many as there are lanes.
trait Lookup: Copy {
    fn lookup(
        reader: &FibReader,
        vrfs: &[u32; LANES],
        addrs: &[Self; LANES],
        out: &mut [u32; LANES],
    );
}

impl<A: Lookup> Task for Burst<'_, A> {
    type Answer = ();

    /// Looks `LANES` up at a time, the last ones filled up.
    #[inline(always)]
    fn run(self) {
        let count = self.vrfs.len().min(self.addrs.len()).min(self.out.len());
        let (vrfs, last_vrfs) = self.vrfs[..count].as_chunks();
        let (addrs, last_addrs) = self.addrs[..count].as_chunks();
        let (out, last_out) = self.out[..count].as_chunks_mut();
        let mut last = match last_out.is_empty() {
            true => None,
            false => Some((filled(last_vrfs), filled(last_addrs), [0; LANES])),
        };
        let whole = vrfs.iter().zip(addrs).zip(out).map(|((vrfs, addrs), out)| (vrfs, addrs, out));
        let filled = last.iter_mut().map(|(vrfs, addrs, out)| (&*vrfs, &*addrs, out));
        for (vrfs, addrs, out) in whole.chain(filled) {
            A::lookup(self.reader, vrfs, addrs, out);
        }
        if let Some((_, _, answers)) = last {
            last_out.copy_from_slice(&answers[..last_out.len()]);
        }
    }
}

/// The first ones and then the very first again.
fn filled<T: Copy>(some: &[T]) -> [T; LANES] {
    let mut all = [some[0]; LANES];
    all[..some.len()].copy_from_slice(some);
    all
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

impl Lookup for u32 {
    #[inline(always)]
    fn lookup(
        reader: &FibReader,
        vrfs: &[u32; LANES],
        addrs: &[u32; LANES],
        out: &mut [u32; LANES],
    ) {
        let (region, kernels) = (reader.region.view(), reader.kernels);
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
        // Lanes of small VRFs look at the chunk at 0, where none is, and are not listened to; lanes of large ones sit the descent out.
        let mut chunks = [0; LANES];
        let mut entries = [LEAF; LANES];
        for i in 0..LANES {
            let head = reader.heads.load4(region, vrfs[i]);
            defaults[i] = head.default();
            if head.has_table() {
                defaults[i] = scalar::uncovered(region, head, addrs[i]);
                let index = (addrs[i] >> (32 - ROOT4_BITS)) as usize;
                chunks[i] = region.acquire32(head.entry(), index);
                region.prefetch(chunks[i]);
            } else {
                entries[i] = head.entry();
            }
        }
        kernels.descend(region, &keys4(addrs), &mut entries, 0, BITS4);
        finish(&mut entries, &defaults);
        if chunks == [0; LANES] {
            *out = entries;
            return;
        }
        compact4(region, kernels, &chunks, addrs, &defaults, out);
        for ((out, entry), chunk) in out.iter_mut().zip(entries).zip(chunks) {
            *out = if chunk == 0 { entry } else { *out };
        }
    }
}

/// The answers below the root table's entries.
#[inline(always)]
fn compact4(
    region: View,
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

impl Lookup for u128 {
    #[inline(always)]
    fn lookup(
        reader: &FibReader,
        vrfs: &[u32; LANES],
        addrs: &[u128; LANES],
        out: &mut [u32; LANES],
    ) {
        let (region, kernels) = (reader.region.view(), reader.kernels);
        let keys = addrs.map(|addr| (addr >> 64) as u64);
        if let Some(vrf) = single(vrfs) {
            let head = reader.heads.load6(region, vrf);
            let defaults = uncovered(region, head, addrs);
            if head.has_table() {
                kernels.large6(region, head.entry(), &keys, out, END6);
            } else {
                *out = [head.entry(); LANES];
                kernels.descend(region, &keys, out, 0, END6);
            }
            finish6(region, addrs, out);
            finish(out, &defaults);
            return;
        }
        let mut defaults = [0; LANES];
        // Lanes of large VRFs sit the descent of the small ones out.
        let mut large = [LEAF; LANES];
        for i in 0..LANES {
            let head = reader.heads.load6(region, vrfs[i]);
            defaults[i] = head.default();
            out[i] = head.entry();
            if head.has_table() {
                defaults[i] = scalar::uncovered(region, head, addrs[i]);
                (large[i], _) = scalar::tables6(region, head.entry(), addrs[i]);
                out[i] = LEAF;
            }
        }
        kernels.descend(region, &keys, out, 0, END6);
        finish6(region, addrs, out);
        if large != [LEAF; LANES] {
            kernels.descend(region, &keys, &mut large, 2 * ROOT6_BITS, END6);
            finish6(region, addrs, &mut large);
            for (out, large) in out.iter_mut().zip(large) {
                // At most one of the two is a value.
                *out |= large;
            }
        }
        finish(out, &defaults);
    }
}

/// The vector code sees the first 64 bits: the few lanes with longer prefixes finish one at a time.
#[inline(always)]
fn finish6(region: View, addrs: &[u128; LANES], entries: &mut [u32; LANES]) {
    if entries.iter().fold(LEAF, |all, entry| all & entry) == 0 {
        for (entry, &addr) in entries.iter_mut().zip(addrs) {
            *entry = scalar::descend(region, *entry, addr, END6);
        }
    }
}

/// What each lane's answer is where it finds leaf 0.
#[inline(always)]
fn uncovered<K: Key>(region: View, head: Head, addrs: &[K; LANES]) -> [u32; LANES] {
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
