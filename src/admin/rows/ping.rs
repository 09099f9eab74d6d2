//! What comes of echo requests.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

/// `ping` and `traceroute`: one `{"begin":{...}}`, then `{"probe":{...}}` for each echo request as its fate is known, and
/// one `{"end":{...}}`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PingRow {
    /// They begin.
    Begin(PingBegin),
    /// One echo request.
    Probe(ProbeRow),
    /// The sum.
    End(PingEnd),
}

/// From where to where.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PingBegin {
    /// Name of the VIF whose address they come from.
    pub vif: String,
    /// Name of its VRF.
    pub vrf: String,
    /// The address that they come from.
    pub source: IpAddr,
    /// The destination.
    pub address: IpAddr,
    /// Octets behind the ICMP header.
    pub size: u16,
    /// Octets of IP packet.
    pub octets: u64,
}

/// One echo request.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ProbeRow {
    /// Its number, from 1 on.
    pub sequence: u64,
    /// The TTL or hop limit that it left with.
    pub ttl: u8,
    /// `reply`, `error` (an ICMP error came), `timeout` or `unsent`.
    pub outcome: String,
    /// Who answered.
    pub from: Option<IpAddr>,
    /// The error, or why it did not leave; empty for others.
    pub message: String,
    /// The MTU that the error states: octets of IP packet.
    pub mtu: Option<u32>,
    /// TTL or hop limit of the answer.
    pub answer_ttl: Option<u8>,
    /// Octets of the answer's ICMP message.
    pub octets: Option<u64>,
    /// Until the answer: microseconds.
    pub rtt_us: Option<u64>,
}

/// The sum of all.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct PingEnd {
    /// Echo requests that left.
    pub sent: u64,
    /// Those that were replied to.
    pub received: u64,
    /// Those that an ICMP error answered.
    pub errors: u64,
    /// The shortest time until a reply: microseconds; `null` without one.
    pub min_us: Option<u64>,
    /// The mean.
    pub avg_us: Option<u64>,
    /// The longest.
    pub max_us: Option<u64>,
    /// How long all took: milliseconds.
    pub duration_ms: u64,
}
