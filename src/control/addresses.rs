//! The router's addresses on a VIF, its own link-local one included.

use std::net::Ipv6Addr;
use std::sync::Arc;

use ipnet::{IpNet, Ipv6Net};

use super::model::VifConfig;
use crate::wire::ethernet::Mac;
use crate::wire::ipv6::is_link_local;

/// The smallest MTU that IPv6 runs on (RFC 8200 5).
const MIN_MTU_IPV6: u16 = 1280;

/// The configured addresses, and a link-local one if none is among them and IPv6 can run.
pub(super) fn addresses(vif: &VifConfig, mac: Mac) -> Arc<[IpNet]> {
    let mut addresses = vif.addresses.clone();
    if vif.mtu >= MIN_MTU_IPV6 && !addresses.iter().any(|net| is_link_local(net.addr())) {
        addresses.push(link_local(mac));
    }
    addresses.into()
}

/// The link-local address of a MAC, by modified EUI-64 (RFC 4291 appendix A).
fn link_local(Mac([a, b, c, d, e, f]): Mac) -> IpNet {
    let pair = |high, low| u16::from_be_bytes([high, low]);
    let address =
        Ipv6Addr::new(0xfe80, 0, 0, 0, pair(a ^ 2, b), pair(c, 0xff), pair(0xfe, d), pair(e, f));
    IpNet::V6(Ipv6Net::new_assert(address, 64))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn link_local_by_eui_64() {
        let mac = "02:00:5e:10:00:01".parse().unwrap();
        assert_eq!(link_local(mac).to_string(), "fe80::5eff:fe10:1/64");
    }
}
