//! Random histories: traffic, VIFs that come, go, take others' ids and change hands, restarts, crashes and clocks that are
//! set; and random months, billed by a naive script.

use proptest::collection::vec;
use proptest::prelude::*;

use super::super::report::{Billed, Report, Scope, Wanted};
use super::*;

const VIFS: [&str; 4] = ["a", "b", "c1", "c2"];
const CUSTOMERS: [&str; 3] = ["", "x, \"the first\"", "y"];

#[derive(Clone, Debug)]
enum Step {
    Count(usize, u64),
    Wait(u64),
    Add(usize, usize),
    Del(usize),
    Relabel(usize, usize),
    Stop(u64),
    Kill(u64),
    Clock(i64),
    Look,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => (0..4_usize, 0..1_000_000_u64).prop_map(|(id, n)| Step::Count(id, n)),
        6 => (1..200_u64).prop_map(Step::Wait),
        2 => (0..4_usize, 0..3_usize).prop_map(|(vif, of)| Step::Add(vif, of)),
        2 => (0..4_usize).prop_map(Step::Del),
        1 => (0..4_usize, 0..3_usize).prop_map(|(vif, of)| Step::Relabel(vif, of)),
        1 => (0..700_u64).prop_map(Step::Stop),
        1 => (0..700_u64).prop_map(Step::Kill),
        1 => (-900_i64..900).prop_map(Step::Clock),
        1 => Just(Step::Look),
    ]
}

/// What a bin is to be: milliseconds observed, whether it is whole, and what each counted.
type Naive = BTreeMap<u32, (u64, bool, BTreeMap<Owner, Traffic>)>;

/// The station, and an account of it that adds up what it does when it does it.
struct World {
    disk: Failing,
    daemon: Option<Daemon<Failing>>,
    wall_s: u64,
    steady_s: u64,
    ids: Vec<Option<Owner>>,
    /// What is known to be written, and the open bin.
    written: Naive,
    open: Naive,
    bin: u32,
}

impl World {
    fn new(wall_s: u64) -> World {
        let (disk, ids) = (whole(), vec![None; 4]);
        let (written, open) = (Naive::new(), Naive::new());
        let mut world =
            World { disk, daemon: None, wall_s, steady_s: 0, ids, written, open, bin: 0 };
        world.start();
        world
    }

    fn now(&self) -> Moment {
        Moment { wall_ms: self.wall_s * 1000, steady_ms: self.steady_s * 1000 }
    }

    fn daemon(&mut self) -> &mut Daemon<Failing> {
        self.daemon.as_mut().unwrap()
    }

    fn clock_bin(&self) -> u32 {
        u32::try_from(self.wall_s / BIN_S).unwrap()
    }

    fn note(&mut self) -> &mut (u64, bool, BTreeMap<Owner, Traffic>) {
        let bin = self.bin;
        self.open.entry(bin).or_insert((0, true, BTreeMap::new()))
    }

    fn start(&mut self) {
        let daemon = Daemon::start(self.disk.clone(), self.now());
        daemon.commit(self.ids.clone(), &[]);
        self.daemon = Some(daemon);
        self.bin = self.clock_bin();
        self.note().1 = false;
        // That it was there is written at once.
        self.written.entry(self.bin).or_insert((0, false, BTreeMap::new())).1 = false;
    }

    /// The open bin is over.
    fn close(&mut self) {
        for (bin, (observed, complete, counts)) in std::mem::take(&mut self.open) {
            let known = self.written.entry(bin).or_insert((0, true, BTreeMap::new()));
            known.0 += observed;
            known.1 &= complete;
            for (owner, traffic) in counts {
                known.2.entry(owner).or_default().plus(&traffic);
            }
        }
    }

    fn wait(&mut self, mut seconds: u64) {
        while seconds > 0 {
            let left = BIN_S * (u64::from(self.bin) + 1) - self.wall_s;
            let some = left.min(seconds);
            self.wall_s += some;
            self.steady_s += some;
            seconds -= some;
            self.note().0 += some * 1000;
            let now = self.now();
            self.daemon().book.turn(now);
            if some == left {
                self.close();
                self.bin += 1;
                self.note();
            }
        }
    }

    /// The daemon is not there.
    fn pass(&mut self, seconds: u64) {
        self.wall_s += seconds;
        self.steady_s += seconds;
        self.start();
    }

