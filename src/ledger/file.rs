//! The ledger on disk: lines of JSON, appended; and when the station was last alive, as the time of a
//! file. A line is handed to the kernel at once: it survives the station, not a power cut.

use std::fs::{self, DirBuilder};
use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::fs::{Mode, OFlags, fchmod, open};
use serde::{Deserialize, Serialize};
use tracing::warn;

use super::Outage;

/// From how many octets on the file is written anew, without what is forgotten.
const LARGE: u64 = 16 << 20;
/// The longest line that is read: what is longer is none of ours.
const LONGEST: usize = 64 << 10;

/// A line of the file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Line {
    /// A VIF was seen for the first time.
    Seen { vif: String, at_ms: u64 },
    /// An outage began.
    Begin(Outage),
    /// An outage from its beginning to its end.
    Outage(Outage),
    /// The station ended as it was told to.
    Stop { at_ms: u64 },
}

/// The open file.
#[derive(Debug)]
pub(super) struct File {
    path: PathBuf,
    file: fs::File,
    alive: fs::File,
    /// Octets at which it is written anew.
    limit: u64,
    octets: u64,
    /// It could not be written: said once.
    failed: bool,
}

impl File {
    /// Opens or makes the file. Gives its lines, and when the station was last alive.
    pub fn open(directory: &Path) -> io::Result<(File, Vec<Line>, Option<u64>)> {
        prepare(directory)?;
        let path = directory.join("outages.jsonl");
        let beat = directory.join("alive");
        let last = fs::metadata(&beat).and_then(|meta| meta.modified()).ok();
        let last = last.and_then(|time| time.duration_since(UNIX_EPOCH).ok());
        let last = last.and_then(|time| u64::try_from(time.as_millis()).ok());
        let mut file = append(&path)?;
        let alive = append(&beat)?;
        let (lines, broken, ends_torn) = read(&path)?;
        if broken > 0 {
            warn!(path = %path.display(), lines = broken, "the ledger has lines that cannot be read");
        }
        if ends_torn {
            file.write_all(b"\n")?;
        }
        let octets = file.metadata()?.len();
        let file = File { path, file, alive, limit: LARGE.max(2 * octets), octets, failed: false };
        Ok((file, lines, last))
    }

    /// Appends a line; true where the file has become too large.
    pub fn write(&mut self, line: &Line) -> bool {
        let text = text(line);
        let result = self.file.write_all(text.as_bytes());
        self.note(result);
        self.octets += text.len() as u64;
        self.octets > self.limit
    }

    /// Replaces the file by these lines.
    pub fn rewrite(&mut self, lines: impl Iterator<Item = Line>) {
        let new = self.path.with_extension("new");
        let replace = || {
            // What a crash left there, or another hand put there, is not written to.
            match fs::remove_file(&new) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
            let mut file =
                fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new)?;
            let mut octets = 0;
            for line in lines {
                let text = text(&line);
                octets += text.len() as u64;
                file.write_all(text.as_bytes())?;
            }
            fs::rename(&new, &self.path)?;
            Ok((append(&self.path)?, octets))
        };
        match replace() {
            Ok((file, octets)) => {
                (self.file, self.octets, self.limit) = (file, octets, LARGE.max(2 * octets));
            }
            Err(error) => {
                self.limit = 2 * self.octets;
                self.note(Err(error));
            }
        }
    }

    /// Notes that the station is alive.
    pub fn alive(&mut self, now_ms: u64) {
        let now: SystemTime = UNIX_EPOCH + Duration::from_millis(now_ms);
        let result = self.alive.set_modified(now);
        self.note(result);
    }

    fn note(&mut self, result: io::Result<()>) {
        if let Err(error) = &result
            && !self.failed
        {
            warn!(path = %self.path.display(), %error, "the ledger is kept in memory only");
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
fn append(path: &Path) -> io::Result<fs::File> {
    let nofollow = OFlags::NOFOLLOW.bits().cast_signed();
    let mut options = fs::OpenOptions::new();
    let file = options.create(true).append(true).mode(0o600).custom_flags(nofollow).open(path)?;
    file.set_permissions(fs::Permissions::from_mode(0o600))?;
    Ok(file)
}

fn text(line: &Line) -> String {
    // Strings and numbers always have a JSON.
    let mut text = serde_json::to_string(line).unwrap_or_default();
    text.push('\n');
    text
}

/// The lines, how many could not be read, and whether the last one has no end.
fn read(path: &Path) -> io::Result<(Vec<Line>, usize, bool)> {
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
