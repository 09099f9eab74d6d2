//! The steps of a burst in AVX-512, eight lanes to a register, or sixteen where all is 32 bits wide.
//!
//! The gathers are inline assembly: words that the writer may be changing are in what they read, and to the
//! compiler the intrinsics are plain reads, which may not race. Each element is an aligned load (or lies in two
//! entries of which only the low half counts) that the processor does whole, and loads are not reordered
//! with the loads that their addresses come from.

use super::View;
use super::kernels::{LANES, Lanes};
use std::arch::asm;
use std::arch::x86_64::*;

const GROUPS: usize = LANES / 8;
const WIDE_GROUPS: usize = LANES / 16;

/// Sixteen times 32 bits at `base + 4 * index`.
///
/// # Safety
/// AVX-512 F; the memory is mapped.
#[inline]
#[target_feature(enable = "avx512f")]
unsafe fn gather32_by32(base: *const u8, index: __m512i) -> __m512i {
    let mut out = _mm512_setzero_si512();
    // The mask comes from elsewhere: from a mask register, by XNOR, it would wait for whatever wrote that last.
    // SAFETY: reads only, where the caller says that it may.
    unsafe {
        asm!(
            "kmovw {k}, {all:e}",
            "vpgatherdd {out}{{{k}}}, [{base} + {index}*4]",
            all = in(reg) u32::MAX, k = out(kreg) _, out = inout(zmm_reg) out, base = in(reg) base, index = in(zmm_reg) index,
            options(nostack, preserves_flags, readonly)
        );
    }
    out
}

/// Eight times 64 bits at `base + 8 * index`, where `mask` says.
///
/// # Safety
/// AVX-512 F and VL; the memory is mapped; indices are below 2^31.
#[inline]
#[target_feature(enable = "avx512f,avx512vl")]
unsafe fn gather64(base: *const u8, index: __m256i, mask: __mmask8) -> __m512i {
    let mut out = _mm512_setzero_si512();
    // SAFETY: reads only, where the caller says that it may.
    unsafe {
        asm!(
            "vpgatherdq {out}{{{k}}}, [{base} + {index}*8]",
            k = inout(kreg) mask => _, out = inout(zmm_reg) out, base = in(reg) base, index = in(ymm_reg) index,
            options(nostack, preserves_flags, readonly)
        );
    }
    out
}

/// `old` with 32 bits at `base + 4 * index` where `mask` says.
///
/// # Safety
/// AVX-512 F and VL; the memory is mapped.
#[inline]
#[target_feature(enable = "avx512f,avx512vl")]
unsafe fn gather32(base: *const u8, index: __m512i, old: __m256i, mask: __mmask8) -> __m256i {
    let mut out = old;
    // SAFETY: reads only, where the caller says that it may.
    unsafe {
        asm!(
            "vpgatherqd {out}{{{k}}}, [{base} + {index}*4]",
            k = inout(kreg) mask => _, out = inout(ymm_reg) out, base = in(reg) base, index = in(zmm_reg) index,
            options(nostack, preserves_flags, readonly)
        );
    }
    out
}

/// Eight times 32 bits at `base + 2 * index`.
///
/// # Safety
/// AVX-512 F and VL; the memory is mapped.
#[inline]
#[target_feature(enable = "avx512f,avx512vl")]
unsafe fn gather16(base: *const u8, index: __m512i) -> __m256i {
    let mut out = _mm256_setzero_si256();
    // SAFETY: reads only, where the caller says that it may.
    unsafe {
        asm!(
            "kmovw {k}, {all:e}",
            "vpgatherqd {out}{{{k}}}, [{base} + {index}*2]",
            all = in(reg) u32::MAX, k = out(kreg) _, out = inout(ymm_reg) out, base = in(reg) base, index = in(zmm_reg) index,
            options(nostack, preserves_flags, readonly)
        );
    }
    out
}

#[inline]
#[target_feature(enable = "avx512f,avx512vl")]
fn load(lanes: &Lanes<u32>, group: usize) -> __m256i {
    // SAFETY: eight lanes from 8 * group are within the 64.
    unsafe { _mm256_loadu_si256(lanes.as_ptr().add(8 * group).cast()) }
}

#[inline]
#[target_feature(enable = "avx512f,avx512vl")]
fn load_wide(lanes: &Lanes<u32>, group: usize) -> __m512i {
    // SAFETY: sixteen lanes from 16 * group are within the 64.
    unsafe { _mm512_loadu_si512(lanes.as_ptr().add(16 * group).cast()) }
}

