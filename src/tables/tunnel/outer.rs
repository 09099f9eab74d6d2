//! The outer headers of what leaves in tunnels.

use std::fmt;
use std::net::IpAddr;

use super::{HAS_VNI, UDP_AND_VXLAN, VXLAN_PORT};
use crate::wire::checksum;
use crate::wire::{ipv4, ipv6};

/// Octets of the outer headers behind Ethernet's, where the underlay is IPv4.
pub const OUTER4: usize = ipv4::HEADER_LEN + UDP_AND_VXLAN;
/// The same where it is IPv6.
pub const OUTER6: usize = ipv6::HEADER_LEN + UDP_AND_VXLAN;

/// The outer TTL and hop limit.
pub(super) const TTL: u8 = 64;
/// Source ports are from here on (RFC 7348 5, RFC 6335 6).
pub(super) const FIRST_SOURCE_PORT: u16 = 49_152;

/// The outer headers of a tunnel's packets: prepared but for what differs from packet to packet. Never fragmented: DF is
/// set in IPv4, and so the identification means nothing (RFC 6864 4.1).
#[derive(Clone, Copy, Debug)]
pub enum Outer {
    /// In an IPv4 underlay.
    V4(Outer4),
    /// In an IPv6 underlay.
    V6(Outer6),
}

/// Which DSCP outer and inner headers have (RFC 2983 3). ECN is seen to in each (RFC 6040).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Dscp {
    /// The outer one is the inner packet's, which keeps it whatever the fabric makes of the outer one.
    #[default]
    Copy,
    /// The same, and what the fabric makes of it is the inner packet's: the uniform model.
    Uniform,
    /// The outer one is this, and the inner packet keeps its own: the pipe model.
    Pipe(u8),
}

impl fmt::Display for Dscp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Dscp::Copy => f.write_str("copy"),
            Dscp::Uniform => f.write_str("uniform"),
            Dscp::Pipe(dscp) => dscp.fmt(f),
        }
    }
}

/// How outer headers are marked, and inner ones by them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Marking {
    /// What of the inner packet's DSCP and ECN is kept on the way out.
    keep: u8,
    /// What is set beside it.
    set: u8,
    /// The inner packet has the outer one's DSCP on the way in.
    pub inwards: bool,
}

impl Marking {
    const ECN: u8 = 3;

    /// Of a model.
    pub const fn new(dscp: Dscp) -> Marking {
        match dscp {
            Dscp::Copy => Marking { keep: u8::MAX, set: 0, inwards: false },
            Dscp::Uniform => Marking { keep: u8::MAX, set: 0, inwards: true },
            Dscp::Pipe(dscp) => Marking { keep: Marking::ECN, set: dscp << 2, inwards: false },
        }
    }

    #[inline(always)]
    const fn of(self, class: u8) -> u8 {
        class & self.keep | self.set
    }
}

/// IPv4, UDP without a checksum (RFC 7348 5), and VXLAN.
#[derive(Clone, Copy, Debug)]
pub struct Outer4 {
    octets: [u8; OUTER4],
    marking: Marking,
    /// Of the IPv4 header.
    sum: u32,
}

/// IPv6, UDP with a checksum (RFC 8200 8.1), since a receiver has to be configured to take packets without (RFC 6935 5),
/// and VXLAN.
#[derive(Clone, Copy, Debug)]
pub struct Outer6 {
    octets: [u8; OUTER6],
    marking: Marking,
    /// Of the pseudo header, UDP and VXLAN.
    sum: u32,
}

/// What differs from packet to packet in outer headers.
#[derive(Clone, Copy, Debug, Default)]
pub struct Inner {
    /// Octets of the inner frame.
    pub octets: usize,
    /// DSCP and ECN of the inner packet.
    pub class: u8,
    /// The number of the inner packet's flow, of which the source port is made (RFC 7348 5).
    pub flow: u32,
}

impl Inner {
    #[inline(always)]
    fn source_port(self) -> u16 {
        (self.flow >> 18) as u16 | FIRST_SOURCE_PORT
    }

    /// With these headers before it.
    #[inline(always)]
    #[expect(clippy::cast_possible_truncation, reason = "a frame has at most 4096 octets")]
    fn behind(self, headers: usize) -> u16 {
        (self.octets + headers) as u16
    }
}

