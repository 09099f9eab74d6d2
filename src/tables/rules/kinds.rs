//! Kinds of addresses: a host's, a link's, many hosts', nobody's.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use super::super::ids::VrfId;
use super::super::snapshot::{Snapshot, Vrf, VrfKind};

/// What an address may be used for (RFC 6890).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AddressKind {
    /// A host's, reached by routes.
    Host,
    /// A host's, meaningful on its link: 169.254/16 (RFC 3927), fe80::/10 (RFC 4291 2.5.6).
    LinkLocal,
    /// Many hosts': multicast, and IPv4's limited broadcast.
    Group,
    /// Nobody's on a wire.
    Unusable,
}

impl AddressKind {
    /// The kind of an IPv4 address (RFC 1122 3.2.1.3, RFC 1812 5.3.7).
    #[inline(always)]
    pub const fn of4(address: u32) -> AddressKind {
        match address >> 24 {
            0 | 127 => AddressKind::Unusable,
            169 if address >> 16 == 0xa9fe => AddressKind::LinkLocal,
            224..=239 => AddressKind::Group,
            240.. if address == u32::MAX => AddressKind::Group,
            240.. => AddressKind::Unusable,
            _ => AddressKind::Host,
        }
    }

    /// The kind of an IPv6 address (RFC 4291 2.4 to 2.7). IPv4-mapped addresses are none on a wire.
    #[inline(always)]
    pub const fn of6(address: u128) -> AddressKind {
        if address >> 120 == 0xff {
            AddressKind::Group
        } else if address >> 118 == 0xfe80 >> 6 {
            AddressKind::LinkLocal
        } else if address <= 1 || address >> 32 == 0xffff {
            AddressKind::Unusable
        } else {
            AddressKind::Host
        }
    }

    /// The kind of an IPv4 address in a VRF: a host's where the VRF names it of [`RESERVED`].
    pub fn in_vrf4(vrf: Option<&Vrf>, address: u32) -> AddressKind {
        match AddressKind::of4(address) {
            AddressKind::Unusable if vrf.is_some_and(|vrf| names(&vrf.reserved, address)) => {
                AddressKind::Host
            }
            kind => kind,
        }
    }

    /// Whether something can be sent to such an address.
    const fn is_host(self) -> bool {
        matches!(self, AddressKind::Host | AddressKind::LinkLocal)
    }

    /// The kind of an address.
    pub const fn of(address: IpAddr) -> AddressKind {
        match address {
            IpAddr::V4(address) => AddressKind::of4(address.to_bits()),
            IpAddr::V6(address) => AddressKind::of6(address.to_bits()),
        }
    }
}

/// Class E (RFC 1112 section 4): reserved, but the numbering of private clouds that ran out of RFC 1918. A private VRF
/// has as much of it as its routes and imports name, see [`reserved`]; 255.255.255.255 never.
pub const RESERVED: Ipv4Net = Ipv4Net::new_assert(Ipv4Addr::new(240, 0, 0, 0), 4);

/// A prefix that lies in [`RESERVED`]; `None` for others.
pub fn in_reserved(net: IpNet) -> Option<Ipv4Net> {
    match net {
        IpNet::V4(net) => RESERVED.contains(&net).then_some(net),
        IpNet::V6(_) => None,
    }
}

/// Whether a prefix lies in [`RESERVED`] and is routed where a VRF of this kind names it. Nobody in a public VRF was
/// given such a one.
pub fn may_name(kind: VrfKind, net: &Ipv4Net) -> bool {
    kind != VrfKind::Public
        && in_reserved((*net).into()).is_some()
        && *net != Ipv4Net::from(Ipv4Addr::BROADCAST)
}

/// What a VRF of this kind has of [`RESERVED`], where its routes and imports name these prefixes: sorted and apart.
pub fn reserved(kind: VrfKind, named: impl Iterator<Item = Ipv4Net>) -> Arc<[Ipv4Net]> {
    Ipv4Net::aggregate(&named.filter(|net| may_name(kind, net)).collect()).into()
}

