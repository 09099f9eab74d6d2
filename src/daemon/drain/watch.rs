//! The thread that looks whether anything still passes where it is drained. While nothing is, it sleeps.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::Builder;
use std::time::{Duration, Instant};

use crossbeam::channel::{Receiver, RecvTimeoutError, Sender, unbounded};
use tracing::info;

use crate::admin::protocol::DrainTarget;
use crate::admin::rows::DrainFlow;
use crate::clock::now_ms;
use crate::events::{Event, Reporter};
use crate::tables::VifId;
use crate::tables::counters::WorkerCounters;

/// Between two readings of the counters.
const PERIOD: Duration = Duration::from_secs(1);
/// Readings after which it is known what passes.
const WINDOW: usize = 3;
/// VIFs that are named of those by which something passes.
const NAMED: usize = 10;

/// What is to be watched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Watched {
    pub target: DrainTarget,
    pub since_ms: u64,
    pub at_most: u64,
    pub vifs: Vec<(VifId, Arc<str>)>,
}

/// What passes there.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Standing {
    /// Since when nothing does: milliseconds since 1970.
    pub quiet_ms: Option<u64>,
    /// Frames a second that enter and leave.
    pub rx: f64,
    pub tx: f64,
    /// By VIF, those with most first.
    pub flows: Vec<DrainFlow>,
}

/// Everybody else's end.
pub(super) struct Watch {
    orders: Sender<Vec<Watched>>,
    seen: Arc<Mutex<BTreeMap<DrainTarget, Standing>>>,
}

impl Watch {
    /// Starts the thread, which ends when nobody has this any more.
    ///
    /// # Errors
    /// The system's, where there is no thread left.
    pub fn start(workers: Vec<Arc<WorkerCounters>>, report: Reporter) -> std::io::Result<Watch> {
        let ((orders, theirs), seen) = (unbounded(), Arc::<Mutex<_>>::default());
        let shown = seen.clone();
        let work = move || {
            let mut book = Book { watches: Vec::new(), report, shown };
            while let Some(order) = book.wait(&theirs) {
                if let Some(watched) = order {
                    book.follow(watched);
                } else {
                    book.read(&|id| passed(&workers, id), Instant::now(), now_ms());
                }
                book.show();
            }
        };
        Builder::new().name("drains".into()).spawn(work)?;
        Ok(Watch { orders, seen })
    }

    /// These are watched from now on.
    pub fn follow(&self, watched: Vec<Watched>) {
        // The thread ends only with the station.
        drop(self.orders.send(watched));
    }

    /// What passes; nothing is known of it at first.
    pub fn standing(&self, target: &DrainTarget) -> Standing {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.get(target).cloned().unwrap_or_default()
    }
}

/// Frames of others that entered by a VIF and were forwarded, and that were forwarded to leave by it, since the start.
pub(in crate::daemon) fn passed(workers: &[Arc<WorkerCounters>], id: VifId) -> (u64, u64) {
    let of = |worker: &Arc<WorkerCounters>| {
        worker.consistent(|worker| {
            let vif = worker.vif(id);
            let forwarded = vif.tx_frames.get().wrapping_sub(vif.rare.originated.get());
            (vif.forwarded.get(), forwarded)
        })
    };
    let add = |(rx, tx): (u64, u64), (more_rx, more_tx): (u64, u64)| {
        (rx.wrapping_add(more_rx), tx.wrapping_add(more_tx))
    };
    workers.iter().map(of).fold((0, 0), add)
}

/// What had passed at a moment, VIF by VIF.
struct Reading {
    at: Instant,
    passed: Vec<(u64, u64)>,
}

struct Watching {
    watched: Watched,
    readings: VecDeque<Reading>,
    standing: Standing,
    /// It was told that it is quiet.
    told: bool,
}

/// What the thread has.
struct Book {
    watches: Vec<Watching>,
    report: Reporter,
    shown: Arc<Mutex<BTreeMap<DrainTarget, Standing>>>,
}

impl Book {
    /// Waits for an order or for the time to read; `None` where nobody is left to give one.
    fn wait(&self, orders: &Receiver<Vec<Watched>>) -> Option<Option<Vec<Watched>>> {
        if self.watches.is_empty() {
            return orders.recv().ok().map(Some);
        }
        match orders.recv_timeout(PERIOD) {
            Ok(order) => Some(Some(order)),
            Err(RecvTimeoutError::Timeout) => Some(None),
            Err(RecvTimeoutError::Disconnected) => None,
        }
    }

    /// Watches these. What stays the same goes on.
    fn follow(&mut self, watched: Vec<Watched>) {
        let mut old = std::mem::take(&mut self.watches);
        for watched in watched {
            let same = |old: &Watching| {
                (&old.watched.target, old.watched.since_ms) == (&watched.target, watched.since_ms)
            };
            let before = old.iter().position(same).map(|at| old.swap_remove(at));
            self.watches.push(match before {
                Some(before) if before.watched == watched => before,
                // Other VIFs, or another threshold: it is found out again.
                before => Watching {
                    watched,
                    readings: VecDeque::new(),
                    standing: Standing::default(),
                    told: before.is_some_and(|before| before.told),
                },
            });
        }
    }

