//! Outages as they happen, over restarts and crashes.

use std::fs;
use std::io::Write;

use super::*;

/// The ledger in a directory, with nobody who is told.
fn started(directory: &Path, now_ms: u64) -> Ledger {
    Ledger::start(directory, now_ms, Box::new(|_| {}))
}

fn faults(causes: &[Cause]) -> Faults {
    causes.iter().map(|&cause| (cause, None)).collect()
}

#[test]
fn an_outage_lasts_from_the_first_fault_to_the_end_of_the_last() {
    let mut ledger = Ledger::default();
    ledger.update("a", &faults(&[]), 1000, || 5);
    ledger.update("a", &[(Cause::Bfd, Some(150))].into(), 2000, || 7);
    ledger.update("a", &faults(&[Cause::Bfd, Cause::Bgp]), 2100, || 9);
    ledger.update("a", &faults(&[Cause::Bgp]), 2500, || 11);
    assert!(ledger.out("a").is_some());
    ledger.update("a", &faults(&[]), 3000, || 17);
    let expected = Outage {
        vif: Some("a".into()),
        cause: Cause::Bfd,
        also: vec![Cause::Bgp],
        start_ms: 2000,
        end_ms: Some(3000),
        detection_ms: Some(150),
        frames_lost: Some(10),
    };
    assert_eq!(ledger.outages(Some("a"), 0, u64::MAX), std::slice::from_ref(&expected));
    assert_eq!(ledger.outages(Some("a"), 3001, u64::MAX), []);
    assert_eq!(ledger.outages(Some("b"), 0, u64::MAX), []);
    let availability = ledger.availability("a", 0, 11_000);
    assert_eq!(
        (availability.since_ms, availability.down_ms, availability.outages),
        (1000, 1000, 1)
    );
    assert!((availability.ratio() - 0.9).abs() < 1e-9);
    assert_eq!(ledger.availability("a", 2600, 3600).down_ms, 400, "only what lies in the period");
}

#[test]
fn what_the_operator_meant_does_not_count_against_availability() {
    let mut ledger = Ledger::default();
    ledger.update("a", &faults(&[Cause::Admin]), 0, || 0);
    ledger.update("a", &faults(&[]), 500, || 0);
    ledger.update("a", &faults(&[Cause::Link]), 600, || 0);
    let availability = ledger.availability("a", 0, 1000);
    assert_eq!(
        (availability.planned_ms, availability.down_ms, availability.outages),
        (500, 400, 1)
    );
    assert_eq!(availability.by_cause, [(Cause::Admin, 500), (Cause::Link, 400)].into());
    assert!((availability.ratio() - 0.2).abs() < 1e-9);
}

#[test]
fn one_that_flaps_drives_out_nobody_else_and_says_since_when_it_is_known() {
    let mut ledger = Ledger::default();
    let flap = |ledger: &mut Ledger, vif, at| {
        ledger.update(vif, &faults(&[Cause::Bgp]), at, || 0);
        ledger.update(vif, &faults(&[]), at + 1, || 0);
    };
    flap(&mut ledger, "quiet", 10);
    (0..1000).for_each(|n| flap(&mut ledger, "wild", 100 + 10 * n));
    assert_eq!(ledger.outages(Some("quiet"), 0, u64::MAX).len(), 1);
    assert_eq!(ledger.outages(Some("wild"), 0, u64::MAX).len(), REMEMBERED);
    let availability = ledger.availability("wild", 0, 20_000);
    assert_eq!(availability.since_ms, 100 + 10 * (1000 - REMEMBERED as u64));
}

