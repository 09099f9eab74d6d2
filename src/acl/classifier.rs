//! A compiled list: what it is looked up in, for eight packets at once.

use super::classes::{self, Map};
use super::packet::{Addresses, Fields};
use super::rule::Rule;
use super::tables::{Group, Tables};
use super::trie::Trie;
use super::vectors::Vectors;
use crate::cpu::eights::{Eight, EightWork, Eights, Words, in_eights};

/// What a list was compiled to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Tables: the steps of a lookup do not depend on the number of rules.
    Tables,
    /// Bit vectors: the tables would have been too large. The steps of a lookup grow with the number of rules.
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

#[derive(Debug)]
pub(super) enum Rest {
    Tables(Box<Tables>),
    Vectors(Box<Vectors>),
}

/// The tries of one family.
#[derive(Debug)]
pub(super) struct Tries {
    pub source: Trie,
    pub destination: Trie,
}

/// A compiled list.
#[derive(Debug)]
pub struct Classifier {
    pub(super) rules: u16,
    pub(super) v4: Tries,
    pub(super) v6: Tries,
    pub(super) first: Map,
    pub(super) second: Map,
    pub(super) kinds: Words,
    pub(super) rest: Rest,
}

/// What a list looks at in packets of one family, a packet a place: whole ones, and first fragments. All have eight from
/// any place on that is looked at.
#[derive(Clone, Copy, Debug)]
pub struct Packets<'a, A> {
    /// Where they come from.
    pub sources: &'a [A],
    /// Where they go.
    pub destinations: &'a [A],
    /// The source ports, or ICMP's types and codes.
    pub first: &'a [u32],
    /// The destination ports.
    pub second: &'a [u32],
    /// What [`classes::kind`] says.
    pub kinds: &'a [u32],
}

/// Eight from a place on; the first eight where there are none.
#[inline(always)]
fn eight<T: Copy + Default>(of: &[T], from: usize) -> [T; 8] {
    of.get(from..).and_then(|of| of.first_chunk().copied()).unwrap_or_default()
}

impl<A: Copy + Default> Packets<'_, A> {
    #[inline(always)]
    fn upper<E: Eights>(&self, e: E, from: usize) -> [E::V; 3] {
        let (first, second, kinds) =
            (eight(self.first, from), eight(self.second, from), eight(self.kinds, from));
        [e.load(&first), e.load(&second), e.load(&kinds)]
    }
}

/// The words of IPv6 addresses, the most significant of each first.
#[inline(always)]
#[expect(clippy::cast_possible_truncation, reason = "words are taken apart")]
fn words<E: Eights>(e: E, addresses: &[u128; 8]) -> [E::V; 4] {
    let mut words = [[0; 8]; 4];
    for (at, address) in addresses.iter().enumerate() {
        words[0][at] = (address >> 96) as u32;
        words[1][at] = (address >> 64) as u32;
        words[2][at] = (address >> 32) as u32;
        words[3][at] = *address as u32;
    }
    [e.load(&words[0]), e.load(&words[1]), e.load(&words[2]), e.load(&words[3])]
}

/// An address of a family.
pub trait Address: Copy + Default {
    /// See [`Classifier::find_eight`].
    fn find<E: Eights>(list: &Classifier, e: E, packets: &Packets<'_, Self>, from: usize) -> Eight;
}

impl Address for u32 {
    #[inline(always)]
    fn find<E: Eights>(list: &Classifier, e: E, packets: &Packets<'_, u32>, from: usize) -> Eight {
        let source = [e.load(&eight(packets.sources, from))];
        let destination = [e.load(&eight(packets.destinations, from))];
        let upper = packets.upper(e, from);
        let groups = match &list.rest {
            Rest::Tables(tables) => &*tables.v4,
            Rest::Vectors(_) => &[],
        };
        list.first(e, &list.v4, groups, (source, destination), upper)
    }
}

impl Address for u128 {
    #[inline(always)]
    fn find<E: Eights>(list: &Classifier, e: E, packets: &Packets<'_, u128>, from: usize) -> Eight {
        let source = words(e, &eight(packets.sources, from));
        let destination = words(e, &eight(packets.destinations, from));
        let upper = packets.upper(e, from);
        let groups = match &list.rest {
            Rest::Tables(tables) => &*tables.v6,
            Rest::Vectors(_) => &[],
        };
        list.first(e, &list.v6, groups, (source, destination), upper)
    }
}

impl Classifier {
    /// Compiles a list of at most [`super::MAX_RULES`] rules; what comes after them never matches.
    pub fn new(rules: &[Rule]) -> Classifier {
        super::build::compile(&rules[..rules.len().min(super::MAX_RULES)])
    }

    /// How many rules there are.
    pub fn rules(&self) -> usize {
        self.rules.into()
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
        let tries =
            [&self.v4, &self.v6].map(|tries| tries.source.bytes() + tries.destination.bytes());
        let maps = self.first.bytes() + self.second.bytes() + self.kinds.bytes();
        tries.iter().sum::<usize>() + maps + rest
    }

    /// The place of the first rule that matches; that behind the last rule where none does.
    pub fn find(&self, packet: &Fields) -> usize {
        in_eights(One(self, packet)) as usize
    }

    /// The same of eight packets from a place on.
    #[inline(always)]
    pub fn find_eight<E: Eights, A: Address>(
        &self,
        e: E,
        packets: &Packets<'_, A>,
        from: usize,
    ) -> Eight {
        A::find(self, e, packets, from)
    }

    #[inline(always)]
    fn first<E: Eights, const N: usize>(
        &self,
        e: E,
        tries: &Tries,
        groups: &[Group],
        (source, destination): ([E::V; N], [E::V; N]),
        [first, second, kind]: [E::V; 3],
    ) -> Eight {
        let source = tries.source.find(e, source);
        let destination = tries.destination.find(e, destination);
        let (first, second) = (self.first.find(e, first), self.second.find(e, second));
        let kind = e.words(&self.kinds, kind);
        match &self.rest {
            Rest::Tables(tables) => {
                let cell = e.add(e.add(second, first), kind);
                e.store(tables.first(e, groups, source, destination, cell))
            }
            Rest::Vectors(vectors) => {
                let addresses = [e.store(source), e.store(destination)];
                let upper = [e.store(first), e.store(second), e.store(kind)];
                vectors.first(N == 1, &addresses, &upper)
            }
        }
    }
}

/// One packet.
struct One<'a>(&'a Classifier, &'a Fields);

impl EightWork for One<'_> {
    type Answer = u32;

    #[inline(always)]
    fn run<E: Eights>(self, e: E) -> u32 {
        let One(classifier, packet) = self;
        let kind = match packet.upper {
            Some(upper) => classes::kind(packet.protocol.into(), upper.flags.into()),
            None => classes::later(packet.protocol),
        };
        let upper = packet.upper.unwrap_or_default();
        let (first, second, kinds) =
            (&[upper.first.into(); 8], &[upper.second.into(); 8], &[kind; 8]);
        let [found, ..] = match packet.addresses {
            Addresses::V4 { source, destination } => {
                let (sources, destinations) = (&[source; 8], &[destination; 8]);
                let packets = Packets { sources, destinations, first, second, kinds };
                classifier.find_eight(e, &packets, 0)
            }
            Addresses::V6 { source, destination } => {
                let (sources, destinations) = (&[source; 8], &[destination; 8]);
                let packets = Packets { sources, destinations, first, second, kinds };
                classifier.find_eight(e, &packets, 0)
            }
        };
        found
    }
}
