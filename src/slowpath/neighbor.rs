//! What is known of neighbors: a state machine that knows neither packets nor tables. Time comes in,
//! actions go out; `arp` and `nd` speak the protocols.
//!
//! A new neighbor is asked for three times, a second apart. One that answers is asked again about
//! every 30 s: three times at its MAC, then three times everybody, then it is lost. Next hops of
//! routes are asked for for ever; other neighbors that do not answer are forgotten.
//!
//! One who answers later with another MAC does not simply take an entry over: the old MAC is asked
//! first, and only if it is silent everybody is asked and the first answer taken.
//!
//! Each VIF has its own limits (RFC 6583): a scan of one tenant's subnet evicts nobody's neighbors.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::IpAddr;

use super::{NeighborEvent, NeighborRow, NeighborState};
use crate::tables::VifId;
use crate::wire::ethernet::Mac;

/// Most neighbors of a VIF that are being asked for and are no route's next hop.
pub const MAX_INCOMPLETE: usize = 64;
/// Most neighbors of a VIF that are no route's next hop.
pub const MAX_LEARNED: usize = 1024;
const TRIES: u8 = 3;
const MILLISECOND: u64 = 1_000_000;
/// Between two tries (RFC 4861 RETRANS_TIMER).
const RETRY: u64 = 1_000 * MILLISECOND;
/// Between two tries at a MAC that another one contests: a router that took over its peer's address
/// should not wait for seconds.
const CONTESTED_RETRY: u64 = 200 * MILLISECOND;
/// Between two tries for a next hop that does not answer.
const FAILED_RETRY: u64 = 5_000 * MILLISECOND;
/// RFC 4861 REACHABLE_TIME, times 5/6 to 7/6.
const REACHABLE: u64 = 25_000 * MILLISECOND;
const REACHABLE_JITTER: u64 = 10_000 * MILLISECOND;

/// A neighbor: the same address on another VIF is another neighbor.
pub type Key = (VifId, IpAddr);

/// A packet that waits for its next hop.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Waiting {
    /// The VIF it came by (or the frame that it answers).
    pub ingress: VifId,
    /// The priority it came with.
    pub priority: u8,
    /// To be forwarded as it was received; otherwise ours, ready to be sent.
    pub forward: bool,
    /// The IP packet.
    pub packet: Vec<u8>,
}

/// What has to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Ask for the neighbor: at this MAC, or everybody.
    Ask(Key, Option<Mac>),
    /// Tell the control plane.
    Event(NeighborEvent),
    /// The neighbor was resolved: send what waited.
    Send(Key, Mac, Waiting),
    /// It was not.
    GiveUp(Waiting),
}

/// What becomes of a packet for a neighbor.
#[derive(Debug, PartialEq, Eq)]
pub enum Lookup {
    /// Send it there.
    Known(Mac, Waiting),
    /// It waits.
    Queued,
    /// Another one waits already.
    QueueFull,
    /// The VIF has too many neighbors.
    Limit,
    /// The neighbor does not answer.
    Failed(Waiting),
}

/// What a message from a neighbor meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heard {
    /// Nobody needs this neighbor.
    Unknown,
    /// As known, or news that was taken.
    Taken,
    /// Another MAC than the known one, which is asked now.
    Contested,
}

#[derive(Debug)]
enum State {
    Incomplete { tries: u8, waiting: Option<Waiting> },
    Reachable { mac: Mac },
    Probing { mac: Mac, tries: u8, contested: bool },
    Failed,
}

#[derive(Debug)]
struct Entry {
    state: State,
    /// When it last answered, or was first asked for.
    since: u64,
    /// When the timer runs out.
    due: u64,
    /// A route's next hop: asked for until it answers, and not counted against the limits.
    wanted: bool,
    /// When the control plane was last told its MAC.
    told: u64,
}

impl Entry {
    fn mac(&self) -> Option<Mac> {
        match self.state {
            State::Reachable { mac } | State::Probing { mac, .. } => Some(mac),
            State::Incomplete { .. } | State::Failed => None,
        }
    }
}

/// All neighbors.
#[derive(Debug, Default)]
pub struct Neighbors {
    entries: BTreeMap<Key, Entry>,
    timers: BTreeSet<(u64, Key)>,
}

impl Neighbors {
    fn put(&mut self, key: Key, entry: Entry) {
        self.timers.insert((entry.due, key));
        self.entries.insert(key, entry);
    }

