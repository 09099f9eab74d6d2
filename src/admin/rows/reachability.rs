//! Reachability.

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::tables::SourceCheck;

/// Prefixes of a row at most.
pub const MAX_PREFIXES: usize = 256;

/// `show reachability`: a VIF that another one reaches. Where both ends were named, and there are more prefixes than a row
/// has, more rows of the same two follow with the others.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReachabilityRow {
    /// Name of the VIF that packets enter by.
    pub from: String,
    /// Name of its VRF.
    pub from_vrf: String,
    /// Name of the VIF that they leave by.
    pub to: String,
    /// Name of its VRF.
    pub to_vrf: String,
    /// Name of the exchange by which.
    pub exchange: Option<String>,
    /// Which sources the VIF that they enter by lets pass.
    pub source_check: SourceCheck,
    /// An access list judges what enters or what leaves: it may let less pass.
    pub filtered: bool,
    /// IPv4 prefixes by which, in all.
    pub ipv4_prefixes: u64,
    /// IPv6 prefixes by which, in all.
    pub ipv6_prefixes: u64,
    /// These prefixes, IPv4 first: at most [`MAX_PREFIXES`] of them.
    pub prefixes: Vec<IpNet>,
}
