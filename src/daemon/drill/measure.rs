//! What the counters say of a drill: how long it took until packets went another way, what was lost, and where they went.
//! A thread of its own reads them for the first seconds.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{Builder, JoinHandle, sleep};
use std::time::{Duration, Instant};

use crate::admin::rows::{DrillFlow, DrillRow};
use crate::clock::milliseconds;
use crate::daemon::drain::passed;
use crate::daemon::failover::lost;
use crate::observe::Counters;
use crate::tables::{DropReason, VifId};

/// Between two readings.
const PERIOD: Duration = Duration::from_millis(100);
/// How long is measured.
pub(super) const WINDOW: Duration = Duration::from_secs(10);
/// What has not changed for so long at the end is over.
const STILL_MS: u64 = 1000;
/// VIFs that are named of those by which more leaves.
const NAMED: usize = 10;

/// Whose counters are read.
pub(super) struct Subject {
    pub counters: Counters,
    /// The VIF of the drill.
    pub vif: VifId,
    /// All VIFs of its VRF.
    pub vrf: Vec<(VifId, Arc<str>)>,
    /// Frames a second that left by VIFs before.
    pub before: HashMap<Arc<str>, f64>,
}

impl Subject {
    /// Frames that entered by the VRF's VIFs and were lost, and those that the far end sent by the VIF although no route
    /// leads back there any more.
    fn lost(&self) -> u64 {
        let lost: u64 = self.vrf.iter().map(|(id, _)| lost(&self.counters.vif(*id))).sum();
        lost + self.spoofed()
    }

    fn spoofed(&self) -> u64 {
        self.counters.drops(self.vif, DropReason::SpoofedSource)
    }

    fn read(&self, after_ms: u64) -> Reading {
        let workers = self.counters.workers();
        let left = self.vrf.iter().map(|(id, _)| passed(workers, *id).1).collect();
        let (forwarded, left_by_it) = passed(workers, self.vif);
        let entered = forwarded + self.spoofed();
        Reading { after_ms, entered, left_by_it, lost: self.lost(), left }
    }
}

/// What had been counted so long after the Cease.
#[derive(Clone, Debug, Default)]
struct Reading {
    after_ms: u64,
    /// Frames of others' that entered by the VIF, and that left by it.
    entered: u64,
    left_by_it: u64,
    lost: u64,
    /// Frames that left, by VIF of the VRF.
    left: Vec<u64>,
}

/// A measurement.
pub(super) struct Measure {
    thread: Option<JoinHandle<Vec<Reading>>>,
    stop: Arc<AtomicBool>,
    subject: Arc<Subject>,
    /// Frames that had been lost before.
    lost: u64,
}

impl Measure {
    /// Begins it, immediately before the Cease.
    ///
    /// # Errors
    /// The system's, where there is no thread left.
    pub fn begin(subject: Subject) -> io::Result<Measure> {
        let (subject, stop) = (Arc::new(subject), Arc::<AtomicBool>::default());
        let (theirs, is_stopped) = (subject.clone(), stop.clone());
        let (begun, first) = (Instant::now(), subject.read(0));
        let lost = first.lost;
        let read = move || {
            let mut readings = vec![first];
            while begun.elapsed() < WINDOW && !is_stopped.load(Ordering::Relaxed) {
                sleep(PERIOD);
                readings.push(theirs.read(milliseconds(begun.elapsed())));
            }
            readings
        };
        let thread = Some(Builder::new().name("drill".into()).spawn(read)?);
        Ok(Measure { thread, stop, subject, lost })
    }

    /// Whether there is something new to say.
    pub fn is_done(&self) -> bool {
        self.thread.as_ref().is_some_and(JoinHandle::is_finished)
    }

    /// Whether it still goes on.
    pub fn is_under_way(&self) -> bool {
        self.thread.is_some()
    }

    /// Ends it, where it has not ended, and writes down what came of it.
    pub fn finish(&mut self, drill: &mut DrillRow) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(Ok(readings)) = self.thread.take().map(JoinHandle::join) {
            report(&readings, &self.subject, drill);
        }
    }

    /// Frames that were lost until now.
    pub fn lost(&self) -> u64 {
        self.subject.lost().saturating_sub(self.lost)
    }
}

/// When a count last grew: 0 where it never did, `None` where it had not stopped at the end.
fn last_change(readings: &[Reading], of: impl Fn(&Reading) -> u64) -> Option<u64> {
    let changes = readings.windows(2).filter(|pair| of(&pair[0]) != of(&pair[1]));
    let last = changes.map(|pair| pair[1].after_ms).max().unwrap_or(0);
    let end = readings.last().map_or(0, |reading| reading.after_ms);
    (last == 0 || last + STILL_MS <= end).then_some(last)
}

