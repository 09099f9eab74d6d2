//! Requests for routes.

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

/// Which way routes went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum BgpDirection {
    /// From the peer.
    Received,
    /// To the peer.
    Advertised,
    /// Nowhere: routes of the VRF that the peer is not told.
    Withheld,
}

/// Which routes to show.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RouteFilter {
    /// Name of the VRF.
    pub vrf: String,
    /// Only this family.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub family: Option<Family>,
    /// Only this prefix and those within it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prefix: Option<IpNet>,
}

impl RouteFilter {
    /// Whether a route of the VRF is to be shown.
    pub fn matches(&self, prefix: &IpNet) -> bool {
        let family = match self.family {
            Some(Family::Ipv4) => prefix.addr().is_ipv4(),
            Some(Family::Ipv6) => prefix.addr().is_ipv6(),
            None => true,
        };
        family && self.prefix.is_none_or(|within| within.contains(prefix))
    }
}

/// An address family.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Family {
    /// IPv4.
    Ipv4,
    /// IPv6.
    Ipv6,
}
