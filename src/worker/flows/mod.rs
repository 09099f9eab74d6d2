//! Flow logs (RFC 7011, RFC 5476): which packets of a burst are logged, and the flows that they make up, until these are
//! handed to the thread that exports them. A worker whose tables log nothing pays for one look per burst.
//!
//! A packet is logged where the VIF by which it came or the VIF by which it leaves logs, once, at the finer of their
//! rates. Whether it is, a random number decides (uniform probabilistic sampling, RFC 5475 5.2.2.2): eight of them are made
//! at a time, or where few packets are logged, how many are passed over. What is known of it is noted before it
//! leaves, and counted once it is known what became of it.
//!
//! Memory is bounded, and VIFs share it by rules. A VIF with ever new flows, and all VIFs of a worker that is
//! too busy, are logged at coarser rates, which their records say.

mod book;
mod cache;
mod channel;
mod packet;
mod rare;

use std::sync::Arc;

use crate::cpu::ROWS;
use crate::cpu::eights::{EightWork, Eights, Words, in_eights};
use crate::port::{Area, BURST};
use crate::stage::{Burst, Column, Lanes, WIDTH};
use crate::tables::counters::LoopCounters;
use crate::tables::{Facts, FlowLog, Ingress, Snapshot, VifId};
pub use cache::{Counts, EndReason, Family, Flow, FlowKey, NO_VIF};
pub use channel::{FlowChannel, VifFlows};

use book::{Book, Fate, Packet};
use cache::Slot;
use packet::{Ends, Note, Secrets};
use rare::Rare;

/// Between two looks at how busy the worker is.
const LOOK_NS: u64 = 100_000_000;
/// Steps of coarser rates that a busy worker takes at most: each halves what is logged.
const MAX_BUSY: u32 = 6;
/// So much of its time a worker is busy when it logs less, and below when it logs more again, in percent.
const BUSY: u64 = 90;
const EASY: u64 = 70;
/// So many looks in a row have to say that the worker is busy.
const LOOKS: u32 = 3;

/// A worker's flows.
#[derive(Debug)]
pub struct Flows {
    book: Book,
    /// The log that is followed.
    epoch: Option<u16>,
    /// What makes random numbers, none of them 0.
    random: [u32; ROWS],
    secrets: Secrets,
    rare: Rare,
    /// Of the burst under way.
    noted: Noted,
    load: Load,
}

/// Which lanes of a burst are logged, and what is known of them.
#[derive(Debug)]
struct Noted {
    /// Those that may be logged.
    lanes: Lanes,
    /// Those of them that are, whatever becomes of them: for the VIF by which they came.
    came: Lanes,
    /// Those of them whose addresses are in `ends`.
    odd: Lanes,
    /// The thresholds below which their random numbers are.
    thresholds: Column,
    notes: [Note; BURST],
    ends: [Ends; BURST],
    /// Their flows, where they go on.
    slots: [Slot; BURST],
}

/// How busy the worker is.
#[derive(Debug, Default)]
struct Load {
    looked_ns: u64,
    busy_ns: u64,
    looks: u32,
    /// Steps of coarser rates.
    steps: u32,
}

impl Flows {
    /// Room for about `most` flows of `vifs` VIFs, which go to `channel`. `seed`: random.
    pub fn new(most: usize, vifs: usize, channel: Arc<FlowChannel>, seed: [u64; 8]) -> Flows {
        let random = |n: usize| {
            let [low, high] = [seed[n] & 0xffff_ffff, seed[n] >> 32];
            u32::try_from(low ^ high).unwrap_or(1).max(1)
        };
        Flows {
            book: Book::new(most, vifs, channel),
            epoch: None,
            random: std::array::from_fn(random),
            secrets: Secrets::new(seed),
            rare: Rare::default(),
            noted: Noted {
                lanes: Lanes(0),
                came: Lanes(0),
                odd: Lanes(0),
                thresholds: [0; WIDTH],
                notes: [Note::default(); BURST],
                ends: [Ends::default(); BURST],
                slots: [Slot::default(); BURST],
            },
            load: Load::default(),
        }
    }

    /// Before the bursts of a turn: follows the tables.
    #[inline(always)]
    pub fn begin_turn(&mut self, tables: &Snapshot, now: u64) {
        let log = tables.flow_log.as_deref();
        if log.map(|log| log.epoch) != self.epoch {
            self.follow(log, now);
        }
    }

    /// After the bursts of a turn: ends flows whose time has come, and looks at how busy the worker is. `idle`: there was
    /// nothing to do.
    #[inline(always)]
    pub fn end_turn(&mut self, work: &LoopCounters, idle: bool, now: u64) {
        self.book.scan(idle, now);
        if now.saturating_sub(self.load.looked_ns) >= LOOK_NS {
            self.look(work.busy_ns.get(), now);
        }
        self.book.renew();
    }

