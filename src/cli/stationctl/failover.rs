//! Consistency, outages and availability: arguments and columns.

use std::io::{self, Write};
use std::time::Duration;

use clap::Args;

use super::filter::{OfPort, Subject};
use super::output::Show;
use super::period::PeriodArgs;
use super::table::{self, Look, number, prose, state, text};
use super::tables::or_dash;
use super::units::{count, milliseconds, moment, seconds};
use crate::admin::protocol::Period;
use crate::admin::rows::{ConsistencyRow, OutageRow, SlaRow};

/// What is shown where nothing is said.
const USUAL: Duration = Duration::from_secs(30 * 86_400);

/// Of which VIF, and when.
#[derive(Args, Debug)]
pub(super) struct OutageArgs {
    /// Only this VIF
    vif: Option<String>,
    #[command(flatten)]
    pub(super) of: OfPort,
    #[command(flatten)]
    period: PeriodArgs,
}

impl OutageArgs {
    pub(super) fn period(&self) -> Period {
        let (since_ms, until_ms) = self.period.bounds(USUAL);
        Period { vif: self.vif.clone(), since_ms, until_ms }
    }
}

impl Show for ConsistencyRow {
    fn subject(&self) -> Option<Subject<'_>> {
        Some(Subject::Vrf(&self.vrf))
    }

    fn show(rows: &[Self], look: &Look, out: &mut impl Write) -> io::Result<()> {
        let headings = [
            text("VRF", 0),
            text("FAMILY", 0),
            state("OK", 0),
            number("IN KERNEL", 1),
            number("LEARNED", 1),
            number("DUMP AGE", 4),
            number("AUDITS", 5),
            number("MISMATCHES", 2),
            number("REPAIRED", 2),
            number("RESYNCS", 6),
            number("RESYNCED", 7),
            number("OVERFLOWS", 6),
            number("REFUSED", 3),
            number("NO ROOM", 3),
            prose("LAST ERROR", 1),
        ];
        let rows = rows.iter().map(|row| {
            vec![
                row.vrf.clone(),
                row.family.clone(),
                if row.ok { "yes" } else { "NO" }.to_owned(),
                count(row.kernel_routes),
                count(row.learned_routes),
                or_dash(row.dumped_s.map(seconds)),
                count(row.audits),
                count(row.mismatches),
                count(row.repaired),
                count(row.resyncs),
                count(row.resynced),
                count(row.overflows),
                count(row.refused),
                count(row.no_room),
                row.last_error.clone(),
            ]
        });
        table::write(out, look, &headings, rows)
    }
}

impl Show for OutageRow {
    fn subject(&self) -> Option<Subject<'_>> {
        Some(self.vif.as_deref().map_or(Subject::Station, Subject::Vif))
    }

    fn show(rows: &[Self], look: &Look, out: &mut impl Write) -> io::Result<()> {
        let headings = [
            text("VIF", 0),
            text("FROM", 0),
            text("TO", 2),
            number("FOR", 0),
            text("CAUSE", 0),
            text("ALSO", 3),
            number("DETECTION", 4),
            number("FRAMES LOST", 1),
        ];
        let rows = rows.iter().map(|row| {
            let also: Vec<&str> = row.also.iter().map(|cause| cause.word()).collect();
            vec![
                row.vif.clone().unwrap_or_else(|| "(all)".to_owned()),
                moment(row.start_ms),
                row.end_ms.map_or_else(|| "lasts".to_owned(), moment),
                milliseconds(row.duration_ms),
                row.cause.word().to_owned(),
                also.join(" "),
                or_dash(row.detection_ms.map(milliseconds)),
                or_dash(row.frames_lost.map(count)),
            ]
        });
        table::write(out, look, &headings, rows)
    }
}

impl Show for SlaRow {
    fn subject(&self) -> Option<Subject<'_>> {
        Some(Subject::Vif(&self.vif))
    }

    fn state(&self) -> Option<&str> {
        Some(&self.state)
    }

    fn show(rows: &[Self], look: &Look, out: &mut impl Write) -> io::Result<()> {
        let headings = [
            text("VIF", 0),
            state("STATE", 0),
            number("AVAILABILITY", 0),
            number("OUTAGES", 1),
            number("DOWN", 1),
            number("LONGEST", 3),
            number("PLANNED", 4),
            number("FRAMES LOST", 2),
            text("SINCE", 3),
        ];
        let rows = rows.iter().map(|row| {
            vec![
                row.vif.clone(),
                row.state.clone(),
                format!("{:.5}%", 100.0 * row.availability),
                count(row.outages),
                milliseconds(row.down_ms),
                milliseconds(row.longest_ms),
                milliseconds(row.planned_ms),
                count(row.frames_lost),
                moment(row.since_ms),
            ]
        });
        table::write(out, look, &headings, rows)
    }
}
