//! Classes of service: what is configured, and what passes.

use serde::{Deserialize, Serialize};

use super::Labels;

/// `show qos`: a class of what leaves by a VIF. A VIF's classes are in the order in which they are served.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct QosRow {
    /// Name of the VIF.
    pub vif: String,
    /// Whose it is.
    #[serde(flatten)]
    pub labels: Labels,
    /// Name of its port or VTEP.
    pub port: String,
    /// Name of the policy.
    pub policy: String,
    /// Name of the class.
    pub class: String,
    /// The DSCPs that it takes; neither these nor priorities: what no other class takes.
    pub dscp: Vec<u8>,
    /// The priorities (PCP) that it takes.
    pub pcp: Vec<u8>,
    /// The DSCP that it gives; `null`: none.
    pub mark_dscp: Option<u8>,
    /// The priority that it gives; `null`: the VIF's `pcp` says.
    pub mark_pcp: Option<u8>,
    /// Its weight; `null` where it is strict.
    pub weight: Option<u16>,
    /// Its bandwidth, in bit/s; `null` where it has none of its own.
    pub rate_bits_per_s: Option<u64>,
    /// What may pass at once, in octets, where it has a bandwidth.
    pub burst_octets: Option<u64>,
    /// Frames that left, or wait to.
    pub sent_frames: u64,
    /// Their octets.
    pub sent_octets: u64,
    /// Those of them that waited.
    pub waited_frames: u64,
    /// Frames that exceeded its bandwidth.
    pub policed_frames: u64,
    /// Their octets, as bandwidths count them.
    pub policed_octets: u64,
    /// Frames that found its queue full.
    pub full_frames: u64,
    /// Their octets.
    pub full_octets: u64,
    /// Frames that waited and did not leave, since their port or VIF went.
    pub discarded_frames: u64,
    /// The most frames that ever waited at once in one worker.
    pub peak_frames: u64,
}
