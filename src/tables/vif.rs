//! Virtual interfaces as the packet path sees them.

use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;

use super::acl::AccessList;
use super::ids::{PortId, VifId, VrfId};
use super::meter::Direction;
use super::translation::Translations;
use super::tunnel::{Overlay, Tunnel};
use crate::wire::ethernet::{ETHERTYPE_SERVICE_TAG, ETHERTYPE_VLAN, VID_MASK};
use crate::wire::ipv4::{TCP, TCP_FLAGS, UDP};

/// The product that a customer VIF is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum VifKind {
    /// Reaches one VPC by private addresses.
    Private,
    /// Reaches the provider's public services by public addresses.
    Public,
    /// Reaches one or more transit gateways.
    Transit,
}

/// How source addresses of packets that enter by a VIF are checked (RFC 3704, RFC 8704).
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SourceCheck {
    /// Some route of the VRF to the source leads out of this VIF (feasible-path).
    Strict,
    /// Some route of the VRF leads to the source.
    Loose,
    /// No check beyond martians: for core ports, whose peer is the provider's own.
    Off,
}

impl SourceCheck {
    /// Each with its word.
    pub const WORDS: [(&str, SourceCheck); 3] = [
        (SourceCheck::Strict.name(), SourceCheck::Strict),
        (SourceCheck::Loose.name(), SourceCheck::Loose),
        (SourceCheck::Off.name(), SourceCheck::Off),
    ];

    /// Its word in the configuration and in tables.
    pub const fn name(self) -> &'static str {
        match self {
            SourceCheck::Strict => "strict",
            SourceCheck::Loose => "loose",
            SourceCheck::Off => "off",
        }
    }
}

/// The 802.1Q priority of frames that leave by a VIF.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pcp {
    /// The priority that the frame came with.
    Preserve,
    /// A fixed priority, 0-7.
    Set(u8),
}

impl Pcp {
    /// The priority that the adjacency's own tag carries.
    pub const fn egress(self) -> u8 {
        match self {
            Pcp::Preserve => 0,
            Pcp::Set(pcp) => pcp & 7,
        }
    }
}

/// The tags of a VIF, outermost first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Tags {
    /// Outer VID, 1-4094; 0 in [`Tags::NONE`].
    pub outer: u16,
    /// Inner VID of a double-tagged VIF.
    pub inner: Option<u16>,
    /// The outer tag's TPID is 0x88a8 (802.1ad) instead of 0x8100.
    pub service: bool,
}

impl Tags {
    /// Those of a VIF whose frames come and go in tunnels: there are none.
    pub const NONE: Tags = Tags { outer: 0, inner: None, service: false };

    /// (TPID, VID) of each tag, outermost first.
    pub fn iter(&self) -> impl Iterator<Item = (u16, u16)> {
        let tpid = if self.service { ETHERTYPE_SERVICE_TAG } else { ETHERTYPE_VLAN };
        let outer = (*self != Tags::NONE).then_some((tpid, self.outer & VID_MASK));
        outer.into_iter().chain(self.inner.map(|vid| (ETHERTYPE_VLAN, vid & VID_MASK)))
    }
}

impl std::fmt::Display for Tags {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.inner {
            Some(inner) => write!(f, "{}.{inner}", self.outer),
            None => write!(f, "{}", self.outer),
        }
    }
}

