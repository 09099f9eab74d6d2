//! Bit vectors: for each class of a field the rules that it may match. What a list is compiled to where tables would be too
//! large.

use crate::cpu::eights::Eight;

/// Rules of a block of vectors, which are looked at together.
const BLOCK: usize = 256;
/// Their words.
type Bits = [u64; BLOCK / 64];

/// The vectors of the classes of one field, one behind the other.
#[derive(Debug, Default)]
pub(super) struct Field(Box<[Bits]>);

/// Vectors of all fields.
#[derive(Debug)]
pub(super) struct Vectors {
    rules: u16,
    /// By family, IPv4 first: sources and destinations.
    addresses: [[Field; 2]; 2],
    /// First words, second words, kinds.
    upper: [Field; 3],
}

impl Field {
    /// Room for so many classes.
    pub fn new(rules: usize, classes: usize) -> Field {
        Field(vec![[0; BLOCK / 64]; rules.div_ceil(BLOCK) * classes].into())
    }

    /// A rule may match what is of a class.
    pub fn set(&mut self, rules: usize, class: usize, rule: usize) {
        let block = &mut self.0[class * rules.div_ceil(BLOCK) + rule / BLOCK];
        block[rule % BLOCK / 64] |= 1 << (rule % 64);
    }

    /// The vector of a class, of so many blocks.
    #[inline(always)]
    fn of(&self, blocks: usize, class: u32) -> &[Bits] {
        let start = class as usize * blocks;
        self.0.get(start..start + blocks).unwrap_or_default()
    }

    fn bytes(&self) -> usize {
        size_of_val(&*self.0)
    }
}

/// The place of the first bit that is set, of which there is one.
fn lowest(bits: &Bits) -> u32 {
    let before = bits.iter().take_while(|bits| **bits == 0);
    let word = bits.iter().find(|bits| **bits != 0).copied().unwrap_or(1);
    before.fold(0, |before, _| before + u64::BITS) + word.trailing_zeros()
}

impl Vectors {
    pub fn new(rules: u16, addresses: [[Field; 2]; 2], upper: [Field; 3]) -> Vectors {
        Vectors { rules, addresses, upper }
    }

    /// The first rules of eight packets of one family, by the classes of source and destination, both words and kind.
    #[inline(never)]
    pub fn first(&self, v4: bool, addresses: &[Eight; 2], upper: &[Eight; 3]) -> Eight {
        let [sources, destinations] = &self.addresses[usize::from(!v4)];
        let [first, second, kinds] = &self.upper;
        let blocks = usize::from(self.rules).div_ceil(BLOCK);
        let mut found = [u32::from(self.rules); 8];
        for (packet, found) in found.iter_mut().enumerate() {
            let a = sources.of(blocks, addresses[0][packet]);
            let b = destinations.of(blocks, addresses[1][packet]);
            let c = first.of(blocks, upper[0][packet]);
            let d = second.of(blocks, upper[1][packet]);
            let f = kinds.of(blocks, upper[2][packet]);
            let rules = a.iter().zip(b).zip(c).zip(d).zip(f);
            for (at, ((((a, b), c), d), f)) in (0u32..).step_by(BLOCK).zip(rules) {
                let mut bits: Bits = *a;
                let mut any = 0;
                for (word, bits) in bits.iter_mut().enumerate() {
                    *bits &= b[word] & c[word] & d[word] & f[word];
                    any |= *bits;
                }
                if any != 0 {
                    *found = at + lowest(&bits);
                    break;
                }
            }
        }
        found
    }

    /// Octets.
    pub fn bytes(&self) -> usize {
        self.addresses.iter().flatten().chain(&self.upper).map(Field::bytes).sum()
    }
}
