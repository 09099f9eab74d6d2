//! Stamps: the times at which the XDP program saw some of the frames that it gave to workers (`xdp/station.bpf.c`).
//!
//! Frames of a queue have numbers, one after another. Those are stamped whose number, times a constant, is small: one
//! of a given count of frames, evenly spread, and with no period that traffic could have too.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};

use super::{Area, FRONT, Frame, Pool};

/// 2^32 by the golden ratio.
const SCATTER: u32 = 0x9e37_79b1;
/// One of so many frames is stamped at least: then frames that are lost are soon noticed.
const MOST_APART: u32 = 64;
/// Octets of a stamp.
const OCTETS: u32 = 16;

/// What stands in front of a stamped frame's first octet; and of others, where a frame that had the same memory before
/// left it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stamp {
    /// Whose stamps it is one of; never 0 in a stamp.
    pub nonce: u32,
    /// The frame's number.
    pub number: u32,
    /// When the program saw it: nanoseconds of CLOCK_MONOTONIC.
    pub ns: u64,
}

impl Stamp {
    /// What stands in front of a frame that is in the caller's burst.
    #[inline]
    pub fn before(area: &Area, frame: &Frame) -> Stamp {
        let size = u32::try_from(area.frame_size().octets()).unwrap_or(u32::MAX);
        let room = frame.addr() & (size - 1) >= OCTETS;
        let octets = frame.addr().checked_sub(OCTETS).filter(|_| room);
        let octets: Option<&[u8; OCTETS as usize]> = octets.and_then(|at| area.at(at));
        let Some(&[n0, n1, n2, n3, i0, i1, i2, i3, ref ns @ ..]) = octets else {
            return Stamp::default();
        };
        Stamp {
            nonce: u32::from_ne_bytes([n0, n1, n2, n3]),
            number: u32::from_ne_bytes([i0, i1, i2, i3]),
            ns: u64::from_ne_bytes(*ns),
        }
    }

    /// Puts it in front of a frame, as the program does: for ports in memory.
    pub fn put(&self, pool: &mut Pool, frame: &Frame) {
        let mut editor = pool.editor();
        let around = editor.locate(frame.addr());
        let front = editor.octets(around).and_then(|octets| octets.first_chunk_mut::<FRONT>());
        let stamp = front.and_then(|front| front.last_chunk_mut());
        stamp.into_iter().for_each(|stamp| *stamp = self.octets());
    }

    /// As it stands there.
    pub fn octets(&self) -> [u8; OCTETS as usize] {
        let mut octets = [0; OCTETS as usize];
        octets[..4].copy_from_slice(&self.nonce.to_ne_bytes());
        octets[4..8].copy_from_slice(&self.number.to_ne_bytes());
        octets[8..].copy_from_slice(&self.ns.to_ne_bytes());
        octets
    }
}

/// Which frames are stamped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamping {
    /// Tells these stamps from earlier ones.
    pub nonce: u32,
    /// One of so many frames is timed: a power of two.
    pub sample: u32,
}

impl Stamping {
    /// Stamps with a nonce of their own, to time one of `sample` frames.
    pub fn new(sample: u32) -> Stamping {
        // Each state has keys of its own, which begin with the system's random numbers.
        let random = RandomState::new().build_hasher().finish();
        let [low, high] = [random & 0xffff_ffff, random >> 32];
        Stamping { nonce: u32::try_from(low ^ high).unwrap_or(1).max(1), sample }
    }

    /// As the program's `stamping` takes it.
    pub fn word(self) -> u64 {
        u64::from(limit(self.sample.min(MOST_APART))) << 32 | u64::from(self.nonce)
    }

    /// Whether the frame of a number is stamped.
    #[inline(always)]
    pub const fn stamps(self, number: u32) -> bool {
        let sample = if self.sample < MOST_APART { self.sample } else { MOST_APART };
        number.wrapping_mul(SCATTER) <= limit(sample)
    }

    /// Whether the frame of a number is to be timed: then it is stamped too.
    #[inline(always)]
    pub const fn times(self, number: u32) -> bool {
        number.wrapping_mul(SCATTER) <= limit(self.sample)
    }
}