/// One virtual interface.
#[derive(Clone, Debug)]
pub struct Vif {
    /// The operator's name for it.
    pub name: Arc<str>,
    /// Administratively up.
    pub up: bool,
    /// The product, on customer ports; `None` on core ports.
    pub kind: Option<VifKind>,
    /// Where its frames come from and go to: a NIC, or a VTEP.
    pub port: PortId,
    /// What tells its frames from others on a NIC.
    pub tags: Tags,
    /// What it has to do with tunnels.
    pub overlay: Overlay,
    /// Its packets may go to other stations, and theirs leave by it.
    pub joins_stations: bool,
    /// The one routing domain its frames enter.
    pub vrf: VrfId,
    /// Longest IP packet in either direction, in octets, without L2 header.
    pub mtu: u16,
    /// The check of source addresses.
    pub source_check: SourceCheck,
    /// The priority of frames that leave.
    pub pcp: Pcp,
    /// By [`Direction`]: its octets are policed, as [`super::Meters`] say.
    pub metered: [bool; 2],
    /// By [`Direction`]: its addresses have limits, as [`super::AddressLimits`] say.
    pub limited: [bool; 2],
    /// Its largest addresses are kept track of.
    pub top_talkers: bool,
    /// What judges packets that enter here and are forwarded.
    pub acl_in: Option<Arc<AccessList>>,
    /// What judges packets that are forwarded and leave here.
    pub acl_out: Option<Arc<AccessList>>,
    /// Flows of one of so many of its packets are logged; 0: of none.
    pub flow_log: u16,
    /// Test packets to its own addresses are reflected (TWAMP-light, RFC 5357 appendix I).
    pub twamp_reflector: bool,
    /// What addresses behind it are in its VRF.
    pub translations: Option<Arc<Translations>>,
    /// The router's addresses here with their subnets; the link-local IPv6 address is among them.
    pub addresses: Arc<[IpNet]>,
    /// The routing peers: neighbors whose BGP and BFD go to the kernel. Where there are any, the VIF
    /// has a TAP.
    pub peers: Arc<[IpAddr]>,
}

impl Vif {
    /// The tunnels that its frames come and go in, if they do.
    pub const fn tunnel(&self) -> Option<&Tunnel> {
        match &self.overlay {
            Overlay::Within(tunnel) => Some(tunnel),
            Overlay::Apart | Overlay::Underlay => None,
        }
    }

    /// Whether some of its packets are looked at: for flow logs, or for top talkers.
    pub const fn is_sampled(&self) -> bool {
        self.flow_log != 0 || self.top_talkers
    }

    /// The other station that its tunnels lead to, if they do.
    pub fn station(&self) -> Option<&Arc<str>> {
        self.tunnel()?.station.as_ref()
    }

    /// Where its frames are: a VLAN of its port, or a VNI of its VTEP.
    pub fn network(&self) -> String {
        match self.tunnel() {
            Some(tunnel) => format!("vni {}", tunnel.vni),
            None => self.tags.to_string(),
        }
    }
}

/// What tells a VIF's frames from others as they come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Network {
    /// These tags.
    Vlan(Tags),
    /// The VNI in these tunnels.
    Vni(Tunnel),
}

impl Network {
    /// That of a VIF.
    pub fn of(vif: &Vif) -> Network {
        vif.tunnel().map_or(Network::Vlan(vif.tags), |tunnel| Network::Vni(tunnel.clone()))
    }
}

/// The longest MTU that a word of rules has room for; what is configured is shorter.
pub const MAX_MTU: u32 = 0x3fff;

/// What every packet that enters by a VIF needs of it, in two words: those of a burst are compared in columns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C, align(8))]
pub struct Ingress {
    /// The VIF and its VRF, see [`place`].
    pub place: u32,
    /// The VIF's MTU in the lower 14 bits; above it the flags.
    pub rules: u32,
}

/// A VIF and its VRF in one word: the VIF in the lower half.
#[inline(always)]
pub const fn place(vif: VifId, vrf: VrfId) -> u32 {
    vif.0 as u32 | (vrf.0 as u32) << 16
}

/// The VIF of a place, as an index.
#[inline(always)]
pub const fn place_vif(place: u32) -> usize {
    (place & 0xffff) as usize
}

/// The place of what is in no VIF. There are at most 65,535 of them, so no VIF has this.
pub const NOWHERE: u32 = u32::MAX;

impl Ingress {
    /// The VIF's MTU, in octets of IP packet.
    #[inline(always)]
    pub const fn mtu(rules: u32) -> u32 {
        rules & MAX_MTU
    }

    /// Flag: the VIF is a customer's. The same bit as in [`super::Facts`].
    pub const CUSTOMER: u32 = 1 << 31;
    /// Flag: sources are checked.
    pub const CHECKED: u32 = 1 << 30;
    /// Flag: there is such a VIF, and it is up.
    pub const UP: u32 = 1 << 29;
    /// Flag: the outer TPID is 0x88a8 (802.1ad).
    pub const SERVICE: u32 = 1 << 28;
    /// Flag: these are the tags of a VIF.
    pub const VIF: u32 = 1 << 27;
    /// Flag: this is the outer tag of double-tagged VIFs. Nothing but [`Ingress::SERVICE`] goes with it; the place is
    /// the number of their map.
    pub const INNER: u32 = 1 << 26;

