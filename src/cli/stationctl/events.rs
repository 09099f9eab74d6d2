//! `events`: its arguments, and how events are told.

use std::io::Write;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use clap::Args as ClapArgs;
use clap::builder::PossibleValuesParser;

use super::Failure;
use super::args::Args;
use super::capture::end_by_signals;
use super::failover::moment;
use crate::admin::client::Client;
use crate::admin::protocol::{EventFilter, Request, Since};
use crate::admin::rows::{Kind, Record};

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
    /// Only those about this VIF, and those about the station that concern it
    #[arg(long, value_name = "NAME", conflicts_with = "port")]
    vif: Option<String>,
    /// Only those about this port and the VIFs on it, and those about the station that concern it
    #[arg(long, value_name = "NAME")]
    port: Option<String>,
    /// Only these kinds, which station-events(7) explains
    #[arg(long, value_name = "KIND", value_delimiter = ',', hide_possible_values = true,
          value_parser = PossibleValuesParser::new(Kind::ALL.iter().map(|kind| kind.name())))]
    kind: Vec<String>,
}

impl EventArgs {
    /// What goes to the station.
    pub(super) fn request(&self) -> Request {
        let a_day_ago = || Since::TimeMs(milliseconds(SystemTime::now() - A_DAY));
        Request::Events(EventFilter {
            since: self.since.or_else(|| (!self.follow).then(a_day_ago)),
            follow: self.follow,
            vif: self.vif.clone(),
            port: self.port.clone(),
            kinds: self.kind.clone(),
        })
    }

    /// Shows events, a line each, as they come.
    pub(super) fn run(&self, args: &Args, out: &mut impl Write) -> Result<(), Failure> {
        let mut client = Client::connect(&args.socket, &self.request())?;
        if self.follow {
            end_by_signals(client.handle()?)?;
        }
        while let Some(line) = client.line::<Record>()? {
            for record in &line.rows {
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

fn milliseconds(time: SystemTime) -> u64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// A number, a length of time or a moment.
fn since(text: &str) -> Result<Since, String> {
    if let Ok(seq) = text.parse() {
        return Ok(Since::Seq(seq));
    }
    if let Ok(ago) = humantime::parse_duration(text) {
        let then = SystemTime::now().checked_sub(ago).unwrap_or(UNIX_EPOCH);
        return Ok(Since::TimeMs(milliseconds(then)));
    }
    let day = format!("{text}T00:00:00Z");
    let moment = humantime::parse_rfc3339_weak(text).or_else(|_| humantime::parse_rfc3339(&day));
    moment.map(|time| Since::TimeMs(milliseconds(time))).map_err(|_| {
        "write the number of an event, a time like 12h, or a moment in UTC like 2026-11-28T12:00:00Z".to_owned()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn since_is_a_number_a_time_or_a_moment() {
        assert_eq!(since("17"), Ok(Since::Seq(17)));
        let noon = 1_795_867_200_000;
        for text in ["2026-11-28T12:00:00Z", "2026-11-28 12:00:00"] {
            assert_eq!(since(text), Ok(Since::TimeMs(noon)), "{text}");
        }
        assert_eq!(since("2026-11-28"), Ok(Since::TimeMs(noon - 43_200_000)));
        assert!(matches!(since("12h"), Ok(Since::TimeMs(_))));
        for text in ["", "-1", "yesterday", "2026-13-01"] {
            assert!(since(text).is_err(), "{text}");
        }
    }
}
