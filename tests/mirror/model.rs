//! A kernel that is as bad as it may be: it drops notifications, removes routes without a word when a
//! link goes, changes its tables while they are dumped, and loses IPv6 routes from a dump where others
//! are deleted meanwhile. However it all falls together, at the end the mirror has told its tables.

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ipnet::IpNet;
use proptest::prelude::*;
use station::mirror::{
    Follower, Hint, Hop, Hops, Kernel, Leg, Plan, RouteMessage, Statuses, Table, Tap, Timing,
};
use station::tables::VrfId;

use super::table::Told;

const TABLES: [u32; 4] = [10_000, 10_001, 10_002, 10_003];
const DEVICES: u32 = 5;

/// VRF 0 has the TAPs 1 and 2, VRF 1 has 3 and 4; 5 is no TAP.
fn plan() -> Plan {
    let tables = TABLES.iter().map(|&number| {
        let vrf = VrfId((number - 10_000) as u16 / 2);
        let table = if number % 2 == 0 { Table::Best } else { Table::Alternates };
        (number, (vrf, table))
    });
    let taps =
        (1..DEVICES).map(|index| (format!("v0.{index}"), tap(VrfId(index as u16 / 3), vif(index))));
    Plan { tables: tables.collect(), taps: taps.collect() }
}

/// A TAP of a VIF.
pub fn tap(vrf: VrfId, vif: Arc<str>) -> Tap {
    Tap { vrf, vif, addresses: Arc::new([]) }
}

fn vif(index: u32) -> Arc<str> {
    format!("vif{index}").into()
}

/// One thing that happens to the kernel.
#[derive(Clone, Debug)]
enum Event {
    /// A route is added or replaced: table, prefix, devices.
    Set(usize, u8, Vec<u32>),
    /// A route is deleted.
    Delete(usize, u8),
    /// One way of an IPv6 route is deleted.
    DeleteWay(usize, u8, u32),
    /// A link goes down and up again: its routes are gone in silence.
    Flap(u32),
    /// An address goes: the same.
    Address(u32),
    /// The notifications that wait are lost.
    Overflow,
    /// The mirror has a turn.
    Turn,
}

#[derive(Default)]
struct State {
    routes: BTreeMap<(u32, IpNet), Vec<Leg>>,
    told: VecDeque<RouteMessage>,
    hints: VecDeque<Hint>,
    overflow: bool,
    /// What is to happen while tables are dumped.
    during_dumps: VecDeque<Event>,
}

#[derive(Clone, Default)]
struct Model(Rc<RefCell<State>>);

/// Both families, nested prefixes among them.
fn prefix(n: u8) -> IpNet {
    let text = match n {
        0..=3 => format!("10.{n}.0.0/16"),
        4 => "10.0.0.0/8".to_owned(),
        5 => "0.0.0.0/0".to_owned(),
        6..=9 => format!("fd0{n}::/32"),
        10 => "fd00::/8".to_owned(),
        _ => "::/0".to_owned(),
    };
    text.parse().unwrap()
}

fn leg(prefix: IpNet, device: u32) -> Leg {
    let gateway: IpAddr = match prefix {
        IpNet::V4(_) => [169, 254, 0, device as u8].into(),
        IpNet::V6(_) => format!("fe80::{device}").parse().unwrap(),
    };
    Leg { device, gateway: Some(gateway), weight: 1 }
}

impl State {
    fn tell(&mut self, table: u32, prefix: IpNet, gone: bool, legs: Vec<Leg>) {
        self.told.push_back(RouteMessage { table, prefix, priority: 32, gone, legs });
    }

    fn silently_lose(&mut self, device: u32) {
        // IPv6 would tell; the model does not, which is worse.
        self.routes.retain(|_, legs| {
            legs.retain(|leg| leg.device != device);
            !legs.is_empty()
        });
    }

