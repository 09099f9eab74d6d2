//! How the stream of events stands.

use serde::{Deserialize, Serialize};

/// `version`: the stream of events, since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventsInfo {
    /// The newest event's number.
    pub newest: u64,
    /// Events that were lost because more happened at once than could be noted.
    pub lost: u64,
    /// Events that the journal did not get.
    pub journal_lost: u64,
    /// Times that the hook's program was started.
    pub hook_runs: u64,
    /// Times that it failed.
    pub hook_failed: u64,
    /// Events that it was not given, because it did not keep up.
    pub hook_lost: u64,
}
