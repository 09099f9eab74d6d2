//! The history of configurations: its commands and columns.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Subcommand;

use super::edits::TermsArgs;
use super::output::Show;
use super::table::{self, Look, number, prose, state, text};
use super::tables::or_dash;
use super::units::moment;
use crate::admin::protocol::{Apply, MAX_FILE, Request, Terms, Upload};
use crate::admin::rows::{ChangeResult, ConfigText, HistoryRow, Routing, RoutingState};

#[derive(Subcommand, Debug)]
pub(super) enum Config {
    /// Who committed which configuration, when, and how; the oldest first
    ///
    /// USER is the user of the process that asked (SO_PEERCRED). LOGIN is the user who had logged in
    /// (/proc/PID/loginuid), whatever user they became since; `-` where nobody had, or the kernel keeps no such
    /// thing. SUDO BY is who called sudo(8): root can write anything into an environment, so what it says there
    /// (SUDO_UID) is shown only where the nearest process above that is not root's is that user's. The name
    /// beside it is sudo's word alone.
    History {
        #[command(flatten)]
        look: Look,
    },
    /// The running configuration, or another of the history
    Show {
        /// Its number
        number: Option<u64>,
        #[command(flatten)]
        secrets: Secrets,
    },
    /// What the last change changed; what changed since N; or from N to M
    ///
    /// As `diff -u` has it. A password that changed is a line of stars that differs.
    Diff {
        /// The older one's number
        from: Option<u64>,
        /// The newer one's number; the running one if not given
        to: Option<u64>,
        #[command(flatten)]
        secrets: Secrets,
    },
    /// Show what a file would change and cut, and what is wrong with it
    ///
    /// Prefix lists are looked for beside the configuration file, not beside this one.
    Check {
        /// The file; `-` is standard input
        file: PathBuf,
    },
    /// Make a file the configuration, at once and in the configuration file
    ///
    /// With --confirm (one second to a day) the configuration before comes back after that time, unless `config
    /// confirm` comes first. It comes back too where the station ends meanwhile, however it ends: at the next
    /// start, before anything is forwarded. Until it is decided other changes are refused.
    Apply {
        /// The file; `-` is standard input
        file: PathBuf,
        /// Go back by itself after this time, like 60s or 10m, unless `config confirm` comes before
        #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
        confirm: Option<Duration>,
        #[command(flatten)]
        terms: TermsArgs,
    },
    /// Keep a configuration that would go back by itself
    Confirm,
    /// Take an older configuration into use again: the one before, or the one with a number
    ///
    /// What comes back gets a number of its own. Without a number, damaged ones and those that nobody confirmed
    /// are skipped.
    Rollback {
        /// Its number
        number: Option<u64>,
        /// Come back by itself after this time, like 60s or 10m, unless `config confirm` comes before
        #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
        confirm: Option<Duration>,
        #[command(flatten)]
        terms: TermsArgs,
    },
}

#[derive(clap::Args, Debug)]
pub(super) struct Secrets {
    /// With passwords, for root and the daemon's own user; otherwise they are stars
    #[arg(long)]
    secrets: bool,
}

impl Config {
    /// What goes to the station; the octets of a file are not known yet.
    pub(super) fn request(&self) -> Request {
        let name = |file: &Path| file.display().to_string();
        // What is less than a second is refused there.
        let seconds = |confirm: &Option<Duration>| confirm.map(|time| time.as_secs());
        match self {
            Config::History { .. } => Request::ConfigHistory,
            Config::Show { number, secrets } => {
                Request::ConfigShow { number: *number, secrets: secrets.secrets }
            }
            Config::Diff { from, to, secrets } => {
                Request::ConfigDiff { from: *from, to: *to, secrets: secrets.secrets }
            }
            Config::Check { file } => Request::ConfigCheck(Upload { octets: 0, name: name(file) }),
            Config::Apply { file, confirm, .. } => Request::ConfigApply(Apply {
                octets: 0,
                name: name(file),
                confirm_s: seconds(confirm),
            }),
            Config::Confirm => Request::ConfigConfirm,
            Config::Rollback { number, confirm, .. } => {
                Request::ConfigRollback { number: *number, confirm_s: seconds(confirm) }
            }
        }
    }

    pub(super) fn terms(&self) -> Terms {
        match self {
            Config::Apply { terms, .. } | Config::Rollback { terms, .. } => terms.terms(),
            _ => Terms::default(),
        }
    }
}

/// The text that goes with a request; the request learns how long it is.
pub(super) fn text_of(request: &mut Request) -> io::Result<String> {
    let (octets, name) = match request {
        Request::ConfigCheck(Upload { octets, name })
        | Request::ConfigApply(Apply { octets, name, .. }) => (octets, name),
        _ => return Ok(String::new()),
    };
    let mut text = String::new();
    // One octet more, so that the station says what is too long.
    let read = match name.as_str() {
        "-" => io::stdin().take(MAX_FILE + 1).read_to_string(&mut text),
        name => File::open(name).and_then(|file| file.take(MAX_FILE + 1).read_to_string(&mut text)),
    };
    read.map_err(|error| io::Error::new(error.kind(), format!("cannot read {name}: {error}")))?;
    *octets = text.len() as u64;
    Ok(text)
}

