//! The history as the station keeps it: what the start makes of it, what a change writes, and what clients read.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use tracing::{error, warn};

use super::announce::by;
use crate::clock::now_ms;
use crate::config::model::Config;
use crate::config::{self, hide, unified};
use crate::events::{Event, Reporter};
use crate::history::{Author, Confirm, Entry, History, List, ReadError, Snapshot, replace};
use crate::tables::PortId;

/// The history and the number of what runs.
pub(super) struct Book {
    directory: PathBuf,
    /// None where it cannot be opened: then nothing is changed.
    pub history: Option<History>,
    /// The number of the configuration that runs; 0 where there is no history.
    pub number: u64,
    /// A change that happened, and whose snapshot does not count yet.
    unkept: Option<u64>,
    /// What the start made: the command.
    made: Option<String>,
}

/// What a new entry says beside number, time and lists.
#[derive(Clone)]
pub(super) struct Made {
    pub command: String,
    pub by: Option<Author>,
    pub comment: Option<String>,
    pub confirm: Option<Confirm>,
}

impl Made {
    /// The station itself did it.
    pub fn by_itself(command: String) -> Made {
        Made { command, by: None, comment: None, confirm: None }
    }

    /// The event that it is committed under a number, with so many changes.
    pub fn event(&self, configuration: u64, changes: u64) -> Event {
        let (uid, login_uid, sudo_user) = by(self.by.as_ref());
        let (command, comment) = (self.command.clone(), self.comment.clone());
        let until_ms = self.confirm.as_ref().map(|confirm| confirm.until_ms);
        if command.starts_with("rollback ") {
            Event::Rollback {
                configuration,
                command,
                changes,
                uid,
                login_uid,
                sudo_user,
                comment,
                until_ms,
            }
        } else {
            Event::Commit {
                configuration,
                command,
                changes,
                uid,
                login_uid,
                sudo_user,
                comment,
                until_ms,
            }
        }
    }
}

/// Where the history is.
pub(super) fn directory(config: &Config) -> PathBuf {
    config.station.state.join("history")
}

/// The prefix lists as they are now.
pub(super) fn lists(config: &Config) -> Vec<List> {
    let list = |list: &config::model::RouteListConfig| {
        let mut checksum = crc32fast::Hasher::new();
        for prefix in &*list.prefixes {
            match prefix {
                ipnet::IpNet::V4(prefix) => checksum.update(&prefix.addr().octets()),
                ipnet::IpNet::V6(prefix) => checksum.update(&prefix.addr().octets()),
            }
            checksum.update(&[prefix.prefix_len()]);
        }
        List {
            file: list.file.display().to_string(),
            prefixes: list.prefixes.len() as u64,
            checksum: checksum.finalize(),
        }
    };
    config.route_lists.iter().map(list).collect()
}

/// Gives the ports of a configuration the numbers that they had when another one ran.
fn place_ports(config: &mut Config, ran: &Entry) {
    let known = ran.ports.iter().map(|(name, id)| (&**name, PortId(*id)));
    config.place_ports(known, &BTreeSet::new(), config.most_ports());
}

impl Book {
    /// Opens the history at a start, before anything forwards. What was not confirmed goes back. Gives what is
    /// to run; the book's snapshot of it counts once [`Book::settle`] is called.
    pub fn open(file: &Path, mut config: Config, text: String) -> (Config, String, Book) {
        let directory = directory(&config);
        let mut book = Book { directory, history: None, number: 0, unkept: None, made: None };
        let begun = History::open(&book.directory).map_err(|error| error.to_string());
        let begun = begun.and_then(|history| {
            book.take_stock(history, file, &mut config, &text).map_err(|error| error.to_string())
        });
        let older = begun.unwrap_or_else(|error| {
            let directory = book.directory.display();
            error!(%directory, error, "no history of configurations: nothing can be changed until it can be written");
            None
        });
        let (config, text) = older.unwrap_or((config, text));
        (config, text, book)
    }

    /// Finds out the number of a configuration that the file has; an older one, where it goes back.
    fn take_stock(
        &mut self,
        history: History,
        file: &Path,
        config: &mut Config,
        text: &str,
    ) -> Result<Option<(Config, String)>, ReadError> {
        let newest = history.recover(file, text)?;
        self.number = newest.as_ref().map_or(0, |newest| newest.number);
        self.history = Some(history);
        let known = newest.and_then(|newest| newest.entry);
        if let Some(entry) = &known {
            place_ports(config, entry);
        }
        if let Some((entry, confirm)) = known.as_ref().and_then(|it| Some((it, it.unconfirmed()?)))
        {
            return self.go_back(file, config, text, (entry, confirm));
        }
        if known.is_none_or(|entry| entry.lists != lists(config)) {
            self.note_start(Made::by_itself("start".to_owned()), config, text)?;
        }
        Ok(None)
    }

