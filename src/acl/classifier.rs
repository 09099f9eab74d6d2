//! A compiled list: what it is looked up in.

use super::classes::{Kinds, Map};
use super::packet::{Addresses, Fields, Upper};
use super::rows::{Block, COLUMNS};
use super::rule::Rule;
use super::trie::{Key, Trie};

/// What a list was compiled to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Tables: the time of a lookup does not depend on the number of rules.
    Tables,
    /// Bit vectors: the tables would have been too large. The time of a lookup grows with the number of rules.
    Vectors,
}

impl Kind {
    /// As it is shown.
    pub const fn name(self) -> &'static str {
        match self {
            Kind::Tables => "tables",
            Kind::Vectors => "vectors",
        }
    }
}

/// Cells of a block of pairs.
pub(super) const BLOCK: usize = 16;

/// What a source prefix leads to.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Source {
    /// The row of the rules with any destination.
    pub row: u32,
    /// The first of its blocks of pairs.
    pub blocks: u32,
}

/// What a destination prefix leads to.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Destination {
    /// The row of the rules with any source.
    pub row: u32,
    /// Its place among pairs.
    pub pair: u32,
}

/// One family's addresses in tables.
#[derive(Debug)]
pub(super) struct PairTables {
    pub sources: Box<[Source]>,
    pub destinations: Box<[Destination]>,
    /// The block of each source's sixteen destinations.
    pub index: Box<[u32]>,
    /// The row of each pair.
    pub blocks: Box<[[u32; BLOCK]]>,
}

/// Tables.
#[derive(Debug)]
pub(super) struct Tables {
    pub v4: PairTables,
    pub v6: PairTables,
    /// The column of each first word, second word and kind.
    pub columns: Box<[u32]>,
    /// The blocks of columns that each row is made of.
    pub rows: Box<[u32]>,
    /// The first rule of each column of a block.
    pub firsts: Box<[Block]>,
}

/// Bit vectors: for each class of a field the rules that it may match, 64 in a word.
#[derive(Debug)]
pub(super) struct Vectors {
    /// Words of a vector.
    pub words: usize,
    /// By family, source and destination.
    pub addresses: [[Box<[u64]>; 2]; 2],
    pub first: Box<[u64]>,
    pub second: Box<[u64]>,
    pub kinds: Box<[u64]>,
}

#[derive(Debug)]
pub(super) enum Rest {
    Tables(Box<Tables>),
    Vectors(Box<Vectors>),
}

/// The tries of one family.
#[derive(Debug)]
pub(super) struct Tries<K> {
    pub source: Trie<K>,
    pub destination: Trie<K>,
}

/// A compiled list.
#[derive(Debug)]
pub struct Classifier {
    pub(super) rules: usize,
    pub(super) v4: Tries<u32>,
    pub(super) v6: Tries<u128>,
    pub(super) first: Map,
    pub(super) second: Map,
    pub(super) kinds: Kinds,
    pub(super) rest: Rest,
}

/// The addresses of a packet as classes.
pub(super) struct Ends {
    source: usize,
    destination: usize,
}

impl<K: Key> Tries<K> {
    #[inline(always)]
    fn ends(&self, source: K, destination: K) -> Ends {
        Ends { source: self.source.find(source), destination: self.destination.find(destination) }
    }

    fn bytes(&self) -> usize {
        self.source.bytes() + self.destination.bytes()
    }
}

impl PairTables {
    /// The first rule among those of a column.
    #[inline(always)]
    fn first(&self, tables: &Tables, ends: &Ends, column: usize) -> usize {
        let (source, destination) =
            (self.sources[ends.source], self.destinations[ends.destination]);
        let pair = destination.pair as usize;
        let block = self.index[source.blocks as usize + pair / BLOCK];
        let row = self.blocks[block as usize][pair % BLOCK];
        let of = |row: u32| {
            let block = tables.rows[row as usize + column / COLUMNS];
            tables.firsts[block as usize][column % COLUMNS]
        };
        of(source.row).min(of(destination.row)).min(of(row)).into()
    }

    fn bytes(&self) -> usize {
        size_of_val(&*self.sources)
            + size_of_val(&*self.destinations)
            + size_of_val(&*self.index)
            + size_of_val(&*self.blocks)
    }
}

impl Tables {
    pub(super) fn bytes(&self) -> usize {
        self.v4.bytes()
            + self.v6.bytes()
            + size_of_val(&*self.columns)
            + size_of_val(&*self.rows)
            + size_of_val(&*self.firsts)
    }
}

