//! The Internet checksum (RFC 1071) and its incremental update (RFC 1624).

/// The one's complement sum of `data`, not yet complemented. A correct IPv4 header sums to 0xffff.
#[inline(always)]
#[expect(clippy::cast_possible_truncation, reason = "halves")]
pub fn sum(data: &[u8]) -> u16 {
    // Four octets at a time in the machine's order, which is as good as any (RFC 1071 2 (B)).
    let (words, rest) = data.as_chunks();
    let mut last = [0; 4];
    last[..rest.len()].copy_from_slice(rest);
    let words = words.iter().chain([&last]).map(|word| u64::from(u32::from_ne_bytes(*word)));
    let sum: u64 = words.sum();
    u16::from_be(fold(halves([sum as u32, (sum >> 32) as u32])))
}

/// Whether the checksum of an IPv4 header without options is right, that is, whether it sums to 0xffff in one's
/// complement.
#[inline(always)]
pub fn is_right(words: [u32; 5]) -> bool {
    let sum = halves(words);
    (sum & 0xffff) + (sum >> 16) == 0xffff
}

/// The sum of the halves, so that eight headers can be summed at once in 32 bits.
#[inline(always)]
pub fn halves<const N: usize>(words: [u32; N]) -> u32 {
    words.into_iter().fold(0, |sum, word| sum + (word & 0xffff) + (word >> 16))
}

/// The checksum after one 16-bit word of the data changed from `old` to `new` (RFC 1624, eqn. 3).
#[inline(always)]
pub fn update(checksum: u16, old: u16, new: u16) -> u16 {
    !fold(u32::from(!checksum) + u32::from(!old) + u32::from(new))
}

/// A sum of halves in 16 bits, in one's complement.
#[inline(always)]
pub fn fold(mut sum: u32) -> u16 {
    sum = (sum & 0xffff) + (sum >> 16);
    sum = (sum & 0xffff) + (sum >> 16);
    (sum & 0xffff) as u16
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_sum_is_that_of_16_bit_words(data: Vec<u8>) {
            let naive = data.chunks(2).fold(0_u64, |sum, pair| {
                sum + u64::from(pair[0]) * 256 + pair.get(1).map_or(0, |low| u64::from(*low))
            });
            let naive = (1..4).fold(naive, |sum, _| (sum & 0xffff) + (sum >> 16));
            prop_assert_eq!(u64::from(sum(&data)), naive);
        }

        #[test]
        fn a_header_is_right_where_it_sums_to_all_ones(words: [u32; 5], fix in 0..3) {
            let mut words = if fix == 2 { [0; 5] } else { words };
            let octets = |words: [u32; 5]| words.map(u32::to_be_bytes).concat();
            if fix == 1 {
                words[2] &= 0xffff_0000;
                words[2] |= u32::from(!sum(&octets(words)));
            }
            prop_assert_eq!(is_right(words), sum(&octets(words)) == 0xffff);
            prop_assert_eq!(fold(halves(words)), sum(&octets(words)));
        }

        #[test]
        fn an_update_equals_a_new_computation(mut words in prop::collection::vec(any::<u16>(), 2..30), at in any::<prop::sample::Index>(), new: u16) {
            let bytes = |w: &[u16]| w.iter().flat_map(|w| w.to_be_bytes()).collect::<Vec<u8>>();
            // A header is never all zero (RFC 1624 section 3's corner), so neither is this one.
            words[0] |= 1;
            let at = 1 + at.index(words.len() - 1);
            let before = !sum(&bytes(&words));
            let after = update(before, words[at], new);
            words[at] = new;
            prop_assert_eq!(after, !sum(&bytes(&words)));
        }
    }
}
