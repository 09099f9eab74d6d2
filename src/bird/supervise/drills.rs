//! Sessions that failover drills have down. BIRD is told by a command with words for the far end, and by its configuration
//! that they stay down: a `configure` would start them otherwise.

use std::collections::BTreeMap;

use crossbeam::channel::Sender;
use tracing::warn;

use super::Supervisor;
use crate::bird::client::ClientError;

impl Supervisor {
    /// These sessions are down from now on, and no others. A session that comes to them ends by a Cease,
    /// Administrative Shutdown, with these words (RFC 4486 and RFC 9003). One that leaves them is started by a `configure`,
    /// as the configuration has it: it may be down for another reason.
    ///
    /// Where somebody waits and BIRD cannot be told, nothing changes.
    pub(super) fn drill(
        &mut self,
        drilled: BTreeMap<String, String>,
        done: Option<Sender<Result<(), ClientError>>>,
    ) {
        let before = std::mem::replace(&mut self.drilled, drilled);
        let begins = self.drilled.iter().filter(|(protocol, _)| !before.contains_key(*protocol));
        let begins: Vec<String> =
            begins.map(|(protocol, words)| format!("disable '{protocol}' \"{words}\"")).collect();
        if before.keys().any(|protocol| !self.drilled.contains_key(protocol)) {
            (self.changed, self.retry_at) = (true, None);
        }
        let told = match begins.is_empty() {
            true => Ok(()),
            false => self.client().and_then(|mut client| client.commands(begins.into_iter())),
        };
        match (done, told) {
            (Some(done), told) => {
                if told.is_err() {
                    self.drilled = before;
                }
                // Who waits may have had enough of it.
                drop(done.send(told));
            }
            // A BIRD that is started has it in its configuration.
            (None, Err(error)) if self.running.is_some() => {
                warn!(%error, "BIRD cannot be told of a drill's sessions; the next configure does");
                (self.changed, self.retry_at) = (true, None);
            }
            (None, _) => {}
        }
    }
}
