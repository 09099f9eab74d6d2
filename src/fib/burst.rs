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

/// Sets of addresses, a VRF for each lane of them, and where the answers go; the shortest counts.
pub(super) struct Burst<'a, A, const SETS: usize> {
    pub(super) reader: &'a FibReader,
    pub(super) vrfs: &'a [u32],
    pub(super) addrs: [&'a [A]; SETS],
    pub(super) out: [&'a mut [u32]; SETS],
}

/// Addresses of a family.
trait Lookup: Copy + Default {
    /// Looks up the first `count` lanes of each set, which is filled up with lanes of the same kind.
    fn lookup<const SETS: usize>(
        reader: &FibReader,
        vrfs: &[u32; LANES],
        addrs: [&[Self; LANES]; SETS],
        out: [&mut [u32; LANES]; SETS],
        count: usize,
    );
}

impl<A: Lookup, const SETS: usize> Task for Burst<'_, A, SETS> {
    type Answer = ();

    /// Looks `LANES` up at a time, the last ones filled up.
    #[inline(always)]
    fn run(self) {
        let Burst { reader, vrfs, addrs, mut out } = self;
        let mut count = vrfs.len();
        for (addrs, out) in addrs.iter().zip(&out) {
            count = count.min(addrs.len()).min(out.len());
        }
        let (vrfs, last_vrfs) = vrfs[..count].as_chunks();
        let addrs = addrs.map(|set| set[..count].as_chunks());
        let mut out = out.each_mut().map(|set| set[..count].as_chunks_mut());
        for (n, vrfs) in vrfs.iter().enumerate() {
            let out = out.each_mut().map(|(whole, _)| &mut whole[n]);
            // Compiled apart from the last ones, for the number of lanes that all loops then know.
            A::lookup(reader, vrfs, addrs.map(|(whole, _)| &whole[n]), out, LANES);
        }
        if !last_vrfs.is_empty() {
            let mut last_addrs = [[A::default(); LANES]; SETS];
            for (all, (_, last)) in last_addrs.iter_mut().zip(&addrs) {
                all[..last.len()].copy_from_slice(last);
            }
            let (vrfs, addrs) = (filled(last_vrfs), last_addrs.each_ref());
            let mut answers = [[0; LANES]; SETS];
            A::lookup(reader, &vrfs, addrs, answers.each_mut(), last_vrfs.len());
            for ((_, last), answers) in out.iter_mut().zip(&answers) {
                last.copy_from_slice(&answers[..last.len()]);
            }
        }
    }
}

