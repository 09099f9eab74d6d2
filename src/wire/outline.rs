//! Where a frame's headers are, for people who look at it: tags, network protocol, upper layer. Takes any
//! octets, right or wrong, and never panics.

use super::ethernet::{ETHERTYPE_ARP, ETHERTYPE_IPV4, ETHERTYPE_IPV6, ETHERTYPE_SERVICE_TAG};
use super::ethernet::{ETHERTYPE_VLAN, HEADER_LEN, TAG_LEN, be16};
use super::{ipv4, ipv6};

/// Tags that are told apart; what follows them counts as payload.
const TAGS: usize = 3;
/// Octets of an ARP message for IPv4 over Ethernet (RFC 826).
const ARP_LEN: usize = 28;
/// Octets of an upper-layer header that hold its ports, or ICMP's type and code.
const UPPER_LEN: usize = 4;

/// What is where in a frame.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Outline {
    /// How many 802.1Q and 802.1ad tags there are, from octet 12 on.
    pub tags: usize,
    /// The ethertype behind the tags; `None` where the frame ends before it.
    pub ethertype: Option<u16>,
    /// Offset of what the ethertype names.
    pub l3: usize,
    /// The upper-layer protocol, and the offset of its header; `None` where it is not seen.
    pub upper: Option<(u8, usize)>,
}

impl Outline {
    /// Looks at a frame from its destination MAC on.
    pub fn of(frame: &[u8]) -> Outline {
        let mut found = Outline { l3: HEADER_LEN, ..Outline::default() };
        while frame.len() >= found.l3 {
            let ethertype = be16(frame, found.l3 - 2);
            let is_tag = matches!(ethertype, ETHERTYPE_VLAN | ETHERTYPE_SERVICE_TAG);
            if !is_tag || found.tags == TAGS {
                found.ethertype = Some(ethertype);
                break;
            }
            found.tags += 1;
            found.l3 += TAG_LEN;
        }
        let packet = frame.get(found.l3..).unwrap_or_default();
        let upper = match found.ethertype {
            Some(ETHERTYPE_IPV4) => upper_of_ipv4(packet),
            Some(ETHERTYPE_IPV6) if packet.len() >= ipv6::HEADER_LEN => {
                ipv6::upper(packet).protocol
            }
            _ => None,
        };
        found.upper = upper.map(|(protocol, at)| (protocol, found.l3 + at));
        found
    }

    /// Octets of the frame that are headers, with the ports or ICMP's type and code: at most `most`.
    pub fn headers(&self, frame: &[u8], most: usize) -> usize {
        let end = match (self.ethertype, self.upper) {
            (_, Some((_, at))) => at + UPPER_LEN,
            (Some(ETHERTYPE_ARP), _) => self.l3 + ARP_LEN,
            (Some(ETHERTYPE_IPV4), _) => self.l3 + ipv4::HEADER_LEN,
            (Some(ETHERTYPE_IPV6), _) => self.l3 + ipv6::HEADER_LEN,
            _ => self.l3,
        };
        end.min(frame.len()).min(most)
    }

    /// The octets that hold the addresses of an IP packet, or those of an ARP message; none where there
    /// are none.
    pub fn addresses<'a>(&self, frame: &'a [u8]) -> &'a [u8] {
        let (start, end) = match self.ethertype {
            Some(ETHERTYPE_IPV4) => (12, 20),
            Some(ETHERTYPE_IPV6) => (8, 40),
            Some(ETHERTYPE_ARP) => (8, ARP_LEN),
            _ => return &[],
        };
        frame.get(self.l3 + start..self.l3 + end).unwrap_or_default()
    }
}

/// The upper layer of an IPv4 packet that is not a later fragment.
fn upper_of_ipv4(packet: &[u8]) -> Option<(u8, usize)> {
    let header = packet.first_chunk::<{ ipv4::HEADER_LEN }>()?;
    let length = usize::from(header[0] & 0xf) * 4;
    let first = be16(header, 6) & 0x1fff == 0;
    (first && length >= ipv4::HEADER_LEN).then_some((header[9], length))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn frame(tags: &[u8], ethertype: [u8; 2], packet: &[u8]) -> Vec<u8> {
        [&[0; 12], tags, &ethertype, packet].concat()
    }

    #[test]
    fn tags_network_and_upper_layer_are_found() {
        let tag = [0x81, 0, 0x60, 100];
        let mut packet = [0; 64];
        (packet[0], packet[9]) = (0x46, ipv4::UDP);
        let tagged = frame(&[tag, tag].concat(), [8, 0], &packet);
        let found = Outline::of(&tagged);
        assert_eq!((found.tags, found.l3, found.upper), (2, 22, Some((ipv4::UDP, 46))));
        // No octet of the payload.
        assert_eq!(found.headers(&tagged, 96), 50);
        packet[7] = 1;
        let fragment = frame(&tag, [8, 0], &packet);
        assert_eq!(Outline::of(&fragment).headers(&fragment, 96), 38);
        let arp = frame(&[], [8, 6], &[0; 46]);
        assert_eq!(Outline::of(&arp).headers(&arp, 96), 42);
        assert_eq!(Outline::of(&arp).addresses(&arp).len(), 20);
        let other = frame(&tag, [0x88, 0x64], &[7; 46]);
        assert_eq!(Outline::of(&other).headers(&other, 96), 18);
        let four = frame(&[tag, tag, tag, tag].concat(), [8, 0], &packet);
        assert_eq!((Outline::of(&four).tags, Outline::of(&four).ethertype), (3, Some(0x8100)));
        assert_eq!(Outline::of(&tag), Outline { l3: 14, ..Outline::default() });
    }

    proptest! {
        #[test]
        fn any_octets_have_an_outline_within_them(
            data in prop::collection::vec(any::<u8>(), 0..120), start in 0..4_usize,
        ) {
            let start: &[u8] = [&[][..], &[0x81, 0, 0, 1], &[8, 0, 0x45], &[0x86, 0xdd, 0x60]][start];
            let data = [&data[..data.len().min(12)], start, &data[data.len().min(12)..]].concat();
            let found = Outline::of(&data);
            prop_assert!(found.headers(&data, 96) <= data.len().min(96));
            prop_assert!(found.addresses(&data).len() <= 32);
        }
    }
}
