//! What needs the processor's own instructions, in one place: prefetches, code compiled for AVX2, and words of
//! many packets turned into columns. On processors without them plain code does the same.

#![allow(unsafe_code)]

pub mod eights;

use std::ops::Range;
use std::ptr::NonNull;
use std::sync::OnceLock;

#[cfg(target_arch = "x86_64")]
use std::arch::x86_64 as x86;

/// Packets whose words are turned into columns together.
pub const ROWS: usize = 8;
/// Words of each of them at most: of 32 bits, as they are in memory.
pub const WORDS: usize = 8;

/// Asks for the cache line at an address that will be read soon. Any address is safe.
#[inline(always)]
pub fn prefetch<T>(at: *const T) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: a prefetch has no effect that a program could see and cannot fault, whatever the address.
    unsafe {
        x86::_mm_prefetch::<{ x86::_MM_HINT_T0 }>(at.cast());
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = at;
}

/// Work that is worth vector code.
pub trait Work {
    /// Does it. What it calls must be inlined into it, as it is itself inlined into its caller.
    fn run(self);
}

/// Does work with code compiled for AVX2 and what comes with it, where the processor has that: plain loops over
/// columns become vector code of eight lanes.
#[inline(always)]
pub fn widest(work: impl Work) {
    #[cfg(target_arch = "x86_64")]
    if has_avx2() {
        // SAFETY: the processor has what the function is compiled for.
        return unsafe { avx2(work) };
    }
    work.run();
}

/// Whether the processor has what [`avx2`] is compiled for.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
fn has_avx2() -> bool {
    use std::arch::is_x86_feature_detected as has;
    static HAS: OnceLock<bool> = OnceLock::new();
    let all = || has!("avx2") && has!("bmi1") && has!("bmi2") && has!("lzcnt") && has!("popcnt");
    match HAS.get() {
        Some(&has) => has,
        None => *HAS.get_or_init(all),
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,bmi1,bmi2,lzcnt,popcnt")]
fn avx2(work: impl Work) {
    work.run();
}

/// Reads `W` words (up to [`WORDS`]) at each place of `at` in `memory`, eight places at a time, and gives them as columns:
/// `columns[w][i]` for `at[i]`. For a place where there are fewer, the last words of `memory` are read; nothing is where
/// it has not even these. What does not fill eight may be left out.
///
/// # Safety
/// `len` octets from `memory` on can be read, and are initialised.
#[inline(always)]
#[expect(
    clippy::cast_possible_truncation,
    reason = "a place beyond 32 bits is beyond what `at` can name"
)]
pub unsafe fn columns<const N: usize, const W: usize>(
    memory: NonNull<u8>,
    len: usize,
    lanes: Range<usize>,
    at: &[u32; N],
    columns: &mut [[u32; N]; W],
) {
    let Some(last) = len.checked_sub(4 * WORDS) else { return };
    #[cfg(target_arch = "x86_64")]
    if has_avx2() {
        // SAFETY: the processor has AVX2, and `last` is a place with 32 octets, as all before it are.
        return unsafe { columns_avx2(memory.as_ptr(), last as u32, lanes, at, columns) };
    }
    // SAFETY: as above.
    unsafe { columns_plain(memory.as_ptr(), last as u32, lanes, at, columns) };
}

/// # Safety
/// 32 octets at each place up to `last` from `memory` on can be read, and are initialised.
unsafe fn columns_plain<const N: usize, const W: usize>(
    memory: *const u8,
    last: u32,
    lanes: Range<usize>,
    at: &[u32; N],
    columns: &mut [[u32; N]; W],
) {
    for lane in lanes {
        // SAFETY: the place is not beyond `last`, and the caller's promise; any place is aligned for octets.
        let row =
            unsafe { memory.add(at[lane].min(last) as usize).cast::<[[u8; 4]; WORDS]>().read() };
        for (column, word) in columns.iter_mut().zip(row) {
            column[lane] = u32::from_ne_bytes(word);
        }
    }
}