/// The names of users that this server knows.
fn users() -> HashMap<u32, String> {
    let passwd = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    let user = |line: &str| {
        let mut fields = line.split(':');
        let name = fields.next()?.to_owned();
        Some((fields.nth(1)?.parse().ok()?, name))
    };
    passwd.lines().filter_map(user).collect()
}

impl Show for HistoryRow {
    fn show(rows: &[Self], look: &Look, out: &mut impl Write) -> io::Result<()> {
        let users = users();
        let user = |uid: u32| match users.get(&uid) {
            Some(name) => format!("{name} ({uid})"),
            None => uid.to_string(),
        };
        let headings = [
            number("NUMBER", 0),
            state("STATE", 0),
            text("TIME", 1),
            text("USER", 1),
            text("LOGIN", 4),
            text("SUDO BY", 3),
            prose("COMMAND", 2),
            prose("COMMENT", 1),
        ];
        let lines = rows.iter().map(|row| {
            let sudo = match (row.sudo_uid, &row.sudo_user) {
                (Some(uid), Some(name)) => Some(format!("{name} ({uid})")),
                (uid, _) => uid.map(user),
            };
            vec![
                row.number.to_string(),
                row.state.clone(),
                or_dash(row.time_ms.map(moment)),
                or_dash(row.uid.map(user)),
                or_dash(row.login_uid.map(user)),
                or_dash(sudo),
                row.command.clone(),
                row.comment.clone().unwrap_or_default(),
            ]
        });
        table::write(out, look, &headings, lines)?;
        for row in rows {
            let number = row.number;
            if !row.trouble.is_empty() {
                writeln!(out, "\n{}", row.trouble)?;
            }
            match (row.until_ms.map(moment), row.confirmed_ms.map(moment), row.back_to) {
                (Some(_), Some(when), _) => {
                    let by = row
                        .confirmed_uid
                        .map_or_else(String::new, |uid| format!(" by {}", user(uid)));
                    writeln!(out, "\n{number}: confirmed {when}{by}")?;
                }
                (Some(until), None, Some(back_to)) if row.state == "unconfirmed" => {
                    writeln!(
                        out,
                        "\n{number}: goes back to {back_to} at {until} unless `stationctl config confirm` comes before"
                    )?;
                }
                _ => {}
            }
        }
        Ok(())
    }
}

impl Show for ConfigText {
    fn show(rows: &[Self], _look: &Look, out: &mut impl Write) -> io::Result<()> {
        rows.iter().try_for_each(|row| match (row.since, row.text.is_empty()) {
            (Some(since), true) => {
                writeln!(out, "configurations {since} and {} have the same text", row.number)
            }
            _ => out.write_all(row.text.as_bytes()),
        })
    }
}

impl Show for ChangeResult {
    fn show(rows: &[Self], _look: &Look, out: &mut impl Write) -> io::Result<()> {
        for result in rows {
            for change in &result.changes {
                writeln!(out, "{change}")?;
            }
            for note in &result.notes {
                writeln!(out, "note: {note}")?;
            }
            let number = result.configuration;
            if result.dry_run {
                let what = if result.changes.is_empty() { "nothing" } else { "the above" };
                if !result.cuts.is_empty() {
                    writeln!(out, "it would cut live service:\n  {}", result.cuts.join("\n  "))?;
                }
                writeln!(out, "{what} would change; configuration {number} runs")?;
            } else {
                writeln!(out, "configuration {number}")?;
            }
            if let Some(routing) = &result.routing {
                show_routing(routing, out)?;
            }
            if let Some(until) = result.until_ms.map(moment) {
                writeln!(
                    out,
                    "goes back by itself at {until}: `stationctl config confirm` keeps it"
                )?;
            }
        }
        Ok(())
    }
}

/// Says what BIRD has not done yet; nothing where all is done.
fn show_routing(routing: &Routing, out: &mut impl Write) -> io::Result<()> {
    let Routing { state, reason, refiltered, .. } = routing;
    match state {
        RoutingState::Followed if *refiltered == 0 => Ok(()),
        RoutingState::Followed => {
            let sessions = if *refiltered == 1 { "session has" } else { "sessions have" };
            writeln!(
                out,
                "routing: {refiltered} BGP {sessions} other filters: routes are passing them now"
            )
        }
        RoutingState::Pending => {
            writeln!(out, "routing: pending: {reason}; `stationctl events` says when it follows")
        }
        RoutingState::Refused => writeln!(
            out,
            "routing: refused, BIRD goes on with what it had: {reason}; `stationctl config rollback` takes the change back"
        ),
    }
}
