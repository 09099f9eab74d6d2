//! The history of configurations: every one that was committed, as a numbered snapshot on disk, and the order
//! of writes that keeps the history and the configuration file true to each other whenever the power fails.
//!
//! A change is written in this order, each step durable before the next:
//! 1. the snapshot, as `N.prepared`: it counts for nothing yet ([`History::prepare`]);
//! 2. the configuration file, by [`replace()`];
//! 3. the commit by the engine, in memory;
//! 4. the snapshot's name, `N.snapshot` ([`History::keep`]).
//!
//! The file decides: at the next start a prepared snapshot whose text is the file's becomes one that counts, and
//! any other is removed ([`History::recover`]). So the file is old or new, and so is the history.

#[cfg(test)]
mod power_cut;
mod replace;
mod snapshot;

use std::io;
use std::path::{Path, PathBuf};

use tracing::{error, warn};

pub use replace::{Replaced, replace};
pub use snapshot::{Author, Confirm, Entry, List, Snapshot};

use crate::disk::{self, Disk, Files, write_new};

/// Snapshots that count.
const KEPT: &str = "snapshot";
/// Snapshots of a change that is under way.
const PREPARED: &str = "prepared";
/// Snapshots that are written anew.
const TEMPORARY: &str = "tmp";

/// Why a snapshot is not served.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// There is none with this number.
    #[error("there is no configuration {0} in the history")]
    Absent(u64),
    /// It is not as it was written.
    #[error("configuration {number} in the history is damaged and not used: {why} ({})", path.display())]
    Damaged {
        /// Its number.
        number: u64,
        /// What is wrong with it.
        why: &'static str,
        /// Its file.
        path: PathBuf,
    },
    /// The file system's.
    #[error("cannot read {}: {error}", path.display())]
    Failed {
        /// What was to be read.
        path: PathBuf,
        /// Why not.
        error: io::Error,
    },
}

/// The snapshots in a directory. One thread writes; any may read.
#[derive(Clone, Debug)]
pub struct History<D = Files> {
    disk: D,
    directory: PathBuf,
}

impl History {
    /// The history in a directory, which is made where it is missing, for the station alone.
    ///
    /// # Errors
    /// The file system's.
    pub fn open(directory: &Path) -> io::Result<History> {
        Files.make_directory(directory)?;
        // It can be written: better said now than at the first change.
        let probe = directory.join("probe");
        write_new(&Files, &probe, None, b"")?;
        Files.remove(&probe)?;
        Ok(History::at(directory))
    }

    /// The history in a directory, to be read. It need not be there.
    pub fn at(directory: &Path) -> History {
        History { disk: Files, directory: directory.to_owned() }
    }
}

impl<D: Disk + Clone> History<D> {
    /// The history in a directory that is there.
    #[cfg(test)]
    fn on(disk: D, directory: &Path) -> History<D> {
        History { disk, directory: directory.to_owned() }
    }

    /// Where it is.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// The numbers of all snapshots that count, damaged ones too, in order.
    ///
    /// # Errors
    /// The file system's.
    pub fn numbers(&self) -> Result<Vec<u64>, ReadError> {
        self.with_suffix(KEPT)
    }

    /// Reads and verifies a snapshot.
    ///
    /// # Errors
    /// [`ReadError`].
    pub fn read(&self, number: u64) -> Result<Snapshot, ReadError> {
        self.read_as(number, KEPT)
    }

    /// The newest whole snapshot before another; damaged ones are named in the log and skipped.
    ///
    /// # Errors
    /// [`ReadError::Absent`] where there is none.
    pub fn newest_before(&self, number: u64) -> Result<Snapshot, ReadError> {
        self.newest_up_to(number.saturating_sub(1))
    }

    /// The newest whole snapshot before another that was not a trial which nobody confirmed: the way back leads
    /// to none of those.
    ///
    /// # Errors
    /// [`ReadError::Absent`] where there is none.
    pub fn newest_decided_before(&self, number: u64) -> Result<Snapshot, ReadError> {
        let mut found = self.newest_before(number)?;
        while found.entry.unconfirmed().is_some() {
            found = self.newest_before(found.entry.number)?;
        }
        Ok(found)
    }

    /// The newest whole snapshot with this number or a lower one; damaged ones are named in the log and skipped.
    ///
    /// # Errors
    /// [`ReadError::Absent`] where there is none.
    pub fn newest_up_to(&self, number: u64) -> Result<Snapshot, ReadError> {
        for older in self.numbers()?.into_iter().rev().filter(|&older| older <= number) {
            match self.read(older) {
                Err(damaged @ ReadError::Damaged { .. }) => warn!("{damaged}"),
                read => return read,
            }
        }
        Err(ReadError::Absent(number))
    }

