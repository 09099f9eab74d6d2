//! The history of probes as the station keeps it: what is told of it, and what clients read. It is read on the
//! connection's thread, an hour at a time.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Instant;

use super::announce::log_and_tell;
use super::answer::no;
use super::change::stopping;
use super::control_thread::Control;
use crate::admin::answer::Answer;
use crate::admin::protocol::{ErrorKind, Period, ProbeHistoryFilter};
use crate::admin::rows::ProbeHistoryRow;
use crate::blocks::{Damage, Item, Kept, Series, span_of};
use crate::clock::{Moment, now_ms};
use crate::disk::Files;
use crate::events::{Event, Reporter};
use crate::probes::history::{Asked, Hour, Keeper, Notes, Tally, Told};

/// Milliseconds of an hour.
const HOUR_MS: u64 = Hour::SPAN_S * 1000;

/// Starts the thread that keeps the history. What it has to tell is an event, each.
///
/// # Errors
/// The system's, where there is no thread left.
pub(super) fn start(
    state: &Path,
    notes: Notes,
    report: Reporter,
) -> io::Result<(Keeper, JoinHandle<()>)> {
    let zero = Instant::now();
    let told = move |told: Told| log_and_tell(&report, event(told));
    Keeper::start(state.join("probes"), notes, move || Moment::now(zero), told)
}

fn event(told: Told) -> Event {
    match told {
        Told::Damaged(Damage { file, octets, cut }) => {
            let (from_octet, to_octet) = (octets.start, octets.end);
            Event::ProbeHistoryDamage { file, from_octet, to_octet, cut }
        }
        Told::Failed { error } => Event::ProbeHistoryUnwritten { reason: error },
        Told::Written { hours, lost } => Event::ProbeHistoryWritten { hours, lost },
    }
}

/// `show probe-history`.
pub(super) fn show(control: &Control, filter: &ProbeHistoryFilter) -> Answer {
    let period = Period { vif: None, since_ms: filter.since_ms, until_ms: filter.until_ms };
    let (since_ms, until_ms) = match period.bounds(now_ms()) {
        Ok(bounds) => bounds,
        Err(refusal) => return Answer::Refused(refusal),
    };
    let (filter, keeper) = (filter.clone(), control.probes.history().clone());
    let config = control.config().clone();
    Answer::later(move || {
        let period = since_ms.div_ceil(1000)..until_ms.div_ceil(1000);
        let series = match series(&keeper, &period) {
            Ok(Some(series)) => series,
            Ok(None) => return Answer::Refused(stopping()),
            Err(error) => {
                let message = format!("the history of probes cannot be read: {error}");
                return Answer::refused(ErrorKind::Internal, message);
            }
        };
        let unknown = unknown(&filter, |what, name| match what {
            "probe" => config.probes.iter().any(|probe| *probe.name == *name),
            "vif" => config.vifs.iter().any(|vif| *vif.name == *name),
            _ => config.vifs.iter().any(|vif| vif.labels.customer.as_deref() == Some(name)),
        });
        let open = span_of::<Hour>(now_ms());
        let total = filter.total;
        let mut hours = Hours { series, filter, open, rows: VecDeque::new(), ended: false };
        if total {
            let rows = hours.total([since_ms, until_ms]);
            return unknown
                .filter(|_| rows.is_empty())
                .unwrap_or_else(|| Answer::rows(rows.into_iter().map(Box::new)));
        }
        let first = hours.next();
        let none = unknown.filter(|_| first.is_none());
        none.unwrap_or_else(|| Answer::rows(first.into_iter().chain(hours).map(Box::new)))
    })
}

fn series(keeper: &Keeper, period: &Range<u64>) -> io::Result<Option<Series<Hour, Files>>> {
    let Some(unwritten) = keeper.ask() else { return Ok(None) };
    Series::open(Files, keeper.directory(), period, unwritten).map(Some)
}

/// The refusal where something is named that is not configured: it holds where the past has nothing of it either.
fn unknown(filter: &ProbeHistoryFilter, is_there: impl Fn(&str, &str) -> bool) -> Option<Answer> {
    let named = [("probe", &filter.probe), ("vif", &filter.vif), ("customer", &filter.customer)];
    let given = named.into_iter().filter_map(|(what, name)| Some((what, name.as_deref()?)));
    given.into_iter().find(|(what, name)| !is_there(what, name)).map(|(what, name)| no(what, name))
}

