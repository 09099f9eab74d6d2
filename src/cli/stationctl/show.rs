//! `stationctl show`: what there is to see.

use clap::Subcommand;
use ipnet::IpNet;

use super::acls::AclArgs;
use super::address_limits::AddressLimitArgs;
use super::args::words;
use super::drops::DropArgs;
use super::failover::OutageArgs;
use super::filter::{InState, OfPort};
use super::mappings::MappingArgs;
use super::port_details::PortArgs;
use super::probe_history::ProbeHistoryArgs;
use super::rates::RateArgs;
use super::reachability::ReachabilityArgs;
use super::talkers::TalkerArgs;
use crate::admin::protocol::{
    BgpDirection, CounterFilter, Family, RateScope, Request, RouteFilter,
};

#[derive(Subcommand, Debug)]
pub(super) enum Show {
    /// NICs: link, XDP mode, traffic and drops
    ///
    /// And the trouble of a port that is closed, with the command that helps. Rates as `show vifs` has them.
    Ports(PortArgs),
    /// VIFs: where they are, their state and traffic
    ///
    /// Rates: how much passes a second in each direction, over 1, 10 and 60 seconds. Bits are those of the
    /// octets as they are counted: from the destination MAC to the end of the payload, tags included, without
    /// FCS. What a NIC adds to frames shorter than 60 octets is not counted. The counters are read once a
    /// second, beside the packet path, and kept for a minute. OVER is the true time between two readings, by
    /// which the numbers are divided: shorter than the window where the station or the VIF is young, longer
    /// where the station stood still. A VIF that is new has no rate for its first second or two; `clear
    /// counters` changes none.
    Vifs(RateArgs),
    /// What ports, meter groups and VIFs may receive and send, and what passes
    ///
    /// rx is what the station receives there, tx what it sends. Rates are over the last 10 seconds, of octets as the limits
    /// count them (station-bandwidth(7)): OFFERED is PASSED and EXCEEDED together, and PEAK the most that was
    /// offered in a second of the last minute. A VIF without a RATE of its own is limited by its meter group or its
    /// port.
    Bandwidth {
        #[command(flatten)]
        of: OfPort,
    },
    AddressLimits(AddressLimitArgs),
    /// Classes of what leaves by VIFs: what they take and give, what passed, waited and was dropped (station-qos(7))
    ///
    /// A VIF's classes are in the order in which they are served. SENT are those that left or wait to, WAITED those of them
    /// that waited. POLICED exceeded the class's RATE; QUEUE FULL are frames for which there was no room. PEAK is the
    /// most that ever waited at once in one worker.
    Qos {
        #[command(flatten)]
        of: OfPort,
    },
    /// VRFs and how many routes they have
    Vrfs,
    Acl(AclArgs),
    /// The routes of a VRF
    Routes {
        /// Name of the VRF
        #[arg(long, value_name = "NAME")]
        vrf: String,
        /// IPv4 only
        #[arg(short = '4', long, conflicts_with = "ipv6")]
        ipv4: bool,
        /// IPv6 only
        #[arg(short = '6', long)]
        ipv6: bool,
        /// Only this prefix and those within it
        prefix: Option<IpNet>,
    },
    /// Next hops and their MACs
    Neighbors {
        #[command(flatten)]
        of: OfPort,
        #[command(flatten)]
        state: InState,
    },
    /// Translations: addresses behind VIFs, and what they are in the VRF (station-translation(7))
    Translations {
        #[command(flatten)]
        of: OfPort,
    },
    /// Targets that VIFs ask whether they are there: state, loss, round trips (station-probe(7))
    Probes {
        #[command(flatten)]
        of: OfPort,
        #[command(flatten)]
        state: InState,
    },
    ProbeHistory(ProbeHistoryArgs),
    /// What is logged of VIFs' flows (station-flow-log(7))
    FlowLog {
        #[command(flatten)]
        of: OfPort,
    },
    Talkers(TalkerArgs),
    /// How long frames are in the station, by the port and the VIF by which they come (station-latency(7))
    ///
    /// From the XDP program's look at a frame to its place on a transmit ring. OVER is the last minute or two, and all time
    /// since frames are timed. VIFs without a sample have no row.
    Latency {
        #[command(flatten)]
        of: OfPort,
    },
    /// Collectors and files that flows are told to: what they were sent, and what was lost
    Collectors {
        #[command(flatten)]
        state: InState,
    },
    /// Tunnels: who is at the other end, and whether the underlay leads there
    Tunnels {
        #[command(flatten)]
        of: OfPort,
        #[command(flatten)]
        state: InState,
    },
    Mappings(MappingArgs),
    /// Other stations that tunnels lead to, and what came and went
    Stations {
        #[command(flatten)]
        state: InState,
    },
    /// Caches that say which AS may announce which prefix: state, and how many prefixes each vouches for
    Rpki {
        #[command(flatten)]
        state: InState,
    },
    /// Exchanges between VRFs, and what has passed by each
    Exchanges,
    Reachability(ReachabilityArgs),
    /// Counters by name, what they mean, and whether every frame is accounted for
    Counters {
        /// Only those of this VIF
        #[arg(long, value_name = "NAME", conflicts_with = "port")]
        vif: Option<String>,
        /// Only those of this port
        #[arg(long, value_name = "NAME")]
        port: Option<String>,
        /// Those that are zero too
        #[arg(long)]
        all: bool,
    },
    Drops(DropArgs),
    /// Packet threads: how busy they are
    Workers,
    /// Whether the FIB is what the routing daemon gave the kernel, and what had to be put right
    Consistency,
    /// When VIFs were out, why, and what was lost
    ///
    /// In a period: all outages that lie in it at least in part.
    Outages(OutageArgs),
    /// How available VIFs were
    ///
    /// In a period: of an outage counts what lies in it. It begins when the VIF was first seen at the earliest,
    /// and ends now at the latest. A time in which the daemon was stopped or had no CPU is an outage of all
    /// VIFs, with the cause `stall`.
    Sla {
        #[command(flatten)]
        outages: OutageArgs,
        #[command(flatten)]
        state: InState,
    },
    /// VIFs, ports or the station that are drained, and what still passes there
    ///
    /// Frames a second of others' traffic, over the last 3 seconds. `quiet` is safe to unplug.
    Drains {
        #[command(flatten)]
        state: InState,
    },
    /// Failover drills that run
    ///
    /// `drill history` has those that are over, too.
    Drills,
    /// Mirrors: whose frames are copied, where to, and how many copies there was no room for
    Mirrors,
    /// BGP sessions: state, last error, and how many prefixes are accepted, rejected, advertised
    ///
    /// An answer about several VIFs lists at most some 20,000 rejected prefixes: those of the sessions with
    /// most are `not_counted`, and `show bgp VIF` says their causes.
    Bgp {
        /// Only those of this VIF
        vif: Option<String>,
        /// `routes`: the routes instead, each with its attributes and, where it was rejected or is withheld, why
        #[arg(value_parser = ["routes"], requires = "direction", value_name = "routes")]
        what: Option<String>,
        /// From or to the VIF's peers; or withheld from them, though the VRF has these routes
        #[arg(value_parser = words(&[
            ("received", BgpDirection::Received), ("advertised", BgpDirection::Advertised),
            ("withheld", BgpDirection::Withheld),
        ]))]
        direction: Option<BgpDirection>,
        #[command(flatten)]
        of: OfPort,
        #[command(flatten)]
        state: InState,
    },
}

