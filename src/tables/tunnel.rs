//! Tunnels: VXLAN (RFC 7348) between this station and other tunnel endpoints (VTEPs) of an underlay, the VRF that
//! carries them. A VNI of a VTEP is a VIF, as a VLAN of a port is.

use std::net::IpAddr;
use std::sync::Arc;

use super::ids::{PortId, VrfId};
use super::vif::Ingress;
use crate::wire::checksum;
use crate::wire::ethernet::{HEADER_LEN, Mac, be16, be32};
use crate::wire::outline::Outline;
use crate::wire::{ipv4, ipv6};

/// The UDP port of VXLAN.
pub const VXLAN_PORT: u16 = 4789;
/// Octets of the UDP and the VXLAN header.
pub const UDP_AND_VXLAN: usize = 16;
/// The flag of a VXLAN header that has a VNI (RFC 7348 5).
pub const HAS_VNI: u8 = 8;
/// The highest VNI: it has 24 bits.
pub const MAX_VNI: u32 = 0xff_ffff;

/// Octets of the outer headers behind Ethernet's, where the underlay is IPv4.
pub const OUTER4: usize = ipv4::HEADER_LEN + UDP_AND_VXLAN;
/// The same where it is IPv6.
pub const OUTER6: usize = ipv6::HEADER_LEN + UDP_AND_VXLAN;

/// The outer TTL and hop limit.
const TTL: u8 = 64;
/// Source ports are from here on (RFC 7348 5, RFC 6335 6).
const FIRST_SOURCE_PORT: u16 = 49_152;

/// What a VIF has to do with tunnels.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Overlay {
    /// Nothing.
    #[default]
    Apart,
    /// It is in an underlay: tunnels come and go through it.
    Underlay,
    /// Its frames come and go in tunnels.
    Within(Tunnel),
}

/// The tunnels of a VIF.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tunnel {
    /// Which network its frames are of.
    pub vni: u32,
    /// The underlay.
    pub underlay: VrfId,
    /// The address of the station's VTEP.
    pub local: IpAddr,
    /// Those of the VTEPs at the other ends.
    pub remotes: Arc<[IpAddr]>,
}

impl Tunnel {
    /// The packet of the underlay that carries an inner frame to a VTEP; nothing where the two are of two families.
    pub fn packet(&self, remote: IpAddr, inner: &[u8], flow: u32) -> Vec<u8> {
        carry([self.local, remote], self.vni, inner, flow)
    }

    /// As [`Tunnel::packet`], from there to here.
    pub fn received(&self, remote: IpAddr, inner: &[u8]) -> Vec<u8> {
        carry([remote, self.local], self.vni, inner, 0)
    }

    /// Whether a frame of the underlay, right or wrong, comes to the station's VTEP with this VNI.
    pub fn has(&self, frame: &[u8]) -> bool {
        let outline = Outline::of(frame);
        let Some((ipv4::UDP, at)) = outline.upper else { return false };
        let Some(udp) = frame.get(at..at + UDP_AND_VXLAN) else { return false };
        let addresses = outline.addresses(frame);
        let is_ours = match self.local {
            IpAddr::V4(local) => addresses.len() == 8 && addresses.ends_with(&local.octets()),
            IpAddr::V6(local) => addresses.ends_with(&local.octets()),
        };
        is_ours && be16(udp, 2) == VXLAN_PORT && be32(udp, 12) >> 8 == self.vni
    }

    /// Octets that tunnels from a VTEP of this address add to an IP packet: what the underlay's MTU is more.
    #[expect(clippy::cast_possible_truncation, reason = "headers are short")]
    pub const fn overhead(local: IpAddr) -> u16 {
        let outer = if local.is_ipv4() { OUTER4 } else { OUTER6 };
        (outer + HEADER_LEN) as u16
    }
}

/// From which VTEP to which, and in which network.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ends {
    local: u128,
    remote: u128,
    /// The VNI in the lower half; above it the underlay, whether the addresses are IPv6, and [`Ends::KNOWN`].
    network: u64,
}

impl Ends {
    const IPV6: u64 = 1 << 63;
    /// No tunnel's ends: that there are any of this VNI or this VTEP.
    const KNOWN: u64 = 1 << 62;
    /// Beyond all VNIs.
    const ANY_VNI: u64 = 1 << 31;

    /// Of tunnels in an IPv4 underlay.
    #[inline(always)]
    pub fn v4(underlay: u32, vni: u32, local: u32, remote: u32) -> Ends {
        let network = u64::from(underlay) << 32 | u64::from(vni);
        Ends { local: local.into(), remote: remote.into(), network }
    }

    /// Of tunnels in an IPv6 underlay.
    #[inline(always)]
    pub fn v6(underlay: u32, vni: u32, local: u128, remote: u128) -> Ends {
        let network = Ends::IPV6 | u64::from(underlay) << 32 | u64::from(vni);
        Ends { local, remote, network }
    }

