//! A configuration that goes back by itself unless somebody confirms it. Where the station ends meanwhile, the
//! next start takes it back: see `book`.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tracing::{error, info, warn};

use super::announce::by;
use super::change::{Changes, Order, internal, stopping};
use super::draft::Draft;
use crate::admin::protocol::{ErrorKind, Refusal, Request};
use crate::admin::rows::ChangeResult;
use crate::clock::now_ms;
use crate::config::model::Config;
use crate::events::Event;

/// Between two attempts to take back what nobody confirmed.
const RETRY: Duration = Duration::from_secs(5);

/// A configuration that goes back by itself.
pub(super) struct Trial {
    pub number: u64,
    pub back_to: u64,
    /// What comes back, as it ran.
    pub config: Arc<Config>,
    pub text: Arc<str>,
    pub at: Instant,
}

impl Changes {
    /// Keeps a configuration that would go back.
    pub(super) fn confirm(&mut self, order: &Order) -> Result<ChangeResult, Refusal> {
        let Some(trial) = &self.trial else {
            let message = "no configuration waits to be confirmed: `stationctl config history` says what happened";
            return Err(Refusal::new(ErrorKind::Conflict, message));
        };
        let number = trial.number;
        self.book.settle().map_err(internal)?;
        let Some(history) = &self.book.history else { return Err(stopping()) };
        let mut snapshot = history.read(number).map_err(|error| super::history::refusal(&error))?;
        if let Some(confirm) = &mut snapshot.entry.confirm {
            (confirm.confirmed_ms, confirm.confirmed_by) = (Some(now_ms()), order.by.clone());
        }
        history.rewrite(&snapshot).map_err(|error| {
            internal(format!(
                "the confirmation cannot be written: {error}; the configuration still goes back"
            ))
        })?;
        self.trial = None;
        info!(configuration = number, "confirmed");
        let (uid, login_uid, sudo_user) = by(order.by.as_ref());
        self.report.tell(Event::Confirm { configuration: number, uid, login_uid, sudo_user });
        let changes = vec![format!("~ configuration {number}: confirmed")];
        self.numbered(ChangeResult { changes, ..ChangeResult::default() })
    }

    /// Takes back what nobody confirmed in time. Where that fails it is tried again.
    pub(super) fn expire(&mut self) {
        let Some(trial) = self.trial.take_if(|trial| trial.at <= Instant::now()) else { return };
        let (number, back_to) = (trial.number, trial.back_to);
        warn!(
            configuration = number,
            back_to, "nobody confirmed the configuration in time: it goes back"
        );
        let edited = self.running().is_ok_and(|(text, _)| self.unchanged(&text).is_err());
        let draft = Draft {
            config: (*trial.config).clone(),
            text: trial.text.to_string(),
            write: true,
            displaced: edited,
            command: format!("rollback {back_to} ({number} was not confirmed in time)"),
            confirm: None,
            notes: Vec::new(),
        };
        let request = Request::ConfigRollback { number: Some(back_to), confirm_s: None };
        match self.carry_out(draft, &Order::unasked(request)) {
            Ok((result, _)) => {
                info!(configuration = result.configuration, "the old configuration is back")
            }
            Err(refusal) => {
                error!(%refusal, "the old configuration is not back: it is tried again");
                self.trial = Some(Trial { at: Instant::now() + RETRY, ..trial });
            }
        }
    }

    /// Refuses what would mix with a configuration that may go back.
    pub(super) fn not_on_trial(&self, request: &Request) -> Result<(), Refusal> {
        let Some(trial) = &self.trial else { return Ok(()) };
        if matches!(request, Request::ConfigRollback { .. }) {
            return Ok(());
        }
        let (number, back_to) = (trial.number, trial.back_to);
        let left = trial.at.saturating_duration_since(Instant::now()).as_secs();
        let message = format!(
            "configuration {number} is not confirmed and goes back to {back_to} in {left} s: \
             `stationctl config confirm` keeps it, `stationctl config rollback` takes it back at once"
        );
        Err(Refusal::new(ErrorKind::Conflict, message))
    }
}
