//! The request for explanations.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

/// Frames of one request, at most: they are explained at once.
pub const MAX_FRAMES: usize = 64;

/// Which frames to explain.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExplainRequest {
    /// They enter by this VIF's port; exactly one of `vif` and `port` is given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vif: Option<String>,
    /// They enter by this port.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<String>,
    /// A packet that a neighbor on the VIF would send; exactly one of `packet` and `frames` is given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub packet: Option<PacketSpec>,
    /// Whole frames from the destination MAC on, without FCS: two hexadecimal digits an octet.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub frames: Vec<String>,
}

/// A packet, as far as its sender chooses it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PacketSpec {
    /// The source address.
    pub from: IpAddr,
    /// The destination address.
    pub to: IpAddr,
    /// The IP protocol's number.
    pub protocol: u8,
    /// The source port of TCP or UDP.
    #[serde(default)]
    pub source_port: u16,
    /// The destination port of TCP or UDP.
    #[serde(default)]
    pub destination_port: u16,
    /// TTL or hop limit.
    pub ttl: u8,
    /// Octets of IP packet; the headers alone if not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub length: Option<u16>,
}
