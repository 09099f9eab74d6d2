//! `show vifs --rate` and `show ports --rate`: arguments and columns.

use std::io::{self, Write};

use clap::Args;

use super::filter::{InState, OfPort, Subject};
use super::output::Show;
use super::table::{self, Column, Look, number, text};
use super::tables::or_dash;
use crate::admin::protocol::{RateFilter, RateScope, Request};
use crate::admin::rows::{RateRow, RateWindow, bits_per_second};

/// Totals or rates.
#[derive(Args, Debug)]
pub(super) struct RateArgs {
    /// How much passes a second, over 1, 10 and 60 seconds; those with most first
    #[arg(long, conflicts_with = "state")]
    rate: bool,
    /// Bits as they take up the wire, with preamble, FCS and inter-frame gap: 24 octets more a frame
    #[arg(long, requires = "rate")]
    l1: bool,
    #[command(flatten)]
    pub(super) of: OfPort,
    #[command(flatten)]
    pub(super) state: InState,
}

impl RateArgs {
    /// The request for rates, or this one.
    pub(super) fn or(&self, totals: Request, of: RateScope) -> Request {
        if self.rate { Request::ShowRates(RateFilter { of, l1: self.l1 }) } else { totals }
    }
}

/// A number of frames.
pub(super) fn frames(per_s: f64) -> String {
    match per_s {
        0.0 => "0".to_owned(),
        _ if per_s < 10.0 => format!("{per_s:.1}"),
        _ => format!("{per_s:.0}"),
    }
}

impl Show for RateRow {
    fn subject(&self) -> Option<Subject<'_>> {
        Some(Subject::of(&self.scope, &self.name))
    }

    fn show(rows: &[Self], look: &Look, out: &mut impl Write) -> io::Result<()> {
        let l1 = rows.iter().any(|row| row.layer == "l1");
        let of_vifs = rows.first().is_none_or(|row| row.scope == "vif");
        // A port is on no other.
        let names: &[Column] =
            if of_vifs { &[text("VIF", 0), text("PORT", 1)] } else { &[text("PORT", 0)] };
        let [rx, tx] = if l1 { ["RX ON THE WIRE", "TX ON THE WIRE"] } else { ["RX", "TX"] };
        let numbers = [("OVER", 0), ("RX FRAMES/S", 2), (rx, 0), ("TX FRAMES/S", 2), (tx, 0)];
        let numbers = numbers.map(|(heading, rank)| number(heading, rank));
        let headings = [names, &numbers].concat();
        let rows = rows.iter().map(|row| {
            let cell = |of: &dyn Fn(&RateWindow) -> String| {
                let lines: Vec<String> = row.windows.iter().map(of).collect();
                or_dash((!lines.is_empty()).then(|| lines.join("\n")))
            };
            let numbers = [
                cell(&|w| format!("{:.0}s", w.measured_s)),
                cell(&|w| frames(w.rx_frames_per_s)),
                cell(&|w| bits_per_second(w.rx_l1_bits_per_s.unwrap_or(w.rx_bits_per_s))),
                cell(&|w| frames(w.tx_frames_per_s)),
                cell(&|w| bits_per_second(w.tx_l1_bits_per_s.unwrap_or(w.tx_bits_per_s))),
            ];
            let names = [row.name.clone(), row.port.clone()].into_iter().take(names.len());
            names.chain(numbers).collect()
        });
        table::write(out, look, &headings, rows)?;
        writeln!(out, "\n{}", if l1 { L1_HELP } else { L2_HELP })
    }
}

const L2_HELP: &str = "L2: octets from the destination MAC on, tags included, without FCS.";
const L1_HELP: &str = "L1: 24 octets more a frame (preamble 8, FCS 4, inter-frame gap 12).";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_heading_says_what_was_asked_for_before_a_rate_is_known() {
        for (layer, heading) in [("l1", "RX ON THE WIRE"), ("l2", "RX")] {
            let row = RateRow {
                scope: "port".into(),
                name: "cust0".into(),
                port: "cust0".into(),
                layer: layer.into(),
                age_ms: None,
                windows: Vec::new(),
            };
            let mut out = Vec::new();
            RateRow::show(&[row], &Look::default(), &mut out).unwrap();
            let text = String::from_utf8(out).unwrap();
            let mut headings = text.lines().next().unwrap().split("  ").map(str::trim);
            assert!(headings.any(|word| word == heading), "{text}");
        }
    }
}
