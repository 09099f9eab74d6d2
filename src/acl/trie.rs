//! Longest-prefix match in a list's own prefixes: a trie whose nodes skip the bits that all prefixes below share, and
//! branch by as many as they need.

/// An address as a number, the first bit the highest.
pub(super) trait Key: Copy + Ord + std::fmt::Debug {
    /// How many bits it has.
    const BITS: u8;
    /// All bits are set.
    const ONES: Self;

    /// The first bits.
    fn first(self, bits: u8) -> Self;
    /// How many bits both begin with.
    fn common(self, other: Self) -> u8;
    /// Whether they differ in one of the bits of `mask`.
    fn differs(self, other: Self, mask: Self) -> bool;
    /// The last bits once `shift` are cut off, as many as `mask` has.
    fn window(self, shift: u8, mask: u32) -> u32;
}

macro_rules! key {
    ($type:ty) => {
        impl Key for $type {
            #[expect(clippy::cast_possible_truncation, reason = "128 at most")]
            const BITS: u8 = <$type>::BITS as u8;
            const ONES: Self = <$type>::MAX;

            #[inline(always)]
            fn first(self, bits: u8) -> Self {
                if bits == 0 { 0 } else { self & <$type>::MAX << (<Self as Key>::BITS - bits) }
            }

            #[expect(clippy::cast_possible_truncation, reason = "128 at most")]
            fn common(self, other: Self) -> u8 {
                (self ^ other).leading_zeros() as u8
            }

            #[inline(always)]
            fn differs(self, other: Self, mask: Self) -> bool {
                (self ^ other) & mask != 0
            }

            #[inline(always)]
            #[allow(clippy::cast_possible_truncation, clippy::unnecessary_cast)] // cut off by the mask
            fn window(self, shift: u8, mask: u32) -> u32 {
                (self >> (shift & (<Self as Key>::BITS - 1))) as u32 & mask
            }
        }
    };
}
key!(u32);
key!(u128);

/// A prefix: its bits, and how many of them count.
pub(super) type Prefix<K> = (K, u8);

/// The most bits that a node branches by.
const WIDEST: u8 = 16;
/// A node has room for so many times its prefixes, as a power of two.
const ROOM: u32 = 4;
/// The bit of an entry that is no node: the rest is the answer.
const LEAF: u32 = 1 << 31;

/// A node: the bits that it asks for, and those by which it branches.
#[derive(Debug)]
struct Node<K> {
    value: K,
    mask: K,
    /// The first of its entries.
    first: u32,
    /// The bits of the number of an entry.
    window: u32,
    shift: u8,
    /// The answer for what differs from `value`.
    miss: u32,
}

/// From an address to the deepest prefix that has it, by number; 0 for none.
#[derive(Debug)]
pub(super) struct Trie<K> {
    nodes: Box<[Node<K>]>,
    entries: Box<[u32]>,
    root: u32,
}

/// The prefixes of a trie in order: each before those within it.
#[derive(Debug)]
pub(super) struct Prefixes<K> {
    sorted: Vec<Prefix<K>>,
    /// For each the place behind the last one within it.
    ends: Vec<usize>,
}

impl<K: Key> Prefixes<K> {
    /// Those prefixes, without duplicates and without the one of all addresses.
    pub fn new(prefixes: impl Iterator<Item = Prefix<K>>) -> Prefixes<K> {
        let mut sorted: Vec<Prefix<K>> = prefixes.filter(|(_, bits)| *bits > 0).collect();
        sorted.sort_unstable();
        sorted.dedup();
        let mut ends = vec![sorted.len(); sorted.len()];
        let mut open: Vec<usize> = Vec::new();
        for (at, (value, _)) in sorted.iter().enumerate() {
            while let Some(&last) = open.last() {
                let (outer, bits) = sorted[last];
                if value.first(bits) == outer {
                    break;
                }
                ends[last] = at;
                open.pop();
            }
            open.push(at);
        }
        Prefixes { sorted, ends }
    }

    /// How many numbers there are: one for each prefix, and 0.
    pub fn numbers(&self) -> usize {
        self.sorted.len() + 1
    }

