//! Caches of RPKI, as metrics.

use std::fmt;

use super::families::Family;
use super::page::Page;
use crate::admin::rows::RpkiRow;

impl Page<'_> {
    pub(super) fn rpki(&mut self, rows: &[RpkiRow]) -> fmt::Result {
        let mut each = |family, value: fn(&RpkiRow) -> u64| {
            self.family(family, rows.iter().map(|row| ([row.cache.clone()], value(row))))
        };
        each(Family::RpkiUp, |row| u64::from(row.state == "up"))?;
        each(Family::RpkiPrefixes, |row| row.prefixes)
    }
}
