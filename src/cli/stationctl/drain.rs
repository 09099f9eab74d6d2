//! `drain`, `undrain` and `show drains`: their arguments, what they print, and how long is waited.

use std::io::{self, IsTerminal, Write};
use std::thread::sleep;
use std::time::{Duration, Instant};

use clap::{Args as ClapArgs, Subcommand};
use serde::Serialize;

use super::Failure;
use super::args::Args;
use super::filter::Subject;
use super::output::{self, Show};
use super::table::{self, Look, number, prose, state, text};
use super::tables::or_dash;
use super::units::{count, moment};
use crate::admin::client::{self, Client};
use crate::admin::protocol::{DrainRequest, DrainScope, DrainTarget, Request, Terms};
use crate::admin::rows::{ChangeResult, DrainRow, Routing, RoutingState};

/// Between two looks at what still passes.
const LOOK: Duration = Duration::from_secs(1);

/// What is drained.
#[derive(Subcommand, Debug)]
enum Target {
    /// One VIF
    Vif {
        /// Its name
        #[arg(value_name = "NAME")]
        vif: String,
    },
    /// All VIFs of a port
    Port {
        /// Its name
        #[arg(value_name = "NAME")]
        port: String,
    },
    /// All VIFs
    Station,
}

impl Target {
    fn named(&self) -> DrainTarget {
        match self {
            Target::Vif { vif } => DrainTarget { scope: DrainScope::Vif, name: Some(vif.clone()) },
            Target::Port { port } => {
                DrainTarget { scope: DrainScope::Port, name: Some(port.clone()) }
            }
            Target::Station => DrainTarget { scope: DrainScope::Station, name: None },
        }
    }
}

/// Take a VIF, a port or the station out of service without loss, and wait until it is safe to unplug
///
/// What the station itself sends there goes other ways first, at once. Then the peers are told: what is announced to
/// them carries the community GRACEFUL_SHUTDOWN (RFC 8326), and what they announce gets local preference 0. Sessions
/// stay up, and what still comes is forwarded. The command waits until no frame of others' passed for three seconds in
/// either direction; where the time is over before, it says what still flows, and the exit status is 4. The drain goes
/// on then, as it does where the command is interrupted: `show drains` says how it stands.
///
/// Where no other way leads to a prefix, the prefixes are named and nothing changes, unless --anyway says so. A prefix
/// that a shorter route covers has another way; the subnets of the VIFs themselves are not looked at.
///
/// It lasts until `undrain`, over restarts and crashes; it is no part of the configuration, and a VIF that is added to
/// a drained port is drained too. Outages meanwhile are planned ones: `show sla` counts the whole time as PLANNED.
#[derive(ClapArgs, Debug)]
pub(super) struct DrainArgs {
    #[command(subcommand)]
    target: Target,
    /// Also where no other way leads to some prefixes
    #[arg(long, global = true)]
    anyway: bool,
    /// It is quiet where no more frames a second pass than this, both directions together
    #[arg(long, global = true, value_name = "FRAMES", default_value_t = 0)]
    at_most: u64,
    /// How long is waited for that, like 90s or 10m
    #[arg(long, global = true, value_name = "TIME", default_value = "2m",
        value_parser = humantime::parse_duration)]
    wait: Duration,
    /// Do not wait: neither for BIRD nor until it is quiet
    #[arg(long, global = true, conflicts_with = "wait")]
    no_wait: bool,
    /// Why: one line, an order's number for example
    #[arg(long, global = true, value_name = "TEXT")]
    comment: Option<String>,
}

/// Put a VIF, a port or the station back into service that was drained
///
/// All that the drain did is taken back; peers come back as soon as they hear of it.
#[derive(ClapArgs, Debug)]
pub(super) struct UndrainArgs {
    #[command(subcommand)]
    target: Target,
    /// Do not wait for BIRD
    #[arg(long, global = true)]
    no_wait: bool,
    /// Why: one line, an order's number for example
    #[arg(long, global = true, value_name = "TEXT")]
    comment: Option<String>,
}

impl UndrainArgs {
    /// What goes to the station.
    pub(super) fn request(&self) -> Request {
        Request::Undrain(self.target.named())
    }

    /// What goes with it.
    pub(super) fn terms(&self) -> Terms {
        Terms { comment: self.comment.clone(), no_wait: self.no_wait, ..Terms::default() }
    }
}

/// What came of a drain.
#[derive(Serialize)]
struct Done<'a> {
    change: &'a ChangeResult,
    /// How it stands; absent where nobody waited.
    #[serde(skip_serializing_if = "Option::is_none")]
    drain: Option<&'a DrainRow>,
}

impl DrainArgs {
    /// What goes to the station.
    pub(super) fn request(&self) -> Request {
        let (target, anyway, at_most) = (self.target.named(), self.anyway, self.at_most);
        Request::Drain(DrainRequest { target, anyway, at_most })
    }

