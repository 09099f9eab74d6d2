//! Translation: what has one address behind a VIF has another one in its VRF, one for one and without state: in IPv4 basic
//! NAT (RFC 3022 2.1), in IPv6 NPTv6 (RFC 6296), which leaves the checksums of upper layers right.
//!
//! What enters by the VIF has its source translated before anything looks for a route, and what leaves by it its
//! destination once everything is judged. So the VRF knows the outside addresses alone: routes, source checks, access
//! lists and exchanges are about those.

mod packet;

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::ops::BitAnd;
use std::str::FromStr;

use ipnet::IpNet;

use super::meter::Direction;
use crate::wire::checksum::{fold, halves};
pub use packet::Untranslatable;

/// Addresses and what they are translated to: two prefixes of one length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Translation {
    /// Behind the VIF.
    pub inside: IpNet,
    /// In its VRF.
    pub outside: IpNet,
}

/// The least IPv4 prefix length and the longest of IPv6. What an address of a longer IPv6 prefix has left is no room for the
/// word that keeps checksums right (RFC 6296 3.5).
const SHORTEST: u8 = 8;
const LONGEST_6: u8 = 64;
/// Up to this prefix length that word is the one behind it; else it is in the interface identifier (RFC 6296 3.4).
const SUBNET_BEHIND: u8 = 48;

impl Translation {
    /// The translation of one prefix to another.
    ///
    /// # Errors
    /// What is wrong with the pair, and what to write instead.
    pub fn new(inside: IpNet, outside: IpNet) -> Result<Translation, (String, String)> {
        let (length, other) = (inside.prefix_len(), outside.prefix_len());
        for net in [inside, outside] {
            if net.addr() != net.network() {
                return Err((
                    format!("{net} has bits behind its prefix"),
                    format!("write {}", net.trunc()),
                ));
            }
        }
        if inside.addr().is_ipv4() != outside.addr().is_ipv4() {
            let help = "translate IPv4 to IPv4, and IPv6 to IPv6";
            return Err((format!("{inside} and {outside} are of two families"), help.into()));
        }
        if length != other {
            let help = "write two prefixes of one length";
            return Err((format!("{inside} and {outside} have two lengths"), help.into()));
        }
        if inside == outside {
            return Err((format!("{inside} becomes itself"), "remove it".into()));
        }
        match inside {
            IpNet::V6(_) if length > LONGEST_6 => Err((
                format!("{inside} is longer than /{LONGEST_6}"),
                format!("in IPv6 write prefixes of at most /{LONGEST_6} (RFC 6296 3.5)"),
            )),
            _ if length < SHORTEST => {
                Err((format!("{inside} is too large"), format!("use at least /{SHORTEST}")))
            }
            _ => Ok(Translation { inside, outside }),
        }
    }
}

impl fmt::Display for Translation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} as {}", self.inside, self.outside)
    }
}

impl FromStr for Translation {
    type Err = (String, String);

    fn from_str(text: &str) -> Result<Translation, (String, String)> {
        let prefix = |text: &str| -> Option<IpNet> {
            text.parse().ok().or_else(|| Some(IpNet::from(text.parse::<IpAddr>().ok()?)))
        };
        let words: Vec<&str> = text.split_whitespace().collect();
        match words[..] {
            [inside, "as", outside] => match (prefix(inside), prefix(outside)) {
                (Some(inside), Some(outside)) => Translation::new(inside, outside),
                (None, _) => Err((format!("{inside:?} is no prefix"), HELP.into())),
                (_, None) => Err((format!("{outside:?} is no prefix"), HELP.into())),
            },
            _ => Err((format!("{text:?} is no translation"), HELP.into())),
        }
    }
}

const HELP: &str = "write one like \"10.1.0.0/24 as 198.51.100.0/24\"";

/// One direction of an IPv4 translation. Addresses as numbers.
#[derive(Clone, Copy, Debug)]
pub struct Mapping4 {
    first: u32,
    mask: u32,
    /// The bits in which a prefix and the other one differ.
    flip: u32,
    grows: u16,
}

impl Mapping4 {
    /// The other address.
    #[inline(always)]
    pub const fn apply(&self, address: u32) -> u32 {
        address ^ self.flip
    }

    /// The checksum of what has the other address instead (RFC 1624, eqn. 4). Both in the order of memory, as
    /// [`Mapping4::grows`] is.
    #[inline(always)]
    pub const fn checksum(&self, old: u16) -> u16 {
        let (new, borrow) = old.overflowing_sub(self.grows);
        new.wrapping_sub(borrow as u16)
    }

    /// What a sum over the address grows by, in one's complement: in the order of memory, which is as good as any (RFC 1071
    /// 2 (B)).
    #[inline(always)]
    pub const fn grows(&self) -> u16 {
        self.grows
    }
}

/// One direction of an IPv6 translation. Addresses as numbers.
#[derive(Clone, Copy, Debug)]
pub struct Mapping6 {
    first: u128,
    mask: u128,
    flip: u128,
    /// What the sum over the prefix shrinks by, and a word behind it has to grow by, in one's complement.
    grows: u16,
    /// That word is the one behind a /48.
    in_subnet: bool,
}

