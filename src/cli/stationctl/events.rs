//! `events`: its arguments, and how events are told.

use std::io::Write;
use std::time::Duration;

use clap::Args as ClapArgs;
use clap::builder::PossibleValuesParser;

use super::Failure;
use super::args::Args;
use super::capture::end_by_signals;
use super::filter::{Group, Subject};
use super::period::{Month, moment as moment_of, month};
use super::units::moment;
use crate::admin::client::Client;
use crate::admin::protocol::{EventFilter, Request, Since};
use crate::admin::rows::{Event, Kind, Record};
use crate::clock::ago_ms;

/// What is shown without `--since`.
const A_DAY: Duration = Duration::from_secs(86_400);

/// Show what happened: ports, VIFs, BGP, BFD, limits, security, configurations, outages
///
/// The oldest first, a line each: time in UTC, number, kind, and what it was; with --json an object a line.
/// station-events(7) has the kinds and their fields. Filters by VIF and port leave out what is about
/// others, but not the station's own starts, stops and outages. Events that are missing are one of kind
/// `lost`, whatever is asked for.
#[derive(ClapArgs, Debug)]
pub(super) struct EventArgs {
    /// Go on with those to come, until Ctrl-C
    #[arg(short, long)]
    follow: bool,
    /// What came after the event with this number; or since so long ago, like 12h; or since a moment, like
    /// 2026-11-28 or 2026-11-28T12:00:00Z. Default: a day ago; with --follow those to come
    #[arg(long, value_name = "SEQ|TIME", value_parser = since)]
    since: Option<Since>,
    /// What is older than a time ago or a moment, written likewise
    #[arg(long, value_name = "TIME", value_parser = moment_of, conflicts_with = "follow")]
    until: Option<u64>,
    /// Those of a calendar month in UTC, like 2026-11
    #[arg(long, value_name = "YYYY-MM", value_parser = month, conflicts_with_all = ["since", "until", "follow"])]
    month: Option<Month>,
    /// Only those about this VIF, and those about the station that concern it
    #[arg(long, value_name = "NAME", conflicts_with = "port")]
    vif: Option<String>,
    /// Only those about this port and the VIFs on it, and those about the station that concern it
    #[arg(long, value_name = "NAME")]
    port: Option<String>,
    /// Only those about this customer's ports, VIFs and VRFs, and those about the station that concern them
    #[arg(long, value_name = "NAME", conflicts_with_all = ["vif", "port"])]
    customer: Option<String>,
    /// Only these kinds, which station-events(7) explains
    #[arg(long, value_name = "KIND", value_delimiter = ',', hide_possible_values = true,
          value_parser = PossibleValuesParser::new(Kind::ALL.iter().map(|kind| kind.name())))]
    kind: Vec<String>,
}

impl EventArgs {
    /// What goes to the station.
    pub(super) fn request(&self) -> Request {
        let (since, until_ms) = match self.month {
            Some(Month(first, next)) => (Some(Since::TimeMs(first)), Some(next)),
            None => (self.since, self.until),
        };
        let a_day_ago = || Since::TimeMs(ago_ms(A_DAY));
        Request::Events(EventFilter {
            since: since.or_else(|| (!self.follow).then(a_day_ago)),
            until_ms,
            follow: self.follow,
            vif: self.vif.clone(),
            port: self.port.clone(),
            kinds: self.kind.clone(),
        })
    }

    /// Shows events, a line each, as they come.
    pub(super) fn run(&self, args: &Args, out: &mut impl Write) -> Result<(), Failure> {
        let customer = self.customer.as_ref();
        let customer = customer.map(|name| Group::of_customer(&args.socket, name)).transpose()?;
        let mut client = Client::connect(&args.socket, &self.request())?;
        if self.follow {
            end_by_signals(client.handle()?)?;
        }
        while let Some(line) = client.line::<Record>()? {
            let concerns = |record: &&Record| {
                let customer = customer.as_ref();
                customer.is_none_or(|it| subject(&record.event).is_some_and(|of| it.has(&of)))
            };
            for record in line.rows.iter().filter(concerns) {
                if args.json {
                    serde_json::to_writer(&mut *out, record).map_err(std::io::Error::from)?;
                    writeln!(out)?;
                } else {
                    let (kind, time) = (record.event.kind().name(), moment(record.time_ms));
                    writeln!(out, "{time} {:>6} {kind:<14} {}", record.seq, record.event)?;
                }
            }
            out.flush()?;
        }
        Ok(())
    }
}

/// What an event is about; none of the station's own affairs.
fn subject(event: &Event) -> Option<Subject<'_>> {
    match event {
        Event::RouteRepair { vrf, .. } => Some(Subject::Vrf(vrf)),
        event if event.is_of_all_vifs() => Some(Subject::Station),
        event => event.vif().map(Subject::Vif).or_else(|| event.port().map(Subject::Port)),
    }
}

/// A number, a time ago or a moment.
fn since(text: &str) -> Result<Since, String> {
    if let Ok(seq) = text.parse() {
        return Ok(Since::Seq(seq));
    }
    let moment = moment_of(text).map(Since::TimeMs);
    moment.map_err(|help| format!("write the number of an event, or {}", &help["write ".len()..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn since_is_a_number_or_a_moment() {
        assert_eq!(since("17"), Ok(Since::Seq(17)));
        assert_eq!(since("2026-11-28"), Ok(Since::TimeMs(1_795_824_000_000)));
        assert!(
            since("yesterday").unwrap_err().starts_with("write the number of an event, or a time")
        );
    }
}
