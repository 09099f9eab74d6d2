//! The transitions of a neighbor's state: by what is heard of it, and by time.

use std::hash::{DefaultHasher, Hash, Hasher};

use super::{Action, Entry, Heard, Key, Neighbors, Said, State, lost, resolved};
use crate::limit::Rate;
use crate::wire::ethernet::Mac;

const TRIES: u8 = 3;
const MILLISECOND: u64 = 1_000_000;
/// Between two tries (RFC 4861 RETRANS_TIMER).
pub(super) const RETRY: u64 = 1_000 * MILLISECOND;
/// Between two tries at a MAC whose address another one claims. With the slow path's tick of 10 ms,
/// three tries take 45 to 60 ms.
const CONTESTED_RETRY: u64 = 15 * MILLISECOND;
/// Until a MAC that has answered is asked once more: a router that gives its address up hears of the
/// new one as soon as the station does, and may answer a question before it acts on that.
const RECHECK: u64 = 30 * MILLISECOND;
/// How long a MAC that took an address over may leave the first question unanswered; then everybody
/// is asked.
const CONFIRMATION: u64 = 200 * MILLISECOND;
/// Claims of a neighbor's address that are looked into: the first four at once, then one a second.
/// So two routers that both say they have an address cost little, and move it at most that often.
const CLAIMS: Rate = Rate::new(1, 4);
/// Between two tries for a next hop that does not answer.
const FAILED_RETRY: u64 = 5_000 * MILLISECOND;
/// RFC 4861 REACHABLE_TIME, times 5/6 to 7/6.
const REACHABLE: u64 = 25_000 * MILLISECOND;
const REACHABLE_JITTER: u64 = 10_000 * MILLISECOND;

impl Neighbors {
    /// A message says where the neighbor is.
    pub fn heard(
        &mut self,
        now: u64,
        key: Key,
        from: Mac,
        said: Said,
        act: &mut Vec<Action>,
    ) -> Heard {
        let Some(mut entry) = self.take(key) else { return Heard::Unknown };
        let mut heard = Heard::Taken;
        match std::mem::replace(&mut entry.state, State::Failed) {
            State::Incomplete { waiting, .. } => {
                entry.learn(now, key, from, act);
                act.extend(waiting.map(|packet| Action::Send(key, from, packet)));
            }
            State::Failed => entry.learn(now, key, from, act),
            State::Contested { mac, claimant, answered: false, .. }
                if mac == from && said == Said::Answer =>
            {
                entry.state = State::Contested { mac, claimant, tries: 0, answered: true };
                entry.since = now;
                entry.due = now.saturating_add(RECHECK);
            }
            state if state.mac() == Some(from) => match said {
                Said::Answer => entry.reached(now, key, from),
                Said::Claim | Said::Doubt => entry.state = state,
            },
            // The old MAC was silent: the first to answer everybody's question has the address.
            state @ State::Probing { tries, .. } if tries > TRIES => match said {
                Said::Answer | Said::Claim => entry.learn(now, key, from, act),
                Said::Doubt => entry.state = state,
            },
            State::Contested { mac, claimant, tries, answered } => {
                let claimant = claimant_of(said, from).or(claimant);
                entry.state = State::Contested { mac, claimant, tries, answered };
                heard = Heard::Contested;
            }
            State::Reachable { mac } | State::Probing { mac, .. } => {
                let claimant = claimant_of(said, from);
                let (tries, wait) = match entry.claims.take(now, &CLAIMS) {
                    true => {
                        act.push(Action::Ask(key, Some(mac)));
                        (1, CONTESTED_RETRY)
                    }
                    false => (0, RETRY),
                };
                entry.state = State::Contested { mac, claimant, tries, answered: false };
                entry.due = now.saturating_add(wait);
                heard = Heard::Contested;
            }
        }
        self.put(key, entry);
        heard
    }

    /// Runs the timers that are due.
    pub fn expire(&mut self, now: u64, act: &mut Vec<Action>) {
        let due: Vec<Key> =
            self.timers.iter().take_while(|(due, _)| *due <= now).map(|&(_, key)| key).collect();
        for key in due {
            if let Some(entry) = self.take(key) {
                self.expired(now, key, entry, act);
            }
        }
    }

    fn expired(&mut self, now: u64, key: Key, mut entry: Entry, act: &mut Vec<Action>) {
        let (state, wait) = match entry.state {
            State::Incomplete { tries, waiting } if tries < TRIES => {
                act.push(Action::Ask(key, None));
                (State::Incomplete { tries: tries + 1, waiting }, RETRY)
            }
            State::Incomplete { waiting, .. } => {
                act.extend(waiting.map(Action::GiveUp));
                if !entry.wanted {
                    return;
                }
                (State::Failed, FAILED_RETRY)
            }
            State::Failed => {
                act.push(Action::Ask(key, None));
                (State::Failed, FAILED_RETRY)
            }
            State::Reachable { mac } => {
                act.push(Action::Ask(key, Some(mac)));
                (State::Probing { mac, tries: 1 }, RETRY)
            }
            State::Probing { mac, tries } if tries < 2 * TRIES => {
                act.push(Action::Ask(key, (tries < TRIES).then_some(mac)));
                (State::Probing { mac, tries: tries + 1 }, RETRY)
            }
            State::Probing { .. } => {
                act.push(lost(key));
                if !entry.wanted {
                    return;
                }
                (State::Failed, FAILED_RETRY)
            }
            State::Contested { mac, claimant, tries, answered } if tries < TRIES => {
                // A claim that was put off takes its token now.
                let _ = tries > 0 || answered || entry.claims.take(now, &CLAIMS);
                act.push(Action::Ask(key, Some(mac)));
                let tries = tries + 1;
                (State::Contested { mac, claimant, tries, answered }, CONTESTED_RETRY)
            }
            State::Contested { claimant: Some(mac), .. } => {
                act.push(resolved(key, mac));
                act.push(Action::Ask(key, Some(mac)));
                (entry.since, entry.told) = (now, now);
                (State::Probing { mac, tries: TRIES }, CONFIRMATION)
            }
            State::Contested { mac, claimant: None, .. } => {
                act.push(Action::Ask(key, None));
                (State::Probing { mac, tries: TRIES + 1 }, RETRY)
            }
        };
        self.put(key, Entry { state, due: now.saturating_add(wait), ..entry });
    }
}

impl Entry {
    /// Frames pass both ways, or the neighbor has said where it is.
    fn reached(&mut self, now: u64, key: Key, mac: Mac) {
        self.state = State::Reachable { mac };
        self.due = now.saturating_add(REACHABLE + jitter(now, key));
        self.since = now;
    }

    /// The same, and the MAC is news.
    fn learn(&mut self, now: u64, key: Key, mac: Mac, act: &mut Vec<Action>) {
        self.reached(now, key, mac);
        self.told = now;
        act.push(resolved(key, mac));
    }
}

/// The MAC that is to have the address where the known one is silent.
fn claimant_of(said: Said, from: Mac) -> Option<Mac> {
    (said != Said::Doubt).then_some(from)
}

/// Keeps neighbors that were learned together from being asked together. Needs no secret, so that
/// the same input gives the same output.
fn jitter(now: u64, key: Key) -> u64 {
    let mut hasher = DefaultHasher::new();
    (now, key).hash(&mut hasher);
    hasher.finish() % REACHABLE_JITTER
}
