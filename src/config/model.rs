//! A validated configuration: what the station runs, in the operator's words and by name. Made only
//! by the parser, so whoever holds one need not check it again.

pub use super::acls::AclConfig;
pub use super::address_limits::AddressLimitConfig;
pub use super::bandwidth::{Bandwidth, MeterGroupConfig, RateLimit};
pub use super::billing::BillingConfig;
pub use super::communities::{AllowedPrefix, Community};
pub use super::events::{EventsConfig, HookConfig, Journal};
pub use super::exchanges::ExchangeConfig;
pub use super::flow_log::{Collector, FlowLogConfig, Transport};
pub use super::labels::Labels;
pub use super::latency::LatencyConfig;
pub use super::ports::{KernelProtocol, PortConfig, XdpMode, ZeroCopy};
pub use super::probes::ProbeConfig;
pub use super::qos::{ClassConfig, QosConfig};
pub use super::rpki::{RpkiConfig, RpkiPolicy, Verified};
pub use super::vteps::{Remote, TunnelConfig, VtepConfig};

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::sync::Arc;

use ipnet::{IpNet, Ipv4Net};

use super::metrics::MetricsAddress;
use crate::tables::rules::in_reserved;
use crate::tables::{Password, Pcp, SourceCheck, Tags, Translation, VifKind, VrfKind};
use crate::wire::ethernet::Mac;

/// The whole configuration.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// Settings of the daemon itself.
    pub station: StationConfig,
    /// Where events go.
    pub events: EventsConfig,
    /// How long the billing series is kept.
    pub billing: BillingConfig,
    /// Where flows are told, if anywhere.
    pub flow_log: Option<FlowLogConfig>,
    /// How many frames are timed, if any.
    pub latency: Option<LatencyConfig>,
    /// Ports in the file's order.
    pub ports: Vec<PortConfig>,
    /// Routing domains.
    pub vrfs: Vec<VrfConfig>,
    /// Tunnel endpoints, which are ports too: [`Config::vtep_id`].
    pub vteps: Vec<VtepConfig>,
    /// Meter groups.
    pub meter_groups: Vec<MeterGroupConfig>,
    /// Limits of addresses.
    pub address_limits: Vec<AddressLimitConfig>,
    /// Policies of classes.
    pub qos: Vec<QosConfig>,
    /// Access lists.
    pub acls: Vec<AclConfig>,
    /// Virtual interfaces.
    pub vifs: Vec<VifConfig>,
    /// Static routes.
    pub routes: Vec<RouteConfig>,
    /// Routes from prefix lists.
    pub route_lists: Vec<RouteListConfig>,
    /// Static neighbors.
    pub neighbors: Vec<NeighborConfig>,
    /// Exchanges between VRFs.
    pub exchanges: Vec<ExchangeConfig>,
    /// Caches that know which AS may announce which prefix.
    pub rpki: Vec<RpkiConfig>,
    /// Hosts that VIFs ask whether they are there.
    pub probes: Vec<ProbeConfig>,
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
    /// Where the ledger of outages is, and the history of configurations.
    pub state: PathBuf,
    /// How many configurations the history keeps.
    pub history: u16,
    /// Octets that a frame counts against a bandwidth beyond those from its destination MAC to the end of its payload.
    pub frame_overhead_octets: u8,
    /// How many VIFs counters are allocated for.
    pub max_vifs: u16,
    /// How many ports memory is allocated for; `None` for the default.
    pub max_ports: Option<usize>,
    /// The CPU of each worker; empty for the default.
    pub cpus: Vec<usize>,
    /// Frames of each worker's memory; `None` for the default.
    pub frames: Option<usize>,
    /// Descriptors of each AF_XDP ring.
    pub ring: u32,
    /// The router id of all BGP sessions.
    pub router_id: Ipv4Addr,
    /// The program that speaks BGP and BFD.
    pub bird: PathBuf,
    /// Where metrics are served, if anywhere.
    pub metrics: Option<MetricsAddress>,
}

/// `[[vrf]]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VrfConfig {
    /// The operator's name for it.
    pub name: Arc<str>,
    /// Whose it is.
    pub labels: Labels,
    /// What it is for.
    pub kind: VrfKind,
}

/// `[[vif]]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VifConfig {
    /// The operator's name for it.
    pub name: Arc<str>,
    /// Whose it is.
    pub labels: Labels,
    /// Name of its port or VTEP.
    pub port: Arc<str>,
    /// Its VLAN tags on a port.
    pub tags: Tags,
    /// Its tunnels on a VTEP.
    pub tunnel: Option<TunnelConfig>,
    /// The product; `None` on core ports.
    pub kind: Option<VifKind>,
    /// Name of its VRF.
    pub vrf: Arc<str>,
    /// The router's addresses with their subnets, as configured: the address that EUI-64 makes of
    /// the port's MAC is added where the MAC is known.
    pub addresses: Vec<IpNet>,
    /// Longest IP packet, in octets.
    pub mtu: u16,
    /// Administratively up, as is its port.
    pub up: bool,
    /// Its packets may go to other stations, and theirs come to it.
    pub join_stations: bool,
    /// The check of source addresses.
    pub source_check: SourceCheck,
    /// The priority of frames that leave.
    pub pcp: Pcp,
    /// What it may receive and send.
    pub bandwidth: Bandwidth,
    /// Name of the meter group that it shares a rate with.
    pub meter_group: Option<Arc<str>>,
    /// Names of limits of addresses, by [`crate::tables::Direction`].
    pub address_limits: [Vec<Arc<str>>; 2],
    /// Its largest addresses are kept track of.
    pub top_talkers: bool,
    /// Name of the policy of what leaves by it.
    pub qos: Option<Arc<str>>,
    /// Name of the access list of packets from it.
    pub acl_in: Option<Arc<str>>,
    /// Name of that of packets to it.
    pub acl_out: Option<Arc<str>>,
    /// What addresses behind it are in its VRF.
    pub translate: Vec<Translation>,
    /// Flows of one of so many packets are logged.
    pub flow_log: Option<u16>,
    /// It reflects the test packets of TWAMP-light.
    pub twamp_reflector: bool,
    /// BFD to its BGP peers and to the next hops that static routes have on it.
    pub bfd: Option<BfdConfig>,
    /// Its BGP sessions; each has another peer.
    pub bgp: Vec<BgpConfig>,
}

