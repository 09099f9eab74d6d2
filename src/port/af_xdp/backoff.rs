//! Patience with a kernel that refuses: a port whose NIC is down or full is asked again after a
//! while, not in every round of the worker. (A loop that did made four million failing system calls
//! while a link was down.)

use std::time::{Duration, Instant};

const FIRST: Duration = Duration::from_micros(16);
const LONGEST: Duration = Duration::from_millis(8);

/// When to ask again.
#[derive(Debug, Default)]
pub(super) struct Backoff {
    /// Not before; `None` while all is well, so that the packet path never asks for the time then.
    until: Option<Instant>,
    wait: Duration,
}

impl Backoff {
    /// Whether it is time to ask.
    #[inline(always)]
    pub(super) fn ready(&self) -> bool {
        self.until.is_none_or(|until| Instant::now() >= until)
    }

    /// The kernel did what it was asked.
    #[inline(always)]
    pub(super) fn succeeded(&mut self) {
        *self = Backoff::default();
    }

    /// The kernel refused: ask later, and later each time.
    #[cold]
    pub(super) fn failed(&mut self) {
        self.wait = (self.wait * 2).clamp(FIRST, LONGEST);
        self.until = Some(Instant::now() + self.wait);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_longer_after_each_failure_up_to_a_bound_and_not_after_a_success() {
        let mut backoff = Backoff::default();
        assert!(backoff.ready());
        let mut waits = Vec::new();
        for _ in 0..12 {
            backoff.failed();
            waits.push(backoff.wait);
        }
        assert!(!backoff.ready());
        assert_eq!(waits[0], FIRST);
        assert!(waits.windows(2).all(|pair| pair[1] == (pair[0] * 2).min(LONGEST)));
        assert_eq!(waits[11], LONGEST);
        std::thread::sleep(LONGEST);
        assert!(backoff.ready());
        backoff.succeeded();
        backoff.failed();
        assert_eq!(backoff.wait, FIRST);
    }
}
