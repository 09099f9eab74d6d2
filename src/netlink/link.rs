//! Interfaces as rtnetlink shows them: the few attributes that a port needs.

use std::io;

use netlink_sys::Socket;

use super::{Frame, Request, attributes, frames, u32_at};

// Of linux/rtnetlink.h, linux/if_link.h.
pub(super) const RTM_NEWLINK: u16 = 16;
const RTM_DELLINK: u16 = 17;
const RTM_GETLINK: u16 = 18;
const RTNLGRP_LINK: u32 = 1;
const IFLA_ADDRESS: u16 = 1;
const IFLA_IFNAME: u16 = 3;
const IFLA_MTU: u16 = 4;
const IFLA_EXT_MASK: u16 = 29;
const IFLA_PROMISCUITY: u16 = 30;
const IFLA_NUM_TX_QUEUES: u16 = 31;
const IFLA_NUM_RX_QUEUES: u16 = 32;
const IFLA_CARRIER_CHANGES: u16 = 35;
const IFLA_XDP: u16 = 43;
/// Leaves out the statistics, which nobody here reads and which sum over CPUs.
const RTEXT_FILTER_SKIP_STATS: u32 = 1 << 3;
const IFLA_XDP_ATTACHED: u16 = 2;
const IFLA_XDP_PROG_ID: u16 = 4;
const XDP_ATTACHED_DRV: u8 = 1;
const XDP_ATTACHED_MULTI: u8 = 4;

/// A network interface.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Link {
    /// Its index in this network namespace.
    pub index: u32,
    /// Its name.
    pub name: String,
    /// Its MAC address; zero where it has none of 6 octets.
    pub mac: [u8; 6],
    /// Its MTU in octets, L2 header not included.
    pub mtu: u32,
    /// Administratively up, and with a carrier.
    pub up: bool,
    /// Administratively up.
    pub admin_up: bool,
    /// How often its carrier came or went; wraps.
    pub carrier_changes: u32,
    /// Receive queues that it may have at most.
    pub rx_queues: u32,
    /// Transmit queues that it may have at most.
    pub tx_queues: u32,
    /// How many have asked for frames to all MACs.
    pub promiscuity: u32,
    /// The XDP program on it.
    pub xdp: Option<LinkXdp>,
}

/// The XDP program on an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LinkXdp {
    /// Attached in the driver, not in the generic receive path.
    pub native: bool,
    /// Its id.
    pub program: u32,
}

/// One message of the kernel.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Message {
    /// The interface is there.
    New(Link),
    /// The interface is gone.
    Deleted(Link),
    /// An error number.
    Error(i32),
}

/// The interfaces of this network namespace.
///
/// # Errors
/// The kernel's.
pub fn links() -> io::Result<Vec<Link>> {
    get().dump(present)
}

/// The interface of this name, asked for alone: what it costs does not depend on how many others
/// there are. `None` where there is no such interface.
///
/// # Errors
/// The kernel's.
pub fn link_named(name: &str) -> io::Result<Option<Link>> {
    match named(get(), name).get(present) {
        Ok(link) => Ok(link),
        // ERANGE: a name that is longer than any interface's.
        Err(e) if matches!(e.raw_os_error(), Some(libc::ENODEV | libc::ERANGE)) => Ok(None),
        Err(e) => Err(e),
    }
}

/// RTM_GETLINK with a `struct ifinfomsg` that names no interface.
pub(super) fn get() -> Request {
    let mask = RTEXT_FILTER_SKIP_STATS.to_ne_bytes();
    Request::new(RTM_GETLINK, 0, &[0; 16]).with(IFLA_EXT_MASK, &mask)
}

/// The same for the interface of this name, with its statistics.
pub(super) fn get_named(name: &str) -> Request {
    named(Request::new(RTM_GETLINK, 0, &[0; 16]), name)
}

fn named(request: Request, name: &str) -> Request {
    request.with(IFLA_IFNAME, &[name.as_bytes(), &[0]].concat())
}

/// The interface of an answer.
fn present(kind: u16, payload: &[u8]) -> Option<Link> {
    link(payload).filter(|_| kind == RTM_NEWLINK)
}

/// A socket that receives the changes of all interfaces.
pub(super) fn subscribe() -> io::Result<Socket> {
    super::subscribe(&[RTNLGRP_LINK])
}

/// The messages of a datagram. Messages about bridge ports and the like are left out.
pub(super) fn parse(datagram: &[u8]) -> Vec<Message> {
    let mut found = Vec::new();
    for (frame, _) in frames(datagram) {
        match frame {
            Frame::Payload(RTM_NEWLINK, payload) => found.extend(link(payload).map(Message::New)),
            Frame::Payload(RTM_DELLINK, payload) => {
                found.extend(link(payload).map(Message::Deleted));
            }
            Frame::Error(errno) => found.push(Message::Error(errno)),
            Frame::Payload(..) | Frame::Done => {}
        }
    }
    found
}

