//! Bandwidths: what is configured, and what passes.

use serde::{Deserialize, Serialize};

use super::Labels;
use crate::tables::Direction;

/// `show bandwidth`: one direction of a VIF, meter group or port that is limited. Octets are those that the limits count,
/// `frame_overhead_octets` included.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BandwidthRow {
    /// `port`, `meter_group` or `vif`.
    pub scope: String,
    /// Its name.
    pub name: String,
    /// Whose it is.
    #[serde(flatten)]
    pub labels: Labels,
    /// `rx`: what the station receives; `tx`: what it sends.
    pub direction: Direction,
    /// Its own limit, in bit/s; `null` where only its meter group or its port limits it.
    pub rate_bits_per_s: Option<u64>,
    /// What it has whatever others do, in bit/s.
    pub committed_bits_per_s: Option<u64>,
    /// What may pass at once, in octets, where it has a rate of its own.
    pub burst_octets: Option<u64>,
    /// The meter group of a VIF.
    pub meter_group: Option<String>,
    /// VIFs that a port or meter group has.
    pub vifs: u64,
    /// Octets that passed.
    pub passed_octets: u64,
    /// Those of them within the committed rate.
    pub committed_octets: u64,
    /// Frames that were dropped.
    pub exceeded_frames: u64,
    /// Their octets.
    pub exceeded_octets: u64,
    /// The last 10 seconds; `null` until two readings know of it.
    pub now: Option<BandwidthNow>,
}

/// What was offered and what passed, by the readings of the counters, one a second.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BandwidthNow {
    /// The time between the readings, in seconds.
    pub measured_s: f64,
    /// What wanted to pass, in bit/s.
    pub offered_bits_per_s: f64,
    /// What passed, in bit/s.
    pub passed_bits_per_s: f64,
    /// What was dropped, in bit/s.
    pub exceeded_bits_per_s: f64,
    /// The most that was offered between two readings of the last minute, in bit/s.
    pub peak_bits_per_s: f64,
}
