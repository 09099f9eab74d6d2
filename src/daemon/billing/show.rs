//! `billing`: what clients read of the series. It is read on the connection's thread, a bin at a time.

use std::collections::VecDeque;
use std::io;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use super::super::answer::no;
use super::super::change::stopping;
use super::super::control_thread::Control;
use super::owners;
use crate::admin::answer::Answer;
use crate::admin::protocol::{BillingFilter, ErrorKind, Period};
use crate::admin::rows::{self, BillingBinRow, BillingRow};
use crate::billing::{BIN_S, Block, Keeper, Owner, Report, Scope, Series, Wanted, bits_per_second};
use crate::blocks::{Damage, Item};
use crate::clock::now_ms;
use crate::config::model::Config;
use crate::disk::Files;
use crate::observe::Traffic;

/// There is one report at a time: it has some kilobytes for each VIF in memory.
static REPORT: Mutex<()> = Mutex::new(());
/// How long the next waits for its turn.
const PATIENCE: Duration = Duration::from_secs(10);

/// What is asked for, and by what it is answered.
struct Question {
    wanted: Wanted,
    /// In seconds since 1970.
    period: Range<u64>,
    keeper: Keeper,
    config: Arc<Config>,
}

/// Answers with what is billed, or with the bins.
pub(in super::super) fn show(control: &Control, filter: &BillingFilter) -> Answer {
    let BillingFilter { since_ms, until_ms, vif, customer, group, bins } = filter.clone();
    let period = Period { vif: None, since_ms, until_ms };
    let (since_ms, until_ms) = match period.bounds(now_ms()) {
        Ok(bounds) => bounds,
        Err(refusal) => return Answer::Refused(refusal),
    };
    let question = Question {
        wanted: Wanted { vif, customer, group },
        period: since_ms.div_ceil(1000)..until_ms.div_ceil(1000),
        keeper: control.billing.keeper.clone(),
        config: control.config().clone(),
    };
    Answer::later(move || {
        let answer = if bins { question.bins() } else { question.report() };
        answer.unwrap_or_else(|error| {
            let message = format!("the billing series cannot be read: {error}");
            Answer::refused(ErrorKind::Internal, message)
        })
    })
}

impl Question {
    /// The series of the period, and the number of the open bin; `None` where the station is stopping.
    fn series(&self) -> io::Result<Option<(Series<Files>, u32)>> {
        let Some(unwritten) = self.keeper.ask() else { return Ok(None) };
        let open = unwritten.blocks.last().map_or(u32::MAX, |block| block.bin);
        let series = Series::open(Files, self.keeper.directory(), &self.period, unwritten)?;
        Ok(Some((series, open)))
    }

    /// The VIFs of the configuration that are wanted.
    fn expected(&self) -> impl Iterator<Item = Owner> {
        owners(&self.config).filter(|owner| self.wanted.scopes(owner).next().is_some())
    }

    /// What a named VIF, customer or meter group is refused with that nobody knows.
    fn unknown(&self) -> Option<Answer> {
        let Wanted { vif, customer, group } = &self.wanted;
        let named = [("vif", vif), ("customer", customer), ("meter group", group)];
        named.into_iter().find_map(|(what, name)| Some(no(what, name.as_ref()?)))
    }

    fn report(&self) -> io::Result<Answer> {
        let Some(_one) = turn() else {
            let message = "other billing reports are being made: ask again in a moment";
            return Ok(Answer::refused(ErrorKind::Busy, message));
        };
        let Some((mut series, open)) = self.series()? else {
            return Ok(Answer::Refused(stopping()));
        };
        let mut report = Report::new(self.wanted.clone(), series.at_most());
        self.expected().for_each(|owner| report.include(&owner));
        let mut damage = Vec::new();
        while let Some(item) = series.read()? {
            match item {
                Item::Whole(block) if block.bin == open => {}
                Item::Whole(block) => report.add(&block),
                Item::Damaged(_, damaged) => damage.push(words(&damaged)),
            }
        }
        let until = self.period.end.min(u64::from(open) * BIN_S);
        let of_period = until.div_ceil(BIN_S).saturating_sub(self.period.start.div_ceil(BIN_S));
        let (bins, incomplete) = (report.bins as u64, report.incomplete as u64);
        let rows = report.end().map(|(scope, billed)| {
            let (scope, name, customer) = named(scope);
            BillingRow {
                scope,
                name,
                customer,
                since_ms: self.period.start * 1000,
                until_ms: until.max(self.period.start) * 1000,
                bins,
                missing_bins: of_period.saturating_sub(bins),
                incomplete_bins: incomplete,
                traffic: row_traffic(&billed.traffic),
                p95_rx_bits_per_s: billed.p95_rx,
                p95_tx_bits_per_s: billed.p95_tx,
                p95_bits_per_s: billed.p95_rx.max(billed.p95_tx),
                enhanced_bits_per_s: billed.enhanced,
                damage: damage.clone(),
            }
        });
        let rows: Vec<BillingRow> = rows.collect();
        match self.unknown().filter(|_| rows.is_empty()) {
            Some(unknown) => Ok(unknown),
            None => Ok(Answer::rows(rows)),
        }
    }

