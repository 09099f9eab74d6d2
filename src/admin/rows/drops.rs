//! What went no further, and the last frames of it.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

/// `show drops`: one reason of one port or VIF.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DropRow {
    /// `port` (no VIF was known) or `vif`.
    pub scope: String,
    /// Name of the port or VIF by which the frames entered.
    pub name: String,
    /// The reason: the name of its counter.
    pub reason: String,
    /// Frames since the start, the last `clear counters`, or since the VIF is configured.
    pub count: u64,
    /// When the first of them came: milliseconds since 1970.
    pub first_ms: u64,
    /// When the last came.
    pub last_ms: u64,
    /// What happened and what to do about it.
    pub help: String,
    /// The last senders of such frames, the latest first.
    pub frames: Vec<DroppedFrame>,
}

/// Frames of one sender (source MAC, tags, addresses), as the first of them was. Of `egress_down` and
/// `tx_full`: as it would have left.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DroppedFrame {
    /// How many of the sender's were seen since it is in the list.
    pub count: u64,
    /// When the last one came: milliseconds since 1970.
    pub last_ms: u64,
    /// Octets of the frame, without FCS.
    pub octets: u64,
    /// What its headers say.
    #[serde(flatten)]
    pub headers: FrameHeaders,
}

/// What the headers of a frame say.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FrameHeaders {
    /// The MAC that sent it; `null` where the frame is too short.
    pub source_mac: Option<String>,
    /// The MAC that it was sent to.
    pub destination_mac: Option<String>,
    /// The VLAN ids of its tags, the outer first.
    pub vlans: Vec<u16>,
    /// The outer tag is 802.1ad.
    pub service_tag: bool,
    /// What follows the tags, like `0x0800`.
    pub ethertype: Option<String>,
    /// `arp request`, `arp reply`, `tcp`, `udp`, `icmp TYPE/CODE`, `icmpv6 TYPE/CODE`, or the number of
    /// another IP protocol.
    pub protocol: Option<String>,
    /// The source address; ARP's sender.
    pub source: Option<IpAddr>,
    /// The destination address; ARP's target.
    pub destination: Option<IpAddr>,
    /// The source port.
    pub source_port: Option<u16>,
    /// The destination port.
    pub destination_port: Option<u16>,
}
