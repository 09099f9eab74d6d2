//! A validated configuration: what the station runs, in the operator's words and by name. Made only
//! by the parser, so whoever holds one need not check it again.

use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;

use ipnet::IpNet;

use crate::tables::{Pcp, PortRole, SourceCheck, Tags, VifKind, VrfKind};
use crate::wire::ethernet::Mac;

/// The whole configuration.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// Settings of the daemon itself; a change needs a restart.
    pub station: StationConfig,
    /// Ports in the file's order; their index is the [`crate::tables::PortId`]. A change needs a restart.
    pub ports: Vec<PortConfig>,
    /// Routing domains.
    pub vrfs: Vec<VrfConfig>,
    /// Virtual interfaces.
    pub vifs: Vec<VifConfig>,
    /// Static routes.
    pub routes: Vec<RouteConfig>,
    /// Routes from prefix lists.
    pub route_lists: Vec<RouteListConfig>,
    /// Static neighbors.
    pub neighbors: Vec<NeighborConfig>,
}

/// `[station]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StationConfig {
    /// The station's name.
    pub name: String,
    /// The admin socket.
    pub socket: PathBuf,
    /// Where XDP links are pinned.
    pub bpffs: PathBuf,
    /// How many VIFs counters are allocated for.
    pub max_vifs: u16,
    /// The CPU of each worker; empty for the default.
    pub cpus: Vec<usize>,
    /// Frames of each worker's memory; `None` for the default.
    pub frames: Option<usize>,
    /// Descriptors of each AF_XDP ring.
    pub ring: u32,
}

/// How XDP is attached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum XdpMode {
    /// Native where the driver can, else generic.
    Auto,
    /// In the driver, or not at all.
    Native,
    /// In the kernel's generic receive path.
    Generic,
}

/// Whether the NIC writes straight into the worker's memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ZeroCopy {
    /// Where the driver can, else by copy.
    Auto,
    /// Zero-copy, or not at all.
    Require,
    /// By copy.
    Off,
}

/// What the kernel still gets to see of a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum KernelProtocol {
    /// Slow protocols, ethertype 0x8809.
    Lacp,
    /// LLDP, ethertype 0x88cc.
    Lldp,
    /// 802.1X, ethertype 0x888e.
    Eapol,
    /// Everything without a VLAN tag.
    Untagged,
}

/// `[[port]]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortConfig {
    /// The operator's name for it.
    pub name: Arc<str>,
    /// The Linux interface.
    pub interface: String,
    /// Who is at the other end.
    pub role: PortRole,
    /// How XDP is attached.
    pub xdp: XdpMode,
    /// Zero-copy or not.
    pub zero_copy: ZeroCopy,
    /// Busy-poll time in microseconds; 0 is off.
    pub busy_poll_us: u32,
    /// What the kernel still sees.
    pub to_kernel: Vec<KernelProtocol>,
}

/// `[[vrf]]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VrfConfig {
    /// The operator's name for it.
    pub name: Arc<str>,
    /// What it is for.
    pub kind: VrfKind,
}

/// `[[vif]]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VifConfig {
    /// The operator's name for it.
    pub name: Arc<str>,
    /// Name of its port.
    pub port: Arc<str>,
    /// Its VLAN tags.
    pub tags: Tags,
    /// The product; `None` on core ports.
    pub kind: Option<VifKind>,
    /// Name of its VRF.
    pub vrf: Arc<str>,
    /// The router's addresses with their subnets, as configured: the address that EUI-64 makes of
    /// the port's MAC is added where the MAC is known.
    pub addresses: Vec<IpNet>,
    /// Longest IP packet, in octets.
    pub mtu: u16,
    /// Administratively up.
    pub up: bool,
    /// The check of source addresses.
    pub source_check: SourceCheck,
    /// The priority of frames that leave.
    pub pcp: Pcp,
}

/// One member of a next-hop group.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NextHop {
    /// Name of the egress VIF, found by validation where the file did not give it.
    pub vif: Arc<str>,
    /// The neighbor's address.
    pub address: IpAddr,
    /// Its share, 1-64.
    pub weight: u16,
}

/// What a route does.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum RouteAction {
    /// Forwards to a group of next hops.
    Via(Vec<NextHop>),
    /// Drops silently.
    Blackhole,
    /// Answers with ICMP unreachable.
    Unreachable,
    /// Answers with ICMP administratively prohibited.
    Prohibit,
}

/// `[[route]]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RouteConfig {
    /// Name of the VRF.
    pub vrf: Arc<str>,
    /// The destination.
    pub prefix: IpNet,
    /// What happens to packets for it.
    pub action: RouteAction,
}

/// `[[route_list]]`. Equal lists share their prefixes' memory.
#[derive(Clone, Debug, PartialEq)]
pub struct RouteListConfig {
    /// Name of the VRF.
    pub vrf: Arc<str>,
    /// Where the prefixes came from.
    pub file: PathBuf,
    /// The prefixes, sorted, without duplicates.
    pub prefixes: Arc<[IpNet]>,
    /// Next hops of the IPv4 prefixes.
    pub via4: Vec<NextHop>,
    /// Next hops of the IPv6 prefixes.
    pub via6: Vec<NextHop>,
}

/// `[[neighbor]]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NeighborConfig {
    /// Name of the VIF.
    pub vif: Arc<str>,
    /// The neighbor's address.
    pub address: IpAddr,
    /// Its MAC.
    pub mac: Mac,
}