    /// Writes the snapshot of a change that is about to happen.
    ///
    /// # Errors
    /// The file system's. Nothing has changed then.
    pub fn prepare(&self, snapshot: &Snapshot) -> io::Result<()> {
        let path = self.path(snapshot.entry.number, PREPARED);
        write_new(&self.disk, &path, None, &snapshot.encode())?;
        self.disk.sync_directory(&self.directory).inspect_err(|_| drop(self.disk.remove(&path)))
    }

    /// The change has happened: its snapshot counts.
    ///
    /// # Errors
    /// The file system's. The snapshot counts from the next start on, or once this succeeds.
    pub fn keep(&self, number: u64) -> io::Result<()> {
        self.disk.rename(&self.path(number, PREPARED), &self.path(number, KEPT))?;
        self.disk.sync_directory(&self.directory)
    }

    /// The change does not happen.
    pub fn discard(&self, number: u64) {
        if let Err(error) = self.disk.remove(&self.path(number, PREPARED)) {
            // The next start removes it: its text is not the file's.
            warn!(number, %error, "cannot remove the snapshot of a change that was refused");
        }
    }

    /// Writes what is known of a snapshot anew: it was confirmed.
    ///
    /// # Errors
    /// The file system's. The old one is still there then.
    pub fn rewrite(&self, snapshot: &Snapshot) -> io::Result<()> {
        let number = snapshot.entry.number;
        let temporary = self.path(number, TEMPORARY);
        disk::replace(&self.disk, &self.path(number, KEPT), &temporary, &snapshot.encode())?;
        self.disk.sync_directory(&self.directory)
    }

    /// Removes the oldest snapshots, but for so many, and for one that may come back.
    pub fn prune(&self, keep: usize, back_to: Option<u64>) {
        let Ok(numbers) = self.numbers() else { return };
        let old = numbers.len().saturating_sub(keep);
        for &number in numbers[..old].iter().filter(|&&number| Some(number) != back_to) {
            if let Err(error) = self.disk.remove(&self.path(number, KEPT)) {
                warn!(number, %error, "cannot remove an old snapshot");
            }
        }
    }

    /// Brings history and configuration file together after whatever ended the last station. The newest
    /// snapshot, and whether its text is the file's.
    ///
    /// # Errors
    /// The file system's.
    pub fn recover(&self, file: &Path, text: &str) -> Result<Option<Newest>, ReadError> {
        let failed = |path: &Path| {
            let path = path.to_owned();
            move |error| ReadError::Failed { path, error }
        };
        replace::remove_left(&self.disk, file).map_err(failed(file))?;
        let newest = self.numbers()?.last().copied().unwrap_or_default();
        for number in self.with_suffix(PREPARED)? {
            let committed = number > newest
                && self.read_as(number, PREPARED).is_ok_and(|snapshot| snapshot.text == text);
            let done = match committed {
                true => self.keep(number),
                false => self.disk.remove(&self.path(number, PREPARED)),
            };
            done.map_err(failed(&self.path(number, PREPARED)))?;
        }
        for number in self.with_suffix(TEMPORARY)? {
            let path = self.path(number, TEMPORARY);
            self.disk.remove(&path).map_err(failed(&path))?;
        }
        let Some(&number) = self.numbers()?.last() else { return Ok(None) };
        let entry = match self.read(number) {
            Ok(snapshot) if snapshot.text == text => Some(snapshot.entry),
            Ok(_) => None,
            Err(unread) => {
                error!("{unread}");
                None
            }
        };
        Ok(Some(Newest { number, entry }))
    }

    fn path(&self, number: u64, suffix: &str) -> PathBuf {
        self.directory.join(format!("{number:010}.{suffix}"))
    }

    fn read_as(&self, number: u64, suffix: &str) -> Result<Snapshot, ReadError> {
        let path = self.path(number, suffix);
        match self.disk.read(&path) {
            Ok(octets) => Snapshot::decode(&octets, number).map_err(|why| ReadError::Damaged {
                number,
                why,
                path,
            }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Err(ReadError::Absent(number)),
            Err(error) => Err(ReadError::Failed { path, error }),
        }
    }

    fn with_suffix(&self, suffix: &str) -> Result<Vec<u64>, ReadError> {
        let names = self.disk.names(&self.directory);
        let names =
            names.map_err(|error| ReadError::Failed { path: self.directory.clone(), error })?;
        let number = |name: &std::ffi::OsString| {
            let (number, found) = name.to_str()?.split_once('.')?;
            (found == suffix).then(|| number.parse::<u64>().ok()).flatten()
        };
        let mut numbers: Vec<u64> = names.iter().filter_map(number).collect();
        numbers.sort_unstable();
        Ok(numbers)
    }
}

/// The newest snapshot at a start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Newest {
    /// Its number.
    pub number: u64,
    /// What is known of it, where its text is what the file has.
    pub entry: Option<Entry>,
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::snapshot::tests::snapshot;
    use super::*;