/// The first ones and then the very first again, so that a burst of one VRF stays one.
fn filled(some: &[u32]) -> [u32; LANES] {
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

/// The first 64 bits.
#[inline(always)]
fn keys6(addrs: &[u128; LANES]) -> [u64; LANES] {
    addrs.map(|addr| (addr >> 64) as u64)
}

impl Lookup for u32 {
    #[inline(always)]
    fn lookup<const SETS: usize>(
        reader: &FibReader,
        vrfs: &[u32; LANES],
        addrs: [&[u32; LANES]; SETS],
        out: [&mut [u32; LANES]; SETS],
        count: usize,
    ) {
        let (region, kernels) = (reader.region.view(), reader.kernels);
        let sets = addrs.into_iter().zip(out);
        if let Some(vrf) = single(vrfs) {
            let head = reader.heads.load4(region, vrf);
            if head.has_flat() && reader.traffic.is_flat(&addrs, count) {
                let table = flat_table(head.entry());
                for addrs in addrs {
                    kernels.ask_flat4(region, table, addrs, count);
                }
                // The first set last: its misses overlap with the work on the others.
                for (addrs, out) in sets.rev() {
                    let defaults = uncovered(region, head, addrs);
                    let mut escapes = kernels.flat4(region, table, addrs, &defaults, out, count);
                    while escapes != 0 {
                        let i = escapes.trailing_zeros() as usize;
                        escapes &= escapes - 1;
                        let leaf = scalar::compact4(region, head, addrs[i]);
                        out[i] = answer(leaf, defaults[i]);
                    }
                }
            } else if head.has_table() {
                let mut chunks = [[0; LANES]; SETS];
                for (addrs, chunks) in addrs.into_iter().zip(&mut chunks) {
                    kernels.root4(region, head.entry(), addrs, chunks, count);
                }
                for ((addrs, out), chunks) in sets.zip(&chunks).rev() {
                    let defaults = uncovered(region, head, addrs);
                    compact4(region, kernels, chunks, addrs, &defaults, out, count);
                }
            } else {
                let defaults = [head.default(); LANES];
                for (addrs, out) in sets {
                    *out = [head.entry(); LANES];
                    kernels.descend(region, &keys4(addrs), out, (0, BITS4), count);
                    finish(out, &defaults);
                }
            }
            return;
        }
        let mut heads = [Head::none(); LANES];
        for (head, &vrf) in heads.iter_mut().zip(vrfs) {
            *head = reader.heads.load4(region, vrf);
        }
        for (addrs, out) in sets {
            mixed4(region, kernels, &heads, addrs, out, count);
        }
    }
}

/// The answers in VRFs of any kind.
#[inline(always)]
fn mixed4(
    region: View,
    kernels: Kernels,
    heads: &[Head; LANES],
    addrs: &[u32; LANES],
    out: &mut [u32; LANES],
    count: usize,
) {
    let mut defaults = [0; LANES];
    // Lanes of small VRFs look at the chunk at 0, where none is, and are not listened to; lanes of large ones sit the descent out.
    let mut chunks = [0; LANES];
    let mut entries = [LEAF; LANES];
    for i in 0..count.min(LANES) {
        let head = heads[i];
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
    kernels.descend(region, &keys4(addrs), &mut entries, (0, BITS4), count);
    finish(&mut entries, &defaults);
    if chunks == [0; LANES] {
        *out = entries;
        return;
    }
    compact4(region, kernels, &chunks, addrs, &defaults, out, count);
    for ((out, entry), chunk) in out.iter_mut().zip(entries).zip(chunks) {
        *out = if chunk == 0 { entry } else { *out };
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
    count: usize,
) {
    let mut escapes = kernels.compact(region, chunks, addrs, defaults, out, count);
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
    fn lookup<const SETS: usize>(
        reader: &FibReader,
        vrfs: &[u32; LANES],
        addrs: [&[u128; LANES]; SETS],
        out: [&mut [u32; LANES]; SETS],
        count: usize,
    ) {
        let (region, kernels) = (reader.region.view(), reader.kernels);
        let sets = addrs.into_iter().zip(out);
        if let Some(vrf) = single(vrfs) {
            let head = reader.heads.load6(region, vrf);
            for (addrs, out) in sets {
                let defaults = uncovered(region, head, addrs);
                let keys = keys6(addrs);
                *out = [LEAF; LANES];
                if head.has_table() {
                    kernels.large6(region, head.entry(), &keys, out, END6, count);
                } else {
                    out.iter_mut().take(count).for_each(|entry| *entry = head.entry());
                    kernels.descend(region, &keys, out, (0, END6), count);
                }
                finish6(region, addrs, out, count);
                finish(out, &defaults);
            }
            return;
        }
        let mut heads = [Head::none(); LANES];
        for (head, &vrf) in heads.iter_mut().zip(vrfs) {
            *head = reader.heads.load6(region, vrf);
        }
        for (addrs, out) in sets {
            mixed6(region, kernels, &heads, addrs, out, count);
        }
    }
}

/// The answers in VRFs of any kind.
#[inline(always)]
fn mixed6(
    region: View,
    kernels: Kernels,
    heads: &[Head; LANES],
    addrs: &[u128; LANES],
    out: &mut [u32; LANES],
    count: usize,
) {
    let keys = keys6(addrs);
    let mut defaults = [0; LANES];
    *out = [LEAF; LANES];
    // Lanes of large VRFs sit the descent of the small ones out.
    let mut large = [LEAF; LANES];
    for i in 0..count.min(LANES) {
        let head = heads[i];
        defaults[i] = head.default();
        if head.has_table() {
            defaults[i] = scalar::uncovered(region, head, addrs[i]);
            (large[i], _) = scalar::tables6(region, head.entry(), addrs[i]);
        } else {
            out[i] = head.entry();
        }
    }
    kernels.descend(region, &keys, out, (0, END6), count);
    finish6(region, addrs, out, count);
    if large != [LEAF; LANES] {
        kernels.descend(region, &keys, &mut large, (2 * ROOT6_BITS, END6), count);
        finish6(region, addrs, &mut large, count);
        for (out, large) in out.iter_mut().zip(large) {
            // At most one of the two is a value.
            *out |= large;
        }
    }
    finish(out, &defaults);
}

/// The vector code sees the first 64 bits: the few lanes with longer prefixes finish one at a time.
#[inline(always)]
fn finish6(region: View, addrs: &[u128; LANES], entries: &mut [u32; LANES], count: usize) {
    if entries.iter().fold(LEAF, |all, entry| all & entry) == 0 {
        for (entry, &addr) in entries.iter_mut().zip(addrs).take(count) {
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
