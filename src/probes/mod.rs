//! Probes: what the answers to the station's questions say of targets, and the targets of a probe. Pure: whoever asks gives
//! the time and the answers.
//!
//! A target is up after so many answers in a row and down after so many misses. A probe is up while enough of its targets
//! are. What is down counts as up again after a while that doubles with each loss that comes soon after the last: no
//! target that flaps moves routes at its own pace.

mod damping;
pub mod history;
mod target;
#[cfg(test)]
mod tests;

use std::time::Instant;

pub use target::{BUCKETS_US, Counts, Crossing, Measure, Recorder, Target};

use damping::Damping;

/// What is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Question {
    /// An ICMP echo, with so many octets behind its header.
    Echo(u16),
    /// A TCP connection to this port: whoever accepts or refuses it is there. It is never opened.
    Syn(u16),
    /// TWAMP-light (RFC 5357 appendix I): the reflector's port, octets of UDP payload, and the packet's number.
    Twamp(u16, u16, u32),
}

impl Question {
    /// What kind of a question it is, as the configuration has it.
    pub const fn kind(self) -> &'static str {
        match self {
            Question::Echo(_) => "icmp",
            Question::Syn(_) => "tcp",
            Question::Twamp(..) => "twamp",
        }
    }

    /// The port that is asked.
    pub const fn port(self) -> Option<u16> {
        match self {
            Question::Echo(_) => None,
            Question::Syn(port) | Question::Twamp(port, ..) => Some(port),
        }
    }
}

/// What is known of a target or a probe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Nothing is asked: the VIF or its port is down.
    Idle,
    /// Not enough was asked yet.
    Unknown,
    /// It answers.
    Up,
    /// It does not.
    Down,
}

impl State {
    /// As in JSON.
    pub const fn word(self) -> &'static str {
        match self {
            State::Idle => "idle",
            State::Unknown => "unknown",
            State::Up => "up",
            State::Down => "down",
        }
    }
}

/// How answers are judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rule {
    /// Misses in a row after which a target is down.
    pub misses: u32,
    /// Answers in a row after which it is up.
    pub hits: u32,
    /// Targets that have to be up for the probe to be.
    pub need: usize,
    /// What loss, RTT and jitter may be: percent, and microseconds; by [`Measure`].
    pub limits: [Option<u32>; Measure::ALL.len()],
}

/// A probe: its targets, and what they make of it.
#[derive(Debug)]
pub struct Probe {
    /// Its targets.
    pub targets: Vec<Target>,
    state: State,
    damping: Damping,
}

impl Probe {
    /// A probe of so many targets, of which nothing is known.
    pub fn new(targets: usize, recorder: &Recorder, now: Instant) -> Probe {
        Probe {
            targets: (0..targets).map(|_| Target::new(recorder, now)).collect(),
            state: State::Unknown,
            damping: Damping::default(),
        }
    }

    /// What it is now.
    pub fn state(&self) -> State {
        self.state
    }

    /// When it counts as up, if it answers again but does not count yet.
    pub fn held_until(&self) -> Option<Instant> {
        self.damping.back_at()
    }

    /// Takes in what has become of its targets, or that time has passed. What it is now, if that is another.
    pub fn judge(&mut self, rule: &Rule, now: Instant) -> Option<State> {
        let count = |state| self.targets.iter().filter(|target| target.state() == state).count();
        let open = count(State::Unknown) + count(State::Idle);
        let to = if count(State::Idle) == self.targets.len() {
            State::Idle
        } else if count(State::Up) >= rule.need {
            State::Up
        } else if count(State::Up) + open >= rule.need && self.state != State::Down {
            State::Unknown
        } else {
            State::Down
        };
        let to = match (self.state, to) {
            (State::Down, State::Up) if !self.damping.is_over(now) => State::Down,
            // What was judged once stays so until enough is known to say otherwise.
            (State::Up, State::Unknown) => State::Up,
            _ => to,
        };
        if to != State::Down || count(State::Up) < rule.need {
            self.damping.ended();
        }
        if to == self.state {
            return None;
        }
        if to == State::Down {
            self.damping.lost(now);
        }
        self.state = to;
        Some(to)
    }
}
