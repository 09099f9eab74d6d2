//! Translation of a whole packet, whatever it has in it: also the packet that an ICMP error quotes, whose checksums are
//! kept right as far as it is quoted (RFC 5508 4.2). Addresses elsewhere in a packet stay.

use super::{Mapping4, Translations};
use crate::tables::Direction;
use crate::wire::checksum::fold;
use crate::wire::ethernet::{be16, be32};
use crate::wire::ipv4::{self, ICMP, TCP, UDP};
use crate::wire::ipv6::{self, ICMPV6, upper};

/// The packet cannot be translated: it ends before the checksum that covers its address, or its IPv6 address has no word
/// that keeps sums the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Untranslatable;

const UDP_LITE: u8 = 136;

/// Where addresses are in a header: the source, and the destination.
const AT4: [usize; 2] = [12, 16];
const AT6: [usize; 2] = [8, 24];

impl Translations {
    /// Translates a packet that is received by the VIF, or sent by it: its source or its destination, and what an ICMP error
    /// quotes. `packet`: with a sound IP header, and nothing behind its length. Whether anything changed.
    ///
    /// # Errors
    /// The packet has to be dropped, and is as it was.
    pub fn translate(
        &self,
        direction: Direction,
        packet: &mut [u8],
    ) -> Result<bool, Untranslatable> {
        match packet.first().map(|first| first >> 4) {
            Some(4) => self.translate4(direction, packet),
            Some(6) => self.translate6(direction, packet),
            _ => Ok(false),
        }
    }

    fn translate4(&self, direction: Direction, packet: &mut [u8]) -> Result<bool, Untranslatable> {
        if packet.len() < ipv4::HEADER_LEN {
            return Ok(false);
        }
        let at = AT4[direction as usize];
        let found = self.v4(direction, be32(packet, at));
        if let Some(mapping) = found {
            if checksum_at(packet).is_some_and(|at| packet.len() < at + 2) {
                return Err(Untranslatable);
            }
            replace4(packet, at, mapping);
        }
        let upper = header_len(packet);
        let is_error = packet[9] == ICMP
            && be16(packet, 6) & 0x1fff == 0
            && matches!(packet.get(upper), Some(3 | 4 | 5 | 11 | 12));
        Ok(is_error && self.quoted4(direction, packet, upper) || found.is_some())
    }

    /// Translates the packet that an ICMP error quotes, which went the other way.
    fn quoted4(&self, direction: Direction, packet: &mut [u8], icmp: usize) -> bool {
        let Some((head, quote)) = packet.get_mut(icmp..).and_then(|it| it.split_at_mut_checked(8))
        else {
            return false;
        };
        if quote.len() < ipv4::HEADER_LEN
            || quote[0] >> 4 != 4
            || header_len(quote) < ipv4::HEADER_LEN
        {
            return false;
        }
        let at = AT4[1 - direction as usize];
        let Some(mapping) = self.v4(direction, be32(quote, at)) else { return false };
        let grows = replace4(quote, at, mapping);
        let sum = !fold(u32::from(!be16(head, 2)) + grows);
        head[2..4].copy_from_slice(&sum.to_be_bytes());
        true
    }

    fn translate6(&self, direction: Direction, packet: &mut [u8]) -> Result<bool, Untranslatable> {
        if packet.len() < ipv6::HEADER_LEN {
            return Ok(false);
        }
        let found = self.replace6(direction, packet, AT6[direction as usize])?;
        // Sums stay the same, so that the quote's and the error's own checksum need no care.
        let quote = match upper(packet).protocol {
            Some((ICMPV6, at)) if packet.get(at).is_some_and(|kind| *kind < 128) => at + 8,
            _ => return Ok(found),
        };
        let Some(quote) = packet.get_mut(quote..) else { return Ok(found) };
        if quote.len() < ipv6::HEADER_LEN || quote[0] >> 4 != 6 {
            return Ok(found);
        }
        let quoted = self.replace6(direction, quote, AT6[1 - direction as usize]);
        Ok(quoted.unwrap_or(false) || found)
    }

    fn replace6(
        &self,
        direction: Direction,
        packet: &mut [u8],
        at: usize,
    ) -> Result<bool, Untranslatable> {
        let old = ipv6::address(packet, at);
        let Some(mapping) = self.v6(direction, old) else { return Ok(false) };
        let new = mapping.apply(old).ok_or(Untranslatable)?;
        packet[at..at + 16].copy_from_slice(&new.to_be_bytes());
        Ok(true)
    }
}

/// Octets of an IPv4 header.
fn header_len(packet: &[u8]) -> usize {
    usize::from(packet[0] & 0xf) * 4
}

/// Where the checksum is that covers an IPv4 packet's addresses beside the header's own: none in later fragments.
fn checksum_at(packet: &[u8]) -> Option<usize> {
    const DCCP: u8 = 33;
    let within = match packet[9] {
        TCP => 16,
        UDP | UDP_LITE | DCCP => 6,
        _ => return None,
    };
    (be16(packet, 6) & 0x1fff == 0).then(|| header_len(packet) + within)
}

/// Replaces an address of an IPv4 packet and corrects its checksums, as far as they are there. What a sum over the packet
/// grows by.
fn replace4(packet: &mut [u8], at: usize, mapping: &Mapping4) -> u32 {
    let new = mapping.apply(be32(packet, at));
    packet[at..at + 4].copy_from_slice(&new.to_be_bytes());
    let mut grows = u32::from(u16::from_be(mapping.grows()));
    let upper = checksum_at(packet).filter(|at| at + 2 <= packet.len());
    let upper = upper.filter(|at| packet[9] != UDP || be16(packet, *at) != 0);
    for at in [Some(10), upper].into_iter().flatten() {
        let old = be16(packet, at);
        // All ones are the same sum; 0 would mean that there is none (RFC 768, RFC 3828 3.1).
        let is_none = at != 10 && matches!(packet[9], UDP | UDP_LITE);
        let new = match u16::from_be(mapping.checksum(old.to_be())) {
            0 if is_none => u16::MAX,
            new => new,
        };
        packet[at..at + 2].copy_from_slice(&new.to_be_bytes());
        grows += u32::from(!old) + u32::from(new);
    }
    grows
}
