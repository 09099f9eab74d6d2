use super::*;
use crate::tables::{Pcp, Port, PortRole, SourceCheck, Tags, Vif, VrfId};
use crate::wire::ethernet::Mac;

const A: VifId = VifId(0);

fn traffic(frames: u64) -> Traffic {
    let octets = frames * 100;
    Traffic { rx_frames: frames, rx_octets: octets, tx_frames: 2 * frames, tx_octets: 2 * octets }
}

/// Rates of readings at a time of their own.
struct Clock {
    rates: Rates,
    start: Instant,
}

impl Clock {
    fn new() -> Clock {
        Clock { rates: Rates::default(), start: Instant::now() }
    }

    /// What has been counted at a moment, by id, and whose ids they are.
    fn read(&mut self, ms: u64, counted: &[u64], names: &[Option<&str>]) {
        let at = self.start + Duration::from_millis(ms);
        let vifs: Vec<Traffic> = counted.iter().map(|&frames| traffic(frames)).collect();
        let ports = vec![traffic(counted.iter().sum())];
        let names: Vec<Option<Arc<str>>> = names.iter().map(|name| name.map(Into::into)).collect();
        self.rates.keep(
            Reading { at, vifs, meters: Vec::new(), ports },
            names.iter().map(Option::as_ref),
            [Some(&"p0".into())].into_iter(),
        );
    }

    /// Windows, milliseconds, and frames received in them.
    fn of(&self, id: VifId, name: &str) -> Vec<(u64, u128, u64)> {
        told(&self.rates.of_vif(id, name))
    }
}

fn told(passed: &[Passed]) -> Vec<(u64, u128, u64)> {
    passed.iter().map(|p| (p.window_s, p.time.as_millis(), p.traffic.rx_frames)).collect()
}

#[test]
fn each_window_says_what_passed_in_it_and_for_how_long() {
    let mut clock = Clock::new();
    clock.read(0, &[5], &[Some("a")]);
    assert_eq!(clock.of(A, "a"), [], "one reading says nothing");
    for second in 1..=100 {
        // A little early and a little late.
        clock.read(second * 1000 + second % 3, &[5 + second * second], &[Some("a")]);
    }
    let passed = |from: u64, to: u64| to * to - from * from;
    let all =
        [(1, 1001, passed(99, 100)), (10, 10_001, passed(90, 100)), (60, 60_000, passed(40, 100))];
    assert_eq!(clock.of(A, "a"), all);
    assert_eq!(told(&clock.rates.of_port(PortId(0), "p0")), all);
    assert_eq!(clock.rates.of_vif(A, "a")[0].traffic, traffic(passed(99, 100)), "both directions");
    assert_eq!(clock.rates.by_vif(10)["a"].traffic.rx_frames, passed(90, 100));
    assert!(clock.rates.readings.len() <= READINGS);
    assert_eq!(told(&clock.rates.of_port(PortId(9), "p0")), [], "there is no such port");
}

#[test]
fn a_young_vif_is_told_of_as_long_as_it_is_there() {
    let mut clock = Clock::new();
    for second in 0..4 {
        clock.read(second * 1000, &[second * 10], &[Some("a")]);
    }
    assert_eq!(clock.of(A, "a"), [(1, 1000, 10), (10, 3000, 30), (60, 3000, 30)]);
}

#[test]
fn a_stall_is_divided_by_its_own_length() {
    let mut clock = Clock::new();
    clock.read(0, &[0], &[Some("a")]);
    clock.read(1000, &[10], &[Some("a")]);
    clock.read(13_000, &[130], &[Some("a")]);
    assert_eq!(clock.of(A, "a"), [(1, 12_000, 120), (10, 12_000, 120), (60, 13_000, 130)]);
}

