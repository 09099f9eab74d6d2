//! The threads that follow a BIRD: its sessions, and its complaints.

use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use tracing::{info, warn};

use super::{Running, Supervisor};
use crate::bird::client::Client;
use crate::bird::complaints;
use crate::bird::follow::{Effect, Ended, follow};
use crate::bird::handle::Order;
use crate::events::{Event, Reporter};

/// A BIRD that hangs, in words.
const SILENT: &str = "BIRD does not answer";

/// Says what is wrong with BIRD now. Whether that is another thing than before: then it is an event.
pub(super) fn say(trouble: &Mutex<Option<String>>, report: &Reporter, now: Option<String>) -> bool {
    let mut trouble = trouble.lock().unwrap_or_else(PoisonError::into_inner);
    if *trouble == now {
        return false;
    }
    report.tell(match &now {
        Some(reason) => Event::RoutingDown { reason: reason.clone() },
        None => Event::RoutingUp {},
    });
    *trouble = now;
    true
}

impl Supervisor {
    /// Follows BIRD in threads; the end of the first says that BIRD is gone. `anew`: it has just started.
    pub(super) fn watch(&mut self, client: Client, anew: bool) -> std::io::Result<()> {
        self.connections += 1;
        let connection = self.connections;
        let (events, orders) = (self.events.clone(), self.orders.clone());
        let trouble = self.trouble.clone();
        let (follower, report) = (self.follower.clone(), self.report.clone());
        self.follower().connected(anew, Instant::now());
        std::thread::Builder::new().name("bird-events".into()).spawn(move || {
            let ended = follow(client, &follower, |effect| {
                let order = match effect {
                    Effect::Peer(event) => {
                        event.log();
                        drop(events.send(event));
                        return;
                    }
                    Effect::Told(notice) => return complaints::tell(&report, vec![notice]),
                    Effect::Silent(silent) => {
                        warn!(silent, "whether BIRD answers");
                        say(&trouble, &report, silent.then(|| SILENT.to_owned()));
                        return;
                    }
                    Effect::Wake(protocol) => Order::Wake(protocol),
                    Effect::Shut(protocol) => Order::Shut(protocol),
                };
                drop(orders.send(order));
            });
            info!(error = %ended, "BIRD's messages end");
            let hung = matches!(ended, Ended::Silent);
            drop(orders.send(Order::Lost { connection, hung }));
        })?;
        self.running = Some(Running { connection, since: Instant::now() });
        complaints::spawn(self.place.socket(), self.follower.clone(), self.report.clone())
    }
}
