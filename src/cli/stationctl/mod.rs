//! `stationctl`: asks a running station over its admin socket and shows the answer, as tables for
//! people or as JSON for programs.

mod acls;
mod address_limits;
mod args;
mod bandwidth;
mod bgp;
mod billing;
mod capture;
mod complete;
mod config;
mod drain;
mod drill;
mod drops;
mod edits;
mod events;
mod exchanges;
mod explain;
mod failover;
mod filter;
mod flow_log;
mod json_help;
mod latency;
mod libpcap;
#[cfg(test)]
mod manual;
mod mappings;
mod mirror;
mod named;
mod output;
mod period;
mod ping;
mod port_details;
mod ports;
mod probe_history;
mod probes;
mod qos;
mod rates;
mod reachability;
mod report;
mod rpki;
mod show;
mod stations;
mod table;
mod tables;
mod talkers;
mod top;
mod translations;
mod tunnels;
mod units;

use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;

use clap::Parser;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::admin::client::{self, Client};
use crate::admin::protocol::{ErrorKind, Refusal, Request, Terms};
use crate::admin::rows::{
    AclRow, AddressLimitRow, BandwidthRow, BgpRouteRow, BgpRow, ChangeResult, CollectorRow,
    ConfigText, ConsistencyRow, CounterRow, DrainRow, DrillRow, DropRow, ExchangeRow, FlowLogRow,
    HistoryRow, LatencyRow, LookupResult, MappingRow, MirrorRow, NeighborRow, OutageRow,
    PortDetailRow, PortRow, ProbeHistoryRow, QosRow, RateRow, ReachabilityRow, RouteRow, RpkiRow,
    SlaRow, SourceRow, StationRow, TalkerRow, TargetRow, TranslationRow, TunnelRow, VersionInfo,
    VifRow, VrfRow, WorkerRow,
};
use args::{Args, Command, StationCommand};
use filter::Filter;
use output::Show;
use reachability::Whole;

/// Why nothing is shown.
enum Failure {
    /// There is no answer.
    Answer(client::Failure),
    /// What is to be sent cannot be read.
    Input(io::Error),
    /// The answer cannot be written.
    Output(io::Error),
    /// It is not asked.
    Usage(String),
    /// Packets still pass where it is drained.
    Flows(String),
    /// Nobody answers an echo request.
    NoReply(String),
}

impl From<client::Failure> for Failure {
    fn from(failure: client::Failure) -> Self {
        Failure::Answer(failure)
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            // A table has no such column to sort by.
            io::ErrorKind::InvalidInput => Failure::Usage(error.to_string()),
            _ => Failure::Output(error),
        }
    }
}

