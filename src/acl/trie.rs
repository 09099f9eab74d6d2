//! Longest-prefix match in a list's own prefixes, for eight addresses at once: a trie of as many levels for each address
//! as the longest prefix needs, whatever the number of prefixes.

use std::ops::Range;

use ipnet::IpNet;

use super::rule::Family;
use crate::cpu::eights::{Eights, Words};

/// A prefix: its bits, of IPv4 in front of 96 others, and how many of them count.
pub(super) type Prefix = (u128, u8);

/// The first `len` bits.
fn first(bits: u128, len: u8) -> u128 {
    if len == 0 { 0 } else { bits & u128::MAX << (128 - len) }
}

/// The bits of a prefix of a family; none where it is the other's.
fn prefix(net: IpNet, family: Family) -> Option<Prefix> {
    match (net, family) {
        (IpNet::V4(net), Family::V4) => {
            Some((u128::from(net.network().to_bits()) << 96, net.prefix_len()))
        }
        (IpNet::V6(net), Family::V6) => Some((net.network().to_bits(), net.prefix_len())),
        _ => None,
    }
}

/// Prefixes of one family in order: each before those within it. The one of all addresses is not among them.
#[derive(Debug)]
pub(super) struct Prefixes {
    family: Family,
    sorted: Vec<Prefix>,
    /// For each the place behind the last one within it.
    ends: Vec<usize>,
}

impl Prefixes {
    /// Those of the family, without duplicates.
    pub fn new(nets: impl Iterator<Item = IpNet>, family: Family) -> Prefixes {
        let mut sorted: Vec<Prefix> =
            nets.filter_map(|net| prefix(net, family)).filter(|(_, len)| *len > 0).collect();
        sorted.sort_unstable();
        sorted.dedup();
        let mut ends = vec![sorted.len(); sorted.len()];
        let mut open: Vec<usize> = Vec::new();
        for (at, (bits, _)) in sorted.iter().enumerate() {
            while let Some(&last) = open.last() {
                let (outer, len) = sorted[last];
                if first(*bits, len) == outer {
                    break;
                }
                ends[last] = at;
                open.pop();
            }
            open.push(at);
        }
        Prefixes { family, sorted, ends }
    }

    /// How many classes of addresses there are: those of each prefix that are in none within it, and the others, class 0.
    pub fn classes(&self) -> usize {
        self.sorted.len() + 1
    }

    /// The classes of what has a prefix; all, where there is none.
    pub fn within(&self, net: Option<IpNet>) -> Range<usize> {
        let known = net.and_then(|net| prefix(net, self.family));
        match known.and_then(|prefix| self.sorted.binary_search(&prefix).ok()) {
            Some(at) => at + 1..self.ends[at] + 1,
            None => 0..self.classes(),
        }
    }
}

/// Bits of a level.
const LEVEL: u8 = 5;
/// Bits of the first level, where there are few prefixes and where there are many, and of the first in each further
/// word: what is left of 32 are whole levels.
const FEW: u8 = 7;
const MANY: u8 = 12;
/// So many prefixes are many.
const CROWD: usize = 256;
/// The bit of an entry that is an answer, no block.
const ANSWER: u32 = 1 << 31;

/// From an address to the class of the longest prefix that has it. An address is looked at in words of 32 bits.
#[derive(Debug)]
pub(super) struct Trie {
    /// Blocks of entries: one for the bits of the first level, and below it those that prefixes need.
    entries: Words,
    /// Bits of the first level of the first word.
    root: u8,
    /// Levels in each word; the first of them has `root` or [`FEW`] bits.
    levels: [u8; 4],
}

impl Trie {
    /// The trie of these prefixes.
    pub fn new(prefixes: &Prefixes) -> Trie {
        let sorted = &prefixes.sorted;
        let longest = sorted.iter().map(|(_, len)| *len).max().unwrap_or(0);
        let root = if sorted.len() < CROWD { FEW } else { MANY };
        let (mut levels, mut bits, mut widths) = ([0; 4], 0, Vec::new());
        while bits < longest {
            let width = match bits {
                0 => root,
                _ if bits.is_multiple_of(32) => FEW,
                _ => LEVEL,
            };
            levels[usize::from(bits / 32)] += 1;
            widths.push(width);
            bits += width;
        }
        let mut entries = match widths.first() {
            Some(width) => vec![ANSWER; 1 << width],
            None => Vec::new(),
        };
        for (class, prefix) in (1..).zip(sorted) {
            insert(&mut entries, &widths, *prefix, class);
        }
        Trie { entries: Words::new(entries), root, levels }
    }

    /// The classes of eight addresses, the most significant word of each first.
    #[inline(always)]
    pub fn find<E: Eights, const N: usize>(&self, e: E, address: [E::V; N]) -> E::V {
        let mut at = e.splat(0);
        for (word, bits) in address.into_iter().enumerate() {
            let Some(more) = self.levels[word].checked_sub(1) else { break };
            let width = u32::from(if word == 0 { self.root } else { FEW });
            at = self.below(e, at, e.right(bits, 32 - width));
            let mut rest = e.left(bits, width);
            for _ in 0..more {
                at = self.below(e, at, e.right(rest, 32 - u32::from(LEVEL)));
                rest = e.left(rest, LEVEL.into());
            }
        }
        e.and(at, e.splat(!ANSWER))
    }

    /// What entries of blocks lead to; answers stay.
    #[inline(always)]
    fn below<E: Eights>(&self, e: E, at: E::V, digit: E::V) -> E::V {
        e.highest_or(at, e.words(&self.entries, e.add(at, digit)))
    }

    /// Octets.
    pub fn bytes(&self) -> usize {
        self.entries.bytes()
    }
}

/// Puts a prefix in, all that are around it being there already, and none that are within it.
#[expect(clippy::cast_possible_truncation, reason = "20,000 prefixes need less than 2^31 entries")]
fn insert(entries: &mut Vec<u32>, widths: &[u8], (bits, len): Prefix, class: u32) {
    let (mut block, mut above) = (0, 0);
    for (level, width) in widths.iter().enumerate() {
        let digit = (bits << above >> (128 - width)) as usize;
        let below = above + width;
        if len <= below {
            entries[block + digit..][..1 << (below - len)].fill(class | ANSWER);
            return;
        }
        let entry = entries[block + digit];
        if entry & ANSWER == 0 {
            block = entry as usize;
        } else {
            let next = widths.get(level + 1).copied().unwrap_or(LEVEL);
            entries[block + digit] = entries.len() as u32;
            block = entries.len();
            entries.resize(block + (1 << next), entry);
        }
        above = below;
    }
}
