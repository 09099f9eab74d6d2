//! What a list tells apart behind the IP header: intervals of the two words, and classes of protocol, TCP flags and
//! fragmentation.

use std::collections::HashMap;
use std::ops::Range;

use super::rule::{Beyond, Span};
use crate::cpu::eights::{Eights, Words};
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
    /// Where the block of each high octet begins.
    starts: Words,
    blocks: Words,
}

impl Map {
    /// The map that says the interval's number times `factor`.
    #[expect(
        clippy::cast_possible_truncation,
        reason = "256 blocks; the product is that of a table"
    )]
    pub fn new(cuts: &Cuts, factor: usize) -> Map {
        let mut known: HashMap<[u32; 256], u32> = HashMap::new();
        let (mut starts, mut blocks) = (Vec::with_capacity(256), Vec::new());
        for high in 0..256 {
            let of = |low: usize| {
                let number = high << 8 | low as u32;
                let at = cuts.0.partition_point(|&start| start <= number);
                (at.saturating_sub(1) * factor) as u32
            };
            let made: [u32; 256] = std::array::from_fn(of);
            starts.push(*known.entry(made).or_insert_with(|| {
                blocks.extend(made);
                (blocks.len() - made.len()) as u32
            }));
        }
        Map { starts: Words::new(starts), blocks: Words::new(blocks) }
    }

    /// What the intervals of eight numbers say.
    #[inline(always)]
    pub fn find<E: Eights>(&self, e: E, numbers: E::V) -> E::V {
        let start = e.words(&self.starts, e.right(numbers, 8));
        e.words(&self.blocks, e.add(start, e.and(numbers, e.splat(255))))
    }

    /// Octets.
    pub fn bytes(&self) -> usize {
        self.starts.bytes() + self.blocks.bytes()
    }
}

/// Kinds: each protocol whole or as a first fragment, each as a later fragment, each octet of TCP flags.
const KINDS: u32 = 768;
const LATER: u32 = 256;
const TCP_FLAGS: u32 = 512;

/// The kind of a packet that is whole or a first fragment, by its protocol and, of TCP, its flags.
#[inline(always)]
pub fn kind(protocol: u32, flags: u32) -> u32 {
    if protocol == u32::from(TCP) { TCP_FLAGS + flags } else { protocol }
}

/// The kind of a fragment other than the first.
pub(super) fn later(protocol: u8) -> u32 {
    LATER + u32::from(protocol)
}

/// From a kind to the class of those that a list does not tell apart.
#[derive(Debug)]
pub(super) struct Kinds {
    class: Box<[u32]>,
    count: usize,
}

impl Kinds {
    /// The classes that these ask for.
    pub fn new(beyond: &[Beyond]) -> Kinds {
        let mut class = vec![0; KINDS as usize];
        let mut count = 1;
        for asked in beyond {
            let mut split: HashMap<u32, u32> = HashMap::new();
            for (kind, class) in (0..).zip(&mut class) {
                if admits(asked, kind) {
                    *class = *split.entry(*class).or_insert_with(|| {
                        count += 1;
                        count - 1
                    });
                }
            }
        }
        // Many have no kind any more.
        let mut dense: HashMap<u32, u32> = HashMap::new();
        let mut next = 0;
        for class in &mut class {
            *class = *dense.entry(*class).or_insert_with(|| {
                next += 1;
                next - 1
            });
        }
        Kinds { class: class.into(), count: dense.len() }
    }

    /// How many classes there are.
    pub fn count(&self) -> usize {
        self.count
    }

    /// For each class whether what it has is admitted.
    pub fn admitted(&self, asked: &Beyond) -> Vec<bool> {
        let mut found = vec![false; self.count];
        for (kind, class) in (0..).zip(&*self.class) {
            found[*class as usize] |= admits(asked, kind);
        }
        found
    }

    /// The class of each kind.
    pub fn table(&self) -> Words {
        Words::new(self.class.to_vec())
    }
}

/// Whether what is of this kind is admitted. TCP has its flags' kinds instead of its own.
#[expect(clippy::cast_possible_truncation, reason = "octets")]
fn admits(asked: &Beyond, kind: u32) -> bool {
    match kind {
        TCP_FLAGS.. => asked.admits(TCP, Some((kind - TCP_FLAGS) as u8)),
        LATER.. => asked.admits((kind - LATER) as u8, None),
        // Nothing looks there.
        _ if kind == u32::from(TCP) => false,
        _ => asked.admits(kind as u8, Some(0)),
    }
}
