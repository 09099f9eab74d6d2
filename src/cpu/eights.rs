//! Numbers of eight packets at once, and tables in which all eight are looked up together. With AVX2 each operation is an
//! instruction or a few; plain code does the same.

use super::ROWS;

#[cfg(target_arch = "x86_64")]
use std::arch::x86_64 as x86;

/// A number for each of eight packets.
pub type Eight = [u32; ROWS];

/// A table of 32-bit numbers, at least one.
#[derive(Debug)]
pub struct Words {
    numbers: Box<[u32]>,
    /// The last place, at most what a gather can name.
    last: u32,
}

/// A table of 16-bit numbers.
#[derive(Debug)]
pub struct Halves {
    /// One more than there are, at least two: what is looked up is read with the one behind it.
    numbers: Box<[u16]>,
    /// The last place but one, at most what a gather can name.
    last: u32,
}

/// The last of so many places, `behind` of which are not to be named.
fn last(len: usize, behind: usize) -> u32 {
    u32::try_from(len - 1 - behind).unwrap_or(u32::MAX).min(i32::MAX.cast_unsigned())
}

impl Words {
    /// A table of these; of a 0 where there are none.
    pub fn new(mut numbers: Vec<u32>) -> Words {
        if numbers.is_empty() {
            numbers.push(0);
        }
        Words { last: last(numbers.len(), 0), numbers: numbers.into() }
    }

    /// What stands at a place; the last for places beyond.
    #[inline(always)]
    pub fn get(&self, at: u32) -> u32 {
        self.numbers[at.min(self.last) as usize]
    }

    /// Makes what stands at a place another number. Places beyond stay what they are.
    pub fn set(&mut self, at: u32, number: u32) {
        if let Some(place) = self.numbers.get_mut(at as usize) {
            *place = number;
        }
    }

    /// Octets.
    pub fn bytes(&self) -> usize {
        size_of_val(&*self.numbers)
    }
}

impl Halves {
    /// A table of these.
    pub fn new(mut numbers: Vec<u16>) -> Halves {
        numbers.resize((numbers.len() + 1).max(2), 0);
        Halves { last: last(numbers.len(), 1), numbers: numbers.into() }
    }

    /// Octets.
    pub fn bytes(&self) -> usize {
        size_of_val(&*self.numbers)
    }
}

/// What can be done with eight numbers. Sums wrap.
pub trait Eights: Copy {
    /// Eight numbers.
    type V: Copy;

    /// These numbers.
    fn load(self, from: &Eight) -> Self::V;
    /// The numbers, in memory.
    fn store(self, a: Self::V) -> Eight;
    /// The same number eight times.
    fn splat(self, n: u32) -> Self::V;
    /// Sums.
    fn add(self, a: Self::V, b: Self::V) -> Self::V;
    /// The bits that both have.
    fn and(self, a: Self::V, b: Self::V) -> Self::V;
    /// The bits that one of both has.
    fn xor(self, a: Self::V, b: Self::V) -> Self::V;
    /// The lesser of each two.
    fn least(self, a: Self::V, b: Self::V) -> Self::V;
    /// All bits where both are equal, else none.
    fn equal(self, a: Self::V, b: Self::V) -> Self::V;
    /// Without the last `bits` bits, of which there are less than 32.
    fn right(self, a: Self::V, bits: u32) -> Self::V;
    /// With `bits` more bits, all 0, behind the last; less than 32.
    fn left(self, a: Self::V, bits: u32) -> Self::V;
    /// `a` where its highest bit is set, else `b`.
    fn highest_or(self, a: Self::V, b: Self::V) -> Self::V;
    /// What stands at each place of a table; its last for places beyond.
    fn words(self, table: &Words, at: Self::V) -> Self::V;
    /// As [`Eights::words`].
    fn halves(self, table: &Halves, at: Self::V) -> Self::V;
}

/// Work on numbers of eight packets.
pub trait EightWork {
    /// What it gives.
    type Answer;

    /// Does it. What it calls must be inlined into it, as it is itself inlined into its caller.
    fn run<E: Eights>(self, e: E) -> Self::Answer;
}

