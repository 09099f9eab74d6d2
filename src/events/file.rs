//! The events on disk: as many as are kept, over restarts.

use std::io;
use std::path::Path;
use std::sync::Arc;

use serde::Deserialize;

use super::{Record, Ring};
use crate::disk::{Disk, Files};
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
pub(super) struct File<D: Disk = Files>(Lines<D>);

impl File {
    /// Opens or makes the file in a directory, and fills the ring with what it has. Gives the newest number.
    pub fn open(directory: &Path, ring: &Ring) -> io::Result<(File, u64)> {
        Ok(File::of(Lines::open(directory, "events.jsonl")?, ring))
    }
}

impl<D: Disk> File<D> {
    fn of((file, lines): (Lines<D>, Vec<Line>), ring: &Ring) -> (File<D>, u64) {
        let number = |line: &Line| match line {
            Line::Known(record) => record.seq,
            Line::Other { seq } => *seq,
        };
        let newest = lines.iter().map(number).max().unwrap_or(0);
        ring.extend(lines.into_iter().filter_map(|line| match line {
            Line::Known(record) => Some(Arc::from(record)),
            Line::Other { .. } => None,
        }));
        (File(file), newest)
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

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;
    use crate::disk::failing::{Failing, State, cut_everywhere};
    use crate::events::Event;

    fn opened(disk: &Failing) -> io::Result<(File<Failing>, u64, Ring)> {
        let ring = Ring::default();
        let lines = Lines::on(disk.clone(), "/state/events.jsonl".into(), 600)?;
        let (file, newest) = File::of(lines, &ring);
        Ok((file, newest, ring))
    }

    /// What the stream does: numbers events, has them on disk, shows them. Gives what was shown before the power failed.
    fn stream(disk: &Failing, batches: u64) -> Vec<Arc<Record>> {
        let Ok((mut file, mut newest, ring)) = opened(disk) else { return Vec::new() };
        let mut shown = Vec::new();
        for batch in 0..batches {
            let record = |seq| {
                let event = Event::VifUp { vif: format!("v{seq}"), port: format!("p{batch}") };
                Arc::new(Record { seq, time_ms: seq, event })
            };
            let records: Vec<_> = (newest + 1..=newest + 1 + batch % 2).map(record).collect();
            newest += records.len() as u64;
            file.write(&records, &ring);
            if disk.is_cut() {
                break;
            }
            ring.extend(records.clone());
            shown.extend(records);
        }
        shown
    }

    /// The file becomes large on the way, and is written anew.
    #[test]
    fn no_number_that_was_shown_is_given_again_whenever_the_power_fails() {
        let shown = RefCell::new(Vec::new());
        let work = |disk: &Failing| {
            shown.replace(stream(disk, 10));
            true
        };
        let disks = cut_everywhere(State::default, work, |state, _| {
            let disk = Failing::new(state, usize::MAX);
            let shown = shown.borrow();
            let (_, newest, ring) = opened(&disk).unwrap();
            let kept = ring.all();
            assert!(kept.len() >= shown.len(), "{} of {}", kept.len(), shown.len());
            assert_eq!(kept[..shown.len()], shown[..], "what was shown is there, whole");
            assert_eq!(newest, kept.len() as u64, "no number is left out");
            // The next station goes on from there.
            let more = stream(&disk, 4);
            let (_, last, ring) = opened(&Failing::new(disk.after(0, 0), usize::MAX)).unwrap();
            assert_eq!((more[0].seq, last), (newest + 1, newest + 6));
            assert_eq!(ring.all(), [kept, more].concat());
        });
        assert!(disks > 60, "{disks}");
    }
}
