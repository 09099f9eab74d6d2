//! Top talkers.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::Labels;
use crate::tables::Direction;
use crate::tables::address_limit::By;

/// `show talkers`: the largest addresses of one direction of a VIF over the last minute, of frames that were forwarded.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TalkerRow {
    /// Name of the VIF.
    pub vif: String,
    /// Whose it is.
    #[serde(flatten)]
    pub labels: Labels,
    /// `rx`: what it received; `tx`: what it sent.
    pub direction: Direction,
    /// By which address of a packet: `source` or `destination`.
    pub by: By,
    /// Over so many seconds.
    pub measured_s: f64,
    /// One of so many packets was looked at, at worst; 1: all were.
    pub interval: u32,
    /// Octets of all addresses, as the packets that were looked at tell.
    pub octets: u64,
    /// What any address had at most that is not listed.
    pub others_most_octets: u64,
    /// Octets since the VIF keeps track that are in no number here, because the station did not keep up.
    pub missed_octets: u64,
    /// The largest first.
    pub talkers: Vec<TalkerEntry>,
}

/// An address.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TalkerEntry {
    /// Which, as it is in the VRF.
    pub address: IpAddr,
    /// Octets of its frames.
    pub octets: u64,
    /// It had no less.
    pub least_octets: u64,
    /// It had no more.
    pub most_octets: u64,
    /// The rate over that time, in bit/s.
    pub bits_per_s: f64,
    /// Its part of all octets, in percent.
    pub share_percent: f64,
}
