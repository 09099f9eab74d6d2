//! The columns of `show rpki`.

use std::io::{self, Write};

use super::filter::Subject;
use super::output::Show;
use super::table::{self, Look, number, text};
use super::tables::or_dash;
use super::units::{count, seconds};
use crate::admin::rows::RpkiRow;

impl Show for RpkiRow {
    fn subject(&self) -> Option<Subject<'_>> {
        Some(Subject::Station)
    }

    fn state(&self) -> Option<&str> {
        Some(&self.state)
    }

    fn show(rows: &[Self], look: &Look, out: &mut impl Write) -> io::Result<()> {
        let headings = [
            text("CACHE", 0),
            text("SERVER", 1),
            text("STATE", 0),
            text("SINCE", 1),
            number("PREFIXES", 0),
            text("LAST ERROR", 0),
        ];
        let rows = rows.iter().map(|row| {
            vec![
                row.cache.clone(),
                row.server.to_string(),
                row.state.clone(),
                or_dash(row.since_s.map(seconds)),
                count(row.prefixes),
                row.last_error.clone(),
            ]
        });
        table::write(out, look, &headings, rows)
    }
}
