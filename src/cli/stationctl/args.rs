//! The command line.

use std::net::IpAddr;
use std::path::PathBuf;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Args as ClapArgs, Parser, Subcommand};
use clap_complete::Shell;
use ipnet::IpNet;

use super::bgp::Bgp;
use super::drops::DropArgs;
use super::failover::PeriodArgs;
use super::json_help::JSON_HELP;
use crate::admin::protocol::{
    Action, BgpDirection, CounterFilter, Family, LookupRequest, Request, RouteAdd, RouteDel,
    RouteFilter, Via, VifAdd, VifName,
};
use crate::tables::{SourceCheck, VifKind};

/// Shows and changes what a running station does
#[derive(Parser, Debug)]
#[command(name = "stationctl", version, after_long_help = JSON_HELP)]
pub(super) struct Args {
    /// The station's admin socket
    #[arg(long, global = true, value_name = "PATH", default_value = "/run/station/stationd.sock")]
    pub(super) socket: PathBuf,
    /// Print JSON instead of tables: numbers are exact, names are stable
    #[arg(long, global = true)]
    pub(super) json: bool,
    #[command(subcommand)]
    pub(super) command: Command,
}

#[derive(Subcommand, Debug)]
pub(super) enum Command {
    #[command(flatten)]
    Station(StationCommand),
    /// Print a script that completes commands in a shell
    Completions {
        /// The shell
        shell: Shell,
    },
}

/// What the station is asked.
#[derive(Subcommand, Debug)]
pub(super) enum StationCommand {
    /// Show what the station has and does
    #[command(subcommand)]
    Show(Show),
    /// Add or delete a static route
    #[command(subcommand)]
    Route(Route),
    /// Add or delete a VIF, or set it up or down
    #[command(subcommand)]
    Vif(Vif),
    /// Start BGP sessions anew
    #[command(subcommand)]
    Bgp(Bgp),
    /// Show what a packet to an address would meet
    #[command(group = clap::ArgGroup::new("where").required(true).args(["vif", "vrf"]))]
    Lookup {
        /// The packet enters by this VIF
        #[arg(long, value_name = "NAME")]
        vif: Option<String>,
        /// The packet is looked up in this VRF
        #[arg(long, value_name = "NAME")]
        vrf: Option<String>,
        /// The packet's destination
        address: IpAddr,
    },
    /// Set counters to zero
    #[command(subcommand)]
    Clear(Clear),
    /// Apply the configuration file: all of it, or nothing where it has an error
    Reload {
        /// Only show what would change
        #[arg(long)]
        dry_run: bool,
    },
    /// End the station: packets stop until the next start, and peers are told
    Stop {
        /// Tell no peer: BIRD, its sessions and routes are left running for the next start, which takes them
        /// over. For restarts and upgrades: no session is lost as long as the next start comes within BFD's and
        /// BGP's patience (graceful restart)
        #[arg(long)]
        keep_sessions: bool,
    },
    /// Show versions, uptime and the configuration's generation
    Version,
}

#[derive(Subcommand, Debug)]
pub(super) enum Show {
    /// NICs: link, XDP mode, traffic and drops
    Ports,
    /// VIFs: where they are, their state and traffic
    Vifs,
    /// VRFs and how many routes they have
    Vrfs,
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
    Neighbors,
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
    /// What was dropped, why, what to do about it, and the last frames of each reason
    Drops(DropArgs),
    /// Packet threads: how busy they are
    Workers,
    /// Whether the FIB is what the routing daemon gave the kernel, and what had to be put right
    Consistency,
    /// When VIFs were out, why, and what was lost
    Outages(PeriodArgs),
    /// How available VIFs were
    Sla(PeriodArgs),
    /// BGP sessions: state, last error, and how many prefixes are accepted, rejected, advertised
    Bgp {
        /// Only those of this VIF
        vif: Option<String>,
        /// `routes`: the routes instead, each with its attributes and, where it was rejected, why
        #[arg(value_parser = ["routes"], requires = "direction", value_name = "routes")]
        what: Option<String>,
        /// From or to the VIF's peers
        #[arg(value_parser = words(&[
            ("received", BgpDirection::Received), ("advertised", BgpDirection::Advertised),
        ]))]
        direction: Option<BgpDirection>,
    },
}