    fn happen(&mut self, event: &Event) {
        match event {
            Event::Set(table, n, devices) => {
                let (table, prefix) = (TABLES[*table], prefix(*n));
                let legs: Vec<Leg> = devices.iter().map(|&device| leg(prefix, device)).collect();
                self.routes.insert((table, prefix), legs.clone());
                self.tell(table, prefix, false, legs);
            }
            Event::Delete(table, n) => {
                let (table, prefix) = (TABLES[*table], prefix(*n));
                if let Some(legs) = self.routes.remove(&(table, prefix)) {
                    self.tell(table, prefix, true, legs);
                }
            }
            Event::DeleteWay(table, n, device) => {
                let (table, prefix) = (TABLES[*table], prefix(*n));
                let Some(legs) = self.routes.get_mut(&(table, prefix)) else { return };
                let way = leg(prefix, *device);
                if prefix.addr().is_ipv6() && legs.len() > 1 && legs.contains(&way) {
                    legs.retain(|leg| *leg != way);
                    self.tell(table, prefix, true, vec![way]);
                }
            }
            Event::Flap(device) => {
                self.silently_lose(*device);
                for admin_up in [false, true] {
                    let name = format!("v0.{device}");
                    self.hints.push_back(Hint::Link { index: *device, name, admin_up });
                }
            }
            Event::Address(device) => {
                self.silently_lose(*device);
                self.hints.push_back(Hint::Address { index: *device });
            }
            Event::Overflow => {
                if !self.told.is_empty() {
                    let lost = self.told.len().div_ceil(2);
                    self.told.truncate(self.told.len() - lost);
                    self.overflow = true;
                }
            }
            Event::Turn => {}
        }
    }
}

impl Kernel for Model {
    fn hints(&mut self, out: &mut Vec<Hint>) -> io::Result<()> {
        out.extend(self.0.borrow_mut().hints.drain(..));
        Ok(())
    }

    fn routes(&mut self, limit: usize, out: &mut Vec<RouteMessage>) -> io::Result<()> {
        let state = &mut *self.0.borrow_mut();
        let end = out.len() + limit;
        while out.len() < end {
            if std::mem::take(&mut state.overflow) {
                return Err(io::Error::from_raw_os_error(libc::ENOBUFS));
            }
            let Some(message) = state.told.pop_front() else { break };
            out.push(message);
        }
        Ok(())
    }

    /// Two routes at a time, and something happens in between. IPv4 goes on behind the prefix that it
    /// gave last; IPv6 skips as many routes as it gave.
    fn dump(&mut self, table: u32, v6: bool, take: &mut dyn FnMut(RouteMessage)) -> io::Result<()> {
        let mut given: Vec<RouteMessage> = Vec::new();
        loop {
            let state = &mut *self.0.borrow_mut();
            let last = given.last().map(|route| route.prefix);
            let here = state
                .routes
                .iter()
                .filter(|((t, prefix), _)| *t == table && prefix.addr().is_ipv6() == v6);
            let part: Vec<RouteMessage> = if v6 {
                here.skip(given.len()).take(2).map(message).collect()
            } else {
                here.filter(|((_, prefix), _)| last.is_none_or(|last| *prefix > last))
                    .take(2)
                    .map(message)
                    .collect()
            };
            if part.is_empty() {
                given.into_iter().for_each(take);
                return Ok(());
            }
            given.extend(part);
            if let Some(event) = state.during_dumps.pop_front() {
                state.happen(&event);
            }
        }
    }
}

fn message((&(table, prefix), legs): (&(u32, IpNet), &Vec<Leg>)) -> RouteMessage {
    RouteMessage { table, prefix, priority: 32, gone: false, legs: legs.clone() }
}

/// What should have been told: next hops on TAPs of the table's VRF.
fn truth(state: &State) -> Told {
    let mut told = Told::default();
    let plan = plan();
    for (&(table, prefix), legs) in &state.routes {
        let (vrf, table) = plan.tables[&table];
        let mut hops: Vec<Hop> = legs
            .iter()
            .filter(|leg| {
                plan.taps.values().any(|tap| tap.vrf == vrf && tap.vif == vif(leg.device))
            })
            .map(|leg| Hop {
                vif: vif(leg.device),
                address: leg.gateway.unwrap(),
                weight: leg.weight,
            })
            .collect();
        hops.sort();
        if !hops.is_empty() {
            told.0.insert((vrf, table, prefix), Hops::from(hops));
        }
    }
    told
}

