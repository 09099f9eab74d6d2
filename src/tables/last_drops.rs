//! The last frames that went no further, and why: per port or VIF, written by one thread (a worker, or the
//! slow path), read by observers at any time. Nobody waits: a reader that meets a frame being written leaves
//! it out.
//!
//! What is kept of a frame is its headers. Frames of one sender (source MAC, tags, addresses) with one reason
//! are one entry with a count, so a frame that comes every second does not push the others out. A port and
//! a VIF have entries of their own, so no VIF's flood touches another's. Within them a reason on a VLAN has a
//! share: a new entry takes the place of the oldest one of the share that has most, so no flood wipes out the
//! others, nor one customer's VLAN another's on a port that they share. Under a flood of ever new senders a
//! share takes `PER_WINDOW` new entries a window, and then looks at no entry but the newest one before the
//! next window, so that a flood's frames cost no search; the counts of reasons stay exact.

use std::sync::OnceLock;
use std::sync::atomic::{Ordering, fence};

use super::counters::Counter;
use super::ids::{PortId, VifId};
use super::loss::Loss;
use super::verdict::DropReason;
use crate::wire::Start;
use crate::wire::ethernet::{VID_MASK, be16, be64};
use crate::wire::outline::Outline;

/// Octets kept of a frame at most: tags, the longest IPv4 header or an IPv6 header with a few extension
/// headers, and ports.
const HEADERS: usize = 96;
const WORDS: usize = HEADERS / 8;
/// Entries of a VIF, per thread that writes: 160 octets each.
const VIF_ENTRIES: usize = 16;
/// Entries of a port, where all wrong VLANs of all its customers meet.
const PORT_ENTRIES: usize = 64;
/// New entries of one share in a window.
const PER_WINDOW: u64 = 4;
/// Windows of one reason of a port: VLANs with the same remainder take from the same one.
const PORT_WINDOWS: usize = 8;
/// A window lasts 2^23 ns, about 8 ms.
const WINDOW_BITS: u32 = 23;

/// Frames of one sender that went no further for one reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LastFrame {
    /// Why.
    pub loss: Loss,
    /// What the sender and the addresses make: frames with equal keys and reasons are one entry.
    pub key: [u64; 2],
    /// How many there were since the first that is counted here, without those that came in a flood of others.
    pub count: u64,
    /// When the last one came: the writing threads' monotonic time, in nanoseconds.
    pub last_ns: u64,
    /// Octets of the newest frame whose headers are kept, without FCS.
    pub len: usize,
    /// Its headers from the destination MAC on.
    pub headers: Vec<u8>,
}

/// How often one reason was met.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tally {
    /// The reason.
    pub loss: Loss,
    /// Frames.
    pub count: u64,
    /// When the first came: monotonic nanoseconds.
    pub first_ns: u64,
    /// When the last came.
    pub last_ns: u64,
}

/// A reason's numbers.
#[derive(Debug)]
struct Reason {
    era: Counter,
    count: Counter,
    first_ns: Counter,
    last_ns: Counter,
    /// By VLAN: the window and, in the lower eight bits, how many new entries it has had.
    windows: Box<[Counter]>,
    /// Where the entry is that matched last.
    newest: Counter,
}

impl Reason {
    fn new(windows: usize) -> Reason {
        Reason {
            era: Counter::default(),
            count: Counter::default(),
            first_ns: Counter::default(),
            last_ns: Counter::default(),
            windows: (0..windows).map(|_| Counter::default()).collect(),
            newest: Counter::default(),
        }
    }

    /// The window of a VLAN.
    fn window(&self, vlan: u64) -> Option<&Counter> {
        let vlan = usize::try_from(vlan).ok()?;
        self.windows.get(vlan.checked_rem(self.windows.len())?)
    }
}

/// One entry. Odd `sequence`: it is being written.
#[derive(Debug, Default)]
struct Entry {
    sequence: Counter,
    era: Counter,
    loss: Counter,
    key: [Counter; 2],
    count: Counter,
    last_ns: Counter,
    /// Octets of the frame, and above them those of its headers.
    lengths: Counter,
    words: [Counter; WORDS],
}

impl Entry {
    /// Of what it has a share: its reason on its VLAN, as one of a few numbers.
    fn share(&self) -> usize {
        let share = self.loss.get().wrapping_mul(31).wrapping_add(vlan(self.key[0].get()));
        usize::from(share.to_le_bytes()[0])
    }

