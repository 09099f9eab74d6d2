//! Residence times, as metrics.

use std::fmt;

use super::families::Family;
use super::page::{Page, seconds};
use crate::admin::rows::LatencyRow;
use crate::observe::latency::{BUCKETS_NS, Sums};

impl Page<'_> {
    pub(super) fn latency(&mut self, rows: &[(LatencyRow, Option<Sums>)]) -> fmt::Result {
        let of = |scope: &'static str| rows.iter().filter(move |(row, _)| row.scope == scope);
        let name = |row: &LatencyRow| [row.name.clone()];
        let samples =
            |(row, sums): &(LatencyRow, Option<Sums>)| Some((name(row), times(sums.as_ref()?)));
        self.histograms(Family::PortResidence, of("port").filter_map(samples))?;
        let untimed = of("port").filter_map(|(row, _)| Some((name(row), row.untimed?)));
        self.family(Family::PortUntimed, untimed)?;
        let quantiles = of("vif").flat_map(|(row, _)| {
            let recent = row.windows.iter().find(|w| w.window == "recent" && w.samples > 0);
            let all = recent.map(|w| [("0.5", w.p50_ns), ("0.99", w.p99_ns), ("1", w.max_ns)]);
            let series = |(quantile, ns): (&str, u64)| {
                ([row.name.clone(), quantile.to_owned()], seconds(ns))
            };
            all.into_iter().flatten().map(series).collect::<Vec<_>>()
        });
        self.family(Family::VifResidence, quantiles)
    }
}

/// Sum, count, and counts by upper bound.
fn times(sums: &Sums) -> (f64, u64, Vec<(f64, u64)>) {
    let bounds = BUCKETS_NS.iter().map(|&ns| seconds(ns)).chain([f64::INFINITY]);
    let count = sums.buckets.iter().sum();
    (seconds(sums.sum_ns), count, bounds.zip(sums.buckets).collect())
}