    /// The numbers of a prefix and of those within it; all, where there is none.
    pub fn within(&self, prefix: Option<Prefix<K>>) -> std::ops::Range<usize> {
        let at = prefix.filter(|(_, bits)| *bits > 0);
        match at.and_then(|prefix| self.sorted.binary_search(&prefix).ok()) {
            Some(at) => at + 1..self.ends[at] + 1,
            None => 0..self.numbers(),
        }
    }
}

impl<K: Key> Trie<K> {
    /// The trie of these prefixes.
    pub fn new(prefixes: &Prefixes<K>) -> Trie<K> {
        let numbered: Vec<(Prefix<K>, u32)> = prefixes.sorted.iter().copied().zip(1..).collect();
        let (mut nodes, mut entries) = (Vec::new(), Vec::new());
        let root = grow(&numbered, 0, &mut nodes, &mut entries);
        Trie { nodes: nodes.into(), entries: entries.into(), root }
    }

    /// The number of the deepest prefix that has the address.
    #[inline(always)]
    pub fn find(&self, address: K) -> usize {
        let mut entry = self.root;
        while entry & LEAF == 0 {
            let node = &self.nodes[entry as usize];
            if address.differs(node.value, node.mask) {
                return node.miss as usize;
            }
            entry = self.entries[(node.first + address.window(node.shift, node.window)) as usize];
        }
        (entry & !LEAF) as usize
    }

    /// Octets.
    pub fn bytes(&self) -> usize {
        size_of_val(&*self.nodes) + size_of_val(&*self.entries)
    }
}

/// Makes the nodes of prefixes, which lie within one whose number is `outer`; the entry that leads to them.
#[expect(
    clippy::cast_possible_truncation,
    reason = "at most 10,000 prefixes, and 16 times their entries"
)]
fn grow<K: Key>(
    mut prefixes: &[(Prefix<K>, u32)],
    outer: u32,
    nodes: &mut Vec<Node<K>>,
    entries: &mut Vec<u32>,
) -> u32 {
    let (Some(((value, _), _)), Some(((last, _), _))) = (prefixes.first(), prefixes.last()) else {
        return outer | LEAF;
    };
    let shortest = prefixes.iter().map(|((_, bits), _)| *bits).min().unwrap_or(0);
    let skipped = value.common(*last).min(shortest);
    let value = value.first(skipped);
    let mut inner = outer;
    // The first is the one that has all others, if there is one.
    if let [((_, bits), number), rest @ ..] = prefixes
        && *bits == skipped
    {
        (inner, prefixes) = (*number, rest);
    }
    let longest = prefixes.iter().map(|((_, bits), _)| *bits).max().unwrap_or(skipped);
    let wanted = prefixes.len().next_power_of_two().trailing_zeros() + ROOM;
    let width = (longest - skipped).min(WIDEST).min(wanted as u8);
    let shift = K::BITS - skipped - width;
    let window = (1u32 << width) - 1;
    let (at, first) = (nodes.len(), entries.len());
    let mask = K::ONES.first(skipped);
    // Where nothing is shifted out, the window is empty, and any shift will do.
    let node =
        Node { value, mask, first: first as u32, window, shift: shift % K::BITS, miss: outer };
    nodes.push(node);
    entries.resize(first + window as usize + 1, inner | LEAF);
    let slot = |value: K| value.window(shift % K::BITS, window) as usize;
    let mut rest = prefixes;
    while let Some(&((value, bits), number)) = rest.first() {
        if bits <= skipped + width {
            let many = 1usize << (skipped + width - bits);
            entries[first + slot(value)..][..many].fill(number | LEAF);
            rest = &rest[1..];
            continue;
        }
        let of = slot(value);
        let same = rest
            .iter()
            .take_while(|((value, bits), _)| *bits > skipped + width && slot(*value) == of);
        let (below, others) = rest.split_at(same.count());
        let around = entries[first + of] & !LEAF;
        let entry = grow(below, around, nodes, entries);
        entries[first + of] = entry;
        rest = others;
    }
    at as u32
}