#[test]
fn the_stations_absence_is_an_outage_of_all_with_its_cause() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("state");
    let mut ledger = started(&path, 1000);
    assert_eq!(ledger.outages(None, 0, u64::MAX), [], "before there was no station");
    ledger.update("a", &faults(&[]), 1000, || 0);
    ledger.update("b", &faults(&[Cause::Link]), 1500, || 0);
    ledger.alive(2000);
    drop(ledger); // kill -9

    let mut ledger = started(&path, 5000);
    let of = |ledger: &Ledger| -> Vec<(Option<String>, Cause, u64, Option<u64>)> {
        let outages = ledger.outages(None, 0, u64::MAX).into_iter();
        outages.map(|o| (o.vif, o.cause, o.start_ms, o.end_ms)).collect()
    };
    let mut expected = vec![
        (Some("b".to_owned()), Cause::Link, 1500, Some(2000)),
        (None, Cause::Crash, 2000, Some(5000)),
    ];
    assert_eq!(of(&ledger), expected);
    ledger.update("b", &faults(&[Cause::Link]), 5000, || 0);
    ledger.update("b", &faults(&[]), 5500, || 3);
    ledger.alive(6000);
    ledger.stop(6100);
    drop(ledger);

    let ledger = started(&path, 7000);
    expected.push((Some("b".to_owned()), Cause::Link, 5000, Some(5500)));
    expected.push((None, Cause::Restart, 6100, Some(7000)));
    assert_eq!(of(&ledger), expected);
    assert_eq!(ledger.availability("a", 0, 7000).down_ms, 3000 + 900);
    assert_eq!(ledger.availability("b", 0, 7000).down_ms, 500 + 3000 + 500 + 900);
}

#[test]
fn a_torn_or_foreign_line_costs_only_itself() {
    let directory = tempfile::tempdir().unwrap();
    let mut ledger = started(directory.path(), 1000);
    ledger.update("a", &faults(&[Cause::Link]), 1000, || 0);
    ledger.update("a", &faults(&[]), 1100, || 0);
    drop(ledger);
    let path = directory.path().join("outages.jsonl");
    let mut file = fs::OpenOptions::new().append(true).open(&path).unwrap();
    file.write_all(b"\xff\x00nonsense\n{\"begin\":{\"vif\":\"a\",\"cau").unwrap();
    let mut ledger = started(directory.path(), 2000);
    assert_eq!(ledger.outages(Some("a"), 0, u64::MAX).len(), 2, "its own and the crash");
    ledger.update("a", &faults(&[Cause::Bgp]), 3000, || 0);
    ledger.update("a", &faults(&[]), 3100, || 0);
    drop(ledger);
    let ledger = started(directory.path(), 4000);
    assert_eq!(ledger.outages(Some("a"), 3000, u64::MAX).len(), 2);
}

#[test]
fn a_file_written_anew_says_the_same() {
    let directory = tempfile::tempdir().unwrap();
    let mut ledger = started(directory.path(), 1000);
    for n in 0..300 {
        ledger.update("a", &faults(&[Cause::Bgp]), 2000 + 10 * n, || 0);
        ledger.update("a", &faults(&[]), 2005 + 10 * n, || 0);
    }
    ledger.update("b", &faults(&[Cause::Link]), 9000, || 0);
    let lines: Vec<Line> = ledger.lines().collect();
    ledger.file.as_mut().unwrap().lines.rewrite(lines);
    ledger.alive(9500);
    let before = ledger.outages(Some("a"), 0, u64::MAX);
    drop(ledger);
    let ledger = started(directory.path(), 9600);
    assert_eq!(ledger.outages(Some("a"), 0, u64::MAX)[..before.len()], before);
    assert_eq!(ledger.outages(Some("b"), 0, u64::MAX)[0].end_ms, Some(9500));
}

#[test]
fn a_stall_is_one_outage_of_all_whichever_threads_say_so() {
    let directory = tempfile::tempdir().unwrap();
    let mut ledger = started(directory.path(), 0);
    ledger.update("a", &faults(&[]), 0, || 0);
    // Stopped from 10,000 to 22,000: each thread knows its own part.
    ledger.stalled(10_000, 21_990);
    ledger.stalled(9_900, 22_000);
    ledger.stalled(40_000, 40_150);
    let expected = [
        Outage::of_station(Cause::Stall, 9_900, 22_000),
        Outage::of_station(Cause::Stall, 40_000, 40_150),
    ];
    assert_eq!(ledger.outages(Some("a"), 0, u64::MAX), expected);
    let availability = ledger.availability("a", 0, 100_000);
    assert_eq!((availability.down_ms, availability.longest_ms), (12_250, 12_100));
    assert_eq!(availability.outages, 2);
    ledger.alive(42_000);
    ledger.stop(50_000);
    drop(ledger);
    let ledger = started(directory.path(), 50_000);
    assert_eq!(ledger.outages(None, 0, u64::MAX)[..2], expected);
}