#[inline]
#[target_feature(enable = "avx512f,avx512vl")]
fn store_wide(lanes: &mut Lanes<u32>, group: usize, value: __m512i) {
    // SAFETY: sixteen lanes from 16 * group are within the 64.
    unsafe { _mm512_storeu_si512(lanes.as_mut_ptr().add(16 * group).cast(), value) }
}

#[inline]
#[target_feature(enable = "avx512f,avx512vl")]
fn load64(lanes: &Lanes<u64>, group: usize) -> __m512i {
    // SAFETY: eight lanes from 8 * group are within the 64.
    unsafe { _mm512_loadu_si512(lanes.as_ptr().add(8 * group).cast()) }
}

#[inline]
#[target_feature(enable = "avx512f,avx512vl")]
fn store(lanes: &mut Lanes<u32>, group: usize, value: __m256i) {
    // SAFETY: eight lanes from 8 * group are within the 64.
    unsafe { _mm256_storeu_si256(lanes.as_mut_ptr().add(8 * group).cast(), value) }
}

/// See `Kernels::root4`.
#[target_feature(enable = "avx512f,avx512vl,avx512bw,avx512dq")]
pub(super) fn root4(region: View, table: u32, addrs: &Lanes<u32>, chunks: &mut Lanes<u32>) {
    let base = region.word(table);
    for group in 0..WIDE_GROUPS {
        let index = _mm512_srli_epi32::<14>(load_wide(addrs, group));
        // SAFETY: a table's start and 2^18 entries are inside the mapping.
        store_wide(chunks, group, unsafe { gather32_by32(base, index) });
    }
}

/// See `Kernels::flat4`.
#[target_feature(enable = "avx512f,avx512vl,avx512bw,avx512dq")]
pub(super) fn flat4(
    region: View,
    table: u32,
    addrs: &Lanes<u32>,
    defaults: &Lanes<u32>,
    out: &mut Lanes<u32>,
) -> u64 {
    let base = region.word(table);
    let mut escapes = 0;
    for group in 0..WIDE_GROUPS {
        // Aligned pairs of entries, of which one is shifted down: a pair never crosses a cache line.
        let addr = load_wide(addrs, group);
        // SAFETY: a table's start and 2^23 pairs are inside the mapping.
        let pair = unsafe { gather32_by32(base, _mm512_srli_epi32::<9>(addr)) };
        let odd = _mm512_and_si512(_mm512_srli_epi32::<4>(addr), _mm512_set1_epi32(16));
        let short = _mm512_and_si512(_mm512_srlv_epi32(pair, odd), _mm512_set1_epi32(0xFFFF));
        let escape = _mm512_test_epi32_mask(short, _mm512_set1_epi32(0x8000));
        escapes |= u64::from(escape) << (16 * group);
        let none = _mm512_testn_epi32_mask(short, short);
        let answer = _mm512_mask_mov_epi32(short, none, load_wide(defaults, group));
        store_wide(out, group, answer);
    }
    escapes
}

/// See `Kernels::tables6`.
#[target_feature(enable = "avx512f,avx512vl,avx512bw,avx512dq")]
pub(super) fn tables6(region: View, keys: &Lanes<u64>, entries: &mut Lanes<u32>, depth: u8) {
    let base = region.word(0);
    let shift = _mm_cvtsi32_si128(i32::from(depth));
    for group in 0..GROUPS {
        let entry = load(entries, group);
        let open = !_mm256_movepi32_mask(entry);
        if open == 0 {
            continue;
        }
        let index = _mm512_srli_epi64::<52>(_mm512_sll_epi64(load64(keys, group), shift));
        let at = _mm512_add_epi64(_mm512_slli_epi64::<1>(_mm512_cvtepu32_epi64(entry)), index);
        // SAFETY: what is no leaf has 31 bits; with 2^12 entries that is inside the mapping.
        store(entries, group, unsafe { gather32(base, at, entry, open) });
    }
}