/// Does work with AVX2 where the processor has that.
#[inline(always)]
pub fn in_eights<W: EightWork>(work: W) -> W::Answer {
    #[cfg(target_arch = "x86_64")]
    if super::has_avx2() {
        // SAFETY: the processor has what the function is compiled for.
        return unsafe { avx2(work) };
    }
    work.run(Plain)
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,bmi1,bmi2,lzcnt,popcnt")]
fn avx2<W: EightWork>(work: W) -> W::Answer {
    work.run(Avx2(()))
}

/// Plain code.
#[derive(Clone, Copy)]
struct Plain;

fn each(a: Eight, b: Eight, of: impl Fn(u32, u32) -> u32) -> Eight {
    std::array::from_fn(|i| of(a[i], b[i]))
}

impl Eights for Plain {
    type V = Eight;

    fn load(self, from: &Eight) -> Eight {
        *from
    }
    fn store(self, a: Eight) -> Eight {
        a
    }
    fn splat(self, n: u32) -> Eight {
        [n; ROWS]
    }
    fn add(self, a: Eight, b: Eight) -> Eight {
        each(a, b, u32::wrapping_add)
    }
    fn and(self, a: Eight, b: Eight) -> Eight {
        each(a, b, |a, b| a & b)
    }
    fn xor(self, a: Eight, b: Eight) -> Eight {
        each(a, b, |a, b| a ^ b)
    }
    fn least(self, a: Eight, b: Eight) -> Eight {
        each(a, b, Ord::min)
    }
    fn equal(self, a: Eight, b: Eight) -> Eight {
        each(a, b, |a, b| if a == b { u32::MAX } else { 0 })
    }
    fn right(self, a: Eight, bits: u32) -> Eight {
        a.map(|a| a >> (bits & 31))
    }
    fn left(self, a: Eight, bits: u32) -> Eight {
        a.map(|a| a << (bits & 31))
    }
    fn highest_or(self, a: Eight, b: Eight) -> Eight {
        each(a, b, |a, b| if a >> 31 == 1 { a } else { b })
    }
    fn words(self, table: &Words, at: Eight) -> Eight {
        at.map(|at| table.get(at))
    }
    fn halves(self, table: &Halves, at: Eight) -> Eight {
        at.map(|at| table.numbers[at.min(table.last) as usize].into())
    }
}

/// AVX2. There is one only where the processor has it.
#[cfg(target_arch = "x86_64")]
#[derive(Clone, Copy)]
struct Avx2(());

#[cfg(target_arch = "x86_64")]
macro_rules! avx2 {
    ($($name:ident($($arg:ident: $type:ty),*) $body:expr;)*) => {$(
        #[inline(always)]
        fn $name(self, $($arg: $type),*) -> x86::__m256i {
            // SAFETY: `self` is only where the processor has AVX2.
            unsafe { $body }
        }
    )*};
}

#[cfg(target_arch = "x86_64")]
impl Eights for Avx2 {
    type V = x86::__m256i;

    #[inline(always)]
    fn load(self, from: &Eight) -> x86::__m256i {
        // SAFETY: eight numbers are 32 octets, and `self` is only where the processor has AVX2.
        unsafe { x86::_mm256_loadu_si256(from.as_ptr().cast()) }
    }

    #[inline(always)]
    fn store(self, a: x86::__m256i) -> Eight {
        let mut to = [0; ROWS];
        // SAFETY: as for `load`.
        unsafe { x86::_mm256_storeu_si256(to.as_mut_ptr().cast(), a) };
        to
    }

    avx2! {
        splat(n: u32) x86::_mm256_set1_epi32(n.cast_signed());
        add(a: x86::__m256i, b: x86::__m256i) x86::_mm256_add_epi32(a, b);
        and(a: x86::__m256i, b: x86::__m256i) x86::_mm256_and_si256(a, b);
        xor(a: x86::__m256i, b: x86::__m256i) x86::_mm256_xor_si256(a, b);
        least(a: x86::__m256i, b: x86::__m256i) x86::_mm256_min_epu32(a, b);
        equal(a: x86::__m256i, b: x86::__m256i) x86::_mm256_cmpeq_epi32(a, b);
        right(a: x86::__m256i, bits: u32) x86::_mm256_srl_epi32(a, x86::_mm_cvtsi32_si128(bits.cast_signed()));
        left(a: x86::__m256i, bits: u32) x86::_mm256_sll_epi32(a, x86::_mm_cvtsi32_si128(bits.cast_signed()));
        highest_or(a: x86::__m256i, b: x86::__m256i) x86::_mm256_castps_si256(x86::_mm256_blendv_ps(
            x86::_mm256_castsi256_ps(b), x86::_mm256_castsi256_ps(a), x86::_mm256_castsi256_ps(a)
        ));
    }

    #[inline(always)]
    fn words(self, table: &Words, at: x86::__m256i) -> x86::__m256i {
        let at = self.least(at, self.splat(table.last));
        // SAFETY: no place is beyond the table's last, nor below 0; `self` is only where the processor has AVX2.
        unsafe { x86::_mm256_i32gather_epi32::<4>(table.numbers.as_ptr().cast(), at) }
    }

    #[inline(always)]
    fn halves(self, table: &Halves, at: x86::__m256i) -> x86::__m256i {
        let at = self.least(at, self.splat(table.last));
        // SAFETY: no place is beyond the table's last but one, so that four octets can be read there, nor below 0; any
        // address is aligned for a gather. `self` is only where the processor has AVX2.
        let both = unsafe { x86::_mm256_i32gather_epi32::<2>(table.numbers.as_ptr().cast(), at) };
        self.and(both, self.splat(u32::from(u16::MAX)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// What every operation says of the same numbers.
    struct All<'a>(&'a Words, &'a Halves, Eight, Eight, u32);

    impl EightWork for All<'_> {
        type Answer = Vec<Eight>;

        fn run<E: Eights>(self, e: E) -> Vec<Eight> {
            let All(words, halves, a, b, bits) = self;
            let (a, b) = (e.load(&a), e.load(&b));
            let all = [
                e.splat(bits),
                e.add(a, b),
                e.and(a, b),
                e.xor(a, b),
                e.least(a, b),
                e.equal(a, b),
                e.right(a, bits),
                e.left(a, bits),
                e.highest_or(a, b),
                e.words(words, a),
                e.words(words, e.right(a, 28)),
                e.halves(halves, b),
                e.halves(halves, e.right(b, 28)),
            ];
            all.map(|of| e.store(of)).into()
        }
    }

    proptest! {
        #[test]
        fn vector_code_says_what_plain_code_says(
            words in prop::collection::vec(any::<u32>(), 0..20),
            halves in prop::collection::vec(any::<u16>(), 0..20),
            a in any::<Eight>(),
            mut b in any::<Eight>(),
            bits in 0u32..32,
        ) {
            (b[1], b[7]) = (a[1], a[7]);
            let first = (words.first().copied(), halves.last().copied());
            let (words, halves) = (Words::new(words), Halves::new(halves));
            let here = in_eights(All(&words, &halves, a, b, bits));
            prop_assert_eq!(here, All(&words, &halves, a, b, bits).run(Plain));
            prop_assert_eq!(words.numbers[0], first.0.unwrap_or(0));
            prop_assert_eq!(halves.numbers[halves.last as usize], first.1.unwrap_or(0));
        }
    }
}
