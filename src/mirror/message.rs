//! rtnetlink's messages about routes, addresses and next-hop objects. No input panics: what is too short
//! or makes no sense is left out.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;

use crate::netlink::{Frame, attributes, u16_at, u32_at};

// Of linux/rtnetlink.h, linux/nexthop.h.
pub(super) const RTM_GETROUTE: u16 = 26;
const RTM_NEWROUTE: u16 = 24;
const RTM_DELROUTE: u16 = 25;
const RTM_NEWADDR: u16 = 20;
const RTM_DELADDR: u16 = 21;
const RTM_NEWNEXTHOP: u16 = 104;
const RTM_DELNEXTHOP: u16 = 105;
const RTN_UNICAST: u8 = 1;
const RTNH_F_DEAD: u8 = 1;
const RTA_DST: u16 = 1;
const RTA_OIF: u16 = 4;
const RTA_GATEWAY: u16 = 5;
const RTA_PRIORITY: u16 = 6;
const RTA_MULTIPATH: u16 = 9;
pub(super) const RTA_TABLE: u16 = 15;
const RTA_VIA: u16 = 18;
/// Octets of `struct rtmsg` and `struct rtnexthop`.
const RTMSG: usize = 12;
const RTNEXTHOP: usize = 8;

/// One way of a kernel route.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Leg {
    /// Index of the device.
    pub device: u32,
    /// The neighbor; none where the destination itself would be it.
    pub gateway: Option<IpAddr>,
    /// Its share.
    pub weight: u16,
}

/// A kernel route, there or gone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RouteMessage {
    /// The kernel's table.
    pub table: u32,
    /// The destination.
    pub prefix: IpNet,
    /// Of several routes to it, the lowest counts.
    pub priority: u32,
    /// It is gone, or these ways of it are.
    pub gone: bool,
    /// Its ways. None where it is no route to a neighbor (blackhole and the like).
    pub legs: Vec<Leg>,
}

/// Something that may have changed routes in silence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Hint {
    /// An interface is there: new, or changed.
    Link {
        /// Its index.
        index: u32,
        /// Its name.
        name: String,
        /// Administratively up: only without that the kernel takes its routes away. A lost carrier leaves
        /// them.
        admin_up: bool,
    },
    /// An interface is gone.
    LinkGone {
        /// The index it had.
        index: u32,
    },
    /// An interface got or lost an address: ways of routes come to life and die with it.
    Address {
        /// Its index.
        index: u32,
    },
    /// Hints were lost, or one concerns all routes.
    Any,
}

/// One message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notice {
    /// About a route.
    Route(RouteMessage),
    /// About something else.
    Hint(Hint),
}

/// Reads a message; `None` where it is about nothing of ours. `protocol` is who wrote our routes.
pub(super) fn notice(frame: Frame<'_>, protocol: u8) -> Option<Notice> {
    match frame {
        Frame::Payload(kind @ (RTM_NEWROUTE | RTM_DELROUTE), payload) => {
            route(payload, kind == RTM_DELROUTE, protocol).map(Notice::Route)
        }
        // struct ifaddrmsg
        Frame::Payload(RTM_NEWADDR | RTM_DELADDR, payload) => {
            Some(Notice::Hint(Hint::Address { index: u32_at(payload, 4)? }))
        }
        Frame::Payload(RTM_NEWNEXTHOP | RTM_DELNEXTHOP, _) | Frame::Error(_) => {
            Some(Notice::Hint(Hint::Any))
        }
        Frame::Payload(..) | Frame::Done => None,
    }
}

