//! IPv4 (RFC 791): checked reads of a header and the edits of a router.

use super::ethernet::be16;
use super::{Start, checksum};

/// Octets of a header without options.
pub const HEADER_LEN: usize = 20;
/// The same as a length in a packet.
pub const HEADER_LEN32: u32 = 20;
/// Protocol number of ICMP.
pub const ICMP: u8 = 1;
/// Protocol number of TCP.
pub const TCP: u8 = 6;
/// Offset of the flags in a TCP header (RFC 9293 3.1).
pub const TCP_FLAGS: usize = 13;
/// Protocol number of UDP.
pub const UDP: u8 = 17;

/// Source and destination port, as one number, of an upper-layer header whose protocol begins with them; `None` for other
/// protocols and where the header ends earlier.
#[inline(always)]
pub fn ports(protocol: u8, header: &[u8]) -> Option<u32> {
    const DCCP: u8 = 33;
    const SCTP: u8 = 132;
    const UDP_LITE: u8 = 136;
    match (protocol, header.first_chunk()) {
        (TCP | UDP | DCCP | SCTP | UDP_LITE, Some(ports)) => Some(u32::from_be_bytes(*ports)),
        _ => None,
    }
}

/// What is wrong with a header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Malformed {
    /// The version is not 4.
    Version,
    /// The header is shorter than 20 octets or longer than what arrived.
    HeaderLength,
    /// The total length is less than the header or more than what arrived.
    TotalLength,
    /// The checksum is wrong.
    Checksum,
}

/// An IPv4 packet whose lengths and checksum have been checked: its accessors never panic.
#[derive(Clone, Copy, Debug)]
pub struct Ipv4<'a>(&'a [u8]);

impl<'a> Ipv4<'a> {
    /// Makes the checks of RFC 1812 5.2.2 on the packet at the start of `data`, the cheap ones first.
    /// Octets behind the total length (padding) are left out.
    #[inline(always)]
    pub fn parse(data: impl Into<Start<'a>>) -> Result<Self, Malformed> {
        let Start { octets: data, len } = data.into();
        // The version comes first here, so that its counter says what is wrong.
        let Some(first) = data.first() else { return Err(Malformed::HeaderLength) };
        if first >> 4 != 4 {
            return Err(Malformed::Version);
        }
        let header = usize::from(first & 0xf) * 4;
        // Step 4: IHL of at least 5.
        if header < HEADER_LEN || header > data.len() {
            return Err(Malformed::HeaderLength);
        }
        // Step 5: total length of at least the header that IHL states, and within the frame.
        let total = usize::from(be16(data, 2));
        if total < header || total > len {
            return Err(Malformed::TotalLength);
        }
        // Step 2: the checksum.
        if checksum::sum(&data[..header]) != 0xffff {
            return Err(Malformed::Checksum);
        }
        Ok(Ipv4(&data[..total.min(data.len())]))
    }

    /// Octets of the packet, header included.
    #[inline(always)]
    pub fn total_len(&self) -> usize {
        be16(self.0, 2).into()
    }

    /// Octets of the header.
    #[inline(always)]
    pub fn header_len(&self) -> usize {
        usize::from(self.0[0] & 0xf) * 4
    }

    /// Time to live.
    #[inline(always)]
    pub fn ttl(&self) -> u8 {
        self.0[8]
    }

    /// Protocol of the payload.
    #[inline(always)]
    pub fn protocol(&self) -> u8 {
        self.0[9]
    }

    /// Source address.
    #[inline(always)]
    pub fn source(&self) -> u32 {
        u32::from_be_bytes([self.0[12], self.0[13], self.0[14], self.0[15]])
    }

    /// Destination address.
    #[inline(always)]
    pub fn destination(&self) -> u32 {
        u32::from_be_bytes([self.0[16], self.0[17], self.0[18], self.0[19]])
    }

    /// Offset of this fragment, in units of 8 octets.
    #[inline(always)]
    pub fn fragment_offset(&self) -> u16 {
        be16(self.0, 6) & 0x1fff
    }

    /// A fragment, the first one included.
    #[inline(always)]
    pub fn is_fragment(&self) -> bool {
        be16(self.0, 6) & 0x3fff != 0
    }

    /// What is behind the header, as far as it is seen.
    #[inline(always)]
    pub fn payload(&self) -> &'a [u8] {
        &self.0[self.header_len()..]
    }

    /// The options, empty in most packets.
    #[inline(always)]
    pub fn options(&self) -> &'a [u8] {
        &self.0[HEADER_LEN..self.header_len()]
    }
}

