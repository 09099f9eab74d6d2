//! The request for echo requests, one after another or hop by hop.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

/// Echo requests to send.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PingRequest {
    /// From the address of this VIF; exactly one of `vif` and `vrf` is given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vif: Option<String>,
    /// From an address of this VRF: that of the VIF by which the route leads.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vrf: Option<String>,
    /// The destination.
    pub address: IpAddr,
    /// Octets behind the ICMP header.
    pub size: u16,
    /// No router may fragment them (IPv4).
    #[serde(default)]
    pub dont_fragment: bool,
    /// How long an answer is waited for, in milliseconds.
    pub timeout_ms: u64,
    /// How they are sent.
    pub plan: ProbePlan,
}

/// In which order echo requests are sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum ProbePlan {
    /// One after another.
    Ping {
        /// How many.
        count: u64,
        /// Between two: milliseconds.
        interval_ms: u64,
        /// Their TTL or hop limit.
        ttl: u8,
    },
    /// Hop by hop, until the destination answers.
    Trace {
        /// The first hop.
        first: u8,
        /// The last hop.
        last: u8,
        /// Echo requests for each.
        probes: u8,
    },
}
