//! Flow logs, as metrics.

use std::fmt;

use super::families::Family;
use super::page::Page;
use crate::admin::rows::{CollectorRow, FlowLogRow};

impl Page<'_> {
    pub(super) fn flow_log(&mut self, rows: &[FlowLogRow]) -> fmt::Result {
        let mut each = |family, value: fn(&FlowLogRow) -> u64| {
            self.family(family, rows.iter().map(|row| ([row.vif.clone()], value(row))))
        };
        each(Family::FlowInterval, |row| row.effective_interval)?;
        each(Family::FlowsActive, |row| row.active_flows)?;
        each(Family::FlowFrames, |row| row.frames)?;
        each(Family::FlowRecords, |row| row.records)?;
        each(Family::Unlogged, |row| row.unlogged_frames)
    }

    pub(super) fn collectors(&mut self, rows: &[CollectorRow]) -> fmt::Result {
        let mut each = |family, value: fn(&CollectorRow) -> u64| {
            self.family(family, rows.iter().map(|row| ([row.collector.clone()], value(row))))
        };
        each(Family::CollectorUp, |row| u64::from(row.state == "up"))?;
        each(Family::CollectorRecords, |row| row.records)?;
        each(Family::CollectorBytes, |row| row.octets)?;
        each(Family::CollectorLost, |row| row.lost_records)
    }
}
