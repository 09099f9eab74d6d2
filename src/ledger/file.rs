//! The ledger on disk: its lines, and when the station was last alive, as the time of a file.

use std::fs;
use std::io;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use tracing::warn;

use super::Outage;
use super::lines::Lines;
use crate::clock::{milliseconds, since_1970};
use crate::disk::{Disk, Files};

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

/// The open files.
#[derive(Debug)]
pub(super) struct File {
    pub lines: Lines,
    alive: fs::File,
    /// That the station is alive could not be noted: said once.
    failed: bool,
}

impl File {
    /// Opens or makes the files. Gives the lines, and when the station was last alive.
    pub fn open(directory: &Path) -> io::Result<(File, Vec<Line>, Option<u64>)> {
        let (lines, found) = Lines::open(directory, "outages.jsonl")?;
        let beat = directory.join("alive");
        let last = fs::metadata(&beat).and_then(|meta| meta.modified()).ok();
        let last = last.map(|moment| milliseconds(since_1970(moment))).filter(|ms| *ms > 0);
        Ok((File { lines, alive: Files.append(&beat)?, failed: false }, found, last))
    }

    /// Notes that the station is alive.
    pub fn alive(&mut self, now_ms: u64) {
        let now: SystemTime = UNIX_EPOCH + Duration::from_millis(now_ms);
        let result = self.alive.set_modified(now);
        if let Err(error) = &result
            && !self.failed
        {
            warn!(%error, "a crash will be no outage in the ledger: that the station lives cannot be noted");
        }
        self.failed = result.is_err();
    }
}
