//! Flow logs.

use serde::{Deserialize, Serialize};

use super::Labels;

/// `show flow-log`: what is logged of a VIF's flows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FlowLogRow {
    /// Name of the VIF.
    pub vif: String,
    /// Whose it is.
    #[serde(flatten)]
    pub labels: Labels,
    /// One of so many packets is to be logged.
    pub interval: u64,
    /// One of so many packets is logged now: more than that where a worker is too busy or the VIF has too many flows.
    pub effective_interval: u64,
    /// Flows that go on.
    pub active_flows: u64,
    /// Packets in records that were made as the VIF's: of what it received, and of what it sent and only it logs.
    pub frames: u64,
    /// Records that were made of them.
    pub records: u64,
    /// Packets that were to be logged and for which there was no room.
    pub unlogged_frames: u64,
    /// Their octets.
    pub unlogged_octets: u64,
}

/// `show collectors`: to whom flows are told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CollectorRow {
    /// The collector as it is configured, or the files' directory.
    pub collector: String,
    /// `up`, `down`, or `opening` where neither is known yet.
    pub state: String,
    /// Messages that were sent.
    pub messages: u64,
    /// Flows in them.
    pub records: u64,
    /// Octets of them.
    pub octets: u64,
    /// Flows that were to be sent and were not, or that the other end did not acknowledge.
    pub lost_records: u64,
    /// Sessions that began: connections, or files.
    pub sessions: u64,
    /// What is wrong; empty where nothing is.
    pub error: String,
}
