//! Damping of probes that flap.

use std::time::{Duration, Instant};

/// How long what was lost twice within [`MEMORY`] has to answer before it counts; it doubles with each loss after that.
const FIRST_WAIT: Duration = Duration::from_secs(5);
/// The longest of these waits.
pub const LONGEST_WAIT: Duration = Duration::from_secs(300);
/// What was not lost for so long since it was last back has never flapped.
const MEMORY: Duration = Duration::from_secs(600);

#[derive(Debug, Default)]
pub(super) struct Damping {
    /// When it was last lost or counted as back.
    last: Option<Instant>,
    wait: Duration,
    back_at: Option<Instant>,
}

impl Damping {
    pub fn lost(&mut self, now: Instant) {
        let again = self.last.is_some_and(|at| now.duration_since(at) < MEMORY);
        let longer = (self.wait * 2).clamp(FIRST_WAIT, LONGEST_WAIT);
        self.wait = if again { longer } else { Duration::ZERO };
        self.last = Some(now);
    }

    /// Whether what answers again has done so for long enough.
    pub fn is_over(&mut self, now: Instant) -> bool {
        let over = *self.back_at.get_or_insert(now + self.wait) <= now;
        if over {
            self.last = Some(now);
        }
        over
    }

    /// It counts, or does not answer any more.
    pub fn ended(&mut self) {
        self.back_at = None;
    }

    pub fn back_at(&self) -> Option<Instant> {
        self.back_at
    }
}
