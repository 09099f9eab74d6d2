//! `[events]`.

use std::path::PathBuf;

use super::fields::Fields;
use super::labels::changes;
use super::station::{LONGEST_PATH, absolute_path};

/// The longest name of a user (useradd(8)).
const USER_NAME: usize = 32;

/// `[events]`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EventsConfig {
    /// Whether they go to systemd's journal.
    pub journal: Journal,
    /// The program that is given each.
    pub hook: Option<HookConfig>,
}

/// When events go to systemd's journal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Journal {
    /// Where standard error goes there.
    #[default]
    Auto,
    /// Always.
    On,
    /// Never.
    Off,
}

/// The hook of `[events]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HookConfig {
    /// The program.
    pub program: PathBuf,
    /// Whom it runs as; `None` for nobody, or, where the station is not root, for the station's own user.
    pub user: Option<String>,
    /// Seconds after which it is killed.
    pub timeout_s: u32,
    /// Events that it is given a second, at most.
    pub per_second: u32,
}

pub(super) fn events(fields: Option<Fields<'_>>) -> EventsConfig {
    let mut events = EventsConfig::default();
    let Some(fields) = fields else { return events };
    let words = [("auto", Journal::Auto), ("on", Journal::On), ("off", Journal::Off)];
    if let Some(journal) = fields.choice("journal", &words) {
        events.journal = journal.value;
    }
    let program = absolute_path(&fields, "hook", LONGEST_PATH);
    let user = user(&fields);
    let timeout_s = fields.integer("hook_timeout_s", 1..=300_u32);
    let per_second = fields.integer("hook_per_second", 1..=1000_u32);
    for key in ["hook_user", "hook_timeout_s", "hook_per_second"] {
        if fields.has(key) && !fields.has("hook") {
            let help = "add hook = \"/path/to/program\", or remove this";
            fields.refuse(&fields.span_of(key), key, "is there without a hook", help);
        }
    }
    events.hook = program.map(|program| HookConfig {
        program,
        user,
        timeout_s: timeout_s.map_or(10, |at| at.value),
        per_second: per_second.map_or(10, |at| at.value),
    });
    fields.finish();
    events
}

fn user(fields: &Fields<'_>) -> Option<String> {
    let text = fields.string("hook_user")?;
    let fine = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    let name = text.value;
    if name.is_empty() || name.len() > USER_NAME || name.starts_with('-') || !name.chars().all(fine)
    {
        let message = format!("{name:?} cannot be a user");
        fields.refuse(
            &text.span,
            "hook_user",
            message,
            "write a name of /etc/passwd, like \"nobody\"",
        );
        return None;
    }
    Some(name.to_owned())
}

/// What changes, for people.
pub(super) fn change(old: &EventsConfig, new: &EventsConfig) -> Option<String> {
    let journal = |events: &EventsConfig| match events.journal {
        Journal::Auto => "auto".to_owned(),
        Journal::On => "on".to_owned(),
        Journal::Off => "off".to_owned(),
    };
    let hook = |events: &EventsConfig| match &events.hook {
        None => "none".to_owned(),
        Some(HookConfig { program, user, timeout_s, per_second }) => {
            let user = user.as_ref().map_or_else(String::new, |user| format!(", as {user}"));
            format!("{} ({timeout_s} s, {per_second} a second{user})", program.display())
        }
    };
    changes(&[("journal", journal(old), journal(new)), ("hook", hook(old), hook(new))])
}