/// # Safety
/// The processor has AVX2, and the rest is as for [`columns_plain`].
#[cfg(target_arch = "x86_64")]
#[inline]
#[target_feature(enable = "avx2")]
unsafe fn columns_avx2<const N: usize, const W: usize>(
    memory: *const u8,
    last: u32,
    lanes: Range<usize>,
    at: &[u32; N],
    columns: &mut [[u32; N]; W],
) {
    use x86::{
        __m256i, _mm256_loadu_si256 as load, _mm256_min_epu32, _mm256_permute2x128_si256 as halves,
        _mm256_set1_epi32, _mm256_storeu_si256 as store, _mm256_unpackhi_epi32 as high32,
        _mm256_unpackhi_epi64 as high64, _mm256_unpacklo_epi32 as low32,
        _mm256_unpacklo_epi64 as low64,
    };
    // Words of two rows, alternating; of four; of eight.
    let pairs = |a: __m256i, b: __m256i| (low32(a, b), high32(a, b));
    let fours = |a: (__m256i, __m256i), b: (__m256i, __m256i)| {
        [low64(a.0, b.0), high64(a.0, b.0), low64(a.1, b.1), high64(a.1, b.1)]
    };
    for first in lanes.step_by(ROWS) {
        let Some(eight) = at.get(first..).and_then(|at| at.first_chunk::<ROWS>()) else { return };
        let mut at = [0u32; ROWS];
        // SAFETY: eight numbers are 32 octets.
        unsafe {
            let least =
                _mm256_min_epu32(load(eight.as_ptr().cast()), _mm256_set1_epi32(last as i32));
            store(at.as_mut_ptr().cast(), least);
        }
        // SAFETY: no place is beyond `last`, and the caller's promise.
        let row = |i: usize| unsafe { load(memory.add(at[i] as usize).cast()) };
        let low = fours(pairs(row(0), row(1)), pairs(row(2), row(3)));
        let high = fours(pairs(row(4), row(5)), pairs(row(6), row(7)));
        for (word, column) in columns.iter_mut().enumerate() {
            let (low, high) = (low[word % 4], high[word % 4]);
            let column = column[first..first + ROWS].as_mut_ptr().cast();
            // SAFETY: there are eight numbers from `first` on, as there are in `at`.
            unsafe {
                match word / 4 {
                    0 => store(column, halves::<0x20>(low, high)),
                    _ => store(column, halves::<0x31>(low, high)),
                }
            }
        }
    }
}

/// A bit for each of the numbers that is 0.
#[inline(always)]
pub fn zeros(numbers: &[u32; 64]) -> u64 {
    #[cfg(target_arch = "x86_64")]
    if has_avx2() {
        // SAFETY: the processor has AVX2.
        return unsafe { zeros_avx2(numbers) };
    }
    zeros_plain(numbers)
}

fn zeros_plain(numbers: &[u32; 64]) -> u64 {
    numbers.iter().enumerate().fold(0, |bits, (i, &n)| bits | u64::from(n == 0) << i)
}

#[cfg(target_arch = "x86_64")]
#[inline]
#[target_feature(enable = "avx2")]
fn zeros_avx2(numbers: &[u32; 64]) -> u64 {
    use x86::{
        _mm256_castsi256_ps, _mm256_cmpeq_epi32, _mm256_loadu_si256, _mm256_movemask_ps,
        _mm256_setzero_si256,
    };
    let (eights, _) = numbers.as_chunks::<8>();
    eights.iter().rev().fold(0, |bits, eight| {
        // SAFETY: eight numbers are 32 octets.
        let eight = unsafe { _mm256_loadu_si256(eight.as_ptr().cast()) };
        let zero = _mm256_cmpeq_epi32(eight, _mm256_setzero_si256());
        bits << 8 | u64::from(_mm256_movemask_ps(_mm256_castsi256_ps(zero)).cast_unsigned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn start(memory: &[u8]) -> NonNull<u8> {
        NonNull::from(memory).cast()
    }

    proptest! {
        #[test]
        fn columns_are_the_words_of_rows(
            memory in prop::collection::vec(any::<u8>(), 32..200),
            at in prop::array::uniform20(0u32..250),
            first in 0usize..20,
        ) {
            let (mut here, mut plain) = ([[0; 20]; WORDS], [[0; 20]; WORDS]);
            let (end, last) = (first + (20 - first) / ROWS * ROWS, memory.len() - 32);
            // SAFETY: a vector's octets, of which there are 32 at least.
            unsafe {
                columns(start(&memory), memory.len(), first..20, &at, &mut here);
                let last = u32::try_from(last).unwrap();
                columns_plain(memory.as_ptr(), last, first..20, &at, &mut plain);
            }
            for (lane, at) in at.into_iter().enumerate().take(end).skip(first) {
                let at = (at as usize).min(last);
                for (word, (here, plain)) in here.iter().zip(&plain).enumerate() {
                    let octets = memory[at + 4 * word..].first_chunk().unwrap();
                    prop_assert_eq!(here[lane], u32::from_ne_bytes(*octets));
                    prop_assert_eq!(plain[lane], here[lane]);
                }
            }
        }
    }

    #[test]
    fn zeros_are_found() {
        let mut numbers = [1 << 31; 64];
        let zeros = |numbers: &[u32; 64]| {
            let found = zeros(numbers);
            assert_eq!(found, zeros_plain(numbers));
            found
        };
        assert_eq!(zeros(&numbers), 0);
        for lane in [0, 7, 8, 40, 63] {
            numbers[lane] = 0;
        }
        assert_eq!(zeros(&numbers), 1 | 1 << 7 | 1 << 8 | 1 << 40 | 1 << 63);
        assert_eq!(zeros(&[0; 64]), u64::MAX);
    }

    #[test]
    fn too_little_memory_is_not_read() {
        let mut found = [[7; 8]; WORDS];
        let memory = [1; 31];
        // SAFETY: an array's octets.
        unsafe { columns(start(&memory), memory.len(), 0..8, &[0; 8], &mut found) };
        assert_eq!(found, [[7; 8]; WORDS]);
    }
}