    /// Drains, and waits until it is quiet.
    pub(super) fn run(&self, args: &Args, out: &mut impl Write) -> Result<(), Failure> {
        let terms =
            Terms { comment: self.comment.clone(), no_wait: self.no_wait, ..Terms::default() };
        let begun = Instant::now();
        let mut client = Client::ask(&args.socket, &self.request(), &terms, "")?;
        let mut change = None;
        while let Some(line) = client.line::<ChangeResult>()? {
            change = line.result.or(change);
        }
        let Some(change) = change else {
            let message = "the answer of the station has no result".to_owned();
            return Err(client::Failure::Unreachable(message).into());
        };
        if !args.json {
            Show::show(std::slice::from_ref(&change), args.look(), out)?;
            out.flush()?;
        }
        let row = if self.no_wait { None } else { Some(self.quiet(args, begun)?) };
        let target = self.target.named();
        if args.json {
            output::json(out, &Done { change: &change, drain: row.as_ref() })?;
        }
        let Some(row) = row else { return Ok(()) };
        if row.quiet_ms.is_none() {
            return Err(Failure::Flows(format!("{}; the drain goes on", flows(&row))));
        }
        if let Some(Routing { state, reason, .. }) = &change.routing
            && *state != RoutingState::Followed
        {
            let message = format!("it is quiet, but peers may not have been told: {reason}");
            return Err(Failure::Flows(message));
        }
        if !args.json {
            writeln!(out, "quiet: it is safe to unplug {target}")?;
        }
        Ok(())
    }

    /// Waits until it is quiet, or until there is no more time. Somebody at a terminal is told what still flows.
    fn quiet(&self, args: &Args, begun: Instant) -> Result<DrainRow, Failure> {
        let target = self.target.named();
        let (told, mut said) = (!args.json && io::stderr().is_terminal(), String::new());
        loop {
            let rows = client::all::<DrainRow>(&args.socket, &Request::ShowDrains)?;
            let is_it = |row: &DrainRow| {
                row.scope == target.scope && target.name.as_ref().is_none_or(|n| *n == row.name)
            };
            let Some(row) = rows.into_iter().find(is_it) else {
                let message = format!("{target} is in service again: somebody took the drain back");
                return Err(Failure::Flows(message));
            };
            if row.quiet_ms.is_some() || begun.elapsed() >= self.wait {
                return Ok(row);
            }
            let line = flows(&row);
            if told && line != said {
                writeln!(io::stderr(), "{line}")?;
                said = line;
            }
            sleep(LOOK);
        }
    }
}

/// What still flows, in a line.
fn flows(row: &DrainRow) -> String {
    if row.rx_frames_per_s + row.tx_frames_per_s == 0.0 {
        return "it is not known yet whether frames still pass".to_owned();
    }
    let (rx, tx) = (rate(row.rx_frames_per_s), rate(row.tx_frames_per_s));
    format!("frames/s that still pass: {rx} in, {tx} out ({})", by_vif(row))
}

fn by_vif(row: &DrainRow) -> String {
    let one = |flow: &crate::admin::rows::DrainFlow| {
        let (rx, tx) = (rate(flow.rx_frames_per_s), rate(flow.tx_frames_per_s));
        format!("{} {rx}/{tx}", flow.vif)
    };
    row.flows.iter().map(one).collect::<Vec<_>>().join(", ")
}

/// Frames a second, less than ten of them with a digit behind the point.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "`as` saturates")]
fn rate(frames: f64) -> String {
    if frames > 0.0 && frames < 10.0 {
        format!("{frames:.1}")
    } else {
        count(frames.round() as u64)
    }
}

impl Show for DrainRow {
    fn subject(&self) -> Option<Subject<'_>> {
        Some(match self.scope {
            DrainScope::Vif => Subject::Vif(&self.name),
            DrainScope::Port => Subject::Port(&self.name),
            DrainScope::Station => Subject::Station,
        })
    }

    fn state(&self) -> Option<&str> {
        Some(&self.state)
    }

    fn show(rows: &[Self], look: &Look, out: &mut impl Write) -> io::Result<()> {
        let headings = [
            text("WHAT", 0),
            text("NAME", 0),
            state("STATE", 0),
            text("SINCE", 1),
            text("QUIET SINCE", 4),
            number("VIFS", 3),
            number("IN/S", 0),
            number("OUT/S", 0),
            text("BY VIF", 5),
            text("UID", 6),
            prose("COMMENT", 2),
        ];
        let rows = rows.iter().map(|row| {
            vec![
                row.scope.word().to_owned(),
                row.name.clone(),
                row.state.clone(),
                moment(row.since_ms),
                or_dash(row.quiet_ms.map(moment)),
                count(row.vifs),
                rate(row.rx_frames_per_s),
                rate(row.tx_frames_per_s),
                by_vif(row),
                or_dash(row.sudo_user.clone().or(row.uid.map(|uid| uid.to_string()))),
                or_dash(row.comment.clone()),
            ]
        });
        table::write(out, look, &headings, rows)
    }
}
