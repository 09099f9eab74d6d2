//! The history of probes, as it is asked for.

use serde::{Deserialize, Serialize};

/// Whose history, and when.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProbeHistoryFilter {
    /// The first hour begins then at the earliest: milliseconds since 1970.
    #[serde(default)]
    pub since_ms: u64,
    /// The last hour begins before: milliseconds since 1970; now if not given, or later than now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until_ms: Option<u64>,
    /// Only this probe.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub probe: Option<String>,
    /// Only what this VIF asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vif: Option<String>,
    /// Only what was of this customer at the time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub customer: Option<String>,
    /// All hours of the period together: percentiles are those of all round trips.
    #[serde(default)]
    pub total: bool,
}
