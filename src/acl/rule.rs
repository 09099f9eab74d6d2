//! One rule, and what it matches.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;

use super::packet::{Addresses, Fields, Upper};
use crate::wire::ipv4::TCP;

/// What becomes of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Action {
    /// It goes on.
    Permit,
    /// It is dropped silently.
    Deny,
    /// It is dropped, and answered by ICMP administratively prohibited (RFC 1812 5.2.7.1, RFC 4443 3.1).
    Reject,
}

/// The family of the packets that a rule is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

/// Numbers of 16 bits from the first to the last, both included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Span {
    /// The first.
    pub first: u16,
    /// The last, not less than the first.
    pub last: u16,
}

impl Span {
    /// All.
    pub const ALL: Span = Span { first: 0, last: u16::MAX };

    /// Whether a number is among them.
    pub const fn has(self, number: u16) -> bool {
        self.first <= number && number <= self.last
    }
}

/// TCP flags that a rule asks for (RFC 9293 3.1); none where all are 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Flags {
    /// All of these are set.
    pub set: u8,
    /// None of these is.
    pub clear: u8,
    /// One of these is, if there are any.
    pub any: u8,
}

impl Flags {
    /// Whether a segment's flags are these.
    pub const fn has(self, flags: u8) -> bool {
        flags & self.set == self.set
            && flags & self.clear == 0
            && (self.any == 0 || flags & self.any != 0)
    }
}

/// One rule. Made by [`str::parse`]; what it says is shown by its `Display`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Rule {
    /// What becomes of what it matches.
    pub action: Action,
    /// Of this family; of both where there is none. That of the addresses, where there are any.
    pub family: Option<Family>,
    /// Of this protocol.
    pub protocol: Option<u8>,
    /// From this prefix.
    pub source: Option<IpNet>,
    /// To this prefix.
    pub destination: Option<IpNet>,
    /// From these ports. TCP, UDP and SCTP alone.
    pub source_ports: Span,
    /// To these ports.
    pub destination_ports: Span,
    /// With these flags. TCP alone.
    pub flags: Flags,
    /// Of this ICMP type and code.
    pub icmp: Option<(u8, Option<u8>)>,
    /// Fragments other than the first.
    pub fragment: bool,
}

/// What a rule asks of a packet besides its addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Beyond {
    pub protocol: Option<u8>,
    /// The first 16 bits behind the IP header: the source port, or ICMP's type and code.
    pub first: Span,
    /// The next 16 bits: the destination port.
    pub second: Span,
    pub flags: Flags,
    pub fragment: bool,
}

impl Beyond {
    /// Whether it asks for anything behind the IP header, which fragments other than the first do not have.
    pub fn needs_upper(&self) -> bool {
        (self.first, self.second, self.flags) != (Span::ALL, Span::ALL, Flags::default())
    }

    /// Whether every packet meets it.
    pub fn is_nothing(&self) -> bool {
        self.protocol.is_none() && !self.fragment && !self.needs_upper()
    }

    /// Whether it is met by a packet of this protocol and these TCP flags, ports apart. `None`: a fragment other than the
    /// first.
    pub fn admits(&self, protocol: u8, flags: Option<u8>) -> bool {
        self.protocol.is_none_or(|wanted| wanted == protocol)
            && match flags {
                None => !self.needs_upper(),
                Some(flags) => !self.fragment && (protocol != TCP || self.flags.has(flags)),
            }
    }
}

impl Rule {
    /// What it asks for besides addresses.
    pub(super) fn beyond(&self) -> Beyond {
        let first = match self.icmp {
            None => self.source_ports,
            Some((kind, code)) => {
                let of = |code: u8| u16::from_be_bytes([kind, code]);
                Span { first: of(code.unwrap_or(0)), last: of(code.unwrap_or(u8::MAX)) }
            }
        };
        Beyond {
            protocol: self.protocol,
            first,
            second: self.destination_ports,
            flags: self.flags,
            fragment: self.fragment,
        }
    }

    /// The family of the packets that it can match; `None` for both.
    pub fn only_family(&self) -> Option<Family> {
        let of = |net: &IpNet| if net.addr().is_ipv4() { Family::V4 } else { Family::V6 };
        let addresses = self.source.iter().chain(&self.destination).map(of).next();
        self.family.or(addresses)
    }

    /// Whether the packet is one that the rule is about.
    pub fn matches(&self, packet: &Fields) -> bool {
        let (family, source, destination): (_, IpAddr, IpAddr) = match packet.addresses {
            Addresses::V4 { source, destination } => {
                let [source, destination] = [source, destination].map(Ipv4Addr::from_bits);
                (Family::V4, source.into(), destination.into())
            }
            Addresses::V6 { source, destination } => {
                let [source, destination] = [source, destination].map(Ipv6Addr::from_bits);
                (Family::V6, source.into(), destination.into())
            }
        };
        let within = |net: &Option<IpNet>, address| net.is_none_or(|net| net.contains(&address));
        let beyond = self.beyond();
        let words = |upper: Upper| beyond.first.has(upper.first) && beyond.second.has(upper.second);
        self.only_family().is_none_or(|only| only == family)
            && within(&self.source, source)
            && within(&self.destination, destination)
            && beyond.admits(packet.protocol, packet.upper.map(|upper| upper.flags))
            && packet.upper.is_none_or(words)
    }
}

/// The place of the first rule that matches a packet: the meaning of a list. Rules are asked one by one.
pub fn first_match(rules: &[Rule], packet: &Fields) -> Option<usize> {
    rules.iter().position(|rule| rule.matches(packet))
}
