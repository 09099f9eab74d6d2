//! How many frames of a port may be under way: so few that what comes later is not late, and so many that the port never
//! waits. It is found out as Linux's dynamic queue limits do, by what was left when others waited to follow.

/// Frames under way at first.
const FIRST: usize = 32;
/// The fewest.
const LEAST: usize = 8;
/// A window shrinks after so many looks that always found many frames left.
const LOOKS: u32 = 64;
/// What is left of a window that is just right, as a part: frames leave in lots.
const MARGIN: usize = 4;

/// How many frames of a port may be on its ring or with the NIC.
#[derive(Debug)]
pub(super) struct Window {
    frames: usize,
    most: usize,
    /// The fewest frames that were left in these looks.
    left: usize,
    looks: u32,
}

impl Window {
    /// A window that never holds more frames than this.
    pub(super) fn new(most: usize) -> Window {
        Window { frames: FIRST.min(most), most, left: usize::MAX, looks: 0 }
    }

    /// Whether one more frame may be under way beside these.
    #[inline(always)]
    pub(super) fn is_open(&self, sending: usize) -> bool {
        sending < self.frames
    }

    /// Takes notice of how many frames had not left when others waited to follow.
    pub(super) fn look(&mut self, sending: usize) {
        (self.left, self.looks) = (self.left.min(sending), self.looks + 1);
        if sending == 0 {
            self.frames = (2 * self.frames).min(self.most);
        } else if self.looks < LOOKS {
            return;
        } else if self.left > self.frames / MARGIN {
            let less = self.frames.saturating_sub(self.left / 2);
            self.frames = less.max(LEAST).min(self.most);
        }
        (self.left, self.looks) = (usize::MAX, 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The window behind which a port that lets so many frames leave between two looks never waits.
    fn found(most: usize, leave: usize, looks: usize) -> (usize, usize) {
        let (mut window, mut sending, mut idle) = (Window::new(most), 0_usize, 0);
        for at in 0..looks {
            while window.is_open(sending) {
                sending += 1;
            }
            idle += usize::from(at > looks / 2 && sending < leave);
            sending = sending.saturating_sub(leave);
            window.look(sending);
        }
        (window.frames, idle)
    }

    #[test]
    fn a_window_is_what_the_port_needs() {
        for leave in [10, 32, 100, 400] {
            let (frames, idle) = found(512, leave, 5_000);
            assert!(frames > leave && frames <= leave * 8 / 5, "{leave}: {frames}");
            assert_eq!(idle, 0, "{leave}");
        }
    }

    #[test]
    fn a_window_has_bounds() {
        assert_eq!(found(512, 10_000, 100).0, 512);
        assert_eq!(found(16, 100, 100).0, 16);
        assert_eq!(found(512, 1, 100_000).0, LEAST);
    }

    /// After a port that was fast: what waits is soon no longer behind a window of that time.
    #[test]
    fn a_window_shrinks_again() {
        let mut window = Window::new(512);
        (0..10).for_each(|_| window.look(0));
        assert!(window.is_open(511));
        let mut looks = 0;
        while window.is_open(16) {
            window.look(window.frames - 1);
            looks += 1;
        }
        assert!(looks < 10 * LOOKS, "{looks}");
    }
}
