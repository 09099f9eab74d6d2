//! Ethernet, 802.1Q and 802.1ad.

use std::fmt;
use std::str::FromStr;

/// Octets of an untagged Ethernet header.
pub const HEADER_LEN: usize = 14;
/// Octets of one VLAN tag.
pub const TAG_LEN: usize = 4;
/// Octets of payload, padding included, at least (IEEE 802.3 3.2.8). Tags do not count, so that a frame is still long
/// enough where a bridge takes them off.
pub const MIN_PAYLOAD: usize = 46;
/// 802.1Q customer tag.
pub const ETHERTYPE_VLAN: u16 = 0x8100;
/// 802.1ad service tag.
pub const ETHERTYPE_SERVICE_TAG: u16 = 0x88a8;
/// ARP (RFC 826).
pub const ETHERTYPE_ARP: u16 = 0x0806;
/// IPv4.
pub const ETHERTYPE_IPV4: u16 = 0x0800;
/// IPv6.
pub const ETHERTYPE_IPV6: u16 = 0x86dd;
/// The VID's bits in a TCI (802.1Q 9.6).
pub const VID_MASK: u16 = 0x0fff;

/// A MAC address.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Mac(pub [u8; 6]);

impl Mac {
    /// ff:ff:ff:ff:ff:ff.
    pub const BROADCAST: Mac = Mac([0xff; 6]);

    /// The MAC as the lower 48 bits of a number.
    #[inline(always)]
    pub const fn to_bits(self) -> u64 {
        let [a, b, c, d, e, f] = self.0;
        u64::from_be_bytes([0, 0, a, b, c, d, e, f])
    }

    /// The MAC that is the lower 48 bits of a number.
    #[inline(always)]
    pub const fn from_bits(bits: u64) -> Mac {
        let [_, _, a, b, c, d, e, f] = bits.to_be_bytes();
        Mac([a, b, c, d, e, f])
    }

    /// Broadcast or multicast.
    #[inline(always)]
    pub const fn is_group(self) -> bool {
        self.0[0] & 1 == 1
    }

    /// 01:80:c2:00:00:00-0f, which bridges and routers never forward (802.1Q table 8-1).
    #[inline(always)]
    pub const fn is_reserved(self) -> bool {
        matches!(self.0, [0x01, 0x80, 0xc2, 0x00, 0x00, 0x00..=0x0f])
    }
}

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

/// Not six colon-separated hexadecimal octets.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("not a MAC address: write six hexadecimal octets like 02:00:00:00:00:01")]
pub struct BadMac;

impl FromStr for Mac {
    type Err = BadMac;

    fn from_str(text: &str) -> Result<Self, BadMac> {
        let mut mac = [0; 6];
        let mut parts = text.split(':');
        for octet in &mut mac {
            let part = parts.next().filter(|part| part.len() == 2).ok_or(BadMac)?;
            if !part.bytes().all(|b| b.is_ascii_hexdigit()) {
                return Err(BadMac);
            }
            *octet = u8::from_str_radix(part, 16).map_err(|_| BadMac)?;
        }
        if parts.next().is_some() { Err(BadMac) } else { Ok(Mac(mac)) }
    }
}

/// The big-endian 16 bits at `at`. The caller has checked that they are there.
#[inline(always)]
pub fn be16(frame: &[u8], at: usize) -> u16 {
    u16::from_be_bytes(octets(frame, at))
}

/// The big-endian 32 bits at `at`. The caller has checked that they are there.
#[inline(always)]
pub fn be32(frame: &[u8], at: usize) -> u32 {
    u32::from_be_bytes(octets(frame, at))
}

/// The big-endian 64 bits at `at`. The caller has checked that they are there.
#[inline(always)]
pub fn be64(frame: &[u8], at: usize) -> u64 {
    u64::from_be_bytes(octets(frame, at))
}

/// As a whole: octet by octet, the compiler does not put words together again.
#[inline(always)]
fn octets<const N: usize>(frame: &[u8], at: usize) -> [u8; N] {
    let mut octets = [0; N];
    octets.copy_from_slice(&frame[at..at + N]);
    octets
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mac_reads_back_as_it_prints() {
        let mac = Mac([0x02, 0, 0xab, 0xcd, 0xef, 0x01]);
        assert_eq!(mac.to_string().parse(), Ok(mac));
        for bad in
            ["", "02:00:00:00:00", "02:00:00:00:00:01:02", "2:0:0:0:0:1", "+2:00:00:00:00:01"]
        {
            assert_eq!(bad.parse::<Mac>(), Err(BadMac), "{bad}");
        }
    }

    #[test]
    fn reserved_macs_end_at_0f() {
        assert!(Mac([1, 0x80, 0xc2, 0, 0, 0x0f]).is_reserved());
        assert!(!Mac([1, 0x80, 0xc2, 0, 0, 0x10]).is_reserved());
    }
}
