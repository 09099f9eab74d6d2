//! Tunnels.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::Labels;

/// `show tunnels`: a VIF's tunnel to one VTEP.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TunnelRow {
    /// Name of the VIF.
    pub vif: String,
    /// Whose it is.
    #[serde(flatten)]
    pub labels: Labels,
    /// Name of its VRF.
    pub vrf: String,
    /// Name of the station's VTEP.
    pub vtep: String,
    /// Name of the VRF that carries the tunnel.
    pub underlay: String,
    /// VXLAN's network identifier.
    pub vni: u32,
    /// The VTEP's address.
    pub local: IpAddr,
    /// The address of the VTEP at the other end.
    pub remote: IpAddr,
    /// The other station whose it is; null where it is none's.
    pub station: Option<String>,
    /// The MAC of the router there, to which inner frames are sent.
    pub mac: String,
    /// `up`: the underlay leads there; or `down`, as the VIF may be.
    pub state: String,
    /// Longest IP packet in it now, in octets.
    pub mtu: u16,
    /// Until when it is less than the underlay's VIFs carry, since a router of the underlay says so: milliseconds since
    /// 1970; null where it is not.
    pub lowered_until_ms: Option<u64>,
    /// The underlay's next hops to the other end that packets leave by, each with its VIF.
    pub via: Vec<String>,
}
