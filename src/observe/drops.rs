//! The last drops of a port or VIF, of all workers and the slow path together.

use crate::tables::last_drops::{LastDrops, LastFrame, Tally};

/// What went no further, and the last frames of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Drops {
    /// A reason each, the most frequent first.
    pub tallies: Vec<Tally>,
    /// A sender each, the latest first.
    pub frames: Vec<LastFrame>,
}

impl Drops {
    /// Those that several threads took down.
    pub fn of<'a>(logs: impl Iterator<Item = &'a LastDrops>) -> Drops {
        let mut all = Drops::default();
        for log in logs {
            log.tallies().for_each(|tally| all.add(tally));
            log.frames().for_each(|frame| all.add_frame(frame));
        }
        all.tallies.sort_by_key(|tally| std::cmp::Reverse(tally.count));
        all.frames.sort_by_key(|frame| std::cmp::Reverse(frame.last_ns));
        all
    }

    fn add(&mut self, tally: Tally) {
        match self.tallies.iter_mut().find(|known| known.loss == tally.loss) {
            Some(known) => {
                known.count += tally.count;
                known.first_ns = known.first_ns.min(tally.first_ns);
                known.last_ns = known.last_ns.max(tally.last_ns);
            }
            None => self.tallies.push(tally),
        }
    }

    /// A sender's frames may come to several workers.
    fn add_frame(&mut self, mut frame: LastFrame) {
        let is = |known: &&mut LastFrame| (known.loss, known.key) == (frame.loss, frame.key);
        match self.frames.iter_mut().find(is) {
            Some(known) => {
                if known.last_ns < frame.last_ns {
                    std::mem::swap(known, &mut frame);
                }
                known.count += frame.count;
            }
            None => self.frames.push(frame),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tables::last_drops::DropLog;
    use crate::tables::{DropReason, Loss, PortId};

    #[test]
    fn what_several_workers_saw_is_added_up() {
        let logs = [DropLog::of_worker(1, 1), DropLog::of_worker(1, 1)];
        let [one, other] = [0, 1].map(|n: usize| logs[n].port(PortId(0)).unwrap());
        let (runt, untagged) = (DropReason::Runt, DropReason::Untagged);
        one.record(Loss::Dropped(runt), &[1; 60], 5);
        other.record(Loss::Dropped(runt), &[1; 64], 9);
        other.record(Loss::Dropped(runt), &[1; 64], 10);
        other.record(Loss::Dropped(untagged), &[1; 64], 12);
        let all = Drops::of([one, other].into_iter());
        let tallies: Vec<_> = all.tallies.iter().map(|t| (t.loss.name(), t.count)).collect();
        assert_eq!(tallies, [("runt", 3), ("untagged", 1)]);
        assert_eq!((all.tallies[0].first_ns, all.tallies[0].last_ns), (5, 10));
        let frames: Vec<_> = all.frames.iter().map(|f| (f.last_ns, f.count, f.len)).collect();
        assert_eq!(frames, [(12, 1, 64), (10, 3, 64)]);
    }
}
