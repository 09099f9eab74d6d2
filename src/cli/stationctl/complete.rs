//! Completion in a shell. The shell's script runs `stationctl` itself (`COMPLETE=bash`), which completes commands and
//! options, and VIFs, VRFs and ports by the names that the running station has. Without a station there are none.

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;

use clap::{Command, CommandFactory};
use clap_complete::engine::{ArgValueCompleter, CompletionCandidate};
use clap_complete::env::Shells;
use clap_complete::{CompleteEnv, Shell};

use super::args::{Args, SOCKET};
use super::named::named;
use crate::admin::protocol::{AclFilter, AddressLimitFilter, Request};

/// How long somebody who pressed a key waits for the station.
const PATIENCE: Duration = Duration::from_millis(500);
/// The variable by which a shell's script asks.
const VARIABLE: &str = "COMPLETE";

/// Answers a shell that asks for completions, and ends the process then.
pub(super) fn answer_shell() {
    CompleteEnv::with_factory(command).var(VARIABLE).complete();
}

/// Prints what a shell runs to have commands completed.
///
/// # Errors
/// The writer's.
pub(super) fn script(shell: Shell, out: &mut dyn Write) -> io::Result<()> {
    let (name, word) = ("stationctl", shell.to_string());
    let shells = Shells::builtins();
    let completer = shells.completer(&word).ok_or(io::ErrorKind::Unsupported)?;
    completer.write_registration(VARIABLE, name, name, name, out)
}

/// The command line, with completers for all arguments that name a thing of the station.
fn command() -> Command {
    with_names(Args::command(), "")
}

/// `of`: the command above. `vif up NAME` names a VIF as `--vif NAME` does; `vif add NAME` names none that is there.
fn with_names(command: Command, of: &str) -> Command {
    let (name, is_add) = (command.get_name().to_owned(), command.get_name() == "add");
    let command = command.mut_args(|arg| {
        let thing = match arg.get_id().as_str() {
            "name" if is_add => return arg,
            "name" => of,
            "from" | "to" if name == "reachability" => "vif-or-vrf",
            id => id,
        };
        let requests = match thing {
            "vif" => vec![Request::ShowVifs],
            "vrf" => vec![Request::ShowVrfs],
            "vif-or-vrf" => vec![Request::ShowVifs, Request::ShowVrfs],
            "port" => vec![Request::ShowPorts],
            "meter-group" => vec![Request::ShowBandwidth],
            "address-limit" | "address_limit" => {
                vec![Request::ShowAddressLimits(AddressLimitFilter::default())]
            }
            "acl" => vec![Request::ShowAcl(AclFilter::default())],
            "vtep" => vec![Request::ShowTunnels],
            "exchange" => vec![Request::ShowExchanges],
            "mirror" => vec![Request::ShowMirrors],
            _ => return arg,
        };
        arg.add(ArgValueCompleter::new(move |current: &OsStr| candidates(current, &requests)))
    });
    command.mut_subcommands(|command| with_names(command, &name))
}

fn candidates(current: &OsStr, requests: &[Request]) -> Vec<CompletionCandidate> {
    let Some(begun) = current.to_str() else { return Vec::new() };
    let (sender, names) = channel();
    let (socket, requests) = (socket(std::env::args_os()), requests.to_vec());
    // A thread of its own, for a station may be there and not answer. It ends with the process.
    thread::spawn(move || {
        let all = requests.iter().filter_map(|request| named(&socket, request).ok());
        drop(sender.send(all.flatten().collect::<Vec<_>>()));
    });
    let rows = names.recv_timeout(PATIENCE).unwrap_or_default();
    // Of bandwidths only meter groups are asked for by name, each of which has a row a direction.
    let named =
        rows.into_iter().filter(|row| row.scope.as_deref().is_none_or(|s| s == "meter_group"));
    let names: BTreeSet<String> =
        named.map(|row| row.name).filter(|name| name.starts_with(begun)).collect();
    let names = names.into_iter();
    names.map(CompletionCandidate::new).collect()
}

/// The socket that the command line names so far, or else the environment.
fn socket(words: impl Iterator<Item = OsString>) -> PathBuf {
    let words: Vec<OsString> = words.collect();
    let beside = words.windows(2).find(|pair| pair[0] == "--socket").map(|pair| pair[1].clone());
    let within = || {
        let word = words.iter().filter_map(|word| word.to_str()?.strip_prefix("--socket=")).next();
        word.map(OsString::from)
    };
    let named = beside.or_else(within).or_else(|| std::env::var_os("STATION_SOCKET"));
    named.map_or_else(|| SOCKET.into(), PathBuf::from)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn the_socket_is_the_one_on_the_line() {
        let of = |line: &str| socket(line.split(' ').map(OsString::from));
        assert_eq!(of("stationctl -- stationctl show vifs"), Path::new(SOCKET));
        assert_eq!(of("stationctl -- stationctl --socket /a show"), Path::new("/a"));
        assert_eq!(of("stationctl -- stationctl show --socket=/b"), Path::new("/b"));
        assert_eq!(of("stationctl --socket"), Path::new(SOCKET));
    }

    #[test]
    fn the_command_line_with_completers_is_whole() {
        command().debug_assert();
    }
}
