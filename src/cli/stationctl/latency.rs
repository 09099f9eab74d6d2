//! The columns of `show latency`.

use std::io::{self, Write};

use super::filter::Subject;
use super::output::Show;
use super::table::{self, Look, number, text};
use super::tables::or_dash;
use super::units::{count, nanoseconds};
use crate::admin::rows::{LatencyRow, LatencyWindow};

impl Show for LatencyRow {
    fn subject(&self) -> Option<Subject<'_>> {
        Some(Subject::of(&self.scope, &self.name))
    }

    fn show(rows: &[Self], look: &Look, out: &mut impl Write) -> io::Result<()> {
        let headings = [
            text("PORT", 0),
            text("VIF", 0),
            text("FROM", 1),
            text("OVER", 0),
            number("SAMPLES", 1),
            number("P50", 0),
            number("P99", 0),
            number("P99.9", 0),
            number("MAX", 0),
        ];
        let rows = rows.iter().map(|row| {
            let cell = |of: &dyn Fn(&LatencyWindow) -> String| {
                let lines: Vec<String> = row.windows.iter().map(of).collect();
                or_dash((!lines.is_empty()).then(|| lines.join("\n")))
            };
            vec![
                row.port.clone(),
                or_dash((row.scope == "vif").then(|| row.name.clone())),
                or_dash(row.source.clone()),
                cell(&|w| if w.window == "recent" { "1-2m" } else { "all" }.to_owned()),
                cell(&|w| count(w.samples)),
                cell(&|w| nanoseconds(w.p50_ns)),
                cell(&|w| nanoseconds(w.p99_ns)),
                cell(&|w| nanoseconds(w.p999_ns)),
                cell(&|w| nanoseconds(w.max_ns)),
            ]
        });
        table::write(out, look, &headings, rows)
    }
}