    /// Notes which packets of a burst that has been through the path are logged, and what they are. False where none is.
    #[inline(always)]
    pub fn note(&mut self, burst: &Burst, area: &Area) -> bool {
        let Flows { book, random, noted, rare, .. } = self;
        if !rare.is_so() {
            in_eights(Choose { burst, thresholds: &book.thresholds, random, noted });
        } else if !rare.choose(burst, &book.thresholds, &mut random[0], noted) {
            return false;
        }
        if noted.lanes == Lanes(0) {
            return false;
        }
        self.read(burst, area);
        true
    }

    /// Reads what the lanes that are logged have.
    #[inline(never)]
    fn read(&mut self, burst: &Burst, area: &Area) {
        let Flows { book, noted, secrets, .. } = self;
        let all = noted.lanes;
        noted.odd = all.without(burst.live);
        let usual = all.and(burst.live);
        for lane in usual.and(burst.v4) {
            match noted.notes[lane % BURST].usual4(burst, area, lane, secrets) {
                Some(hash) => book.prefetch(hash),
                None => noted.odd.insert(lane),
            }
        }
        for lane in usual.without(burst.v4) {
            match noted.notes[lane % BURST].usual6(burst, area, lane, secrets) {
                Some(hash) => book.prefetch(hash),
                None => noted.odd.insert(lane),
            }
        }
        for lane in noted.odd {
            let place = lane % BURST;
            noted.notes[place] = Note::odd(burst, area, lane, secrets, &mut noted.ends[place]);
        }
    }

    /// What was noted of a burst has become what the burst says now: it is counted.
    #[inline(never)]
    pub fn record(&mut self, burst: &Burst, now: u64) {
        let Flows { book, noted, secrets, .. } = self;
        noted.lanes = noted.came.or(noted.lanes.and(burst.live));
        let mut known = Lanes(0);
        for lane in noted.lanes {
            let (fate, note) = (noted.fate(burst, lane, book), &noted.notes[lane % BURST]);
            if let Some(slot) = book.find(note, secrets.signature(note.hash, fate)) {
                noted.slots[lane % BURST] = slot;
                known.insert(lane);
            }
        }
        // Once all of them have been asked for. What begins a flow may end another, and comes last.
        for lane in known {
            let (note, slot) = (&noted.notes[lane % BURST], noted.slots[lane % BURST]);
            book.count(slot, note, octets(burst, lane), now);
        }
        for lane in noted.lanes.without(known) {
            let fate = noted.fate(burst, lane, book);
            let packet = Packet {
                note: noted.notes[lane % BURST],
                from: burst.vif(lane),
                fate,
                ends: noted.ends_of(burst, lane),
                octets: octets(burst, lane),
            };
            book.add(&packet, secrets, now);
        }
    }

    /// A frame of the slow path leaves by a VIF, in a tunnel where `tunnelled`.
    pub fn originated(&mut self, vif: VifId, tunnelled: bool, frame: &[u8], now: u64) {
        let Flows { book, random, secrets, .. } = self;
        let threshold = book.thresholds.get(vif.0.into());
        if threshold == 0 || next(&mut random[0]) >= threshold {
            return;
        }
        let (note, ends) = Note::of_frame(frame, tunnelled, secrets);
        let fate = Fate::forwarded(vif.0.into(), threshold);
        let octets = (0, u32::try_from(frame.len()).unwrap_or(u32::MAX));
        book.add(&Packet { note, from: None, fate, ends, octets }, secrets, now);
    }

    /// The worker logs in them no more: none is active.
    pub fn leave(&self) {
        self.book.leave();
    }

    /// All flows, which end here.
    pub fn end(self) -> impl Iterator<Item = Flow> {
        self.book.end()
    }

    /// Follows another log: the flows so far end.
    #[cold]
    fn follow(&mut self, log: Option<&FlowLog>, now: u64) {
        self.epoch = log.map(|log| log.epoch);
        self.secrets.follow(self.epoch.unwrap_or(0));
        self.book.follow(log, now);
        self.rare.follow(log, &mut self.random[0]);
        self.book.renew_all(self.load.steps);
    }