#[derive(Subcommand, Debug)]
pub(super) enum Route {
    /// Add a route, at once and in the configuration file
    #[command(group = clap::ArgGroup::new("what").required(true).args(["via", "action"]))]
    Add {
        /// Name of the VRF
        #[arg(long, value_name = "NAME")]
        vrf: String,
        /// The destination
        prefix: IpNet,
        /// A next hop; several share the traffic by weight (1-64). Link-local ones need their VIF
        #[arg(long, value_name = "ADDRESS[%VIF][,WEIGHT]", value_parser = via)]
        via: Vec<Via>,
        /// What to do instead of forwarding
        #[arg(long, value_parser = words(&[
            ("blackhole", Action::Blackhole), ("unreachable", Action::Unreachable),
            ("prohibit", Action::Prohibit),
        ]))]
        action: Option<Action>,
    },
    /// Delete a route, at once and in the configuration file
    Del {
        /// Name of the VRF
        #[arg(long, value_name = "NAME")]
        vrf: String,
        /// The destination
        prefix: IpNet,
    },
}

#[derive(Subcommand, Debug)]
pub(super) enum Vif {
    /// Add a VIF, at once and in the configuration file
    Add(NewVif),
    /// Delete a VIF that no route or neighbor uses
    Del {
        /// Its name
        name: String,
    },
    /// Set a VIF up
    Up {
        /// Its name
        name: String,
    },
    /// Set a VIF down: its frames are dropped and counted
    Down {
        /// Its name
        name: String,
    },
}

#[derive(ClapArgs, Debug)]
pub(super) struct NewVif {
    /// Its name
    name: String,
    /// Name of its port
    #[arg(long, value_name = "NAME")]
    port: String,
    /// Its VLAN id, or OUTER.INNER
    #[arg(long)]
    vlan: String,
    /// The outer tag is 802.1ad (0x88a8)
    #[arg(long)]
    service_tag: bool,
    /// The product; needed on customer ports
    #[arg(long, value_parser = words(&[
        ("private", VifKind::Private), ("public", VifKind::Public), ("transit", VifKind::Transit),
    ]))]
    kind: Option<VifKind>,
    /// Name of its VRF
    #[arg(long, value_name = "NAME")]
    vrf: String,
    /// The router's address with its prefix length, like 169.254.0.1/30; may be repeated
    #[arg(long = "address", value_name = "ADDRESS/LENGTH", required = true)]
    addresses: Vec<IpNet>,
    /// Longest IP packet, in octets
    #[arg(long)]
    mtu: Option<u16>,
    /// The check of source addresses
    #[arg(long, value_parser = words(&[
        ("strict", SourceCheck::Strict), ("loose", SourceCheck::Loose), ("off", SourceCheck::Off),
    ]))]
    source_check: Option<SourceCheck>,
    /// A fixed 802.1p priority for what leaves
    #[arg(long, value_parser = clap::value_parser!(u8).range(0..=7))]
    pcp: Option<u8>,
    /// Leave it down
    #[arg(long)]
    down: bool,
}

#[derive(Subcommand, Debug)]
pub(super) enum Clear {
    /// All counters of ports, VIFs and workers
    Counters,
}

/// A parser of a few words.
fn words<T: Copy + Send + Sync + 'static>(
    words: &'static [(&'static str, T)],
) -> impl TypedValueParser<Value = T> {
    PossibleValuesParser::new(words.iter().map(|(word, _)| *word)).try_map(move |given| {
        words.iter().find(|(word, _)| *word == given).map(|(_, value)| *value).ok_or("is unknown")
    })
}

/// A next hop: `10.0.0.2`, `10.0.0.2,3` or `fe80::2%vif,3`.
fn via(text: &str) -> Result<Via, String> {
    let (rest, weight) = match text.split_once(',') {
        Some((rest, weight)) => {
            (rest, Some(weight.parse().map_err(|_| "the weight is no number")?))
        }
        None => (text, None),
    };
    let (address, vif) = match rest.split_once('%') {
        Some((address, vif)) => (address, Some(vif.to_owned())),
        None => (rest, None),
    };
    let address = address.parse().map_err(|_| format!("{address:?} is not an address"))?;
    Ok(Via { address, vif, weight })
}