/// `struct ifinfomsg` and its attributes.
pub(super) fn link(payload: &[u8]) -> Option<Link> {
    let family = *payload.first()?;
    let flags = u32_at(payload, 8)?;
    // Others (AF_BRIDGE) tell of an interface's place in another, with the same message types.
    if i32::from(family) != libc::AF_UNSPEC {
        return None;
    }
    let bit = |flag: libc::c_int| flags & flag.cast_unsigned() != 0;
    let mut link = Link {
        index: u32_at(payload, 4)?,
        up: bit(libc::IFF_UP) && bit(libc::IFF_LOWER_UP),
        admin_up: bit(libc::IFF_UP),
        ..Link::default()
    };
    for (kind, value) in attributes(payload.get(16..)?) {
        match kind {
            IFLA_IFNAME => link.name = text(value),
            IFLA_ADDRESS => link.mac = value.try_into().unwrap_or_default(),
            IFLA_MTU => link.mtu = u32_at(value, 0)?,
            IFLA_PROMISCUITY => link.promiscuity = u32_at(value, 0)?,
            IFLA_NUM_TX_QUEUES => link.tx_queues = u32_at(value, 0)?,
            IFLA_NUM_RX_QUEUES => link.rx_queues = u32_at(value, 0)?,
            IFLA_CARRIER_CHANGES => link.carrier_changes = u32_at(value, 0)?,
            IFLA_XDP => link.xdp = xdp(value),
            _ => {}
        }
    }
    Some(link)
}

/// A string and its end.
pub(super) fn text(value: &[u8]) -> String {
    String::from_utf8_lossy(value.strip_suffix(&[0]).unwrap_or(value)).into_owned()
}

fn xdp(attribute: &[u8]) -> Option<LinkXdp> {
    let mut attached = 0;
    let mut program = None;
    for (kind, value) in attributes(attribute) {
        match kind {
            IFLA_XDP_ATTACHED => attached = *value.first()?,
            IFLA_XDP_PROG_ID => program = u32_at(value, 0),
            _ => {}
        }
    }
    match attached {
        0 => None,
        // In several modes at once there is no one program: then it is nobody we know.
        XDP_ATTACHED_MULTI => Some(LinkXdp { native: true, program: program.unwrap_or(0) }),
        mode => Some(LinkXdp { native: mode == XDP_ATTACHED_DRV, program: program? }),
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in crate::netlink) use super::super::request::attribute;

    pub(crate) fn message(
        kind: u16,
        family: u8,
        index: u32,
        flags: u32,
        attributes: &[u8],
    ) -> Vec<u8> {
        let mut bytes = u32::try_from(32 + attributes.len()).unwrap().to_ne_bytes().to_vec();
        bytes.extend(kind.to_ne_bytes());
        bytes.extend([0; 10]);
        bytes.extend([family, 0, 1, 0]);
        bytes.extend(index.to_ne_bytes());
        bytes.extend(flags.to_ne_bytes());
        bytes.extend([0; 4]);
        bytes.extend(attributes);
        bytes
    }

    #[test]
    fn reads_an_interface_and_skips_what_it_does_not_know() {
        let xdp = [attribute(2, &[2]), attribute(4, &9u32.to_ne_bytes())].concat();
        let attributes = [
            attribute(IFLA_IFNAME, b"eth1\0"),
            attribute(999, &[1, 2, 3, 4, 5]),
            attribute(IFLA_ADDRESS, &[2, 0, 0, 0, 0, 1]),
            attribute(IFLA_MTU, &1500u32.to_ne_bytes()),
            attribute(IFLA_NUM_RX_QUEUES, &4u32.to_ne_bytes()),
            attribute(IFLA_CARRIER_CHANGES, &5u32.to_ne_bytes()),
            attribute(IFLA_XDP | 0x8000, &xdp),
        ]
        .concat();
        let datagram = [
            message(RTM_NEWLINK, 0, 7, 0x1_0001, &attributes),
            message(RTM_DELLINK, 7, 7, 1, &attributes), // AF_BRIDGE: left a bridge
            message(RTM_DELLINK, 0, 8, 1, &attribute(IFLA_IFNAME, b"eth2\0")),
        ]
        .concat();
        let expected = Link {
            index: 7,
            name: "eth1".into(),
            mac: [2, 0, 0, 0, 0, 1],
            mtu: 1500,
            up: true,
            admin_up: true,
            carrier_changes: 5,
            rx_queues: 4,
            tx_queues: 0,
            promiscuity: 0,
            xdp: Some(LinkXdp { native: false, program: 9 }),
        };
        let gone = Link { index: 8, name: "eth2".into(), admin_up: true, ..Link::default() };
        assert_eq!(parse(&datagram), [Message::New(expected), Message::Deleted(gone)]);
        for cut in 0..datagram.len() {
            parse(&datagram[..cut]);
        }
    }

    #[test]
    fn lists_the_loopback_of_this_machine() {
        let links = links().unwrap();
        let lo = links.iter().find(|link| link.name == "lo").expect("lo");
        assert!(lo.index > 0 && lo.mtu >= 1280);
    }

    #[test]
    fn one_interface_is_asked_for_by_name() {
        let lo = links().unwrap().into_iter().find(|link| link.name == "lo");
        assert_eq!(link_named("lo").unwrap(), lo);
        assert_eq!(link_named("nosuch0").unwrap(), None);
        assert_eq!(link_named("a-name-that-no-interface-can-have").unwrap(), None);
        assert_eq!(link_named("").unwrap(), None);
    }
}
