//! The billing series.

use serde::{Deserialize, Serialize};

use super::Traffic;

/// `billing`: what a VIF, or a customer or a meter group with all its VIFs, comes to in a period.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BillingRow {
    /// `vif`, `customer` or `group`.
    pub scope: String,
    /// Name of the VIF, customer or meter group.
    pub name: String,
    /// The customer whose it was.
    pub customer: Option<String>,
    /// When the period begins: milliseconds since 1970.
    pub since_ms: u64,
    /// When it ends: that of the open bin at the latest, which is not in it.
    pub until_ms: u64,
    /// Bins of the period that were counted: the percentiles are of these.
    pub bins: u64,
    /// Bins of the period that were not: the daemon did not run.
    pub missing_bins: u64,
    /// Bins that are no five whole minutes; they are among those that were counted.
    pub incomplete_bins: u64,
    /// Frames and octets.
    #[serde(flatten)]
    pub traffic: Traffic,
    /// 95th percentile of the bits received a second.
    pub p95_rx_bits_per_s: u64,
    /// That of the bits sent a second.
    pub p95_tx_bits_per_s: u64,
    /// The larger of both.
    pub p95_bits_per_s: u64,
    /// Mean of the five highest days, of each of which the fifth highest bin counts, in the larger direction.
    pub enhanced_bits_per_s: u64,
    /// Parts of files that could not be read: the numbers are too low.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub damage: Vec<String>,
}

/// `billing --bins`: five minutes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BillingBinRow {
    /// `vif`, `customer` or `group`; `damage` where a part of a file could not be read.
    pub scope: String,
    /// Name of the VIF, customer, meter group or file.
    pub name: String,
    /// The customer whose it was.
    pub customer: Option<String>,
    /// When the bin begins: milliseconds since 1970.
    pub start_ms: u64,
    /// When it ends.
    pub end_ms: u64,
    /// Frames and octets.
    #[serde(flatten)]
    pub traffic: Traffic,
    /// Bits received a second.
    pub rx_bits_per_s: u64,
    /// Bits sent a second.
    pub tx_bits_per_s: u64,
    /// For how long the daemon counted, in seconds.
    pub observed_s: f64,
    /// It is one of five whole minutes.
    pub complete: bool,
    /// Why it is not: `open`, `start`, `stop`, `clock`, `late`, `joined`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub marks: Vec<String>,
    /// What could not be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub damage: Option<String>,
}
