//! The power fails at every step of a change: what the next start finds.

use std::cell::Cell;
use std::ffi::OsString;
use std::path::Path;

use super::replace::replace_on;
use super::snapshot::tests::snapshot;
use super::{Confirm, History, Snapshot};
use crate::disk::Disk;
use crate::disk::failing::{Failing, State, cut_everywhere};

const FILE: &str = "/etc/station.toml";
const DIRECTORY: &str = "/var/history";

/// A station's disk with configurations 1 and 2 committed, 2 running.
fn before() -> State {
    let disk = Failing::new(State::default(), usize::MAX);
    let mut file = disk.create(Path::new(FILE), None).unwrap();
    disk.write(&mut file, b"text 2").unwrap();
    disk.sync(&file).unwrap();
    disk.sync_directory(Path::new("/etc")).unwrap();
    let history = History::on(disk.clone(), Path::new(DIRECTORY));
    for number in 1..=2 {
        history.prepare(&snapshot(number, &format!("text {number}"))).unwrap();
        history.keep(number).unwrap();
    }
    drop(history);
    disk.after(0, 0)
}

/// What a station does, as `daemon::change` does it: true where the operator was told that it is done.
fn apply(disk: &Failing, next: &Snapshot, engine_takes_it: bool) -> bool {
    let history = History::on(disk.clone(), Path::new(DIRECTORY));
    let number = next.entry.number;
    if history.prepare(next).is_err() {
        return false;
    }
    let Ok(written) = replace_on(disk.clone(), Path::new(FILE), &next.text) else {
        history.discard(number);
        return false;
    };
    if !engine_takes_it {
        drop(written.take_back());
        history.discard(number);
        return false;
    }
    let kept = history.keep(number);
    written.keep();
    history.prune(2, None);
    kept.is_ok()
}

/// The text and the number that a start finds, after it has put history and file together.
fn start(state: State) -> (String, u64, History<Failing>) {
    let disk = Failing::new(state, usize::MAX);
    let history = History::on(disk.clone(), Path::new(DIRECTORY));
    let text = String::from_utf8(disk.read(Path::new(FILE)).unwrap()).unwrap();
    let newest = history.recover(Path::new(FILE), &text).unwrap().unwrap();
    assert!(newest.entry.is_some(), "{text:?} is not configuration {}", newest.number);
    for number in history.numbers().unwrap() {
        history.read(number).unwrap();
    }
    let names = [Path::new("/etc"), Path::new(DIRECTORY)].map(|path| disk.names(path).unwrap());
    assert_eq!(names[0], ["station.toml"], "left beside the file");
    let strange = |name: &&OsString| !name.to_str().unwrap().ends_with(".snapshot");
    assert_eq!(names[1].iter().find(strange), None, "left in the history");
    (text, newest.number, history)
}

#[test]
fn an_apply_is_whole_or_nothing() {
    let next = snapshot(3, "text 3");
    let disks = cut_everywhere(
        before,
        |disk| apply(disk, &next, true),
        |state, done| {
            let (text, number, history) = start(state);
            let outcome = (text.as_str(), number);
            assert!([("text 2", 2), ("text 3", 3)].contains(&outcome), "{outcome:?}");
            assert!(!done || number == 3, "it was said to be done");
            let numbers = history.numbers().unwrap();
            assert!(numbers.contains(&2), "the way back is lost: {numbers:?}");
        },
    );
    assert!(disks > 50, "{disks}");
}

#[test]
fn a_change_that_the_engine_refuses_leaves_nothing() {
    let next = snapshot(3, "text 3");
    let work = |disk: &Failing| {
        apply(disk, &next, false);
        !disk.is_cut()
    };
    let disks = cut_everywhere(before, work, |state, refused| {
        let (text, number, _) = start(state);
        // Where the power fails before it is taken back, the next start has the new one, whole.
        assert_eq!(text, format!("text {number}"));
        assert!(!refused || number == 2, "it was said to be refused");
    });
    assert!(disks > 50, "{disks}");
}

/// What a start does about a change that nobody confirmed, as `daemon::book` does it.
fn roll_back(disk: &Failing) -> bool {
    let history = History::on(disk.clone(), Path::new(DIRECTORY));
    let text = String::from_utf8(disk.read(Path::new(FILE)).unwrap()).unwrap();
    let Ok(Some(newest)) = history.recover(Path::new(FILE), &text) else { return false };
    let entry = newest.entry.unwrap();
    let Some(confirm) = entry.unconfirmed() else { return true };
    let old = history.newest_up_to(confirm.back_to).unwrap();
    apply(disk, &snapshot(newest.number + 1, &old.text), true)
}

/// The power may fail in the change that is to be confirmed, and again in each attempt to take it back.
#[test]
fn an_unconfirmed_change_goes_back_whenever_the_power_fails() {
    let mut next = snapshot(3, "text 3");
    let confirm = Confirm { until_ms: 9, back_to: 2, confirmed_ms: None, confirmed_by: None };
    next.entry.confirm = Some(confirm);
    let cuts = Cell::new(0);
    let first = |state: State, _: bool| {
        let whole = Failing::new(state, usize::MAX);
        let again = || whole.after(0, 0);
        let disks = cut_everywhere(again, roll_back, |state, done| {
            let (text, number, history) = start(state);
            let entry = history.read(number).unwrap().entry;
            match entry.unconfirmed() {
                Some(_) => {
                    assert_eq!((text.as_str(), number, done), ("text 3", 3, false));
                    let third = Failing::new(history.disk.after(0, 0), usize::MAX);
                    assert!(roll_back(&third));
                    let (text, number, _) = start(third.after(0, 0));
                    assert_eq!((text.as_str(), number), ("text 2", 4));
                }
                None => assert_eq!(text, "text 2", "configuration {number}"),
            }
        });
        cuts.set(cuts.get() + disks);
    };
    cut_everywhere(before, |disk| apply(disk, &next, true), first);
    assert!(cuts.get() > 1000, "{}", cuts.get());
}

#[test]
fn a_confirmation_is_there_or_not() {
    let mut trial = snapshot(3, "text 3");
    let confirm = Confirm { until_ms: 9, back_to: 2, confirmed_ms: None, confirmed_by: None };
    trial.entry.confirm = Some(confirm.clone());
    let mut confirmed = trial.clone();
    confirmed.entry.confirm = Some(Confirm { confirmed_ms: Some(8), ..confirm });
    let before = || {
        let disk = Failing::new(before(), usize::MAX);
        assert!(apply(&disk, &trial, true));
        disk.after(0, 0)
    };
    let work = |disk: &Failing| {
        History::on(disk.clone(), Path::new(DIRECTORY)).rewrite(&confirmed).is_ok()
    };
    let disks = cut_everywhere(before, work, |state, done| {
        let (text, number, history) = start(state);
        assert_eq!((text.as_str(), number), ("text 3", 3));
        let unconfirmed = history.read(3).unwrap().entry.unconfirmed().is_some();
        assert!(!(done && unconfirmed), "it was said to be confirmed");
    });
    assert!(disks > 10, "{disks}");
}
