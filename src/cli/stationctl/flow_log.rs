//! The columns of `show flow-log` and `show collectors`.

use std::io::{self, Write};

use super::filter::Subject;
use super::output::Show;
use super::table::{self, Look, number, text};
use super::units::{count, octets};
use crate::admin::rows::{CollectorRow, FlowLogRow};

impl Show for FlowLogRow {
    fn subject(&self) -> Option<Subject<'_>> {
        Some(Subject::Vif(&self.vif))
    }

    fn show(rows: &[Self], look: &Look, out: &mut impl Write) -> io::Result<()> {
        let headings = [
            text("VIF", 0),
            text("LOGGED", 0),
            text("NOW", 0),
            number("ACTIVE FLOWS", 0),
            number("PACKETS", 0),
            number("RECORDS", 0),
            number("UNLOGGED", 0),
        ];
        let rows = rows.iter().map(|row| {
            vec![
                row.vif.clone(),
                format!("1:{}", row.interval),
                format!("1:{}", row.effective_interval),
                count(row.active_flows),
                count(row.frames),
                count(row.records),
                count(row.unlogged_frames),
            ]
        });
        table::write(out, look, &headings, rows)
    }
}

impl Show for CollectorRow {
    fn subject(&self) -> Option<Subject<'_>> {
        Some(Subject::Station)
    }

    fn state(&self) -> Option<&str> {
        Some(&self.state)
    }

    fn show(rows: &[Self], look: &Look, out: &mut impl Write) -> io::Result<()> {
        let headings = [
            text("COLLECTOR", 0),
            text("STATE", 0),
            number("MESSAGES", 1),
            number("RECORDS", 0),
            number("OCTETS", 1),
            number("LOST", 0),
            number("SESSIONS", 1),
            text("ERROR", 0),
        ];
        let rows = rows.iter().map(|row| {
            vec![
                row.collector.clone(),
                row.state.clone(),
                count(row.messages),
                count(row.records),
                octets(row.octets),
                count(row.lost_records),
                count(row.sessions),
                row.error.clone(),
            ]
        });
        table::write(out, look, &headings, rows)
    }
}
