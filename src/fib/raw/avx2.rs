//! The steps of a burst for processors with AVX2: a gather where that pays, and plain code with the
//! population count in one instruction elsewhere.

use super::Region;
use super::kernels::{self, LANES, Lanes};
use std::arch::asm;
use std::arch::x86_64::*;

/// Runs `f`, compiled for `popcnt` and BMI2.
#[target_feature(enable = "popcnt,bmi1,bmi2")]
pub(super) fn with_popcnt<T>(f: impl FnOnce() -> T) -> T {
    f()
}

/// See `Kernels::descend`. Plain code: four lanes to a register do not pay for the masks.
#[target_feature(enable = "popcnt,bmi1,bmi2")]
pub(super) fn descend(
    region: &Region,
    keys: &Lanes<u64>,
    entries: &mut Lanes<u32>,
    depth: u8,
    end: u8,
) {
    kernels::descend(region, keys, entries, depth, end);
}

/// See `Kernels::compact`. Plain code, for processors whose gathers are slow or missing.
#[target_feature(enable = "popcnt,bmi1,bmi2")]
pub(super) fn compact_plain(
    region: &Region,
    chunks: &Lanes<u32>,
    addrs: &Lanes<u32>,
    defaults: &Lanes<u32>,
    out: &mut Lanes<u32>,
) -> u64 {
    kernels::compact(region, chunks, addrs, defaults, out)
}

/// Four times 64 bits at `base + 8 * index`. (Why assembly: see `avx512`.)
///
/// # Safety
/// AVX2; the memory is mapped; indices are below 2^31.
#[inline]
#[target_feature(enable = "avx2")]
unsafe fn gather64(base: *const u8, index: __m128i) -> __m256i {
    let mut out = _mm256_setzero_si256();
    // SAFETY: reads only, where the caller says that it may.
    unsafe {
        asm!(
            "vpcmpeqd {mask}, {mask}, {mask}",
            "vpgatherdq {out}, [{base} + {index}*8], {mask}",
            mask = out(ymm_reg) _, out = inout(ymm_reg) out, base = in(reg) base, index = in(xmm_reg) index,
            options(nostack, preserves_flags, readonly)
        );
    }
    out
}

/// Four times 32 bits at `base + 2 * index`.
///
/// # Safety
/// AVX2; the memory is mapped.
#[inline]
#[target_feature(enable = "avx2")]
unsafe fn gather16(base: *const u8, index: __m256i) -> __m128i {
    let mut out = _mm_setzero_si128();
    // SAFETY: reads only, where the caller says that it may.
    unsafe {
        asm!(
            "vpcmpeqd {mask}, {mask}, {mask}",
            "vpgatherqd {out}, [{base} + {index}*2], {mask}",
            mask = out(xmm_reg) _, out = inout(xmm_reg) out, base = in(reg) base, index = in(ymm_reg) index,
            options(nostack, preserves_flags, readonly)
        );
    }
    out
}

#[inline]
#[target_feature(enable = "avx2")]
fn population(x: __m256i) -> __m256i {
    let counts =
        _mm256_broadcastsi128_si256(_mm_setr_epi8(0, 1, 1, 2, 1, 2, 2, 3, 1, 2, 2, 3, 2, 3, 3, 4));
    let half = _mm256_set1_epi8(15);
    let low = _mm256_shuffle_epi8(counts, _mm256_and_si256(x, half));
    let high = _mm256_shuffle_epi8(counts, _mm256_and_si256(_mm256_srli_epi64::<4>(x), half));
    _mm256_sad_epu8(_mm256_add_epi8(low, high), _mm256_setzero_si256())
}

/// See `Kernels::compact`.
#[target_feature(enable = "avx2")]
pub(super) fn compact(
    region: &Region,
    chunks: &Lanes<u32>,
    addrs: &Lanes<u32>,
    defaults: &Lanes<u32>,
    out: &mut Lanes<u32>,
) -> u64 {
    const GROUPS: usize = LANES / 4;
    let base = region.word(0);
    let load = |lanes: &Lanes<u32>, group: usize| {
        // SAFETY: four lanes from 4 * group are within the 64.
        unsafe { _mm_loadu_si128(lanes.as_ptr().add(4 * group).cast()) }
    };
    let mut bitmap = [_mm256_setzero_si256(); GROUPS];
    for (group, bitmap) in bitmap.iter_mut().enumerate() {
        let chunk = _mm_and_si128(load(chunks, group), _mm_set1_epi32(i32::MAX));
        // SAFETY: any 31-bit offset is inside the mapping.
        *bitmap = unsafe { gather64(base, chunk) };
    }
    let mut escapes = 0u64;
    for (group, bitmap) in bitmap.iter().enumerate() {
        let chunk = _mm_and_si128(load(chunks, group), _mm_set1_epi32(i32::MAX));
        let addr = _mm256_cvtepu32_epi64(load(addrs, group));
        let beyond = _mm256_andnot_si256(_mm256_srli_epi64::<8>(addr), _mm256_set1_epi64x(63));
        let runs = population(_mm256_sllv_epi64(*bitmap, beyond));
        let first = _mm256_slli_epi64::<2>(_mm256_cvtepu32_epi64(chunk));
        let at = _mm256_add_epi64(first, _mm256_add_epi64(runs, _mm256_set1_epi64x(3)));
        // SAFETY: within the chunk at a 31-bit offset; the slack holds what is read beyond.
        let short = _mm_and_si128(unsafe { gather16(base, at) }, _mm_set1_epi32(0xFFFF));
        // The escape bit to the sign, and the signs to a mask.
        let escape = _mm_movemask_ps(_mm_castsi128_ps(_mm_slli_epi32::<16>(short)));
        escapes |= u64::from(escape.unsigned_abs()) << (4 * group);
        let none = _mm_cmpeq_epi32(short, _mm_setzero_si128());
        let value = _mm_blendv_epi8(short, load(defaults, group), none);
        // SAFETY: four lanes from 4 * group are within the 64.
        unsafe { _mm_storeu_si128(out.as_mut_ptr().add(4 * group).cast(), value) };
    }
    escapes
}
