//! The daemon.

fn main() -> std::process::ExitCode {
    station::command::run()
}
