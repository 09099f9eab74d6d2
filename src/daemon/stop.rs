//! The end of the station, as a client asks for it, and of what forwards.

use super::change::{Changes, Order};
use super::consent;
use super::control_thread::{Control, End};
use super::datapath::Datapath;
use super::worker_thread::WorkerHandle;
use crate::admin::answer::Answer;
use crate::admin::protocol::{ErrorKind, Refusal};
use crate::admin::rows::ChangeResult;
use crate::config;

impl Datapath {
    /// Ends the workers: no frame is counted any more.
    pub fn stop_workers(&mut self) {
        self.workers.drain(..).for_each(WorkerHandle::stop);
    }

    /// Ends all threads. XDP stays attached, with no sockets behind it: the ports stay closed.
    pub fn stop(mut self) {
        self.stop_workers();
        self.slow.stop();
        self.taps.stop();
    }
}

impl Changes {
    /// Ends the station, after the changes before. What only loses the sessions later is refused at once.
    pub(super) fn stop(&self, keep_sessions: bool, order: &Order) -> Result<Answer, Refusal> {
        if keep_sessions {
            // The next station could not take them over.
            if let Err(error) = config::load(&self.file) {
                let message = format!("the next start would fail: {}", error.report());
                return Err(Refusal::new(ErrorKind::Invalid, message));
            }
            let trouble =
                |control: &mut Control| (control.bgp.is_some(), control.bird.questions().trouble());
            if let (true, Some(trouble)) = self.ask(trouble)? {
                let message = format!(
                    "there are no sessions to keep: {trouble}; without --keep-sessions the station ends all the same"
                );
                return Err(Refusal::new(ErrorKind::Conflict, message));
            }
        }
        if !order.terms.yes {
            let (_, running) = self.running()?;
            let words = match keep_sessions {
                true => "packets stop until the next start; the sessions stay",
                false => "packets stop until the next start, and the peers are told",
            };
            return Err(consent::refusal(&self.all(&running, words)?));
        }
        let end = if keep_sessions { End::SessionsKept } else { End::PeersTold };
        let words = match end {
            End::SessionsKept => {
                "- station: ends; BIRD, its sessions and the TAPs are left for the next start"
            }
            End::PeersTold => "- station: ends, with its BGP sessions",
        };
        let mut result =
            ChangeResult { changes: vec![words.to_owned()], ..ChangeResult::default() };
        if let Some(trial) = &self.trial {
            let (number, back_to) = (trial.number, trial.back_to);
            let note = format!(
                "configuration {number} is not confirmed: the next start goes back to {back_to}"
            );
            result.notes.push(note);
        }
        let result = self.numbered(result)?;
        let desk = self.desk.clone();
        // The client is to have its answer before the process is gone.
        let then = move || {
            // Where nobody takes it the station ends already.
            let _ = desk.ask(move |control| control.end = Some(end));
        };
        Ok(Answer::Last(result.into(), Box::new(then)))
    }
}
