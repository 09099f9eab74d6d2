//! What the station shows: the rows and results of the admin protocol. Octets count from the
//! destination MAC to the end of the payload, without FCS. The field names are stable.

mod acls;
mod address_limits;
mod bandwidth;
mod bgp;
mod billing;
mod capture;
mod changes;
mod counters;
mod drain;
mod drill;
mod drops;
mod events;
mod exchanges;
mod explain;
mod failover;
mod flow_log;
mod latency;
mod lookup;
mod mappings;
mod mirrors;
mod ping;
mod port_details;
mod probes;
mod qos;
mod rates;
mod reachability;
mod rpki;
mod stations;
mod talkers;
mod translations;
mod tunnels;
mod workers;

pub use crate::events::{Event, Kind, Record};
pub use acls::{AclEntry, AclRow};
pub use address_limits::{AddressEntry, AddressLimitRow};
pub use bandwidth::{BandwidthNow, BandwidthRow};
pub use bgp::{BgpRouteRow, BgpRow};
pub use billing::{BillingBinRow, BillingRow};
pub use capture::{CaptureEnd, CaptureRow, CapturedFrame};
pub use changes::{ChangeResult, ConfigText, HistoryRow, Routing, RoutingState};
pub use counters::{Conservation, CounterRow, CounterValue};
pub use drain::{DrainFlow, DrainRow};
pub use drill::{DrillFlow, DrillRow};
pub use drops::{DropRow, DroppedFrame, FrameHeaders};
pub use events::EventsInfo;
pub use exchanges::ExchangeRow;
pub use explain::{ExplainRow, ExplainedEgress, ExplainedRoute, ExplainedStage};
pub use failover::{ConsistencyRow, OutageRow, SlaRow};
pub use flow_log::{CollectorRow, FlowLogRow};
pub use latency::{LatencyRow, LatencyWindow};
pub use lookup::LookupResult;
pub use mappings::{HopText, MappingAnswer, MappingRow, SourceRow};
pub use mirrors::MirrorRow;
pub use ping::{PingBegin, PingEnd, PingRow, ProbeRow};
pub use port_details::{Alarm, FecInfo, Limits, Module, PortDetailRow, Quantity, Reading};
pub use probes::{ProbeHistoryRow, TargetRow};
pub use qos::QosRow;
pub use rates::{RateRow, RateWindow, bits_per_s, bits_per_second, rounded};
pub use reachability::{MAX_PREFIXES, ReachabilityRow};
pub use rpki::RpkiRow;
pub use stations::StationRow;
pub use talkers::{TalkerEntry, TalkerRow};
pub use translations::TranslationRow;
pub use tunnels::TunnelRow;
pub use workers::WorkerRow;

use std::collections::BTreeMap;
use std::net::IpAddr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

pub use crate::config::model::Labels;
pub use crate::ledger::Cause;
use crate::tables::{PortRole, SourceCheck, VifKind, VrfKind};

/// Counters by name.
pub type Named = BTreeMap<String, u64>;

/// Frames and octets in both directions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Traffic {
    /// Frames received.
    pub rx_frames: u64,
    /// Octets received.
    pub rx_octets: u64,
    /// Frames sent.
    pub tx_frames: u64,
    /// Octets sent.
    pub tx_octets: u64,
}

/// Statistics that the kernel keeps of a port's AF_XDP sockets (`XDP_STATISTICS`), all queues.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct KernelStatistics {
    /// Frames dropped, for example because they were too long for a buffer.
    pub rx_dropped: u64,
    /// Frames dropped because the receive ring was full: the worker did not keep up.
    pub rx_ring_full: u64,
    /// Invalid descriptors in the fill ring.
    pub rx_invalid_descs: u64,
    /// Invalid descriptors in the transmit ring.
    pub tx_invalid_descs: u64,
    /// Times the kernel found no buffer to receive into.
    pub fill_ring_empty: u64,
    /// Times the kernel found nothing to transmit.
    pub tx_ring_empty: u64,
    /// Descriptors of the kernel's that named no frame of the port's: not used. Anything but 0 is a bug of
    /// the kernel or the driver.
    pub refused_descriptors: u64,
}

