use std::collections::HashMap;

use super::*;

/// Pseudo-random numbers (xorshift), the same every time.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 >> 11
    }

    fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }
}

fn address(number: u64) -> IpAddr {
    IpAddr::V4(Ipv4Addr::from_bits(u32::try_from(number & 0xffff_ffff).unwrap()))
}

fn talkers(began: Instant) -> Talkers {
    Talkers(HashMap::from([(
        VifId(3),
        OfVif { name: "v".into(), since: 5, began, windows: Default::default() },
    )]))
}

fn seen(source: u64, octets: u32, interval: u32) -> Seen {
    Seen {
        generation: 5,
        vif: VifId(3),
        to: VifId(4),
        direction: Direction::Rx,
        is_v4: true,
        source: source.into(),
        destination: 7,
        octets,
        interval,
    }
}

const BY: (Direction, By) = (Direction::Rx, By::Source);

/// A stream of addresses and octets.
type Stream = Vec<(u64, u32)>;

/// Zipf's law among ten thousand; ever new addresses in front of, behind and among large ones; a few that take turns so that
/// each falls out again and again; and all the same size.
fn streams(random: &mut Random) -> Vec<Stream> {
    let octets = |random: &mut Random| 64 + u32::try_from(random.below(1450)).unwrap();
    let zipf = (0..20_000).map(|_| {
        // As likely in each power of two: one of a rank comes by its reciprocal.
        let first = 1 << random.below(14);
        (10_000 + first + random.below(first), octets(random))
    });
    let zipf: Stream = zipf.collect();
    let large = |n: u64| (n % 5, 1500);
    let new = |n: u64| (1_000_000 + n, 1500);
    let behind = (0..2_000).map(large).chain((0..15_000).map(new)).collect();
    let before = (0..15_000).map(new).chain((0..2_000).map(large)).collect();
    let among = (0..20_000).map(|n| if n % 20 == 0 { large(n / 20) } else { new(n) }).collect();
    let turns = (0..20_000).map(|n| (n % 129, 100)).collect();
    let even = (0..20_000).map(|n| (n % 1000, 1000)).collect();
    vec![zipf, behind, before, among, turns, even]
}

/// By what exact counts say: who has more than a part of the sum is in, every bound holds, and the largest come first. The
/// stream goes over `turns` windows.
fn check(stream: &Stream, turns: u64) {
    let began = Instant::now();
    let mut talkers = talkers(began);
    let tables = Snapshot::default();
    let mut exact: HashMap<IpAddr, u64> = HashMap::new();
    let mut now = began;
    for (place, &(source, octets)) in (0..).zip(stream) {
        let window = place * turns / stream.len() as u64;
        now = began + WINDOW * u32::try_from(window).unwrap();
        talkers.record(&seen(source, octets, 1), &tables, now);
        // What is in windows that are over is forgotten.
        if window + WINDOWS >= turns {
            *exact.entry(address(source)).or_default() += u64::from(octets);
        }
    }
    let sum: u64 = exact.values().sum();
    let of = |address: &IpAddr| exact.get(address).copied().unwrap_or(0);
    for count in [3, 20, usize::MAX] {
        let top = talkers.top("v", BY, count, now).unwrap();
        assert_eq!((top.octets, top.interval), (sum, 1));
        for talker in &top.talkers {
            let had = of(&talker.address);
            assert!(talker.least <= had && had <= talker.most, "{talker:?} had {had}");
            assert!(talker.least <= talker.octets && talker.octets <= talker.most);
        }
        let others = exact
            .iter()
            .filter(|(address, _)| !top.talkers.iter().any(|talker| talker.address == **address));
        let most = others.map(|(_, had)| *had).max().unwrap_or(0);
        assert!(most <= top.others_most, "{most} of {}", top.others_most);
        if count == usize::MAX {
            assert!(top.others_most <= sum / ENTRIES as u64, "{} of {sum}", top.others_most);
        }
        assert!(top.talkers.windows(2).all(|pair| pair[0].octets >= pair[1].octets));
    }
}

