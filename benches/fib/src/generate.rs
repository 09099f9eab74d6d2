//! A full-size table without anybody's data: the lengths of a real one, prefixes in clusters as in a real one.

use crate::data::{Route, value_of};
use crate::random::Random;
use std::collections::HashSet;

/// Prefixes of each length in one peer's table of 2026-05-11, in hundreds.
const V4: [(u8, usize); 17] = [
    (8, 1),
    (9, 1),
    (10, 1),
    (11, 1),
    (12, 3),
    (13, 6),
    (14, 12),
    (15, 21),
    (16, 136),
    (17, 83),
    (18, 134),
    (19, 255),
    (20, 456),
    (21, 525),
    (22, 1137),
    (23, 1079),
    (24, 6574),
];
const V6: [(u8, usize); 20] = [
    (28, 2),
    (29, 54),
    (30, 8),
    (31, 3),
    (32, 267),
    (33, 54),
    (34, 52),
    (35, 18),
    (36, 94),
    (37, 12),
    (38, 27),
    (39, 18),
    (40, 231),
    (41, 17),
    (42, 29),
    (43, 15),
    (44, 249),
    (45, 45),
    (46, 56),
    (48, 1208),
];

/// The table of a family, sorted.
pub fn table(bits: u8) -> Vec<Route> {
    let mut random = Random::new(2026);
    let mut seen = HashSet::new();
    let lengths: &[(u8, usize)] = if bits == 32 { &V4 } else { &V6 };
    let mut holders: Vec<u128> = Vec::new();
    for &(len, hundreds) in lengths {
        let mut last = 0u128;
        let mut made = 0;
        while made < hundreds * 100 {
            let step = 1u128 << (128 - len);
            // Three of four lie beside the one before, as the parts of a deaggregated block do.
            let key = if random.below(4) > 0 {
                last.wrapping_add(step * (1 + random.below(2) as u128))
            } else if bits == 32 {
                u128::from(0x0100_0000 + random.below(0xDE00_0000) as u32) << 96
            } else if len > 32 && !holders.is_empty() {
                holders[random.below(holders.len())] | u128::from(random.next() as u32) << 64
            } else {
                let registry =
                    [0x2001u128, 0x2400, 0x2600, 0x2800, 0x2A00, 0x2C00][random.below(6)];
                (registry + random.below(16) as u128) << 112
                    | u128::from(random.next() as u16) << 96
            } & !(step - 1);
            last = key;
            if seen.insert((key, len)) {
                made += 1;
                if len == 32 {
                    holders.push(key);
                }
            }
        }
    }
    let mut routes: Vec<Route> = seen
        .into_iter()
        .map(|(key, len)| Route { key, len, value: value_of(key, len, 0) })
        .collect();
    routes.sort();
    routes
}

/// A million changes: mostly other next hops for few prefixes again and again, some withdrawn and announced.
pub fn updates(routes: &[Route]) -> Vec<Route> {
    let mut random = Random::new(511);
    (1..=1_000_000u32)
        .map(|i| {
            let rank = (routes.len() as f64).powf(random.unit()) as usize - 1;
            // Neighbors in the list are neighbors in the address space; popularity is not like that.
            let at = rank.wrapping_mul(7919) % routes.len();
            let Route { key, len, .. } = routes[at];
            let value = if random.below(32) == 0 { 0 } else { value_of(key, len, i) };
            Route { key, len, value }
        })
        .collect()
}