/// Counters of a port's XDP program.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct XdpCounters {
    /// Frames left to the kernel, as `to_kernel` says.
    pub to_kernel: u64,
    /// Frames dropped because their queue had no socket: the station was down.
    pub no_socket: u64,
    /// Frames dropped because they were too short to have an ethertype.
    pub malformed: u64,
    /// Frames dropped behind the program because they had missed it, so that the kernel would have
    /// forwarded them: another hand took it off, or added queues.
    pub bypassed: u64,
}

/// `show ports`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PortRow {
    /// The operator's name for it.
    pub name: String,
    /// Whose it is.
    #[serde(flatten)]
    pub labels: Labels,
    /// The Linux interface.
    pub interface: String,
    /// Who is at the other end.
    pub role: PortRole,
    /// Its MAC.
    pub mac: String,
    /// The interface's MTU, in octets of IP.
    pub mtu: u32,
    /// `up`, `down`, or `missing`.
    pub link: String,
    /// Administratively up.
    #[serde(default)]
    pub admin_up: bool,
    /// Empty; `draining` or `quiet` where it or the station is drained, as `show drains` has it.
    #[serde(default)]
    pub drain: String,
    /// `native` or `generic`, as granted.
    pub xdp_mode: String,
    /// Zero-copy, as granted.
    pub zero_copy: bool,
    /// Queues in use, one per worker.
    pub queues: u32,
    /// Why the port is closed, or what is wrong with it, and what to do; empty where all is well.
    pub trouble: String,
    /// Times that something another hand had changed of the port was put right.
    pub repairs: u64,
    /// Losses and returns of the link since the start.
    #[serde(default)]
    pub carrier_changes: u64,
    /// Frames and octets.
    #[serde(flatten)]
    pub traffic: Traffic,
    /// Frames dropped before a VIF was known, by reason; only reasons that happened.
    pub drops: Named,
    /// The kernel's statistics.
    pub kernel: KernelStatistics,
    /// The XDP program's counters.
    pub xdp: XdpCounters,
}

impl PortRow {
    /// Frames that the kernel could not hand over.
    pub fn missed(&self) -> u64 {
        self.kernel.rx_dropped + self.kernel.rx_ring_full + self.xdp.no_socket
    }
}

/// A word of the configuration file, as JSON has it.
pub fn word(value: impl Serialize) -> String {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::String(word)) => word,
        _ => "-".to_owned(),
    }
}

/// `show vifs`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct VifRow {
    /// The operator's name for it.
    pub name: String,
    /// Whose it is.
    #[serde(flatten)]
    pub labels: Labels,
    /// Name of its port.
    pub port: String,
    /// `100` or `100.200`.
    pub vlan: String,
    /// The outer tag is 802.1ad.
    pub service_tag: bool,
    /// The product; `null` on core ports.
    pub kind: Option<VifKind>,
    /// Name of its VRF.
    pub vrf: String,
    /// Longest IP packet, in octets.
    pub mtu: u16,
    /// `up`, `down` (by the operator: it or its port) or `port-down`.
    pub state: String,
    /// The router's addresses with their subnets, link-local ones included.
    pub addresses: Vec<IpNet>,
    /// The check of source addresses.
    pub source_check: SourceCheck,
    /// Its packets may go to other stations, and theirs come to it.
    #[serde(default)]
    pub join_stations: bool,
    /// Frames and octets.
    #[serde(flatten)]
    pub traffic: Traffic,
    /// Empty; `draining` or `quiet` where it, its port or the station is drained, as `show drains` has it.
    #[serde(default)]
    pub drain: String,
    /// Frames that entered here and were forwarded.
    pub forwarded: u64,
    /// Frames that entered here and went to the slow path.
    pub punted: u64,
    /// Frames that entered here and were dropped.
    pub dropped: u64,
}

/// `show vrfs`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct VrfRow {
    /// The operator's name for it.
    pub name: String,
    /// Whose it is.
    #[serde(flatten)]
    pub labels: Labels,
    /// What it is for.
    pub kind: VrfKind,
    /// VIFs in it.
    pub vifs: u64,
    /// IPv4 routes, connected ones included.
    pub ipv4_routes: u64,
    /// IPv6 routes, connected ones included.
    pub ipv6_routes: u64,
}