    /// Looks at how busy the worker has been.
    #[cold]
    fn look(&mut self, busy_ns: u64, now: u64) {
        self.book.relax(now);
        let load = &mut self.load;
        let passed = now.saturating_sub(load.looked_ns).max(1);
        let busy = busy_ns.saturating_sub(load.busy_ns).saturating_mul(100) / passed;
        let first = load.looked_ns == 0;
        (load.looked_ns, load.busy_ns) = (now, busy_ns);
        load.looks = if busy >= BUSY && !first { load.looks + 1 } else { 0 };
        let steps = match load.looks {
            LOOKS.. if load.steps < MAX_BUSY => load.steps + 1,
            0 if busy < EASY => load.steps.saturating_sub(1),
            _ => load.steps,
        };
        if steps != load.steps {
            (load.steps, load.looks) = (steps, 0);
            self.book.renew_all(steps);
        }
    }
}

/// The next of the random numbers from 0 to 2^32 - 2: all of them come before one comes again (xorshift, Marsaglia 2003).
#[inline(always)]
pub(super) fn next(state: &mut u32) -> u32 {
    *state ^= *state << 13;
    *state ^= *state >> 17;
    *state ^= *state << 5;
    state.wrapping_sub(1)
}

/// Octets of a lane's frame as it came and as it left.
#[inline(always)]
fn octets(burst: &Burst, lane: usize) -> (u32, u32) {
    (burst.octets[lane], if burst.live.has(lane) { burst.to_octets[lane] } else { 0 })
}

impl Noted {
    /// What became of a lane.
    #[inline(always)]
    fn fate(&self, burst: &Burst, lane: usize, book: &Book) -> Fate {
        if burst.live.has(lane) {
            return Fate::forwarded(burst.to_place[lane], self.thresholds[lane]);
        }
        Fate::ended(burst.verdicts[lane], book.thresholds.get(burst.place[lane] & 0xffff))
    }

    /// The addresses of a lane.
    fn ends_of(&self, burst: &Burst, lane: usize) -> Ends {
        let (v4, v6) = (&burst.v4_addresses, &burst.v6_addresses);
        match self.notes[lane % BURST].family {
            _ if self.odd.has(lane) => self.ends[lane % BURST],
            Family::V4 => [v4.source[lane].into(), v4.destination[lane].into()],
            Family::V6 | Family::Other => [v6.source[lane], v6.destination[lane]],
        }
    }
}

/// Chooses the lanes that are logged.
struct Choose<'a> {
    burst: &'a Burst,
    thresholds: &'a Words,
    random: &'a mut [u32; ROWS],
    noted: &'a mut Noted,
}

impl EightWork for Choose<'_> {
    type Answer = ();

    #[inline(always)]
    fn run<E: Eights>(self, e: E) {
        let Choose { burst, thresholds, random, noted } = self;
        (noted.came, noted.lanes) = (Lanes(0), Lanes(0));
        let all = burst.all().eights();
        let came = burst.rules[all.clone()].iter().fold(0, |all, rules| all | rules);
        let leave = burst.to_rules[all.clone()].iter().fold(0, |all, rules| all | rules);
        if came & Ingress::LOGGED | leave & Facts::LOGGED == 0 {
            return;
        }
        let (mut without, mut neither) = ([1; WIDTH], [1; WIDTH]);
        let mut state = e.load(random);
        let places = burst.place.as_chunks::<ROWS>().0.iter().zip(burst.to_place.as_chunks().0);
        let columns = without.as_chunks_mut::<ROWS>().0.iter_mut();
        let columns = columns.zip(neither.as_chunks_mut().0);
        let columns = columns.zip(noted.thresholds.as_chunks_mut().0);
        for ((place, to_place), ((without, neither), both)) in
            places.zip(columns).take(all.end.div_ceil(ROWS))
        {
            // As `next` does it.
            state = e.xor(state, e.left(state, 13));
            state = e.xor(state, e.right(state, 17));
            state = e.xor(state, e.left(state, 5));
            let number = e.add(state, e.splat(u32::MAX));
            let of = |places| e.words(thresholds, e.and(e.load(places), e.splat(0xffff)));
            let (came, leaves) = (of(place), of(to_place));
            let is_not_below = |threshold| e.equal(e.least(number, threshold), threshold);
            let (not_came, not_leaves) = (is_not_below(came), is_not_below(leaves));
            *without = e.store(not_came);
            *neither = e.store(e.and(not_came, not_leaves));
            // The greater one, which is the finer rate's.
            *both = e.store(e.xor(e.xor(came, leaves), e.least(came, leaves)));
        }
        *random = e.store(state);
        // What is not forwarded leaves by no VIF, whatever its column says.
        noted.came = burst.known.and(Lanes::zero(&without));
        noted.lanes = noted.came.or(burst.live.and(Lanes::zero(&neither)));
    }
}

/// The threshold of one in so many; 0 for none.
fn threshold(interval: u16) -> u32 {
    u32::MAX.checked_div(interval.into()).unwrap_or(0)
}