#[test]
fn whoever_has_a_share_is_in_and_bounds_hold() {
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    for stream in streams(&mut random) {
        for turns in [1, 6, 9] {
            check(&stream, turns);
        }
    }
}

#[test]
fn a_flood_of_new_addresses_takes_no_more_memory_and_hides_nobody() {
    let (began, tables) = (Instant::now(), Snapshot::default());
    let mut talkers = talkers(began);
    for n in 0..200_000_u64 {
        let at = began + Duration::from_micros(n * 300);
        talkers.record(&seen(10_000_000 + n, 1500, 1), &tables, at);
        // A fiftieth of all.
        if n % 50 == 0 {
            talkers.record(&seen(1, 1500, 1), &tables, at);
        }
    }
    let now = began + Duration::from_secs(59);
    let top = talkers.top("v", BY, 1, now).unwrap();
    assert_eq!(top.talkers[0].address, address(1), "{top:?}");
    let windows = &talkers.0[&VifId(3)].windows[0];
    assert!(windows.len() as u64 <= WINDOWS);
    assert!(windows.iter().all(|window| window.sketches[0].addresses().count() <= ENTRIES));
}

/// Of packets that are chosen by chance, bounds hold in 19 of 20 cases or more.
#[test]
fn bounds_hold_for_packets_that_are_chosen_by_chance() {
    let mut random = Random(0x1234_5678_9abc_def1);
    for interval in [2, 16, 256] {
        let (mut held, mut all) = (0, 0);
        for _ in 0..40 {
            let (began, tables) = (Instant::now(), Snapshot::default());
            let mut talkers = talkers(began);
            let mut exact: HashMap<IpAddr, u64> = HashMap::new();
            for n in 0..20_000_u64 {
                // Shares from a half down to a thousandth.
                let source = n.trailing_zeros().min(9).into();
                let octets = 64 + u32::try_from(random.below(1450)).unwrap();
                *exact.entry(address(source)).or_default() += u64::from(octets);
                if random.below(interval) == 0 {
                    let interval = u32::try_from(interval).unwrap();
                    talkers.record(&seen(source, octets, interval), &tables, began);
                }
            }
            let top = talkers.top("v", BY, usize::MAX, began).unwrap();
            for (address, had) in &exact {
                let talker = top.talkers.iter().find(|talker| talker.address == *address);
                let (least, most) =
                    talker.map_or((0, top.others_most), |talker| (talker.least, talker.most));
                all += 1;
                held += u32::from(least <= *had && *had <= most);
            }
        }
        assert!(held * 100 >= all * 95, "1:{interval}: {held} of {all}");
    }
}

#[test]
fn what_is_over_a_minute_old_is_forgotten() {
    let (began, tables) = (Instant::now(), Snapshot::default());
    let mut talkers = talkers(began);
    talkers.record(&seen(1, 1000, 1), &tables, began);
    let top =
        |talkers: &mut Talkers, s| talkers.top("v", BY, 5, began + Duration::from_secs(s)).unwrap();
    let early = top(&mut talkers, 4);
    assert_eq!((early.octets, early.time), (1000, Duration::from_secs(4)));
    let late = top(&mut talkers, 59);
    assert_eq!((late.octets, late.time), (1000, Duration::from_secs(59)));
    let gone = top(&mut talkers, 65);
    assert_eq!((gone.octets, gone.time), (0, Duration::from_secs(55)));
    assert!(gone.talkers.is_empty());
    // Of tables from before the VIF had its id.
    talkers.record(&Seen { generation: 4, ..seen(1, 1000, 1) }, &tables, began);
    assert_eq!(top(&mut talkers, 66).octets, 0);
    assert!(talkers.top("w", BY, 5, began).is_none());
}
