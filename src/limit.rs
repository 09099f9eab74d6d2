//! A token bucket in integer nanoseconds. Time is an argument; a bucket is one word, so that a table
//! of them by VIF and class stays small. And how long what flaps has to be back until it counts.

use std::time::Duration;

/// How long what was lost has to be back until it counts. The first return counts at once.
#[derive(Clone, Copy, Debug)]
pub struct Damping {
    /// The wait after the second loss within `memory`; it doubles with each one after that.
    pub first: Duration,
    /// The longest wait.
    pub longest: Duration,
    /// What was not lost for so long has never flapped.
    pub memory: Duration,
}

impl Damping {
    /// The wait after a loss: `last` is the one before it, `since` how long ago it was lost then, if it was.
    pub fn wait(&self, last: Duration, since: Option<Duration>) -> Duration {
        match since {
            Some(since) if since < self.memory => (last * 2).clamp(self.first, self.longest),
            _ => Duration::ZERO,
        }
    }
}

/// A part of the time, in nanoseconds, that work beside more important work may take: what is not used is saved, up to
/// a most.
#[derive(Clone, Copy, Debug)]
pub struct TimeShare {
    most: u64,
    left: u64,
    /// Until when time has passed.
    renewed: u64,
}

impl TimeShare {
    /// With all that can be saved.
    pub const fn full(most: u64) -> TimeShare {
        TimeShare { most, left: most, renewed: 0 }
    }

    /// Lets time pass, of which `percent` is shared by so many.
    pub fn renew(&mut self, now_ns: u64, percent: u64, sharers: u64) {
        let passed = now_ns.saturating_sub(self.renewed).min(100 * self.most);
        self.left = (self.left + passed * percent / 100 / sharers.max(1)).min(self.most);
        self.renewed = now_ns;
    }

    /// Whether there is so much.
    pub const fn has(&self, ns: u64) -> bool {
        self.left >= ns
    }

    /// Takes time; false, and takes none, where there is less.
    #[must_use]
    pub fn take(&mut self, ns: u64) -> bool {
        let left = self.left.checked_sub(ns);
        left.inspect(|left| self.left = *left).is_some()
    }
}

/// How fast a bucket fills and how much it holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// Nanoseconds that one token takes to come back.
    interval: u64,
    /// Nanoseconds that an empty bucket takes to fill.
    full: u64,
}

impl Rate {
    /// `per_second` tokens a second, at most `burst` at once. A rate of 0 counts as 1 a second, a
    /// burst of 0 as 1.
    pub const fn new(per_second: u32, burst: u32) -> Rate {
        let interval = 1_000_000_000 / if per_second == 0 { 1 } else { per_second as u64 };
        Rate { interval, full: interval * if burst == 0 { 1 } else { burst as u64 } }
    }

    /// Whether a bucket that nobody took from for so long is full, whatever it was before.
    pub const fn is_full_after(&self, unused_ns: u64) -> bool {
        unused_ns >= self.full
    }
}

/// One bucket. It starts full.
#[derive(Clone, Copy, Debug, Default)]
pub struct TokenBucket {
    /// When the bucket is full again, if nobody takes more: the generic cell rate algorithm's
    /// theoretical arrival time (ITU-T I.371), which needs no separate count of tokens.
    full_at: u64,
}

impl TokenBucket {
    /// Takes one token, or says that there is none. `now_ns` does not go back.
    #[inline]
    #[must_use]
    pub fn take(&mut self, now_ns: u64, rate: &Rate) -> bool {
        let full_at = self.full_at.max(now_ns).saturating_add(rate.interval);
        let allowed = full_at - now_ns <= rate.full;
        if allowed {
            self.full_at = full_at;
        }
        allowed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(bucket: &mut TokenBucket, now_ns: u64, rate: &Rate, tries: u32) -> u32 {
        (0..tries).map(|_| u32::from(bucket.take(now_ns, rate))).sum()
    }

    #[test]
    fn a_burst_then_the_rate() {
        let rate = Rate::new(200, 50);
        let mut bucket = TokenBucket::default();
        assert_eq!(taken(&mut bucket, 7, &rate, 100), 50);
        assert_eq!(taken(&mut bucket, 7 + 4_999_999, &rate, 100), 0);
        assert_eq!(taken(&mut bucket, 7 + 5_000_000, &rate, 100), 1);
        assert_eq!(taken(&mut bucket, 7 + 105_000_000, &rate, 100), 20);
        assert_eq!(taken(&mut bucket, 60_000_000_000, &rate, 100), 50, "never more than the burst");
    }

    #[test]
    fn a_flood_gets_the_rate_over_time() {
        let rate = Rate::new(1_000, 10);
        let mut bucket = TokenBucket::default();
        let got: u32 = (0..10_000u64).map(|ms| taken(&mut bucket, ms * 1_000_000, &rate, 5)).sum();
        assert_eq!(got, 10_000 + 10 - 1);
    }

    #[test]
    fn the_end_of_time_does_not_overflow() {
        let mut bucket = TokenBucket::default();
        assert!(taken(&mut bucket, u64::MAX, &Rate::new(0, 0), 3) <= 3);
    }
}