#[test]
fn the_keeper_takes_notes_in_order_and_answers() {
    let (keeper, thread) = Keeper::start(Ledger::default()).unwrap();
    let entry =
        |causes: &[Cause], counted| Entry { vif: "a".into(), faults: faults(causes), counted };
    keeper.update(vec![entry(&[], 0)], 0);
    keeper.update(vec![entry(&[Cause::Link], 3)], 100);
    assert_eq!(keeper.ask(|ledger| ledger.out("a").is_some()), Some(true));
    keeper.update(vec![entry(&[], 10)], 150);
    let lost = keeper.ask(|ledger| ledger.outages(Some("a"), 0, u64::MAX)[0].frames_lost);
    assert_eq!(lost, Some(Some(7)));
    keeper.stop(200);
    thread.join().unwrap();
    assert_eq!(keeper.ask(|ledger| ledger.out("a").is_some()), None, "it has ended");
}

#[test]
fn who_is_told_hears_of_each_entry_once_over_a_crash_too() {
    let directory = tempfile::tempdir().unwrap();
    let (sender, told) = std::sync::mpsc::channel();
    let start = |now_ms| {
        let sender = sender.clone();
        let tell = move |outage: &Outage| sender.send(outage.clone()).unwrap();
        Ledger::start(directory.path(), now_ms, Box::new(tell))
    };
    let mut ledger = start(1000);
    for vif in ["a", "b", "c"] {
        ledger.update(vif, &faults(&[]), 1000, || 0);
    }
    ledger.update("a", &faults(&[Cause::Bgp]), 1100, || 0);
    ledger.update("a", &faults(&[Cause::Bgp, Cause::Link]), 1150, || 0);
    ledger.update("a", &faults(&[]), 1200, || 3);
    ledger.update("b", &faults(&[Cause::Admin]), 1300, || 0);
    ledger.update("c", &faults(&[Cause::Link]), 1350, || 0);
    ledger.retain(|name| name != "c", 1400);
    ledger.stalled(1500, 1700);
    ledger.stalled(1650, 1800);
    ledger.alive(4000);
    drop(ledger);
    // Killed while b was out.
    let mut ledger = start(9000);
    ledger.update("b", &faults(&[Cause::Neighbor]), 9100, || 0);
    let (begun, ended): (Vec<_>, Vec<_>) = told.try_iter().partition(|o| o.end_ms.is_none());
    let sorted = |mut outages: Vec<Outage>| {
        outages.sort_by(|a, b| (a.start_ms, &a.vif).cmp(&(b.start_ms, &b.vif)));
        outages
    };
    let (over, open): (Vec<_>, Vec<_>) =
        ledger.outages(None, 0, u64::MAX).into_iter().partition(|o| o.end_ms.is_some());
    assert_eq!(sorted(ended), over);
    assert_eq!(begun.last(), open.first());
    let starts = |outages: &[Outage]| -> Vec<(Option<String>, u64)> {
        let of_vifs = outages.iter().filter(|outage| outage.vif.is_some());
        of_vifs.map(|outage| (outage.vif.clone(), outage.start_ms)).collect()
    };
    assert_eq!(starts(&sorted(begun)), starts(&ledger.outages(None, 0, u64::MAX)));
}

#[test]
fn a_period_that_is_over_counts_what_lies_in_it() {
    let directory = tempfile::tempdir().unwrap();
    let mut ledger = started(directory.path(), 1000);
    ledger.update("a", &faults(&[]), 1000, || 0);
    for (from, to) in [(2000, 2500), (3900, 4200), (6000, 6100)] {
        ledger.update("a", &faults(&[Cause::Bgp]), from, || 0);
        ledger.update("a", &faults(&[]), to, || 0);
    }
    ledger.update("a", &faults(&[Cause::Link]), 9000, || 0);
    let of = |since, until| {
        let availability = ledger.availability("a", since, until);
        let Availability { since_ms, until_ms, outages, down_ms, longest_ms, .. } = availability;
        (since_ms, until_ms, outages, down_ms, longest_ms)
    };
    assert_eq!(of(0, 4000), (1000, 4000, 2, 600, 500), "a part of the second");
    assert_eq!(of(4000, 7000), (4000, 7000, 2, 300, 200));
    assert_eq!(of(7000, 8000), (7000, 8000, 0, 0, 0));
    assert_eq!(of(8000, 9500), (8000, 9500, 1, 500, 500), "it lasts");
    assert_eq!(of(0, 500), (500, 500, 0, 0, 0), "before it was seen");
    let starts = |since, until| -> Vec<u64> {
        ledger.outages(Some("a"), since, until).iter().map(|outage| outage.start_ms).collect()
    };
    assert_eq!(starts(2500, 6000), [2000, 3900, 6000]);
    assert_eq!((starts(2501, 5999), starts(0, 10_000)), (vec![3900], vec![2000, 3900, 6000, 9000]));
}

