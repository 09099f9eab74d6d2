//! Limits of addresses.

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::tables::Direction;
use crate::tables::address_limit::By;

/// `show address-limits`: a limit in one VRF and direction. Octets are those that bandwidths count; they, and frames, count
/// from the last clear, or from when the prefix came into the limit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AddressLimitRow {
    /// The operator's name for it.
    pub name: String,
    /// Name of the VRF.
    pub vrf: String,
    /// `rx`: what VIFs receive; `tx`: what they send.
    pub direction: Direction,
    /// Which address of a packet: `source` or `destination`.
    pub by: By,
    /// What each address may have, in bit/s.
    pub rate_bits_per_s: u64,
    /// What may pass at once, in octets.
    pub burst_octets: u64,
    /// VIFs that have it.
    pub vifs: Vec<String>,
    /// Addresses, or blocks of addresses that have a rate together.
    pub addresses: u64,
    /// Those of them of which frames were dropped.
    pub addresses_over: u64,
    /// Octets that passed.
    pub passed_octets: u64,
    /// Frames that were dropped.
    pub exceeded_frames: u64,
    /// Their octets.
    pub exceeded_octets: u64,
    /// Where one limit is asked for: its addresses that had anything, those that exceeded most first, then those that had
    /// most.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub entries: Vec<AddressEntry>,
}

/// An address of a limit, or a block of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AddressEntry {
    /// Which.
    pub address: IpNet,
    /// Octets that passed.
    pub passed_octets: u64,
    /// Frames that were dropped.
    pub exceeded_frames: u64,
    /// Their octets.
    pub exceeded_octets: u64,
    /// How much of the burst is used up now: at 100 the address is held to its rate.
    pub burst_used_percent: u64,
}
