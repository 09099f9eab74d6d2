//! `drill` and `show drills`: their arguments, and what they print.

use std::io::{self, Write};
use std::net::IpAddr;

use clap::{Args as ClapArgs, Subcommand};

use super::filter::Subject;
use super::output::Show;
use super::table::{self, Look, number, prose, state, text};
use super::tables::or_dash;
use super::units::{count, moment};
use crate::admin::protocol::{DrillRequest, Request, Terms, VifName};
use crate::admin::rows::{DrillFlow, DrillRow};

/// Test the failover: end BGP sessions of a VIF for a time
///
/// Whether traffic finds another way is known best before it has to. Each session ends by a Cease, Administrative
/// Shutdown, whose message tells the far end in words that it is a drill and when the session comes back (RFC 9003).
/// It comes back by itself, also where the station crashes, is restarted or its configuration changes meanwhile.
#[derive(Subcommand, Debug)]
pub(super) enum Drill {
    Start(Start),
    /// Start the sessions again before the time
    Stop {
        /// Name of the VIF
        vif: String,
    },
    /// Drills, oldest first: when, what came of them, and where traffic went
    ///
    /// OUT AFTER and IN AFTER are measured over the first ten seconds by reading the counters every 100 ms: from the Cease
    /// until the last frame left by the VIF or was lost in its VRF, and until the last one came in by it. `-`: it had
    /// not ended by then, is being measured, or the station was started meanwhile. LOST is counted as `show outages` does,
    /// and with it what a strict source_check drops of what the far end still sends by the VIF (spoofed_source).
    History {
        #[command(flatten)]
        look: Look,
    },
}

/// Take the sessions of a VIF down, and say what would go dark
///
/// Where no other way leads to a prefix, the prefixes are named and nothing changes, unless --anyway says so: the rule
/// of `drain`. The VIF itself stays up, and so does its BFD.
#[derive(ClapArgs, Debug)]
pub(super) struct Start {
    /// Name of the VIF
    vif: String,
    /// Only the session with this peer
    #[arg(long, value_name = "ADDRESS")]
    peer: Option<IpAddr>,
    /// How long, in minutes: 0.2 (12 seconds) to 4320 (3 days)
    #[arg(long, value_name = "N", value_parser = seconds)]
    minutes: u64,
    /// Also where no other way leads to some prefixes
    #[arg(long)]
    anyway: bool,
    /// Why: one line, an order's number for example
    #[arg(long, value_name = "TEXT")]
    comment: Option<String>,
}

/// Seconds of so many minutes.
fn seconds(minutes: &str) -> Result<u64, String> {
    let wrong = || "give minutes from 0.2 to 4320, as 30".to_owned();
    let minutes: f64 = minutes.parse().map_err(|_| wrong())?;
    if !(0.2..=4320.0).contains(&minutes) {
        return Err(wrong());
    }
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "12 to 259,200")]
    Ok((minutes * 60.0).round() as u64)
}

impl Drill {
    /// What goes to the station.
    pub(super) fn request(&self) -> Request {
        match self {
            Drill::Start(Start { vif, peer, minutes, anyway, .. }) => {
                Request::DrillStart(DrillRequest {
                    vif: vif.clone(),
                    peer: *peer,
                    seconds: *minutes,
                    anyway: *anyway,
                })
            }
            Drill::Stop { vif } => Request::DrillStop(VifName { name: vif.clone() }),
            Drill::History { .. } => Request::ShowDrills { over: true },
        }
    }

    /// What goes with it.
    pub(super) fn terms(&self) -> Terms {
        let comment = match self {
            Drill::Start(start) => start.comment.clone(),
            Drill::Stop { .. } | Drill::History { .. } => None,
        };
        Terms { comment, ..Terms::default() }
    }
}

/// `120 ms`, or a dash.
fn ms(after: Option<u64>) -> String {
    or_dash(after.map(|ms| format!("{} ms", count(ms))))
}

fn went(flow: &DrillFlow) -> String {
    let DrillFlow { vif, before_frames_per_s, frames_per_s } = flow;
    format!("{vif} {before_frames_per_s:.0} to {frames_per_s:.0}/s")
}

impl Show for DrillRow {
    fn subject(&self) -> Option<Subject<'_>> {
        Some(Subject::Vif(&self.vif))
    }

    fn state(&self) -> Option<&str> {
        Some(&self.state)
    }

    fn show(rows: &[Self], look: &Look, out: &mut impl Write) -> io::Result<()> {
        let headings = [
            text("VIF", 0),
            text("PEERS", 3),
            state("STATE", 0),
            text("SINCE", 1),
            text("UNTIL", 2),
            text("ENDED", 4),
            number("DARK", 2),
            number("OUT AFTER", 1),
            number("IN AFTER", 1),
            number("LOST", 0),
            text("WENT TO", 2),
            text("BY", 5),
            prose("COMMENT", 6),
        ];
        let rows = rows.iter().map(|drill| {
            let peers: Vec<String> = drill.peers.iter().map(ToString::to_string).collect();
            let went: Vec<String> = drill.went_to.iter().map(went).collect();
            vec![
                drill.vif.clone(),
                peers.join("\n"),
                drill.state.clone(),
                moment(drill.since_ms),
                moment(drill.end_ms.unwrap_or(drill.until_ms)),
                or_dash(drill.ended.clone()),
                count(drill.dark_prefixes),
                ms(drill.tx_switch_ms),
                ms(drill.rx_switch_ms),
                or_dash(drill.frames_lost.map(count)),
                went.join("\n"),
                or_dash(drill.sudo_user.clone().or(drill.uid.map(|uid| uid.to_string()))),
                or_dash(drill.comment.clone()),
            ]
        });
        table::write(out, look, &headings, rows)
    }
}