/// UDP and VXLAN, without source port and length.
fn udp_and_vxlan(vni: u32) -> [u8; UDP_AND_VXLAN] {
    let [a, b] = VXLAN_PORT.to_be_bytes();
    let [_, c, d, e] = vni.to_be_bytes();
    [0, 0, a, b, 0, 0, 0, 0, HAS_VNI, 0, 0, 0, c, d, e, 0]
}

impl Outer {
    /// Those from one VTEP to another; `None` where the two are of two families.
    pub fn new([local, remote]: [IpAddr; 2], vni: u32, marking: Marking) -> Option<Outer> {
        match (local, remote) {
            (IpAddr::V4(local), IpAddr::V4(remote)) => {
                Some(Outer::V4(Outer4::new([local.to_bits(), remote.to_bits()], vni, marking)))
            }
            (IpAddr::V6(local), IpAddr::V6(remote)) => {
                Some(Outer::V6(Outer6::new([local.to_bits(), remote.to_bits()], vni, marking)))
            }
            _ => None,
        }
    }
}

impl Outer4 {
    pub(super) fn new([local, remote]: [u32; 2], vni: u32, marking: Marking) -> Outer4 {
        let ttl = u32::from(TTL) << 24 | u32::from(ipv4::UDP) << 16;
        let words = [0x4500_0000, 0x4000, ttl, local, remote];
        let mut octets = [0; OUTER4];
        octets[..ipv4::HEADER_LEN].copy_from_slice(words.map(u32::to_be_bytes).as_flattened());
        octets[ipv4::HEADER_LEN..].copy_from_slice(&udp_and_vxlan(vni));
        Outer4 { octets, marking, sum: checksum::halves(words) }
    }

    /// Writes them in front of an inner frame.
    #[inline(always)]
    pub fn write(&self, outer: &mut [u8; OUTER4], inner: Inner) {
        let total = inner.behind(OUTER4);
        let class = self.marking.of(inner.class);
        let sum = !checksum::fold(self.sum + u32::from(class) + u32::from(total));
        *outer = self.octets;
        outer[1] = class;
        outer[2..4].copy_from_slice(&total.to_be_bytes());
        outer[10..12].copy_from_slice(&sum.to_be_bytes());
        outer[20..22].copy_from_slice(&inner.source_port().to_be_bytes());
        outer[24..26].copy_from_slice(&inner.behind(UDP_AND_VXLAN).to_be_bytes());
    }
}

impl Outer6 {
    pub(super) fn new([local, remote]: [u128; 2], vni: u32, marking: Marking) -> Outer6 {
        let mut octets = [0; OUTER6];
        octets[6..8].copy_from_slice(&[ipv4::UDP, TTL]);
        octets[8..24].copy_from_slice(&local.to_be_bytes());
        octets[24..40].copy_from_slice(&remote.to_be_bytes());
        octets[40..].copy_from_slice(&udp_and_vxlan(vni));
        let sum = u32::from(checksum::sum(&octets[8..])) + u32::from(ipv4::UDP);
        Outer6 { octets, marking, sum }
    }

    /// Writes them in front of an inner frame, the sum of which is `sum` ([`checksum::sum`]).
    #[inline(always)]
    pub fn write(&self, outer: &mut [u8; OUTER6], inner: Inner, sum: u16) {
        let (length, port) = (inner.behind(UDP_AND_VXLAN), inner.source_port());
        // UDP's length is in the pseudo header too.
        let all = self.sum + 2 * u32::from(length) + u32::from(port) + u32::from(sum);
        // 0 would mean that there is none (RFC 768).
        let check = match !checksum::fold(all) {
            0 => u16::MAX,
            check => check,
        };
        let class = self.marking.of(inner.class);
        let first = 6 << 28 | u32::from(class) << 20 | inner.flow & 0xf_ffff;
        *outer = self.octets;
        outer[..4].copy_from_slice(&first.to_be_bytes());
        outer[4..6].copy_from_slice(&length.to_be_bytes());
        outer[40..42].copy_from_slice(&port.to_be_bytes());
        outer[44..46].copy_from_slice(&length.to_be_bytes());
        outer[46..48].copy_from_slice(&check.to_be_bytes());
    }
}

/// DSCP and ECN of a packet, from its IP header on.
#[inline(always)]
pub fn class(packet: &[u8]) -> u8 {
    match packet {
        [first, second, ..] if first >> 4 == 6 => first << 4 | second >> 4,
        [_, second, ..] => *second,
        _ => 0,
    }
}