/// Whether one of these prefixes, which are sorted and apart, has the address.
fn names(prefixes: &[Ipv4Net], address: u32) -> bool {
    let address = Ipv4Addr::from_bits(address);
    let after = prefixes.partition_point(|net| net.network() <= address);
    after.checked_sub(1).is_some_and(|at| prefixes[at].contains(&address))
}

const fn v4(a: u8, b: u8, len: u8) -> IpNet {
    IpNet::V4(Ipv4Net::new_assert(Ipv4Addr::new(a, b, 0, 0), len))
}

const fn v6(first: u16, sixth: u16, last: u16, len: u8) -> IpNet {
    IpNet::V6(Ipv6Net::new_assert(Ipv6Addr::new(first, 0, 0, 0, 0, sixth, 0, last), len))
}

/// The blocks that no host may have an address in, with what they are called, but for what a VRF has of [`RESERVED`].
/// Every address outside them is a host's.
pub const NO_HOSTS: [(IpNet, &str); 8] = [
    (v4(0, 0, 8), "unspecified"),
    (v4(127, 0, 8), "loopback"),
    (v4(224, 0, 4), "multicast"),
    (IpNet::V4(RESERVED), "reserved (class E) or broadcast"),
    (v6(0, 0, 0, 128), "unspecified"),
    (v6(0, 0, 1, 128), "loopback"),
    (v6(0xff00, 0, 0, 8), "multicast"),
    (v6(0, 0xffff, 0, 96), "IPv4-mapped"),
];

/// The addresses that mean something on their link alone.
pub const LINK_LOCAL: [IpNet; 2] = [v4(169, 254, 16), v6(0xfe80, 0, 0, 10)];

/// Whether a host on a link may have the address: something can be sent to it.
pub const fn is_host(address: IpAddr) -> bool {
    AddressKind::of(address).is_host()
}

/// Whether a host that the VRF leads to may have the address.
pub fn is_host_in(tables: &Snapshot, vrf: VrfId, address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => {
            let vrf = tables.vrfs.get(vrf.index()).and_then(Option::as_ref);
            AddressKind::in_vrf4(vrf, v4.to_bits()).is_host()
        }
        IpAddr::V6(_) => is_host(address),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The first and last address of each block, and those beside them.
    fn edges() -> impl Iterator<Item = IpAddr> {
        let nets = NO_HOSTS.into_iter().map(|(net, _)| net).chain(LINK_LOCAL);
        nets.flat_map(|net| match net {
            IpNet::V4(net) => {
                let (first, last) = (net.network().to_bits(), net.broadcast().to_bits());
                [first.wrapping_sub(1), first, last, last.wrapping_add(1)]
                    .map(|bits| Ipv4Addr::from_bits(bits).into())
            }
            IpNet::V6(net) => {
                let (first, last) = (net.network().to_bits(), net.broadcast().to_bits());
                [first.wrapping_sub(1), first, last, last.wrapping_add(1)]
                    .map(|bits| Ipv6Addr::from_bits(bits).into())
            }
        })
    }

    fn check(address: IpAddr) {
        let listed = NO_HOSTS.iter().any(|(block, _)| block.contains(&address));
        assert_eq!(is_host(address), !listed, "{address}");
        let link_local = match address {
            IpAddr::V4(v4) => v4.is_link_local(),
            IpAddr::V6(v6) => v6.is_unicast_link_local(),
        };
        let block = LINK_LOCAL.iter().any(|block| block.contains(&address));
        assert_eq!(block, link_local, "{address}");
        assert_eq!(AddressKind::of(address) == AddressKind::LinkLocal, link_local, "{address}");
        let group = address.is_multicast() || address == IpAddr::from([255; 4]);
        assert_eq!(AddressKind::of(address) == AddressKind::Group, group, "{address}");
    }

    #[test]
    fn kinds_are_those_of_the_blocks_up_to_their_edges() {
        edges().for_each(check);
    }

    proptest! {
        #[test]
        fn kinds_are_those_of_the_blocks(v4: u32, v6: u128, shift in 0u32..128) {
            check(Ipv4Addr::from_bits(v4).into());
            check(Ipv6Addr::from_bits(v6 >> shift).into());
        }
    }
}
