//! Counters.

use serde::{Deserialize, Serialize};

/// A named counter.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CounterValue {
    /// `traffic`, `drop`, `punt`, `slow` (what became of punted frames), `tap` or `kernel`.
    pub group: String,
    /// The counter's name.
    pub name: String,
    /// Its value.
    pub value: u64,
    /// What it means and what to do about it.
    pub help: String,
}

/// received = forwarded + punted + dropped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Conservation {
    /// Frames received.
    pub received: u64,
    /// Frames forwarded. For a port: frames that reached some VIF.
    pub forwarded: u64,
    /// Frames that went to the slow path.
    pub punted: u64,
    /// Frames dropped.
    pub dropped: u64,
    /// The sum is right.
    pub ok: bool,
}

impl Conservation {
    /// The sums, compared.
    pub const fn new(received: u64, forwarded: u64, punted: u64, dropped: u64) -> Self {
        let ok = received == forwarded.wrapping_add(punted).wrapping_add(dropped);
        Conservation { received, forwarded, punted, dropped, ok }
    }
}

/// `show counters`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CounterRow {
    /// `port` or `vif`.
    pub scope: String,
    /// Name of the port or VIF.
    pub name: String,
    /// Its counters; without `--all` those that are not zero.
    pub counters: Vec<CounterValue>,
    /// Whether every frame is accounted for.
    pub conservation: Conservation,
}