    fn of(tunnel: &Tunnel, remote: IpAddr) -> Ends {
        let underlay = u32::from(tunnel.underlay.0);
        match (tunnel.local, remote) {
            (IpAddr::V4(local), IpAddr::V4(remote)) => {
                Ends::v4(underlay, tunnel.vni, local.to_bits(), remote.to_bits())
            }
            (local, remote) => {
                let bits = |address| match address {
                    IpAddr::V4(address) => address.to_ipv6_mapped().to_bits(),
                    IpAddr::V6(address) => address.to_bits(),
                };
                Ends::v6(underlay, tunnel.vni, bits(local), bits(remote))
            }
        }
    }

    /// What says that the VTEP at this end has the VNI.
    fn of_vni(self) -> Ends {
        Ends { remote: 0, network: self.network | Ends::KNOWN, ..self }
    }

    /// What says that this end is a VTEP.
    fn of_vtep(self) -> Ends {
        let network = self.network & !u64::from(u32::MAX) | Ends::ANY_VNI | Ends::KNOWN;
        Ends { remote: 0, network, ..self }
    }

    #[inline(always)]
    #[expect(clippy::cast_possible_truncation, reason = "halves")]
    fn hash(self) -> usize {
        const FACTORS: [u64; 3] =
            [0x9e37_79b9_7f4a_7c15, 0xd6e8_feb8_6659_fd93, 0xff51_afd7_ed55_8ccd];
        let [a, b] = [self.local, self.remote]
            .map(|bits| bits as u64 ^ ((bits >> 64) as u64).rotate_left(32));
        let mixed = a.wrapping_mul(FACTORS[0])
            ^ b.wrapping_mul(FACTORS[1])
            ^ self.network.wrapping_mul(FACTORS[2]);
        (mixed ^ mixed >> 32) as usize
    }
}

/// What comes out of a tunnel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exit {
    /// The VIF that it enters by.
    pub ingress: Ingress,
    /// To which MAC inner frames are sent.
    pub mac: Mac,
}

/// Why nothing comes out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoExit {
    /// The address is no VTEP of the station's.
    NotOurs,
    /// The VTEP has no such VNI.
    UnknownVni,
    /// The other end is none of the VIF's remote VTEPs.
    UnknownVtep,
}

#[derive(Clone, Copy, Debug)]
struct Slot {
    ends: Ends,
    exit: Exit,
}

const EMPTY: Slot = Slot {
    ends: Ends { local: 0, remote: 0, network: 0 },
    exit: Exit { ingress: Ingress::NONE, mac: Mac([0; 6]) },
};

/// Where all tunnels end, by who sends. Open addressing: at most half of the slots are taken.
#[derive(Clone, Debug, Default)]
pub struct Tunnels {
    slots: Box<[Slot]>,
    first_vtep: PortId,
}

impl Tunnels {
    /// Of VIFs, which are [`Overlay::Within`], with what each is when frames enter it. Ports from `first_vtep` on are VTEPs.
    pub fn new<'a>(first_vtep: PortId, vifs: impl Iterator<Item = (&'a Tunnel, Exit)>) -> Tunnels {
        let mut ends: Vec<(Ends, Exit)> = Vec::new();
        for (tunnel, exit) in vifs {
            // For what is said of frames that do not come out.
            let known = Ends::of(tunnel, tunnel.local);
            ends.extend([(known.of_vni(), exit), (known.of_vtep(), exit)]);
            ends.extend(tunnel.remotes.iter().map(|remote| (Ends::of(tunnel, *remote), exit)));
        }
        if ends.is_empty() {
            return Tunnels { first_vtep, ..Tunnels::default() };
        }
        let slots = vec![EMPTY; (2 * ends.len()).next_power_of_two()].into();
        let mut tunnels = Tunnels { slots, first_vtep };
        for (ends, exit) in ends {
            let at = tunnels.place(ends);
            tunnels.slots[at] = Slot { ends, exit };
        }
        tunnels
    }

    /// There are none.
    #[inline(always)]
    pub fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// The first port that is a VTEP.
    #[inline(always)]
    pub const fn first_vtep(&self) -> PortId {
        self.first_vtep
    }

    /// The slot that has these ends, or would.
    #[inline(always)]
    fn place(&self, ends: Ends) -> usize {
        let mask = self.slots.len() - 1;
        let mut at = ends.hash() & mask;
        while self.slots[at].exit.ingress != Ingress::NONE && self.slots[at].ends != ends {
            at = (at + 1) & mask;
        }
        at
    }

    /// What comes out of a tunnel.
    ///
    /// # Errors
    /// Why nothing does.
    #[inline(always)]
    pub fn exit(&self, ends: Ends) -> Result<Exit, NoExit> {
        if self.is_empty() {
            return Err(NoExit::NotOurs);
        }
        let exit = self.slots[self.place(ends)].exit;
        if exit.ingress == Ingress::NONE { Err(self.why(ends)) } else { Ok(exit) }
    }

    #[cold]
    fn why(&self, ends: Ends) -> NoExit {
        let has = |ends| self.slots[self.place(ends)].exit.ingress != Ingress::NONE;
        match (has(ends.of_vtep()), has(ends.of_vni())) {
            (false, _) => NoExit::NotOurs,
            (true, false) => NoExit::UnknownVni,
            (true, true) => NoExit::UnknownVtep,
        }
    }
}