macro_rules! kernels {
    ($name:ident, $features:literal, $population:item) => {
        pub(super) mod $name {
            use super::*;

            #[inline]
            #[target_feature(enable = $features)]
            $population

            /// See `Kernels::compact`.
            #[target_feature(enable = $features)]
            pub(in super::super) fn compact(
                region: View,
                chunks: &Lanes<u32>,
                addrs: &Lanes<u32>,
                defaults: &Lanes<u32>,
                out: &mut Lanes<u32>,
            ) -> u64 {
                let base = region.word(0);
                let offset_mask = _mm256_set1_epi32(i32::MAX);
                let mut chunk = [_mm256_setzero_si256(); GROUPS];
                let mut bitmap = [_mm512_setzero_si512(); GROUPS];
                for group in 0..GROUPS {
                    chunk[group] = _mm256_and_si256(load(chunks, group), offset_mask);
                    // SAFETY: any 31-bit offset is inside the mapping.
                    bitmap[group] = unsafe { gather64(base, chunk[group], 0xFF) };
                }
                let mut escapes = 0u64;
                for group in 0..GROUPS {
                    // The runs that start up to the slot are the bits left after shifting the others out.
                    let addr = _mm512_cvtepu32_epi64(load(addrs, group));
                    let beyond =
                        _mm512_andnot_si512(_mm512_srli_epi64::<8>(addr), _mm512_set1_epi64(63));
                    let runs = population(_mm512_sllv_epi64(bitmap[group], beyond));
                    let first = _mm512_slli_epi64::<2>(_mm512_cvtepu32_epi64(chunk[group]));
                    let at = _mm512_add_epi64(first, _mm512_add_epi64(runs, _mm512_set1_epi64(3)));
                    // SAFETY: within the chunk at a 31-bit offset; the slack holds what is read beyond.
                    let short = unsafe { gather16(base, at) };
                    let short = _mm256_and_si256(short, _mm256_set1_epi32(0xFFFF));
                    let escape = _mm256_test_epi32_mask(short, _mm256_set1_epi32(0x8000));
                    escapes |= u64::from(escape) << (8 * group);
                    let none = _mm256_testn_epi32_mask(short, short);
                    store(out, group, _mm256_mask_mov_epi32(short, none, load(defaults, group)));
                }
                escapes
            }

            /// See `Kernels::descend`.
            #[target_feature(enable = $features)]
            pub(in super::super) fn descend(
                region: View,
                keys: &Lanes<u64>,
                entries: &mut Lanes<u32>,
                mut depth: u8,
                end: u8,
            ) {
                let base = region.word(0);
                let mut entry = [_mm256_setzero_si256(); GROUPS];
                let mut open = [0; GROUPS];
                for group in 0..GROUPS {
                    entry[group] = load(entries, group);
                    open[group] = !_mm256_movepi32_mask(entry[group]);
                }
                while depth < end && open.iter().any(|&open| open != 0) {
                    let shift = _mm_cvtsi32_si128(i32::from(depth));
                    let mut bitmap = [_mm512_setzero_si512(); GROUPS];
                    for group in 0..GROUPS {
                        if open[group] != 0 {
                            // SAFETY: what is no leaf has 31 bits, and any such offset is inside the mapping.
                            bitmap[group] = unsafe { gather64(base, entry[group], open[group]) };
                        }
                    }
                    for group in 0..GROUPS {
                        if open[group] == 0 {
                            continue;
                        }
                        // Six bits, inverted: how far the bits beyond the slot are from the top.
                        let slot = _mm512_srli_epi64::<58>(_mm512_sll_epi64(load64(keys, group), shift));
                        let beyond = _mm512_xor_si512(slot, _mm512_set1_epi64(63));
                        let runs = population(_mm512_sllv_epi64(bitmap[group], beyond));
                        let first = _mm512_slli_epi64::<1>(_mm512_cvtepu32_epi64(entry[group]));
                        let at = _mm512_add_epi64(first, _mm512_add_epi64(runs, _mm512_set1_epi64(1)));
                        // SAFETY: within the chunk at a 31-bit offset; the slack holds what is read beyond.
                        entry[group] = unsafe { gather32(base, at, entry[group], open[group]) };
                        open[group] = !_mm256_movepi32_mask(entry[group]);
                    }
                    depth += 6;
                }
                for group in 0..GROUPS {
                    store(entries, group, entry[group]);
                }
            }
        }
    };
}

kernels!(
    popcnt,
    "avx512f,avx512vl,avx512bw,avx512dq,avx512vpopcntdq",
    fn population(x: __m512i) -> __m512i {
        _mm512_popcnt_epi64(x)
    }
);

kernels!(
    shuffle,
    "avx512f,avx512vl,avx512bw,avx512dq",
    fn population(x: __m512i) -> __m512i {
        // The counts of the sixteen values of four bits, looked up for each half of each octet, then summed.
        let counts =
            _mm512_broadcast_i32x4(_mm_setr_epi8(0, 1, 1, 2, 1, 2, 2, 3, 1, 2, 2, 3, 2, 3, 3, 4));
        let half = _mm512_set1_epi8(15);
        let low = _mm512_shuffle_epi8(counts, _mm512_and_si512(x, half));
        let high = _mm512_shuffle_epi8(counts, _mm512_and_si512(_mm512_srli_epi64::<4>(x), half));
        _mm512_sad_epu8(_mm512_add_epi8(low, high), _mm512_setzero_si512())
    }
);
