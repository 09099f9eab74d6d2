//! What a list tells apart behind the IP header: intervals of the two words, and classes of protocol, TCP flags and
//! fragmentation.

use std::collections::HashMap;
use std::ops::Range;

use super::rule::{Beyond, Span};
use crate::wire::ipv4::TCP;

/// Numbers of 16 bits, cut where a list tells them apart.
#[derive(Debug)]
pub(super) struct Cuts(Vec<u32>);

impl Cuts {
    /// The intervals between the ends of these spans.
    pub fn new(spans: impl Iterator<Item = Span>) -> Cuts {
        let ends = spans.flat_map(|span| [u32::from(span.first), u32::from(span.last) + 1]);
        let mut starts: Vec<u32> = ends.chain([0]).filter(|&at| at <= u16::MAX.into()).collect();
        starts.sort_unstable();
        starts.dedup();
        Cuts(starts)
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// Those that make up a span.
    pub fn of(&self, span: Span) -> Range<usize> {
        let before = |at: u32| self.0.partition_point(|&start| start < at);
        before(span.first.into())..before(u32::from(span.last) + 1)
    }
}

/// From a number of 16 bits to its interval: a block of 256 for each high octet, equal ones shared.
#[derive(Debug)]
pub(super) struct Map {
    block: Box<[u16; 256]>,
    blocks: Box<[[u32; 256]]>,
}

impl Map {
    /// The map that says the interval's number times `factor`.
    #[expect(
        clippy::cast_possible_truncation,
        reason = "256 blocks; the product is that of a table"
    )]
    pub fn new(cuts: &Cuts, factor: usize) -> Map {
        let mut known: HashMap<[u32; 256], u16> = HashMap::new();
        let (mut block, mut blocks) = (Box::new([0; 256]), Vec::new());
        for (high, block) in (0u32..).zip(block.iter_mut()) {
            let of = |low: usize| {
                let number = high << 8 | low as u32;
                let at = cuts.0.partition_point(|&start| start <= number);
                (at.saturating_sub(1) * factor) as u32
            };
            let made: [u32; 256] = std::array::from_fn(of);
            *block = *known.entry(made).or_insert_with(|| {
                blocks.push(made);
                (blocks.len() - 1) as u16
            });
        }
        Map { block, blocks: blocks.into() }
    }

    /// What a number's interval says.
    #[inline(always)]
    pub fn get(&self, number: u16) -> usize {
        let [high, low] = number.to_be_bytes();
        let block = self.block[usize::from(high)];
        self.blocks[usize::from(block)][usize::from(low)] as usize
    }

    /// Octets.
    pub fn bytes(&self) -> usize {
        size_of_val(&*self.block) + size_of_val(&*self.blocks)
    }
}

/// Places: each protocol whole or as a first fragment, each as a later fragment, each octet of TCP flags.
const PLACES: usize = 768;
const LATER: usize = 256;
const TCP_FLAGS: usize = 512;

/// From protocol, flags and fragmentation to a class.
#[derive(Debug)]
pub(super) struct Kinds {
    class: Box<[u16; PLACES]>,
    count: usize,
}

impl Kinds {
    /// The classes that these ask for.
    pub fn new(beyond: &[Beyond]) -> Kinds {
        let mut class = Box::new([0; PLACES]);
        let mut count = 1;
        for asked in beyond {
            let mut split: HashMap<u16, u16> = HashMap::new();
            for (place, class) in class.iter_mut().enumerate() {
                if admits(asked, place) {
                    *class = *split.entry(*class).or_insert_with(|| {
                        count += 1;
                        count - 1
                    });
                }
            }
        }
        // Many have no place any more.
        let mut dense: HashMap<u16, u16> = HashMap::new();
        for class in class.iter_mut() {
            let next = u16::try_from(dense.len()).unwrap_or(u16::MAX);
            *class = *dense.entry(*class).or_insert(next);
        }
        Kinds { class, count: dense.len() }
    }

    /// How many classes there are.
    pub fn count(&self) -> usize {
        self.count
    }

    /// For each class whether what it has is admitted.
    pub fn admitted(&self, asked: &Beyond) -> Vec<bool> {
        let mut found = vec![false; self.count];
        for (place, class) in self.class.iter().enumerate() {
            found[usize::from(*class)] |= admits(asked, place);
        }
        found
    }

    /// The class of a packet; `flags`: `None` in fragments other than the first.
    #[inline(always)]
    pub fn get(&self, protocol: u8, flags: Option<u8>) -> usize {
        let place = match flags {
            None => LATER + usize::from(protocol),
            Some(flags) if protocol == TCP => TCP_FLAGS + usize::from(flags),
            Some(_) => usize::from(protocol),
        };
        usize::from(self.class[place])
    }
}

/// Whether what has this place is admitted. TCP has its flags' places instead of its own.
#[expect(clippy::cast_possible_truncation, reason = "octets")]
fn admits(asked: &Beyond, place: usize) -> bool {
    match place {
        TCP_FLAGS.. => asked.admits(TCP, Some((place - TCP_FLAGS) as u8)),
        LATER.. => asked.admits((place - LATER) as u8, None),
        // Nothing looks there.
        _ if place == usize::from(TCP) => false,
        _ => asked.admits(place as u8, Some(0)),
    }
}