    fn history() -> (tempfile::TempDir, History, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("station.toml");
        std::fs::write(&file, "text 3").unwrap();
        let history = History::open(&dir.path().join("state/history")).unwrap();
        for number in 1..=3 {
            history.prepare(&snapshot(number, &format!("text {number}"))).unwrap();
            history.keep(number).unwrap();
        }
        (dir, history, file)
    }

    #[test]
    fn snapshots_are_for_the_station_alone() {
        let (_dir, history, _) = history();
        let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o7777;
        assert_eq!(mode(history.directory()), 0o700);
        assert_eq!(mode(&history.path(2, KEPT)), 0o600);
        assert_eq!(history.numbers().unwrap(), [1, 2, 3]);
        assert_eq!(history.read(2).unwrap(), snapshot(2, "text 2"));
        assert!(matches!(history.read(4), Err(ReadError::Absent(4))));
    }

    #[test]
    fn a_damaged_one_is_named_skipped_and_keeps_its_number() {
        let (_dir, history, file) = history();
        let path = history.path(2, KEPT);
        let mut octets = std::fs::read(&path).unwrap();
        *octets.last_mut().unwrap() ^= 1;
        std::fs::write(&path, &octets).unwrap();
        let message = history.read(2).unwrap_err().to_string();
        assert!(message.contains("configuration 2") && message.contains("0000000002"), "{message}");
        assert_eq!(history.numbers().unwrap(), [1, 2, 3]);
        assert_eq!(history.newest_before(3).unwrap().entry.number, 1);
        assert_eq!(history.newest_up_to(3).unwrap().entry.number, 3);
        let mut trial = snapshot(3, "text 3");
        let confirm = Confirm { until_ms: 5, back_to: 1, confirmed_ms: None, confirmed_by: None };
        trial.entry.confirm = Some(confirm);
        history.rewrite(&trial).unwrap();
        assert_eq!(history.newest_before(4).unwrap().entry.number, 3);
        assert_eq!(history.newest_decided_before(4).unwrap().entry.number, 1);
        std::fs::write(history.path(3, KEPT), "").unwrap();
        let newest = history.recover(&file, "text 3").unwrap();
        assert_eq!(newest, Some(Newest { number: 3, entry: None }));
    }

    #[test]
    fn what_was_prepared_counts_where_the_file_has_it() {
        let (_dir, history, file) = history();
        let text = |history: &History, text| history.recover(&file, text).unwrap().unwrap();
        history.prepare(&snapshot(4, "text 4")).unwrap();
        assert_eq!(history.numbers().unwrap(), [1, 2, 3]);
        let newest = text(&history, "text 3");
        assert_eq!((newest.number, newest.entry.map(|entry| entry.number)), (3, Some(3)));
        assert!(history.with_suffix(PREPARED).unwrap().is_empty());
        history.prepare(&snapshot(4, "text 4")).unwrap();
        let newest = text(&history, "text 4");
        assert_eq!((newest.number, newest.entry.map(|entry| entry.number)), (4, Some(4)));
        // Another hand's text.
        assert_eq!(text(&history, "text 5"), Newest { number: 4, entry: None });
    }

    #[test]
    fn the_oldest_go_but_not_the_one_that_may_come_back() {
        let (_dir, history, _) = history();
        history.prune(3, None);
        assert_eq!(history.numbers().unwrap(), [1, 2, 3]);
        history.prune(1, Some(1));
        assert_eq!(history.numbers().unwrap(), [1, 3]);
        history.prune(1, None);
        assert_eq!(history.numbers().unwrap(), [3]);
    }

    #[test]
    fn a_confirmation_is_written_over_the_old_head() {
        let (_dir, history, file) = history();
        let mut confirmed = snapshot(3, "text 3");
        confirmed.entry.confirm = Some(Confirm {
            until_ms: 5,
            back_to: 2,
            confirmed_ms: Some(4),
            confirmed_by: confirmed.entry.by.clone(),
        });
        history.rewrite(&confirmed).unwrap();
        assert_eq!(history.read(3).unwrap(), confirmed);
        std::fs::write(history.path(3, TEMPORARY), "half").unwrap();
        std::fs::write(file.with_file_name(".station.toml.stationd-old"), "a secret").unwrap();
        history.recover(&file, "text 3").unwrap();
        assert_eq!(std::fs::read_dir(history.directory()).unwrap().count(), 3);
        assert_eq!(std::fs::read_dir(file.parent().unwrap()).unwrap().count(), 2);
    }
}
