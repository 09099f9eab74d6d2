//! A probe that runs: when its targets are asked, what exactly, and what is shown of them.

use std::time::Instant;

use super::super::slow_thread::Asks;
use super::Plan;
use crate::admin::rows::TargetRow;
use crate::probes::{Counts, Measure, Probe, Question, Recorder, State};
use crate::slowpath;
use crate::wire::twamp::HOP_LIMIT;

/// A probe that runs.
pub(super) struct Running {
    pub plan: Plan,
    pub probe: Probe,
    /// When each target is asked next.
    pub due: Vec<Instant>,
    /// Since when it is told to be down.
    pub down_since: Option<Instant>,
    /// Its next hop is out of use.
    pub lost: bool,
}

impl Running {
    pub fn new(number: u64, plan: Plan, recorder: &Recorder, now: Instant) -> Running {
        let targets = plan.config.targets.len();
        // They are spread over the interval (by the golden ratio, which spreads any number).
        let at = |target: usize| {
            let turn = number.wrapping_mul(8).wrapping_add(target as u64);
            let part = turn.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 48;
            now + plan.config.interval * u32::try_from(part).unwrap_or(0) / (1 << 16)
        };
        let due = (0..targets).map(at).collect();
        let probe = Probe::new(targets, recorder, now);
        Running { plan, probe, due, down_since: None, lost: false }
    }

    /// Goes on by another configuration that asks the same.
    pub fn follow(mut self, plan: Plan, now: Instant) -> Running {
        let (old, new) = (self.plan.config.rule, plan.config.rule);
        self.probe.targets.iter_mut().for_each(|target| target.follow(&old, &new));
        // A shorter interval holds at once.
        for due in &mut self.due {
            *due = (*due).min(now + plan.config.interval);
        }
        Running { plan, ..self }
    }

    pub fn names(&self) -> (String, String) {
        (self.plan.config.name.to_string(), self.plan.config.vif.to_string())
    }

    pub fn question(&self, target: usize, id: u16, sequence: u16) -> slowpath::Probe {
        let config = &self.plan.config;
        let sent = self.probe.targets[target].counts().sent;
        let question = match config.question {
            Question::Twamp(port, octets, _) => {
                // The numbers of a session begin anew after 2^32.
                let number = u32::try_from(sent & u64::from(u32::MAX)).unwrap_or(0);
                Question::Twamp(port, octets, number)
            }
            question => question,
        };
        slowpath::Probe {
            vif: self.plan.vif,
            of: self.plan.of.clone(),
            to: config.targets[target],
            hop_limit: HOP_LIMIT,
            dont_fragment: false,
            via: config.next_hop,
            question,
            id,
            room: Asks::Configured.room(),
            sequence,
            patience_ns: u64::try_from(config.timeout.as_nanos()).unwrap_or(u64::MAX),
        }
    }

    /// Why it is down.
    pub fn reason(&self) -> String {
        let down = self.plan.config.targets.iter().zip(&self.probe.targets);
        let down = down.filter(|(_, target)| target.state() == State::Down);
        let words: Vec<String> =
            down.map(|(address, target)| format!("{address}: {}", target.message())).collect();
        words.join("; ")
    }

    pub fn row(&self, at: usize, now: Instant) -> (TargetRow, Counts) {
        let (config, target) = (&self.plan.config, &self.probe.targets[at]);
        let [p50_us, p99_us, max_us] = match target.recent_us() {
            Some(recent) => recent.map(Some),
            None => [None; 3],
        };
        let (probe, vif) = self.names();
        let counts = target.counts();
        let held = |until: Instant| until.saturating_duration_since(now).as_secs();
        let row = TargetRow {
            probe,
            vif,
            labels: Default::default(),
            target: config.targets[at],
            kind: config.question.kind().to_owned(),
            port: config.question.port(),
            source: self.plan.sources[at],
            state: target.state().word().to_owned(),
            since_s: now.saturating_duration_since(target.since()).as_secs(),
            probe_state: self.probe.state().word().to_owned(),
            held_s: self.probe.held_until().map(held),
            next_hop: config.next_hop,
            sent: counts.sent,
            received: counts.received,
            lost: counts.lost,
            window: target.window() as u64,
            loss_percent: target.measure(Measure::Loss),
            last_us: target.last_us(),
            p50_us,
            p99_us,
            max_us,
            jitter_us: target.measure(Measure::Jitter),
            message: target.message().to_owned(),
        };
        (row, *counts)
    }
}