impl Vectors {
    /// The first rule that all vectors have.
    fn first(&self, family: usize, ends: &Ends, upper: [usize; 3]) -> Option<usize> {
        let of = |vectors: &'_ [u64], class: usize| -> std::ops::Range<usize> {
            let start = class * self.words;
            start..(start + self.words).min(vectors.len())
        };
        let [sources, destinations] = &self.addresses[family];
        let source = &sources[of(sources, ends.source)];
        let destination = &destinations[of(destinations, ends.destination)];
        let first = &self.first[of(&self.first, upper[0])];
        let second = &self.second[of(&self.second, upper[1])];
        let kinds = &self.kinds[of(&self.kinds, upper[2])];
        let all = source.iter().zip(destination).zip(first).zip(second).zip(kinds);
        let mut words = all.map(|((((a, b), c), d), e)| a & b & c & d & e).enumerate();
        let (at, word) = words.find(|(_, word)| *word != 0)?;
        Some(at * 64 + word.trailing_zeros() as usize)
    }

    fn bytes(&self) -> usize {
        let addresses = self.addresses.iter().flatten().map(|vectors| size_of_val(&**vectors));
        addresses.sum::<usize>()
            + size_of_val(&*self.first)
            + size_of_val(&*self.second)
            + size_of_val(&*self.kinds)
    }
}

impl Classifier {
    /// Compiles a list of at most [`super::MAX_RULES`] rules; what comes after them never matches.
    pub fn new(rules: &[Rule]) -> Classifier {
        super::build::compile(&rules[..rules.len().min(super::MAX_RULES)])
    }

    /// How many rules there are.
    pub fn rules(&self) -> usize {
        self.rules
    }

    /// What it was compiled to.
    pub fn kind(&self) -> Kind {
        match self.rest {
            Rest::Tables(_) => Kind::Tables,
            Rest::Vectors(_) => Kind::Vectors,
        }
    }

    /// Octets of its tables.
    pub fn bytes(&self) -> usize {
        let rest = match &self.rest {
            Rest::Tables(tables) => tables.bytes(),
            Rest::Vectors(vectors) => vectors.bytes(),
        };
        let maps = self.first.bytes() + self.second.bytes() + size_of::<Kinds>();
        self.v4.bytes() + self.v6.bytes() + maps + rest
    }

    /// The place of the first rule that matches; that behind the last rule where none does.
    pub fn find(&self, packet: &Fields) -> usize {
        match packet.addresses {
            Addresses::V4 { source, destination } => {
                self.find4(source, destination, packet.protocol, packet.upper)
            }
            Addresses::V6 { source, destination } => {
                self.find6(source, destination, packet.protocol, packet.upper)
            }
        }
    }

    /// As [`Classifier::find`], for IPv4.
    #[inline(always)]
    pub fn find4(
        &self,
        source: u32,
        destination: u32,
        protocol: u8,
        upper: Option<Upper>,
    ) -> usize {
        let ends = self.v4.ends(source, destination);
        match &self.rest {
            Rest::Tables(tables) => {
                tables.v4.first(tables, &ends, self.column(tables, protocol, upper))
            }
            Rest::Vectors(vectors) => self.scan(vectors, 0, &ends, protocol, upper),
        }
    }

    /// As [`Classifier::find`], for IPv6.
    #[inline(always)]
    pub fn find6(
        &self,
        source: u128,
        destination: u128,
        protocol: u8,
        upper: Option<Upper>,
    ) -> usize {
        let ends = self.v6.ends(source, destination);
        match &self.rest {
            Rest::Tables(tables) => {
                tables.v6.first(tables, &ends, self.column(tables, protocol, upper))
            }
            Rest::Vectors(vectors) => self.scan(vectors, 1, &ends, protocol, upper),
        }
    }

    /// The column of what stands behind the IP header.
    #[inline(always)]
    fn column(&self, tables: &Tables, protocol: u8, upper: Option<Upper>) -> usize {
        let kind = self.kinds.get(protocol, upper.map(|upper| upper.flags));
        let upper = upper.unwrap_or_default();
        tables.columns[self.first.get(upper.first) + self.second.get(upper.second) + kind] as usize
    }

    #[inline(never)]
    fn scan(
        &self,
        vectors: &Vectors,
        family: usize,
        ends: &Ends,
        protocol: u8,
        upper: Option<Upper>,
    ) -> usize {
        let kind = self.kinds.get(protocol, upper.map(|upper| upper.flags));
        let upper = upper.unwrap_or_default();
        let (first, second) = (self.first.get(upper.first), self.second.get(upper.second));
        vectors.first(family, ends, [first, second, kind]).unwrap_or(self.rules)
    }
}
