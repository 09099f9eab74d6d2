//! Which addresses and prefixes may stand where. Everything refused here would be dropped as a
//! martian on the fast path, or would make the FIB ambiguous.

use std::net::{IpAddr, Ipv6Addr};

use crate::tables::VrfKind;
use crate::tables::rules::{NO_HOSTS, may_name};
use crate::wire::ipv6::is_link_local;
use ipnet::{IpNet, Ipv6Net};

const LINK_LOCAL: Ipv6Net = Ipv6Net::new_assert(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0), 10);

/// Why a prefix lies where nothing can be; `None` where it does not.
pub(super) fn unusable(net: &IpNet) -> Option<&'static str> {
    let found = NO_HOSTS.iter().find(|(block, _)| block.contains(net));
    found.map(|(_, what)| *what)
}

/// Whether two prefixes share an address.
pub(super) fn overlap(one: &IpNet, other: &IpNet) -> bool {
    one.contains(other) || other.contains(one)
}

/// Why a prefix can have no route in a VRF of this kind, or in any; `None` where it can.
pub(crate) fn unroutable(net: &IpNet, vrf: Option<VrfKind>) -> Option<String> {
    if net.trunc() != *net {
        return Some(format!("{net} has bits set after /{}", net.prefix_len()));
    }
    if net.prefix_len() >= LINK_LOCAL.prefix_len() && is_link_local(net.addr()) {
        return Some(format!("{net} is link-local: it is never routed"));
    }
    match net {
        IpNet::V4(v4) if may_name(VrfKind::Vpc, v4) => vrf
            .filter(|&kind| !may_name(kind, v4))
            .map(|_| format!("{net} is reserved (class E): it is routed in private VRFs alone")),
        _ => unusable(net).map(|what| format!("{net} is {what}: it is never routed")),
    }
}

/// Why a host on the subnet `net` cannot have `address`; `None` where it can.
pub(super) fn not_a_host(address: IpAddr, net: &IpNet) -> Option<String> {
    if let Some(what) = unusable(&IpNet::from(address)) {
        return Some(format!("{address} is {what}"));
    }
    let host_bits = net.max_prefix_len() - net.prefix_len();
    if host_bits < 2 {
        // /31 and /127 have no network or broadcast address (RFC 3021, RFC 6164).
        return None;
    }
    match net {
        _ if address == net.network() => Some(format!("{address} is the subnet's own address")),
        IpNet::V4(_) if address == net.broadcast() => {
            Some(format!("{address} is the subnet's broadcast address"))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_refused_up_to_their_edges() {
        for (net, refused) in [
            ("0.0.0.0/0", false),
            ("0.0.0.0/7", false),
            ("0.0.0.0/8", true),
            ("1.0.0.0/8", false),
            ("126.0.0.0/7", false),
            ("127.255.255.255/32", true),
            ("128.0.0.0/1", false),
            ("223.255.255.0/24", false),
            ("224.0.0.0/3", false),
            ("224.0.0.0/4", true),
            ("240.0.0.0/4", false),
            ("255.255.255.254/32", false),
            ("255.255.255.255/32", true),
            ("::/0", false),
            ("::/127", false),
            ("::/128", true),
            ("::1/128", true),
            ("::2/128", false),
            ("fe00::/9", false),
            ("fe80::/10", true),
            ("fe80::/9", false),
            ("febf::/16", true),
            ("fec0::/10", false),
            ("ff00::/8", true),
            ("::ffff:0:0/96", true),
            ("10.0.0.1/8", true),
            ("2001:db8::1/64", true),
        ] {
            let parsed: IpNet = net.parse().unwrap();
            for kind in [None, Some(VrfKind::Vpc), Some(VrfKind::Transit)] {
                assert_eq!(unroutable(&parsed, kind).is_some(), refused, "{net} in {kind:?}");
            }
            let reserved = net.starts_with("240.") || net.starts_with("255.");
            let public = unroutable(&parsed, Some(VrfKind::Public));
            assert_eq!(public.is_some(), refused || reserved, "{net}");
        }
    }

    #[test]
    fn a_subnet_keeps_two_addresses_for_itself_unless_it_is_tiny() {
        let host = |address: &str, net: &str| {
            not_a_host(address.parse().unwrap(), &net.parse().unwrap()).is_none()
        };
        assert!(!host("10.0.0.0", "10.0.0.0/30"));
        assert!(host("10.0.0.1", "10.0.0.0/30"));
        assert!(!host("10.0.0.3", "10.0.0.0/30"));
        assert!(host("10.0.0.0", "10.0.0.0/31"));
        assert!(host("10.0.0.1", "10.0.0.0/31"));
        assert!(host("10.0.0.1", "10.0.0.1/32"));
        assert!(!host("2001:db8::", "2001:db8::/64"));
        assert!(host("2001:db8::ffff:ffff:ffff:ffff", "2001:db8::/64"));
        assert!(host("2001:db8::", "2001:db8::/127"));
    }
}
