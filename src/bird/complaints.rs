//! BIRD's complaints, in the station's log: of peers, of the kernel, of itself. A peer can cause any number of
//! them, so they are taken slowly, and the log has its own limit.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tracing::warn;

use super::client::{Client, ClientError, Line, PATIENCE};
use super::follow::Follower;
use super::notices::Notice;
use super::peers::Peers;
use crate::events::Reporter;

/// Classes of BIRD's log that say what is wrong. Peers cause them, without limit.
const COMPLAINTS: &str = "{ remote, warning, error, auth, bug, fatal }";
/// How much of that BIRD keeps, in octets: what does not fit is counted, and costs BIRD nothing more.
const COMPLAINTS_KEPT: u32 = 16_384;
/// So many lines are taken at a time, and so long is waited between two times.
const COMPLAINTS_TAKEN: (usize, Duration) = (256, Duration::from_millis(500));

/// Repeats complaints in a thread, until BIRD is gone.
pub(super) fn spawn(
    socket: PathBuf,
    follower: Arc<Mutex<Follower>>,
    report: Reporter,
) -> std::io::Result<()> {
    std::thread::Builder::new().name("bird-log".into()).spawn(move || {
        // An error is BIRD's end, which is told elsewhere.
        drop(Client::connect(&socket, PATIENCE).map(|client| repeat(client, &follower, &report)));
    })?;
    Ok(())
}

/// Repeats BIRD's complaints in the station's log, until BIRD is gone.
fn repeat(
    mut client: Client,
    follower: &Mutex<Follower>,
    report: &Reporter,
) -> Result<Infallible, ClientError> {
    client.send(&format!("echo {COMPLAINTS} {COMPLAINTS_KEPT}"))?;
    client.wait_for(COMPLAINTS_TAKEN.1)?;
    loop {
        // One that comes again and again is said once.
        let mut said = BTreeSet::new();
        for _ in 0..COMPLAINTS_TAKEN.0 {
            match client.line() {
                Ok(Line::Log(text)) => {
                    let mut follower = follower.lock().unwrap_or_else(PoisonError::into_inner);
                    if let Some((name, why)) = text.split_once(": ") {
                        tell(report, follower.complaint(name, why, Instant::now()));
                    }
                    if !said.contains(&text) {
                        complain(&follower.peers, &text);
                        said.insert(text);
                    }
                }
                Ok(_) => {}
                Err(error) if error.is_silence() => break,
                Err(error) => return Err(error),
            }
        }
        std::thread::sleep(COMPLAINTS_TAKEN.1);
    }
}

/// Tells what happened.
pub(super) fn tell(report: &Reporter, notices: Vec<Notice>) {
    for Notice { event, at } in notices {
        report.tell_late(event, at.elapsed());
    }
}

fn complain(peers: &Peers, text: &str) {
    match text.split_once(": ").and_then(|(name, said)| Some((peers.session(name)?, said))) {
        Some((session, said)) => {
            warn!(vif = %session.vif, peer = %session.peer, said, "BIRD complains");
        }
        None => warn!(said = text, "BIRD complains"),
    }
}
