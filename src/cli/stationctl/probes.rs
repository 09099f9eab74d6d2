//! The columns of `show probes`.

use std::io::{self, Write};

use super::filter::Subject;
use super::output::Show;
use super::probe_history::asked;
use super::table::{self, Look, number, text};
use super::units::{count, microseconds};
use crate::admin::rows::TargetRow;

impl Show for TargetRow {
    fn subject(&self) -> Option<Subject<'_>> {
        Some(Subject::Vif(&self.vif))
    }

    fn state(&self) -> Option<&str> {
        Some(&self.state)
    }

    fn show(rows: &[Self], look: &Look, out: &mut impl Write) -> io::Result<()> {
        let headings = [
            text("PROBE", 0),
            text("VIF", 0),
            text("TARGET", 0),
            text("ASKS", 1),
            text("STATE", 0),
            text("NEXT HOP", 1),
            number("SENT", 1),
            number("LOST", 0),
            number("LOSS", 0),
            number("RTT", 0),
            number("P99", 0),
            number("JITTER", 1),
            text("LAST MISS", 0),
        ];
        let rows = rows.iter().map(|row| {
            let us = |value: Option<u64>| value.map_or_else(|| "-".to_owned(), microseconds);
            let next_hop = row.next_hop.map_or_else(
                || "-".to_owned(),
                |at| format!("{at} {}", if row.probe_state == "down" { "out" } else { "in use" }),
            );
            let held = row.held_s.map_or_else(String::new, |held_s| format!(" (held {held_s} s)"));
            vec![
                row.probe.clone(),
                row.vif.clone(),
                row.target.to_string(),
                asked(&row.kind, row.port),
                format!("{}{held}", row.state),
                next_hop,
                count(row.sent),
                count(row.lost),
                row.loss_percent.map_or_else(|| "-".to_owned(), |percent| format!("{percent}%")),
                us(row.p50_us),
                us(row.p99_us),
                us(row.jitter_us.map(u64::from)),
                row.message.clone(),
            ]
        });
        table::write(out, look, &headings, rows)
    }
}
