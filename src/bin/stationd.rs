//! The daemon.

fn main() -> std::process::ExitCode {
    station::cli::stationd::run()
}
