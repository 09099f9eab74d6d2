//! The beat that systemd's watchdog waits for (`WatchdogSec=` of the unit; sd_notify(3)). A beat is sent only when the
//! control thread, every worker and the slow path have each passed a turn of their loop since the last: a station in
//! which one of them hangs is killed, and the next one takes over its BGP sessions.

use std::time::{Duration, Instant};

/// Between two beats, at least. `WatchdogSec` is to be several times as long.
const PAUSE: Duration = Duration::from_secs(1);

/// Sends beats, from the control thread's loop.
pub(super) struct Heartbeat {
    /// No beat is sent before; `None` where nobody waits for any.
    next: Option<Instant>,
    /// The turns of each thread at the last beat.
    seen: Vec<u64>,
}

impl Heartbeat {
    /// Beats, if systemd waits for them (`WATCHDOG_USEC`).
    pub fn new(now: Instant) -> Heartbeat {
        let wanted = sd_notify::watchdog_enabled().is_some();
        Heartbeat { next: wanted.then_some(now), seen: Vec::new() }
    }

    /// Called once a turn of the control thread. `turns`: those of the other threads, always in the same order.
    pub fn turn(&mut self, now: Instant, turns: impl Iterator<Item = u64>) {
        if self.is_due(now, turns) {
            // Where nobody listens any more there is no one to tell.
            drop(sd_notify::notify(&[sd_notify::NotifyState::Watchdog]));
        }
    }

    /// Whether it is time for a beat and all threads have moved.
    fn is_due(&mut self, now: Instant, turns: impl Iterator<Item = u64>) -> bool {
        if self.next.is_none_or(|next| now < next) {
            return false;
        }
        let turns: Vec<u64> = turns.collect();
        let moved = |(at, turn): (usize, &u64)| self.seen.get(at) != Some(turn);
        if !turns.iter().enumerate().all(moved) {
            return false;
        }
        (self.next, self.seen) = (Some(now + PAUSE), turns);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_beat_needs_a_turn_of_every_thread_since_the_last() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut heart = Heartbeat { next: Some(start), seen: Vec::new() };
        let mut due = |ms, turns: [u64; 3]| heart.is_due(at(ms), turns.into_iter());
        assert!(due(0, [0, 0, 0]), "none has been seen before");
        assert!(!due(500, [1, 1, 1]), "too soon");
        assert!(due(1000, [1, 1, 1]));
        assert!(!due(2000, [2, 1, 2]), "the second hangs");
        assert!(!due(9000, [9, 1, 9]), "the second hangs");
        assert!(due(9001, [9, 2, 9]), "it goes on, and the others have moved since the last beat");
        assert!(!due(10_001, [9, 3, 10]), "the first hangs");
        assert!(due(10_002, [u64::MAX, 3, 10]));
        assert!(due(12_000, [0, 4, 11]), "counters wrap");
    }

    #[test]
    fn without_a_watchdog_there_is_no_beat() {
        let mut heart = Heartbeat { next: None, seen: Vec::new() };
        assert!(!heart.is_due(Instant::now(), [1].into_iter()));
    }
}
