//! The events on disk: as many as are kept, over restarts.

use std::io;
use std::path::Path;
use std::sync::Arc;

use serde::Deserialize;

use super::{Record, Ring};
use crate::ledger::Lines;

/// A line of the file. Those of another version may have kinds that this one does not know: their numbers count.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Line {
    Known(Box<Record>),
    Other { seq: u64 },
}

/// The open file.
#[derive(Debug)]
pub(super) struct File(Lines);

impl File {
    /// Opens or makes the file in a directory, and fills the ring with what it has. Gives the newest number.
    pub fn open(directory: &Path, ring: &Ring) -> io::Result<(File, u64)> {
        let (file, lines) = Lines::open(directory, "events.jsonl")?;
        let number = |line: &Line| match line {
            Line::Known(record) => record.seq,
            Line::Other { seq } => *seq,
        };
        let newest = lines.iter().map(number).max().unwrap_or(0);
        ring.extend(lines.into_iter().filter_map(|line| match line {
            Line::Known(record) => Some(Arc::from(record)),
            Line::Other { .. } => None,
        }));
        Ok((File(file), newest))
    }

    /// Has events on disk, for good.
    pub fn write(&mut self, records: &[Arc<Record>], ring: &Ring) {
        if self.0.write(records.iter().map(|record| &**record)) {
            // What was written just now is not in the ring yet.
            self.0.rewrite(ring.all().iter().chain(records).map(|record| &**record));
        } else {
            self.0.sync();
        }
    }
}
