//! The request for a lookup.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

/// Where a packet comes in and where it wants to go.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LookupRequest {
    /// Enters by this VIF; exactly one of `vif` and `vrf` is given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vif: Option<String>,
    /// Is looked up in this VRF.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vrf: Option<String>,
    /// The destination.
    pub address: IpAddr,
}
