//! Which frames a socket holds: one bit per frame of the worker's area. Rings say how many frames
//! they carry but not which, and a driver's own queues say nothing; with this a closing socket knows
//! exactly what to give back, and a descriptor from the kernel that names a frame which the socket
//! does not hold cannot give that frame a second owner.

/// The frames that a socket holds.
#[derive(Debug)]
pub(super) struct Held {
    bits: Box<[u64]>,
    frames: usize,
    count: usize,
    shift: u32,
}

impl Held {
    /// Holds none of `frames` frames of `frame_size` octets (a power of two).
    pub(super) fn new(frames: usize, frame_size: usize) -> Held {
        let bits = vec![0; frames.div_ceil(64)].into_boxed_slice();
        Held { bits, frames, count: 0, shift: frame_size.trailing_zeros() }
    }

    /// Takes the frame at `addr` in. False, and nothing changes, where there is no such frame or it
    /// is held already.
    #[inline(always)]
    #[must_use]
    pub(super) fn insert(&mut self, addr: u64) -> bool {
        let Some(frame) = self.frame(addr) else {
            return false;
        };
        let (word, bit) = (&mut self.bits[frame / 64], 1 << (frame % 64));
        let new = *word & bit == 0;
        *word |= bit;
        self.count += usize::from(new);
        new
    }

    /// Lets the frame at `addr` go. False, and nothing changes, where it is not held.
    #[inline(always)]
    #[must_use]
    pub(super) fn remove(&mut self, addr: u64) -> bool {
        let Some(frame) = self.frame(addr) else {
            return false;
        };
        let (word, bit) = (&mut self.bits[frame / 64], 1 << (frame % 64));
        let held = *word & bit != 0;
        *word &= !bit;
        self.count -= usize::from(held);
        held
    }

    /// The index of the frame at `addr`, if there is one.
    #[inline(always)]
    fn frame(&self, addr: u64) -> Option<usize> {
        usize::try_from(addr >> self.shift).ok().filter(|&frame| frame < self.frames)
    }

    /// How many it holds.
    #[inline(always)]
    pub(super) fn count(&self) -> usize {
        self.count
    }

    /// Lets all go; their addresses.
    pub(super) fn drain(&mut self) -> impl Iterator<Item = u64> + '_ {
        self.count = 0;
        let shift = self.shift;
        self.bits.iter_mut().enumerate().flat_map(move |(index, word)| {
            let mut rest = std::mem::take(word);
            std::iter::from_fn(move || {
                if rest == 0 {
                    return None;
                }
                let frame = index as u64 * 64 + u64::from(rest.trailing_zeros());
                rest &= rest - 1;
                Some(frame << shift)
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_is_held_once_and_let_go_once() {
        let mut held = Held::new(130, 2048);
        assert!(held.insert(129 * 2048 + 256), "any address within the frame");
        assert!(!held.insert(129 * 2048));
        assert!(!held.insert(130 * 2048), "no such frame");
        assert!(!held.insert(u64::MAX));
        assert_eq!(held.count(), 1);
        assert!(!held.remove(128 * 2048));
        assert!(!held.remove(u64::MAX));
        assert!(held.remove(129 * 2048 + 2047));
        assert!(!held.remove(129 * 2048));
        assert_eq!(held.count(), 0);
    }

    #[test]
    fn drain_gives_exactly_what_is_held() {
        let mut held = Held::new(200, 4096);
        for frame in [0, 63, 64, 150, 199] {
            assert!(held.insert(frame * 4096));
        }
        assert!(held.remove(64 * 4096));
        let drained: Vec<_> = held.drain().map(|addr| addr / 4096).collect();
        assert_eq!(drained, [0, 63, 150, 199]);
        assert_eq!((held.count(), held.drain().count()), (0, 0));
    }
}