    /// Reads the counters, and tells what has become quiet.
    fn read(&mut self, passed: &dyn Fn(VifId) -> (u64, u64), now: Instant, now_ms: u64) {
        for watching in &mut self.watches {
            let passed = watching.watched.vifs.iter().map(|(id, _)| passed(*id)).collect();
            watching.readings.push_back(Reading { at: now, passed });
            if watching.readings.len() > WINDOW + 1 {
                watching.readings.pop_front();
            }
            watching.look(now_ms);
            if watching.standing.quiet_ms.is_some() && !watching.told {
                watching.told = true;
                let (target, since_ms) = (&watching.watched.target, watching.watched.since_ms);
                let event = Event::DrainQuiet {
                    scope: target.scope.word().to_owned(),
                    name: target.name.clone(),
                    after_ms: now_ms.saturating_sub(since_ms),
                };
                info!("{event}");
                self.report.tell(event);
            }
        }
    }

    fn show(&self) {
        let shown = self.watches.iter();
        let shown = shown.map(|each| (each.watched.target.clone(), each.standing.clone()));
        *self.shown.lock().unwrap_or_else(PoisonError::into_inner) = shown.collect();
    }
}

impl Watching {
    /// What stands, from the readings.
    fn look(&mut self, now_ms: u64) {
        let (Some(first), Some(last)) = (self.readings.front(), self.readings.back()) else {
            return;
        };
        let seconds = last.at.duration_since(first.at).as_secs_f64();
        if seconds <= 0.0 {
            return;
        }
        let known = self.readings.len() > WINDOW;
        #[expect(clippy::cast_precision_loss, reason = "rates for people")]
        let rate = |frames: u64| frames as f64 / seconds;
        let vifs = self.watched.vifs.iter().zip(first.passed.iter().zip(&last.passed));
        let (mut frames, mut flows) = ((0_u64, 0_u64), Vec::new());
        for ((_, vif), (before, now)) in vifs {
            let (rx, tx) = (now.0.wrapping_sub(before.0), now.1.wrapping_sub(before.1));
            frames = (frames.0 + rx, frames.1 + tx);
            if rx + tx > 0 {
                let (rx, tx) = (rate(rx), rate(tx));
                flows.push(DrainFlow {
                    vif: vif.to_string(),
                    rx_frames_per_s: rx,
                    tx_frames_per_s: tx,
                });
            }
        }
        let busy = |flow: &DrainFlow| flow.rx_frames_per_s + flow.tx_frames_per_s;
        flows.sort_by(|a, b| busy(b).total_cmp(&busy(a)));
        flows.truncate(NAMED);
        #[expect(clippy::cast_precision_loss, reason = "a threshold for people")]
        let quiet = known && rate(frames.0 + frames.1) <= self.watched.at_most as f64;
        let quiet_ms = quiet.then(|| self.standing.quiet_ms.unwrap_or(now_ms));
        self.standing = Standing { quiet_ms, rx: rate(frames.0), tx: rate(frames.1), flows };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::protocol::DrainScope;

    fn watched(at_most: u64, vifs: &[u16]) -> Watched {
        let target = DrainTarget { scope: DrainScope::Port, name: Some("p".into()) };
        let vifs = vifs.iter().map(|id| (VifId(*id), format!("v{id}").into())).collect();
        Watched { target, since_ms: 1000, at_most, vifs }
    }

    #[test]
    fn it_is_quiet_once_nothing_passed_for_three_seconds() {
        let mut book =
            Book { watches: Vec::new(), report: Reporter::nowhere(), shown: Arc::default() };
        book.follow(vec![watched(0, &[1, 2])]);
        let (start, mut second) = (Instant::now(), 0);
        let mut turn = |book: &mut Book, passed: [(u64, u64); 2]| {
            second += 1;
            let at = start + Duration::from_secs(second);
            book.read(&|id| passed[usize::from(id.0) - 1], at, 1000 * second);
            book.show();
            let standing = book.shown.lock().unwrap().values().next().cloned().unwrap();
            (standing.quiet_ms, standing.rx, standing.tx, standing.flows.len())
        };
        assert_eq!(turn(&mut book, [(5, 0), (0, 9)]), (None, 0.0, 0.0, 0), "nothing is known");
        turn(&mut book, [(5, 0), (0, 9)]);
        turn(&mut book, [(5, 3), (0, 9)]);
        assert_eq!(turn(&mut book, [(5, 3), (0, 15)]), (None, 0.0, 3.0, 2));
        assert_eq!(book.watches[0].standing.flows[0].vif, "v2", "the one with most first");
        turn(&mut book, [(5, 3), (0, 15)]);
        assert_eq!(turn(&mut book, [(5, 3), (0, 15)]), (None, 0.0, 2.0, 1));
        assert_eq!(turn(&mut book, [(5, 3), (0, 15)]), (Some(7000), 0.0, 0.0, 0));
        assert_eq!(turn(&mut book, [(5, 3), (0, 15)]).0, Some(7000), "since when");
        // The same order changes nothing; other VIFs are found out anew.
        book.follow(vec![watched(0, &[1, 2])]);
        assert_eq!(turn(&mut book, [(6, 3), (0, 15)]).0, None);
        book.follow(vec![watched(1, &[1, 2])]);
        assert!(book.watches[0].readings.is_empty() && book.watches[0].told);
        let rates: Vec<_> = (7..=10).map(|n| turn(&mut book, [(n, 3), (0, 15)])).collect();
        assert_eq!(rates[2].0, None);
        assert_eq!((rates[3].0.is_some(), rates[3].1), (true, 1.0), "no more than may pass");
        book.follow(Vec::new());
        book.show();
        assert!(book.shown.lock().unwrap().is_empty());
    }
}
