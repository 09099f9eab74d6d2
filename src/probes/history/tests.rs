//! Histories of results against a naive account of them, and the power cut at every step.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex};

use proptest::collection::vec;
use proptest::prelude::*;

use super::keeper::{Book, MONTHS, OPEN, RETRY_MS, SAVE_MS, WAITING};
use super::*;
use crate::blocks::{self, HEAD, Item, Kept, Names, Series, Store, months};
use crate::clock::Moment;
use crate::disk::failing::{Failing, State as Found, cut_everywhere};
use crate::disk::{Disk, Files};

const DIRECTORY: &str = "/var/lib/station/probes";
/// 2026-11-30T23:00:00Z: the last hour of a month.
const LAST_HOUR: u64 = 1_796_079_600;
const HOUR_MS: u64 = 3_600_000;

/// By hour and target.
type All = BTreeMap<(u32, Arc<Asked>), Tally>;

fn asked(n: usize) -> Arc<Asked> {
    let (kind, port) = [("icmp", None), ("tcp", Some(443)), ("twamp", Some(862))][n % 3];
    let target = ["10.1.0.10", "fd10::1", "10.1.0.11"][n % 3].parse().unwrap();
    let customer = n.is_multiple_of(2).then(|| "Acme".into());
    Arc::new(Asked {
        probe: "cpe".into(),
        vif: "a".into(),
        customer,
        target,
        kind: kind.into(),
        port,
    })
}

/// One result: whose, when, and its round trip, or none.
type Result = (usize, u64, Option<u32>);

fn noted(tally: &mut Tally, us: Option<u32>) {
    tally.sent += 1;
    match us {
        Some(us) => tally.answered(us, Some(500)),
        None => tally.lost += 1,
    }
}

fn naive(results: &[Result]) -> All {
    let mut all = All::new();
    for (of, wall_ms, us) in results {
        let hour = u32::try_from(wall_ms / HOUR_MS).unwrap();
        noted(all.entry((hour, asked(*of))).or_default(), *us);
    }
    all
}

struct Daemon<D: Disk> {
    book: Book<D>,
    notes: Notes,
    told: Arc<Mutex<Vec<Told>>>,
    now: Moment,
}

impl<D: Disk + Clone> Daemon<D> {
    fn start(disk: D, now: Moment) -> Daemon<D> {
        Daemon::within(disk, Path::new(DIRECTORY), now)
    }

    fn within(disk: D, directory: &Path, now: Moment) -> Daemon<D> {
        let (notes, told) = (Notes::default(), Arc::<Mutex<Vec<Told>>>::default());
        let tell = told.clone();
        let tell = Box::new(move |what| tell.lock().unwrap().push(what));
        let book = Book::start(Store::new(disk, directory.into()), notes.clone(), now, tell);
        Daemon { book, notes, told, now }
    }

    fn note(&self, result: Result) {
        self.notes.note(&asked(result.0), result.1, |tally| noted(tally, result.2));
    }

    /// So much time passes.
    fn wait(&mut self, ms: u64) {
        self.now = Moment { wall_ms: self.now.wall_ms + ms, steady_ms: self.now.steady_ms + ms };
        self.book.turn(self.now);
    }

    fn told(&self) -> Vec<Told> {
        std::mem::take(&mut self.told.lock().unwrap())
    }

    /// All that there is, as a client reads it.
    fn read(&mut self, disk: &D) -> All {
        let unwritten = self.book.unwritten(self.now);
        let all = 0..u64::from(u32::MAX) * Hour::SPAN_S;
        let mut series = Series::open(disk.clone(), Path::new(DIRECTORY), &all, unwritten).unwrap();
        let mut found = All::new();
        while let Some(item) = series.read().unwrap() {
            let Item::Whole(Hour { hour, counts, .. }) = item else { panic!("{item:?}") };
            for (asked, tally) in counts {
                assert_eq!(found.insert((hour, asked), tally), None, "an hour comes once");
            }
        }
        found
    }
}

fn begin() -> Moment {
    Moment { wall_ms: LAST_HOUR * 1000 + 50 * 60_000, steady_ms: 7_000_000 }
}

#[derive(Clone, Debug)]
enum Step {
    Note(usize, Option<u32>),
    Wait(u64),
    Clock(i64),
    Kill(usize, usize),
    Stop,
    Read,
}

fn step() -> impl Strategy<Value = Step> {
    let us = proptest::option::weighted(0.8, 1..20_000_000_u32);
    prop_oneof![
        12 => (0..3_usize, us).prop_map(|(of, us)| Step::Note(of, us)),
        8 => (0..1500_u64).prop_map(Step::Wait),
        1 => (-9000_i64..9000).prop_map(Step::Clock),
        2 => (0..4096_usize, 0..4_usize).prop_map(|(names, files)| Step::Kill(names, files)),
        1 => Just(Step::Stop),
        1 => Just(Step::Read),
    ]
}

