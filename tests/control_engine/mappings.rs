//! Mappings that controllers stream: the FIB is what they said after every sync, whatever was killed meanwhile; what did not
//! change never leaves it; and nothing leads out of its VRF or to a VTEP that the configuration has not.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;

use ipnet::IpNet;
use station::config::model::Config;
use station::control::Source;
use station::mappings::{
    self, Book, Checked, Hops, Intake, Limits, Lines, Move, Shared, SourceRow, Tables,
};
use station::tables::AdjacencyKind;

use super::Station;
use super::draw::{Draw, net};

/// Two tenants, each with a tunnel to two VTEPs; only the first has a third.
fn config(first_has: &[&str], has_second: bool) -> Config {
    let remotes = |list: &[&str]| {
        let remotes = list.iter().map(|vtep| {
            let last = vtep.rsplit('.').next().unwrap();
            format!("{{ address = \"{vtep}\", mac = \"02:0a:00:00:00:{last:0>2}\" }}")
        });
        remotes.collect::<Vec<_>>().join(", ")
    };
    let mut text = format!(
        r#"
[station]
name = "test"
socket = "/run/s"
state = "/var/lib/s"
max_vifs = 64
[[port]]
name = "p0"
interface = "if-p0"
role = "customer"
[[port]]
name = "p1"
interface = "if-p1"
role = "core"
[[vrf]]
name = "fabric"
kind = "underlay"
[[vrf]]
name = "red"
kind = "vpc"
[[vif]]
name = "fabric-1"
port = "p1"
vlan = 900
vrf = "fabric"
mtu = 1600
addresses = ["10.254.0.1/30", "10.255.0.1/32"]
[[route]]
vrf = "fabric"
prefix = "10.255.0.0/16"
via = [{{ address = "10.254.0.2" }}]
[[vtep]]
name = "vtep"
vrf = "fabric"
address = "10.255.0.1"
mac = "02:0a:00:00:00:01"
[[vif]]
name = "red-vpc"
vtep = "vtep"
vni = 5001
vrf = "red"
addresses = ["100.64.0.1/32"]
remotes = [{}]
[[route]]
vrf = "red"
prefix = "40.0.0.0/8"
via = [{{ address = "10.255.1.2" }}]
"#,
        remotes(first_has)
    );
    if has_second {
        text += &format!(
            r#"
[[vrf]]
name = "blue"
kind = "vpc"
[[vif]]
name = "blue-vpc"
vtep = "vtep"
vni = 5002
vrf = "blue"
addresses = ["100.64.0.1/32"]
remotes = [{}]
"#,
            remotes(&["10.255.1.2", "10.255.1.3"])
        );
    }
    station::config::parse_as(&text, std::path::Path::new("/test.toml"))
        .unwrap_or_else(|e| panic!("{}", e.report()))
}

const THREE: [&str; 3] = ["10.255.1.2", "10.255.1.3", "10.255.1.4"];

/// The engine as an intake brings batches to it; after each slice `watch` looks at it.
struct Lab {
    station: Rc<RefCell<Station>>,
    /// Prefixes that nobody changes, and where they lead.
    steady: Rc<RefCell<Truth>>,
    /// How often the engine is asked before it fails.
    fails_in: Rc<Cell<usize>>,
}

impl Tables for Lab {
    fn check(&mut self, vrfs: Vec<(Arc<str>, Vec<Hops>)>) -> Result<Vec<Checked>, String> {
        let station = self.station.borrow();
        Ok(vrfs.iter().map(|(vrf, hops)| station.engine.check_hops(vrf, hops)).collect())
    }

    fn lead(&mut self, vrf: &Arc<str>, moves: &[Move]) -> Result<(), String> {
        let left = self.fails_in.get();
        self.fails_in.set(left.wrapping_sub(1));
        if left == 0 {
            return Err("no room".to_owned());
        }
        let mut station = self.station.borrow_mut();
        station.engine.map(vrf, moves).map_err(|error| error.to_string())?;
        station.workers.0.borrow().check();
        for ((vrf, prefix), ways) in &*self.steady.borrow() {
            assert_eq!(
                leads(&station, vrf, *prefix).as_ref(),
                Some(ways),
                "{prefix} of {vrf} is steady"
            );
        }
        Ok(())
    }
}

