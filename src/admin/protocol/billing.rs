//! The billing series, as it is asked for.

use serde::{Deserialize, Serialize};

/// Whose series, and when.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BillingFilter {
    /// The first bin begins then at the earliest: milliseconds since 1970.
    #[serde(default)]
    pub since_ms: u64,
    /// The last bin begins before: milliseconds since 1970; now if not given, or later than now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until_ms: Option<u64>,
    /// Only this VIF.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vif: Option<String>,
    /// Only what was of this customer at the time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub customer: Option<String>,
    /// Only what was in this meter group at the time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// The bins themselves ([`crate::admin::rows::BillingBinRow`]).
    #[serde(default)]
    pub bins: bool,
}
