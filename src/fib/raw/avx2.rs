//! The plain steps of a burst, compiled for processors with AVX2, whose population count and shifts take one instruction.
//!
//! Loads are not gathers here: prefetches and plain loads leave the processor more misses to overlap than four-lane
//! gathers do, and measured 1.4 to 1.7 times as fast.

use super::Region;
use super::kernels::{self, Lanes};

/// Runs `f`, compiled so.
#[target_feature(enable = "avx2,popcnt,bmi1,bmi2")]
pub(super) fn with<T>(f: impl FnOnce() -> T) -> T {
    f()
}

/// See `Kernels::root4`.
#[target_feature(enable = "avx2,popcnt,bmi1,bmi2")]
pub(super) fn root4(region: &Region, table: u32, addrs: &Lanes<u32>, chunks: &mut Lanes<u32>) {
    kernels::root4(region, table, addrs, chunks);
}

/// See `Kernels::flat4`.
#[target_feature(enable = "avx2,popcnt,bmi1,bmi2")]
pub(super) fn flat4(
    region: &Region,
    table: u32,
    addrs: &Lanes<u32>,
    defaults: &Lanes<u32>,
    out: &mut Lanes<u32>,
) -> u64 {
    kernels::flat4(region, table, addrs, defaults, out)
}

/// See `Kernels::compact`.
#[target_feature(enable = "avx2,popcnt,bmi1,bmi2")]
pub(super) fn compact(
    region: &Region,
    chunks: &Lanes<u32>,
    addrs: &Lanes<u32>,
    defaults: &Lanes<u32>,
    out: &mut Lanes<u32>,
) -> u64 {
    kernels::compact(region, chunks, addrs, defaults, out)
}

/// See `Kernels::tables6`.
#[target_feature(enable = "avx2,popcnt,bmi1,bmi2")]
pub(super) fn tables6(region: &Region, keys: &Lanes<u64>, entries: &mut Lanes<u32>, depth: u8) {
    kernels::tables6(region, keys, entries, depth);
}

/// See `Kernels::descend`.
#[target_feature(enable = "avx2,popcnt,bmi1,bmi2")]
pub(super) fn descend(
    region: &Region,
    keys: &Lanes<u64>,
    entries: &mut Lanes<u32>,
    depth: u8,
    end: u8,
) {
    kernels::descend(region, keys, entries, depth, end);
}
