//! How long the control thread does one thing while others wait, and when that was an outage.

use std::time::{Duration, Instant};

use tracing::warn;

use crate::clock::{milliseconds, now_ms};
use crate::ledger::Keeper;

/// What a thread that all VIFs need may be away for without being an outage of them.
pub(super) const STALL: Duration = Duration::from_millis(100);

/// From how long on a hold is worth a line in the log, if it is twice the one before.
const LOGGED: Duration = Duration::from_millis(10);

/// The longest hold since the start.
#[derive(Debug, Default)]
pub(super) struct Holds {
    longest: Duration,
    of: &'static str,
    logged: Duration,
}

impl Holds {
    /// What began at a moment has ended.
    pub fn note(&mut self, what: &'static str, began: Instant, ledger: &Keeper) {
        let took = began.elapsed();
        if took > self.longest {
            (self.longest, self.of) = (took, what);
        }
        if took > LOGGED && took > 2 * self.logged {
            self.logged = took;
            warn!(what, ms = took.as_millis(), "the control thread was held");
        }
        note_stall(ledger, took);
    }

    /// The longest hold in microseconds.
    pub fn longest_us(&self) -> u64 {
        u64::try_from(self.longest.as_micros()).unwrap_or(u64::MAX)
    }

    /// What it was.
    pub fn longest_of(&self) -> &'static str {
        self.of
    }
}

/// A thread that all VIFs need did nothing of what it is there for until now, for `away`.
pub(super) fn note_stall(ledger: &Keeper, away: Duration) {
    if away > STALL {
        let now = now_ms();
        let away = milliseconds(away);
        ledger.stalled(now.saturating_sub(away), now);
    }
}