fn report(readings: &[Reading], subject: &Subject, drill: &mut DrillRow) {
    let Some(last) = readings.last() else { return };
    drill.tx_switch_ms = last_change(readings, |reading| reading.left_by_it + reading.lost);
    drill.rx_switch_ms = last_change(readings, |reading| reading.entered);
    let gaps = readings.windows(2).map(|pair| pair[1].after_ms - pair[0].after_ms);
    drill.resolution_ms = gaps.max();
    drill.measured_ms = Some(last.after_ms);
    let half = &readings[readings.len() / 2];
    #[expect(clippy::cast_precision_loss, reason = "rates for people")]
    let rate = |frames: u64| frames as f64 * 1e3 / (last.after_ms - half.after_ms) as f64;
    if last.after_ms == half.after_ms {
        return;
    }
    let before = |vif: &Arc<str>| subject.before.get(vif).copied().unwrap_or(0.0);
    let flows = subject.vrf.iter().zip(half.left.iter().zip(&last.left));
    let flows = flows.map(|((id, vif), (then, now))| {
        let flow = DrillFlow {
            vif: vif.to_string(),
            before_frames_per_s: before(vif),
            frames_per_s: rate(now.wrapping_sub(*then)),
        };
        (*id, flow)
    });
    let grown = |flow: &DrillFlow| flow.frames_per_s - flow.before_frames_per_s;
    // Nothing grows by less than a frame a second, or a tenth.
    let more = flows.filter(|(id, flow)| {
        *id != subject.vif && grown(flow) >= (flow.before_frames_per_s / 10.0).max(1.0)
    });
    drill.went_to = more.map(|(_, flow)| flow).collect();
    drill.went_to.sort_by(|a, b| grown(b).total_cmp(&grown(a)));
    drill.went_to.truncate(NAMED);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tables::counters::SlowCounters;

    /// A reading a 100 ms: entered, left by it, lost, left by the other.
    fn readings(counts: &[(u64, u64, u64, u64)]) -> Vec<Reading> {
        let reading = |(at, (entered, by_it, lost, other)): (usize, &(u64, u64, u64, u64))| {
            let (after_ms, left) = (100 * at as u64, vec![*by_it, *other]);
            Reading { after_ms, entered: *entered, left_by_it: *by_it, lost: *lost, left }
        };
        counts.iter().enumerate().map(reading).collect()
    }

    fn reported(counts: &[(u64, u64, u64, u64)]) -> DrillRow {
        let subject = Subject {
            counters: Counters::new(Vec::new(), Arc::new(SlowCounters::new(0, 0))),
            vif: VifId(1),
            vrf: vec![(VifId(1), "a".into()), (VifId(2), "b".into())],
            before: [(Arc::from("b"), 30.0)].into(),
        };
        let mut drill = super::super::list::testing::drill("a", &[]);
        report(&readings(counts), &subject, &mut drill);
        drill
    }

    #[test]
    fn the_switch_is_over_when_nothing_leaves_or_is_lost_any_more() {
        let mut counts = vec![(0, 0, 0, 0), (9, 9, 0, 0), (18, 12, 0, 6), (19, 12, 3, 12)];
        counts.extend((1..=20).map(|n| (19, 12, 3, 12 + 10 * n)));
        let drill = reported(&counts);
        assert_eq!((drill.tx_switch_ms, drill.rx_switch_ms), (Some(300), Some(300)));
        assert_eq!((drill.resolution_ms, drill.measured_ms), (Some(100), Some(2300)));
        let [flow] = &drill.went_to[..] else { panic!("{:?}", drill.went_to) };
        assert_eq!((&*flow.vif, flow.before_frames_per_s, flow.frames_per_s), ("b", 30.0, 100.0));
        // Frames that are still lost at the end: it is not over.
        counts.push((19, 12, 4, 230));
        assert_eq!(reported(&counts).tx_switch_ms, None);
        // Nothing ever passed.
        let drill = reported(&vec![(7, 7, 7, 7); 20]);
        assert_eq!((drill.tx_switch_ms, drill.rx_switch_ms), (Some(0), Some(0)));
        assert!(drill.went_to.is_empty());
        assert_eq!(reported(&[(0, 0, 0, 0)]).measured_ms, Some(0), "it ended at once");
    }
}