/// The word of TTL, protocol and checksum with a TTL one less, which is not 0, and the checksum updated.
#[inline(always)]
pub const fn decremented(word: u32) -> u32 {
    // RFC 1624 with what changed being 0x0100 less: add that, and the carry.
    let sum = (word & 0xffff) + 0x100;
    let sum = (sum & 0xffff) + (sum >> 16);
    let sum = if sum == 0xffff { 0 } else { sum };
    (word & 0xffff_0000).wrapping_sub(1 << 24) | sum
}

/// What a packet's options mean to a router.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Options {
    /// Nothing to do.
    Ignore,
    /// Strict or loose source route.
    SourceRoute,
    /// Router alert, record route, timestamp, or malformed: the slow path looks at it.
    SlowPath,
}

/// Reads options as RFC 791 3.1 lays them out.
pub fn classify_options(mut options: &[u8]) -> Options {
    const END: u8 = 0;
    const NOP: u8 = 1;
    const RECORD_ROUTE: u8 = 7;
    const TIMESTAMP: u8 = 68;
    const LOOSE_SOURCE_ROUTE: u8 = 131;
    const STRICT_SOURCE_ROUTE: u8 = 137;
    const ROUTER_ALERT: u8 = 148;
    let mut verdict = Options::Ignore;
    while let Some((&kind, rest)) = options.split_first() {
        match kind {
            END => break,
            NOP => {
                options = rest;
                continue;
            }
            LOOSE_SOURCE_ROUTE | STRICT_SOURCE_ROUTE => return Options::SourceRoute,
            RECORD_ROUTE | TIMESTAMP | ROUTER_ALERT => verdict = Options::SlowPath,
            _ => {}
        }
        match rest.first() {
            Some(&len) if len >= 2 && usize::from(len) <= options.len() => {
                options = &options[usize::from(len)..];
            }
            _ => return Options::SlowPath,
        }
    }
    verdict
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn options_are_told_apart() {
        for (options, expected) in [
            (&[1u8, 1, 0, 9][..], Options::Ignore),
            (&[7, 3, 4, 0], Options::SlowPath),
            (&[1, 131, 3, 4], Options::SourceRoute),
            (&[148, 4, 0, 0], Options::SlowPath),
            (&[130, 9, 0, 0], Options::SlowPath), // longer than the header
            (&[130, 0, 0, 0], Options::SlowPath), // would loop for ever
            (&[148, 4, 0, 0, 137, 3, 4, 0], Options::SourceRoute),
            (&[130, 4, 0, 0], Options::Ignore),
        ] {
            assert_eq!(classify_options(options), expected, "{options:?}");
        }
    }

    proptest! {
        /// etherparse is the oracle for what a good header is.
        #[test]
        fn parse_agrees_with_etherparse(mut data in prop::collection::vec(any::<u8>(), 0..80), fix: bool) {
            if let Some(first) = data.first_mut() { *first = 0x40 | (*first & 0xf); }
            if fix && data.len() >= 20 {
                data[9] = UDP; // etherparse also looks into authentication headers,
                data[6] &= 0x7f; // and forgets the reserved flag
                let header = usize::from(data[0] & 0xf) * 4;
                let len = u16::try_from(data.len()).unwrap();
                data[2..4].copy_from_slice(&len.to_be_bytes());
                if (20..=data.len()).contains(&header) {
                    data[10..12].fill(0);
                    let sum = !checksum::sum(&data[..header]);
                    data[10..12].copy_from_slice(&sum.to_be_bytes());
                }
            }
            let oracle = etherparse::Ipv4Slice::from_slice(&data).ok()
                .filter(|p| p.header().header_checksum() == p.header().to_header().calc_header_checksum());
            let ours = Ipv4::parse(&data);
            prop_assert_eq!(ours.is_ok(), oracle.is_some());
            if let (Ok(ours), Some(oracle)) = (ours, oracle) {
                prop_assert_eq!(ours.source(), u32::from(oracle.header().source_addr()));
                prop_assert_eq!(ours.fragment_offset(), oracle.header().fragments_offset().value());
                prop_assert_eq!(ours.options(), oracle.header().options());
            }
        }

        #[test]
        fn a_decremented_ttl_keeps_the_checksum_right(ttl in 1u8.., id: u16, source: u32) {
            let mut header = etherparse::Ipv4Header::new(0, ttl, etherparse::IpNumber::UDP, source.to_be_bytes(), [192, 0, 2, 1]).unwrap();
            header.identification = id;
            header.header_checksum = header.calc_header_checksum();
            let mut packet = header.to_bytes().to_vec();
            let word = super::super::ethernet::be32(&packet, 8);
            packet[8..12].copy_from_slice(&decremented(word).to_be_bytes());
            prop_assert_eq!(Ipv4::parse(&packet).map(|p| p.ttl()), Ok(ttl - 1));
        }
    }
}
