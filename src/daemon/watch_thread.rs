//! The thread that looks at counters of which a rise is an event: those that station-counters(7) marks, and peers' SYNs
//! that do not fit the keys of their sessions.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::desk::Desk;
use crate::config::model::Config;
use crate::events::{Event, Reporter};
use crate::observe::Counters;
use crate::tables::{DropReason, KeyFault, SlowOutcome, VifId};

/// Between two looks.
const LOOK: Duration = Duration::from_secs(1);
/// Between two events about the same counter, at least.
const APART: Duration = Duration::from_secs(10);
/// Counters of which a rise is an event: their help begins with one of these.
const MARKS: [&str; 2] = ["SECURITY: ", "BUG: "];

/// Starts the thread. It ends with the control thread.
///
/// # Errors
/// The system's, where there is no thread left.
pub(super) fn spawn(desk: Desk, report: Reporter) -> std::io::Result<()> {
    let work = move || {
        let (mut security, mut keys) = (Risen::default(), Risen::default());
        let marked = Marked::new();
        // The control thread gives what it has at once; the rest is this thread's work.
        while let Some((tables, counters, config)) = desk.ask(|control| {
            (control.engine.tables().clone(), control.counters.clone(), control.config().clone())
        }) {
            let now = Instant::now();
            for (id, vif) in tables.vifs_by_id() {
                for (name, help, value) in marked.of(&counters, id) {
                    if let Some(count) = security.look((vif.name.clone(), name), value, now) {
                        let (vif, counter) = (vif.name.to_string(), name.to_owned());
                        let help = help.split_once(": ").map_or(help, |(_, help)| help).to_owned();
                        report.tell(Event::Security { vif, counter, count, help });
                    }
                }
            }
            security.forget(now);
            for (vif, peer, key) in tables.keys.iter() {
                for fault in KeyFault::ALL {
                    let risen = keys.look((vif.clone(), peer, fault), key.faults(fault), now);
                    let event = risen.and_then(|n| md5_failure(&config, vif, peer, fault, n));
                    event.into_iter().for_each(|event| report.tell(event));
                }
            }
            keys.forget(now);
            // A commit would have to copy what is held.
            drop((tables, counters, config));
            std::thread::sleep(LOOK);
        }
    };
    std::thread::Builder::new().name("watch".into()).spawn(work)?;
    Ok(())
}

/// The marked counters.
struct Marked {
    drops: Vec<DropReason>,
    slow: Vec<SlowOutcome>,
}

impl Marked {
    fn new() -> Marked {
        let drops = DropReason::ALL.iter().filter(|reason| is_marked(reason.help()));
        let slow = SlowOutcome::ALL.iter().filter(|outcome| is_marked(outcome.help()));
        Marked { drops: drops.copied().collect(), slow: slow.copied().collect() }
    }

    /// Those of a VIF.
    fn of(
        &self,
        counters: &Counters,
        id: VifId,
    ) -> impl Iterator<Item = (&'static str, &'static str, u64)> {
        let drops = self.drops.iter().map(move |r| (r.name(), r.help(), counters.drops(id, *r)));
        let slow = self.slow.iter().map(move |o| (o.name(), o.help(), counters.outcomes(id, *o)));
        drops.chain(slow)
    }
}

fn is_marked(help: &str) -> bool {
    MARKS.iter().any(|mark| help.starts_with(mark))
}

/// Counters that have risen. What is zero costs nothing.
struct Risen<K>(HashMap<K, Seen>);

impl<K> Default for Risen<K> {
    fn default() -> Self {
        Risen(HashMap::new())
    }
}

struct Seen {
    /// What was told.
    told: u64,
    told_at: Option<Instant>,
    /// When it was last looked at.
    at: Instant,
}

impl<K: Eq + Hash> Risen<K> {
    /// By how much a counter has risen since it was told last, where it is time to tell.
    fn look(&mut self, counter: K, value: u64, now: Instant) -> Option<u64> {
        if value == 0 && !self.0.contains_key(&counter) {
            return None;
        }
        let seen = self.0.entry(counter).or_insert(Seen { told: 0, told_at: None, at: now });
        seen.at = now;
        // Somebody has cleared it, or its VIF is another one of the same name.
        seen.told = seen.told.min(value);
        let risen = value - seen.told;
        let due = seen.told_at.is_none_or(|at| now.saturating_duration_since(at) >= APART);
        if risen == 0 || !due {
            return None;
        }
        (seen.told, seen.told_at) = (value, Some(now));
        Some(risen)
    }

    /// Forgets counters of VIFs that are gone.
    fn forget(&mut self, now: Instant) {
        self.0.retain(|_, seen| seen.at == now);
    }
}

fn md5_failure(
    config: &Config,
    vif: &Arc<str>,
    peer: IpAddr,
    fault: KeyFault,
    count: u64,
) -> Option<Event> {
    let sessions = config.vifs.iter().filter(|of| of.name == *vif).flat_map(|of| &of.bgp);
    let session = sessions.into_iter().find(|session| session.peer == peer)?;
    let (vif, peer_as) = (vif.to_string(), session.peer_as);
    let (cause, help) = (fault.name().to_owned(), fault.help().to_owned());
    Some(Event::Md5Failure { vif, peer, peer_as, cause, count, help })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_an_event_each_ten_seconds_with_its_count() {
        let (mut risen, start) = (Risen::default(), Instant::now());
        let mut look = |vif: &'static str, value, s| {
            risen.look((vif, "x"), value, start + Duration::from_secs(s))
        };
        let told: Vec<_> = (0..25).filter_map(|s| look("a", 100 * (s + 1), s)).collect();
        assert_eq!(told, [100, 1000, 1000]);
        assert_eq!(look("b", 0, 25), None);
        assert_eq!(look("b", 3, 26), Some(3), "another VIF's own");
        assert_eq!(look("a", 2500, 40), Some(400), "what came before it was quiet");
        assert_eq!(look("a", 2500, 60), None);
        assert_eq!((look("a", 0, 70), look("a", 7, 71)), (None, Some(7)), "cleared");
    }

    #[test]
    fn what_is_marked_is_an_event() {
        let drops = DropReason::ALL.iter().filter(|r| is_marked(r.help())).map(|r| r.name());
        let slow = SlowOutcome::ALL.iter().filter(|o| is_marked(o.help())).map(|o| o.name());
        let names: Vec<_> = drops.chain(slow).collect();
        assert_eq!(
            names,
            [
                "unknown_vtep",
                "foreign_source",
                "vrf_mismatch",
                "address_conflict",
                "forged_too_big"
            ]
        );
    }
}