/// `bfd` of a VIF.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BfdConfig {
    /// Milliseconds between packets, both ways.
    pub interval_ms: u32,
    /// Packets that may be lost before the peer counts as gone.
    pub multiplier: u8,
}

/// `[[vif.bgp]]`: a session with one peer, for the routes of its address family.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BgpConfig {
    /// The peer's address, on a subnet of the VIF.
    pub peer: IpAddr,
    /// The router's address in that subnet.
    pub local: IpAddr,
    /// The peer's AS: ours where it is a router of the core (iBGP).
    pub peer_as: u32,
    /// Our AS in this session.
    pub local_as: u32,
    /// The key of TCP MD5 signatures (RFC 2385).
    pub password: Option<Password>,
    /// Seconds without a message after which the session ends.
    pub hold_s: u16,
    /// Seconds between keepalives.
    pub keepalive_s: u16,
    /// Seconds between attempts to connect.
    pub connect_retry_s: u16,
    /// Waits for the peer to connect.
    pub passive: bool,
    /// Takes only packets with TTL 255, and sends them so (RFC 5082).
    pub ttl_security: bool,
    /// Seconds that routes outlive a restart of BGP (RFC 4724); 0 is off.
    pub graceful_restart_s: u16,
    /// Accepted prefixes beyond which `at_max` happens.
    pub max_prefixes: u32,
    /// What happens then.
    pub at_max: AtMax,
    /// Prefixes that are accepted; `None` is all but a default route.
    pub import: Option<Vec<AllowedPrefix>>,
    /// Prefixes that are advertised; `None` is all.
    pub export: Option<Vec<AllowedPrefix>>,
    /// The preference of its routes among those of other sessions: the highest wins. `None`: what a peer of our own AS says
    /// (RFC 4271 5.1.5).
    pub local_preference: Option<u32>,
    /// The preference of routes with a community.
    pub preference: Vec<(Community, u32)>,
    /// Routes with one of these communities are not advertised to this peer.
    pub suppress: Vec<Community>,
    /// Communities added to what is advertised.
    pub tag: Vec<Community>,
    /// The peer is asked to keep what is advertised within its AS (NO_EXPORT, RFC 1997).
    pub no_export: bool,
    /// How often our AS is repeated in what is advertised.
    pub prepend: u8,
    /// What the origin of an announced prefix has to be.
    pub rpki: RpkiPolicy,
    /// Prefixes that are accepted whatever it is.
    pub verified: Vec<Verified>,
}

impl BgpConfig {
    /// Whether the peer is of our own AS (iBGP).
    pub fn is_internal(&self) -> bool {
        self.peer_as == self.local_as
    }
}

/// What happens when a peer sends more prefixes than it may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AtMax {
    /// The session ends, until an operator resets it.
    Shut,
    /// The excess is not taken.
    Discard,
    /// It is only said.
    Warn,
}

/// One member of a next-hop group.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NextHop {
    /// Name of the egress VIF, found by validation where the file did not give it.
    pub vif: Arc<str>,
    /// The neighbor's address.
    pub address: IpAddr,
    /// Its share, 1-64; 0 for a backup, which carries only while no other can.
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

impl Config {
    /// The prefixes in [`crate::tables::rules::RESERVED`] that routes and imports name, by VRF.
    pub(crate) fn named_of_reserved(&self) -> HashMap<&str, Vec<Ipv4Net>> {
        let imports = self.vifs.iter().flat_map(|vif| {
            let all = vif.bgp.iter().flat_map(|bgp| bgp.import.iter().flatten());
            all.map(|allowed| (&*vif.vrf, allowed.net))
        });
        let routes = self.routes.iter().map(|route| (&*route.vrf, route.prefix));
        let lists = self.route_lists.iter();
        let lists = lists.flat_map(|list| list.reserved().iter().map(|net| (&*list.vrf, *net)));
        let mut named: HashMap<&str, Vec<Ipv4Net>> = HashMap::new();
        let exchanges = self.exchanges.iter().flat_map(ExchangeConfig::destinations);
        for (vrf, net) in imports.chain(routes).chain(lists).chain(exchanges) {
            if let Some(net) = in_reserved(net) {
                named.entry(vrf).or_default().push(net);
            }
        }
        named
    }

    /// Takes over the prefix lists and access lists that `running` has too: what both share costs a commit nothing.
    pub fn share_lists(&mut self, running: &Config) {
        for list in &mut self.route_lists {
            let same = running.route_lists.iter().find(|old| old.prefixes == list.prefixes);
            if let Some(same) = same {
                list.prefixes = same.prefixes.clone();
            }
        }
        super::acls::share(&mut self.acls, &running.acls);
    }
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
