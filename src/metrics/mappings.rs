//! What controllers stream, as metrics.

use std::fmt;

use super::families::Family;
use super::page::{Page, seconds};
use crate::admin::rows::SourceRow;

impl Page<'_> {
    pub(super) fn mappings(&mut self, rows: &[SourceRow]) -> fmt::Result {
        let of = |row: &SourceRow| [row.source.clone()];
        let mut each = |family, value: fn(&SourceRow) -> u64| {
            self.family(family, rows.iter().map(|row| (of(row), value(row))))
        };
        each(Family::Mappings, |row| row.mappings)?;
        each(Family::MappingsInactive, |row| row.inactive)?;
        each(Family::MappingsConnected, |row| u64::from(row.state != "lost"))?;
        each(Family::MappingsRefused, |row| row.refused_batches)?;
        let ended = |row: &SourceRow| {
            let ended_ms = row.end_of_sync_ms?;
            Some((of(row), seconds(ended_ms.saturating_mul(1_000_000))))
        };
        self.family(Family::MappingsSynced, rows.iter().filter_map(ended))
    }
}
