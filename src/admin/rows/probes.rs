//! Probes.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::Labels;

/// `show probes`: a target, and what its answers say.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TargetRow {
    /// Name of the probe.
    pub probe: String,
    /// Name of the VIF that asks.
    pub vif: String,
    /// Whose it is.
    #[serde(flatten)]
    pub labels: Labels,
    /// Who is asked.
    pub target: IpAddr,
    /// `icmp`, `tcp` or `twamp`.
    pub kind: String,
    /// The port; `null` for ICMP.
    pub port: Option<u16>,
    /// The VIF's address that it is asked from.
    pub source: Option<IpAddr>,
    /// `up`, `down`, `unknown` (not asked often enough yet) or `idle` (the VIF or its port is down).
    pub state: String,
    /// How long it has been that.
    pub since_s: u64,
    /// The same of the probe: `up` while enough of its targets are.
    pub probe_state: String,
    /// Of a probe that is down and answers again: until it counts as up; else `null`.
    pub held_s: Option<u64>,
    /// The neighbor that no route uses while the probe is down; `null` where it only watches.
    pub next_hop: Option<IpAddr>,
    /// Questions that left.
    pub sent: u64,
    /// Those that were answered.
    pub received: u64,
    /// Those that were not, in time, or with an error.
    pub lost: u64,
    /// How many of the last questions loss is of, 100 at most.
    pub window: u64,
    /// Of those: percent without an answer.
    pub loss_percent: Option<u32>,
    /// The last round trip: microseconds.
    pub last_us: Option<u32>,
    /// Half of the round trips of the last 15 to 30 minutes took no longer.
    pub p50_us: Option<u64>,
    /// 99 of 100 took no longer.
    pub p99_us: Option<u64>,
    /// The longest of them.
    pub max_us: Option<u64>,
    /// How much they differ from one to the next (RFC 3550).
    pub jitter_us: Option<u32>,
    /// Why the last question has no answer; empty where it has one.
    pub message: String,
}

/// `show probe-history`: what a target answered in an hour, or in a period.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ProbeHistoryRow {
    /// Name of the probe.
    pub probe: String,
    /// Name of the VIF that asked.
    pub vif: String,
    /// The customer whose it was.
    pub customer: Option<String>,
    /// Who was asked; `null` where a part of a file could not be read.
    pub target: Option<IpAddr>,
    /// `icmp`, `tcp` or `twamp`.
    pub kind: String,
    /// The port; `null` for ICMP.
    pub port: Option<u16>,
    /// When the hour or the period begins: milliseconds since 1970.
    pub start_ms: u64,
    /// When it ends.
    pub end_ms: u64,
    /// Hours in which anything was asked or answered.
    pub hours: u64,
    /// The hour that is not over is among them.
    pub open: bool,
    /// Questions that left.
    pub sent: u64,
    /// Those that were answered.
    pub received: u64,
    /// Those that were not, in time, or with an error.
    pub lost: u64,
    /// Of those whose end is known, percent without an answer.
    pub loss_percent: Option<f64>,
    /// Half of the round trips took no longer: microseconds, to 1 %.
    pub p50_us: Option<u64>,
    /// 90 of 100 took no longer.
    pub p90_us: Option<u64>,
    /// 99 of 100 took no longer.
    pub p99_us: Option<u64>,
    /// The longest of them.
    pub max_us: Option<u64>,
    /// How much they differ from one to the next, in the mean.
    pub jitter_us: Option<u64>,
    /// What could not be read: the numbers are too low.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub damage: Option<String>,
}
