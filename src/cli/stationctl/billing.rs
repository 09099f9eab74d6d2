//! `billing`: its arguments, its columns, and CSV (RFC 4180).

use std::io::{self, Write};

use clap::Args as ClapArgs;

use super::args::Args;
use super::filter::Subject;
use super::output::Show;
use super::period::{Month, moment as moment_of, month, this_month};
use super::table::{self, Look, number, state, text};
use super::tables::or_dash;
use super::units::{bits, count, moment, octets};
use super::{Failure, rows};
use crate::admin::client::Client;
use crate::admin::protocol::{BillingFilter, Request};
use crate::admin::rows::{BillingBinRow, BillingRow};

/// Show what VIFs, customers and meter groups come to: octets, frames, 95th percentiles
///
/// In a period, of bins of five minutes: sums; the 95th percentile of what was received, of what was sent, and the larger
/// of both; and the `enhanced` one, the mean of the five highest days, of each of which the fifth highest bin counts.
/// A customer or a group has the percentiles of the sum of its VIFs. RX is from the customer, TX to it. The open bin is only among
/// --bins. station-billing(7) says what counts as what.
#[derive(ClapArgs, Debug)]
pub(super) struct BillingArgs {
    /// Only what was of this customer at the time
    #[arg(long, value_name = "NAME")]
    customer: Option<String>,
    /// Only what was in this meter group at the time
    #[arg(long, value_name = "NAME")]
    group: Option<String>,
    /// Only this VIF; it need not be there any more
    #[arg(long, value_name = "NAME")]
    vif: Option<String>,
    /// A calendar month in UTC, like 2026-11. Default: the one that is under way
    #[arg(long, value_name = "YYYY-MM", value_parser = month, conflicts_with_all = ["since", "until"])]
    month: Option<Month>,
    /// Bins that begin at this time or later: so long ago, like 12h, or a day or moment in UTC, like 2026-11-01 or
    /// 2026-11-01T12:00:00Z. Default: the begin of this month
    #[arg(long, value_name = "TIME", value_parser = moment_of)]
    since: Option<u64>,
    /// Bins that begin before this time, likewise; default: now
    #[arg(long, value_name = "TIME", value_parser = moment_of)]
    until: Option<u64>,
    /// The bins themselves: those in which something passed; of what is named and configured, all
    #[arg(long)]
    bins: bool,
    /// Print CSV with a line of headings (RFC 4180)
    #[arg(long)]
    csv: bool,
    #[command(flatten)]
    pub(super) look: Look,
}

impl BillingArgs {
    /// What goes to the station.
    pub(super) fn request(&self) -> Request {
        let (since_ms, until_ms) = match self.month {
            Some(Month(first, next)) => (first, Some(next)),
            None => (self.since.unwrap_or_else(this_month), self.until),
        };
        let [vif, customer, group] = [&self.vif, &self.customer, &self.group].map(Clone::clone);
        let bins = self.bins;
        Request::ShowBilling(BillingFilter { since_ms, until_ms, vif, customer, group, bins })
    }

    /// Shows what is billed, or the bins.
    pub(super) fn run(&self, args: &Args, out: &mut impl Write) -> Result<(), Failure> {
        let request = self.request();
        // By hand: the parser does not see a conflict with an option that stands before the command.
        if args.json && self.csv {
            return Err(Failure::Usage("give --json or --csv: not both".to_owned()));
        }
        match (self.csv, self.bins) {
            (false, false) => rows::<BillingRow>(args, &request, out),
            (false, true) => rows::<BillingBinRow>(args, &request, out),
            (true, false) => csv::<BillingRow>(args, &request, out),
            (true, true) => csv::<BillingBinRow>(args, &request, out),
        }
    }
}

/// A row as CSV.
trait Record: serde::de::DeserializeOwned {
    const HEADINGS: &'static [&'static str];

    fn fields(&self) -> Vec<String>;
}

