//! Answers about the history of configurations. The threads of the admin socket read it: nobody waits for a disk.

use super::book;
use super::control_thread::Control;
use crate::admin::answer::Answer;
use crate::admin::protocol::{ErrorKind, Refusal};
use crate::admin::rows::{ConfigText, HistoryRow};
use crate::history::{Confirm, History, ReadError, Snapshot};

/// `config history`.
pub(super) fn history(control: &Control) -> Answer {
    let (history, running) = (reader(control), control.configuration);
    Answer::later(move || match history.numbers() {
        Ok(numbers) => Answer::rows(
            numbers.into_iter().filter_map(move |number| row(&history, number, running)),
        ),
        Err(error) => Answer::Refused(refusal(&error)),
    })
}

/// `config show`.
pub(super) fn show(control: &Control, number: Option<u64>, secrets: bool) -> Answer {
    let (history, running) = (reader(control), control.configuration);
    Answer::later(move || {
        let number = number.unwrap_or(running);
        match history.read(number) {
            Ok(snapshot) => {
                let text = book::shown(None, &snapshot, secrets);
                Answer::result(ConfigText { number, since: None, text })
            }
            Err(error) => Answer::Refused(refusal(&error)),
        }
    })
}

/// `config diff`.
pub(super) fn diff(control: &Control, from: Option<u64>, to: Option<u64>, secrets: bool) -> Answer {
    let (history, running) = (reader(control), control.configuration);
    Answer::later(move || {
        let read = || -> Result<(Snapshot, Snapshot), ReadError> {
            let new = history.read(to.unwrap_or(running))?;
            let old = match from {
                Some(from) => history.read(from)?,
                None => history.newest_before(new.entry.number)?,
            };
            Ok((old, new))
        };
        match read() {
            Ok((old, new)) => Answer::result(ConfigText {
                number: new.entry.number,
                since: Some(old.entry.number),
                text: book::shown(Some(&old), &new, secrets),
            }),
            Err(error) => Answer::Refused(refusal(&error)),
        }
    })
}

fn reader(control: &Control) -> History {
    History::at(&book::directory(control.config()))
}

pub(super) fn refusal(error: &ReadError) -> Refusal {
    let kind = match error {
        ReadError::Absent(_) => ErrorKind::NotFound,
        ReadError::Damaged { .. } => ErrorKind::Conflict,
        ReadError::Failed { .. } => ErrorKind::Internal,
    };
    Refusal::new(kind, error.to_string())
}

/// None where it has been forgotten meanwhile.
fn row(history: &History, number: u64, running: u64) -> Option<HistoryRow> {
    let entry = match history.read(number) {
        Ok(snapshot) => snapshot.entry,
        Err(ReadError::Absent(_)) => return None,
        Err(error) => {
            let (state, trouble) = ("damaged".to_owned(), error.to_string());
            return Some(HistoryRow { number, state, trouble, ..HistoryRow::default() });
        }
    };
    let state = match (number == running, entry.unconfirmed()) {
        (true, Some(_)) => "unconfirmed",
        (true, None) => "running",
        (false, _) => "past",
    };
    let by = entry.by.as_ref();
    let confirm: Option<&Confirm> = entry.confirm.as_ref();
    Some(HistoryRow {
        number,
        state: state.to_owned(),
        time_ms: Some(entry.time_ms),
        uid: by.map(|by| by.uid),
        login_uid: by.and_then(|by| by.login_uid),
        sudo_uid: by.and_then(|by| by.sudo_uid),
        sudo_user: by.and_then(|by| by.sudo_user.clone()),
        command: entry.command.clone(),
        comment: entry.comment.clone(),
        until_ms: confirm.map(|confirm| confirm.until_ms),
        back_to: confirm.map(|confirm| confirm.back_to),
        confirmed_ms: confirm.and_then(|confirm| confirm.confirmed_ms),
        confirmed_uid: confirm.and_then(|confirm| confirm.confirmed_by.as_ref()).map(|by| by.uid),
        trouble: String::new(),
    })
}