    fn is(&self, era: u64, loss: Loss, key: [u64; 2]) -> bool {
        self.count.get() > 0
            && self.era.get() == era
            && self.loss.get() == loss.index() as u64
            && [self.key[0].get(), self.key[1].get()] == key
    }

    fn write(&self, write: impl FnOnce(&Self)) {
        self.sequence.add(1);
        fence(Ordering::Release);
        write(self);
        fence(Ordering::Release);
        self.sequence.add(1);
    }

    fn read(&self, era: u64) -> Option<LastFrame> {
        let before = self.sequence.get();
        fence(Ordering::Acquire);
        let lengths = self.lengths.get();
        let loss = usize::try_from(self.loss.get()).ok()?;
        let of_era = self.era.get() == era;
        let words = self.words.iter().flat_map(|word| word.get().to_ne_bytes());
        let mut headers: Vec<u8> = words.collect();
        headers.truncate(usize::try_from(lengths >> 32).ok()?);
        let found = LastFrame {
            loss: Loss::all().nth(loss)?,
            key: [self.key[0].get(), self.key[1].get()],
            count: self.count.get(),
            last_ns: self.last_ns.get(),
            len: usize::try_from(lengths & u64::from(u32::MAX)).ok()?,
            headers,
        };
        fence(Ordering::Acquire);
        let whole = before.is_multiple_of(2) && self.sequence.get() == before;
        (whole && of_era && found.count > 0).then_some(found)
    }
}

/// The last drops of one port or VIF, as one thread saw them.
#[derive(Debug)]
pub struct LastDrops {
    /// What was kept in an earlier era is nobody's any more. Written by the control thread.
    era: Counter,
    reasons: Box<[Reason]>,
    entries: Box<[Entry]>,
}

impl LastDrops {
    fn new(reasons: usize, windows: usize, entries: usize) -> LastDrops {
        LastDrops {
            era: Counter::default(),
            reasons: (0..reasons).map(|_| Reason::new(windows)).collect(),
            entries: (0..entries).map(|_| Entry::default()).collect(),
        }
    }

    /// Takes down a frame that went no further. Only the owning thread may call this.
    #[cold]
    #[inline(never)]
    pub fn record<'a>(&self, loss: Loss, frame: impl Into<Start<'a>>, now_ns: u64) {
        let Start { octets: frame, len } = frame.into();
        let era = self.era.get();
        let Some(reason) = self.reasons.get(loss.index()) else { return };
        if reason.count.get() == 0 || reason.era.get() != era {
            reason.era.set(era);
            reason.count.set(0);
            reason.first_ns.set(now_ns);
        }
        reason.last_ns.set(now_ns);
        reason.count.add(1);
        let outline = Outline::of(frame);
        let key = key(frame, &outline);
        let newest = usize::try_from(reason.newest.get()).unwrap_or_default();
        let matches = |entry: &&Entry| entry.is(era, loss, key);
        let Some(taken) = reason.window(vlan(key[0])) else { return };
        let (window, new) = (now_ns >> WINDOW_BITS, taken.get());
        let new = if new >> 8 == window { new } else { window << 8 };
        let found = self.entries.get(newest).filter(matches).map(|entry| (newest, entry));
        if found.is_none() && new & 0xff >= PER_WINDOW {
            return;
        }
        let found = found.or_else(|| (0..).zip(&*self.entries).find(|(_, entry)| matches(entry)));
        if let Some((at, entry)) = found {
            reason.newest.set(at as u64);
            entry.count.add(1);
            entry.last_ns.set(now_ns);
            return;
        }
        taken.set(new + 1);
        let Some((at, entry)) = self.place(era) else { return };
        reason.newest.set(at as u64);
        let headers = &frame[..outline.headers(frame, HEADERS)];
        entry.write(|entry| {
            entry.era.set(era);
            entry.loss.set(loss.index() as u64);
            entry.key[0].set(key[0]);
            entry.key[1].set(key[1]);
            entry.count.set(1);
            entry.last_ns.set(now_ns);
            entry.lengths.set((headers.len() as u64) << 32 | len as u64);
            for (word, octets) in entry.words.iter().zip(headers.chunks(8)) {
                let mut whole = [0; 8];
                whole[..octets.len()].copy_from_slice(octets);
                word.set(u64::from_ne_bytes(whole));
            }
        });
    }

    /// Where a new entry goes: a free place, or that of the oldest entry of the share that has most.
    fn place(&self, era: u64) -> Option<(usize, &Entry)> {
        let is_free = |entry: &Entry| entry.count.get() == 0 || entry.era.get() != era;
        let entries = || self.entries.iter().enumerate();
        if let Some(free) = entries().find(|(_, entry)| is_free(entry)) {
            return Some(free);
        }
        let mut held = [0_u8; 256];
        self.entries.iter().for_each(|entry| held[entry.share()] += 1);
        let most = held.iter().max().copied();
        let of_most = entries().filter(|(_, entry)| Some(held[entry.share()]) == most);
        of_most.min_by_key(|(_, entry)| entry.last_ns.get())
    }

    /// The reasons that were met.
    pub fn tallies(&self) -> impl Iterator<Item = Tally> + '_ {
        let era = self.era.get();
        Loss::all().zip(&*self.reasons).filter_map(move |(loss, reason)| {
            let count = reason.count.get();
            let (first_ns, last_ns) = (reason.first_ns.get(), reason.last_ns.get());
            (count > 0 && reason.era.get() == era).then_some(Tally {
                loss,
                count,
                first_ns,
                last_ns,
            })
        })
    }

    /// The frames that are kept.
    pub fn frames(&self) -> impl Iterator<Item = LastFrame> + '_ {
        let era = self.era.get();
        self.entries.iter().filter_map(move |entry| entry.read(era))
    }

    /// Forgets everything. Only the control thread may call this.
    pub fn forget(&self) {
        self.era.add(1);
    }
}