impl StationCommand {
    /// What goes to the station.
    pub(super) fn request(&self) -> Request {
        match self {
            StationCommand::Show(show) => show.request(),
            StationCommand::Route(route) => route.request(),
            StationCommand::Vif(vif) => vif.request(),
            StationCommand::Bgp(bgp) => bgp.request(),
            StationCommand::Lookup { vif, vrf, address } => Request::Lookup(LookupRequest {
                vif: vif.clone(),
                vrf: vrf.clone(),
                address: *address,
            }),
            StationCommand::Clear(Clear::Counters) => Request::ClearCounters,
            StationCommand::Reload { dry_run } => Request::Reload { dry_run: *dry_run },
            StationCommand::Stop { keep_sessions } => {
                Request::Stop { keep_sessions: *keep_sessions }
            }
            StationCommand::Version => Request::Version,
        }
    }
}

impl Show {
    fn request(&self) -> Request {
        match self {
            Show::Ports => Request::ShowPorts,
            Show::Vifs => Request::ShowVifs,
            Show::Vrfs => Request::ShowVrfs,
            Show::Routes { vrf, ipv4, ipv6, prefix } => Request::ShowRoutes(RouteFilter {
                vrf: vrf.clone(),
                family: match (ipv4, ipv6) {
                    (true, _) => Some(Family::Ipv4),
                    (_, true) => Some(Family::Ipv6),
                    _ => None,
                },
                prefix: *prefix,
            }),
            Show::Neighbors => Request::ShowNeighbors,
            Show::Counters { vif, port, all } => Request::ShowCounters(CounterFilter {
                vif: vif.clone(),
                port: port.clone(),
                all: *all,
            }),
            Show::Drops(of) => of.request(),
            Show::Workers => Request::ShowWorkers,
            Show::Consistency => Request::ShowConsistency,
            Show::Outages(of) => Request::ShowOutages(of.period()),
            Show::Sla(of) => Request::ShowSla(of.period()),
            Show::Bgp { vif: Some(vif), direction: Some(direction), .. } => {
                Request::ShowBgpRoutes { vif: vif.clone(), direction: *direction }
            }
            Show::Bgp { vif, .. } => Request::ShowBgp { vif: vif.clone() },
        }
    }
}

impl Route {
    fn request(&self) -> Request {
        match self {
            Route::Add { vrf, prefix, via, action } => Request::RouteAdd(RouteAdd {
                vrf: vrf.clone(),
                prefix: *prefix,
                via: via.clone(),
                action: *action,
            }),
            Route::Del { vrf, prefix } => {
                Request::RouteDel(RouteDel { vrf: vrf.clone(), prefix: *prefix })
            }
        }
    }
}

impl Vif {
    fn request(&self) -> Request {
        let named = |name: &String| VifName { name: name.clone() };
        match self {
            Vif::Add(vif) => Request::VifAdd(VifAdd {
                name: vif.name.clone(),
                port: vif.port.clone(),
                vlan: vif.vlan.clone(),
                service_tag: vif.service_tag,
                kind: vif.kind,
                vrf: vif.vrf.clone(),
                addresses: vif.addresses.clone(),
                mtu: vif.mtu,
                source_check: vif.source_check,
                pcp: vif.pcp,
                down: vif.down,
            }),
            Vif::Del { name } => Request::VifDel(named(name)),
            Vif::Up { name } => Request::VifUp(named(name)),
            Vif::Down { name } => Request::VifDown(named(name)),
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Args::command().debug_assert();
    }

    #[test]
    fn a_next_hop_may_have_a_vif_and_a_weight() {
        let parsed = via("fe80::2%core,3").unwrap();
        assert_eq!(parsed.address.to_string(), "fe80::2");
        assert_eq!((parsed.vif.as_deref(), parsed.weight), (Some("core"), Some(3)));
        assert_eq!(via("10.0.0.2").unwrap().weight, None);
        for bad in ["", "10.0.0.2,", "10.0.0.2,x", "10.0.0.2,70000", "%a", "10.0.0.256"] {
            assert!(via(bad).is_err(), "{bad}");
        }
    }
}