    /// Flag: what is received is policed.
    pub const METERED: u32 = 1 << 25;
    /// Flag: an access list judges what enters.
    pub const ACL: u32 = 1 << 24;
    /// Flag: the VIF is in an underlay.
    pub const UNDERLAY: u32 = 1 << 23;
    /// Flag: sources are translated.
    pub const TRANSLATED: u32 = 1 << 22;
    /// Flag: some packets of what enters are looked at, for flow logs or for top talkers.
    pub const LOGGED: u32 = 1 << 21;
    /// Flag: what addresses may have of what is received is limited.
    pub const LIMITED: u32 = 1 << 20;

    /// Flag: it came from another station. The same bit as [`super::Facts::STAYS`].
    pub const FROM_STATION: u32 = 1 << 15;
    /// Flag: it may not leave to another station. The same bit as [`super::Facts::TO_STATION`].
    pub const STAYS: u32 = 1 << 14;

    /// That of no VIF.
    pub const NONE: Ingress = Ingress { place: NOWHERE, rules: 0 };

    /// That of a VIF.
    pub fn of(id: VifId, vif: &Vif) -> Ingress {
        let flags = [
            (Ingress::VIF, true),
            (Ingress::UP, vif.up),
            (Ingress::CUSTOMER, vif.kind.is_some()),
            (Ingress::CHECKED, vif.source_check != SourceCheck::Off),
            (Ingress::SERVICE, vif.tags.service),
            (Ingress::METERED, vif.metered[Direction::Rx as usize]),
            (Ingress::ACL, vif.acl_in.is_some()),
            (Ingress::UNDERLAY, vif.overlay == Overlay::Underlay),
            (Ingress::TRANSLATED, vif.translations.is_some()),
            (Ingress::LOGGED, vif.is_sampled()),
            (Ingress::LIMITED, vif.limited[Direction::Rx as usize]),
            (Ingress::FROM_STATION, vif.station().is_some()),
            (Ingress::STAYS, !vif.joins_stations),
        ];
        let flags = flags.iter().filter(|(_, set)| *set).fold(0, |all, (flag, _)| all | flag);
        Ingress { place: place(id, vif.vrf), rules: u32::from(vif.mtu).min(MAX_MTU) | flags }
    }
}

/// The protocols that a routing daemon in the kernel's hands speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Routing {
    /// RFC 4271.
    Bgp,
    /// Single-hop BFD, RFC 5881.
    Bfd,
}

impl Vif {
    /// Which routing protocol a packet between one of the VIF's addresses and `peer`, in either direction,
    /// belongs to; `None` for everybody else and everything else. `upper`: what follows the packet's IP
    /// header, of any length.
    pub fn routing(
        &self,
        own: IpAddr,
        peer: IpAddr,
        protocol: u8,
        upper: &[u8],
    ) -> Option<Routing> {
        const BGP: u16 = 179;
        const BFD: u16 = 3784;
        let &[a, b, c, d] = upper.first_chunk()?;
        let (from, to) = (u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d]));
        let routing = match protocol {
            TCP if opens_to(BGP, from, to, *upper.get(TCP_FLAGS)?) => Routing::Bgp,
            UDP if to == BFD => Routing::Bfd,
            _ => return None,
        };
        let ours = self.peers.contains(&peer) && self.addresses.iter().any(|net| net.addr() == own);
        ours.then_some(routing)
    }
}

/// Whether a TCP segment may be of a connection that was opened to port `service`. From that port to
/// another one no connection begins: it would be one to whatever else listens.
fn opens_to(service: u16, from: u16, to: u16, flags: u8) -> bool {
    const SYN: u8 = 0x02;
    const ACK: u8 = 0x10;
    match flags & (SYN | ACK) {
        SYN => to == service,
        both if both == SYN | ACK => from == service,
        _ => from == service || to == service,
    }
}
