//! Requests for mappings. The stream itself is `crate::mappings`' and station-mappings(7)'s.

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

/// Who streams.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MappingSource {
    /// The source's name: the same on every connection.
    pub source: String,
}

/// Which mappings to show.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MappingFilter {
    /// Name of the VRF.
    pub vrf: String,
    /// Only this prefix and those within it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prefix: Option<IpNet>,
}
