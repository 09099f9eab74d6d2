//! `stationd`: the daemon. Everything is in the library; here are the words of the command line.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use station::station as daemon;

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
    /// Opens the ports of a stopped station: takes the XDP program off, so that the kernel sees all
    /// frames again. Until then ports stay closed, also while no daemon runs.
    Detach {
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
    },
}

fn main() -> ExitCode {
    let args = Args::parse();
    let result = match (args.command, args.config) {
        (Some(Command::Check { file }), _) => daemon::check(&file),
        (Some(Command::Detach { config }), _) => daemon::detach(&config),
        (None, Some(config)) => daemon::run(&config),
        (None, None) => return ExitCode::from(2), // clap shows the help instead
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("stationd: {error}");
            ExitCode::FAILURE
        }
    }
}
