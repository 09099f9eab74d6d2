//! What a list looks at in a packet.

use crate::wire::Start;
use crate::wire::ethernet::be16;
use crate::wire::ipv4::{ICMP, Ipv4, TCP, TCP_FLAGS, UDP};
use crate::wire::ipv6::{self, ICMPV6, Ipv6};

/// IANA's number of SCTP (RFC 9260).
pub(super) const SCTP: u8 = 132;

/// The addresses of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Addresses {
    /// IPv4.
    V4 {
        /// Where it comes from.
        source: u32,
        /// Where it goes.
        destination: u32,
    },
    /// IPv6.
    V6 {
        /// Where it comes from.
        source: u128,
        /// Where it goes.
        destination: u128,
    },
}

/// What stands behind the IP header, as far as lists look at it. Zeros where the protocol has no such thing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Upper {
    /// The source port, or ICMP's type and code.
    pub first: u16,
    /// The destination port.
    pub second: u16,
    /// The flags of a TCP segment.
    pub flags: u8,
}

/// What a list looks at in a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fields {
    /// Both addresses.
    pub addresses: Addresses,
    /// The upper-layer protocol; of an IPv6 fragment other than the first, what its fragment header names.
    pub protocol: u8,
    /// `None` in fragments other than the first.
    pub upper: Option<Upper>,
}

/// The packet's ports, flags or type cannot be seen, and it is no later fragment: it is too short for them, as the first
/// of fragments that are cut to deceive filters is (RFC 1858, RFC 3128), or its extension headers end early (RFC 7112).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unreadable;

impl Fields {
    /// The fields of a packet from its IP header on, with or without padding behind it.
    ///
    /// # Errors
    /// [`Unreadable`]: no rule can be asked. No octets panic.
    pub fn of<'a>(packet: impl Into<Start<'a>>) -> Result<Fields, Unreadable> {
        let packet = packet.into();
        match packet.octets.first().map(|first| first >> 4) {
            Some(4) => {
                let ip = Ipv4::parse(packet).map_err(|_| Unreadable)?;
                let (source, destination) = (ip.source(), ip.destination());
                Ok(Fields {
                    addresses: Addresses::V4 { source, destination },
                    protocol: ip.protocol(),
                    upper: match ip.fragment_offset() {
                        0 => Some(Upper::of(ip.protocol(), ip.payload())?),
                        _ => None,
                    },
                })
            }
            Some(6) => {
                let ip = Ipv6::parse(packet).map_err(|_| Unreadable)?;
                let (source, destination) = (ip.source(), ip.destination());
                let found = ipv6::upper(ip.octets());
                let (protocol, upper) = match found.protocol {
                    Some((protocol, at)) => {
                        let upper = ip.octets().get(at..).unwrap_or_default();
                        (protocol, Some(Upper::of(protocol, upper)?))
                    }
                    None if found.later_fragment => (found.next, None),
                    None => return Err(Unreadable),
                };
                Ok(Fields { addresses: Addresses::V6 { source, destination }, protocol, upper })
            }
            _ => Err(Unreadable),
        }
    }
}

impl Upper {
    /// That of an upper-layer packet.
    fn of(protocol: u8, packet: &[u8]) -> Result<Upper, Unreadable> {
        let needed = match protocol {
            TCP => 14,
            UDP | SCTP => 4,
            ICMP | ICMPV6 => 2,
            _ => return Ok(Upper::default()),
        };
        let packet = packet.get(..needed).ok_or(Unreadable)?;
        Ok(Upper {
            first: be16(packet, 0),
            second: if needed > 2 { be16(packet, 2) } else { 0 },
            flags: if protocol == TCP { packet[TCP_FLAGS] } else { 0 },
        })
    }
}
