//! The operator's command line.

fn main() -> std::process::ExitCode {
    station::ctl::run()
}
