//! The thread that looks at counters of which a rise is an event: those that station-counters(7) marks, and what the
//! kernel counts of TCP's MD5 signatures in the namespace of the TAPs. It has that namespace's view.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::desk::Desk;
use super::view;
use crate::events::{Event, Reporter};
use crate::observe::Counters;
use crate::tables::{DropReason, SlowOutcome, VifId};

/// Between two looks.
const LOOK: Duration = Duration::from_secs(1);
/// Between two events about the same counter, at least.
const APART: Duration = Duration::from_secs(10);
/// The kernel's counters (proc_pid_net(5)); those of this thread's namespace.
const NETSTAT: &str = "/proc/thread-self/net/netstat";
/// Counters of which a rise is an event: their help begins with one of these.
const MARKS: [&str; 2] = ["SECURITY: ", "BUG: "];

/// Starts the thread. It ends with the control thread.
///
/// # Errors
/// The system's, where there is no thread left.
pub(super) fn spawn(desk: Desk, report: Reporter) -> std::io::Result<()> {
    let work = move || {
        let (mut security, mut md5) = (Risen::default(), Md5::default());
        md5.look(&netstat(), Instant::now());
        let marked = Marked::new();
        // The control thread gives what it has at once; the rest is this thread's work.
        while let Some((tables, counters)) =
            desk.ask(|control| (control.engine.tables().clone(), control.counters.clone()))
        {
            let now = Instant::now();
            for (id, vif) in view::vifs(&tables) {
                for (name, help, value) in marked.of(&counters, id) {
                    if let Some(count) = security.look((vif.name.clone(), name), value, now) {
                        let (vif, counter) = (vif.name.to_string(), name.to_owned());
                        let help = help.split_once(": ").map_or(help, |(_, help)| help).to_owned();
                        report.tell(Event::Security { vif, counter, count, help });
                    }
                }
            }
            security.forget(now);
            if let Some(event) = md5.look(&netstat(), now) {
                report.tell(event);
            }
            // A commit would have to copy what is held.
            drop((tables, counters));
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
#[derive(Default)]
struct Risen(HashMap<(Arc<str>, &'static str), Seen>);

struct Seen {
    /// What was told.
    told: u64,
    told_at: Option<Instant>,
    /// When it was last looked at.
    at: Instant,
}

impl Risen {
    /// By how much a counter has risen since it was told last, where it is time to tell.
    fn look(&mut self, counter: (Arc<str>, &'static str), value: u64, now: Instant) -> Option<u64> {
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

fn netstat() -> String {
    std::fs::read_to_string(NETSTAT).unwrap_or_default()
}

/// TCPMD5Failure, TCPMD5NotFound and TCPMD5Unexpected, as they were told.
#[derive(Default)]
struct Md5 {
    told: Option<[u64; 3]>,
    told_at: Option<Instant>,
}

impl Md5 {
    /// What has come since the last time, where it is time to tell. What was there at the first look is no news.
    fn look(&mut self, netstat: &str, now: Instant) -> Option<Event> {
        let counts = md5(netstat)?;
        let told = *self.told.get_or_insert(counts);
        let [wrong, missing, unexpected] =
            std::array::from_fn(|i| counts[i].saturating_sub(told[i]));
        let due = self.told_at.is_none_or(|at| now.saturating_duration_since(at) >= APART);
        if wrong + missing + unexpected == 0 || !due {
            return None;
        }
        (self.told, self.told_at) = (Some(counts), Some(now));
        Some(Event::Md5Failure { wrong, missing, unexpected })
    }
}

/// Reads two lines of names and numbers.
fn md5(netstat: &str) -> Option<[u64; 3]> {
    let mut lines = netstat.lines().filter_map(|line| line.strip_prefix("TcpExt:"));
    let (names, values) = (lines.next()?, lines.next()?);
    let find = |wanted: &str| {
        let mut pairs = names.split_whitespace().zip(values.split_whitespace());
        pairs.find_map(|(name, value)| (name == wanted).then(|| value.parse().ok()).flatten())
    };
    Some([find("TCPMD5Failure")?, find("TCPMD5NotFound")?, find("TCPMD5Unexpected")?])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_an_event_each_ten_seconds_with_its_count() {
        let (mut risen, start) = (Risen::default(), Instant::now());
        let mut look = |vif: &str, value, s| {
            risen.look((vif.into(), "x"), value, start + Duration::from_secs(s))
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
        assert_eq!(names, ["foreign_source", "vrf_mismatch", "address_conflict"]);
    }

    #[test]
    fn what_the_kernel_counts_of_signatures_is_read() {
        let text = |a, b, c| {
            format!(
                "TcpExt: SyncookiesSent TCPMD5NotFound TCPMD5Unexpected TCPMD5Failure X\n\
                     TcpExt: 9 {a} {b} {c} 4\nIpExt: InNoRoutes\nIpExt: 1\n"
            )
        };
        assert_eq!(md5(&text(1, 2, 3)), Some([3, 1, 2]));
        assert_eq!(md5("TcpExt: A\nTcpExt: 1\n"), None);
        let (mut md5, start) = (Md5::default(), Instant::now());
        let mut look = |c, s| md5.look(&text(1, 2, c), start + Duration::from_secs(s));
        let event = |wrong| Some(Event::Md5Failure { wrong, missing: 0, unexpected: 0 });
        assert_eq!(
            (look(3, 0), look(4, 1), look(9, 2), look(9, 11)),
            (None, event(1), None, event(5))
        );
        // This kernel has them.
        assert!(super::md5(&netstat()).is_some(), "{}", netstat());
    }
}
