//! What the answers of one target say.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use hdrhistogram::{CreationError, Histogram};

use super::{Rule, State};

/// How many of the last questions loss and RTT are judged by.
const WINDOW: usize = 100;
/// Of fewer nothing is said.
const ENOUGH: usize = 10;
/// What was beyond its limit counts as within again at this part of it.
const WITHIN: (u32, u32) = (3, 4);
/// RTTs are forgotten after one to two of these spans.
const RECENT: Duration = Duration::from_secs(900);
/// The longest RTT that there is: microseconds.
const LONGEST_US: u64 = 10_000_000;
/// Upper bounds of a metric's buckets: microseconds.
pub const BUCKETS_US: [u32; 16] = [
    50, 100, 200, 500, 1_000, 2_000, 5_000, 10_000, 20_000, 50_000, 100_000, 200_000, 500_000,
    1_000_000, 2_000_000, 5_000_000,
];

/// What has a limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Measure {
    /// Questions without an answer, in percent.
    Loss,
    /// The median RTT, in microseconds.
    Rtt,
    /// How much RTTs differ from one to the next (RFC 3550 6.4.1), in microseconds.
    Jitter,
}

impl Measure {
    /// All of them.
    pub const ALL: [Measure; 3] = [Measure::Loss, Measure::Rtt, Measure::Jitter];

    /// As in JSON.
    pub const fn word(self) -> &'static str {
        match self {
            Measure::Loss => "loss",
            Measure::Rtt => "rtt",
            Measure::Jitter => "jitter",
        }
    }
}

/// A measure has passed its limit, or is within it again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Crossing {
    /// Which.
    pub measure: Measure,
    /// It is beyond it.
    pub beyond: bool,
    /// What it is.
    pub value: u32,
    /// The limit.
    pub limit: u32,
}

/// What histograms of RTTs are made by.
#[derive(Debug)]
pub struct Recorder(Histogram<u32>);

impl Recorder {
    /// To 1 % of what was measured.
    ///
    /// # Errors
    /// None with these bounds.
    pub fn new() -> Result<Recorder, CreationError> {
        Histogram::new_with_bounds(1, LONGEST_US, 2).map(Recorder)
    }
}

/// What is counted since the target is asked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Questions that left.
    pub sent: u64,
    /// Those that were answered.
    pub received: u64,
    /// Those that were not, in time.
    pub lost: u64,
    /// The answers' RTTs by [`BUCKETS_US`], and beyond.
    pub buckets: [u64; BUCKETS_US.len() + 1],
    /// Their sum: microseconds.
    pub sum_us: u64,
}

/// A target and what is known of it.
#[derive(Debug)]
pub struct Target {
    state: State,
    since: Instant,
    /// Answers or misses, and how many in a row.
    run: (bool, u32),
    counts: Counts,
    /// The last results: RTTs in microseconds, none of a miss.
    window: VecDeque<Option<u32>>,
    /// RTTs of the span that is running, and of the one before it.
    recent: [Histogram<u32>; 2],
    recent_since: Instant,
    last_us: Option<u32>,
    /// In sixteenths of a microsecond (RFC 3550 A.8).
    jitter: u32,
    beyond: [bool; Measure::ALL.len()],
    message: String,
}

impl Target {
    pub(super) fn new(recorder: &Recorder, now: Instant) -> Target {
        Target {
            state: State::Unknown,
            since: now,
            run: (true, 0),
            counts: Counts::default(),
            window: VecDeque::new(),
            recent: [(); 2].map(|()| Histogram::new_from(&recorder.0)),
            recent_since: now,
            last_us: None,
            jitter: 0,
            beyond: [false; 3],
            message: String::new(),
        }
    }

    /// What it is.
    pub fn state(&self) -> State {
        self.state
    }

    /// Since when.
    pub fn since(&self) -> Instant {
        self.since
    }

    /// What is counted of it.
    pub fn counts(&self) -> &Counts {
        &self.counts
    }

    /// Why the last question has no answer; empty where it has.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// The last RTT: microseconds.
    pub fn last_us(&self) -> Option<u32> {
        self.last_us
    }

    /// RTTs of the last 15 to 30 minutes: the median, the 99th percentile and the longest, in microseconds.
    pub fn recent_us(&self) -> Option<[u64; 3]> {
        let mut all = self.recent[0].clone();
        all.add(&self.recent[1]).ok()?;
        let quantiles = || [all.value_at_quantile(0.5), all.value_at_quantile(0.99), all.max()];
        (!all.is_empty()).then(quantiles)
    }

