//! An operator's changes. Each one is an edit of the configuration file's text that takes the way of a
//! reload: parsed, validated, applied as one generation or not at all, and on disk before success is
//! reported. So there is one truth, and what was committed survives a crash.

use super::control_thread::Control;
use crate::control::answer::Answer;
use crate::control::config::{self, edit, replace};
use crate::control::model::Config;
use crate::control::protocol::{ErrorKind, Refusal, Request};
use crate::control::rows::ChangeResult;
use crate::control::{CommitError, Diff};

/// Carries out a request that edits the configuration file.
pub(super) fn edit_file(control: &mut Control, request: &Request) -> Answer {
    answer(control, false, |control| {
        match std::fs::read_to_string(&control.file) {
            Ok(text) if text == control.text => {}
            Ok(_) => {
                let message = "the configuration file has changed since it was loaded: \
                               `stationctl reload` first, or put it back";
                return Err(Refusal::new(ErrorKind::Conflict, message));
            }
            Err(error) => return Err(cannot("read", control, &error)),
        }
        let text = edited(&control.text, control.config(), request)?;
        let next = parse(control, &text)?;
        let old = control.config().clone();
        let diff = commit(control, &next)?;
        if let Err(error) = replace(&control.file, &text) {
            // What is not on disk must not run: after a restart it would be gone.
            if let Err(worse) = control.commit(&old) {
                tracing::error!(error = %worse, "cannot take a change back");
            }
            return Err(cannot("write", control, &error));
        }
        control.text = text;
        Ok(diff)
    })
}

/// Reads the file again and takes it into use, or only says what would change.
pub(super) fn reload(control: &mut Control, dry_run: bool) -> Answer {
    answer(control, dry_run, |control| {
        let (next, text) = config::load(&control.file)
            .map_err(|error| Refusal::new(ErrorKind::Invalid, error.report()))?;
        if dry_run {
            control.prepare_bgp(&next).map_err(|error| refusal(&error))?;
            return control.engine.diff(&next).map_err(|error| refusal(&error));
        }
        let diff = commit(control, &next)?;
        control.text = text;
        Ok(diff)
    })
}

/// Makes all counters count from zero.
pub(super) fn clear_counters(control: &mut Control) -> Answer {
    answer(control, false, |control| {
        control.counters.clear(control.datapath.ports.len());
        Ok(Diff::default())
    })
}

fn answer(
    control: &mut Control,
    dry_run: bool,
    change: impl FnOnce(&mut Control) -> Result<Diff, Refusal>,
) -> Answer {
    match change(control) {
        Ok(diff) => Answer::result(ChangeResult {
            generation: control.engine.tables().generation,
            dry_run,
            changes: diff.changes.iter().map(ToString::to_string).collect(),
        }),
        Err(refusal) => Answer::Refused(refusal),
    }
}

fn edited(text: &str, config: &Config, request: &Request) -> Result<String, Refusal> {
    match request {
        Request::RouteAdd(route) => edit::route_add(text, route),
        Request::RouteDel(route) => edit::route_del(text, config, route),
        Request::VifAdd(vif) => edit::vif_add(text, vif),
        Request::VifDel(vif) => edit::vif_del(text, config, &vif.name),
        Request::VifUp(vif) => edit::vif_set_up(text, &vif.name, true),
        Request::VifDown(vif) => edit::vif_set_up(text, &vif.name, false),
        _ => Err(Refusal::new(ErrorKind::Internal, "not a change of the configuration")),
    }
}

fn parse(control: &Control, text: &str) -> Result<Config, Refusal> {
    config::parse_as(text, &control.file)
        .map_err(|error| Refusal::new(ErrorKind::Invalid, error.report()))
}

fn commit(control: &mut Control, next: &Config) -> Result<Diff, Refusal> {
    control.commit(next).map_err(|error| refusal(&error))
}

fn refusal(error: &CommitError) -> Refusal {
    let kind = match error {
        CommitError::NeedsRestart(_) | CommitError::Full(_) => ErrorKind::Conflict,
        CommitError::Fib { .. } | CommitError::Broken { .. } => ErrorKind::Internal,
        _ => ErrorKind::Invalid,
    };
    Refusal::new(kind, error.to_string())
}

fn cannot(what: &str, control: &Control, error: &std::io::Error) -> Refusal {
    let message = format!("cannot {what} {}: {error}; nothing has changed", control.file.display());
    Refusal::new(ErrorKind::Internal, message)
}
