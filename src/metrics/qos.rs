//! Classes of service, as metrics.

use std::fmt;

use super::families::Family;
use super::page::Page;
use crate::admin::rows::QosRow;

impl Page<'_> {
    pub(super) fn qos(&mut self, rows: &[QosRow]) -> fmt::Result {
        let mut each = |family, value: fn(&QosRow) -> u64| {
            let of = |row: &QosRow| [row.vif.clone(), row.class.clone()];
            self.family(family, rows.iter().map(|row| (of(row), value(row))))
        };
        each(Family::ClassFrames, |row| row.sent_frames)?;
        each(Family::ClassBytes, |row| row.sent_octets)?;
        each(Family::ClassWaited, |row| row.waited_frames)?;
        each(Family::ClassPoliced, |row| row.policed_frames)?;
        each(Family::ClassFull, |row| row.full_frames)?;
        each(Family::ClassDiscarded, |row| row.discarded_frames)?;
        each(Family::ClassPeak, |row| row.peak_frames)
    }
}