    fn take(&mut self, step: &Step) {
        match *step {
            Step::Count(id, n) => {
                let (owner, passed) = (self.ids[id].clone(), traffic(n));
                // Without an owner nothing counts.
                let Some(owner) = owner.filter(|_| n > 0) else { return };
                self.daemon().count(id, passed);
                self.note().2.entry(owner).or_default().plus(&passed);
            }
            Step::Wait(seconds) => self.wait(seconds),
            Step::Add(vif, of) => {
                let is = |id: &Option<Owner>| id.as_ref().is_some_and(|id| *id.vif == *VIFS[vif]);
                if self.ids.iter().any(is) {
                    return;
                }
                // The id that fell free, whoever's it was.
                let free = self.ids.iter().position(Option::is_none).unwrap();
                self.ids[free] = Some(owner(VIFS[vif], CUSTOMERS[of], CUSTOMERS[2 - of]));
                let ids = self.ids.clone();
                self.daemon().commit(ids, &[]);
            }
            Step::Del(id) => {
                if self.ids[id].take().is_some() {
                    let ids = self.ids.clone();
                    self.daemon().commit(ids, &[id]);
                }
            }
            Step::Relabel(id, of) => {
                if let Some(known) = &mut self.ids[id] {
                    *known = owner(&known.vif.clone(), CUSTOMERS[of], CUSTOMERS[2 - of]);
                    let (ids, now) = (self.ids.clone(), self.now());
                    self.daemon().commit(ids, &[]);
                    // The thread takes it at once; what is counted from here on is the new owner's.
                    self.daemon().book.turn(now);
                }
            }
            Step::Stop(seconds) => {
                let daemon = self.daemon.take().unwrap();
                daemon.book.stop(self.now());
                self.note().1 = false;
                self.close();
                self.pass(seconds);
                assert_eq!(self.daemon().told(), []);
            }
            Step::Kill(seconds) => {
                self.daemon = None;
                // All of the open bin that is not written.
                self.open.clear();
                self.pass(seconds);
                let told = self.daemon().told();
                assert!(matches!(told[..], [Told::Lost { .. }]), "{told:?}");
            }
            Step::Clock(seconds) => {
                if seconds == 0 {
                    return;
                }
                self.wall_s = self.wall_s.checked_add_signed(seconds).unwrap();
                self.note().1 = false;
                let now = self.now();
                self.daemon().book.turn(now);
                if self.clock_bin() != self.bin {
                    self.close();
                    self.bin = self.clock_bin();
                    self.note().1 = false;
                }
                let told = self.daemon().told();
                assert!(matches!(told[..], [Told::ClockStep { .. }]), "{told:?}");
            }
            Step::Look => self.compare(),
        }
    }

