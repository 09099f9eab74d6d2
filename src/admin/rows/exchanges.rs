//! Exchanges.

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

/// `show exchanges`: what of one VRF another one reaches, and what has passed since the last clear.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExchangeRow {
    /// The operator's name for it.
    pub name: String,
    /// Name of the VRF whose prefixes are reached.
    pub from: String,
    /// Name of the VRF that reaches them.
    pub to: String,
    /// The destinations.
    pub prefixes: Vec<IpNet>,
    /// The customers that have agreed.
    pub accepted_by: Vec<String>,
    /// Packets that have passed.
    pub packets: u64,
    /// Their octets, from the IP header on.
    pub ip_octets: u64,
}
