//! What is known of neighbors: a state machine that knows neither packets nor tables. Time comes in,
//! actions go out; `arp` and `nd` speak the protocols. Its transitions are in `timers`.
//!
//! A new neighbor is asked for three times, a second apart. One that answers is asked again about
//! every 30 s: three times at its MAC, then three times everybody, then it is lost. Next hops of
//! routes are asked for for ever; other neighbors that do not answer are forgotten.
//!
//! Another MAC that claims a neighbor's address does not simply take it over: the known MAC is asked
//! three times within 60 ms and keeps the address if it answers, now and 30 ms later: a router that
//! gives way may answer a last time. If it is silent the claimant has the
//! address at once, and is asked itself. So a router that fails over is followed in less than 100 ms,
//! and one that merely claims to be another changes nothing. See `timers` for how flaps are damped.
//!
//! Each VIF has its own limits (RFC 6583): a scan of one tenant's subnet evicts nobody's neighbors.
//! Those who send to a VIF that many use share its limits: see [`crate::shares`].

mod timers;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use super::{NeighborEvent, NeighborRow, NeighborState};
use crate::limit::TokenBucket;
use crate::shares::Pool;
use crate::tables::VifId;
use crate::wire::ethernet::Mac;
use timers::RETRY;

/// Most neighbors of a VIF that are being asked for and are no route's next hop. Who alone sends to
/// the VIF gets half of them.
const MAX_INCOMPLETE: usize = 128;
/// Most neighbors of a VIF that are no route's next hop, likewise.
const MAX_LEARNED: usize = 2048;

/// A neighbor: the same address on another VIF is another neighbor.
pub type Key = (VifId, IpAddr);

/// A packet that waits for its next hop.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Waiting {
    /// The VIF it came by (or the frame that it answers).
    pub ingress: VifId,
    /// The priority and drop eligibility it came with, as a TCI's upper four bits have them.
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
    /// It waits in place of an older packet (RFC 1122 2.3.2.2, RFC 4861 7.2.2).
    Replaced,
    /// The VIF has too many neighbors.
    Limit,
    /// The neighbor does not answer.
    Failed(Waiting),
}

/// What a message says of a neighbor's MAC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Said {
    /// It answers a question of ours, so frames pass both ways.
    Answer,
    /// The neighbor is there, or has moved there.
    Claim,
    /// The neighbor may no longer be where it was.
    Doubt,
}

/// What a message from a neighbor meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heard {
    /// Nobody needs this neighbor.
    Unknown,
    /// As known, or news that was taken.
    Taken,
    /// Another MAC than the known one, which is asked first.
    Contested,
    /// Another MAC than the one that the operator configured.
    Refused,
}

#[derive(Debug)]
enum State {
    Incomplete {
        tries: u8,
        waiting: Option<Waiting>,
    },
    Reachable {
        mac: Mac,
    },
    Probing {
        mac: Mac,
        tries: u8,
    },
    /// The MAC is in use and is being asked, because of another one that may have taken over.
    Contested {
        mac: Mac,
        claimant: Option<Mac>,
        tries: u8,
        /// The MAC has answered once, and is asked once more.
        answered: bool,
    },
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
    /// The VIF whose packet made the station ask: the neighbor counts against its share.
    asker: VifId,
    /// How often another MAC may claim the address.
    claims: TokenBucket,
}

impl State {
    fn mac(&self) -> Option<Mac> {
        match *self {
            State::Reachable { mac }
            | State::Probing { mac, .. }
            | State::Contested { mac, .. } => Some(mac),
            State::Incomplete { .. } | State::Failed => None,
        }
    }
}

impl Entry {
    /// One that is being asked for, because of a packet or from the next timer on.
    fn incomplete(waiting: Option<Waiting>, asker: VifId, now: u64, due: u64) -> Entry {
        let state = State::Incomplete { tries: u8::from(waiting.is_some()), waiting };
        let claims = TokenBucket::default();
        Entry { state, since: now, due, wanted: false, told: 0, asker, claims }
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
        self.entries.get(&key)?.state.mac()
    }

    /// A packet for a neighbor: what to do with it. Starts to ask where nobody did.
    pub fn send(&mut self, now: u64, key: Key, packet: Waiting, act: &mut Vec<Action>) -> Lookup {
        if let Some(entry) = self.entries.get_mut(&key) {
            return match &mut entry.state {
                State::Reachable { mac }
                | State::Probing { mac, .. }
                | State::Contested { mac, .. } => Lookup::Known(*mac, packet),
                State::Failed => Lookup::Failed(packet),
                State::Incomplete { waiting, .. } => match waiting.replace(packet) {
                    None => Lookup::Queued,
                    Some(_) => Lookup::Replaced,
                },
            };
        }
        if !self.has_room(key.0, packet.ingress) {
            return Lookup::Limit;
        }
        let (asker, due) = (packet.ingress, now.saturating_add(RETRY));
        self.put(key, Entry::incomplete(Some(packet), asker, now, due));
        act.push(Action::Ask(key, None));
        Lookup::Queued
    }

    /// Whether a VIF may have one more neighbor because of a packet that came by `asker`.
    fn has_room(&self, vif: VifId, asker: VifId) -> bool {
        let (mut held, mut held_by_all, mut asked, mut asked_by_all) = (0, 0, 0, 0);
        for (_, entry) in self.on_vif(vif).filter(|(_, entry)| !entry.wanted) {
            let own = usize::from(entry.asker == asker);
            let incomplete = usize::from(matches!(entry.state, State::Incomplete { .. }));
            (held, held_by_all) = (held + own, held_by_all + 1);
            (asked, asked_by_all) = (asked + own * incomplete, asked_by_all + incomplete);
        }
        Pool::Neighbors.may_take(held, MAX_LEARNED.saturating_sub(held_by_all))
            && Pool::UnresolvedNeighbors
                .may_take(asked, MAX_INCOMPLETE.saturating_sub(asked_by_all))
    }

    /// The neighbor is a next hop of a route and has no MAC there. It is asked for from `start` on.
    /// A known one is reported (again).
    pub fn want(&mut self, now: u64, start: u64, key: Key, act: &mut Vec<Action>) {
        match self.entries.get_mut(&key) {
            Some(entry) => {
                entry.wanted = true;
                if let Some(mac) = entry.state.mac() {
                    act.push(resolved(key, mac));
                }
            }
            None => {
                let entry = Entry::incomplete(None, key.0, now, start);
                self.put(key, Entry { wanted: true, ..entry });
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
        if let Some(mac) = entry.state.mac()
            && now.saturating_sub(entry.told) >= RETRY
        {
            entry.told = now;
            act.push(resolved(key, mac));
        }
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
                if entry.state.mac().is_some() {
                    act.push(lost(key));
                }
            }
            stays
        });
    }

    /// Forgets what came by a VIF which is no longer what it was: packets that wait, and that a
    /// neighbor counts against its share.
    pub fn forget_ingress(&mut self, gone: impl Fn(VifId) -> bool) {
        for (key, entry) in &mut self.entries {
            if let State::Incomplete { waiting, .. } = &mut entry.state {
                waiting.take_if(|packet| gone(packet.ingress));
            }
            if gone(entry.asker) {
                entry.asker = key.0;
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
            mac: entry.state.mac(),
            state: match entry.state {
                State::Incomplete { .. } => NeighborState::Incomplete,
                State::Reachable { .. } => NeighborState::Reachable,
                State::Probing { .. } | State::Contested { .. } => NeighborState::Probing,
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
