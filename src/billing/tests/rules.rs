//! One rule each: what a bin is, what is told, what is mended.

use super::super::keeper::WAITING;
use super::*;
use crate::blocks::{Damage, HEAD, Kept, Names, encode, months, name_of};

fn at(wall_ms: u64, steady_ms: u64) -> Moment {
    Moment { wall_ms, steady_ms }
}

const NOON: u64 = (FEBRUARY + 43_200) * 1000;

/// A daemon with a VIF on id 1 since a minute to noon.
fn daemon(disk: &Failing) -> Daemon<Failing> {
    let daemon = Daemon::start(disk.clone(), at(NOON - 60_000, 0));
    daemon.commit(vec![None, Some(owner("a", "acme", "gold"))], &[]);
    daemon
}

fn shape(block: &Block) -> (u64, u64, Vec<&'static str>, u64) {
    let frames = block.counts.values().map(|traffic| traffic.rx_frames).sum();
    (block.start_s() * 1000 + 300_000 - NOON, block.observed_ms, block.marks.words(), frames)
}

#[test]
fn a_bin_is_five_minutes_and_the_first_is_marked() {
    let disk = whole();
    let mut daemon = daemon(&disk);
    daemon.count(1, traffic(5));
    daemon.book.turn(at(NOON - 1, 59_999));
    daemon.book.turn(at(NOON + 3, 60_003));
    daemon.count(1, traffic(7));
    daemon.book.turn(at(NOON + 300_001, 360_001));
    let unwritten = daemon.book.unwritten(at(NOON + 310_000, 370_000));
    let all = blocks(&disk, unwritten);
    let shapes: Vec<_> = all.iter().map(shape).collect();
    let start = vec!["start"];
    assert_eq!(
        shapes,
        [(0, 60_003, start, 5), (300_000, 299_998, vec![], 7), (600_000, 9_999, vec![], 0)]
    );
    assert_eq!((daemon.told(), daemon.standing.written_ms()), (vec![], NOON + 300_001));
}

#[test]
fn a_clock_that_is_set_marks_the_bins_and_no_time_is_billed_twice() {
    let disk = whole();
    let mut daemon = daemon(&disk);
    daemon.book.turn(at(NOON, 60_000));
    daemon.count(1, traffic(1));
    // An hour on, and back.
    daemon.book.turn(at(NOON + 3_610_000, 70_000));
    daemon.count(1, traffic(2));
    daemon.book.turn(at(NOON + 20_000, 80_000));
    daemon.count(1, traffic(4));
    daemon.book.turn(at(NOON + 300_000, 360_000));
    let step = |step_ms, bin_ms| Told::ClockStep { step_ms, bin_ms };
    assert_eq!(daemon.told(), [step(3_600_000, NOON), step(-3_600_000, NOON + 3_600_000)]);
    // A part of noon's bin was counted before, a part after: it is one bin.
    let clock = vec!["clock"];
    let all = blocks(&disk, Unwritten::default());
    assert_eq!(
        all.iter().map(shape).collect::<Vec<_>>(),
        [
            (0, 60_000, vec!["start"], 0),
            (300_000, 290_000, clock.clone(), 5),
            (3_900_000, 10_000, clock.clone(), 2)
        ]
    );
    // Set back by ten minutes: the same five minutes come again, and are longer than five minutes.
    daemon.count(1, traffic(8));
    daemon.book.turn(at(NOON + 599_000, 659_000));
    daemon.book.turn(at(NOON, 660_000));
    daemon.count(1, traffic(16));
    daemon.book.turn(at(NOON + 300_000, 960_000));
    let [_, noon, five, _] = &blocks(&disk, Unwritten::default())[..] else { panic!() };
    assert_eq!(shape(noon), (300_000, 590_000, clock.clone(), 21));
    assert_eq!(shape(five), (600_000, 300_000, clock, 8));
    assert_eq!(super::super::report::bits_per_second(1000, noon), 13, "8,000 bits in 590 seconds");
}

#[test]
fn a_clock_that_runs_wrong_marks_its_bins() {
    let disk = whole();
    let mut daemon = daemon(&disk);
    // Slewed by a tenth: no look sees a step.
    for second in 0..=360 {
        daemon.book.turn(at(NOON - 60_000 + 900 * second, 1000 * second));
    }
    for second in 361..=700 {
        daemon.book.turn(at(NOON - 60_000 + 900 * second, 1000 * second));
    }
    let all = blocks(&disk, Unwritten::default());
    assert_eq!(all[1].marks, Marks::CLOCK);
    assert!(all[1].observed_ms > 330_000, "{all:?}");
    assert_eq!(daemon.told(), []);
}

