//! `show probe-history`: its arguments and its columns.

use std::io::{self, Write};
use std::time::Duration;

use clap::Args;

use super::filter::Subject;
use super::output::Show;
use super::period::{Month, moment as moment_of, month};
use super::table::{self, Look, number, text};
use super::tables::or_dash;
use super::units::{count, microseconds, moment};
use crate::admin::protocol::{ProbeHistoryFilter, Request};
use crate::admin::rows::ProbeHistoryRow;
use crate::clock::{ago_ms, milliseconds};

/// What is shown where nothing is said.
const USUAL: Duration = Duration::from_secs(86_400);

/// What targets of probes answered, by the hour: sent, lost, percentiles of round trips (station-probe(7))
///
/// Of an hour in which nothing was asked there is no row. What is removed or renamed keeps its past under its old name.
#[derive(Args, Debug)]
pub(super) struct ProbeHistoryArgs {
    /// Only this probe; it need not be there any more
    #[arg(long, value_name = "NAME")]
    probe: Option<String>,
    /// Only what this VIF asked; it need not be there any more
    #[arg(long, value_name = "NAME")]
    vif: Option<String>,
    /// Hours that begin at this time or later: so long ago, like 12h, or a day or moment in UTC, like 2026-11-01 or
    /// 2026-11-01T12:00:00Z. Default: a day before the end
    #[arg(long, value_name = "TIME", value_parser = moment_of)]
    since: Option<u64>,
    /// Hours that begin before this time, likewise; default: now
    #[arg(long, value_name = "TIME", value_parser = moment_of)]
    until: Option<u64>,
    /// A calendar month in UTC, like 2026-11
    #[arg(long, value_name = "YYYY-MM", value_parser = month, conflicts_with_all = ["since", "until"])]
    month: Option<Month>,
    /// All hours of the period together; percentiles are those of all round trips
    #[arg(long)]
    total: bool,
}

impl ProbeHistoryArgs {
    /// What goes to the station.
    pub(super) fn request(&self) -> Request {
        let (since_ms, until_ms) = match self.month {
            Some(Month(first, next)) => (first, Some(next)),
            None => {
                let before = |until: u64| until.saturating_sub(milliseconds(USUAL));
                let usual = || self.until.map_or_else(|| ago_ms(USUAL), before);
                (self.since.unwrap_or_else(usual), self.until)
            }
        };
        Request::ShowProbeHistory(ProbeHistoryFilter {
            since_ms,
            until_ms,
            probe: self.probe.clone(),
            vif: self.vif.clone(),
            customer: None,
            total: self.total,
        })
    }
}

/// Percent without an answer.
pub(super) fn loss(percent: f64) -> String {
    format!("{percent:.3}%")
}

impl Show for ProbeHistoryRow {
    fn subject(&self) -> Option<Subject<'_>> {
        Some(match self.damage {
            Some(_) => Subject::Station,
            None => Subject::Customer(self.customer.as_deref()),
        })
    }

    fn show(rows: &[Self], look: &Look, out: &mut impl Write) -> io::Result<()> {
        let headings = [
            text("FROM", 0),
            text("PROBE", 0),
            text("VIF", 2),
            text("CUSTOMER", 6),
            text("TARGET", 0),
            text("ASKED", 4),
            number("HOURS", 7),
            number("SENT", 3),
            number("LOST", 1),
            number("LOSS", 0),
            number("P50", 0),
            number("P90", 5),
            number("P99", 0),
            number("MAX", 1),
            number("JITTER", 2),
        ];
        let us = |value: Option<u64>| or_dash(value.map(microseconds));
        let cells = rows.iter().filter(|row| row.damage.is_none()).map(|row| {
            vec![
                moment(row.start_ms),
                row.probe.clone(),
                row.vif.clone(),
                or_dash(row.customer.clone()),
                or_dash(row.target.map(|target| target.to_string())),
                asked(&row.kind, row.port),
                count(row.hours),
                count(row.sent),
                count(row.lost),
                or_dash(row.loss_percent.map(loss)),
                us(row.p50_us),
                us(row.p90_us),
                us(row.p99_us),
                us(row.max_us),
                us(row.jitter_us),
            ]
        });
        table::write(out, look, &headings, cells)?;
        let damage = rows.iter().filter_map(|row| row.damage.as_ref());
        damage.into_iter().try_for_each(|what| writeln!(out, "The numbers are too low: {what}."))
    }
}

/// What is asked: the kind of question, and the port.
pub(super) fn asked(kind: &str, port: Option<u16>) -> String {
    port.map_or_else(|| kind.to_owned(), |port| format!("{kind} {port}"))
}
