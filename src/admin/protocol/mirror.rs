//! The request for a mirror.

use std::fmt;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::capture::{Direction, Filter};

/// Copies frames to somewhere until it is stopped.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MirrorRequest {
    /// The mirror's name.
    pub name: String,
    /// Frames of this VIF; exactly one of `vif` and `port` is given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vif: Option<String>,
    /// Frames of this port.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<String>,
    /// Which way they go.
    pub direction: Direction,
    /// Only those that this takes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub filter: Option<Filter>,
    /// Octets of each, at most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub snap: Option<usize>,
    /// What copies may take with their headers, as `bandwidth` of a VIF is written.
    pub rate: String,
    /// For how long; until it is stopped if not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seconds: Option<u64>,
    /// Where copies go.
    pub to: MirrorTo,
}

impl MirrorRequest {
    /// Octets of a frame that can be asked for.
    pub const SNAP: std::ops::RangeInclusive<usize> = 64..=9238;
    /// How long a mirror that ends by itself may last, in seconds.
    pub const SECONDS: std::ops::RangeInclusive<u64> = 1..=366 * 24 * 3600;
}

/// Where copies go.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum MirrorTo {
    /// To a port, with one tag more.
    Vlan {
        /// The port.
        port: String,
        /// The tag's VID.
        vlan: u16,
    },
    /// In VXLAN (RFC 7348).
    Vxlan {
        /// The VRF that leads there.
        vrf: String,
        /// To whom.
        address: IpAddr,
        /// The VNI.
        vni: u32,
    },
    /// In ERSPAN.
    Erspan {
        /// The VRF that leads there.
        vrf: String,
        /// To whom.
        address: IpAddr,
        /// Its type: 2 or 3.
        version: u8,
        /// The session.
        session: u16,
    },
}

impl fmt::Display for MirrorTo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            MirrorTo::Vlan { port, vlan } => write!(f, "port {port} vlan {vlan}"),
            MirrorTo::Vxlan { vrf, address, vni } => {
                write!(f, "vxlan {address} vni {vni} in {vrf}")
            }
            MirrorTo::Erspan { vrf, address, version, session } => {
                write!(f, "erspan {version} {address} session {session} in {vrf}")
            }
        }
    }
}