#[test]
fn counters_that_are_read_late_mark_what_they_may_belong_to() {
    let disk = whole();
    let mut daemon = daemon(&disk);
    daemon.book.turn(at(NOON, 60_000));
    daemon.count(1, traffic(9));
    // Stopped for eleven minutes, and read in the third bin.
    daemon.book.turn(at(NOON + 660_000, 720_000));
    daemon.book.turn(at(NOON + 900_000, 960_000));
    daemon.book.turn(at(NOON + 1_200_000, 1_260_000));
    let all = blocks(&disk, Unwritten::default());
    let late = vec!["late"];
    assert_eq!(
        all[1..].iter().map(shape).collect::<Vec<_>>(),
        [
            (300_000, 660_000, late.clone(), 9),
            (900_000, 240_000, late, 0),
            (1_200_000, 300_000, vec![], 0)
        ]
    );
}

#[test]
fn a_bin_goes_on_over_a_restart_and_a_crash_says_what_it_lost() {
    let disk = whole();
    let mut first = daemon(&disk);
    first.book.turn(at(NOON, 60_000));
    first.count(1, traffic(3));
    first.book.stop(at(NOON + 100_000, 160_000));
    let second = Daemon::start(disk.clone(), at(NOON + 120_000, 7));
    second.commit(vec![Some(owner("a", "acme", "gold"))], &[]);
    second.count(0, traffic(4));
    assert_eq!(second.told(), []);
    let mut book = second.book;
    book.turn(at(NOON + 300_000, 180_007));
    let noon = blocks(&disk, Unwritten::default()).pop().unwrap();
    assert_eq!(shape(&noon), (300_000, 280_000, vec!["start", "stop"], 7));
    second.counters.lock().unwrap()[0].plus(&traffic(100));
    drop(book);
    let third = Daemon::start(disk.clone(), at(NOON + 400_000, 0));
    let lost = Told::Lost { from_ms: NOON + 300_000, to_ms: NOON + 400_000 };
    assert_eq!(third.told(), [lost]);
    third.book.stop(at(NOON + 500_000, 100_000));
    let last = blocks(&disk, Unwritten::default()).pop().unwrap();
    assert_eq!(shape(&last), (600_000, 100_000, vec!["start", "stop"], 0));
}

#[test]
fn an_id_that_is_given_to_another_takes_nothing_with_it() {
    let disk = whole();
    let mut daemon = daemon(&disk);
    daemon.book.turn(at(NOON, 60_000));
    daemon.count(1, traffic(1));
    let b = owner("b", "", "");
    // Neither commit is known to the thread before the counters are read.
    daemon.commit(vec![], &[1]);
    daemon.commit(vec![None, Some(b.clone())], &[]);
    daemon.count(1, traffic(10));
    daemon.book.turn(at(NOON + 300_000, 360_000));
    let noon = blocks(&disk, Unwritten::default()).pop().unwrap();
    let counts: Vec<_> = noon.counts.into_iter().collect();
    assert_eq!(counts, [(owner("a", "acme", "gold"), traffic(1)), (b, traffic(10))]);
}

#[test]
fn a_disk_that_is_full_loses_nothing_as_long_as_the_daemon_lives() {
    let disk = whole();
    let mut writer = daemon(&disk);
    writer.book.turn(at(NOON, 60_000));
    // No step more.
    let full = Failing::new(disk.after(0, 0), 0);
    let mut daemon = daemon(&full);
    let bins = WAITING as u64 + 5;
    for bin in 0..bins {
        daemon.count(1, traffic(1));
        daemon.book.turn(at(NOON + 300_000 * bin, 60_000 + 300_000 * bin));
    }
    let told = daemon.told();
    assert!(matches!(told[..], [Told::Lost { .. }, Told::Failed { .. }]), "{told:?}");
    assert!(daemon.standing.failures() > 100 && daemon.standing.waiting() == WAITING as u64);
    let unwritten = daemon.book.unwritten(at(NOON + 300_000 * bins - 1, 300_000 * bins));
    let waiting = &unwritten.blocks;
    assert_eq!(waiting.len(), WAITING + 1);
    let joined = &waiting[WAITING - 1];
    assert_eq!((joined.marks, joined.observed_ms), (Marks::JOINED, 300_000 * 7));
    let sum: u64 = waiting.iter().map(|block| shape(block).3).sum();
    assert_eq!(sum, bins);
    // What is in no file yet is shown all the same.
    assert_eq!(blocks(&full, unwritten).iter().map(|block| shape(block).3).sum::<u64>(), bins);
}