fn event() -> impl Strategy<Value = Event> {
    let devices = || proptest::sample::subsequence((1..=DEVICES).collect::<Vec<_>>(), 1..4);
    prop_oneof![
        6 => (0..4usize, 0..12u8, devices()).prop_map(|(t, p, d)| Event::Set(t, p, d)),
        3 => (0..4usize, 0..12u8).prop_map(|(t, p)| Event::Delete(t, p)),
        2 => (0..4usize, 6..12u8, 1..=DEVICES).prop_map(|(t, p, d)| Event::DeleteWay(t, p, d)),
        1 => (1..DEVICES).prop_map(Event::Flap),
        1 => (1..DEVICES).prop_map(Event::Address),
        1 => Just(Event::Overflow),
        4 => Just(Event::Turn),
    ]
}

/// Time that only moves when told to.
struct Run {
    kernel: Model,
    follower: Follower<Model>,
    told: Told,
    now: Instant,
}

impl Run {
    fn new() -> Run {
        let kernel = Model::default();
        for index in 1..=DEVICES {
            let name = format!("v0.{index}");
            let link = Hint::Link { index, name, admin_up: true };
            kernel.0.borrow_mut().hints.push_back(link);
        }
        let mut follower = Follower::new(kernel.clone(), Timing::default(), Statuses::default());
        let now = Instant::now();
        follower.set_plan(plan(), now);
        Run { kernel, follower, told: Told::default(), now }
    }

    fn turn(&mut self) -> Instant {
        let mut out = Vec::new();
        let until = self.follower.turn(self.now, &mut out);
        out.into_iter().for_each(|update| self.told.take(update));
        until
    }

    /// Lets the mirror do all that it wants to do by itself in `time`.
    fn settle(&mut self, time: Duration) {
        let end = self.now + time;
        while self.now < end {
            let until = self.turn();
            self.now = if until > self.now { until } else { self.now };
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_mirror_ends_where_the_kernel_does(
        events in proptest::collection::vec(event(), 0..80),
        during_dumps in proptest::collection::vec(event(), 0..40),
    ) {
        let mut run = Run::new();
        run.kernel.0.borrow_mut().during_dumps = during_dumps.into();
        for event in &events {
            run.kernel.0.borrow_mut().happen(event);
            if matches!(event, Event::Turn) {
                run.turn();
                run.now += Duration::from_millis(1);
            }
        }
        // Less than the time in which audits would put everything right.
        run.kernel.0.borrow_mut().during_dumps.clear();
        run.settle(Duration::from_secs(5));
        prop_assert_eq!(&run.told, &truth(&run.kernel.0.borrow()));
    }

    /// A route that vanishes without any sign is found by the audits.
    #[test]
    fn audits_find_what_nothing_told(
        events in proptest::collection::vec(event(), 0..40),
        lost in 0..12u8,
        table in 0..4usize,
    ) {
        let mut run = Run::new();
        events.iter().for_each(|event| run.kernel.0.borrow_mut().happen(event));
        run.settle(Duration::from_secs(2));
        run.kernel.0.borrow_mut().routes.remove(&(TABLES[table], prefix(lost)));
        run.settle(Duration::from_secs(150));
        prop_assert_eq!(&run.told, &truth(&run.kernel.0.borrow()));
    }
}

#[test]
fn nothing_is_said_of_a_route_that_a_torn_dump_lacks() {
    let mut run = Run::new();
    for n in 6..10 {
        run.kernel.0.borrow_mut().happen(&Event::Set(0, n, vec![1]));
    }
    run.settle(Duration::from_secs(2));
    // The first of four goes after two were given: the dump skips the third.
    run.kernel.0.borrow_mut().happen(&Event::Address(2));
    run.kernel.0.borrow_mut().during_dumps.push_back(Event::Delete(0, 6));
    run.turn();
    let has = |run: &Run, n| run.told.0.contains_key(&(VrfId(0), Table::Best, prefix(n)));
    assert!(has(&run, 7) && has(&run, 8) && has(&run, 9), "{:?}", run.told);
    run.settle(Duration::from_secs(2));
    assert_eq!([6, 7, 8, 9].map(|n| has(&run, n)), [false, true, true, true]);
}