/// The rows of hours, in the order of time.
struct Hours {
    series: Series<Hour, Files>,
    filter: ProbeHistoryFilter,
    /// The hour that is open.
    open: u32,
    /// Rows of the hour that was read last.
    rows: VecDeque<ProbeHistoryRow>,
    ended: bool,
}

impl Hours {
    fn takes(&self, asked: &Asked) -> bool {
        let is = |wanted: &Option<String>, name: Option<&Arc<str>>| {
            wanted.as_ref().is_none_or(|wanted| name.is_some_and(|name| **name == **wanted))
        };
        is(&self.filter.probe, Some(&asked.probe))
            && is(&self.filter.vif, Some(&asked.vif))
            && is(&self.filter.customer, asked.customer.as_ref())
    }

    /// The next hour, or the row of what could not be read.
    fn read(&mut self) -> Option<Result<Hour, ProbeHistoryRow>> {
        match self.series.read() {
            Ok(Some(Item::Whole(hour))) => Some(Ok(hour)),
            Ok(Some(Item::Damaged(hour, Damage { file, octets, .. }))) => {
                let damage =
                    format!("octets {} to {} of {file} are no hours", octets.start, octets.end);
                Some(Err(damaged(hour, damage)))
            }
            Ok(None) => None,
            Err(error) => {
                self.ended = true;
                Some(Err(damaged(self.open, format!("the rest cannot be read: {error}"))))
            }
        }
    }

    /// The rows of all hours together.
    fn total(&mut self, [since_ms, until_ms]: [u64; 2]) -> Vec<ProbeHistoryRow> {
        let mut sums: BTreeMap<Arc<Asked>, (u64, bool, Tally)> = BTreeMap::new();
        let mut rows = Vec::new();
        while let Some(read) = if self.ended { None } else { self.read() } {
            let Hour { hour, counts, .. } = match read {
                Ok(hour) => hour,
                Err(row) => {
                    rows.push(row);
                    continue;
                }
            };
            for (asked, tally) in counts.iter().filter(|(asked, _)| self.takes(asked)) {
                let (hours, open, sum) = sums.entry(asked.clone()).or_default();
                *hours += 1;
                *open |= hour == self.open;
                sum.join(tally);
            }
        }
        rows.extend(sums.iter().map(|(asked, (hours, open, sum))| ProbeHistoryRow {
            start_ms: since_ms,
            end_ms: until_ms,
            hours: *hours,
            open: *open,
            ..row(asked, sum)
        }));
        rows
    }
}

impl Iterator for Hours {
    type Item = ProbeHistoryRow;

    fn next(&mut self) -> Option<ProbeHistoryRow> {
        while self.rows.is_empty() && !self.ended {
            match self.read() {
                Some(Ok(hour)) => {
                    let start_ms = u64::from(hour.hour) * HOUR_MS;
                    let open = hour.hour == self.open;
                    let taken = hour.counts.iter().filter(|(asked, _)| self.takes(asked));
                    let rows: Vec<_> = taken
                        .map(|(asked, tally)| ProbeHistoryRow {
                            start_ms,
                            end_ms: start_ms + HOUR_MS,
                            hours: 1,
                            open,
                            ..row(asked, tally)
                        })
                        .collect();
                    self.rows.extend(rows);
                }
                Some(Err(row)) => self.rows.push_back(row),
                None => self.ended = true,
            }
        }
        self.rows.pop_front()
    }
}

fn row(asked: &Asked, tally: &Tally) -> ProbeHistoryRow {
    ProbeHistoryRow {
        probe: asked.probe.to_string(),
        vif: asked.vif.to_string(),
        customer: asked.customer.as_deref().map(str::to_owned),
        target: Some(asked.target),
        kind: asked.kind.to_string(),
        port: asked.port,
        sent: tally.sent,
        received: tally.received,
        lost: tally.lost,
        loss_percent: tally.loss_percent(),
        p50_us: tally.quantile_us(500),
        p90_us: tally.quantile_us(900),
        p99_us: tally.quantile_us(990),
        max_us: Some(tally.max_us).filter(|_| tally.received > 0),
        jitter_us: tally.jitter_us(),
        ..ProbeHistoryRow::default()
    }
}

/// The row of what could not be read, where the hour may have been.
fn damaged(hour: u32, damage: String) -> ProbeHistoryRow {
    let start_ms = u64::from(hour) * HOUR_MS;
    let end_ms = start_ms + HOUR_MS;
    ProbeHistoryRow { start_ms, end_ms, damage: Some(damage), ..ProbeHistoryRow::default() }
}
