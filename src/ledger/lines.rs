//! A file of lines of JSON, appended to: the ledger's, and that of the events. A line is handed to the kernel at
//! once: it survives the station. It survives a loss of power once [`Lines::sync`] has returned.

use std::io;
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags, fchmod, open};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tracing::warn;

use crate::disk::{Disk, Files, replace};

/// From how many octets on the file is written anew, without what is forgotten.
const LARGE: u64 = 16 << 20;
/// The longest line that is read: what is longer is none of ours.
const LONGEST: usize = 64 << 10;

/// The open file.
#[derive(Debug)]
pub(crate) struct Lines<D: Disk = Files> {
    disk: D,
    path: PathBuf,
    file: D::File,
    /// Octets at which it is written anew, and the least of them.
    limit: u64,
    large: u64,
    octets: u64,
    /// Something was written since it was synced.
    unsynced: bool,
    /// It could not be written: said once. A part of a line may stand at its end.
    failed: bool,
}

impl Lines {
    /// Opens or makes a file in a directory that is made for the station alone. Gives its lines.
    ///
    /// # Errors
    /// The file system's.
    pub fn open<T: DeserializeOwned>(directory: &Path, name: &str) -> io::Result<(Lines, Vec<T>)> {
        prepare(directory)?;
        Lines::on(Files, directory.join(name), LARGE)
    }
}

impl<D: Disk> Lines<D> {
    /// Opens or makes a file. It is written anew from `large` octets on. Gives its lines.
    ///
    /// # Errors
    /// The file system's.
    pub fn on<T: DeserializeOwned>(
        disk: D,
        path: PathBuf,
        large: u64,
    ) -> io::Result<(Lines<D>, Vec<T>)> {
        let mut file = disk.append(&path)?;
        // A new file's name has to survive what its lines do.
        disk.sync_directory(directory_of(&path))?;
        let text = disk.read(&path)?;
        let (lines, broken) = parse(&text);
        if broken > 0 {
            warn!(path = %path.display(), lines = broken, "the file has lines that cannot be read");
        }
        if text.last().is_some_and(|last| *last != b'\n') {
            disk.write(&mut file, b"\n")?;
        }
        let octets = text.len() as u64;
        let limit = large.max(2 * octets);
        let (unsynced, failed) = (false, false);
        Ok((Lines { disk, path, file, limit, large, octets, unsynced, failed }, lines))
    }

    /// Appends lines; true where the file has become too large.
    pub fn write(&mut self, lines: impl IntoIterator<Item = impl Serialize>) -> bool {
        let mut octets = Vec::new();
        if self.failed {
            octets.push(b'\n');
        }
        lines.into_iter().for_each(|line| octets.extend(text(&line).into_bytes()));
        let result = self.disk.write(&mut self.file, &octets);
        self.note(result);
        self.octets += octets.len() as u64;
        self.unsynced = true;
        self.octets > self.limit
    }

    /// Waits until what was written survives a loss of power.
    pub fn sync(&mut self) {
        if self.failed || !std::mem::take(&mut self.unsynced) {
            return;
        }
        let result = self.disk.sync(&self.file);
        self.note(result);
    }

    /// Replaces the file by these lines, which survive a loss of power then. Where that fails, the file stays, and what
    /// was written to it survives.
    pub fn rewrite(&mut self, lines: impl IntoIterator<Item = impl Serialize>) {
        let new = self.path.with_extension("new");
        let mut octets = Vec::new();
        lines.into_iter().for_each(|line| octets.extend(text(&line).into_bytes()));
        // What a crash left there, or another hand put there, is not written to.
        match replace(&self.disk, &self.path, &new, &octets) {
            Ok(file) => {
                (self.file, self.octets, self.unsynced) = (file, octets.len() as u64, false);
                self.limit = self.large.max(2 * self.octets);
                let synced = self.disk.sync_directory(directory_of(&self.path));
                self.note(synced);
            }
            Err(error) => {
                warn!(path = %self.path.display(), %error, "the file grows: it cannot be written anew");
                self.limit = 2 * self.octets;
                self.sync();
            }
        }
    }

    fn note(&mut self, result: io::Result<()>) {
        if let Err(error) = &result
            && !self.failed
        {
            warn!(path = %self.path.display(), %error, "what belongs there is kept in memory only");
        }
        self.failed = result.is_err();
    }
}

