//! `stationd`'s command line.

use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::daemon::{self, StationError};
use crate::log;
use crate::replay::capture::{self, RoutesFrom};
use crate::wire::ethernet::Mac;

/// The dataplane of a Direct Connect station.
#[derive(Parser)]
#[command(version, args_conflicts_with_subcommands = true, arg_required_else_help = true)]
struct Args {
    /// Runs the station with this configuration.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand)]
enum Command {
    /// Checks a configuration file without starting anything.
    Check { file: PathBuf },
    /// Writes a first configuration, with the ports that this server has, and a comment on each.
    Init {
        /// Where to; `-` is standard output.
        #[arg(long, value_name = "FILE", default_value = "/etc/station/station.toml")]
        output: PathBuf,
        /// Replaces a file that is there.
        #[arg(long)]
        force: bool,
    },
    /// Opens the ports of a stopped station: takes the XDP program off, so that the kernel sees all
    /// frames again. Until then ports stay closed, also while no daemon runs.
    Detach {
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
        /// Opens this interface alone, which was a port and is none any more; the station may run.
        #[arg(long)]
        interface: Option<String>,
    },
    /// Shows what the station would do with a capture: runs it through the same code in memory and
    /// writes every frame with its verdict, and every frame that would have been sent.
    Replay(Replay),
}

#[derive(clap::Args)]
struct Replay {
    /// The configuration that the station would run.
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// The port that frames enter by where the capture names none; default: the first port.
    #[arg(long)]
    port: Option<String>,
    /// The MAC of a port; default: the most frequent unicast destination of its frames.
    #[arg(long, value_name = "PORT=MAC", value_parser = port_mac)]
    mac: Vec<(String, Mac)>,
    /// Where the routes and neighbors come from that the configuration does not say: `live` asks the
    /// running station; a file has what `stationctl --json show routes --vrf NAME` and `stationctl
    /// --json show neighbors` print, one after another. Without, frames whose fate hangs on routes that
    /// come by BGP are not judged.
    #[arg(long, value_name = "live|FILE")]
    routes: Option<RoutesFrom>,
    /// Prints the summary as JSON.
    #[arg(long)]
    json: bool,
    /// The capture, pcap or pcapng.
    input: PathBuf,
    /// Where the result goes, pcapng.
    output: PathBuf,
}

fn port_mac(text: &str) -> Result<(String, Mac), String> {
    let (port, mac) = text.split_once('=').ok_or("write PORT=MAC, like cust0=02:00:00:00:00:01")?;
    Ok((port.to_owned(), mac.parse().map_err(|error| format!("{error}"))?))
}

/// Runs the command line and gives the exit code: 0 done, 1 failed, 2 wrong usage.
pub fn run() -> ExitCode {
    let args = Args::parse();
    let done = match (&args.command, &args.config) {
        (Some(Command::Check { file }), _) => daemon::check(file).map_err(|e| explain(&e)),
        (Some(Command::Init { output, force }), _) => {
            daemon::init(output, *force).map_err(|e| explain(&e))
        }
        (Some(Command::Detach { config, interface }), _) => {
            let detached = match interface {
                Some(interface) => daemon::detach_former(config, interface),
                None => daemon::detach(config),
            };
            detached.map_err(|error| explain(&error))
        }
        (Some(Command::Replay(replay)), _) => self::replay(replay),
        (None, Some(config)) => daemon(config),
        // The parser shows the help instead.
        (None, None) => return ExitCode::from(2),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Not by `eprintln`, which waits for who does not read.
            let words = format!("stationd: {error}");
            if !log::last_words(&words) {
                eprintln!("{words}");
            }
            ExitCode::FAILURE
        }
    }
}

fn daemon(config: &Path) -> Result<(), String> {
    log::collect(std::io::stderr().is_terminal());
    daemon::run(config).map_err(|error| explain(&error))?;
    log::last_words("");
    Ok(())
}

/// What is wrong, in words. A person at a terminal sees the lines of the configuration that are
/// refused; logs and scripts get a line per problem.
fn explain(error: &StationError) -> String {
    let mut text = String::from("\n");
    match error {
        StationError::Config(error)
            if std::io::stderr().is_terminal()
                && miette::GraphicalReportHandler::new()
                    .render_report(&mut text, error.as_ref())
                    .is_ok() =>
        {
            text
        }
        error => error.to_string(),
    }
}

fn replay(replay: &Replay) -> Result<(), String> {
    let options = capture::Options {
        port: replay.port.clone(),
        macs: replay.mac.clone(),
        routes: replay.routes.clone(),
    };
    let summary = capture::run(&replay.config, &replay.input, &replay.output, &options)
        .map_err(|error| error.to_string())?;
    if replay.json {
        println!("{}", serde_json::to_string_pretty(&summary).map_err(|e| e.to_string())?);
    } else {
        println!("{summary}");
    }
    Ok(())
}