impl Show {
    /// The arguments by which rows are wanted alone.
    pub(super) fn of_and_state(&self) -> (Option<&OfPort>, Option<&InState>) {
        match self {
            Show::Ports(PortArgs { rate: RateArgs { of, state, .. }, .. })
            | Show::Vifs(RateArgs { of, state, .. }) => (Some(of), Some(state)),
            Show::Bandwidth { of }
            | Show::Qos { of }
            | Show::FlowLog { of }
            | Show::Latency { of } => (Some(of), None),
            Show::Drains { state }
            | Show::Stations { state }
            | Show::Rpki { state }
            | Show::Collectors { state } => (None, Some(state)),
            Show::Neighbors { of, state }
            | Show::Tunnels { of, state }
            | Show::Probes { of, state }
            | Show::Bgp { of, state, .. } => (Some(of), Some(state)),
            Show::Outages(OutageArgs { of, .. }) | Show::Translations { of } => (Some(of), None),
            Show::Sla { outages: OutageArgs { of, .. }, state } => (Some(of), Some(state)),
            _ => (None, None),
        }
    }

    /// What goes to the station.
    pub(super) fn request(&self) -> Request {
        match self {
            Show::Ports(args) => args.request(),
            Show::Vifs(rate) => rate.or(Request::ShowVifs, RateScope::Vifs),
            Show::Bandwidth { .. } => Request::ShowBandwidth,
            Show::AddressLimits(limit) => limit.request(),
            Show::Qos { .. } => Request::ShowQos,
            Show::Vrfs => Request::ShowVrfs,
            Show::Acl(acl) => acl.request(),
            Show::Routes { vrf, ipv4, ipv6, prefix } => Request::ShowRoutes(RouteFilter {
                vrf: vrf.clone(),
                family: ipv4.then_some(Family::Ipv4).or(ipv6.then_some(Family::Ipv6)),
                prefix: *prefix,
            }),
            Show::Neighbors { .. } => Request::ShowNeighbors,
            Show::Translations { .. } => Request::ShowTranslations,
            Show::FlowLog { .. } => Request::ShowFlowLog,
            Show::Probes { .. } => Request::ShowProbes,
            Show::Talkers(of) => of.request(),
            Show::Latency { .. } => Request::ShowLatency,
            Show::ProbeHistory(of) => of.request(),
            Show::Collectors { .. } => Request::ShowCollectors,
            Show::Tunnels { .. } => Request::ShowTunnels,
            Show::Mappings(of) => of.request(),
            Show::Stations { .. } => Request::ShowStations,
            Show::Rpki { .. } => Request::ShowRpki,
            Show::Exchanges => Request::ShowExchanges,
            Show::Reachability(of) => of.request(),
            Show::Counters { vif, port, all } => Request::ShowCounters(CounterFilter {
                vif: vif.clone(),
                port: port.clone(),
                all: *all,
            }),
            Show::Drops(of) => of.request(),
            Show::Workers => Request::ShowWorkers,
            Show::Consistency => Request::ShowConsistency,
            Show::Outages(of) => Request::ShowOutages(of.period()),
            Show::Drains { .. } => Request::ShowDrains,
            Show::Mirrors => Request::ShowMirrors,
            Show::Drills => Request::ShowDrills { over: false },
            Show::Sla { outages, .. } => Request::ShowSla(outages.period()),
            Show::Bgp { vif: Some(vif), direction: Some(direction), .. } => {
                Request::ShowBgpRoutes { vif: vif.clone(), direction: *direction }
            }
            Show::Bgp { vif, .. } => Request::ShowBgp { vif: vif.clone() },
        }
    }
}
