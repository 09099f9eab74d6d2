//! A bin, or a part of one, as it is kept: what VIFs counted in five minutes. On disk it is a block of its own that needs
//! no other: a head with a checksum, the names, and the numbers in as few octets as they need. VIFs that counted nothing
//! are not in it.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use crate::observe::Traffic;

/// The length of a bin, in seconds. Bins begin at its multiples, UTC.
pub const BIN_S: u64 = 300;
/// What a block begins with: the format and its version.
pub(super) const MAGIC: [u8; 4] = *b"SBB1";
/// Octets of a block's head: [`MAGIC`], the bin's number, the length of what follows, its CRC-32, and the CRC-32 of the
/// head so far. Numbers are little-endian.
pub(super) const HEAD: usize = 20;
/// What follows the head, in octets, at most: more than 65,535 VIFs with the longest names need.
const LONGEST: u32 = 64 << 20;

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

    /// Takes in another part: of the same bin, or of one that could not be written.
    pub fn join(&mut self, other: Block) {
        self.number = self.number.max(other.number);
        self.end_ms = self.end_ms.max(other.end_ms);
        self.observed_ms += other.observed_ms;
        self.marks = self.marks.with(other.marks);
        for (owner, traffic) in other.counts {
            self.counts.entry(owner).or_default().plus(&traffic);
        }
    }

    /// The octets of its block.
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut words: Vec<&str> = Vec::new();
        for owner in self.counts.keys() {
            words.extend(owner.customer.as_deref());
            words.extend(owner.group.as_deref());
        }
        words.sort_unstable();
        words.dedup();
        let mut octets = vec![0; HEAD];
        for number in [self.number, self.end_ms, self.observed_ms, self.marks.0.into()] {
            put(&mut octets, number);
        }
        put(&mut octets, words.len() as u64);
        for word in &words {
            put_text(&mut octets, word);
        }
        put(&mut octets, self.counts.len() as u64);
        let mut before = "";
        for (owner, traffic) in &self.counts {
            // Names are sorted: most of one is as in the one before.
            let both = owner.vif.char_indices().zip(before.chars());
            let other = both.clone().find(|((_, new), old)| new != old).map(|((at, _), _)| at);
            let same = other.unwrap_or(owner.vif.len().min(before.len()));
            put(&mut octets, same as u64);
            put_text(&mut octets, &owner.vif[same..]);
            before = &owner.vif;
            for word in [&owner.customer, &owner.group] {
                let at = word.as_deref().and_then(|word| words.binary_search(&word).ok());
                put(&mut octets, at.map_or(0, |at| at as u64 + 1));
            }
            let Traffic { rx_frames, rx_octets, tx_frames, tx_octets } = *traffic;
            for number in [rx_frames, rx_octets, tx_frames, tx_octets] {
                put(&mut octets, number);
            }
        }
        // Far less than LONGEST.
        let length = u32::try_from(octets.len() - HEAD).unwrap_or(u32::MAX);
        let head = Head { bin: self.bin, length, checksum: crc32fast::hash(&octets[HEAD..]) };
        octets[..HEAD].copy_from_slice(&head.encode());
        octets
    }

    /// Reads what follows a head; `None` where that is none of ours.
    pub(super) fn decode(bin: u32, octets: &[u8], names: &mut Names) -> Option<Block> {
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

/// The head of a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Head {
    pub bin: u32,
    /// Octets that follow.
    pub length: u32,
    pub checksum: u32,
}

impl Head {
    fn encode(self) -> [u8; HEAD] {
        let mut octets = [0; HEAD];
        let numbers = [self.bin, self.length, self.checksum].map(u32::to_le_bytes);
        octets[..4].copy_from_slice(&MAGIC);
        octets[4..16].copy_from_slice(numbers.as_flattened());
        let sum = crc32fast::hash(&octets[..16]);
        octets[16..].copy_from_slice(&sum.to_le_bytes());
        octets
    }

    /// `None` where these octets begin no block.
    pub fn decode(octets: [u8; HEAD]) -> Option<Head> {
        let (words, _) = octets.as_chunks::<4>();
        let [magic, numbers @ ..] = words else { return None };
        let [bin, length, checksum, sum] = *numbers else { return None };
        let [bin, length, checksum, sum] = [bin, length, checksum, sum].map(u32::from_le_bytes);
        let fine = *magic == MAGIC && crc32fast::hash(&octets[..16]) == sum && length <= LONGEST;
        fine.then_some(Head { bin, length, checksum })
    }

    /// Whether these octets are what followed it when it was written.
    pub fn fits(&self, octets: &[u8]) -> bool {
        crc32fast::hash(octets) == self.checksum
    }
}

/// Names that were read: each is in memory once.
#[derive(Debug, Default)]
pub(super) struct Names(HashSet<Arc<str>>);

impl Names {
    fn get(&mut self, name: &str) -> Arc<str> {
        if let Some(known) = self.0.get(name) {
            return known.clone();
        }
        let name: Arc<str> = name.into();
        self.0.insert(name.clone());
        name
    }
}

/// Seven bits an octet, the lowest first; the highest bit says that more follow.
fn put(octets: &mut Vec<u8>, mut number: u64) {
    while number > 0x7f {
        octets.push(number.to_le_bytes()[0] | 0x80);
        number >>= 7;
    }
    octets.push(number.to_le_bytes()[0]);
}

fn put_text(octets: &mut Vec<u8>, text: &str) {
    put(octets, text.len() as u64);
    octets.extend_from_slice(text.as_bytes());
}

fn take(from: &mut &[u8]) -> Option<u64> {
    let mut number = 0;
    for shift in (0..64).step_by(7) {
        let (&octet, rest) = from.split_first()?;
        *from = rest;
        let bits = u64::from(octet & 0x7f);
        if bits << shift >> shift != bits {
            return None;
        }
        number |= bits << shift;
        if octet & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}

fn take_text<'a>(from: &mut &'a [u8]) -> Option<&'a str> {
    let length = usize::try_from(take(from)?).ok()?;
    let (text, rest) = from.split_at_checked(length)?;
    *from = rest;
    str::from_utf8(text).ok()
}
