//! Events that are told at most so often, with how often their cause has happened meanwhile.

use std::time::{Duration, Instant};

/// Something of which there is at most one event in a while.
#[derive(Debug, Default)]
pub struct Spaced {
    told_at: Option<Instant>,
    count: u64,
}

impl Spaced {
    /// It has happened: how often since it was told last, this time included, where it is time to tell.
    pub fn happened(&mut self, apart: Duration, now: Instant) -> Option<u64> {
        self.count += 1;
        if self.told_at.is_some_and(|at| now.saturating_duration_since(at) < apart) {
            return None;
        }
        self.told_at = Some(now);
        Some(std::mem::take(&mut self.count))
    }
}
