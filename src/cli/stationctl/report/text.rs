//! The report as text.

use std::io::{self, Write};

use super::super::table::{self, Look};
use super::super::units::moment;
use super::grids::{MEANINGS, grids};
use super::model::Report;

/// Writes it.
pub(super) fn write(report: &Report, out: &mut impl Write) -> io::Result<()> {
    let look = Look { wide: true, sort: None };
    let Report { customer, month, station, since_ms, until_ms, .. } = report;
    writeln!(out, "{customer}: {month}")?;
    writeln!(out, "station {station}, {} to {}", moment(*since_ms), moment(*until_ms))?;
    for grid in grids(report) {
        writeln!(out, "\n{}", grid.title)?;
        if grid.rows.is_empty() {
            writeln!(out, "{}", grid.empty)?;
        } else {
            table::write(out, &look, &grid.columns, grid.rows)?;
        }
    }
    writeln!(out, "\nWhat is known")?;
    if report.notes.is_empty() {
        writeln!(out, "All of the month.")?;
    }
    report.notes.iter().try_for_each(|note| writeln!(out, "{note}"))?;
    writeln!(out, "\nWhat counts as what")?;
    MEANINGS.iter().try_for_each(|meaning| writeln!(out, "{meaning}"))
}