/// The largest scattered number of one of so many.
#[inline(always)]
const fn limit(sample: u32) -> u32 {
    u32::MAX / if sample == 0 { 1 } else { sample }
}

/// How far it is from a stamped number to the next: one of three distances (Steinhaus' theorem).
#[derive(Clone, Copy, Debug)]
pub struct Gaps {
    limit: u32,
    /// The first number whose scattered one goes up by less than the limit, and the first that goes down by less.
    up: u32,
    down: u32,
}

impl Gaps {
    /// Those of such stamps.
    pub fn of(stamping: Stamping) -> Gaps {
        let limit = limit(stamping.sample.min(MOST_APART));
        let first = |fits: &dyn Fn(u32) -> bool| {
            (1..=4 * MOST_APART).find(|n| fits(n.wrapping_mul(SCATTER))).unwrap_or(1)
        };
        Gaps {
            limit,
            up: first(&|scattered| scattered <= limit),
            down: first(&|scattered| scattered.wrapping_neg() <= limit),
        }
    }

    /// The distance from a stamped number to the next one.
    #[inline]
    pub fn after(&self, number: u32) -> u32 {
        let from = number.wrapping_mul(SCATTER);
        let up = from.checked_add(self.up.wrapping_mul(SCATTER)).is_some_and(|to| to <= self.limit);
        let down = from >= self.down.wrapping_mul(SCATTER).wrapping_neg();
        match (up, down) {
            (true, true) => self.up.min(self.down),
            (true, false) => self.up,
            (false, true) => self.down,
            (false, false) => self.up + self.down,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::port::FrameSize;

    #[test]
    fn the_gaps_are_those_of_the_numbers() {
        for sample in (0..=16).map(|bits| 1 << bits) {
            let stamping = Stamping::new(sample);
            let gaps = Gaps::of(stamping);
            for start in [0u32, 12_345, u32::MAX - 5000] {
                let mut at =
                    (0..).map(|n| start.wrapping_add(n)).find(|n| stamping.stamps(*n)).unwrap();
                for _ in 0..2000 {
                    let next = (1..).map(|n| at.wrapping_add(n)).find(|n| stamping.stamps(*n));
                    let gap = gaps.after(at);
                    assert_eq!(at.wrapping_add(gap), next.unwrap(), "{sample}: from {at}");
                    assert!(gap < 2 * MOST_APART);
                    at = at.wrapping_add(gap);
                }
            }
        }
    }

    /// One of so many is timed, each of them is stamped, and of any period that traffic has each part is.
    #[test]
    fn what_is_timed_is_even() {
        for sample in [1u32, 2, 64, 1024] {
            let stamping = Stamping::new(sample);
            assert!(stamping.nonce != 0 && stamping != Stamping::new(sample));
            for period in [1u32, 2, 3, 64, 100] {
                for part in [0, period - 1] {
                    let count = 1 << 20;
                    let of = (0..count).map(|n| n * period + part);
                    let timed =
                        of.filter(|n| stamping.times(*n)).inspect(|n| assert!(stamping.stamps(*n)));
                    let (timed, expected) = (timed.count() as i64, i64::from(count / sample));
                    assert!(
                        (timed - expected).abs() <= 8,
                        "{sample} {period}: {timed}, not {expected}"
                    );
                }
            }
        }
    }

    #[test]
    fn a_stamp_is_read_where_there_is_room_for_it() {
        let mut pool = Pool::new(2, FrameSize::Small).unwrap();
        let frame = pool.take_with(&[0; 60]).unwrap();
        assert_eq!(Stamp::before(pool.area(), &frame), Stamp::default());
        let stamp = Stamp { nonce: 7, number: u32::MAX, ns: 1 << 40 | 3 };
        stamp.put(&mut pool, &frame);
        assert_eq!(Stamp::before(pool.area(), &frame), stamp);
        for (offset, room) in [(0, false), (15, false), (16, true)] {
            let start = frame.addr() & !2047;
            let short = Frame::from_descriptor(u64::from(start + offset), 60);
            let found = Stamp::before(pool.area(), &short);
            assert_eq!(found, Stamp::default(), "{offset}: {room}");
        }
    }
}
