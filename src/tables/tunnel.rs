//! Tunnels: VXLAN (RFC 7348) between this station and other tunnel endpoints (VTEPs) of an underlay, the VRF that
//! carries them. A VNI of a VTEP is a VIF, as a VLAN of a port is.

mod outer;

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

use super::ids::VrfId;
use super::vif::Ingress;
use crate::wire::checksum;
use crate::wire::ethernet::{HEADER_LEN, Mac, be16, be32};
use crate::wire::ipv4;
use crate::wire::outline::Outline;

pub use outer::{Dscp, Inner, Marking, OUTER4, OUTER6, Outer, class};

/// The UDP port of VXLAN.
pub const VXLAN_PORT: u16 = 4789;
/// Octets of the UDP and the VXLAN header.
pub const UDP_AND_VXLAN: usize = 16;
/// The flag of a VXLAN header that has a VNI (RFC 7348 5).
pub const HAS_VNI: u8 = 8;
/// The highest VNI: it has 24 bits.
pub const MAX_VNI: u32 = 0xff_ffff;

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
    /// The other station whose they are, if they are one's.
    pub station: Option<Arc<str>>,
    /// What outer headers are marked with.
    pub marking: Marking,
}

/// From which VTEP of the station's to which at another end: what routers of an underlay see of a tunnel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct TunnelPath {
    /// The underlay.
    pub underlay: VrfId,
    /// The address of the station's VTEP.
    pub local: IpAddr,
    /// That of the other.
    pub remote: IpAddr,
}

impl Tunnel {
    /// The path to a VTEP.
    pub const fn path(&self, remote: IpAddr) -> TunnelPath {
        TunnelPath { underlay: self.underlay, local: self.local, remote }
    }

    /// The packet of the underlay that carries an inner frame to a VTEP; nothing where the two are of two families.
    pub fn packet(&self, remote: IpAddr, inner: &[u8], flow: u32) -> Vec<u8> {
        carry([self.local, remote], (self.vni, self.marking), inner, flow)
    }

    /// As [`Tunnel::packet`], from there to here.
    pub fn received(&self, remote: IpAddr, inner: &[u8]) -> Vec<u8> {
        carry([remote, self.local], (self.vni, Marking::new(Dscp::Copy)), inner, 0)
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
    /// [`Marking::inwards`].
    pub inwards: bool,
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
    exit: Exit { ingress: Ingress::NONE, mac: Mac([0; 6]), inwards: false },
};

/// Where all tunnels end, by who sends. Open addressing: at most half of the slots are taken.
#[derive(Clone, Debug, Default)]
pub struct Tunnels {
    slots: Box<[Slot]>,
    underlays: Box<[VrfId]>,
}

impl Tunnels {
    /// Of VIFs, which are [`Overlay::Within`], with what each is when frames enter it.
    pub fn new<'a>(vifs: impl Iterator<Item = (&'a Tunnel, Exit)>) -> Tunnels {
        let mut ends: Vec<(Ends, Exit)> = Vec::new();
        let mut underlays = BTreeSet::new();
        for (tunnel, exit) in vifs {
            underlays.insert(tunnel.underlay);
            // For what is said of frames that do not come out.
            let known = Ends::of(tunnel, tunnel.local);
            ends.extend([(known.of_vni(), exit), (known.of_vtep(), exit)]);
            ends.extend(tunnel.remotes.iter().map(|remote| (Ends::of(tunnel, *remote), exit)));
        }
        if ends.is_empty() {
            return Tunnels::default();
        }
        let slots = vec![EMPTY; (2 * ends.len()).next_power_of_two()].into();
        let underlays = underlays.into_iter().collect();
        let mut tunnels = Tunnels { slots, underlays };
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

    /// The VRFs that carry them.
    #[inline(always)]
    pub fn underlays(&self) -> &[VrfId] {
        &self.underlays
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

/// An inner frame with its outer headers, from one VTEP to another.
fn carry(ends: [IpAddr; 2], (vni, marking): (u32, Marking), frame: &[u8], flow: u32) -> Vec<u8> {
    let class = class(frame.get(HEADER_LEN..).unwrap_or_default());
    let inner = Inner { octets: frame.len(), class, flow };
    let mut packet = match Outer::new(ends, vni, marking) {
        Some(Outer::V4(outer)) => {
            let mut octets = [0; OUTER4];
            outer.write(&mut octets, inner);
            octets.to_vec()
        }
        Some(Outer::V6(outer)) => {
            let mut octets = [0; OUTER6];
            outer.write(&mut octets, inner, checksum::sum(frame));
            octets.to_vec()
        }
        None => return Vec::new(),
    };
    packet.extend(frame);
    packet
}

#[cfg(test)]
mod tests;
