//! The Internet checksum (RFC 1071) and its incremental update (RFC 1624).

/// The one's complement sum of `data`, not yet complemented. A correct IPv4 header sums to 0xffff.
#[inline(always)]
pub fn sum(data: &[u8]) -> u16 {
    let mut chunks = data.chunks_exact(2);
    let mut sum: u32 = 0;
    for pair in &mut chunks {
        sum += u32::from(u16::from_be_bytes([pair[0], pair[1]]));
    }
    if let [last] = chunks.remainder() {
        sum += u32::from(*last) << 8;
    }
    fold(sum)
}

/// Whether the checksum of an IPv4 header without options is right, that is, whether it sums to 0xffff in one's
/// complement.
#[inline(always)]
pub fn is_right(words: [u32; 5]) -> bool {
    // The halves apart, so that eight headers can be summed at once in 32 bits.
    let sum = words.into_iter().fold(0, |sum, word| sum + (word & 0xffff) + (word >> 16));
    (sum & 0xffff) + (sum >> 16) == 0xffff
}

/// The checksum after one 16-bit word of the data changed from `old` to `new` (RFC 1624, eqn. 3).
#[inline(always)]
pub fn update(checksum: u16, old: u16, new: u16) -> u16 {
    !fold(u32::from(!checksum) + u32::from(!old) + u32::from(new))
}

#[inline(always)]
fn fold(mut sum: u32) -> u16 {
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
        fn a_header_is_right_where_it_sums_to_all_ones(words: [u32; 5], fix in 0..3) {
            let mut words = if fix == 2 { [0; 5] } else { words };
            let octets = |words: [u32; 5]| words.map(u32::to_be_bytes).concat();
            if fix == 1 {
                words[2] &= 0xffff_0000;
                words[2] |= u32::from(!sum(&octets(words)));
            }
            prop_assert_eq!(is_right(words), sum(&octets(words)) == 0xffff);
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
