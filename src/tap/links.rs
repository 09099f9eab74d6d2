//! The kernel's interfaces and addresses as far as TAPs need them, by rtnetlink.

use std::io;
use std::net::IpAddr;

use ipnet::IpNet;

use crate::netlink::{NLM_F_CREATE, NLM_F_REPLACE, Request, attributes, u32_at};
use crate::wire::ethernet::Mac;

// Of linux/rtnetlink.h, linux/if_link.h, linux/if_addr.h.
const RTM_NEWLINK: u16 = 16;
const RTM_DELLINK: u16 = 17;
const RTM_GETLINK: u16 = 18;
const RTM_NEWADDR: u16 = 20;
const RTM_DELADDR: u16 = 21;
const IFLA_ADDRESS: u16 = 1;
const IFLA_IFNAME: u16 = 3;
const IFLA_MTU: u16 = 4;
const IFLA_IFALIAS: u16 = 20;
const IFLA_GROUP: u16 = 27;
const IFLA_EXT_MASK: u16 = 29;
const RTEXT_FILTER_SKIP_STATS: u32 = 1 << 3;
const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;
const IFA_FLAGS: u16 = 8;
const IFA_F_NODAD: u32 = 0x02;
const IFA_F_PERMANENT: u32 = 0x80;

/// Up, and asking nobody for MACs.
const FLAGS: u32 = (libc::IFF_UP | libc::IFF_NOARP).cast_unsigned();

/// The group of interfaces that are about to be removed: a number that nobody else uses ("stnd").
const DOOMED: u32 = 0x7374_6e64;

/// An interface.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Link {
    /// Its index.
    pub index: u32,
    /// Its name.
    pub name: String,
    /// What it is for, in words.
    pub alias: String,
    /// Its MAC.
    pub mac: Mac,
    /// Its MTU.
    pub mtu: u32,
    /// Administratively up.
    pub up: bool,
    /// Up, and `NOARP`.
    pub ready: bool,
}

/// All interfaces of this network namespace.
///
/// # Errors
/// The kernel's.
pub fn links() -> io::Result<Vec<Link>> {
    let request = Request::new(RTM_GETLINK, 0, &[0; 16])
        .with(IFLA_EXT_MASK, &RTEXT_FILTER_SKIP_STATS.to_ne_bytes());
    request.dump(|kind, payload| link(payload).filter(|_| kind == RTM_NEWLINK))
}

/// `struct ifinfomsg` and its attributes.
fn link(payload: &[u8]) -> Option<Link> {
    let flags = u32_at(payload, 8)?;
    let mut link = Link {
        index: u32_at(payload, 4)?,
        up: flags & libc::IFF_UP.cast_unsigned() != 0,
        ready: flags & FLAGS == FLAGS,
        ..Link::default()
    };
    let text = |value: &[u8]| {
        let text = value.strip_suffix(&[0]).unwrap_or(value);
        String::from_utf8_lossy(text).into_owned()
    };
    for (kind, value) in attributes(payload.get(16..)?) {
        match kind {
            IFLA_IFNAME => link.name = text(value),
            IFLA_IFALIAS => link.alias = text(value),
            IFLA_ADDRESS => link.mac = value.try_into().map(Mac).unwrap_or_default(),
            IFLA_MTU => link.mtu = u32_at(value, 0)?,
            _ => {}
        }
    }
    Some(link)
}

/// Sets all that [`Link`] has of an interface and brings it up. A zero MAC is left as it is.
///
/// # Errors
/// The kernel's.
pub fn set(link: &Link) -> io::Result<()> {
    let mut request = Request::new(RTM_NEWLINK, 0, &link_head(link.index, FLAGS))
        .with(IFLA_MTU, &link.mtu.to_ne_bytes())
        .with(IFLA_IFALIAS, link.alias.as_bytes());
    if link.mac != Mac::default() {
        request = request.with(IFLA_ADDRESS, &link.mac.0);
    }
    request.call()
}

/// Brings up the loopback interface of this network namespace, which is always the first one.
///
/// # Errors
/// The kernel's.
pub fn loopback_up() -> io::Result<()> {
    let up = libc::IFF_UP.cast_unsigned();
    Request::new(RTM_NEWLINK, 0, &link_head(1, up)).call()
}

/// Removes interfaces, all at once: one by one the kernel takes 20 ms for each.
///
/// # Errors
/// The kernel's.
pub fn delete(indices: &[u32]) -> io::Result<()> {
    for index in indices {
        let request = Request::new(RTM_NEWLINK, 0, &link_head(*index, 0));
        request.with(IFLA_GROUP, &DOOMED.to_ne_bytes()).call()?;
    }
    let request = Request::new(RTM_DELLINK, 0, &link_head(0, 0));
    request.with(IFLA_GROUP, &DOOMED.to_ne_bytes()).call()
}

/// `struct ifinfomsg` that sets these flags and leaves the others.
fn link_head(index: u32, flags: u32) -> Vec<u8> {
    [0, index, flags, flags].iter().flat_map(|word| word.to_ne_bytes()).collect()
}

/// Gives an interface an address, without the kernel asking whether somebody else has it.
///
/// # Errors
/// The kernel's.
pub fn add_address(index: u32, net: IpNet) -> io::Result<()> {
    let flags = IFA_F_NODAD | IFA_F_PERMANENT;
    address_request(RTM_NEWADDR, NLM_F_CREATE | NLM_F_REPLACE, index, net)
        .with(IFA_FLAGS, &flags.to_ne_bytes())
        .call()
}

/// Takes an address from an interface.
///
/// # Errors
/// The kernel's.
pub fn delete_address(index: u32, net: IpNet) -> io::Result<()> {
    address_request(RTM_DELADDR, 0, index, net).call()
}

fn address_request(kind: u16, flags: u16, index: u32, net: IpNet) -> Request {
    let (family, octets) = match net.addr() {
        IpAddr::V4(address) => (libc::AF_INET, address.octets().to_vec()),
        IpAddr::V6(address) => (libc::AF_INET6, address.octets().to_vec()),
    };
    // struct ifaddrmsg: family, prefix length, flags, scope, index.
    let mut head = vec![u8::try_from(family).unwrap_or(0), net.prefix_len(), 0, 0];
    head.extend(index.to_ne_bytes());
    Request::new(kind, flags, &head).with(IFA_LOCAL, &octets).with(IFA_ADDRESS, &octets)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_loopback_of_this_machine_is_listed() {
        let links = links().unwrap();
        let lo = links.iter().find(|link| link.name == "lo").expect("lo");
        assert!(lo.mtu >= 1280 && !lo.ready);
    }

    #[test]
    fn messages_that_end_early_are_left_out() {
        for length in 0..40 {
            let bytes = vec![0xff; length];
            assert_eq!(link(&bytes).is_some(), length >= 16, "{length}");
        }
    }
}