/// Makes the directory, for the station alone whatever the umask.
fn prepare(directory: &Path) -> io::Result<()> {
    Files.make_directory(directory)?;
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let opened = open(directory, flags, Mode::empty())?;
    fchmod(opened, Mode::RWXU)?;
    Ok(())
}

/// The directory of a file in one.
fn directory_of(path: &Path) -> &Path {
    path.parent().unwrap_or(path)
}

fn text(line: &impl Serialize) -> String {
    // Strings and numbers always have a JSON.
    let mut text = serde_json::to_string(line).unwrap_or_default();
    text.push('\n');
    text
}

/// The lines of a text, and how many could not be read: a loss of power may have torn the last.
fn parse<T: DeserializeOwned>(text: &[u8]) -> (Vec<T>, usize) {
    let (mut lines, mut broken) = (Vec::new(), 0);
    for line in text.split_inclusive(|octet| *octet == b'\n').filter(|line| *line != b"\n") {
        match (line.len() <= LONGEST).then(|| serde_json::from_slice(line)) {
            Some(Ok(line)) => lines.push(line),
            _ => broken += 1,
        }
    }
    (lines, broken)
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;
    use crate::disk::failing::{Failing, State, cut_everywhere};

    const FILE: &str = "/state/lines.jsonl";

    /// A line. A part of it is none.
    type Line = [u64; 1];

    fn lines(numbers: impl IntoIterator<Item = u64>) -> Vec<Line> {
        numbers.into_iter().map(|number| [number]).collect()
    }

    fn opened(disk: &Failing) -> (Lines<Failing>, Vec<Line>) {
        Lines::on(disk.clone(), FILE.into(), 64).unwrap()
    }

    /// What is found once the power is back, where nothing survives that need not.
    fn found(disk: &Failing) -> Vec<Line> {
        opened(&Failing::new(disk.after(0, 0), usize::MAX)).1
    }

    /// Writes 1 to 30, three at a time, of which the last ten are kept where the file is written anew. Gives up to which
    /// number it was said that they survive.
    fn work(disk: &Failing) -> u64 {
        let mut said = 0;
        let Ok((mut file, _)) = Lines::on::<Line>(disk.clone(), FILE.into(), 64) else { return 0 };
        for first in (1..=28).step_by(3) {
            if file.write(lines(first..first + 3)) {
                file.rewrite(lines((first + 3).saturating_sub(10).max(1)..first + 3));
            } else {
                file.sync();
            }
            if disk.is_cut() {
                break;
            }
            said = first + 2;
        }
        said
    }

    #[test]
    fn what_was_synced_is_there_whole_whenever_the_power_fails() {
        let said = Cell::new(0);
        let write = |disk: &Failing| {
            said.set(work(disk));
            true
        };
        let disks = cut_everywhere(State::default, write, |state, _| {
            let disk = Failing::new(state, usize::MAX);
            let (mut file, before) = opened(&disk);
            let last = before.last().map_or(0, |[last]| *last);
            let first = before.first().map_or(1, |[first]| *first);
            assert_eq!(before, lines(first..=last), "all from the first to the last");
            assert!(last >= said.get(), "{last} of {}", said.get());
            assert!(first <= last.saturating_sub(9).max(1), "{first} to {last}");
            // What a cut tore does not take the next line along.
            file.write(lines([99]));
            file.sync();
            assert_eq!(found(&disk), [before, lines([99])].concat());
        });
        assert!(disks > 100, "{disks}");
    }

    #[test]
    fn a_disk_that_is_full_for_a_while_costs_what_was_written_meanwhile() {
        let disk = Failing::new(State::default(), usize::MAX);
        let (mut file, _) = opened(&disk);
        file.write(lines([1, 2]));
        disk.fill(true);
        // A part of each is written.
        file.write(lines([333_333]));
        file.write(lines([444_444]));
        disk.fill(false);
        file.write(lines([5]));
        file.sync();
        assert_eq!(found(&disk), lines([1, 2, 5]));
    }

    #[test]
    fn a_file_that_cannot_be_written_anew_keeps_what_it_has() {
        let disk = Failing::new(State::default(), usize::MAX);
        let (mut file, _) = opened(&disk);
        let written = (1..).take_while(|number| !file.write(lines([*number]))).count();
        disk.fill(true);
        file.rewrite(lines([7]));
        assert_eq!(found(&disk), lines(1..=written as u64 + 1));
    }
}