    /// Takes back what nobody confirmed before the last station ended.
    fn go_back(
        &mut self,
        file: &Path,
        config: &Config,
        text: &str,
        (ran, confirm): (&Entry, &Confirm),
    ) -> Result<Option<(Config, String)>, ReadError> {
        let number = self.number;
        let old = self.history.as_ref().map(|history| history.newest_up_to(confirm.back_to));
        let old = old.unwrap_or(Err(ReadError::Absent(confirm.back_to)));
        let old = old.map_err(|error| error.to_string()).and_then(|old| {
            let mut parsed = config::parse_as(&old.text, file).map_err(|error| error.report())?;
            place_ports(&mut parsed, ran);
            Ok((parsed, old))
        });
        match old {
            Ok((old_config, Snapshot { entry, text: old_text })) => {
                let back_to = entry.number;
                warn!(
                    configuration = number,
                    back_to,
                    "nobody confirmed the configuration before the station ended: it goes back"
                );
                let command = format!("rollback {back_to} (start: {number} was not confirmed)");
                self.note_start(Made::by_itself(command), &old_config, &old_text)?;
                match replace(file, &old_text) {
                    Ok(written) => written.keep(),
                    Err(error) => {
                        // So the next start does this again.
                        error!(%error, "the old configuration runs, but the file keeps the new one");
                        self.discard(self.number);
                        (self.number, self.unkept) = (number, None);
                    }
                }
                Ok(Some((old_config, old_text)))
            }
            Err(error) => {
                error!(
                    configuration = number,
                    error,
                    "nobody confirmed the configuration, but the old one cannot come back: it stays"
                );
                let command =
                    format!("start ({number} was not confirmed, {} is lost)", confirm.back_to);
                self.note_start(Made::by_itself(command), config, text)?;
                Ok(None)
            }
        }
    }

    fn note_start(&mut self, made: Made, config: &Config, text: &str) -> Result<(), ReadError> {
        let (path, command) = (self.directory.clone(), made.command.clone());
        let number = self
            .prepare(&made, config, lists(config), text)
            .map_err(|error| ReadError::Failed { path, error: std::io::Error::other(error) })?;
        (self.number, self.unkept, self.made) = (number, Some(number), Some(command));
        Ok(())
    }

    /// Tells of the configuration that the start made.
    pub fn tell_start(&mut self, report: &Reporter) {
        if let Some(command) = self.made.take() {
            let made = Made::by_itself(command);
            report.tell(made.event(self.number, 0));
        }
    }

    /// Opens a history that could not be opened before: what runs is its newest.
    pub fn reopen(&mut self, file: &Path, config: &Config, text: &str) -> Result<(), String> {
        if self.history.is_some() {
            return Ok(());
        }
        let directory = self.directory.display();
        let cannot = |error: &dyn std::fmt::Display| {
            format!("the history in {directory} cannot be written: {error}; nothing has changed")
        };
        let history = History::open(&self.directory).map_err(|error| cannot(&error))?;
        let newest = history.recover(file, text).map_err(|error| cannot(&error))?;
        self.number = newest.map_or(0, |newest| newest.number);
        self.history = Some(history);
        self.note_start(Made::by_itself("start".to_owned()), config, text)
            .inspect_err(|_| self.history = None)
            .map_err(|error| error.to_string())?;
        self.settle()
    }

    /// Writes the snapshot of a change that is about to happen; its number. `lists` are those of the configuration.
    pub fn prepare(
        &mut self,
        made: &Made,
        config: &Config,
        lists: Vec<List>,
        text: &str,
    ) -> Result<u64, String> {
        self.settle()?;
        let Some(history) = &self.history else { return Err("there is no history".to_owned()) };
        let Made { command, by, comment, confirm } = made.clone();
        let number = self.number + 1;
        let ports = config.ports.iter().map(|port| (port.name.to_string(), port.id.0)).collect();
        let entry =
            Entry { number, time_ms: now_ms(), command, by, comment, confirm, lists, ports };
        let snapshot = Snapshot { entry, text: text.to_owned() };
        let directory = self.directory.display();
        history.prepare(&snapshot).map_err(|error| {
            format!("the history in {directory} cannot be written: {error}; nothing has changed")
        })?;
        Ok(number)
    }

    /// The change does not happen.
    pub fn discard(&self, number: u64) {
        if let Some(history) = &self.history {
            history.discard(number);
        }
    }

    /// The change has happened.
    pub fn keep(&mut self, number: u64, kept: u16, back_to: Option<u64>) {
        (self.number, self.unkept) = (number, Some(number));
        match self.settle() {
            Ok(()) => {
                if let Some(history) = &self.history {
                    history.prune(kept.into(), back_to);
                }
            }
            Err(error) => error!(number, error, "the configuration runs and is in the file"),
        }
    }

    /// Makes the snapshot of what runs count.
    pub fn settle(&mut self) -> Result<(), String> {
        let (Some(number), Some(history)) = (self.unkept, &self.history) else { return Ok(()) };
        let directory = self.directory.display();
        history.keep(number).map_err(|error| {
            format!("the history in {directory} lacks configuration {number}: {error}")
        })?;
        self.unkept = None;
        Ok(())
    }
}

/// The text of a configuration, or of its difference from another, as a client may see it.
pub(super) fn shown(old: Option<&Snapshot>, new: &Snapshot, secrets: bool) -> String {
    let name = |snapshot: &Snapshot| format!("configuration {}", snapshot.entry.number);
    match old {
        Some(old) => unified(&old.text, &new.text, [&name(old), &name(new)], secrets),
        None if secrets => new.text.clone(),
        None => hide(&new.text),
    }
}