/// Prints rows as they come.
fn csv<R: Record>(args: &Args, request: &Request, out: &mut impl Write) -> Result<(), Failure> {
    let mut client = Client::connect(&args.socket, request)?;
    let mut headed = false;
    while let Some(line) = client.line::<R>()? {
        if !std::mem::replace(&mut headed, true) {
            record(out, R::HEADINGS)?;
        }
        for row in &line.rows {
            record(out, &row.fields())?;
        }
    }
    Ok(())
}

/// One record: a field with a comma, a quote or a line break is quoted, and its quotes are doubled.
fn record(out: &mut impl Write, fields: &[impl AsRef<str>]) -> io::Result<()> {
    for (at, field) in fields.iter().enumerate() {
        let (field, comma) = (field.as_ref(), if at == 0 { "" } else { "," });
        match field.contains([',', '"', '\r', '\n']) {
            true => write!(out, "{comma}\"{}\"", field.replace('"', "\"\""))?,
            false => write!(out, "{comma}{field}")?,
        }
    }
    out.write_all(b"\r\n")
}

/// What each record begins with: what it is of, its period, and numbers.
fn begin(names: [&str; 3], period: [u64; 2], numbers: &[u64]) -> impl Iterator<Item = String> {
    let numbers = numbers.iter().map(u64::to_string);
    names.map(str::to_owned).into_iter().chain(period.map(moment)).chain(numbers)
}

impl Record for BillingRow {
    const HEADINGS: &'static [&'static str] = &[
        "scope",
        "name",
        "customer",
        "since",
        "until",
        "bins",
        "missing_bins",
        "incomplete_bins",
        "rx_octets",
        "rx_frames",
        "tx_octets",
        "tx_frames",
        "p95_rx_bits_per_s",
        "p95_tx_bits_per_s",
        "p95_bits_per_s",
        "enhanced_bits_per_s",
        "damage",
    ];

    fn fields(&self) -> Vec<String> {
        let numbers = [
            self.bins,
            self.missing_bins,
            self.incomplete_bins,
            self.traffic.rx_octets,
            self.traffic.rx_frames,
            self.traffic.tx_octets,
            self.traffic.tx_frames,
            self.p95_rx_bits_per_s,
            self.p95_tx_bits_per_s,
            self.p95_bits_per_s,
            self.enhanced_bits_per_s,
        ];
        let names = [&*self.scope, &self.name, self.customer.as_deref().unwrap_or_default()];
        let fields = begin(names, [self.since_ms, self.until_ms], &numbers);
        fields.chain([self.damage.join("; ")]).collect()
    }
}

impl Record for BillingBinRow {
    const HEADINGS: &'static [&'static str] = &[
        "scope",
        "name",
        "customer",
        "start",
        "end",
        "rx_octets",
        "rx_frames",
        "tx_octets",
        "tx_frames",
        "rx_bits_per_s",
        "tx_bits_per_s",
        "observed_s",
        "complete",
        "marks",
        "damage",
    ];

    fn fields(&self) -> Vec<String> {
        let numbers = [
            self.traffic.rx_octets,
            self.traffic.rx_frames,
            self.traffic.tx_octets,
            self.traffic.tx_frames,
            self.rx_bits_per_s,
            self.tx_bits_per_s,
        ];
        let names = [&*self.scope, &self.name, self.customer.as_deref().unwrap_or_default()];
        let fields = begin(names, [self.start_ms, self.end_ms], &numbers);
        let rest = [
            format!("{:.3}", self.observed_s),
            self.complete.to_string(),
            self.marks.join(" "),
            self.damage.clone().unwrap_or_default(),
        ];
        fields.chain(rest).collect()
    }
}

