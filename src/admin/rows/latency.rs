//! Residence times.

use serde::{Deserialize, Serialize};

/// `show latency`: how long the frames were in the station that came by a port or a VIF.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LatencyRow {
    /// `port` or `vif`.
    pub scope: String,
    /// Name of the port or VIF.
    pub name: String,
    /// Name of the port that it is on, or is.
    pub port: String,
    /// From when frames are timed: `xdp`, when the program saw them; or `burst`, when they were received, where the
    /// driver takes no stamps. `null` without samples.
    pub source: Option<String>,
    /// One of so many frames is timed.
    pub sample: u64,
    /// Of a port: samples that found no room, and ones that cannot be (later than now, or older than 10 s). Of a VIF:
    /// `null`.
    pub untimed: Option<u64>,
    /// The last minute or two (`recent`), and since frames are timed (`all`); empty without samples.
    pub windows: Vec<LatencyWindow>,
}

/// What the samples of a while say. But for the longest, to 6 %.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LatencyWindow {
    /// `recent` or `all`.
    pub window: String,
    /// Frames that were timed, and forwarded.
    pub samples: u64,
    /// Half of them took no longer: nanoseconds.
    pub p50_ns: u64,
    /// 99 of 100 took no longer.
    pub p99_ns: u64,
    /// 999 of 1000 took no longer.
    pub p999_ns: u64,
    /// The longest.
    pub max_ns: u64,
}