/// UDP and VXLAN in front of an inner frame: the source port is the inner flow's, and the checksum 0 (RFC 7348 5).
#[inline(always)]
#[expect(clippy::cast_possible_truncation, reason = "a frame has at most 4096 octets")]
fn udp_and_vxlan(vni: u32, inner: usize, flow: u32) -> [u8; UDP_AND_VXLAN] {
    let source = (flow >> 18) as u16 | FIRST_SOURCE_PORT;
    let length = (inner + UDP_AND_VXLAN) as u16;
    let ([a, b], [c, d], [e, f]) =
        (source.to_be_bytes(), VXLAN_PORT.to_be_bytes(), length.to_be_bytes());
    let [_, g, h, i] = vni.to_be_bytes();
    [a, b, c, d, e, f, 0, 0, HAS_VNI, 0, 0, 0, g, h, i, 0]
}

/// The outer headers of an inner frame of so many octets in an IPv4 underlay. `class`: DSCP and ECN of the inner packet,
/// which are the outer's too (RFC 2983's uniform model, RFC 6040's normal mode). Never fragmented: DF is set, and so the
/// identification means nothing (RFC 6864 4.1).
#[inline(always)]
#[expect(clippy::cast_possible_truncation, reason = "a frame has at most 4096 octets")]
pub fn outer4(
    [local, remote]: [u32; 2],
    vni: u32,
    inner: usize,
    class: u8,
    flow: u32,
) -> [u8; OUTER4] {
    let first = 0x4500_0000 | u32::from(class) << 16 | (inner + OUTER4) as u32;
    let ttl = u32::from(TTL) << 24 | u32::from(ipv4::UDP) << 16;
    let sum = !checksum::of_words([first, 0x4000, ttl, local, remote]);
    let words = [first, 0x4000, ttl | u32::from(sum), local, remote];
    let mut outer = [0; OUTER4];
    outer[..ipv4::HEADER_LEN].copy_from_slice(words.map(u32::to_be_bytes).as_flattened());
    outer[ipv4::HEADER_LEN..].copy_from_slice(&udp_and_vxlan(vni, inner, flow));
    outer
}

/// As [`outer4`], in an IPv6 underlay, where UDP has a checksum (RFC 8200 8.1): a receiver has to be configured to take
/// packets without (RFC 6935 5). `sum`: that of the inner frame ([`checksum::sum`]).
#[inline(always)]
#[expect(clippy::cast_possible_truncation, reason = "a frame has at most 4096 octets")]
pub fn outer6(
    [local, remote]: [u128; 2],
    vni: u32,
    inner: usize,
    class: u8,
    flow: u32,
    sum: u16,
) -> [u8; OUTER6] {
    let mut outer = [0; OUTER6];
    let first = 6 << 28 | u32::from(class) << 20 | flow & 0xf_ffff;
    outer[..4].copy_from_slice(&first.to_be_bytes());
    outer[4..6].copy_from_slice(&((inner + UDP_AND_VXLAN) as u16).to_be_bytes());
    outer[6..8].copy_from_slice(&[ipv4::UDP, TTL]);
    outer[8..24].copy_from_slice(&local.to_be_bytes());
    outer[24..40].copy_from_slice(&remote.to_be_bytes());
    let udp = udp_and_vxlan(vni, inner, flow);
    outer[40..].copy_from_slice(&udp);
    // The pseudo header: both addresses, UDP's length, its protocol number.
    let length = (inner + UDP_AND_VXLAN) as u16;
    let sums = [checksum::sum(&outer[8..40]), length, ipv4::UDP.into(), checksum::sum(&udp), sum];
    let check = !checksum::of_words(sums.map(u32::from));
    // 0 would mean that there is none (RFC 768).
    let check = if check == 0 { u16::MAX } else { check };
    outer[46..48].copy_from_slice(&check.to_be_bytes());
    outer
}

/// An inner frame with its outer headers, from one VTEP to another.
fn carry(ends: [IpAddr; 2], vni: u32, inner: &[u8], flow: u32) -> Vec<u8> {
    let class = class(inner.get(HEADER_LEN..).unwrap_or_default());
    let mut packet = match ends {
        [IpAddr::V4(from), IpAddr::V4(to)] => {
            outer4([from.to_bits(), to.to_bits()], vni, inner.len(), class, flow).to_vec()
        }
        [IpAddr::V6(from), IpAddr::V6(to)] => {
            let (ends, sum) = ([from.to_bits(), to.to_bits()], checksum::sum(inner));
            outer6(ends, vni, inner.len(), class, flow, sum).to_vec()
        }
        _ => return Vec::new(),
    };
    packet.extend(inner);
    packet
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

#[cfg(test)]
mod tests;
