//! Sends numbered, time-stamped frames through a router and accounts for each of them: lost, duplicated,
//! reordered, late. The frames are made and counted by BPF programs inside the kernel (`bpf/`), which
//! outrun any router that is measured on the same machine; this program starts them and reads the result.

mod forward;
mod pauses;
mod place;
mod receiver;
mod sender;
mod trial;

use std::process::ExitCode;

use clap::Parser;

#[derive(Parser)]
#[command(name = "wire-bench", about = "Measures a router between two interfaces of this machine")]
enum Command {
    /// Sends for a while at a rate, and prints what arrived as JSON
    Trial(trial::Options),
    /// Attaches the in-kernel XDP router that others are compared with, until standard input ends
    Forward(forward::Options),
    /// Reads the clock without end on a CPU, and prints how long it was kept from that as JSON
    Pauses(pauses::Options),
}

fn main() -> ExitCode {
    let result = match Command::parse() {
        Command::Trial(options) => trial::run(&options),
        Command::Forward(options) => forward::run(&options),
        Command::Pauses(options) => pauses::run(&options),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("wire-bench: {error}");
            ExitCode::FAILURE
        }
    }
}

/// What can go wrong.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("{0}")]
    Usage(String),
    #[error("{0}: {1}")]
    System(String, std::io::Error),
    #[error("{0}: {1:?}")]
    Bpf(&'static str, aya::EbpfError),
    #[error("{0}: {1:?}")]
    Program(&'static str, aya::programs::ProgramError),
    #[error("{0}: {1:?}")]
    Map(&'static str, aya::maps::MapError),
}