/// VTEP, MAC's last octet, weight.
type Ways = Vec<(String, u8, u16)>;
type Truth = BTreeMap<(&'static str, IpNet), Ways>;

/// Where the mapping of a prefix leads its packets.
fn leads(station: &Station, vrf: &str, prefix: IpNet) -> Option<Ways> {
    let engine = &station.engine;
    let route =
        engine.routes_from(engine.vrf(vrf)?, prefix).next().filter(|r| r.prefix == prefix)?;
    let mut ways: Ways = engine
        .members(route.group)
        .map(|(to, member)| {
            assert_eq!(engine.tables().vif(to.vif).unwrap().vrf, engine.vrf(vrf).unwrap());
            (to.address.to_string(), to.l2()[5], member.weight)
        })
        .collect();
    ways.sort();
    (route.source == Source::Mapping).then_some(ways)
}

fn in_fib(station: &Station) -> Truth {
    let mut found = Truth::new();
    for vrf in ["red", "blue"] {
        let Some(id) = station.engine.vrf(vrf) else { continue };
        let mapped = station.engine.routes(id).filter(|route| route.source == Source::Mapping);
        for route in mapped {
            found.insert((vrf, route.prefix), leads(station, vrf, route.prefix).unwrap());
        }
    }
    found
}

fn add(vrf: &str, prefix: IpNet, ways: &Ways) -> String {
    let via = ways.iter().map(|(vtep, mac, weight)| {
        format!("{{\"vtep\":\"{vtep}\",\"mac\":\"02:0a:00:00:00:{mac:02x}\",\"weight\":{weight}}}")
    });
    let via = via.collect::<Vec<_>>().join(",");
    format!("{{\"add\":{{\"vrf\":\"{vrf}\",\"prefix\":\"{prefix}\",\"via\":[{via}]}}}}")
}

struct World {
    station: Rc<RefCell<Station>>,
    shared: Arc<Shared>,
    steady: Rc<RefCell<Truth>>,
    fails_in: Rc<Cell<usize>>,
}

impl World {
    fn new(limits: Limits, max_bytes: u64) -> World {
        let mut station = Station::new(max_bytes);
        station.commit(&config(&THREE, true)).unwrap();
        World {
            station: Rc::new(RefCell::new(station)),
            shared: Shared::new(Book::new(limits), |_| {}),
            steady: Rc::default(),
            fails_in: Rc::new(Cell::new(usize::MAX)),
        }
    }

    fn open(&self, source: &str) -> (Controller, SourceRow) {
        let station = self.station.clone();
        let lab = Lab { station, steady: self.steady.clone(), fails_in: self.fails_in.clone() };
        let (intake, row) = Intake::open(&self.shared, lab, source, || 7).unwrap();
        (Controller { lines: Lines::default(), intake }, row)
    }

    fn row(&self) -> SourceRow {
        self.shared.book().row("ctl").unwrap()
    }
}

/// A connection: its lines, and what brings their batches to the engine.
struct Controller {
    lines: Lines,
    intake: Intake<Lab>,
}

impl Controller {
    /// What a line comes to, where it ends a batch.
    fn line(&mut self, text: &[u8]) -> Option<Result<mappings::Answer, String>> {
        self.lines.take(text).map(|batch| self.intake.take(batch))
    }
}

/// The answer of a line that has one.
fn answer(intake: &mut Controller, line: &str) -> mappings::Answer {
    intake.line(line.as_bytes()).expect("an answer").unwrap()
}

fn applied(intake: &mut Controller, line: &str) {
    let answer = answer(intake, line);
    assert!(answer.applied, "{line}: {answer:?}");
}

/// The messages of a batch that is refused, each with its line.
fn refused(intake: &mut Controller, lines: &[&str]) -> Vec<(u64, String)> {
    lines.iter().for_each(|line| assert!(intake.line(line.as_bytes()).is_none()));
    let answer = answer(intake, "{\"commit\":{}}");
    assert!(!answer.applied);
    answer.refused.into_iter().map(|refused| (refused.line, refused.message)).collect()
}

fn random_ways(draw: &mut Draw) -> Ways {
    let first = draw.below(2) as usize;
    let mut ways = vec![(THREE[first].to_owned(), first as u8 + 2 + 16 * draw.below(2) as u8, 1)];
    if draw.below(3) == 0 {
        ways.push((THREE[1 - first].to_owned(), 3 - first as u8, draw.below(4) as u16));
    }
    ways.sort();
    ways
}

#[test]
fn after_every_sync_the_fib_is_what_the_controller_says_whatever_was_killed() {
    let world = World::new(Limits::default(), 16 << 20);
    let mut draw = Draw(4711);
    let mut truth = Truth::new();
    for n in 0..300_u32 {
        let vrf = if n % 3 == 0 { "blue" } else { "red" };
        let prefix = match n % 5 {
            0 => net(&format!("fd00:{n:x}::/{}", 40 + n % 80)).trunc(),
            _ => net(&format!("30.{}.{}.0/{}", n / 7, n % 256, 20 + n % 13)).trunc(),
        };
        truth.insert((vrf, prefix), random_ways(&mut draw));
    }
    let universe: Vec<_> = truth.keys().copied().collect();
    let (mut kills, mut generation, mut ended) = (0, 0, 0);
    while kills < 50 {
        let (mut intake, row) = world.open("ctl");
        assert_eq!((row.generation.unwrap_or(0), row.state.as_str()), (ended, "connected"));
        generation += 1;
        applied(&mut intake, &format!("{{\"begin\":{{\"generation\":{generation}}}}}"));
        let killed_at = draw.below(2 * truth.len() as u64) as usize;
        let size = 1 + draw.below(40) as usize;
        let mut lines: Vec<String> =
            truth.iter().map(|((vrf, net), ways)| add(vrf, *net, ways)).collect();
        for at in (1..lines.len()).rev() {
            lines.swap(at, draw.below(at as u64 + 1) as usize);
        }
        for (at, line) in lines.iter().take(killed_at).enumerate() {
            assert!(intake.line(line.as_bytes()).is_none());
            if (at + 1) % size == 0 {
                applied(&mut intake, &format!("{{\"commit\":{{\"position\":{at}}}}}"));
            }
        }
        if killed_at >= lines.len() {
            applied(&mut intake, &format!("{{\"end\":{{\"generation\":{generation}}}}}"));
            ended = generation;
            assert_eq!(in_fib(&world.station.borrow()), truth);
            assert_eq!(world.row().mappings, truth.len() as u64);
            *world.steady.borrow_mut() = truth.clone();
            // Changes as they come, and some of them never committed.
            for _ in 0..draw.below(60) {
                let key = universe[draw.below(universe.len() as u64) as usize];
                let now = draw.below(2) == 0;
                world.steady.borrow_mut().remove(&key);
                let (vrf, prefix) = key;
                let line = if draw.below(3) == 0 {
                    truth.remove(&key);
                    format!("{{\"del\":{{\"vrf\":\"{vrf}\",\"prefix\":\"{prefix}\"}}}}")
                } else {
                    let ways = random_ways(&mut draw);
                    let line = add(vrf, prefix, &ways);
                    truth.insert(key, ways);
                    line
                };
                assert!(intake.line(line.as_bytes()).is_none());
                if now {
                    applied(&mut intake, "{\"commit\":{\"position\":1}}");
                    assert_eq!(world.row().position, Some(1));
                }
            }
        }
        // The controller is killed; now and then the station is, and begins with what is on disk.
        drop(intake);
        kills += 1;
        assert_eq!(world.row().state, "lost");
        let saved = world.shared.book().saved();
        let restored = Book::restored(Limits::default(), saved.clone(), 7);
        assert_eq!(restored.saved(), saved);
        let mut anew = Station::new(16 << 20);
        anew.engine.hold(restored.tables());
        anew.commit(&config(&THREE, true)).unwrap();
        assert_eq!(in_fib(&anew), in_fib(&world.station.borrow()), "a start forwards as before");
    }
    assert!(ended > 10, "{ended} syncs have ended");
}

#[test]
fn what_leaves_the_configuration_leads_nowhere_and_comes_back() {
    let world = World::new(Limits::default(), 16 << 20);
    let (mut intake, _) = world.open("ctl");
    let both = vec![("10.255.1.2".to_owned(), 2, 1), ("10.255.1.4".to_owned(), 4, 1)];
    let third = vec![("10.255.1.4".to_owned(), 4, 1)];
    let mut truth = Truth::new();
    truth.insert(("red", net("30.0.0.0/24")), both.clone());
    truth.insert(("red", net("30.0.1.0/24")), third);
    truth.insert(("blue", net("30.0.0.0/24")), vec![("10.255.1.3".to_owned(), 3, 1)]);
    for ((vrf, prefix), ways) in &truth {
        intake.line(add(vrf, *prefix, ways).as_bytes());
    }
    applied(&mut intake, "{\"commit\":{}}");
    let commit = |first_has: &[&str], has_second| {
        world.station.borrow_mut().commit(&config(first_has, has_second)).unwrap();
        world.station.borrow().workers.0.borrow().check();
        in_fib(&world.station.borrow())
    };
    assert_eq!(in_fib(&world.station.borrow()), truth);
    let inactive = |vrf| world.station.borrow().engine.inactive_mappings(vrf);
    // A VTEP goes: a group loses it, and a mapping that has no other leads nowhere.
    let found = commit(&THREE[..2], false);
    let left: Truth = [(("red", net("30.0.0.0/24")), both[..1].to_vec())].into();
    assert_eq!(found, left);
    assert_eq!((inactive("red"), inactive("blue")), (1, 1));
    // Meanwhile the controller goes on: what holds may be named again, what is new must be declared.
    intake.line(add("red", net("30.0.1.0/24"), &vec![("10.255.1.4".to_owned(), 4, 1)]).as_bytes());
    intake.line(add("red", net("30.0.2.0/24"), &vec![("10.255.1.3".to_owned(), 3, 1)]).as_bytes());
    intake.line(b"{\"del\":{\"vrf\":\"blue\",\"prefix\":\"30.0.9.0/24\"}}");
    applied(&mut intake, "{\"commit\":{}}");
    truth.insert(("red", net("30.0.2.0/24")), vec![("10.255.1.3".to_owned(), 3, 1)]);
    assert_eq!(commit(&THREE, true), truth);
    assert_eq!((inactive("red"), inactive("blue")), (0, 0));
    // Deleted while their VRF is not there, they do not come back with it.
    commit(&THREE, false);
    intake.line(b"{\"del\":{\"vrf\":\"blue\",\"prefix\":\"30.0.0.0/24\"}}");
    applied(&mut intake, "{\"commit\":{}}");
    truth.remove(&("blue", net("30.0.0.0/24")));
    assert_eq!(commit(&THREE, true), truth);
}

#[test]
fn two_mappings_change_places_in_one_batch() {
    let world = World::new(Limits::default(), 16 << 20);
    let (mut intake, _) = world.open("ctl");
    let way = |n: usize| vec![(THREE[n].to_owned(), n as u8 + 2, 1)];
    let prefixes = ["30.0.0.0/24", "30.0.1.0/24"].map(net);
    for turn in 0..4 {
        for (at, prefix) in prefixes.into_iter().enumerate() {
            intake.line(add("red", prefix, &way((at + turn) % 2)).as_bytes());
        }
        applied(&mut intake, "{\"commit\":{}}");
        let found = in_fib(&world.station.borrow());
        let wanted =
            prefixes.into_iter().enumerate().map(|(at, net)| (("red", net), way((at + turn) % 2)));
        assert_eq!(found, wanted.collect::<Truth>());
    }
}

#[test]
fn a_mapping_gives_way_to_a_configured_route_and_not_to_a_learned_one() {
    let world = World::new(Limits::default(), 16 << 20);
    let (mut intake, _) = world.open("ctl");
    for prefix in ["40.0.0.0/8", "100.64.0.1/32", "40.1.0.0/16"] {
        intake.line(add("red", net(prefix), &vec![("10.255.1.3".to_owned(), 3, 1)]).as_bytes());
    }
    applied(&mut intake, "{\"commit\":{}}");
    let station = world.station.borrow();
    let state = |prefix| station.engine.mapping_state("red", net(prefix));
    assert_eq!(
        [state("40.0.0.0/8"), state("100.64.0.1/32"), state("40.1.0.0/16")],
        ["covered", "covered", "active"]
    );
    assert_eq!(state("41.0.0.0/8"), "inactive");
    let red = station.engine.vrf("red").unwrap();
    let source =
        |prefix| station.engine.routes(red).find(|r| r.prefix == net(prefix)).unwrap().source;
    assert_eq!(source("40.0.0.0/8"), Source::Static);
    assert_eq!(source("100.64.0.1/32"), Source::Local);
    assert!(
        Source::Mapping < Source::Bgp && Source::List < Source::Mapping,
        "the order of sources"
    );
}

#[test]
fn a_batch_that_is_wrong_changes_nothing_and_says_what_to_write() {
    let world = World::new(Limits { per_vrf: 3, ..Limits::default() }, 16 << 20);
    let (mut intake, _) = world.open("ctl");
    let good = "{\"add\":{\"vrf\":\"red\",\"prefix\":\"30.0.0.0/24\",\"via\":[{\"vtep\":\"10.255.1.2\"}]}}";
    let beside = &good.replace("30.0.0.0", "30.0.9.0");
    let mut lines = 0;
    for (line, says) in [
        ("{", "EOF while parsing"),
        ("{\"put\":{}}", "unknown variant `put`"),
        ("{\"add\":{\"vrf\":\"red\",\"prefix\":\"30.0.0.0/24\"}}", "missing field `via`"),
        (
            "{\"add\":{\"vrf\":\"red\",\"prefix\":\"30.0.0.0/24\",\"via\":[],\"x\":1}}",
            "unknown field `x`",
        ),
        ("{\"add\":{\"vrf\":\"red\",\"prefix\":\"30.0.0.0/24\",\"via\":[]}}", "or a del"),
        (&good.replace("/24", "/33"), "write an address and a length"),
        (&good.replace("30.0.0.0", "30.0.0.1"), "write \"30.0.0.0/24\""),
        (&good.replace("30.0.0.0", "224.0.0.0"), "never routed"),
        (&good.replace("red", "green"), "there is no vrf \"green\""),
        (
            &good.replace("10.255.1.2", "10.255.9.9"),
            "10.255.9.9 is no remote of a tunnel in vrf \"red\"",
        ),
        (
            &good.replace("red", "blue").replace("1.2", "1.4"),
            "no remote of a tunnel in vrf \"blue\"",
        ),
        (&good.replace("10.255.1.2", "vtep"), "is not an address"),
        (
            &good.replace("\"}]", "\",\"vif\":\"blue-vpc\"}]"),
            "no tunnel of vif \"blue-vpc\" in vrf \"red\"",
        ),
        (&good.replace("\"}]", "\",\"mac\":\"ff:ff:ff:ff:ff:ff\"}]"), "not the MAC of one router"),
        (&good.replace("\"}]", "\",\"weight\":65}]"), "write 1 to 64"),
        (&good.replace("\"}]", "\",\"weight\":0}]"), "all are backups"),
        (&good.replace("[{", "[{\"vtep\":\"10.255.1.2\"},{"), "is there twice"),
        (&good.replace("red", "fabric"), "no remote of a tunnel in vrf \"fabric\""),
    ] {
        let found = refused(&mut intake, &[beside, line, beside]);
        assert_eq!(found.len(), 1, "{line}: {found:?}");
        assert_eq!(found[0].0, lines + 2, "the number of {line}");
        assert!(found[0].1.contains(says), "{line}: {}", found[0].1);
        assert_eq!(in_fib(&world.station.borrow()), Truth::new());
        lines += 4;
    }
    let four: Vec<String> =
        (0..4).map(|n| good.replace("30.0.0.0", &format!("30.0.{n}.0"))).collect();
    let four: Vec<&str> = four.iter().map(String::as_str).collect();
    let found = refused(&mut intake, &four);
    assert!(found[0].1.contains("would have 4 mappings; the most is 3"), "{found:?}");
    assert_eq!(world.row().limit_refusals, 1);
    // Of two sources only one has a VRF.
    intake.line(good.as_bytes());
    applied(&mut intake, "{\"commit\":{}}");
    let (mut other, _) = world.open("other");
    assert!(refused(&mut other, &[good])[0].1.contains("has mappings of source \"ctl\""));
    // Who comes later speaks for the source, and who came before no more.
    let (_later, _) = world.open("ctl");
    intake.line(good.as_bytes());
    assert!(intake.line(b"{\"commit\":{}}").unwrap().is_err());
}

#[test]
fn a_sync_sweeps_at_its_end_alone_and_not_after_a_refused_batch() {
    let world = World::new(Limits::default(), 16 << 20);
    let (mut intake, _) = world.open("ctl");
    let line =
        |n: u32| add("red", net(&format!("30.0.{n}.0/24")), &vec![("10.255.1.2".to_owned(), 2, 1)]);
    let held = || in_fib(&world.station.borrow()).len();
    (0..4).for_each(|n| drop(intake.line(line(n).as_bytes())));
    applied(&mut intake, "{\"commit\":{\"position\":9}}");
    assert!(!answer(&mut intake, "{\"end\":{\"generation\":1}}").applied, "none has begun");
    applied(&mut intake, "{\"begin\":{\"generation\":5}}");
    intake.line(line(0).as_bytes());
    assert!(!answer(&mut intake, "{\"end\":{\"generation\":6}}").applied, "another generation");
    assert!(!answer(&mut intake, "{\"end\":{\"generation\":5}}").applied, "a batch was refused");
    assert_eq!(held(), 4);
    applied(&mut intake, "{\"begin\":{\"generation\":5}}");
    intake.line(line(1).as_bytes());
    let ended = answer(&mut intake, "{\"end\":{\"generation\":5}}");
    assert_eq!(
        (ended.applied, ended.swept, ended.unchanged, ended.position),
        (true, 3, 1, Some(9))
    );
    assert_eq!(held(), 1);
    let old = answer(&mut intake, "{\"begin\":{\"generation\":5}}");
    assert!(old.refused[0].message.contains("write one above 5"), "{old:?}");
    // The engine fails in the middle of a batch of several slices: nothing of it stays.
    for n in 0..3000 {
        intake.line(
            add(
                "red",
                net(&format!("31.{}.{}.0/24", n / 256, n % 256)),
                &vec![("10.255.1.3".to_owned(), 3, 1)],
            )
            .as_bytes(),
        );
    }
    world.fails_in.set(2);
    let failed = answer(&mut intake, "{\"commit\":{}}");
    assert!(!failed.applied && failed.refused[0].message == "no room", "{failed:?}");
    assert_eq!((held(), world.row().mappings), (1, 1));
}

#[test]
fn a_fib_without_room_refuses_a_batch_and_keeps_what_was() {
    let world = World::new(Limits::default(), 1 << 18);
    let (mut intake, _) = world.open("ctl");
    let (mut sent, mut held) = (0_u32, 0);
    let full = loop {
        for _ in 0..2000 {
            let n = sent.wrapping_mul(2_654_435_761);
            let prefix =
                IpNet::new(std::net::Ipv4Addr::from(0x1e00_0000 | n >> 8).into(), 32).unwrap();
            intake.line(add("red", prefix, &vec![("10.255.1.2".to_owned(), 2, 1)]).as_bytes());
            sent += 1;
        }
        let answer = answer(&mut intake, "{\"commit\":{}}");
        if !answer.applied {
            break answer;
        }
        held += answer.added;
        assert!(sent < 1_000_000);
    };
    assert!(full.refused[0].message.contains("routes in the FIB"), "{full:?}");
    let station = world.station.borrow();
    assert_eq!((in_fib(&station).len() as u64, world.row().mappings), (held, held));
    let of_tunnels = |(to, _): (&station::tables::Adjacency, _)| to.kind == AdjacencyKind::Forward;
    let red = station.engine.vrf("red").unwrap();
    assert!(
        station.engine.routes(red).any(|r| station.engine.members(r.group).any(of_tunnels))
            || held == 0
    );
}
