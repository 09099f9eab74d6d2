//! The failover drill.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

/// Takes BGP sessions of a VIF down for a time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DrillRequest {
    /// Name of the VIF.
    pub vif: String,
    /// Only the session with this peer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peer: Option<IpAddr>,
    /// After so many seconds they come back.
    pub seconds: u64,
    /// Also where prefixes have no other way.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub anyway: bool,
}

impl DrillRequest {
    /// The shortest and the longest drill, in seconds: 72 hours are 4,320 minutes.
    pub const SECONDS: std::ops::RangeInclusive<u64> = 10..=4320 * 60;
}
