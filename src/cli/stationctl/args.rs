//! The command line.

use std::net::IpAddr;
use std::path::PathBuf;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Parser, Subcommand};
use clap_complete::Shell;

use super::address_limits::AddressLimitCommand;
use super::bandwidth::MeterGroup;
use super::bgp::Bgp;
use super::billing::BillingArgs;
use super::capture::CaptureArgs;
use super::config::Config;
use super::drain::{DrainArgs, UndrainArgs};
use super::drill::Drill;
use super::edits::{Edit, Route, TermsArgs, Vif, Vrf, Yes};
use super::events::EventArgs;
use super::exchanges::Exchange;
use super::explain::ExplainArgs;
use super::json_help::JSON_HELP;
use super::mirror::MirrorCommand;
use super::ping::{PingArgs, TraceArgs};
use super::ports::Port;
use super::report::ReportArgs;
use super::show::Show;
use super::table::Look;
use super::top::TopArgs;
use super::tunnels::Vtep;
use crate::admin::protocol::{LookupRequest, Request, Terms};

/// The admin socket of a station that names no other.
pub(super) const SOCKET: &str = "/run/station/stationd.sock";

/// Shows and changes what a running station does
#[derive(Parser, Debug)]
#[command(name = "stationctl", version, after_long_help = JSON_HELP)]
pub(super) struct Args {
    /// The station's admin socket
    #[arg(long, global = true, value_name = "PATH", env = "STATION_SOCKET", default_value = SOCKET)]
    pub(super) socket: PathBuf,
    /// Print JSON instead of tables: numbers are exact, names are stable
    #[arg(long, global = true)]
    pub(super) json: bool,
    #[command(subcommand)]
    pub(super) command: Command,
}

impl Args {
    /// The customer whose rows are wanted alone.
    pub(super) fn customer(&self) -> Option<&str> {
        match &self.command {
            Command::Station(StationCommand::Show { customer, .. }) => customer.as_deref(),
            _ => None,
        }
    }

    /// The port and the state whose rows are wanted alone.
    pub(super) fn port_and_state(&self) -> (Option<&str>, Option<&str>) {
        let Command::Station(StationCommand::Show { what, .. }) = &self.command else {
            return (None, None);
        };
        let (port, state) = what.of_and_state();
        (
            port.and_then(|of| of.port.as_deref()),
            state.and_then(|in_state| in_state.state.as_deref()),
        )
    }

    /// How tables look.
    pub(super) fn look(&self) -> &Look {
        static PLAIN: Look = Look { wide: false, sort: None };
        match &self.command {
            Command::Station(
                StationCommand::Show { look, .. }
                | StationCommand::Config(Config::History { look })
                | StationCommand::Drill(Drill::History { look })
                | StationCommand::Billing(BillingArgs { look, .. }),
            ) => look,
            _ => &PLAIN,
        }
    }
}

#[derive(Subcommand, Debug)]
pub(super) enum Command {
    #[command(flatten)]
    Station(StationCommand),
    Top(TopArgs),
    Report(ReportArgs),
    /// Print a script that completes commands in a shell
    ///
    /// It completes commands, and the names that the running station has for VIFs, VRFs, ports and customers.
    /// The Debian package installs those for bash, zsh and fish.
    Completions {
        /// The shell
        shell: Shell,
    },
}

/// What the station is asked.
#[derive(Subcommand, Debug)]
pub(super) enum StationCommand {
    /// Show what the station has and does
    Show {
        /// Only what is of this customer, as `customer` of a port, VRF or VIF names it
        #[arg(long, global = true, value_name = "NAME")]
        customer: Option<String>,
        #[command(flatten)]
        look: Look,
        #[command(subcommand)]
        what: Show,
    },
    /// Add or delete a static route
    Route(Edit<Route>),
    /// Add or delete a VIF, set it up or down, or change its fields
    Vif(Edit<Vif>),
    /// Add or delete a VRF, or change its fields
    Vrf(Edit<Vrf>),
    /// Add or delete a VTEP, or change its fields
    Vtep(Edit<Vtep>),
    /// Add or delete an exchange between VRFs, or change its fields
    Exchange(Edit<Exchange>),
    /// Set a port up or down, or change its fields
    Port(Edit<Port>),
    /// Add or delete a meter group, or change its fields
    MeterGroup(Edit<MeterGroup>),
    /// Add or delete a limit of addresses, or change its fields
    AddressLimit(Edit<AddressLimitCommand>),
    /// The history of configurations: look, compare, apply, go back
    #[command(subcommand)]
    Config(Config),
    /// Add, change or delete BGP sessions, or start them anew
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
    Explain(ExplainArgs),
    Ping(PingArgs),
    Traceroute(TraceArgs),
    Capture(CaptureArgs),
    Events(EventArgs),
    Billing(BillingArgs),
    Drain(DrainArgs),
    Undrain(UndrainArgs),
    #[command(subcommand)]
    Drill(Drill),
    #[command(subcommand)]
    Mirror(MirrorCommand),
    /// Set counters to zero
    #[command(subcommand)]
    Clear(Clear),
    /// Apply the configuration file: all of it, or nothing where it has an error
    Reload {
        /// Only show what would change
        #[arg(long)]
        dry_run: bool,
        #[command(flatten)]
        terms: TermsArgs,
    },
    /// End the station: packets stop until the next start, and peers are told
    Stop {
        /// Tell no peer: BIRD, its sessions and routes are left running for the next start, which takes them
        /// over. For restarts and upgrades: no session is lost as long as the next start comes within BFD's and
        /// BGP's patience (graceful restart)
        #[arg(long)]
        keep_sessions: bool,
        #[command(flatten)]
        yes: Yes,
    },
    /// Show versions, uptime and the configuration's number
    ///
    /// Also the network namespace of TAPs and BIRD, and lines of the log that were lost; with --json how the
    /// stream of events stands, and how long the control thread did one thing at most.
    Version,
}

