//! What a change would cut of live service, for the operator who is asked before it does.

use std::fmt;

use super::change::{Changes, stopping};
use super::rates;
use crate::admin::protocol::{ErrorKind, Refusal};
use crate::admin::rows::{BgpRow, bits_per_second};
use crate::bird::{self, Session};
use crate::config::model::Config;
use crate::config::{Cuts, cuts};

/// Most lines that an operator reads of it.
const LINES: usize = 20;

/// The window of which is said what passes now: long enough for what comes in bursts.
const NOW_S: u64 = 10;

/// The refusal of a change to which nobody has said yes.
pub(super) fn refusal(cuts: &[String]) -> Refusal {
    let message = format!("this cuts live service:\n  {}\nnothing has changed", cuts.join("\n  "));
    Refusal::new(ErrorKind::Consent, message)
}

/// What a reset of sessions cuts: those that are up.
pub(super) fn resets(rows: &[BgpRow]) -> Vec<String> {
    let words =
        |row: &BgpRow| format!("bgp {} on vif {}: starts anew{}", row.peer, row.vif, carries(row));
    rows.iter().filter(|row| row.is_up()).map(words).collect()
}

/// What is said of a session that is up and would be cut.
fn carries(row: &BgpRow) -> String {
    format!(" (up, prefixes accepted: {})", row.accepted)
}

impl Changes {
    /// What a configuration cuts of the running one, a line each.
    pub(super) fn cuts(&self, running: &Config, next: &Config) -> Result<Vec<String>, Refusal> {
        let mut found = cuts(running, next);
        let passes = self.passes(&mut found);
        let up = self.sessions_up(running, &mut found)?;
        Ok(lines(&found, passes, &up))
    }

    /// All that forwards and talks now: the station is to end.
    pub(super) fn all(&self, running: &Config, words: &str) -> Result<Vec<String>, Refusal> {
        let vifs = running.vifs.iter().filter(|vif| vif.up).count();
        let nothing = Config { vifs: Vec::new(), ..running.clone() };
        let mut found = cuts(running, &nothing);
        let passes = self.passes(&mut found);
        let up = self.sessions_up(running, &mut found)?;
        Ok(vec![format!("VIFs: {vifs}, {passes}, {}; {words}", up.words(found.sessions.len()))])
    }

    /// Says of each VIF how much passes by it, and gives the sum.
    fn passes(&self, cuts: &mut Cuts) -> Passes {
        let known = self.rates.read(|rates| rates.by_vif(NOW_S));
        let mut sum = Passes::default();
        for cut in &mut cuts.vifs {
            let Some(passed) = known.get(&cut.vif) else { continue };
            let window = rates::window(passed);
            let passes = Passes { rx: window.rx_bits_per_s, tx: window.tx_bits_per_s };
            cut.what += &format!(" ({passes})");
            sum = Passes { rx: sum.rx + passes.rx, tx: sum.tx + passes.tx };
        }
        sum
    }

    /// Leaves those sessions that are up, or of which nobody knows.
    fn sessions_up(&self, running: &Config, cuts: &mut Cuts) -> Result<Up, Refusal> {
        if cuts.sessions.is_empty() {
            return Ok(Up::default());
        }
        let asked = |session: &Session| {
            let same =
                |cut: &crate::config::Cut| cut.vif == session.vif && cut.peer == Some(session.peer);
            cuts.sessions.iter().any(same)
        };
        let mut sessions = bird::sessions(running);
        sessions.retain(asked);
        let questions = self.desk.ask(|control| control.bird.questions()).ok_or_else(stopping)?;
        match questions.summary(&sessions) {
            Ok(rows) => {
                let mut up = Up::default();
                cuts.sessions.retain_mut(|cut| {
                    let of = |row: &&BgpRow| *row.vif == *cut.vif && Some(row.peer) == cut.peer;
                    let row = rows.iter().find(of).filter(|row| row.is_up());
                    if let Some(row) = row {
                        up.prefixes += row.accepted;
                        cut.what += &carries(row);
                    }
                    row.is_some()
                });
                Ok(up)
            }
            Err(error) => Ok(Up { unknown: Some(error.to_string()), ..Up::default() }),
        }
    }
}

/// What passes by VIFs that would be cut: bits a second.
#[derive(Clone, Copy, Default)]
struct Passes {
    rx: f64,
    tx: f64,
}

impl fmt::Display for Passes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [rx, tx] = [self.rx, self.tx].map(bits_per_second);
        write!(f, "now {rx} in, {tx} out")
    }
}

/// What the sessions that would be cut carry.
#[derive(Default)]
struct Up {
    prefixes: u64,
    /// Why nobody knows which sessions are up.
    unknown: Option<String>,
}

impl Up {
    fn words(&self, sessions: usize) -> String {
        match &self.unknown {
            None => format!("BGP sessions that are up: {sessions}, prefixes: {}", self.prefixes),
            Some(why) => {
                format!("BGP sessions: {sessions}, and which of them are up is not known ({why})")
            }
        }
    }
}

fn lines(cuts: &Cuts, passes: Passes, up: &Up) -> Vec<String> {
    let all = cuts.vifs.iter().chain(&cuts.sessions);
    let all = all.map(ToString::to_string).chain(cuts.exchanges.iter().cloned());
    let mut lines: Vec<String> = all.take(LINES).collect();
    let count = cuts.vifs.len() + cuts.sessions.len() + cuts.exchanges.len();
    if count > LINES {
        lines.push(format!("and {} more", count - LINES));
    }
    if count > 1 || up.unknown.is_some() && count > 0 {
        lines.push(format!(
            "together VIFs: {}, {passes}, {}",
            cuts.vifs.len(),
            up.words(cuts.sessions.len())
        ));
    }
    lines
}