#[test]
fn an_id_that_another_vif_gets_begins_anew() {
    let mut clock = Clock::new();
    clock.read(0, &[1_000_000], &[Some("a")]);
    clock.read(1000, &[2_000_000], &[Some("a")]);
    clock.read(2000, &[3_000_000], &[Some("b")]);
    assert_eq!(clock.of(A, "b"), [], "what a counted is not b's");
    assert_eq!(clock.of(A, "a"), [], "a is gone");
    clock.read(3000, &[3_000_007], &[Some("b")]);
    assert_eq!(clock.of(A, "b"), [(1, 1000, 7), (10, 1000, 7), (60, 1000, 7)]);
    // Deleted, and there again; a hole and more ids.
    clock.read(4000, &[0, 4], &[None, Some("c")]);
    assert_eq!(clock.of(A, "b"), []);
    clock.read(5000, &[3_000_009, 9], &[Some("b"), Some("c")]);
    assert_eq!(clock.of(A, "b"), []);
    clock.read(6000, &[3_000_010, 9], &[Some("b"), Some("c")]);
    assert_eq!(clock.of(A, "b"), [(1, 1000, 1), (10, 1000, 1), (60, 1000, 1)]);
    assert_eq!(clock.of(VifId(1), "c"), [(1, 1000, 0), (10, 2000, 5), (60, 2000, 5)]);
    let names: Vec<_> = clock.rates.by_vif(1).into_keys().collect();
    assert_eq!(names.len(), 2);
}

#[test]
fn a_counter_that_goes_back_has_no_rate() {
    let mut clock = Clock::new();
    clock.read(0, &[10], &[Some("a")]);
    clock.read(1000, &[3], &[Some("a")]);
    assert_eq!(clock.of(A, "a"), []);
}

fn tables(vifs: u16) -> Snapshot {
    let vif = |n: u16| Vif {
        name: format!("v{n}").into(),
        up: true,
        kind: None,
        port: PortId(0),
        tags: Tags { outer: 1 + n % 4000, inner: None, service: false },
        vrf: VrfId(0),
        mtu: 1500,
        source_check: SourceCheck::Off,
        acl_in: None,
        acl_out: None,
        flow_log: 0,
        twamp_reflector: false,
        translations: None,
        pcp: Pcp::Preserve,
        overlay: Default::default(),
        joins_stations: false,
        metered: [false; 2],
        limited: [false; 2],
        top_talkers: false,
        addresses: [].into(),
        peers: [].into(),
    };
    let ports = [Arc::new(Port::new("p".into(), Mac::default(), PortRole::Core))].into();
    // One id in eight is free.
    let vifs = (0..vifs).map(|n| (n % 8 != 7).then(|| vif(n))).collect();
    Snapshot { ports, vifs, ..Snapshot::default() }
}

#[test]
fn all_workers_are_added_up_in_no_time_to_speak_of() {
    let tables = tables(4096);
    let workers = [1, 2].map(|n: u64| {
        let worker = WorkerCounters::new(1, 4096);
        worker.port(PortId(0)).rx_frames.add(n);
        worker.port(PortId(0)).tx_octets.add(10 * n);
        for vif in (0..4096).map(VifId) {
            worker.vif(vif).rx_octets.add(100 * n);
            worker.vif(vif).tx_frames.add(1000 * n);
        }
        Arc::new(worker)
    });
    let mut took = Vec::new();
    let mut take = || {
        let began = Instant::now();
        let reading = Reading::take(&workers, &tables);
        took.push(began.elapsed());
        reading
    };
    // A busy machine may keep some of them from being of one moment.
    let readings: Vec<Reading> = (0..20).filter_map(|_| take()).collect();
    let last = readings.last().unwrap();
    let port = Traffic { rx_frames: 3, tx_octets: 30, ..Traffic::default() };
    assert_eq!(last.ports, [port]);
    let vif = Traffic { rx_octets: 300, tx_frames: 3000, ..Traffic::default() };
    assert_eq!((last.vifs[0], last.vifs[4094]), (vif, vif));
    assert_eq!((last.vifs.len(), last.vifs[7]), (4096, Traffic::default()), "an id without a VIF");
    let least = took.iter().min().unwrap();
    println!("4,096 VIFs of two workers are read in {least:?}");
    assert!(*least < Duration::from_millis(20), "{took:?}");
}
