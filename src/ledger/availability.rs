//! How available VIFs were, from the outages that are remembered.

use std::collections::{BTreeMap, VecDeque};

use super::{Cause, Ledger, REMEMBERED};

/// How available a VIF was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Availability {
    /// The period's first moment: as asked for, or when the VIF was first seen.
    pub since_ms: u64,
    /// Its last.
    pub until_ms: u64,
    /// Outages in it, those that were planned left out.
    pub outages: usize,
    /// Milliseconds of them.
    pub down_ms: u64,
    /// The longest of them, as far as it lies in the period.
    pub longest_ms: u64,
    /// Milliseconds of outages that were planned.
    pub planned_ms: u64,
    /// Frames lost in outages that ended.
    pub frames_lost: u64,
    /// Milliseconds by the first fault's cause, planned ones among them.
    pub by_cause: BTreeMap<Cause, u64>,
}

impl Availability {
    /// The part of the period, planned outages left out, in which the VIF was there: 0 to 1.
    #[expect(clippy::cast_precision_loss, reason = "a ratio for people")]
    pub fn ratio(&self) -> f64 {
        let period = self.until_ms.saturating_sub(self.since_ms).saturating_sub(self.planned_ms);
        if period == 0 { 1.0 } else { 1.0 - self.down_ms as f64 / period as f64 }
    }
}

impl Ledger {
    /// How available a VIF was from `since_ms` until `until_ms`, which is not to come.
    pub fn availability(&self, vif: &str, since_ms: u64, until_ms: u64) -> Availability {
        let seen = self.seen.get(vif).copied().unwrap_or(until_ms);
        // Older outages of one that has flapped a lot are forgotten: the period begins after them.
        let past = self.past.get(&Some(vif.to_owned()));
        let forgotten = past.filter(|past| past.len() >= REMEMBERED).and_then(VecDeque::front);
        let known = forgotten.map_or(0, |oldest| oldest.start_ms);
        let since_ms = since_ms.max(seen).max(known).min(until_ms);
        let mut availability = Availability {
            since_ms,
            until_ms,
            outages: 0,
            down_ms: 0,
            longest_ms: 0,
            planned_ms: 0,
            frames_lost: 0,
            by_cause: BTreeMap::new(),
        };
        let (mut reached, mut planned) = (since_ms, since_ms);
        for outage in self.outages(Some(vif), since_ms, until_ms) {
            let end = outage.end_ms.unwrap_or(until_ms).min(until_ms);
            // The station's outages and the VIF's own may overlap where the clock was set.
            let length = end.saturating_sub(outage.start_ms.max(reached));
            reached = reached.max(end);
            if length > 0 {
                *availability.by_cause.entry(outage.cause).or_default() += length;
            }
            if outage.cause.is_planned() {
                planned = planned.max(end);
                availability.planned_ms += length;
                continue;
            }
            // Within what was planned, a restart for example.
            if end <= planned && length == 0 {
                continue;
            }
            availability.outages += 1;
            availability.down_ms += length;
            availability.longest_ms = availability.longest_ms.max(length);
            availability.frames_lost += outage.frames_lost.unwrap_or(0);
        }
        availability
    }
}
