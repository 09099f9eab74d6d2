//! Mirrors, as metrics.

use std::fmt;

use super::families::Family;
use super::page::Page;
use crate::admin::rows::MirrorRow;

impl Page<'_> {
    pub(super) fn mirrors(&mut self, rows: &[MirrorRow]) -> fmt::Result {
        let mut each = |family, value: fn(&MirrorRow) -> u64| {
            self.family(family, rows.iter().map(|row| ([row.name.clone()], value(row))))
        };
        each(Family::MirrorCopies, |row| row.copies)?;
        each(Family::MirrorBytes, |row| row.octets)?;
        each(Family::MirrorTruncated, |row| row.truncated)?;
        let missed = rows.iter().flat_map(|row| {
            row.missed.iter().map(|(why, missed)| ([row.name.clone(), why.clone()], *missed))
        });
        self.family(Family::MirrorMissed, missed)
    }
}
