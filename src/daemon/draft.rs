//! From what somebody wants to the configuration that it would make.

use std::sync::Arc;
use std::time::Duration;

use super::change::{Changes, Order};
use crate::admin::protocol::{ErrorKind, Refusal, Request};
use crate::config::model::Config;
use crate::config::{self, ConfigError, edit, set};

/// The shortest and the longest time of trial, in seconds.
const TRIAL_S: std::ops::RangeInclusive<u64> = 1..=86_400;

/// A configuration that is to run.
pub(super) struct Draft {
    pub config: Config,
    pub text: String,
    /// The file has another text so far.
    pub write: bool,
    /// What the file has may be another hand's: it is kept beside it.
    pub displaced: bool,
    /// As in the history.
    pub command: String,
    /// It goes back after this time.
    pub confirm: Option<Duration>,
    pub notes: Vec<String>,
}

impl Changes {
    /// The configuration that a request makes of the running one.
    pub(super) fn draft(
        &self,
        order: &Order,
        text: &str,
        running: &Arc<Config>,
    ) -> Result<Draft, Refusal> {
        let request = &order.request;
        let mut draft = Draft {
            config: (**running).clone(),
            text: String::new(),
            write: true,
            displaced: false,
            command: command(request),
            confirm: None,
            notes: Vec::new(),
        };
        match request {
            Request::Reload { .. } => {
                (draft.config, draft.text) = config::load(&self.file).map_err(|e| invalid(&e))?;
                draft.write = false;
                if order.by.is_none() {
                    draft.command = "reload (signal)".to_owned();
                }
            }
            Request::ConfigCheck(upload) => {
                draft.text.clone_from(&order.text);
                draft.config = self.parsed(&draft.text, &upload.name)?;
            }
            Request::ConfigApply(apply) => {
                self.unchanged(text)?;
                draft.confirm = trial(apply.confirm_s)?;
                draft.text.clone_from(&order.text);
                draft.config = self.parsed(&draft.text, &apply.name)?;
            }
            Request::ConfigRollback { number, confirm_s } => {
                draft.confirm = trial(*confirm_s)?;
                if self.trial.is_some() && confirm_s.is_some() {
                    let message = "a configuration is on trial already: `stationctl config rollback` without --confirm ends that";
                    return Err(Refusal::new(ErrorKind::Conflict, message));
                }
                self.older(*number, &mut draft)?;
                // What is on trial may have been edited: it is kept beside the file.
                match &self.trial {
                    Some(_) => draft.displaced = self.unchanged(text).is_err(),
                    None => self.unchanged(text)?,
                }
            }
            edit => {
                self.unchanged(text)?;
                draft.text = edited(text, running, edit)?;
                draft.config =
                    config::parse_as(&draft.text, &self.file).map_err(|e| invalid(&e))?;
            }
        }
        Ok(draft)
    }

    /// An older configuration, and what of it is not in the history.
    fn older(&self, number: Option<u64>, draft: &mut Draft) -> Result<(), Refusal> {
        let running = self.book.number;
        let Some(history) = &self.book.history else {
            return Err(Refusal::new(ErrorKind::Conflict, "there is no history"));
        };
        let found = match (number, &self.trial) {
            (Some(number), _) => history.read(number),
            (None, Some(trial)) => history.newest_up_to(trial.back_to),
            (None, None) => history.newest_decided_before(running),
        };
        let old = found.map_err(|error| super::history::refusal(&error))?;
        let number = old.entry.number;
        draft.config = self.parsed(&old.text, &format!("configuration {number}"))?;
        draft.text = old.text;
        draft.command = format!("rollback {number}");
        for list in super::book::lists(&draft.config) {
            if !old.entry.lists.contains(&list) {
                let (file, prefixes) = (list.file, list.prefixes);
                draft.notes.push(format!(
                    "{file} is not what it was in configuration {number}: it is used as it is now ({prefixes} prefixes)"
                ));
            }
        }
        Ok(())
    }

    fn parsed(&self, text: &str, name: &str) -> Result<Config, Refusal> {
        config::parse_named(text, &self.file, name).map_err(|error| invalid(&error))
    }
}

/// A command as the history has it.
pub(super) fn command(request: &Request) -> String {
    match request {
        Request::RouteAdd(route) => format!("route add --vrf {} {}", route.vrf, route.prefix),
        Request::RouteDel(route) => format!("route del --vrf {} {}", route.vrf, route.prefix),
        Request::VifAdd(vif) => format!("vif add {}", vif.name),
        Request::VifDel(vif) => format!("vif del {}", vif.name),
        Request::VifUp(vif) => format!("vif up {}", vif.name),
        Request::VifDown(vif) => format!("vif down {}", vif.name),
        Request::Set(fields) => format!("set {}{fields}", fields.place),
        Request::Add(fields) => format!("add {}{fields}", fields.place),
        Request::Del { place } => format!("del {place}"),
        Request::ConfigApply(apply) => format!("config apply {}", apply.name),
        Request::ConfigRollback { .. } => "config rollback".to_owned(),
        _ => "reload".to_owned(),
    }
}

fn trial(seconds: Option<u64>) -> Result<Option<Duration>, Refusal> {
    match seconds {
        Some(s) if !TRIAL_S.contains(&s) => {
            let (least, most) = (TRIAL_S.start(), TRIAL_S.end());
            let message = format!("{s} s is no time to confirm in: {least} to {most} s is");
            Err(Refusal::new(ErrorKind::Invalid, message))
        }
        seconds => Ok(seconds.map(Duration::from_secs)),
    }
}

fn invalid(error: &ConfigError) -> Refusal {
    Refusal::new(ErrorKind::Invalid, error.report())
}

fn edited(text: &str, config: &Config, request: &Request) -> Result<String, Refusal> {
    Ok(match request {
        Request::RouteAdd(route) => edit::route_add(text, route)?,
        Request::RouteDel(route) => edit::route_del(text, config, route)?,
        Request::VifAdd(vif) => edit::vif_add(text, vif)?,
        Request::VifDel(vif) => edit::vif_del(text, config, &vif.name)?,
        Request::VifUp(vif) => edit::vif_set_up(text, &vif.name, true)?,
        Request::VifDown(vif) => edit::vif_set_up(text, &vif.name, false)?,
        Request::Set(fields) => set::set(text, fields)?,
        Request::Add(fields) => set::add(text, fields)?,
        Request::Del { place } => set::del(text, config, place)?,
        _ => return Err(Refusal::new(ErrorKind::Internal, "not a change of the configuration")),
    })
}
