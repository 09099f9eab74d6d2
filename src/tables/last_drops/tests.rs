use super::*;

const UNKNOWN: Loss = Loss::Dropped(DropReason::UnknownVlan);
const RUNT: Loss = Loss::Dropped(DropReason::Runt);
const MS: u64 = 1_000_000;

/// A frame of a sender on a VLAN, with an IPv4 packet and a payload.
fn frame(sender: u16, vid: u16, source: u8) -> Vec<u8> {
    let mut frame = vec![2; 12];
    frame[10..12].copy_from_slice(&sender.to_be_bytes());
    let [high, low] = vid.to_be_bytes();
    frame.extend([0x81, 0, high, low, 8, 0, 0x45, 0, 0, 40, 0, 0, 0, 0, 64, 17]);
    frame.extend([0, 0, 10, 0, 0, source, 10, 0, 0, 9, 0x30, 0x39, 0, 53, 0xaa, 0xbb, 0xcc, 0xdd]);
    frame
}

fn drops(entries: usize) -> LastDrops {
    LastDrops::new(DropReason::COUNT, PORT_WINDOWS, entries)
}

#[test]
fn frames_of_one_sender_are_one_entry_with_a_count() {
    let drops = drops(4);
    for n in 0..31 {
        drops.record(UNKNOWN, &frame(1, 310, 1), 1000 + n);
    }
    drops.record(UNKNOWN, &frame(1, 311, 1), 2000);
    let tally = Tally { loss: UNKNOWN, count: 32, first_ns: 1000, last_ns: 2000 };
    assert_eq!(drops.tallies().collect::<Vec<_>>(), [tally]);
    let frames: Vec<_> = drops.frames().collect();
    let seen: Vec<_> = frames.iter().map(|frame| (frame.count, frame.last_ns)).collect();
    assert_eq!(seen, [(31, 1030), (1, 2000)]);
    // Headers with ports, no payload.
    let (whole, kept) = (frame(1, 310, 1), &frames[0]);
    assert_eq!((kept.len, &kept.headers[..]), (whole.len(), &whole[..42]));
}

#[test]
fn no_reason_wipes_out_another() {
    let drops = drops(4);
    drops.record(RUNT, &[1, 2, 3], 1);
    for n in 0..1000 {
        drops.record(UNKNOWN, &frame(n, 1, 1), 10 * MS * u64::from(n));
    }
    let of = |loss| drops.frames().filter(|frame| frame.loss == loss).count();
    assert_eq!((of(RUNT), of(UNKNOWN)), (1, 3));
    let newest = drops.frames().map(|frame| frame.last_ns).max();
    assert_eq!(newest, Some(9990 * MS));
    assert_eq!(drops.tallies().map(|tally| tally.count).sum::<u64>(), 1001);
}

#[test]
fn no_vlan_wipes_out_another_on_the_same_port() {
    let drops = drops(8);
    drops.record(UNKNOWN, &frame(1, 310, 1), 1);
    for n in 0..10_000 {
        drops.record(UNKNOWN, &frame(n, 5, 1), 10_000 * u64::from(n));
        // In the middle of it, a sender that was not there yet.
        if n == 9_000 {
            drops.record(UNKNOWN, &frame(1, 200, 1), 10_000 * u64::from(n));
        }
    }
    let of = |vid: u8| drops.frames().filter(|frame| frame.headers[15] == vid).count();
    // 310 is 0x136.
    assert_eq!((of(0x36), of(200), of(5)), (1, 1, 6));
}

#[test]
fn a_flood_of_new_senders_is_sampled_and_counted_exactly() {
    let drops = drops(64);
    for n in 0..1000 {
        drops.record(UNKNOWN, &frame(n, 1, 1), 1);
    }
    assert_eq!(drops.frames().count() as u64, PER_WINDOW);
    assert_eq!(drops.tallies().next().unwrap().count, 1000);
    // The next window takes new ones again.
    drops.record(UNKNOWN, &frame(2000, 1, 1), 1 + (1 << WINDOW_BITS));
    assert_eq!(drops.frames().count() as u64, PER_WINDOW + 1);
}

#[test]
fn who_gets_the_id_of_another_sees_nothing_of_it() {
    let log = DropLog::of_worker(1, 2);
    assert!(log.vif(VifId(0)).is_none() && log.vif(VifId(7)).is_none());
    log.admit(VifId(0));
    log.admit(VifId(7));
    let vif = log.vif(VifId(0)).unwrap();
    vif.record(RUNT, &frame(1, 1, 1), 1);
    vif.forget();
    assert_eq!((vif.frames().count(), vif.tallies().count()), (0, 0));
    vif.record(RUNT, &frame(1, 1, 1), 5);
    assert_eq!(vif.tallies().next().unwrap().first_ns, 5);
    assert_eq!(vif.frames().next().unwrap().count, 1);
    log.forget();
    assert_eq!(vif.frames().count(), 0);
    // The slow path's reasons are none of a worker's.
    vif.record(Loss::Refused(crate::tables::SlowOutcome::BadArp), &frame(1, 1, 1), 9);
    assert_eq!(vif.tallies().count(), 0);
}

#[test]
fn any_octets_can_be_kept() {
    let drops = drops(4);
    for len in [0, 1, 5, 13, 14, 18, 64, 96, 4096] {
        drops.record(RUNT, &vec![0x81; len], 10 * MS * (len as u64 + 1));
    }
    assert_eq!(drops.frames().map(|frame| frame.count).sum::<u64>(), 9);
    assert!(drops.frames().all(|frame| frame.headers.len() <= HEADERS));
}

#[test]
fn a_frame_too_short_for_a_sender_is_no_entry_that_was_never_written() {
    let drops = drops(4);
    drops.record(Loss::all().next().unwrap(), &[0; 5], 1);
    let lens: Vec<_> = drops.frames().map(|frame| (frame.len, frame.headers.len())).collect();
    assert_eq!(lens, [(5, 5)]);
}

/// A reader beside the writer sees whole entries only: all octets of one frame.
#[test]
fn a_reader_never_sees_half_an_entry() {
    let drops = drops(1);
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            for n in 0..20_000_u64 {
                let octet = (n % 250) as u8;
                // An IPv4 header with the longest options, all octets alike but for the fields that say so.
                let mut frame = vec![octet; 90];
                frame[12..15].copy_from_slice(&[8, 0, 0x4f]);
                (frame[20], frame[21]) = (0, 0);
                drops.record(RUNT, &frame, n << WINDOW_BITS);
            }
        });
        while !writer.is_finished() {
            for frame in drops.frames() {
                assert!(frame.headers[22..].iter().all(|&octet| octet == frame.headers[0]));
                assert!(frame.headers[..12].iter().all(|&octet| octet == frame.headers[0]));
            }
        }
    });
}