/// A member of a route's next-hop group.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Member {
    /// Name of the egress VIF.
    pub vif: String,
    /// The neighbor; `null` where the destination itself is the neighbor.
    pub next_hop: Option<IpAddr>,
    /// Its MAC, once known.
    pub mac: Option<String>,
    /// `reachable`, `drained` (used where there is no other way), `unresolved`, `silent` (BFD or BGP says that it is not reached), or `down` (its VIF
    /// or port is down).
    pub state: String,
    /// Its share; 0 for a backup.
    pub weight: u16,
    /// It carries traffic only while no other member can.
    #[serde(default)]
    pub backup: bool,
}

/// `show routes`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RouteRow {
    /// Name of the VRF.
    pub vrf: String,
    /// The destination.
    pub prefix: IpNet,
    /// `connected`, `local`, `neighbor`, `static`, `list` or `bgp`.
    pub origin: String,
    /// `forward`, `local`, `broadcast`, `blackhole`, `unreachable` or `prohibit`.
    pub action: String,
    /// Where packets go.
    pub via: Vec<Member>,
}

/// `show neighbors`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NeighborRow {
    /// Name of the VIF.
    pub vif: String,
    /// Name of its VRF.
    pub vrf: String,
    /// The neighbor.
    pub address: IpAddr,
    /// Its MAC, once known.
    pub mac: Option<String>,
    /// `reachable`, `static`, `unresolved` or `failed`.
    pub state: String,
    /// Seconds since the state last changed or was confirmed.
    pub age_s: u64,
}

/// `version`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct VersionInfo {
    /// The station's name.
    pub station: String,
    /// Version of `stationd`.
    pub version: String,
    /// Version of the protocol.
    pub protocol: u64,
    /// Seconds since it started.
    pub uptime_s: u64,
    /// Counts what was published to the workers, link events included.
    pub generation: u64,
    /// Number of the committed configuration; 0 where there is no history.
    #[serde(default)]
    pub configuration: u64,
    /// The configuration file.
    pub config: String,
    /// The network namespace of the TAPs and of BIRD, as `ip netns` names it.
    pub namespace: String,
    /// Lines of the log that were lost because standard error did not take them in time.
    pub log_lines_lost: u64,
    /// The longest that the control thread did one thing since the start, while links waited:
    /// microseconds.
    #[serde(default)]
    pub longest_hold_us: u64,
    /// What that was.
    #[serde(default)]
    pub longest_hold: String,
    /// How the stream of events stands.
    #[serde(default)]
    pub events: EventsInfo,
}

macro_rules! sum {
    ($(#[$doc:meta])* $name:ident { $($variant:ident($row:ty)),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Debug, Serialize)]
        #[serde(untagged)]
        #[allow(missing_docs)] // the rows say it
        pub enum $name { $($variant($row)),+ }

        $(impl From<$row> for $name {
            fn from(row: $row) -> Self {
                $name::$variant(row)
            }
        })+
    };
}

sum! {
    /// A row of any kind.
    Row {
        Port(PortRow), Vif(VifRow), Vrf(VrfRow), Route(RouteRow), Neighbor(NeighborRow), Counter(CounterRow), Worker(WorkerRow), Consistency(ConsistencyRow), Outage(OutageRow), Sla(SlaRow), Bgp(BgpRow), BgpRoute(BgpRouteRow), Drop(DropRow),
        History(HistoryRow), Capture(CaptureRow), Rate(RateRow), Event(Record), Explain(Box<ExplainRow>), Ping(PingRow), PortDetail(Box<PortDetailRow>), Drain(DrainRow), Drill(Box<DrillRow>), Billing(BillingRow), BillingBin(BillingBinRow), Bandwidth(BandwidthRow), Qos(Box<QosRow>), AddressLimit(AddressLimitRow),
        Acl(Box<AclRow>), Translation(TranslationRow), FlowLog(FlowLogRow), Latency(LatencyRow), Talker(Box<TalkerRow>), Target(TargetRow), ProbeHistory(Box<ProbeHistoryRow>), Collector(CollectorRow), Tunnel(TunnelRow), Exchange(ExchangeRow), Reachability(ReachabilityRow), Station(StationRow), Rpki(RpkiRow), Mirror(Box<MirrorRow>), MappingSource(SourceRow), Mapping(MappingRow), MappingAnswer(MappingAnswer),
    }
}

sum! {
    /// A result of any kind.
    Outcome {
        Lookup(LookupResult), Version(VersionInfo), Change(ChangeResult), Text(ConfigText),
    }
}