impl Mapping6 {
    /// The other address, whose sum is the same. `None` where no word can take up the difference so that the way back
    /// would be the same: 0xffff, which is 0 in one's complement (RFC 6296 3.4, 3.5).
    #[inline(always)]
    #[expect(clippy::cast_possible_truncation, reason = "16 bits of it")]
    pub fn apply(&self, address: u128) -> Option<u128> {
        const SUBNET: u32 = 64;
        const IDENTIFIER: u32 = 48;
        let at = if self.in_subnet {
            SUBNET
        } else {
            // The first word of the identifier that is not all ones.
            let ones = (!(address as u64)).leading_zeros() / 16 * 16;
            IDENTIFIER.checked_sub(ones)?
        };
        let word = (address >> at) as u16;
        let sum = fold(u32::from(word) + u32::from(self.grows));
        let new = if sum == u16::MAX { 0 } else { sum };
        (word != u16::MAX).then_some(address ^ self.flip ^ u128::from(word ^ new) << at)
    }
}

/// The mappings of one direction, by first address.
#[derive(Clone, Debug, Default)]
struct Mappings {
    v4: Box<[Mapping4]>,
    v6: Box<[Mapping6]>,
}

/// The sum of an address' words, in one's complement.
#[expect(clippy::cast_possible_truncation, reason = "words of 32 bits")]
fn words(address: IpAddr) -> u16 {
    let bits = match address {
        IpAddr::V4(address) => u128::from(address.to_bits()),
        IpAddr::V6(address) => address.to_bits(),
    };
    fold(halves([bits as u32, (bits >> 32) as u32, (bits >> 64) as u32, (bits >> 96) as u32]))
}

impl Mappings {
    fn of(pairs: impl Iterator<Item = (IpNet, IpNet)>) -> Mappings {
        let (mut v4, mut v6) = (Vec::new(), Vec::new());
        for (from, to) in pairs {
            let [old, new] = [from, to].map(|net| words(net.network()));
            match (from, to) {
                (IpNet::V4(from), IpNet::V4(to)) => v4.push(Mapping4 {
                    first: from.network().to_bits(),
                    mask: from.netmask().to_bits(),
                    flip: from.network().to_bits() ^ to.network().to_bits(),
                    grows: fold(u32::from(!old) + u32::from(new)).to_be(),
                }),
                (IpNet::V6(from), IpNet::V6(to)) => v6.push(Mapping6 {
                    first: from.network().to_bits(),
                    mask: from.netmask().to_bits(),
                    flip: from.network().to_bits() ^ to.network().to_bits(),
                    grows: fold(u32::from(old) + u32::from(!new)),
                    in_subnet: from.prefix_len() <= SUBNET_BEHIND,
                }),
                _ => {}
            }
        }
        v4.sort_unstable_by_key(|mapping| mapping.first);
        v6.sort_unstable_by_key(|mapping| mapping.first);
        Mappings { v4: v4.into(), v6: v6.into() }
    }
}

/// The mapping that an address is in, or whatever else is sorted by its first address. `block`: that address of one, and its
/// prefix' mask.
#[inline(always)]
pub(super) fn find<A: Copy + Ord + BitAnd<Output = A>, M>(
    mappings: &[M],
    address: A,
    block: impl Fn(&M) -> (A, A),
) -> Option<&M> {
    let mapping = match mappings {
        [only] => only,
        several => {
            let behind = several.partition_point(|mapping| block(mapping).0 <= address);
            several.get(behind.wrapping_sub(1))?
        }
    };
    let (first, mask) = block(mapping);
    (address & mask == first).then_some(mapping)
}

/// All translations of a VIF.
#[derive(Clone, Debug)]
pub struct Translations {
    /// As they were configured.
    pub all: Box<[Translation]>,
    /// By [`Direction`]: what is received, inside to outside; what is sent, the other way.
    ways: [Mappings; 2],
}

impl Translations {
    /// `None` where there is none.
    pub fn new(all: &[Translation]) -> Option<Translations> {
        let inward = all.iter().map(|pair| (pair.inside, pair.outside));
        let outward = all.iter().map(|pair| (pair.outside, pair.inside));
        let ways = [Mappings::of(inward), Mappings::of(outward)];
        (!all.is_empty()).then(|| Translations { all: all.into(), ways })
    }

    /// The mapping that an IPv4 address is in.
    #[inline(always)]
    pub fn v4(&self, direction: Direction, address: u32) -> Option<&Mapping4> {
        find(&self.ways[direction as usize].v4, address, |mapping| (mapping.first, mapping.mask))
    }

    /// The mapping that an IPv6 address is in.
    #[inline(always)]
    pub fn v6(&self, direction: Direction, address: u128) -> Option<&Mapping6> {
        find(&self.ways[direction as usize].v6, address, |mapping| (mapping.first, mapping.mask))
    }

    /// What an address becomes: itself where nothing translates it. `None` where it cannot be translated.
    pub fn apply(&self, direction: Direction, address: IpAddr) -> Option<IpAddr> {
        match address {
            IpAddr::V4(old) => {
                let new = self.v4(direction, old.to_bits()).map(|it| it.apply(old.to_bits()));
                Some(new.map_or(address, |new| Ipv4Addr::from_bits(new).into()))
            }
            IpAddr::V6(old) => match self.v6(direction, old.to_bits()) {
                Some(mapping) => Some(Ipv6Addr::from_bits(mapping.apply(old.to_bits())?).into()),
                None => Some(address),
            },
        }
    }
}

#[cfg(test)]
mod tests;