    /// The series is what the account has.
    fn compare(&mut self) {
        let now = self.now();
        let unwritten = self.daemon().book.unwritten(now);
        assert_eq!(unwritten.blocks.len(), 1, "only the open one is not written");
        let kept: BTreeMap<_, _> = blocks(&self.disk, unwritten)
            .into_iter()
            .map(|block| (block.bin, (block.observed_ms, block.is_complete(), block.counts)))
            .collect();
        let open = self.open.clone();
        let (closed, bin) = (self.written.clone(), self.bin);
        self.close();
        let whole = std::mem::replace(&mut self.written, closed);
        self.open = open;
        let expected: Naive =
            whole.into_iter().filter(|(at, _)| kept.contains_key(at) || *at != bin).collect();
        assert_eq!(kept, expected);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn every_octet_is_in_its_bin_once(
        steps in vec(step(), 1..120),
        begin in prop_oneof![Just(FEBRUARY + 86_400), Just(FEBRUARY + 2 * 86_400 - 400), Just(1_798_761_600 - 250)],
    ) {
        let mut world = World::new(begin);
        for step in &steps {
            world.take(step);
        }
        world.compare();
    }

    #[test]
    fn months_are_billed_as_a_naive_script_bills_them(
        begin in prop_oneof![Just(FEBRUARY), Just(FEBRUARY + 86_400), Just(1_798_675_200_u64)],
        bins in vec((0..20_u32, vec((0..4_usize, 0..3_usize, 0..1_u64 << 40), 0..5), 0..400_000_u64), 1..1200),
        period in (0..100_000_u64, 200_000..900_000_u64),
    ) {
        let mut blocks = Vec::new();
        let mut bin = u32::try_from(begin / BIN_S).unwrap();
        for (gap, counts, observed_ms) in bins {
            // Few are missing.
            bin += if gap == 0 { 7 } else { 1 };
            let mut block = Block::new(bin, 0, Marks::default());
            block.observed_ms = observed_ms;
            for (vif, of, n) in counts {
                let owner = owner(VIFS[vif], CUSTOMERS[of], CUSTOMERS[2 - of]);
                block.counts.entry(owner).or_default().plus(&traffic(n / 100 % (1 << (n % 33))));
            }
            blocks.push(block);
        }
        let period = begin + period.0..begin + period.1;
        let mut store = Store::new(whole(), DIRECTORY.into());
        for block in &blocks {
            store.append(block, &mut Vec::new()).unwrap();
        }
        for wanted in [
            Wanted::default(),
            Wanted { customer: Some(CUSTOMERS[1].to_owned()), ..Wanted::default() },
            Wanted { vif: Some("a".to_owned()), ..Wanted::default() },
            Wanted { group: Some("y".to_owned()), ..Wanted::default() },
        ] {
            let directory = Path::new(DIRECTORY);
            let unwritten = Unwritten::default();
            let mut series = Series::open(store.disk.clone(), directory, &period, unwritten).unwrap();
            let mut report = Report::new(wanted.clone(), series.at_most());
            while let Some(Item::Whole(block)) = series.read().unwrap() {
                report.add(&block);
            }
            let within: Vec<&Block> =
                blocks.iter().filter(|block| period.contains(&block.start_s())).collect();
            prop_assert_eq!(report.bins, within.len());
            let billed: BTreeMap<Scope, Billed> = report.end().collect();
            prop_assert_eq!(billed, naive(&within, &wanted));
        }
    }
}

/// The same by sorting everything.
fn naive(blocks: &[&Block], wanted: &Wanted) -> BTreeMap<Scope, Billed> {
    let is = |wanted: &Option<String>, name: Option<&str>| match wanted {
        Some(wanted) => name == Some(wanted),
        None => true,
    };
    let mut scopes = std::collections::BTreeSet::new();
    let wants = |owner: &Owner, scope: &Scope| {
        let (customer, group) = (owner.customer.as_deref(), owner.group.as_deref());
        let filtered = is(&wanted.vif, Some(&owner.vif))
            && is(&wanted.customer, customer)
            && is(&wanted.group, group);
        filtered
            && match scope {
                Scope::Vif(vif, of) => (&**vif, of.as_deref()) == (&*owner.vif, customer),
                Scope::Customer(of) => {
                    wanted.vif.is_none() && wanted.group.is_none() && customer == Some(of)
                }
                Scope::Group(of) => {
                    wanted.vif.is_none() && wanted.customer.is_none() && group == Some(of)
                }
            }
    };
    for (vif, customer) in VIFS.iter().flat_map(|vif| CUSTOMERS.map(|of| (*vif, of))) {
        scopes.insert(Scope::Vif(vif.into(), (!customer.is_empty()).then(|| customer.into())));
        scopes.insert(Scope::Customer(customer.into()));
        scopes.insert(Scope::Group(customer.into()));
    }
    let mut billed = BTreeMap::new();
    for scope in scopes {
        let (mut traffic, mut seen) = (Traffic::default(), false);
        let (mut rx, mut tx) = (Vec::new(), Vec::new());
        let mut days: BTreeMap<u64, Vec<u64>> = BTreeMap::new();
        for block in blocks {
            let mut sum = Traffic::default();
            for (owner, counted) in block.counts.iter().filter(|(owner, _)| wants(owner, &scope)) {
                let _ = owner;
                seen = true;
                sum.plus(counted);
            }
            traffic.plus(&sum);
            let time_ms = if block.observed_ms > 301_000 { block.observed_ms } else { 300_000 };
            let rate = |octets: u64| {
                u64::try_from(u128::from(octets) * 8000 / u128::from(time_ms)).unwrap()
            };
            rx.push(rate(sum.rx_octets));
            tx.push(rate(sum.tx_octets));
            days.entry(block.start_s() / 86_400)
                .or_default()
                .push(rate(sum.rx_octets.max(sum.tx_octets)));
        }
        if !seen {
            continue;
        }
        let p95 = |mut rates: Vec<u64>| {
            rates.sort_unstable_by(|a, b| b.cmp(a));
            let dropped = (rates.len() * 5) / 100;
            rates.split_off(dropped)[0]
        };
        let mut peaks: Vec<u64> = days
            .into_values()
            .map(|mut day| {
                day.sort_unstable_by(|a, b| b.cmp(a));
                day.get(4).or(day.last()).copied().unwrap()
            })
            .collect();
        peaks.sort_unstable_by(|a, b| b.cmp(a));
        peaks.truncate(5);
        let enhanced = peaks.iter().sum::<u64>() / peaks.len() as u64;
        billed.insert(scope, Billed { traffic, p95_rx: p95(rx), p95_tx: p95(tx), enhanced });
    }
    billed
}