    fn take(&mut self, key: Key) -> Option<Entry> {
        let entry = self.entries.remove(&key)?;
        self.timers.remove(&(entry.due, key));
        Some(entry)
    }

    /// The MAC of a neighbor.
    pub fn mac(&self, key: Key) -> Option<Mac> {
        self.entries.get(&key)?.mac()
    }

    /// A packet for a neighbor: what to do with it. Starts to ask where nobody did.
    pub fn send(&mut self, now: u64, key: Key, packet: Waiting, act: &mut Vec<Action>) -> Lookup {
        if let Some(entry) = self.entries.get_mut(&key) {
            return match &mut entry.state {
                State::Reachable { mac } | State::Probing { mac, .. } => {
                    Lookup::Known(*mac, packet)
                }
                State::Failed => Lookup::Failed(packet),
                State::Incomplete { waiting: Some(_), .. } => Lookup::QueueFull,
                State::Incomplete { waiting, .. } => {
                    *waiting = Some(packet);
                    Lookup::Queued
                }
            };
        }
        let (mut learned, mut incomplete) = (0, 0);
        for (_, entry) in self.on_vif(key.0).filter(|(_, entry)| !entry.wanted) {
            learned += 1;
            incomplete += usize::from(matches!(entry.state, State::Incomplete { .. }));
        }
        if learned >= MAX_LEARNED || incomplete >= MAX_INCOMPLETE {
            return Lookup::Limit;
        }
        let state = State::Incomplete { tries: 1, waiting: Some(packet) };
        let due = now.saturating_add(RETRY);
        self.put(key, Entry { state, since: now, due, wanted: false, told: 0 });
        act.push(Action::Ask(key, None));
        Lookup::Queued
    }

    /// The neighbor is a next hop of a route and has no MAC there. It is asked for from `start` on.
    /// A known one is reported (again).
    pub fn want(&mut self, now: u64, start: u64, key: Key, act: &mut Vec<Action>) {
        match self.entries.get_mut(&key) {
            Some(entry) => {
                entry.wanted = true;
                if let Some(mac) = entry.mac() {
                    act.push(resolved(key, mac));
                }
            }
            None => {
                let state = State::Incomplete { tries: 0, waiting: None };
                self.put(key, Entry { state, since: now, due: start, wanted: true, told: 0 });
            }
        }
    }

    /// Whether the neighbor is asked for until it answers.
    pub fn is_wanted(&self, key: Key) -> bool {
        self.entries.get(&key).is_some_and(|entry| entry.wanted)
    }

    /// A packet for the neighbor came by the slow path because the tables do not know it: the
    /// control plane may have had no room for it, or have forgotten it. A known one is reported
    /// again, at most once a second.
    pub fn tell_again(&mut self, now: u64, key: Key, act: &mut Vec<Action>) {
        let Some(entry) = self.entries.get_mut(&key) else { return };
        if let Some(mac) = entry.mac()
            && now.saturating_sub(entry.told) >= RETRY
        {
            entry.told = now;
            act.push(resolved(key, mac));
        }
    }

