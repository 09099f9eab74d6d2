//! A bin, or a part of one, as it is kept: what VIFs counted in five minutes. On disk it is a block of its own that needs
//! no other ([`crate::blocks`]): the names, and the numbers in as few octets as they need. VIFs that counted nothing are
//! not in it.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::blocks::packed::{put, put_text, take, take_text};
use crate::blocks::{Kept, Names};
use crate::observe::Traffic;

/// The length of a bin, in seconds. Bins begin at its multiples, UTC.
pub const BIN_S: u64 = 300;

/// Whose octets they are.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Owner {
    /// The VIF's name.
    pub vif: Arc<str>,
    /// Its customer at that time.
    pub customer: Option<Arc<str>>,
    /// Its meter group at that time.
    pub group: Option<Arc<str>>,
}

/// Why a bin is not one of five whole minutes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Marks(u8);

impl Marks {
    /// The daemon started in it.
    pub const START: Marks = Marks(1);
    /// The daemon ended in it, because it was told to.
    pub const STOP: Marks = Marks(2);
    /// The clock was set in it, or ran otherwise than the time.
    pub const CLOCK: Marks = Marks(4);
    /// The counters were read late, since the machine stood still: a part belongs to other bins.
    pub const LATE: Marks = Marks(8);
    /// The disk could not be written for so long that it has the counts of the bins after it, too.
    pub const JOINED: Marks = Marks(16);

    const WORDS: [(Marks, &'static str); 5] = [
        (Marks::START, "start"),
        (Marks::STOP, "stop"),
        (Marks::CLOCK, "clock"),
        (Marks::LATE, "late"),
        (Marks::JOINED, "joined"),
    ];

    /// Both.
    #[must_use]
    pub const fn with(self, other: Marks) -> Marks {
        Marks(self.0 | other.0)
    }

    /// Whether these are among them.
    pub const fn has(self, other: Marks) -> bool {
        self.0 & other.0 == other.0
    }

    /// Whether there is none.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// As in JSON.
    pub fn words(self) -> Vec<&'static str> {
        Marks::WORDS.iter().filter(|(mark, _)| self.has(*mark)).map(|(_, word)| *word).collect()
    }
}

/// A bin, or a part of one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Block {
    /// Its number among all blocks that were written: what the clock shows need not grow.
    pub number: u64,
    /// When the bin begins: its number times [`BIN_S`] is in seconds since 1970.
    pub bin: u32,
    /// When the counters were read last: milliseconds since 1970.
    pub end_ms: u64,
    /// For how long they were counted: milliseconds of a clock that nobody sets.
    pub observed_ms: u64,
    /// What is not as usual.
    pub marks: Marks,
    /// What each counted.
    pub counts: BTreeMap<Owner, Traffic>,
}

impl Block {
    /// An empty one.
    pub const fn new(bin: u32, end_ms: u64, marks: Marks) -> Block {
        Block { number: 0, bin, end_ms, observed_ms: 0, marks, counts: BTreeMap::new() }
    }

    /// When the bin begins, in seconds since 1970.
    pub fn start_s(&self) -> u64 {
        u64::from(self.bin) * BIN_S
    }

    /// Whether it is one of five whole minutes.
    pub const fn is_complete(&self) -> bool {
        self.marks.is_empty()
    }
}

impl Kept for Block {
    const MAGIC: [u8; 4] = *b"SBB1";
    const SUFFIX: &'static str = ".bins";
    const SPAN_S: u64 = BIN_S;

    fn number(&self) -> u64 {
        self.number
    }

    fn span(&self) -> u32 {
        self.bin
    }

    /// Takes in another part: of the same bin, or of one that could not be written.
    fn join(&mut self, other: Block) {
        self.number = self.number.max(other.number);
        self.end_ms = self.end_ms.max(other.end_ms);
        self.observed_ms += other.observed_ms;
        self.marks = self.marks.with(other.marks);
        for (owner, traffic) in other.counts {
            self.counts.entry(owner).or_default().plus(&traffic);
        }
    }

    fn encode(&self, octets: &mut Vec<u8>) {
        let mut words: Vec<&str> = Vec::new();
        for owner in self.counts.keys() {
            words.extend(owner.customer.as_deref());
            words.extend(owner.group.as_deref());
        }
        words.sort_unstable();
        words.dedup();
        for number in [self.number, self.end_ms, self.observed_ms, self.marks.0.into()] {
            put(octets, number);
        }
        put(octets, words.len() as u64);
        for word in &words {
            put_text(octets, word);
        }
        put(octets, self.counts.len() as u64);
        let mut before = "";
        for (owner, traffic) in &self.counts {
            // Names are sorted: most of one is as in the one before.
            let both = owner.vif.char_indices().zip(before.chars());
            let other = both.clone().find(|((_, new), old)| new != old).map(|((at, _), _)| at);
            let same = other.unwrap_or(owner.vif.len().min(before.len()));
            put(octets, same as u64);
            put_text(octets, &owner.vif[same..]);
            before = &owner.vif;
            for word in [&owner.customer, &owner.group] {
                let at = word.as_deref().and_then(|word| words.binary_search(&word).ok());
                put(octets, at.map_or(0, |at| at as u64 + 1));
            }
            let Traffic { rx_frames, rx_octets, tx_frames, tx_octets } = *traffic;
            for number in [rx_frames, rx_octets, tx_frames, tx_octets] {
                put(octets, number);
            }
        }
    }

    fn decode(bin: u32, octets: &[u8], names: &mut Names) -> Option<Block> {
        let mut from = octets;
        let number = take(&mut from)?;
        let (end_ms, observed_ms) = (take(&mut from)?, take(&mut from)?);
        let marks = Marks(u8::try_from(take(&mut from)?).ok()?);
        let count = usize::try_from(take(&mut from)?).ok()?;
        let mut words = Vec::new();
        for _ in 0..count {
            words.push(names.get(take_text(&mut from)?));
        }
        let mut counts = Vec::new();
        let mut vif = String::new();
        for _ in 0..take(&mut from)? {
            let same = usize::try_from(take(&mut from)?).ok()?;
            if !vif.is_char_boundary(same) {
                return None;
            }
            vif.truncate(same);
            vif.push_str(take_text(&mut from)?);
            let mut word = || match usize::try_from(take(&mut from)?).ok()? {
                0 => Some(None),
                at => Some(Some(words.get(at - 1)?.clone())),
            };
            let (customer, group) = (word()?, word()?);
            let mut number = || take(&mut from);
            let (rx_frames, rx_octets) = (number()?, number()?);
            let (tx_frames, tx_octets) = (number()?, number()?);
            let owner = Owner { vif: names.get(&vif), customer, group };
            counts.push((owner, Traffic { rx_frames, rx_octets, tx_frames, tx_octets }));
        }
        // They are sorted, so that this is quick.
        let counts = counts.into_iter().collect();
        from.is_empty().then_some(Block { number, bin, end_ms, observed_ms, marks, counts })
    }
}
