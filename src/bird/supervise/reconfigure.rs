//! `configure`, and what follows it within BIRD: it ends the sessions that are gone, and passes the routes of those
//! whose filters have changed through the new ones.

use std::time::{Duration, Instant};

use tracing::info;

use super::{Failure, Supervisor};
use crate::bird::client::{Client, ClientError, Line};
use crate::bird::parse;
use crate::bird::process::ProcessError;
use crate::bird::progress::Progress;
use crate::events::Reporter;

/// The class of BIRD's log that says what a reconfiguration does, and how much of it BIRD keeps, in octets.
const ECHO: &str = "echo { info } 65536";
/// What `show status` ends with where BIRD neither reconfigures nor ends.
const RUNNING: &str = "Daemon is up and running";
/// Between two questions whether BIRD has reconfigured: at first, and at most.
const ASK: (Duration, Duration) = (Duration::from_millis(2), Duration::from_millis(200));

/// Whether a line says that a session has another filter, which its routes are to pass: BIRD requests them from the
/// peer (RFC 2918), and goes through those that it advertises. It does not say when it is through.
fn is_refiltered(line: &Line) -> bool {
    matches!(line, Line::Log(text) if text.starts_with("Reloading channel b."))
}

impl Supervisor {
    /// Has BIRD run what is wanted, and follows what it does in a thread.
    pub(super) fn reconfigure(&mut self) -> Result<(), Failure> {
        self.doing("BIRD has not answered yet");
        let mut client = self.client()?;
        // One that was shut a moment ago, which is about to be told, must not start by this.
        let sessions = parse::protocols(client.ask("show protocols \"b.*\"")?);
        let sessions = sessions.into_iter().filter(parse::Protocol::is_shut);
        self.change_shut(|shut| shut.extend(sessions.map(|session| session.name)));
        self.write()?;
        client.command(ECHO)?;
        let mut refiltered = 0;
        let said =
            client.hear("configure", |line| refiltered += u64::from(is_refiltered(&line)))?;
        info!(said = said.last().map_or("", |line| line.as_str()), "reconfigured BIRD");
        let (progress, report, number) = (self.progress.clone(), self.report.clone(), self.number);
        std::thread::Builder::new().name("bird-follows".into()).spawn(move || {
            // An error is BIRD's end: the supervisor hears of that, and begins anew.
            drop(follow(client, refiltered, number, &progress, &report));
        })?;
        Ok(())
    }

    /// Writes what is wanted, without what is shut, drilled or leads nowhere.
    pub(super) fn write(&mut self) -> Result<(), ProcessError> {
        let Some(wanted) = &self.wanted else { return Ok(()) };
        let dead = wanted.dead_ways(&self.links.dead(Instant::now()));
        let down = self.shut.iter().chain(self.drilled.keys()).cloned().collect();
        self.place.write(&wanted.text_without(&down, &dead))?;
        self.dead_ways = dead;
        Ok(())
    }
}

/// Follows a reconfiguration until BIRD is done with it, and with those that it has queued since.
fn follow(
    mut client: Client,
    mut refiltered: u64,
    number: u64,
    progress: &Progress,
    report: &Reporter,
) -> Result<(), ClientError> {
    progress.doing(number, "BIRD ends the sessions that are gone");
    let mut pause = ASK.0;
    loop {
        let mut messages = false;
        let status = client.hear("show status", |line| {
            messages = true;
            refiltered += u64::from(is_refiltered(&line));
        });
        let status = match status {
            // It hangs, or is killed for that. The answer may still come, and is one to the next question.
            Err(error) if error.is_silence() => continue,
            status => status?,
        };
        // BIRD writes messages that it has kept before it answers, a piece of them at a time.
        let is_running = status.last().is_some_and(|line| line == RUNNING);
        if is_running && !messages {
            progress.followed(number, refiltered, report);
            return Ok(());
        }
        if !is_running {
            std::thread::sleep(pause);
            pause = (pause * 2).min(ASK.1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As BIRD 2.0.12 writes them.
    #[test]
    fn sessions_with_other_filters_are_told_from_what_else_bird_says() {
        let log = |text: &str| is_refiltered(&Line::Log(text.to_owned()));
        assert!(log("Reloading channel b.v0.2.fd00::2.ipv6"));
        assert!(!log("Reloading channel k4.vpc-a.ipv4"));
        assert!(!log("Reconfigured"));
        assert!(!is_refiltered(&Line::Text(3, "Reloading channel b.v0.2.fd00::2.ipv6".into())));
    }
}
