//! The columns of `show qos`.

use std::io::{self, Write};

use super::filter::Subject;
use super::output::Show;
use super::table::{self, Look, number, text};
use super::tables::or_dash;
use super::units::{bits, count};
use crate::admin::rows::QosRow;

impl Show for QosRow {
    fn subject(&self) -> Option<Subject<'_>> {
        Some(Subject::Vif(&self.vif))
    }

    fn show(rows: &[Self], look: &Look, out: &mut impl Write) -> io::Result<()> {
        let headings = [
            text("VIF", 0),
            text("POLICY", 2),
            text("CLASS", 0),
            text("TAKES", 1),
            text("MARKS", 2),
            text("ORDER", 0),
            number("RATE", 1),
            number("SENT", 0),
            number("WAITED", 1),
            number("POLICED", 0),
            number("QUEUE FULL", 0),
            number("PEAK", 2),
        ];
        let rows = rows.iter().map(|row| {
            vec![
                row.vif.clone(),
                row.policy.clone(),
                row.class.clone(),
                takes(row),
                marks(row),
                row.weight.map_or_else(|| "strict".to_owned(), |weight| format!("weight {weight}")),
                or_dash(row.rate_bits_per_s.map(bits)),
                count(row.sent_frames),
                count(row.waited_frames),
                count(row.policed_frames),
                count(row.full_frames),
                count(row.peak_frames),
            ]
        });
        table::write(out, look, &headings, rows)
    }
}

/// What is in the class.
fn takes(row: &QosRow) -> String {
    let list = |what: &str, numbers: &[u8]| {
        let numbers: Vec<String> = numbers.iter().map(ToString::to_string).collect();
        (!numbers.is_empty()).then(|| format!("{what} {}", numbers.join(",")))
    };
    let both: Vec<String> =
        [list("dscp", &row.dscp), list("pcp", &row.pcp)].into_iter().flatten().collect();
    if both.is_empty() { "the rest".to_owned() } else { both.join(" ") }
}

/// How it leaves.
fn marks(row: &QosRow) -> String {
    let marks = [("dscp", row.mark_dscp), ("pcp", row.mark_pcp)];
    let marks = marks.into_iter().filter_map(|(what, mark)| Some(format!("{what} {}", mark?)));
    let marks: Vec<String> = marks.collect();
    if marks.is_empty() { "-".to_owned() } else { marks.join(" ") }
}