    /// Something came from the neighbor. `answer`: it answers a question of ours, so frames pass
    /// both ways.
    pub fn heard(
        &mut self,
        now: u64,
        key: Key,
        from: Mac,
        answer: bool,
        act: &mut Vec<Action>,
    ) -> Heard {
        let Some(entry) = self.take(key) else { return Heard::Unknown };
        let Entry { wanted, told, .. } = entry;
        let reachable = Entry {
            state: State::Reachable { mac: from },
            since: now,
            due: now.saturating_add(REACHABLE + jitter(now, key)),
            wanted,
            told: now,
        };
        match entry.state {
            State::Incomplete { waiting, .. } => {
                act.push(resolved(key, from));
                act.extend(waiting.map(|packet| Action::Send(key, from, packet)));
                self.put(key, reachable);
            }
            State::Failed => {
                act.push(resolved(key, from));
                self.put(key, reachable);
            }
            State::Reachable { mac } | State::Probing { mac, .. } if mac == from => {
                self.put(key, if answer { Entry { told, ..reachable } } else { entry });
            }
            // The old MAC was silent: the first to answer everybody's question has the address.
            State::Probing { tries, .. } if tries > TRIES => {
                act.push(resolved(key, from));
                self.put(key, reachable);
            }
            State::Probing { mac, tries, .. } => {
                let state = State::Probing { mac, tries, contested: true };
                let due = entry.due.min(now.saturating_add(CONTESTED_RETRY));
                self.put(key, Entry { state, due, ..entry });
                return Heard::Contested;
            }
            State::Reachable { mac } => {
                act.push(Action::Ask(key, Some(mac)));
                let state = State::Probing { mac, tries: 1, contested: true };
                let due = now.saturating_add(CONTESTED_RETRY);
                self.put(key, Entry { state, due, ..entry });
                return Heard::Contested;
            }
        }
        Heard::Taken
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

    fn expired(&mut self, now: u64, key: Key, entry: Entry, act: &mut Vec<Action>) {
        let Entry { since, wanted, told, .. } = entry;
        let (state, wait) = match entry.state {
            State::Incomplete { tries, waiting } if tries < TRIES => {
                act.push(Action::Ask(key, None));
                (State::Incomplete { tries: tries + 1, waiting }, RETRY)
            }
            State::Incomplete { waiting, .. } => {
                act.extend(waiting.map(Action::GiveUp));
                if !wanted {
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
                (State::Probing { mac, tries: 1, contested: false }, RETRY)
            }
            State::Probing { mac, tries, contested } if tries < 2 * TRIES => {
                act.push(Action::Ask(key, (tries < TRIES).then_some(mac)));
                let wait = if contested && tries < TRIES { CONTESTED_RETRY } else { RETRY };
                (State::Probing { mac, tries: tries + 1, contested }, wait)
            }
            State::Probing { .. } => {
                act.push(lost(key));
                if !wanted {
                    return;
                }
                (State::Failed, FAILED_RETRY)
            }
        };
        self.put(key, Entry { state, since, due: now.saturating_add(wait), wanted, told });
    }

    /// Keeps what `keep` says yes to; the others are lost without a question. `wanted` says which
    /// are still next hops of routes: failed ones that no longer are go too.
    pub fn retain(
        &mut self,
        keep: impl Fn(Key) -> bool,
        wanted: impl Fn(Key) -> bool,
        act: &mut Vec<Action>,
    ) {
        let timers = &mut self.timers;
        self.entries.retain(|&key, entry| {
            entry.wanted = entry.wanted && wanted(key);
            let failed = matches!(entry.state, State::Failed);
            let stays = keep(key) && (entry.wanted || !failed);
            if !stays {
                timers.remove(&(entry.due, key));
                if entry.mac().is_some() {
                    act.push(lost(key));
                }
            }
            stays
        });
    }

    /// Forgets waiting packets that came by a VIF which is no longer what it was.
    pub fn drop_waiting(&mut self, gone: impl Fn(VifId) -> bool) {
        for entry in self.entries.values_mut() {
            if let State::Incomplete { waiting, .. } = &mut entry.state {
                waiting.take_if(|packet| gone(packet.ingress));
            }
        }
    }

    fn on_vif(&self, vif: VifId) -> impl Iterator<Item = (&Key, &Entry)> {
        let first = IpAddr::from([0; 4]);
        let last = IpAddr::from([0xff; 16]);
        self.entries.range((vif, first)..=(vif, last))
    }

    /// All neighbors, ordered by VIF and address.
    pub fn rows(&self, now: u64) -> impl Iterator<Item = NeighborRow> + '_ {
        self.entries.iter().map(move |(&(vif, address), entry)| NeighborRow {
            vif,
            address,
            mac: entry.mac(),
            state: match entry.state {
                State::Incomplete { .. } => NeighborState::Incomplete,
                State::Reachable { .. } => NeighborState::Reachable,
                State::Probing { .. } => NeighborState::Probing,
                State::Failed => NeighborState::Failed,
            },
            age_ns: now.saturating_sub(entry.since),
        })
    }
}

fn resolved((vif, address): Key, mac: Mac) -> Action {
    Action::Event(NeighborEvent::Resolved { vif, address, mac })
}

fn lost((vif, address): Key) -> Action {
    Action::Event(NeighborEvent::Lost { vif, address })
}

/// Keeps neighbors that were learned together from being asked together. Needs no secret, so that
/// the same input gives the same output.
fn jitter(now: u64, key: Key) -> u64 {
    let mut hasher = DefaultHasher::new();
    (now, key).hash(&mut hasher);
    hasher.finish() % REACHABLE_JITTER
}
