//! The interfaces of a server that is to become a station, and what else holds them.

use std::io;

use ipnet::IpNet;

use super::link::{self, Link};
use super::{addresses, attributes, u16_at, u32_at};

// Of linux/if_link.h, linux/if_arp.h.
const IFLA_MASTER: u16 = 10;
const IFLA_LINKINFO: u16 = 18;
const IFLA_INFO_KIND: u16 = 1;
const ARPHRD_ETHER: u16 = 1;

/// An interface, and what the server itself does with it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Surveyed {
    /// The interface.
    pub link: Link,
    /// Its frames are Ethernet's.
    pub ethernet: bool,
    /// Its kind (`bridge`, `vlan`, `veth` ...) where it is not hardware.
    pub kind: Option<String>,
    /// It belongs to a bridge, a bond or the like.
    pub enslaved: bool,
    /// The server's own addresses on it.
    pub addresses: Vec<IpNet>,
}

/// The interfaces of this network namespace.
///
/// # Errors
/// The kernel's.
pub fn survey() -> io::Result<Vec<Surveyed>> {
    let mut found = link::get()
        .dump(|kind, payload| surveyed(payload).filter(|_| kind == link::RTM_NEWLINK))?;
    for (index, address) in addresses()? {
        if let Some(one) = found.iter_mut().find(|one| one.link.index == index) {
            one.addresses.push(address);
        }
    }
    Ok(found)
}

/// `struct ifinfomsg` and its attributes.
fn surveyed(payload: &[u8]) -> Option<Surveyed> {
    let mut found = Surveyed {
        link: link::link(payload)?,
        ethernet: u16_at(payload, 2)? == ARPHRD_ETHER,
        ..Surveyed::default()
    };
    for (kind, value) in attributes(payload.get(16..)?) {
        match kind {
            IFLA_MASTER => found.enslaved = u32_at(value, 0)? != 0,
            IFLA_LINKINFO => {
                let word = attributes(value).find(|(kind, _)| *kind == IFLA_INFO_KIND);
                found.kind = word.map(|(_, word)| link::text(word));
            }
            _ => {}
        }
    }
    Some(found)
}

#[cfg(test)]
mod tests {
    use super::super::link::tests::{attribute, message};
    use super::*;

    #[test]
    fn the_loopback_of_this_machine_is_seen_with_its_address() {
        let all = survey().unwrap();
        let lo = all.iter().find(|one| one.link.name == "lo").expect("lo");
        assert!(!lo.ethernet && !lo.enslaved && lo.kind.is_none(), "{lo:?}");
        assert!(lo.addresses.contains(&"127.0.0.1/8".parse().unwrap()), "{lo:?}");
    }

    #[test]
    fn kind_and_master_are_read() {
        let info = attribute(IFLA_INFO_KIND, b"veth\0");
        let attributes = [
            attribute(3, b"eth1\0"), // IFLA_IFNAME
            attribute(IFLA_MASTER, &9u32.to_ne_bytes()),
            attribute(IFLA_LINKINFO | 0x8000, &info),
        ]
        .concat();
        let bytes = message(link::RTM_NEWLINK, 0, 7, 1, &attributes);
        let found = surveyed(&bytes[super::super::HEADER..]).unwrap();
        assert_eq!((found.link.index, &*found.link.name), (7, "eth1"));
        assert!(found.ethernet && found.enslaved);
        assert_eq!(found.kind.as_deref(), Some("veth"));
        for cut in 0..bytes.len() - super::super::HEADER {
            surveyed(&bytes[super::super::HEADER..][..cut]);
        }
    }
}