    fn bins(&self) -> io::Result<Answer> {
        let Some((series, open)) = self.series()? else { return Ok(Answer::Refused(stopping())) };
        // What is configured and named has a row for each bin, though nothing passed.
        let known = self.expected().next();
        // What is named alone has a series of its own: that of the VIF, or the total, which is the last.
        let one = [&self.wanted.vif, &self.wanted.customer, &self.wanted.group];
        let always = known.filter(|_| one.iter().any(|name| name.is_some()));
        let always = always.and_then(|owner| self.wanted.scopes(&owner).last());
        let wanted = self.wanted.clone();
        let mut bins = Bins { series, wanted, always, open, rows: VecDeque::new(), ended: false };
        let first = bins.next();
        match self.unknown().filter(|_| first.is_none() && bins.always.is_none()) {
            Some(unknown) => Ok(unknown),
            None => Ok(Answer::rows(first.into_iter().chain(bins))),
        }
    }
}

/// The right to make a report, unless others take too long with theirs.
fn turn() -> Option<MutexGuard<'static, ()>> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match REPORT.try_lock() {
            Ok(turn) => return Some(turn),
            Err(_) if Instant::now() > deadline => return None,
            Err(_) => std::thread::sleep(Duration::from_millis(20)),
        }
    }
}

/// The rows of bins, in the order of time.
struct Bins {
    series: Series<Files>,
    wanted: Wanted,
    /// What has a row for each bin.
    always: Option<Scope>,
    /// The number of the open bin.
    open: u32,
    /// Rows of the bin that was read last.
    rows: VecDeque<BillingBinRow>,
    ended: bool,
}

impl Iterator for Bins {
    type Item = BillingBinRow;

    fn next(&mut self) -> Option<BillingBinRow> {
        while self.rows.is_empty() && !self.ended {
            match self.series.read() {
                Ok(Some(Item::Whole(block))) => self.fill(&block),
                Ok(Some(Item::Damaged(bin, damage))) => {
                    self.rows.push_back(damaged(bin, damage.file.clone(), words(&damage)));
                }
                Ok(None) => self.ended = true,
                Err(error) => {
                    self.ended = true;
                    let file = "billing".to_owned();
                    self.rows.push_back(damaged(
                        0,
                        file,
                        format!("the rest cannot be read: {error}"),
                    ));
                }
            }
        }
        self.rows.pop_front()
    }
}

impl Bins {
    fn fill(&mut self, block: &Block) {
        let mut sums = self.wanted.sums(block);
        if let Some(always) = &self.always {
            let is_there = match always {
                // It may have been another customer's.
                Scope::Vif(..) => !sums.is_empty(),
                _ => sums.contains_key(always),
            };
            if !is_there {
                sums.insert(always.clone(), Traffic::default());
            }
        }
        let is_open = block.bin == self.open;
        let marks: Vec<String> = is_open
            .then_some("open")
            .into_iter()
            .chain(block.marks.words())
            .map(str::to_owned)
            .collect();
        self.rows.extend(sums.into_iter().map(|(scope, traffic)| {
            let (scope, name, customer) = named(scope);
            BillingBinRow {
                scope,
                name,
                customer,
                start_ms: block.start_s() * 1000,
                end_ms: (block.start_s() + BIN_S) * 1000,
                traffic: row_traffic(&traffic),
                rx_bits_per_s: bits_per_second(traffic.rx_octets, block),
                tx_bits_per_s: bits_per_second(traffic.tx_octets, block),
                observed_s: Duration::from_millis(block.observed_ms).as_secs_f64(),
                complete: block.is_complete() && !is_open,
                marks: marks.clone(),
                damage: None,
            }
        }));
    }
}

/// The row of what could not be read, where the bin may have been.
fn damaged(bin: u32, file: String, damage: String) -> BillingBinRow {
    let start_s = u64::from(bin) * BIN_S;
    BillingBinRow {
        scope: "damage".to_owned(),
        name: file,
        customer: None,
        start_ms: start_s * 1000,
        end_ms: (start_s + BIN_S) * 1000,
        traffic: rows::Traffic::default(),
        rx_bits_per_s: 0,
        tx_bits_per_s: 0,
        observed_s: 0.0,
        complete: false,
        marks: Vec::new(),
        damage: Some(damage),
    }
}

fn words(Damage { file, octets, .. }: &Damage) -> String {
    format!("octets {} to {} of {file} are no bins", octets.start, octets.end)
}

/// What kind of series it is, its name, and whose it is.
fn named(scope: Scope) -> (String, String, Option<String>) {
    let (scope, name, customer) = match scope {
        Scope::Vif(vif, customer) => ("vif", vif, customer),
        Scope::Customer(customer) => ("customer", customer.clone(), Some(customer)),
        Scope::Group(group) => ("group", group, None),
    };
    (scope.to_owned(), name.to_string(), customer.map(|name| name.to_string()))
}

fn row_traffic(traffic: &Traffic) -> rows::Traffic {
    let Traffic { rx_frames, rx_octets, tx_frames, tx_octets } = *traffic;
    rows::Traffic { rx_frames, rx_octets, tx_frames, tx_octets }
}