#[test]
fn damage_is_named_and_what_is_beside_it_is_read() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("billing");
    let disk = crate::disk::Files;
    let mut store = Store::new(disk, path.clone());
    let first = FEBRUARY / BIN_S;
    let block = |n: u64| {
        let mut block = Block::new(u32::try_from(first + n).unwrap(), 0, Marks::default());
        block.number = n + 1;
        block.counts.insert(owner("a", "acme", ""), traffic(n + 1));
        block
    };
    let mut ends = vec![0];
    for n in 0..5 {
        store.append(&block(n), &mut Vec::new()).unwrap();
        ends.push(store.written().unwrap().1);
    }
    let name = name_of::<Block>("2028-02");
    let file = path.join(&name);
    let whole = std::fs::read(&file).unwrap();
    let read = || {
        let all = 0..u64::MAX;
        let unwritten = Unwritten::default();
        let mut series = Series::open(disk, &path, &all, unwritten).unwrap();
        let items: Vec<Item<Block>> = std::iter::from_fn(|| series.read().unwrap()).collect();
        items
    };
    let damaged = |n: usize| {
        let octets = ends[n]..ends[n + 1];
        let bin = block(n as u64).bin;
        Item::Damaged(bin, Damage { file: name.clone(), octets, cut: false })
    };
    assert_eq!(read(), (0..5).map(|n| Item::Whole(block(n))).collect::<Vec<_>>());
    // Any bit of any block: its head too, and its length.
    for n in 0..5 {
        for octet in ends[n]..ends[n + 1] {
            let mut other = whole.clone();
            other[usize::try_from(octet).unwrap()] ^= 1 << (octet % 8);
            std::fs::write(&file, &other).unwrap();
            let items = read();
            let bin = |at: usize| if at == n { damaged(n) } else { Item::Whole(block(at as u64)) };
            assert_eq!(items, (0..5).map(bin).collect::<Vec<_>>(), "octet {octet} of block {n}");
            let (last, damage) = Store::new(disk, path.clone()).start().unwrap();
            let is_last = n == 4;
            assert_eq!(last, Some(block(if is_last { 3 } else { 4 })));
            let size = std::fs::metadata(&file).unwrap().len();
            assert_eq!(size, if is_last { ends[4] } else { ends[5] });
            assert!(damage.iter().all(|damage| damage.cut == is_last), "{damage:?}");
        }
    }
    // Cut off anywhere.
    for size in ends[4] + 1..ends[5] {
        std::fs::write(&file, &whole[..usize::try_from(size).unwrap()]).unwrap();
        let (last, damage) = Store::new(disk, path.clone()).start().unwrap();
        assert_eq!(last, Some(block(3)));
        let cut = Damage { file: name.clone(), octets: ends[4]..size, cut: true };
        assert_eq!(damage, [cut]);
    }
    std::os::unix::fs::symlink("/etc/passwd", path.join(name_of::<Block>("2028-03"))).unwrap();
    assert!(Store::new(disk, path.clone()).start().is_err(), "a symbolic link is none of ours");
}

#[test]
fn the_oldest_months_go() {
    let mut store = Store::new(whole(), DIRECTORY.into());
    for day in [0, 31, 62, 93] {
        let bin = u32::try_from((FEBRUARY + day * 86_400) / BIN_S).unwrap();
        store.append(&Block::new(bin, 0, Marks::default()), &mut Vec::new()).unwrap();
    }
    let kept =
        |store: &Store<Failing>| months::<Block, _>(&store.disk, Path::new(DIRECTORY)).unwrap();
    store.prune(9);
    assert_eq!(kept(&store).len(), 4);
    store.prune(2);
    assert_eq!(kept(&store), ["2028-04", "2028-05"]);
    // A clock that is far behind: the file that is written stays.
    store.append(&Block::new(0, 0, Marks::default()), &mut Vec::new()).unwrap();
    store.prune(2);
    assert_eq!(kept(&store), ["1970-01", "2028-04", "2028-05"]);
}

/// The sizes that station-billing(7) states.
#[test]
fn a_busy_vif_takes_some_thirty_octets_and_a_bin_without_traffic_forty() {
    let mut block = Block::new(6_000_000, NOON, Marks::default());
    block.observed_ms = 300_000;
    assert!(encode(&block).len() <= 42, "{}", encode(&block).len());
    for vif in 0..4096 {
        let owner = owner(
            &format!("customer-{:04}-vif-{vif:04}", vif / 4),
            &format!("customer {}", vif / 4),
            "",
        );
        let frames = 10_000_000 + 77 * vif;
        let (rx_octets, tx_octets) = (900 * frames, 100 * frames);
        let traffic = Traffic { rx_frames: frames, rx_octets, tx_frames: frames, tx_octets };
        block.counts.insert(owner, traffic);
    }
    let octets = encode(&block);
    let each = octets.len() / 4096;
    assert!((28..=40).contains(&each), "{each}");
    let decoded = Block::decode(block.bin, &octets[HEAD..], &mut Names::default());
    assert_eq!(decoded, Some(block));
    for cut in [HEAD, HEAD + 1, octets.len() - 1] {
        assert_eq!(Block::decode(6_000_000, &octets[HEAD..cut], &mut Names::default()), None);
    }
}
