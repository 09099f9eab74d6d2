//! A file of lines of JSON, appended to: the ledger's, and that of the events. A line is handed to the kernel at
//! once: it survives the station. It survives a loss of power once [`Lines::sync`] has returned.

use std::fs::{self, DirBuilder};
use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags, fchmod, open};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tracing::warn;

/// From how many octets on the file is written anew, without what is forgotten.
const LARGE: u64 = 16 << 20;
/// The longest line that is read: what is longer is none of ours.
const LONGEST: usize = 64 << 10;

/// The open file.
#[derive(Debug)]
pub(crate) struct Lines {
    path: PathBuf,
    file: fs::File,
    /// Octets at which it is written anew.
    limit: u64,
    octets: u64,
    /// It could not be written: said once.
    failed: bool,
}

impl Lines {
    /// Opens or makes a file in a directory that is made for the station alone. Gives its lines.
    ///
    /// # Errors
    /// The file system's.
    pub fn open<T: DeserializeOwned>(directory: &Path, name: &str) -> io::Result<(Lines, Vec<T>)> {
        prepare(directory)?;
        let path = directory.join(name);
        let mut file = append(&path)?;
        let (lines, broken, ends_torn) = read(&path)?;
        if broken > 0 {
            warn!(path = %path.display(), lines = broken, "the file has lines that cannot be read");
        }
        if ends_torn {
            file.write_all(b"\n")?;
        }
        let octets = file.metadata()?.len();
        let limit = LARGE.max(2 * octets);
        Ok((Lines { path, file, limit, octets, failed: false }, lines))
    }

    /// Appends lines; true where the file has become too large.
    pub fn write(&mut self, lines: impl IntoIterator<Item = impl Serialize>) -> bool {
        let mut octets = Vec::new();
        lines.into_iter().for_each(|line| octets.extend(text(&line).into_bytes()));
        let result = self.file.write_all(&octets);
        self.note(result);
        self.octets += octets.len() as u64;
        self.octets > self.limit
    }

    /// Waits until what was written survives a loss of power.
    pub fn sync(&mut self) {
        if self.failed {
            return;
        }
        let result = self.file.sync_data();
        self.note(result);
    }

    /// Replaces the file by these lines.
    pub fn rewrite(&mut self, lines: impl IntoIterator<Item = impl Serialize>) {
        let new = self.path.with_extension("new");
        let replace = || {
            // What a crash left there, or another hand put there, is not written to.
            match fs::remove_file(&new) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
            let file =
                fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new)?;
            let mut file = io::BufWriter::new(file);
            let mut octets = 0;
            for line in lines {
                let text = text(&line);
                octets += text.len() as u64;
                file.write_all(text.as_bytes())?;
            }
            file.into_inner().map_err(io::IntoInnerError::into_error)?.sync_data()?;
            fs::rename(&new, &self.path)?;
            Ok((append(&self.path)?, octets))
        };
        match replace() {
            Ok((file, octets)) => {
                (self.file, self.octets, self.limit) = (file, octets, LARGE.max(2 * octets));
                let directory = self.path.parent().unwrap_or(&self.path);
                let synced = fs::File::open(directory).and_then(|directory| directory.sync_all());
                self.note(synced);
            }
            Err(error) => {
                self.limit = 2 * self.octets;
                self.note(Err(error));
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
    DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let opened = open(directory, flags, Mode::empty())?;
    fchmod(opened, Mode::RWXU)?;
    Ok(())
}

/// Opens or makes a file to append to. A symbolic link is refused: it may lead to any file of root's.
pub(super) fn append(path: &Path) -> io::Result<fs::File> {
    let nofollow = OFlags::NOFOLLOW.bits().cast_signed();
    let mut options = fs::OpenOptions::new();
    let file = options.create(true).append(true).mode(0o600).custom_flags(nofollow).open(path)?;
    file.set_permissions(fs::Permissions::from_mode(0o600))?;
    Ok(file)
}

fn text(line: &impl Serialize) -> String {
    // Strings and numbers always have a JSON.
    let mut text = serde_json::to_string(line).unwrap_or_default();
    text.push('\n');
    text
}

/// The lines, how many could not be read, and whether the last one has no end.
fn read<T: DeserializeOwned>(path: &Path) -> io::Result<(Vec<T>, usize, bool)> {
    let mut reader = BufReader::new(fs::File::open(path)?);
    let (mut lines, mut broken, mut torn) = (Vec::new(), 0, false);
    let mut text = Vec::new();
    loop {
        text.clear();
        if reader.read_until(b'\n', &mut text)? == 0 {
            return Ok((lines, broken, torn));
        }
        torn = text.last() != Some(&b'\n');
        let line = (text.len() <= LONGEST).then(|| serde_json::from_slice(&text));
        match line {
            Some(Ok(line)) => lines.push(line),
            _ if text == b"\n" => {}
            _ => broken += 1,
        }
    }
}