/// `struct rtmsg` and its attributes.
fn route(payload: &[u8], gone: bool, protocol: u8) -> Option<RouteMessage> {
    let header = payload.get(..RTMSG)?;
    let [family, length, _, _, table, by, _, kind, ..] = *header else { return None };
    if by != protocol {
        return None;
    }
    let mut route = RouteMessage {
        table: table.into(),
        prefix: net(family, length, None)?,
        priority: 0,
        gone,
        legs: Vec::new(),
    };
    let (mut device, mut gateway) = (None, None);
    for (attribute, value) in attributes(&payload[RTMSG..]) {
        match attribute {
            RTA_DST => route.prefix = net(family, length, Some(value))?,
            RTA_TABLE => route.table = u32_at(value, 0)?,
            RTA_PRIORITY => route.priority = u32_at(value, 0)?,
            RTA_OIF => device = u32_at(value, 0),
            RTA_GATEWAY => gateway = address(value),
            RTA_VIA => gateway = via(value),
            RTA_MULTIPATH => route.legs = legs(value),
            _ => {}
        }
    }
    // struct rtmsg has the flags of a route's only way.
    let dead = header[8] & RTNH_F_DEAD != 0;
    if let (Some(device), true, false) = (device, route.legs.is_empty(), dead) {
        route.legs.push(Leg { device, gateway, weight: 1 });
    }
    if kind != RTN_UNICAST {
        route.legs.clear();
    }
    Some(route)
}

