//! Consistency, outages and availability: arguments and columns.

use std::io::{self, Write};
use std::time::{Duration, UNIX_EPOCH};

use clap::Args;

use super::customer::Subject;
use super::output::Show;
use super::period::PeriodArgs;
use super::table;
use super::tables::or_dash;
use super::units::{count, milliseconds, seconds};
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

    fn show(rows: &[Self], out: &mut impl Write) -> io::Result<()> {
        let headings = [
            "VRF",
            "FAMILY",
            "OK",
            ">IN KERNEL",
            ">LEARNED",
            ">DUMPED",
            ">AUDITS",
            ">MISMATCHES",
            ">REPAIRED",
            ">RESYNCS",
            ">RESYNCED",
            ">OVERFLOWS",
            ">REFUSED",
            ">NO ROOM",
            "LAST ERROR",
        ];
        let rows = rows.iter().map(|row| {
            vec![
                row.vrf.clone(),
                row.family.clone(),
                if row.ok { "yes" } else { "NO" }.to_owned(),
                count(row.kernel_routes),
                count(row.learned_routes),
                or_dash(row.dumped_s.map(|s| format!("{} ago", seconds(s)))),
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
        table::write(out, &headings, rows)
    }
}

/// A moment, in UTC.
pub(super) fn moment(ms: u64) -> String {
    // What has no such form is none of ours.
    UNIX_EPOCH
        .checked_add(Duration::from_millis(ms))
        .map_or_else(String::new, |time| humantime::format_rfc3339_millis(time).to_string())
}

impl Show for OutageRow {
    fn subject(&self) -> Option<Subject<'_>> {
        Some(self.vif.as_deref().map_or(Subject::Station, Subject::Vif))
    }

    fn show(rows: &[Self], out: &mut impl Write) -> io::Result<()> {
        let headings = ["VIF", "FROM", "TO", ">FOR", "CAUSE", "ALSO", ">DETECTION", ">FRAMES LOST"];
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
        table::write(out, &headings, rows)
    }
}

impl Show for SlaRow {
    fn subject(&self) -> Option<Subject<'_>> {
        Some(Subject::Vif(&self.vif))
    }

    fn show(rows: &[Self], out: &mut impl Write) -> io::Result<()> {
        let headings = [
            "VIF",
            "STATE",
            ">AVAILABILITY",
            ">OUTAGES",
            ">DOWN",
            ">LONGEST",
            ">PLANNED",
            ">FRAMES LOST",
            "SINCE",
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
        table::write(out, &headings, rows)
    }
}
