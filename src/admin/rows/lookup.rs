//! What a lookup found.

use std::net::IpAddr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::Member;

/// `lookup`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LookupResult {
    /// Name of the VRF that was looked in.
    pub vrf: String,
    /// The destination.
    pub address: IpAddr,
    /// The longest matching prefix; `null` without a route.
    pub prefix: Option<IpNet>,
    /// The members that packets are spread over.
    pub via: Vec<Member>,
    /// What a packet would meet: `forward`, `punt(reason)` or `drop(reason)`.
    pub verdict: String,
    /// The verdict's reason explained; empty for `forward`.
    pub help: String,
}
