//! The operator's command line.

fn main() -> std::process::ExitCode {
    station::cli::stationctl::run()
}