/// Runs the command line and gives the exit code: 0 done, 1 refused by the station, 2 wrong usage
/// (given by the argument parser), 3 the station cannot be reached, 4 drained and not quiet in time.
pub fn run() -> ExitCode {
    complete::answer_shell();
    let args = match Args::try_parse() {
        Ok(args) => args,
        Err(error) if error.use_stderr() && std::env::args_os().any(|word| word == "--json") => {
            return failed(true, 2, "usage", error.to_string().trim_end());
        }
        Err(error) => error.exit(),
    };
    let mut out = io::BufWriter::new(io::stdout().lock());
    let result = command(&args, &mut out).and_then(|()| Ok(out.flush()?));
    let (code, kind, message) = match result {
        Ok(()) => return ExitCode::SUCCESS,
        // The reader has seen enough.
        Err(Failure::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => {
            return ExitCode::SUCCESS;
        }
        Err(Failure::Input(error)) => (1, "input".to_owned(), error.to_string()),
        Err(Failure::Usage(message)) => (2, "usage".to_owned(), message),
        Err(Failure::Flows(message)) => (4, "not_quiet".to_owned(), message),
        Err(Failure::NoReply(message)) => (1, "no_reply".to_owned(), message),
        Err(Failure::Output(error)) => (1, "output".to_owned(), format!("cannot write: {error}")),
        Err(Failure::Answer(failure)) => match &failure {
            client::Failure::Refused(refusal) => (1, refusal.kind.name(), failure.to_string()),
            client::Failure::Unreachable(_) => (3, "unreachable".to_owned(), failure.to_string()),
            client::Failure::Absent(_) => {
                let message = format!("{failure} (--socket PATH names another)");
                (3, "unreachable".to_owned(), message)
            }
        },
    };
    failed(args.json, code, &kind, &message)
}

/// Says why nothing is shown, on standard error.
fn failed(json: bool, code: u8, kind: &str, message: &str) -> ExitCode {
    let text = match json {
        true => output::json_error(kind, message),
        false => format!("stationctl: {message}"),
    };
    // Without standard error there is only the code.
    let _ = writeln!(io::stderr(), "{text}");
    ExitCode::from(code)
}

fn command(args: &Args, out: &mut impl Write) -> Result<(), Failure> {
    let (request, terms) = match &args.command {
        Command::Completions { shell } => {
            return Ok(complete::script(*shell, out)?);
        }
        Command::Station(StationCommand::Capture(capture)) => return capture.run(args, out),
        Command::Station(StationCommand::Events(events)) => return events.run(args, out),
        Command::Station(StationCommand::Drain(drain)) => return drain.run(args, out),
        Command::Station(StationCommand::Billing(billing)) => return billing.run(args, out),
        Command::Station(StationCommand::Explain(explain)) => return explain.run(args, out),
        Command::Station(StationCommand::Ping(ping)) => return ping.run(args, out),
        Command::Station(StationCommand::Traceroute(trace)) => return trace.run(args, out),
        Command::Top(top) => return top.run(args),
        Command::Station(StationCommand::Mirror(mirror)) => (mirror.compiled()?, mirror.terms()),
        Command::Report(report) => return report.run(args, out),
        Command::Station(command) => (command.request(), command.terms()),
    };
    match &request {
        Request::ShowPorts => rows::<PortRow>(args, &request, out),
        Request::ShowPortDetails => rows::<PortDetailRow>(args, &request, out),
        Request::ShowVifs => rows::<VifRow>(args, &request, out),
        Request::ShowRates(_) => rows::<RateRow>(args, &request, out),
        Request::ShowBandwidth => rows::<BandwidthRow>(args, &request, out),
        Request::ShowAddressLimits(_) => rows::<AddressLimitRow>(args, &request, out),
        Request::ShowVrfs => rows::<VrfRow>(args, &request, out),
        Request::ShowAcl(_) => rows::<AclRow>(args, &request, out),
        Request::ShowRoutes(_) => rows::<RouteRow>(args, &request, out),
        Request::ShowNeighbors => rows::<NeighborRow>(args, &request, out),
        Request::ShowTranslations => rows::<TranslationRow>(args, &request, out),
        Request::ShowFlowLog => rows::<FlowLogRow>(args, &request, out),
        Request::ShowQos => rows::<QosRow>(args, &request, out),
        Request::ShowProbes => rows::<TargetRow>(args, &request, out),
        Request::ShowTalkers(_) => rows::<TalkerRow>(args, &request, out),
        Request::ShowLatency => rows::<LatencyRow>(args, &request, out),
        Request::ShowProbeHistory(_) => rows::<ProbeHistoryRow>(args, &request, out),
        Request::ShowCollectors => rows::<CollectorRow>(args, &request, out),
        Request::ShowTunnels => rows::<TunnelRow>(args, &request, out),
        Request::ShowMappings => rows::<SourceRow>(args, &request, out),
        Request::ShowVrfMappings(_) => rows::<MappingRow>(args, &request, out),
        Request::ShowStations => rows::<StationRow>(args, &request, out),
        Request::ShowRpki => rows::<RpkiRow>(args, &request, out),
        Request::ShowExchanges => rows::<ExchangeRow>(args, &request, out),
        Request::ShowReachability(of) if of.is_whole() => rows::<Whole>(args, &request, out),
        Request::ShowReachability(_) => rows::<ReachabilityRow>(args, &request, out),
        Request::ShowCounters(_) => rows::<CounterRow>(args, &request, out),
        Request::ShowDrops(_) => rows::<DropRow>(args, &request, out),
        Request::ShowWorkers => rows::<WorkerRow>(args, &request, out),
        Request::ShowBgp { .. } => rows::<BgpRow>(args, &request, out),
        Request::ShowBgpRoutes { .. } => rows::<BgpRouteRow>(args, &request, out),
        Request::ShowConsistency => rows::<ConsistencyRow>(args, &request, out),
        Request::ShowOutages(_) => rows::<OutageRow>(args, &request, out),
        Request::ShowDrains => rows::<DrainRow>(args, &request, out),
        Request::ShowDrills { .. } => rows::<DrillRow>(args, &request, out),
        Request::ShowMirrors => rows::<MirrorRow>(args, &request, out),
        Request::ShowSla(_) => rows::<SlaRow>(args, &request, out),
        Request::Lookup(_) => result::<LookupResult>(args, &request, out),
        Request::Version => result::<VersionInfo>(args, &request, out),
        Request::ConfigHistory => rows::<HistoryRow>(args, &request, out),
        Request::ConfigShow { .. } | Request::ConfigDiff { .. } => {
            result::<ConfigText>(args, &request, out)
        }
        _ => change(args, request, terms, out),
    }
}

/// Has something changed. Where that cuts live service and nobody said yes, a person at a terminal is asked.
fn change(
    args: &Args,
    mut request: Request,
    mut terms: Terms,
    out: &mut impl Write,
) -> Result<(), Failure> {
    let text = config::text_of(&mut request).map_err(Failure::Input)?;
    loop {
        let client = Client::ask(&args.socket, &request, &terms, &text)?;
        match (show_result::<ChangeResult>(args, &request, client, out), terms.yes) {
            (Err(Failure::Answer(client::Failure::Refused(refusal))), false)
                if refusal.kind == ErrorKind::Consent =>
            {
                if args.json || !may_go_on(&refusal).map_err(Failure::Input)? {
                    let message = format!("{}; --yes goes on", refusal.message);
                    let refusal = Refusal { message, ..refusal };
                    return Err(client::Failure::Refused(refusal).into());
                }
                terms.yes = true;
            }
            (done, _) => return done,
        }
    }
}

/// Asks the person at the terminal; false where there is none.
fn may_go_on(refusal: &Refusal) -> io::Result<bool> {
    if !io::stdin().is_terminal() || !io::stderr().is_terminal() {
        return Ok(false);
    }
    write!(io::stderr(), "{}\nGo on? [y/N] ", refusal.message)?;
    let mut said = String::new();
    io::stdin().read_line(&mut said)?;
    Ok(matches!(said.trim(), "y" | "Y" | "yes"))
}

/// Asks for rows and shows them as they come.
fn rows<R: Show + Serialize + DeserializeOwned>(
    args: &Args,
    request: &Request,
    out: &mut impl Write,
) -> Result<(), Failure> {
    let look = args.look();
    if args.json && look.sort.is_some() {
        let message = "--sort is for tables: leave it out, and sort what --json prints";
        return Err(Failure::Usage(message.to_owned()));
    }
    let filter = Filter::ask(args)?;
    let mut client = Client::connect(&args.socket, request)?;
    let mut written = 0;
    let mut page: Vec<R> = Vec::new();
    while let Some(mut line) = client.line::<R>()? {
        filter.keep(&mut line.rows)?;
        if args.json {
            output::json_rows(out, &line.rows, written)?;
            written += line.rows.len();
        } else {
            page.extend(line.rows);
            if page.len() >= output::PAGE && look.sort.is_none() {
                R::show(&page, look, out)?;
                page.clear();
                written += 1;
            }
        }
    }
    if args.json {
        output::json_end(out, written)?;
    } else if !page.is_empty() || written == 0 {
        R::show(&page, look, out)?;
    }
    Ok(())
}

/// Asks for one result and shows it.
fn result<R: Show + Serialize + DeserializeOwned>(
    args: &Args,
    request: &Request,
    out: &mut impl Write,
) -> Result<(), Failure> {
    show_result::<R>(args, request, Client::connect(&args.socket, request)?, out)
}

fn show_result<R: Show + Serialize + DeserializeOwned>(
    args: &Args,
    request: &Request,
    mut client: Client,
    out: &mut impl Write,
) -> Result<(), Failure> {
    let mut results: Vec<R> = Vec::new();
    while let Some(line) = client.line::<R>()? {
        results.extend(line.result);
    }
    let [result] = &results[..] else {
        let message = "the answer of the station has no result".to_owned();
        return Err(client::Failure::Unreachable(message).into());
    };
    if matches!(request, Request::Stop { .. }) {
        client.wait_for_end()?;
    }
    if args.json {
        output::json(out, result)?;
    } else {
        R::show(&results, args.look(), out)?;
    }
    Ok(())
}