#[test]
fn what_stands_when_a_planned_time_is_over_is_an_outage_of_its_own() {
    let mut ledger = Ledger::default();
    ledger.update("a", &faults(&[]), 0, || 0);
    ledger.update("a", &faults(&[Cause::Drain]), 100, || 0);
    assert_eq!(ledger.out("a"), Some(Cause::Drain));
    ledger.update("a", &faults(&[Cause::Drain, Cause::Link]), 200, || 3);
    // In service again, and the link is not back.
    ledger.update("a", &faults(&[Cause::Link]), 500, || 5);
    assert_eq!(ledger.out("a"), Some(Cause::Link));
    ledger.update("a", &faults(&[]), 700, || 9);
    let outages = ledger.outages(Some("a"), 0, u64::MAX);
    let rows: Vec<_> =
        outages.iter().map(|o| (o.cause, o.start_ms, o.end_ms, o.frames_lost)).collect();
    let (drain, link) =
        ((Cause::Drain, 100, Some(500), Some(5)), (Cause::Link, 500, Some(700), Some(4)));
    assert_eq!(rows, [drain, link]);
    assert_eq!(outages[0].also, [Cause::Link]);
    let availability = ledger.availability("a", 0, 1000);
    let Availability { planned_ms, down_ms, outages, frames_lost, .. } = availability;
    assert_eq!((planned_ms, down_ms, outages, frames_lost), (400, 200, 1, 4));
    // A fault that stood before is none of the operator's, until it is mended.
    ledger.update("b", &faults(&[Cause::Link]), 100, || 0);
    ledger.update("b", &faults(&[Cause::Drain, Cause::Link]), 200, || 0);
    ledger.update("b", &faults(&[Cause::Drain]), 500, || 0);
    ledger.update("b", &faults(&[]), 900, || 0);
    let b = ledger.availability("b", 0, 1000);
    assert_eq!((b.planned_ms, b.down_ms, b.outages), (400, 400, 1));
}

#[test]
fn a_planned_time_goes_on_over_the_stations_absence() {
    let directory = tempfile::tempdir().unwrap();
    let mut ledger = started(directory.path(), 1000);
    ledger.update("a", &faults(&[Cause::Drain]), 1000, || 0);
    ledger.update("b", &faults(&[Cause::Link]), 1000, || 0);
    ledger.stop(2000);
    drop(ledger);
    let mut ledger = started(directory.path(), 3000);
    ledger.update("a", &faults(&[Cause::Drain]), 3100, || 0);
    ledger.update("b", &faults(&[]), 3100, || 0);
    ledger.update("a", &faults(&[]), 4000, || 2);
    let of = |name, cause| -> Vec<_> {
        let outages = ledger.outages(Some(name), 0, u64::MAX).into_iter();
        outages.filter(|o| o.cause == cause).map(|o| (o.start_ms, o.end_ms)).collect()
    };
    assert_eq!(of("a", Cause::Drain), [(1000, Some(4000))]);
    assert_eq!(of("b", Cause::Link), [(1000, Some(2000))]);
    let a = ledger.availability("a", 0, 5000);
    assert_eq!((a.planned_ms, a.down_ms, a.outages), (3000, 0, 0), "the restart was within it");
    let b = ledger.availability("b", 0, 5000);
    assert_eq!((b.planned_ms, b.down_ms, b.outages), (0, 2000, 2));
}
