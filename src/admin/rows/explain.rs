//! What would become of a frame, and why.

use std::net::IpAddr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::{FrameHeaders, Member};

/// `explain`: one frame.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ExplainRow {
    /// Its number, from 1 on.
    pub frame: u64,
    /// Name of the port that it enters by.
    pub port: String,
    /// Name of the VIF that its tags name; `null` where they name none.
    pub vif: Option<String>,
    /// Name of that VIF's VRF.
    pub vrf: Option<String>,
    /// `forward`, `punt(REASON)` or `drop(REASON)`.
    pub verdict: String,
    /// The stage that decided.
    pub stage: String,
    /// The verdict's reason explained, and what to do about it; empty for `forward`.
    pub help: String,
    /// The stages that looked at it, in their order.
    pub stages: Vec<ExplainedStage>,
    /// The route of the destination; `null` where the frame did not come to it.
    pub destination_route: Option<ExplainedRoute>,
    /// The route back to the source; `null` where sources are not checked.
    pub source_route: Option<ExplainedRoute>,
    /// Where the chosen member leads; `null` where nothing would be sent.
    pub egress: Option<ExplainedEgress>,
    /// What its headers say.
    pub headers: FrameHeaders,
    /// Octets of it, without FCS.
    pub octets: u64,
    /// Its octets, two hexadecimal digits each.
    pub data: String,
    /// The octets that would leave, likewise; `null` where none would.
    pub sent: Option<String>,
}

/// What one stage said.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExplainedStage {
    /// Its name: that of its file in `src/stage`.
    pub stage: String,
    /// The verdict that it gave or changed; `null` where the frame goes on.
    pub verdict: Option<String>,
    /// What it looked at.
    pub detail: String,
}

/// A route that was looked up.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ExplainedRoute {
    /// The address.
    pub address: IpAddr,
    /// The longest matching prefix; `null` without a route.
    pub prefix: Option<IpNet>,
    /// `connected`, `local`, `neighbor`, `static`, `list` or `bgp`; `null` without a route.
    pub origin: Option<String>,
    /// The next-hop group's number; 0 without a route.
    pub group: u32,
    /// The members of the group.
    pub via: Vec<Member>,
}

/// The way out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExplainedEgress {
    /// Name of the port.
    pub port: String,
    /// Name of the VIF.
    pub vif: String,
    /// Its VLAN id, or both as `100.200`.
    pub vlan: String,
    /// The neighbor; `null` where it is the destination itself.
    pub next_hop: Option<IpAddr>,
    /// Its MAC, once known.
    pub mac: Option<String>,
    /// Longest IP packet, in octets.
    pub mtu: u16,
    /// Which member of the group was chosen, from 1 on.
    pub member: u64,
    /// How many there are.
    pub members: u64,
    /// The number of the packet's flow, by which it was chosen; `null` where there is one member.
    pub flow: Option<u32>,
}
