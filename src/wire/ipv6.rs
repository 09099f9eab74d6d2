//! IPv6 (RFC 8200): checked reads of a header and the edit of a router.

use std::net::IpAddr;

use super::Start;
use super::ethernet::be16;

/// Octets of the fixed header.
pub const HEADER_LEN: usize = 40;
/// Next-header number of ICMPv6.
pub const ICMPV6: u8 = 58;
/// Next-header number of the hop-by-hop options.
pub const HOP_BY_HOP: u8 = 0;

/// What is wrong with a header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Malformed {
    /// The version is not 6.
    Version,
    /// Fewer than 40 octets arrived.
    HeaderLength,
    /// The payload length is more than what arrived.
    PayloadLength,
    /// A payload length of 0 with hop-by-hop options: a jumbogram (RFC 2675).
    Jumbogram,
}

/// An IPv6 packet whose lengths have been checked: its accessors never panic.
#[derive(Clone, Copy, Debug)]
pub struct Ipv6<'a>(&'a [u8]);

impl<'a> Ipv6<'a> {
    /// Checks the packet at the start of `data`. Octets behind the payload (padding) are left out.
    #[inline(always)]
    pub fn parse(data: impl Into<Start<'a>>) -> Result<Self, Malformed> {
        let Start { octets: data, len } = data.into();
        let Some(first) = data.first() else { return Err(Malformed::HeaderLength) };
        if first >> 4 != 6 {
            return Err(Malformed::Version);
        }
        if data.len() < HEADER_LEN {
            return Err(Malformed::HeaderLength);
        }
        let payload = usize::from(be16(data, 4));
        if payload == 0 && data[6] == HOP_BY_HOP {
            return Err(Malformed::Jumbogram);
        }
        let total = HEADER_LEN + payload;
        if total > len {
            return Err(Malformed::PayloadLength);
        }
        Ok(Ipv6(&data[..total.min(data.len())]))
    }

    /// Octets of the packet, header included.
    #[inline(always)]
    pub fn total_len(&self) -> usize {
        HEADER_LEN + usize::from(be16(self.0, 4))
    }

    /// The packet, as far as it is seen.
    #[inline(always)]
    pub fn octets(&self) -> &'a [u8] {
        self.0
    }

    /// Hop limit.
    #[inline(always)]
    pub fn hop_limit(&self) -> u8 {
        self.0[7]
    }

    /// The first next-header.
    #[inline(always)]
    pub fn next_header(&self) -> u8 {
        self.0[6]
    }

    /// Source address.
    #[inline(always)]
    pub fn source(&self) -> u128 {
        address(self.0, 8)
    }

    /// Destination address.
    #[inline(always)]
    pub fn destination(&self) -> u128 {
        address(self.0, 24)
    }

    /// The type of an ICMPv6 message that follows the fixed header directly.
    #[inline(always)]
    pub fn icmp_type(&self) -> Option<u8> {
        if self.next_header() == ICMPV6 { self.0.get(HEADER_LEN).copied() } else { None }
    }
}

/// Where a packet's extension headers lead (RFC 8200 section 4).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Upper {
    /// The upper-layer protocol and the offset of its header; `None` where it cannot be seen (a
    /// fragment other than the first, or extension headers that end early).
    pub protocol: Option<(u8, usize)>,
    /// A part of a fragmented packet. A fragment header without another fragment is none (RFC 6946).
    pub fragment: bool,
    /// A fragment other than the first.
    pub later_fragment: bool,
    /// Offset of a routing header that still has segments to visit.
    pub routing: Option<usize>,
    /// Of a later fragment, what its fragment header says that the first one begins with.
    pub next: u8,
}

/// Finds the upper-layer header of a packet that has a whole fixed header and ends with its payload length. Never panics.
#[inline]
pub fn upper(packet: &[u8]) -> Upper {
    const ROUTING: u8 = 43;
    const FRAGMENT: u8 = 44;
    const AUTHENTICATION: u8 = 51;
    const DESTINATION: u8 = 60;
    let mut found = Upper::default();
    let Some(&first) = packet.get(6) else { return found };
    let (mut next, mut at) = (first, HEADER_LEN);
    // Each step moves on by 8 octets or more, so it ends.
    loop {
        if !matches!(next, HOP_BY_HOP | ROUTING | FRAGMENT | AUTHENTICATION | DESTINATION) {
            // A short upper-layer header is for its own parser to refuse.
            found.protocol = Some((next, at));
            return found;
        }
        let Some(head) = packet.get(at..).and_then(|rest| rest.first_chunk::<8>()) else {
            return found;
        };
        let units = usize::from(head[1]);
        let length = match next {
            FRAGMENT => {
                let offset = be16(head, 2);
                found.fragment = offset & 0xfff9 != 0;
                found.later_fragment = offset & 0xfff8 != 0;
                if found.later_fragment {
                    found.next = head[0];
                    return found;
                }
                8
            }
            AUTHENTICATION => (units + 2) * 4,
            _ => (units + 1) * 8,
        };
        if next == ROUTING && head[3] != 0 && found.routing.is_none() {
            found.routing = Some(at);
        }
        next = head[0];
        at += length;
    }
}

/// fe80::/10, the addresses that mean something on one link only (RFC 4291 2.5.6).
pub fn is_link_local(address: IpAddr) -> bool {
    matches!(address, IpAddr::V6(v6) if v6.is_unicast_link_local())
}

/// The 16 octets at `at`, which the caller has checked to be there.
#[inline(always)]
pub fn address(data: &[u8], at: usize) -> u128 {
    let mut octets = [0; 16];
    octets.copy_from_slice(&data[at..at + 16]);
    u128::from_be_bytes(octets)
}

/// The word of payload length, next header and hop limit with a hop limit one less, which is not 0.
#[inline(always)]
pub const fn decremented(word: u32) -> u32 {
    word.wrapping_sub(1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn parse_agrees_with_etherparse(mut data in prop::collection::vec(any::<u8>(), 0..90), fix: bool) {
            if let Some(first) = data.first_mut() { *first = 0x60 | (*first & 0xf); }
            if fix && data.len() >= 40 {
                let len = u16::try_from(data.len() - 40).unwrap();
                data[4..6].copy_from_slice(&len.to_be_bytes());
            }
            let oracle = etherparse::Ipv6HeaderSlice::from_slice(&data).ok()
                .filter(|h| 40 + usize::from(h.payload_length()) <= data.len())
                .filter(|h| h.payload_length() != 0 || h.next_header().0 != 0);
            let ours = Ipv6::parse(&data);
            prop_assert_eq!(ours.is_ok(), oracle.is_some());
            if let (Ok(ours), Some(oracle)) = (ours, oracle) {
                prop_assert_eq!(ours.destination(), u128::from(oracle.destination_addr()));
                prop_assert_eq!(ours.total_len(), 40 + usize::from(oracle.payload_length()));
            }
        }
    }
}
