//! Damping of probes that flap.

use std::time::{Duration, Instant};

use crate::limit;

/// Counted from when it was last back, if that was later than its loss.
const RULE: limit::Damping = limit::Damping {
    first: Duration::from_secs(5),
    longest: Duration::from_secs(300),
    memory: Duration::from_secs(600),
};

#[derive(Debug, Default)]
pub(super) struct Damping {
    /// When it was last lost or counted as back.
    last: Option<Instant>,
    wait: Duration,
    back_at: Option<Instant>,
}

impl Damping {
    pub fn lost(&mut self, now: Instant) {
        self.wait = RULE.wait(self.wait, self.last.map(|at| now.duration_since(at)));
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
