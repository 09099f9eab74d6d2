//! Probes, as metrics.

use std::collections::BTreeMap;
use std::fmt;

use super::families::Family;
use super::page::{Page, seconds};
use crate::admin::rows::TargetRow;
use crate::probes::{BUCKETS_US, Counts};

impl Page<'_> {
    pub(super) fn probes(&mut self, rows: &[(TargetRow, Counts)]) -> fmt::Result {
        let is_up = |state: &str| match state {
            "up" => Some(true),
            "down" => Some(false),
            _ => None,
        };
        let probes: BTreeMap<[String; 2], Option<bool>> = rows
            .iter()
            .map(|(row, _)| ([row.probe.clone(), row.vif.clone()], is_up(&row.probe_state)))
            .collect();
        self.family(Family::ProbeUp, probes.into_iter().filter_map(|(of, up)| Some((of, up?))))?;
        let of = |row: &TargetRow| [row.probe.clone(), row.target.to_string()];
        let up = rows.iter().filter_map(|(row, _)| Some((of(row), is_up(&row.state)?)));
        self.family(Family::TargetUp, up)?;
        let mut each = |family, value: fn(&Counts) -> u64| {
            self.family(family, rows.iter().map(|(row, counts)| (of(row), value(counts))))
        };
        each(Family::TargetSent, |counts| counts.sent)?;
        each(Family::TargetReceived, |counts| counts.received)?;
        each(Family::TargetLost, |counts| counts.lost)?;
        self.histograms(
            Family::TargetRtt,
            rows.iter().map(|(row, counts)| (of(row), rtts(counts))),
        )?;
        let jitter = rows.iter().filter_map(|(row, _)| {
            Some((of(row), seconds(u64::from(row.jitter_us?).saturating_mul(1000))))
        });
        self.family(Family::TargetJitter, jitter)
    }
}

/// Sum, count, and counts by upper bound.
fn rtts(counts: &Counts) -> (f64, u64, Vec<(f64, u64)>) {
    let bounds = BUCKETS_US.iter().map(|&us| f64::from(us) / 1e6).chain([f64::INFINITY]);
    let sum = seconds(counts.sum_us.saturating_mul(1000));
    (sum, counts.received, bounds.zip(counts.buckets).collect())
}
