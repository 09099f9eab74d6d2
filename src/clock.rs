//! Times as the numbers that files, rows and tables have: spans, and moments of the wall clock since 1970 (UTC).

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// A moment by two clocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    /// The clock of the wall: milliseconds since 1970.
    pub wall_ms: u64,
    /// Milliseconds of a clock that nobody sets.
    pub steady_ms: u64,
}

impl Moment {
    /// This one; the clock that nobody sets began at `zero`.
    pub fn now(zero: Instant) -> Moment {
        Moment { wall_ms: now_ms(), steady_ms: milliseconds(zero.elapsed()) }
    }
}

/// A span in whole milliseconds.
pub fn milliseconds(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

/// A span in nanoseconds.
pub fn nanoseconds(span: Duration) -> u64 {
    u64::try_from(span.as_nanos()).unwrap_or(u64::MAX)
}

/// The span from 1970 to a moment; zero for one before.
pub fn since_1970(moment: SystemTime) -> Duration {
    moment.duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// Milliseconds since 1970.
pub fn now_ms() -> u64 {
    milliseconds(since_1970(SystemTime::now()))
}

/// Nanoseconds since 1970.
pub fn now_ns() -> u64 {
    nanoseconds(since_1970(SystemTime::now()))
}

/// Nanoseconds of CLOCK_MONOTONIC, which the XDP program reads too.
pub fn monotonic_ns() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    let [seconds, ns] = [now.tv_sec, now.tv_nsec].map(|part| u64::try_from(part).unwrap_or(0));
    seconds.saturating_mul(1_000_000_000).saturating_add(ns)
}

/// The moment so long ago, in milliseconds since 1970.
pub fn ago_ms(ago: Duration) -> u64 {
    milliseconds(since_1970(SystemTime::now()).saturating_sub(ago))
}

/// Milliseconds as seconds: those since 1970 are exact.
#[expect(clippy::cast_precision_loss, reason = "milliseconds since 1970 are exact")]
pub fn seconds_of(ms: u64) -> f64 {
    ms as f64 / 1000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_no_number_is_the_nearest_that_has() {
        assert_eq!(milliseconds(Duration::from_micros(1999)), 1);
        assert_eq!((milliseconds(Duration::MAX), nanoseconds(Duration::MAX)), (u64::MAX, u64::MAX));
        assert_eq!(since_1970(UNIX_EPOCH - Duration::from_secs(1)), Duration::ZERO);
        assert_eq!(ago_ms(Duration::MAX), 0);
        let (before, now, ns) = (ago_ms(Duration::from_secs(9)), now_ms(), now_ns());
        assert!(before < now && now <= ns / 1_000_000, "{before} {now} {ns}");
    }
}
