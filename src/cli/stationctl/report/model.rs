//! A report: what all its forms say.

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde::Serialize;

use crate::admin::rows::{Cause, OutageRow, Traffic};

/// What is reported of a month to a customer.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    /// Name of the station.
    pub station: String,
    pub customer: String,
    /// Like `2026-11`, in UTC.
    pub month: String,
    pub since_ms: u64,
    /// The month's end, or now where it is not over.
    pub until_ms: u64,
    /// The month is not over.
    pub open: bool,
    /// The first moment of the next month.
    #[serde(skip)]
    pub end_ms: u64,
    /// By name.
    pub vifs: Vec<VifReport>,
    pub total: Total,
    /// How much is known, in sentences.
    pub notes: Vec<String>,
}

/// What is reported of a VIF.
#[derive(Debug, Default, Serialize)]
pub(super) struct VifReport {
    pub vif: String,
    pub description: Option<String>,
    pub circuit: Option<String>,
    /// `null` where nothing is known of the month, and where the VIF is the customer's no more.
    pub availability: Option<Availability>,
    /// Those that lie in the month at least in part, oldest first; the station's are among them.
    pub outages: Vec<OutageRow>,
    pub probes: Vec<ProbeReport>,
    /// `null` where no bin of the month was counted.
    pub traffic: Option<TrafficReport>,
}

/// How available a VIF was.
#[derive(Debug, Serialize)]
pub(super) struct Availability {
    /// The first moment that is known.
    pub since_ms: u64,
    /// 0 to 1, as `show sla` has it.
    pub availability: f64,
    /// Outages that nobody meant.
    pub outages: u64,
    pub down_ms: u64,
    pub down_ms_by_cause: BTreeMap<Cause, u64>,
    pub longest_ms: u64,
    pub planned_ms: u64,
    pub planned_ms_by_cause: BTreeMap<Cause, u64>,
    pub frames_lost: u64,
}

/// What a target of a probe answered.
#[derive(Debug, Serialize)]
pub(super) struct ProbeReport {
    pub probe: String,
    pub target: IpAddr,
    pub kind: String,
    pub port: Option<u16>,
    /// Hours of the month in which it was asked.
    pub known_hours: u64,
    pub sent: u64,
    pub received: u64,
    pub lost: u64,
    pub loss_percent: Option<f64>,
    pub p50_us: Option<u64>,
    pub p90_us: Option<u64>,
    pub p99_us: Option<u64>,
    pub max_us: Option<u64>,
    pub jitter_us: Option<u64>,
    /// Those that are known.
    pub hours: Vec<ProbeHour>,
}

/// A point of a plot.
#[derive(Debug, Serialize)]
pub(super) struct ProbeHour {
    pub start_ms: u64,
    pub loss_percent: Option<f64>,
    pub p50_us: Option<u64>,
    pub p99_us: Option<u64>,
}

/// What passed.
#[derive(Debug, Serialize)]
pub(super) struct TrafficReport {
    #[serde(flatten)]
    pub traffic: Traffic,
    pub mean_rx_bits_per_s: u64,
    pub mean_tx_bits_per_s: u64,
    pub p95_rx_bits_per_s: u64,
    pub p95_tx_bits_per_s: u64,
    pub p95_bits_per_s: u64,
    /// Those of which bins were counted.
    pub hours: Vec<TrafficHour>,
}

/// A point of a plot: of the bins of an hour the highest, in each direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(super) struct TrafficHour {
    pub start_ms: u64,
    pub bins: u64,
    pub max_rx_bits_per_s: u64,
    pub max_tx_bits_per_s: u64,
}

/// What the VIFs come to.
#[derive(Debug, Serialize)]
pub(super) struct Total {
    /// Of the time that is known of all VIFs together, what was planned left out.
    pub availability: Option<f64>,
    pub outages: u64,
    pub down_ms: u64,
    pub longest_ms: u64,
    pub planned_ms: u64,
    pub sent: u64,
    pub received: u64,
    pub lost: u64,
    pub loss_percent: Option<f64>,
    /// That of the sum of the VIFs, bin by bin.
    pub traffic: Option<TrafficReport>,
    /// Bins of five minutes that were counted, that were not, and those counted that are no five whole minutes.
    pub bins: u64,
    pub missing_bins: u64,
    pub incomplete_bins: u64,
}

impl Availability {
    /// Of outages' milliseconds by cause those that were meant, or those that were not.
    pub fn by_cause(all: &BTreeMap<Cause, u64>, planned: bool) -> BTreeMap<Cause, u64> {
        all.iter()
            .filter(|(cause, _)| cause.is_planned() == planned)
            .map(|(cause, ms)| (*cause, *ms))
            .collect()
    }
}