/// Which of the first results what is found has: these, and nothing twice.
fn prefix(found: &All, results: &[Result], surely: usize) -> usize {
    let has = |count: &usize| naive(&results[..*count]) == *found;
    (surely..=results.len()).rev().find(has).unwrap_or_else(|| {
        panic!("{found:?} is none of what {surely} of {} results make", results.len())
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    #[test]
    fn a_loss_of_power_costs_five_minutes_and_nothing_counts_twice(steps in vec(step(), 1..60)) {
        let mut disk = Failing::new(Found::default(), usize::MAX);
        let mut daemon = Daemon::start(disk.clone(), begin());
        let (mut results, mut surely): (Vec<Result>, usize) = (Vec::new(), 0);
        // Of each result, when it was noted: by the clock that nobody sets.
        let mut times: Vec<u64> = Vec::new();
        for step in steps {
            match step {
                Step::Note(of, us) => {
                    let result = (of, daemon.now.wall_ms, us);
                    daemon.note(result);
                    results.push(result);
                    times.push(daemon.now.steady_ms);
                }
                Step::Wait(seconds) => {
                    (0..seconds / 60).for_each(|_| daemon.wait(60_000));
                    daemon.wait(seconds % 60 * 1000);
                    let durable = daemon.now.steady_ms.saturating_sub(SAVE_MS + 60_000);
                    surely = surely.max(times.partition_point(|at| *at < durable));
                }
                Step::Clock(seconds) => {
                    daemon.now.wall_ms = daemon.now.wall_ms.saturating_add_signed(seconds * 1000);
                }
                Step::Kill(names, files) => {
                    disk = Failing::new(disk.after(names, files), usize::MAX);
                    daemon = Daemon::start(disk.clone(), daemon.now);
                    let found = daemon.read(&disk);
                    surely = prefix(&found, &results, surely);
                    results.truncate(surely);
                    times.truncate(surely);
                }
                Step::Stop => {
                    daemon.book.stop(daemon.now);
                    disk = Failing::new(disk.after(0, 0), usize::MAX);
                    daemon = Daemon::start(disk.clone(), daemon.now);
                    surely = results.len();
                }
                Step::Read => {}
            }
            prop_assert_eq!(daemon.read(&disk), naive(&results));
        }
        prop_assert_eq!(daemon.told(), []);
    }

    #[test]
    fn percentiles_are_those_of_all_round_trips(hours in vec(vec(1..30_000_000_u32, 0..200), 1..9)) {
        let mut sum = Tally::default();
        for hour in &hours {
            let mut tally = Tally::default();
            hour.iter().for_each(|us| noted(&mut tally, Some(*us)));
            sum.join(&tally);
        }
        let mut all: Vec<u32> = hours.concat();
        all.sort_unstable();
        prop_assert_eq!(sum.received, all.len() as u64);
        prop_assert_eq!(sum.max_us, all.last().map_or(0, |us| u64::from(*us)));
        for thousandths in [1, 500, 900, 990, 1000] {
            let place = (all.len() * thousandths).div_ceil(1000).max(1) - 1;
            let exact = all.get(place).map(|us| u64::from(*us));
            let said = sum.quantile_us(thousandths as u64);
            prop_assert_eq!(said.is_some(), exact.is_some());
            let close = |(said, exact): (u64, u64)| said >= exact && said - exact <= exact / 100;
            prop_assert!(said.zip(exact).is_none_or(close), "{:?} of {:?}", said, exact);
        }
    }
}

/// Results every minute or so, across the end of a month, with a restart: how many of them were surely written.
fn work(disk: &Failing, results: &RefCell<Vec<Result>>) -> usize {
    results.borrow_mut().clear();
    let (mut surely, mut now) = (0, begin());
    for _ in 0..2 {
        let mut daemon = Daemon::start(disk.clone(), now);
        for n in 0..5_usize {
            let result = (n, daemon.now.wall_ms, Some(100 + u32::try_from(n).unwrap()));
            daemon.note(result);
            results.borrow_mut().push(result);
            daemon.wait(200_000);
            if daemon.book.is_written() {
                surely = results.borrow().len();
            }
            if disk.is_cut() {
                return surely;
            }
        }
        now = daemon.now;
        daemon.book.stop(now);
        if !disk.is_cut() {
            surely = results.borrow().len();
        }
    }
    surely
}

#[test]
fn the_power_fails_at_every_step() {
    let (surely, results) = (RefCell::new(0), RefCell::default());
    let first = |disk: &Failing| {
        *surely.borrow_mut() = work(disk, &results);
        !disk.is_cut()
    };
    let twice = RefCell::new(0);
    let disks = cut_everywhere(Found::default, first, |state, _| {
        let left = Failing::new(state, usize::MAX);
        let later = Moment { wall_ms: begin().wall_ms + HOUR_MS, ..begin() };
        // The next start mends it, and its power fails as well.
        let mend = |disk: &Failing| {
            Daemon::start(disk.clone(), later);
            !disk.is_cut()
        };
        let cuts = cut_everywhere(
            || left.after(0, 0),
            mend,
            |state, _| {
                let disk = Failing::new(state, usize::MAX);
                let mut daemon = Daemon::start(disk.clone(), later);
                let found = daemon.read(&disk);
                prefix(&found, &results.borrow(), *surely.borrow());
                assert!(daemon.told().iter().all(|told| matches!(told, Told::Damaged(_))));
            },
        );
        *twice.borrow_mut() += cuts;
    });
    assert!(disks >= 60 && *twice.borrow() > 200, "{disks} {}", twice.borrow());
}

#[test]
fn a_full_disk_is_told_once_and_what_waits_is_written() {
    let disk = Failing::new(Found::default(), usize::MAX);
    let mut daemon = Daemon::start(disk.clone(), begin());
    let mut results = Vec::new();
    let mut hour = |daemon: &mut Daemon<Failing>| {
        let result = (0, daemon.now.wall_ms, Some(300));
        daemon.note(result);
        results.push(result);
        (0..60).for_each(|_| daemon.wait(60_000));
        results.clone()
    };
    disk.fill(true);
    hour(&mut daemon);
    let results = hour(&mut daemon);
    let error = std::io::Error::from(std::io::ErrorKind::StorageFull).to_string();
    assert_eq!(daemon.told(), [Told::Failed { error }]);
    assert_eq!(daemon.read(&disk), naive(&results), "what waits is shown");
    disk.fill(false);
    daemon.wait(RETRY_MS);
    assert_eq!(daemon.told(), [Told::Written { hours: 2, lost: 0 }]);
    assert_eq!(daemon.read(&disk), naive(&results));
}

#[test]
fn a_disk_that_is_full_for_long_costs_the_oldest_hours() {
    let disk = Failing::new(Found::default(), usize::MAX);
    let mut daemon = Daemon::start(disk.clone(), begin());
    disk.fill(true);
    for _ in 0..WAITING + 3 {
        daemon.note((0, daemon.now.wall_ms, None));
        daemon.wait(HOUR_MS);
    }
    disk.fill(false);
    daemon.wait(RETRY_MS);
    let told = daemon.told();
    let written = Told::Written { hours: WAITING as u64, lost: 3 };
    assert!(matches!(&told[..], [Told::Failed { .. }, last] if *last == written), "{told:?}");
    assert_eq!(daemon.read(&disk).len(), WAITING);
}

#[test]
fn thirteen_months_are_kept() {
    let disk = Failing::new(Found::default(), usize::MAX);
    let mut daemon = Daemon::start(disk.clone(), begin());
    for _ in 0..MONTHS + 2 {
        daemon.note((1, daemon.now.wall_ms, Some(1)));
        daemon.wait(31 * 24 * HOUR_MS);
    }
    let kept = months::<Hour, _>(&disk, Path::new(DIRECTORY)).unwrap();
    assert_eq!(kept.len(), MONTHS);
    assert_eq!(kept.last().unwrap(), "2028-02");
    assert_eq!(daemon.read(&disk).len(), MONTHS);
}

#[test]
fn a_damaged_file_of_the_open_hour_is_told_and_costs_it_alone() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("probes");
    let mut daemon = Daemon::within(Files, &path, begin());
    daemon.note((0, daemon.now.wall_ms, Some(1)));
    daemon.wait(1000);
    daemon.book.stop(daemon.now);
    let file = path.join(OPEN[0]);
    let mut octets = std::fs::read(&file).unwrap();
    let (size, at) = (octets.len() as u64, octets.len() - 1);
    assert_eq!(blocks::decode::<Hour>(&octets).unwrap().counts.len(), 1);
    octets[at] ^= 1;
    std::fs::write(&file, octets).unwrap();
    let daemon = Daemon::within(Files, &path, begin());
    let damage = blocks::Damage { file: OPEN[0].to_owned(), octets: 0..size, cut: false };
    assert_eq!(daemon.told(), [Told::Damaged(damage)]);
}

/// The size that station-probe(7) states, of a target that is asked each second.
#[test]
fn an_hour_of_a_target_takes_some_hundred_octets_and_reads_back() {
    let mut hour = Hour::new(7, 498_912);
    for of in 0..3 {
        let tally = hour.counts.entry(asked(of)).or_default();
        // Most within a quarter of a millisecond around 300 us, some far beyond.
        for n in 0..3600_u32 {
            let spread = n.wrapping_mul(2_654_435_761) >> 24;
            let tail = if n % 100 == 0 { n } else { 0 };
            noted(tally, Some(200 + spread + tail));
        }
    }
    let octets = blocks::encode(&hour);
    let each = octets.len() / 3;
    assert!((300..=480).contains(&each), "{each}");
    assert_eq!(blocks::decode(&octets), Some(hour));
    for cut in 0..octets.len() {
        assert_eq!(blocks::decode::<Hour>(&octets[..cut]), None);
        let behind = &octets[HEAD.min(cut)..cut];
        assert_eq!(Hour::decode(498_912, behind, &mut Names::default()), None, "{cut}");
    }
    // No more than this, whatever the round trips are.
    let mut worst = Tally::default();
    (0..=u32::MAX).step_by(999_983).chain(0..40_000).for_each(|us| noted(&mut worst, Some(us)));
    let mut octets = Vec::new();
    worst.encode(&mut octets);
    assert!(octets.len() < 5_000, "{}", octets.len());
}