    /// A measure of the last questions, and how many they are. `None` where there is nothing to measure.
    pub fn measure(&self, measure: Measure) -> Option<u32> {
        let answered = self.window.iter().flatten();
        match measure {
            Measure::Loss => {
                let (all, lost) = (self.window.len(), self.window.len() - answered.count());
                u32::try_from(100 * lost).ok()?.checked_div(u32::try_from(all).ok()?)
            }
            Measure::Rtt => {
                let mut rtts: Vec<u32> = answered.copied().collect();
                let middle = rtts.len() / 2;
                (!rtts.is_empty()).then(|| *rtts.select_nth_unstable(middle).1)
            }
            Measure::Jitter => self.last_us.map(|_| self.jitter >> 4),
        }
    }

    /// How many questions [`Target::measure`] looks at.
    pub fn window(&self) -> usize {
        self.window.len()
    }

    /// A question has left.
    pub fn sent(&mut self, now: Instant) {
        self.counts.sent += 1;
        if self.state == State::Idle {
            self.become_state(State::Unknown, now);
        }
    }

    /// No question can leave: the VIF or its port is down.
    pub fn idle(&mut self, now: Instant) {
        self.run = (true, 0);
        self.become_state(State::Idle, now);
    }

    /// It has answered.
    pub fn answered(&mut self, rtt_us: u32, rule: &Rule, now: Instant) -> Vec<Crossing> {
        let rtt_us = rtt_us.max(1);
        self.counts.received += 1;
        self.counts.sum_us += u64::from(rtt_us);
        let bucket = BUCKETS_US.partition_point(|&bound| bound < rtt_us);
        self.counts.buckets[bucket] += 1;
        if now.duration_since(self.recent_since) >= RECENT {
            self.recent.swap(0, 1);
            self.recent[0].reset();
            self.recent_since = now;
        }
        // Beyond the bounds it counts as the longest.
        self.recent[0].saturating_record(rtt_us.into());
        if let Some(last) = self.last_us {
            self.jitter =
                (self.jitter + last.abs_diff(rtt_us)).saturating_sub((self.jitter + 8) >> 4);
        }
        self.last_us = Some(rtt_us);
        self.message.clear();
        self.result(Some(rtt_us), rule, now)
    }

    /// It has not, in time, or not as asked.
    pub fn missed(&mut self, why: String, rule: &Rule, now: Instant) -> Vec<Crossing> {
        self.counts.lost += 1;
        self.message = why;
        self.result(None, rule, now)
    }

    /// It was not answered, and may not have been asked: which says nothing of it.
    pub fn unresolved(&mut self, why: String) {
        self.counts.lost += 1;
        self.message = why;
    }

    /// Another rule holds from now on: what it limits otherwise is looked at anew.
    pub fn follow(&mut self, old: &Rule, new: &Rule) {
        for (beyond, (old, new)) in self.beyond.iter_mut().zip(old.limits.iter().zip(&new.limits)) {
            *beyond &= old == new;
        }
    }

    fn result(&mut self, rtt_us: Option<u32>, rule: &Rule, now: Instant) -> Vec<Crossing> {
        if self.state == State::Idle {
            // From before the VIF or its port went down.
            return Vec::new();
        }
        let hit = rtt_us.is_some();
        let (of, count) = self.run;
        self.run = (hit, if of == hit { count.saturating_add(1) } else { 1 });
        let (needed, to) = if hit { (rule.hits, State::Up) } else { (rule.misses, State::Down) };
        if self.run.1 >= needed {
            self.become_state(to, now);
        }
        if self.window.len() == WINDOW {
            self.window.pop_front();
        }
        self.window.push_back(rtt_us);
        Measure::ALL.into_iter().filter_map(|measure| self.crossing(measure, rule)).collect()
    }

    fn crossing(&mut self, measure: Measure, rule: &Rule) -> Option<Crossing> {
        let limit = rule.limits[measure as usize]?;
        let value = self.measure(measure).filter(|_| self.window.len() >= ENOUGH)?;
        let beyond = &mut self.beyond[measure as usize];
        let (part, whole) = WITHIN;
        let within = u64::from(value) * u64::from(whole) <= u64::from(limit) * u64::from(part);
        let now = if *beyond { !within } else { value > limit };
        (std::mem::replace(beyond, now) != now).then_some(Crossing {
            measure,
            beyond: now,
            value,
            limit,
        })
    }

    fn become_state(&mut self, state: State, now: Instant) {
        if self.state != state {
            (self.state, self.since) = (state, now);
        }
    }
}