/// What tells senders apart: the source MAC and the outer VLAN id; and a hash of the other tags and the
/// addresses.
fn key(frame: &[u8], outline: &Outline) -> [u64; 2] {
    const MIX: u64 = 0x9e37_79b9_7f4a_7c15;
    if frame.len() < 14 {
        return [0; 2];
    }
    let vid = |tag: usize| match frame.get(14 + 4 * tag..16 + 4 * tag) {
        Some(tci) if tag < outline.tags => u64::from(be16(tci, 0) & VID_MASK) + 1,
        _ => 0,
    };
    let mut hash = vid(1) << 32 | vid(2);
    for word in outline.addresses(frame).chunks_exact(4) {
        let word = word.iter().fold(0, |word, octet| word << 8 | u64::from(*octet));
        hash = (hash.rotate_left(27) ^ word).wrapping_mul(MIX);
    }
    [be64(frame, 6) & !0xffff | vid(0), hash]
}

/// The outer VLAN id of a key, plus one; 0 where there is no tag.
fn vlan(key: u64) -> u64 {
    key & 0xffff
}

/// The last drops of all ports and VIFs, as one thread saw them.
#[derive(Debug)]
pub struct DropLog {
    ports: Box<[LastDrops]>,
    /// Made by the control thread for VIFs that there are.
    vifs: Box<[OnceLock<Box<LastDrops>>]>,
    /// Reasons that the thread has.
    reasons: usize,
}

impl DropLog {
    /// A worker's log: it knows the reasons of the fast path.
    pub fn of_worker(ports: usize, vifs: usize) -> DropLog {
        DropLog::new(ports, vifs, DropReason::COUNT)
    }

    /// The slow path's.
    pub fn of_slow_path(vifs: usize) -> DropLog {
        DropLog::new(0, vifs, Loss::COUNT)
    }

    fn new(ports: usize, vifs: usize, reasons: usize) -> DropLog {
        DropLog {
            ports: (0..ports)
                .map(|_| LastDrops::new(reasons, PORT_WINDOWS, PORT_ENTRIES))
                .collect(),
            vifs: (0..vifs).map(|_| OnceLock::new()).collect(),
            reasons,
        }
    }

    /// Makes room for a VIF, on the control thread.
    pub fn admit(&self, id: VifId) {
        if let Some(vif) = self.vifs.get(id.index()) {
            vif.get_or_init(|| Box::new(LastDrops::new(self.reasons, 1, VIF_ENTRIES)));
        }
    }

    /// Those of a port.
    pub fn port(&self, id: PortId) -> Option<&LastDrops> {
        self.ports.get(id.index())
    }

    /// Those of a VIF; `None` for one that was never admitted.
    pub fn vif(&self, id: VifId) -> Option<&LastDrops> {
        self.vifs.get(id.index())?.get().map(|drops| &**drops)
    }

    /// Forgets everything. Only the control thread may call this.
    pub fn forget(&self) {
        let vifs = self.vifs.iter().filter_map(OnceLock::get).map(|drops| &**drops);
        vifs.chain(&self.ports).for_each(LastDrops::forget);
    }
}

#[cfg(test)]
mod tests;
