//! Rate limit of log lines. Packets and peers cause most of what is worth a line, so no line is
//! unlimited: each place in the code has a budget per VIF, port, TAP or peer that its lines name, and
//! what goes beyond is counted instead of written. One tenant's flood leaves the others' lines alone.

use std::collections::HashMap;
use std::fmt::{self, Write as _};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

use crate::clock::nanoseconds;
use crate::limit::{Rate, TokenBucket};

/// Lines of one place about one VIF: one a second, 20 at once.
const RATE: Rate = Rate::new(1, 20);
/// Budgets that are remembered. Beyond that the lines of a place share one.
const BUDGETS: usize = 8192;
/// How often lines that were left out are summed up, in nanoseconds.
const SUMMARY: u64 = 5_000_000_000;
/// Fields that say whom a line is about.
const SUBJECTS: &[&str] = &["vif", "port", "tap", "peer", "interface"];
/// Most octets of a subject that a summary repeats.
const LONGEST_SUBJECT: usize = 80;

/// Writes lines as `inner` does, within the budgets.
#[derive(Debug)]
pub(super) struct RateLimited<F> {
    inner: F,
    started: Instant,
    budgets: Mutex<Budgets>,
}

impl<F> RateLimited<F> {
    /// Limits what `inner` writes.
    pub(super) fn new(inner: F) -> RateLimited<F> {
        RateLimited { inner, started: Instant::now(), budgets: Mutex::default() }
    }
}

impl<S, N, F> FormatEvent<S, N> for RateLimited<F>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
    F: FormatEvent<S, N>,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let mut subject = Subject::default();
        event.record(&mut subject);
        let place = event.metadata().callsite();
        let now_ns = nanoseconds(self.started.elapsed());
        let (written, summary) = {
            let mut budgets = self.budgets.lock().unwrap_or_else(PoisonError::into_inner);
            let name = || format!("{}{}", event.metadata().target(), subject.0);
            let written = budgets.take(hash((&place, &subject.0)), hash(&place), name, now_ns);
            (written, budgets.summary(now_ns))
        };
        if written {
            self.inner.format_event(context, writer.by_ref(), event)?;
        }
        for (name, count) in summary {
            writeln!(writer, "    {count} lines of {name} were left out")?;
        }
        Ok(())
    }
}

fn hash(key: impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    key.hash(&mut hasher);
    hasher.finish()
}

/// The fields of a line that say whom it is about, as ` vif=a`.
#[derive(Default)]
struct Subject(String);

impl Visit for Subject {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if SUBJECTS.contains(&field.name()) && self.0.len() < LONGEST_SUBJECT {
            // Writing to a string does not fail.
            let _ = write!(self.0, " {}={value:?}", field.name());
        }
    }
}

#[derive(Debug)]
struct Budget {
    bucket: TokenBucket,
    /// Lines left out since the last summary.
    left_out: u64,
    /// Whose lines they are.
    name: String,
    /// When it was last asked.
    used_ns: u64,
}

/// Budgets by the hash of place and subject.
#[derive(Debug, Default)]
struct Budgets {
    all: HashMap<u64, Budget>,
    /// When lines that were left out were last summed up.
    summed_up_ns: u64,
}

impl Budgets {
    /// Whether a line may be written. `key` is its place and subject, `place` its place alone.
    fn take(&mut self, key: u64, place: u64, name: impl FnOnce() -> String, now_ns: u64) -> bool {
        let full = self.all.len() >= BUDGETS;
        let key = if full && !self.all.contains_key(&key) { place } else { key };
        let budget = self.all.entry(key).or_insert_with(|| Budget {
            bucket: TokenBucket::default(),
            left_out: 0,
            name: name(),
            used_ns: now_ns,
        });
        budget.used_ns = now_ns;
        let written = budget.bucket.take(now_ns, &RATE);
        budget.left_out += u64::from(!written);
        written
    }

    /// Once in a while: how many lines of whom were left out. Forgets budgets that are full again.
    fn summary(&mut self, now_ns: u64) -> Vec<(String, u64)> {
        if now_ns.saturating_sub(self.summed_up_ns) < SUMMARY {
            return Vec::new();
        }
        self.summed_up_ns = now_ns;
        let mut summary: Vec<(String, u64)> = self
            .all
            .values_mut()
            .filter(|budget| budget.left_out > 0)
            .map(|budget| (budget.name.clone(), std::mem::take(&mut budget.left_out)))
            .collect();
        summary.sort();
        self.all.retain(|_, budget| !RATE.is_full_after(now_ns.saturating_sub(budget.used_ns)));
        summary
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    const SECOND: u64 = 1_000_000_000;

    #[test]
    fn a_flood_about_one_vif_leaves_the_others_lines_alone() {
        let (text, writer) = captured();
        tracing::subscriber::with_default(writer, || {
            for n in 0..1000 {
                tracing::info!(vif = %"noisy", n, "session lost");
                if n % 100 == 0 {
                    tracing::info!(vif = %"quiet", n, "session lost");
                }
            }
            for n in 0..1000 {
                tracing::warn!(n, "about nobody");
            }
        });
        let text = text.lock().unwrap();
        let lines = |what: &str| text.matches(what).count();
        // The budget, and what came back of it while the test ran.
        assert!((20..25).contains(&lines("vif=noisy")), "{}", lines("vif=noisy"));
        assert_eq!(lines("vif=quiet"), 10);
        assert!((20..25).contains(&lines("about nobody")), "{}", lines("about nobody"));
    }

    #[test]
    fn what_was_left_out_is_said_with_its_number() {
        let mut budgets = Budgets::default();
        let mut take = |key: u64, now_ns| budgets.take(key, 0, || format!("t vif={key}"), now_ns);
        assert_eq!((0..100).filter(|_| take(1, 0)).count(), 20);
        assert_eq!((0..21).filter(|_| take(2, 0)).count(), 20);
        assert!(take(1, SECOND), "one a second");
        assert_eq!(budgets.summary(SECOND), []);
        let said = [("t vif=1".to_owned(), 80), ("t vif=2".to_owned(), 1)];
        assert_eq!(budgets.summary(SUMMARY), said);
        assert_eq!(budgets.summary(2 * SUMMARY), [], "each once");
        assert_eq!(budgets.all.len(), 2);
        budgets.summary(100 * SECOND);
        assert_eq!(budgets.all.len(), 0, "full budgets are forgotten");
    }

    #[test]
    fn the_memory_is_bounded() {
        let mut budgets = Budgets::default();
        for key in 0..2 * BUDGETS as u64 {
            budgets.take(key + 1, 0, String::new, 0);
        }
        assert_eq!(budgets.all.len(), BUDGETS + 1);
    }

    /// A subscriber as the daemon's, and what it writes.
    fn captured() -> (Arc<Mutex<String>>, impl Subscriber) {
        struct Sink(Arc<Mutex<String>>);
        impl std::io::Write for Sink {
            fn write(&mut self, octets: &[u8]) -> std::io::Result<usize> {
                self.0.lock().unwrap().push_str(std::str::from_utf8(octets).unwrap());
                Ok(octets.len())
            }
            fn flush(&mut self) -> std::io::Result<()> {
                Ok(())
            }
        }
        let text = Arc::<Mutex<String>>::default();
        let sink = text.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_ansi(false)
            .event_format(RateLimited::new(tracing_subscriber::fmt::format()))
            .with_writer(move || Sink(sink.clone()))
            .finish();
        (text, subscriber)
    }
}
