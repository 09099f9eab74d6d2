//! Sets of lanes.

use std::ops::Range;

use super::WIDTH;
use crate::cpu::{self, ROWS};

/// A set of lanes, one bit each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lanes(pub u64);

impl Lanes {
    /// The first `count` lanes.
    #[inline(always)]
    pub const fn first(count: usize) -> Lanes {
        Lanes(if count >= 64 { u64::MAX } else { (1 << count) - 1 })
    }

    /// The lanes that have 0 in a column.
    #[inline(always)]
    pub fn zero(column: &[u32; WIDTH]) -> Lanes {
        match column.first_chunk() {
            Some(column) => Lanes(cpu::zeros(column)),
            None => Lanes(0),
        }
    }

    /// Adds a lane.
    #[inline(always)]
    pub const fn insert(&mut self, lane: usize) {
        self.0 |= 1 << lane;
    }

    /// Whether a lane is in the set.
    #[inline(always)]
    pub const fn has(self, lane: usize) -> bool {
        self.0 >> lane & 1 == 1
    }

    /// The lanes that are in both sets.
    #[inline(always)]
    pub const fn and(self, other: Lanes) -> Lanes {
        Lanes(self.0 & other.0)
    }

    /// The lanes that are in either set.
    #[inline(always)]
    pub const fn or(self, other: Lanes) -> Lanes {
        Lanes(self.0 | other.0)
    }

    /// The lanes that are in this set and not in the other.
    #[inline(always)]
    pub const fn without(self, other: Lanes) -> Lanes {
        Lanes(self.0 & !other.0)
    }

    /// Removes a lane.
    #[inline(always)]
    pub const fn remove(&mut self, lane: usize) {
        self.0 &= !(1 << lane);
    }

    /// How many lanes there are.
    #[inline(always)]
    pub const fn count(self) -> usize {
        self.0.count_ones() as usize
    }

    /// From the first lane to the last.
    #[inline(always)]
    pub const fn span(self) -> Range<usize> {
        match self.0 {
            0 => 0..0,
            bits => bits.trailing_zeros() as usize..64 - bits.leading_zeros() as usize,
        }
    }

    /// The same and up to seven lanes more, so that loops over columns take eight lanes at a time.
    #[inline(always)]
    pub fn eights(self) -> Range<usize> {
        let Range { start, end } = self.span();
        start..(start + (end - start).next_multiple_of(ROWS)).min(WIDTH)
    }
}

impl Iterator for Lanes {
    type Item = usize;

    #[inline(always)]
    fn next(&mut self) -> Option<usize> {
        if self.0 == 0 {
            return None;
        }
        let lane = self.0.trailing_zeros() as usize;
        self.0 &= self.0 - 1;
        Some(lane)
    }
}
