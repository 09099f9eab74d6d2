//! Which vector code is fastest here, found by trying.

use super::Region;
use super::kernels::{Kernels, LANES, Lanes};
use std::time::{Duration, Instant};

/// The fastest for each kind of step, on as much memory as a full table takes.
pub(super) fn race(rivals: &[Kernels]) -> Option<Kernels> {
    const CHUNKS: u32 = 1 << 16;
    if rivals.len() < 2 {
        return rivals.first().copied();
    }
    let region = Region::new(8 * CHUNKS).ok()?;
    let mut seed = 1u32;
    let mut random = || {
        seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        seed >> 8
    };
    // Eight runs each, that are a value as short entries and a leaf as long ones.
    for chunk in 0..CHUNKS {
        region.store64(8 * chunk, 0x0101_0101_0101_0101);
        for word in 1..8 {
            region.store64(8 * chunk + word, 0x8000_0001_8000_0001);
        }
    }
    let chunks: Vec<Lanes<u32>> =
        (0..256).map(|_| std::array::from_fn(|_| random() % CHUNKS * 8)).collect();
    let addrs: Lanes<u32> = std::array::from_fn(|_| random());
    let keys = addrs.map(|addr| u64::from(addr) << 40);
    let mut out = [0; LANES];
    let mut flat = vec![Duration::MAX; rivals.len()];
    let mut deep = flat.clone();
    for _ in 0..3 {
        for (i, rival) in rivals.iter().enumerate() {
            let start = Instant::now();
            for chunks in &chunks {
                rival.gather(&region, 0, &addrs.map(|addr| addr & 0x3_FFFF), &mut out);
                rival.compact(&region, chunks, &addrs, &[0; LANES], &mut out);
                std::hint::black_box(&out);
            }
            flat[i] = flat[i].min(start.elapsed());
            let start = Instant::now();
            for chunks in &chunks {
                out = *chunks;
                rival.descend(&region, &keys, &mut out, 0, 60);
                std::hint::black_box(&out);
            }
            deep[i] = deep[i].min(start.elapsed());
        }
    }
    let best = |times: &[Duration]| (0..rivals.len()).min_by_key(|&i| times[i]);
    Some(Kernels { flat: rivals[best(&flat)?].flat, deep: rivals[best(&deep)?].deep })
}
