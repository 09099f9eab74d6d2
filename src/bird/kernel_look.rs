//! A BIRD that takes over what a dead one left in the kernel looks at it when its sessions are back, and then after
//! `scan time`, which is ten minutes for large tables. What the two looks have missed, such as a next hop of an IPv6
//! route that stayed beside its successor's, would forward until then. So it is asked to look again soon.

use std::path::PathBuf;
use std::thread::{Builder, sleep};
use std::time::Duration;

use tracing::{info, warn};

use super::client::{Client, PATIENCE};

/// After the start: when the graceful restart is over (15 s), and once more for peers that came late.
const WAITS: [Duration; 2] = [Duration::from_secs(20), Duration::from_secs(40)];
/// The kernel protocols of a VRF's best routes and of all usable ones.
const COMMANDS: [&str; 2] = ["reload in \"k*\"", "reload in \"l*\""];

/// Asks the BIRD that has just started, on a thread that ends with that.
pub(super) fn spawn(socket: PathBuf) {
    let spawned = Builder::new().name("bird-look".into()).spawn(move || {
        for wait in WAITS {
            sleep(wait);
            let asked = Client::connect(&socket, PATIENCE)
                .and_then(|mut client| client.commands(COMMANDS.iter().map(ToString::to_string)));
            match asked {
                Ok(()) => info!("BIRD looks at the kernel's routes again"),
                Err(error) => warn!(%error, "cannot have BIRD look at the kernel's routes again"),
            }
        }
    });
    if let Err(error) = spawned {
        warn!(%error, "no thread to have BIRD look at the kernel's routes again");
    }
}
