//! IPv4 fragmentation (RFC 791 section 3.2, "An Example Fragmentation Procedure").

use crate::wire::ethernet::be16;

const MORE: u16 = 0x2000;
const OFFSET: u16 = 0x1fff;

/// The fragments of `packet` (sound, as [`super::packet::Packet`] checks), each at most `mtu` octets.
/// Empty where there can be none: an MTU without room for 8 octets of payload, or a fragment that
/// would end beyond the longest packet there can be.
pub fn fragment(packet: &[u8], mtu: usize) -> Vec<Vec<u8>> {
    let length = usize::from(packet.first().map_or(0, |first| first & 0xf)) * 4;
    let Some((head, payload)) = packet.split_at_checked(length).filter(|_| length >= 20) else {
        return Vec::new();
    };
    let flags = be16(head, 6);
    let first = usize::from(flags & OFFSET) * 8;
    if first + payload.len() > usize::from(u16::MAX) {
        return Vec::new();
    }
    let mut fragments = Vec::new();
    let mut head = head.to_vec();
    let mut done = 0;
    while done < payload.len() {
        // All but the last carry a multiple of 8 octets.
        let room = mtu.saturating_sub(head.len());
        let rest = payload.len() - done;
        let take = if rest <= room { rest } else { room / 8 * 8 };
        if take == 0 {
            return Vec::new();
        }
        let more = if take < rest { MORE } else { flags & MORE };
        let (Ok(total), Ok(offset)) =
            (u16::try_from(head.len() + take), u16::try_from((first + done) / 8))
        else {
            return Vec::new();
        };
        head[2..4].copy_from_slice(&total.to_be_bytes());
        let flags = (flags & !(MORE | OFFSET)) | more | (offset & OFFSET);
        head[6..8].copy_from_slice(&flags.to_be_bytes());
        super::packet::seal(&mut head);
        fragments.push([&head[..], &payload[done..done + take]].concat());
        if done == 0 {
            head = later_header(&head);
        }
        done += take;
    }
    fragments
}

/// The header of fragments after the first: of the options, those that must be in every fragment.
fn later_header(head: &[u8]) -> Vec<u8> {
    let mut later = head[..20].to_vec();
    for option in super::options::walk(&head[20..]).map_while(Result::ok) {
        if option.bytes[0] & 0x80 != 0 {
            later.extend_from_slice(option.bytes);
        }
    }
    later.resize(later.len().next_multiple_of(4), 0);
    later[0] = 0x40 | u8::try_from(later.len() / 4).unwrap_or(5);
    later
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::slowpath::packet::Packet;
    use crate::slowpath::testing::ipv4;
    use crate::wire::checksum;
    use proptest::prelude::*;

    /// Puts fragments together again: the opposite, written independently.
    fn reassemble(fragments: &[Vec<u8>]) -> Vec<u8> {
        let mut payload = Vec::new();
        for (n, bytes) in fragments.iter().enumerate() {
            let slice = etherparse::Ipv4HeaderSlice::from_slice(bytes).unwrap();
            assert_eq!(usize::from(slice.total_len()), bytes.len());
            assert_eq!(usize::from(slice.fragments_offset().value()) * 8, payload.len());
            assert_eq!(slice.more_fragments(), n + 1 < fragments.len());
            assert_eq!(checksum::sum(&bytes[..slice.slice().len()]), 0xffff);
            payload.extend_from_slice(&bytes[slice.slice().len()..]);
        }
        payload
    }

    proptest! {
        #[test]
        fn fragments_reassemble(length in 1usize..9000, mtu in 576usize..1500, options in 0usize..10) {
            // Record route (not copied), then router alerts (copied).
            let mut option = vec![7, 3, 4, 1];
            option.extend([148, 4, 0, 0].repeat(options));
            option.truncate(if options == 0 { 0 } else { 40 });
            let payload: Vec<u8> = (0..=250).cycle().take(length).collect();
            let packet = ipv4("10.0.0.1", "10.0.0.2", 64, 17, &option, &payload);
            let fragments = fragment(&packet, mtu);
            prop_assert!(fragments.iter().all(|f| f.len() <= mtu));
            prop_assert_eq!(reassemble(&fragments), payload);
            for (n, fragment) in fragments.iter().enumerate() {
                let at = usize::from(fragment[0] & 0xf) * 4;
                let expected = if n == 0 { &option[..] } else { option.get(4..).unwrap_or_default() };
                prop_assert_eq!(&fragment[20..at], expected);
            }
        }
    }

    #[test]
    fn a_fragment_is_fragmented_further() {
        let mut packet = ipv4("10.0.0.1", "10.0.0.2", 64, 17, &[], &[7; 1400]);
        packet[6..8].copy_from_slice(&(MORE | 100u16).to_be_bytes());
        crate::slowpath::packet::seal(&mut packet[..20]);
        let fragments = fragment(&packet, 700);
        let heads: Vec<u16> = fragments.iter().map(|f| be16(f, 6)).collect();
        assert_eq!(heads, [MORE | 100, MORE | 185, MORE | 270]);
        assert!(fragments.iter().all(|f| Packet::parse(f).is_some()));
    }

    #[test]
    fn what_cannot_be_fragmented_is_not() {
        let mut packet = ipv4("10.0.0.1", "10.0.0.2", 64, 17, &[], &[7; 1400]);
        assert!(fragment(&packet, 27).is_empty());
        assert_eq!(fragment(&packet, 28).len(), 175);
        packet[6..8].copy_from_slice(&OFFSET.to_be_bytes());
        assert!(fragment(&packet, 600).is_empty(), "ends beyond 65,535 octets");
    }
}
