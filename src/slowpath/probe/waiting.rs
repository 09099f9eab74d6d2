//! Requests that are waited for.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;

use super::ProbeAnswer;
use crate::tables::{VifId, VrfId};

/// The first of the ports that the station asks from, as Linux does.
const FIRST_PORT: u16 = 32_768;

/// What an answer is known by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Key {
    pub vrf: VrfId,
    pub own: IpAddr,
    pub tag: Tag,
}

/// What of a request its answer has, too.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Tag {
    /// Id and sequence number.
    Echo(u16, u16),
    /// Protocol, and the port that was asked from.
    Port(u8, u16),
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Expected {
    /// Who sent it, and which of theirs it was.
    pub by: (u16, u16),
    pub vif: VifId,
    pub to: IpAddr,
    /// The port that was asked; 0 where there are none.
    pub port: u16,
    /// What nobody knows who has not seen it: TCP's sequence number, TWAMP's with its timestamp.
    pub token: u128,
    pub sent_ns: u64,
    pub until_ns: u64,
}

/// Requests that are waited for, and answers that nobody has taken yet.
#[derive(Debug, Default)]
pub(in super::super) struct Probes {
    waiting: HashMap<Key, Expected>,
    /// How many are waited for, by sender.
    held: HashMap<u16, usize>,
    pub(super) answers: Vec<ProbeAnswer>,
    random: RandomState,
    /// Ports that were taken so far.
    ports: u64,
}

impl Probes {
    /// Forgets what is overdue.
    pub fn expire(&mut self, now_ns: u64) {
        if !self.waiting.is_empty() {
            self.forget(|expected| expected.until_ns <= now_ns);
        }
    }

    /// Waits no longer for what a sender has sent.
    pub fn forget_sender(&mut self, id: u16) {
        self.forget(|expected| expected.by.0 == id);
        self.held.remove(&id);
    }

    fn forget(&mut self, which: impl Fn(&Expected) -> bool) {
        let held = &mut self.held;
        self.waiting.retain(|_, expected| {
            let gone = which(expected);
            if gone {
                release(held, expected);
            }
            !gone
        });
    }

    /// How many of a sender's requests are waited for.
    pub(super) fn held(&self, id: u16) -> usize {
        self.held.get(&id).copied().unwrap_or(0)
    }

    /// Waits for the answer to a request.
    pub(super) fn wait_for(&mut self, key: Key, expected: Expected) {
        *self.held.entry(expected.by.0).or_default() += 1;
        // A number that comes again while its last one is on its way: that one is not told any more.
        if let Some(older) = self.waiting.insert(key, expected) {
            release(&mut self.held, &older);
        }
    }

    /// The request that has this answer, which it has had then, if the rest of the answer is its own too.
    pub(super) fn take(
        &mut self,
        key: &Key,
        is_its: impl Fn(&Expected) -> bool,
    ) -> Option<Expected> {
        let expected = *self.waiting.get(key).filter(|expected| is_its(expected))?;
        self.waiting.remove(key);
        release(&mut self.held, &expected);
        Some(expected)
    }

    /// The next port to ask from, and a number to know the answer by that nobody guesses.
    pub(super) fn next_port(&mut self) -> (u16, u32) {
        self.ports += 1;
        let [a, b, ..] = self.ports.to_le_bytes();
        let [c, d, e, f, ..] = self.random.hash_one(self.ports).to_le_bytes();
        (u16::from_le_bytes([a, b]) | FIRST_PORT, u32::from_le_bytes([c, d, e, f]))
    }
}

fn release(held: &mut HashMap<u16, usize>, expected: &Expected) {
    if let Some(held) = held.get_mut(&expected.by.0) {
        *held -= 1;
    }
}
