//! IPv6 (RFC 8200): checked reads of a header and the edit of a router.

use std::net::IpAddr;

use super::ethernet::be16;
use super::ipv4::{TCP, UDP};

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
    pub fn parse(data: &'a [u8]) -> Result<Self, Malformed> {
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
        match data.get(..HEADER_LEN + payload) {
            Some(packet) => Ok(Ipv6(packet)),
            None => Err(Malformed::PayloadLength),
        }
    }

    /// Octets of the packet, header included.
    #[inline(always)]
    pub fn total_len(&self) -> usize {
        self.0.len()
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

    /// The flow label.
    #[inline(always)]
    pub fn flow_label(&self) -> u32 {
        u32::from_be_bytes([0, self.0[1] & 0xf, self.0[2], self.0[3]])
    }

    /// The type of an ICMPv6 message that follows the fixed header directly.
    #[inline(always)]
    pub fn icmp_type(&self) -> Option<u8> {
        if self.next_header() == ICMPV6 { self.0.get(HEADER_LEN).copied() } else { None }
    }

    /// Source and destination port of a TCP or UDP packet without extension headers, as one number.
    #[inline(always)]
    pub fn ports(&self) -> u32 {
        match (self.next_header(), self.0.get(HEADER_LEN..HEADER_LEN + 4)) {
            (TCP | UDP, Some(&[a, b, c, d])) => u32::from_be_bytes([a, b, c, d]),
            _ => 0,
        }
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