#[derive(Subcommand, Debug)]
pub(super) enum Clear {
    /// All counters of ports, VIFs and workers
    ///
    /// It forgets the last drops, too.
    Counters,
}

/// A parser of a few words.
pub(super) fn words<T: Copy + Send + Sync + 'static>(
    words: &'static [(&'static str, T)],
) -> impl TypedValueParser<Value = T> {
    PossibleValuesParser::new(words.iter().map(|(word, _)| *word)).try_map(move |given| {
        words.iter().find(|(word, _)| *word == given).map(|(_, value)| *value).ok_or("is unknown")
    })
}

impl StationCommand {
    /// What goes to the station.
    pub(super) fn request(&self) -> Request {
        match self {
            StationCommand::Show { what, .. } => what.request(),
            StationCommand::Route(edit) => edit.command.request(),
            StationCommand::Config(config) => config.request(),
            StationCommand::Vif(edit) => edit.command.request(),
            StationCommand::Vrf(edit) => edit.command.request(),
            StationCommand::Vtep(edit) => edit.command.request(),
            StationCommand::Exchange(edit) => edit.command.request(),
            StationCommand::MeterGroup(edit) => edit.command.request(),
            StationCommand::AddressLimit(edit) => edit.command.request(),
            StationCommand::Port(edit) => edit.command.request(),
            StationCommand::Bgp(bgp) => bgp.request(),
            StationCommand::Lookup { vif, vrf, address } => Request::Lookup(LookupRequest {
                vif: vif.clone(),
                vrf: vrf.clone(),
                address: *address,
            }),
            StationCommand::Explain(explain) => explain.request(),
            StationCommand::Ping(ping) => ping.request(),
            StationCommand::Traceroute(trace) => trace.request(),
            StationCommand::Capture(capture) => capture.request(),
            StationCommand::Events(events) => events.request(),
            StationCommand::Billing(billing) => billing.request(),
            StationCommand::Drain(drain) => drain.request(),
            StationCommand::Undrain(undrain) => undrain.request(),
            StationCommand::Drill(drill) => drill.request(),
            StationCommand::Mirror(mirror) => mirror.request(),
            StationCommand::Clear(Clear::Counters) => Request::ClearCounters,
            StationCommand::Reload { dry_run, .. } => Request::Reload { dry_run: *dry_run },
            StationCommand::Stop { keep_sessions, .. } => {
                Request::Stop { keep_sessions: *keep_sessions }
            }
            StationCommand::Version => Request::Version,
        }
    }
}

impl StationCommand {
    /// What goes with it.
    pub(super) fn terms(&self) -> Terms {
        match self {
            StationCommand::Route(edit) => edit.terms.terms(),
            StationCommand::Vif(edit) => edit.terms.terms(),
            StationCommand::Vrf(edit) => edit.terms.terms(),
            StationCommand::Vtep(edit) => edit.terms.terms(),
            StationCommand::Exchange(edit) => edit.terms.terms(),
            StationCommand::MeterGroup(edit) => edit.terms.terms(),
            StationCommand::AddressLimit(edit) => edit.terms.terms(),
            StationCommand::Port(edit) => edit.terms.terms(),
            StationCommand::Config(config) => config.terms(),
            StationCommand::Reload { terms, .. } => terms.terms(),
            StationCommand::Stop { yes, .. } => yes.terms(),
            StationCommand::Bgp(bgp) => bgp.terms(),
            StationCommand::Undrain(undrain) => undrain.terms(),
            StationCommand::Drill(drill) => drill.terms(),
            StationCommand::Mirror(mirror) => mirror.terms(),
            _ => Terms::default(),
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
}