impl Show for BillingRow {
    fn subject(&self) -> Option<Subject<'_>> {
        None
    }

    fn show(rows: &[Self], look: &Look, out: &mut impl Write) -> io::Result<()> {
        let headings = [
            text("OF", 1),
            text("NAME", 0),
            text("CUSTOMER", 4),
            number("RX", 2),
            number("TX", 2),
            number("RX FRAMES", 6),
            number("TX FRAMES", 6),
            number("P95 RX", 3),
            number("P95 TX", 3),
            number("P95", 0),
            number("ENHANCED", 1),
        ];
        let cells = rows.iter().map(|row| {
            vec![
                row.scope.clone(),
                row.name.clone(),
                or_dash(row.customer.clone()),
                octets(row.traffic.rx_octets),
                octets(row.traffic.tx_octets),
                count(row.traffic.rx_frames),
                count(row.traffic.tx_frames),
                bits(row.p95_rx_bits_per_s),
                bits(row.p95_tx_bits_per_s),
                bits(row.p95_bits_per_s),
                bits(row.enhanced_bits_per_s),
            ]
        });
        table::write(out, look, &headings, cells)?;
        let Some(first) = rows.first() else { return Ok(()) };
        let (since, until) = (moment(first.since_ms), moment(first.until_ms));
        writeln!(
            out,
            "\n{since} to {until}: {} bins, {} of them incomplete; {} missing.",
            count(first.bins),
            count(first.incomplete_bins),
            count(first.missing_bins)
        )?;
        first.damage.iter().try_for_each(|what| writeln!(out, "The numbers are too low: {what}."))
    }
}

impl Show for BillingBinRow {
    fn subject(&self) -> Option<Subject<'_>> {
        None
    }

    fn show(rows: &[Self], look: &Look, out: &mut impl Write) -> io::Result<()> {
        let headings = [
            text("FROM", 0),
            text("OF", 2),
            text("NAME", 0),
            text("CUSTOMER", 4),
            number("RX", 0),
            number("TX", 0),
            number("RX FRAMES", 5),
            number("TX FRAMES", 5),
            number("RX/S", 3),
            number("TX/S", 3),
            number("COUNTED", 2),
            state("COMPLETE", 1),
        ];
        let cells = rows.iter().map(|row| {
            let complete = match (&row.damage, row.complete) {
                (Some(damage), _) => damage.clone(),
                (None, true) => "yes".to_owned(),
                (None, false) => row.marks.join(" "),
            };
            vec![
                moment(row.start_ms),
                row.scope.clone(),
                row.name.clone(),
                or_dash(row.customer.clone()),
                octets(row.traffic.rx_octets),
                octets(row.traffic.tx_octets),
                count(row.traffic.rx_frames),
                count(row.traffic.tx_frames),
                bits(row.rx_bits_per_s),
                bits(row.tx_bits_per_s),
                format!("{:.0}s", row.observed_s),
                complete,
            ]
        });
        table::write(out, look, &headings, cells)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn csv_is_quoted_where_it_has_to_be() {
        let mut out = Vec::new();
        record(&mut out, &["vif", "a", "Smith, \"the\" baker", "", "1"]).unwrap();
        assert_eq!(out, b"vif,a,\"Smith, \"\"the\"\" baker\",,1\r\n");
    }

    #[test]
    fn records_have_a_field_for_each_heading() {
        let row = r#"{"scope":"vif","name":"a","customer":null,"since_ms":0,"until_ms":300000,"bins":1,"missing_bins":0,
            "incomplete_bins":0,"rx_frames":1,"rx_octets":60,"tx_frames":0,"tx_octets":0,"p95_rx_bits_per_s":1,
            "p95_tx_bits_per_s":0,"p95_bits_per_s":1,"enhanced_bits_per_s":0}"#;
        let row: BillingRow = serde_json::from_str(row).unwrap();
        assert_eq!(row.fields().len(), BillingRow::HEADINGS.len());
        assert_eq!(row.fields()[4], "1970-01-01T00:05:00.000Z");
        let bin = r#"{"scope":"vif","name":"a","customer":"x","start_ms":0,"end_ms":300000,"rx_frames":1,"rx_octets":60,
            "tx_frames":0,"tx_octets":0,"rx_bits_per_s":1,"tx_bits_per_s":0,"observed_s":299.5,"complete":false,
            "marks":["start","stop"]}"#;
        let bin: BillingBinRow = serde_json::from_str(bin).unwrap();
        assert_eq!(bin.fields().len(), BillingBinRow::HEADINGS.len());
        assert_eq!(bin.fields()[11..], ["299.500", "false", "start stop", ""]);
    }
}