/// `struct rtnexthop`s, each with its attributes. Those that the kernel no longer uses are left out.
fn legs(mut rest: &[u8]) -> Vec<Leg> {
    let mut legs = Vec::new();
    while let (Some(length), Some(&[_, _, flags, hops, ..])) =
        (u16_at(rest, 0), rest.first_chunk::<RTNEXTHOP>())
    {
        let length = usize::from(length);
        let (Some(attached), Some(device)) = (rest.get(RTNEXTHOP..length), u32_at(rest, 4)) else {
            break;
        };
        let mut gateway = None;
        for (attribute, value) in attributes(attached) {
            match attribute {
                RTA_GATEWAY => gateway = address(value),
                RTA_VIA => gateway = via(value),
                _ => {}
            }
        }
        if flags & RTNH_F_DEAD == 0 {
            legs.push(Leg { device, gateway, weight: u16::from(hops) + 1 });
        }
        rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    legs
}

fn address(value: &[u8]) -> Option<IpAddr> {
    match *value {
        [a, b, c, d] => Some(Ipv4Addr::new(a, b, c, d).into()),
        _ => Some(Ipv6Addr::from(<[u8; 16]>::try_from(value).ok()?).into()),
    }
}

/// `struct rtvia`: a family and an address.
fn via(value: &[u8]) -> Option<IpAddr> {
    address(value.get(2..)?)
}

/// The prefix; the default route has no address.
fn net(family: u8, length: u8, value: Option<&[u8]>) -> Option<IpNet> {
    let address = match (i32::from(family), value) {
        (libc::AF_INET, Some(value)) if value.len() == 4 => address(value)?,
        (libc::AF_INET6, Some(value)) if value.len() == 16 => address(value)?,
        (libc::AF_INET, None) => Ipv4Addr::UNSPECIFIED.into(),
        (libc::AF_INET6, None) => Ipv6Addr::UNSPECIFIED.into(),
        _ => return None,
    };
    IpNet::new(address, length).ok().map(|net| net.trunc())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::netlink::frames;

    fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
        let mut bytes = u16::try_from(value.len() + 4).unwrap().to_ne_bytes().to_vec();
        bytes.extend(kind.to_ne_bytes());
        bytes.extend(value);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes
    }

    fn message(kind: u16, head: &[u8], attributes: &[Vec<u8>]) -> Vec<u8> {
        let body = [head, &attributes.concat()].concat();
        let mut bytes = u32::try_from(16 + body.len()).unwrap().to_ne_bytes().to_vec();
        bytes.extend(kind.to_ne_bytes());
        bytes.extend([0; 10]);
        bytes.extend(body);
        bytes
    }

    fn read(datagram: &[u8]) -> Vec<Notice> {
        frames(datagram).filter_map(|(frame, _)| notice(frame, 12)).collect()
    }

    const HEAD4: [u8; 12] = [2, 24, 0, 0, 252, 12, 0, 1, 0, 0, 0, 0];

    #[test]
    fn reads_single_and_multipath_routes() {
        let single = message(
            RTM_NEWROUTE,
            &HEAD4,
            &[
                attribute(RTA_TABLE, &10_002_u32.to_ne_bytes()),
                attribute(RTA_DST, &[10, 1, 2, 0]),
                attribute(RTA_OIF, &7_u32.to_ne_bytes()),
                attribute(RTA_GATEWAY, &[169, 254, 0, 2]),
                attribute(RTA_PRIORITY, &32_u32.to_ne_bytes()),
            ],
        );
        let leg = |flags: u8, hops: u8, device: u32, gateway: [u8; 4]| {
            let attached = attribute(RTA_GATEWAY, &gateway);
            let mut bytes = u16::try_from(8 + attached.len()).unwrap().to_ne_bytes().to_vec();
            bytes.extend([flags, hops]);
            bytes.extend(device.to_ne_bytes());
            [bytes, attached].concat()
        };
        let ways =
            [leg(0, 2, 7, [1, 0, 0, 1]), leg(1, 0, 8, [1, 0, 0, 2]), leg(16, 0, 9, [1, 0, 0, 3])];
        let multi = message(
            RTM_DELROUTE,
            &[2, 0, 0, 0, 252, 12, 0, 1, 0, 0, 0, 0],
            &[
                attribute(RTA_TABLE, &10_003_u32.to_ne_bytes()),
                attribute(RTA_MULTIPATH, &ways.concat()),
            ],
        );
        let datagram = [single, multi].concat();
        let at = |device, gateway: &str, weight| Leg {
            device,
            gateway: Some(gateway.parse().unwrap()),
            weight,
        };
        let expected = [
            Notice::Route(RouteMessage {
                table: 10_002,
                prefix: "10.1.2.0/24".parse().unwrap(),
                priority: 32,
                gone: false,
                legs: vec![at(7, "169.254.0.2", 1)],
            }),
            Notice::Route(RouteMessage {
                table: 10_003,
                prefix: "0.0.0.0/0".parse().unwrap(),
                priority: 0,
                gone: true,
                legs: vec![at(7, "1.0.0.1", 3), at(9, "1.0.0.3", 1)],
            }),
        ];
        assert_eq!(read(&datagram), expected, "the dead way is left out");
        for cut in 0..datagram.len() {
            read(&datagram[..cut]);
        }
    }

    #[test]
    fn what_others_wrote_and_what_leads_nowhere_is_told_apart() {
        let device = attribute(RTA_OIF, &7_u32.to_ne_bytes());
        let head = |protocol, kind| [10, 0, 0, 0, 252, protocol, 0, kind, 0, 0, 0, 0];
        let of = |protocol, kind| {
            read(&message(RTM_NEWROUTE, &head(protocol, kind), std::slice::from_ref(&device)))
        };
        assert_eq!(of(4, 1), [], "another protocol's");
        let [Notice::Route(blackhole)] = &of(12, 6)[..] else { panic!() };
        assert_eq!((blackhole.prefix, &blackhole.legs[..]), ("::/0".parse().unwrap(), &[][..]));
        let [Notice::Route(unicast)] = &of(12, 1)[..] else { panic!() };
        assert_eq!(unicast.legs, [Leg { device: 7, gateway: None, weight: 1 }]);
    }

    #[test]
    fn addresses_and_next_hop_objects_are_hints() {
        for kind in [RTM_NEWADDR, RTM_DELADDR] {
            let address = message(kind, &[2, 24, 0, 0, 9, 0, 0, 0], &[]);
            assert_eq!(read(&address), [Notice::Hint(Hint::Address { index: 9 })]);
        }
        let object = message(RTM_DELNEXTHOP, &[0; 8], &[]);
        assert_eq!(read(&object), [Notice::Hint(Hint::Any)]);
    }
}
