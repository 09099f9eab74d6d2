//! Single properties of the engine, each by an example.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use ipnet::{IpNet, Ipv4Net};
use station::config::model::{
    Config, NeighborConfig, PortConfig, RouteAction, RouteConfig, RouteListConfig,
};
use station::control::{CommitError, Engine, Limits, PortFacts, Source, difference};
use station::fib::Fib;
use station::slowpath::NeighborEvent;
use station::tables::{AdjacencyKind, KeyFault, PortId};

use super::Station;
use super::draw::{Draw, empty, facts, hop, ip, mac, net, probes, vif, vrf};
use super::naive::observe;
use super::workers::Workers;

pub fn route(vrf: &str, prefix: &str, action: RouteAction) -> RouteConfig {
    RouteConfig { vrf: vrf.into(), prefix: net(prefix), action }
}

/// `count` IPv4 prefixes from /16 to /24, sorted.
fn many(count: usize, seed: u64) -> Arc<[IpNet]> {
    let mut draw = Draw(seed);
    let mut prefixes: Vec<IpNet> = (0..count)
        .map(|_| {
            let address = 0x2000_0000 | draw.below(1 << 29) as u32;
            let len = 22 + draw.below(9) as u8;
            IpNet::V4(Ipv4Net::new(address.into(), len).unwrap().trunc())
        })
        .collect();
    prefixes.sort();
    prefixes.dedup();
    prefixes.into()
}

fn list(vrf: &str, prefixes: &Arc<[IpNet]>, via: &[(&str, &str)]) -> RouteListConfig {
    RouteListConfig {
        vrf: vrf.into(),
        file: PathBuf::from(format!("{vrf}.txt")),
        prefixes: prefixes.clone(),
        via4: via.iter().map(|(vif, address)| hop(vif, address, 1)).collect(),
        via6: Vec::new(),
    }
}

/// Two VRFs; in the first a VIF on each port and a route over both.
pub fn two_ways() -> Config {
    let both = RouteAction::Via(vec![hop("a", "10.0.0.2", 1), hop("b", "10.0.1.2", 1)]);
    Config {
        vrfs: vec![vrf("red"), vrf("blue")],
        vifs: vec![
            vif("a", "p0", 100, "red", &["10.0.0.1/24"]),
            vif("b", "p1", 100, "red", &["10.0.1.1/24"]),
            vif("c", "p1", 101, "blue", &["10.0.0.1/24"]),
        ],
        routes: vec![route("red", "20.0.0.0/8", both)],
        ..empty()
    }
}

#[test]
fn an_exhausted_fib_leaves_everything_as_it_was() {
    let mut refused = 0;
    let mut accepted = 0;
    let mut station = Station::new(1 << 18);
    station.commit(&two_ways()).unwrap();
    let mut draw = Draw(7);
    for seed in 0..10 {
        let before = (observe(&station.engine), station.engine.config().cloned());
        let mut config = two_ways();
        let count = 250 << draw.below(7);
        let via = [[("a", "10.0.0.2")], [("b", "10.0.1.2")]][draw.below(2) as usize];
        config.route_lists = vec![
            list("red", &many(count, seed), &via),
            list("blue", &many(count / 2, seed + 100), &[("c", "10.0.0.2")]),
        ];
        if draw.below(2) == 0 {
            config.vrfs.push(vrf("new"));
            config.vifs.push(vif("n", "p0", 7, "new", &["10.0.0.1/24"]));
            config.route_lists.push(list("new", &many(count / 4, seed), &[("n", "10.0.0.2")]));
        }
        match station.commit(&config) {
            Ok(()) => accepted += 1,
            Err(CommitError::Fib { .. }) => {
                refused += 1;
                assert_eq!((observe(&station.engine), station.engine.config().cloned()), before);
            }
            Err(other) => panic!("{other}"),
        }
        station.check();
    }
    assert!(refused >= 3 && accepted >= 3, "{refused} refused, {accepted} accepted");
}

#[test]
fn what_a_reload_takes_a_start_takes() {
    let mut station = Station::new(1 << 20);
    let config = |count| {
        let mut config = two_ways();
        config.route_lists = vec![list("red", &many(count, 1), &[("a", "10.0.0.2")])];
        config
    };
    let mut most = 0;
    // Up to what there is room for, in ever smaller reloads.
    let mut more = 1 << 14;
    while more >= 512 {
        match station.commit(&config(most + more)) {
            Ok(()) => most += more,
            Err(CommitError::Fib { .. }) => more /= 2,
            Err(other) => panic!("{other}"),
        }
    }
    assert!(most > 1000, "{most}");
    Station::new(1 << 20).commit(&config(most)).unwrap();
}

#[test]
fn a_candidate_whose_base_has_changed_is_stale_and_changes_nothing() {
    let mut station = Station::new(64 << 20);
    station.commit(&two_ways()).unwrap();
    let mut config = two_ways();
    config.vifs.push(vif("n", "p0", 7, "red", &["10.9.0.1/24"]));
    let up = facts([true; 2]);
    let candidate = |station: &Station| {
        station.engine.base().compile(std::sync::Arc::new(config.clone()), &up).unwrap()
    };
    let stale = |result: Result<(), CommitError>| matches!(result, Err(CommitError::Stale));

    let first = candidate(&station);
    station.neighbors(&[("a".into(), ip("10.0.0.2"), Some(mac(1)))]);
    assert!(stale(station.engine.begin(first, &up)), "a neighbor is new");
    let second = candidate(&station);
    station.commit(&two_ways()).unwrap();
    assert!(stale(station.engine.begin(second, &up)), "another commit came between");
    let third = candidate(&station);
    let mut other = up.clone();
    other[0].mtu -= 1;
    assert!(stale(station.engine.begin(third, &other)), "an interface changed");
    assert_eq!(station.engine.config(), Some(&two_ways()));
    station.check();

    // Links and peers are taken over.
    let fourth = candidate(&station);
    station.engine.peer_states([("a", ip("10.0.0.2"), false)]);
    station.link(1, false);
    station.engine.begin(fourth, &facts([true, false])).unwrap();
    assert!(
        stale(station.engine.begin(candidate(&station), &facts([true, false]))),
        "one is under way"
    );
    while station.engine.step().unwrap().is_none() {}
    assert_eq!(station.engine.config(), Some(&config));
    let a = station.engine.vif("a").unwrap();
    assert!(station.engine.is_silent(a, ip("10.0.0.2")));
    station.check();
}

#[test]
fn a_link_is_lost_in_one_publication_without_a_wait() {
    let mut station = Station::new(64 << 20);
    let mut config = two_ways();
    let via = [("a", "10.0.0.2"), ("b", "10.0.1.2")];
    config.route_lists = vec![list("red", &many(10_000, 1), &via)];
    station.commit(&config).unwrap();
    let counts = |station: &Station| {
        let held = station.workers.0.borrow();
        (held.publications, held.waits)
    };
    let before = counts(&station);
    station.link(0, false);
    assert_eq!(counts(&station), (before.0 + 1, before.1));
    station.check();
    let red = station.engine.vrf("red").unwrap();
    let route = station.engine.lookup(red, ip("20.1.1.1")).unwrap();
    let tables = station.engine.tables();
    let b = station.engine.vif("b");
    let buckets = tables.groups.buckets(route.group);
    assert!(buckets.iter().all(|&id| Some(tables.adjacency(id).vif) == b));

    station.link(1, false);
    let tables = station.engine.tables();
    let buckets = tables.groups.buckets(route.group);
    let down = |id| tables.adjacency(id).kind == AdjacencyKind::EgressDown;
    assert!(buckets.iter().all(|&id| down(id)), "with no way left, packets meet EgressDown");
    station.link(1, false);
    assert_eq!(counts(&station), (before.0 + 2, before.1), "no news, no publication");
}

#[test]
fn a_next_hop_is_resolved_in_one_publication_without_a_wait() {
    let mut station = Station::new(1 << 20);
    station.commit(&two_ways()).unwrap();
    let before = station.workers.0.borrow().publications;
    let waits = station.workers.0.borrow().waits;
    let events = ["10.0.0.2", "10.0.0.2"].map(|a| ("a".to_owned(), ip(a), Some(mac(1))));
    station.neighbors(&events);
    station.neighbors(&events);
    station.check();
    let held = station.workers.0.borrow();
    assert_eq!((held.publications, held.waits), (before + 1, waits));
}

#[test]
fn a_neighbor_without_a_route_gets_a_host_route_while_it_is_there() {
    let mut station = Station::new(1 << 20);
    station.commit(&two_ways()).unwrap();
    let red = station.engine.vrf("red").unwrap();
    let source = |station: &Station| {
        let route = station.engine.lookup(red, ip("10.0.0.77")).unwrap();
        (route.prefix, route.source)
    };
    assert_eq!(source(&station), (net("10.0.0.0/24"), Source::Connected));
    station.neighbors(&[("a".into(), ip("10.0.0.77"), Some(mac(9)))]);
    assert_eq!(source(&station), (net("10.0.0.77/32"), Source::Neighbor));
    station.check();
    station.neighbors(&[("a".into(), ip("10.0.0.77"), None)]);
    assert_eq!(source(&station), (net("10.0.0.0/24"), Source::Connected));
    station.check();
}

#[test]
fn a_name_keeps_its_ids_through_changes_of_everything_else() {
    let mut station = Station::new(1 << 20);
    let mut config = two_ways();
    station.commit(&config).unwrap();
    let ids = |station: &Station| (station.engine.vif("c"), station.engine.vrf("blue"));
    let before = ids(&station);
    config.vifs.remove(0);
    config.vrfs.insert(0, vrf("first"));
    config.vifs.insert(0, vif("z", "p0", 9, "first", &[]));
    config.routes.clear();
    config.vifs.last_mut().unwrap().tags.outer = 77;
    station.commit(&config).unwrap();
    assert_eq!(ids(&station), before);
    config.vifs.last_mut().unwrap().vrf = "red".into();
    config.vifs.retain(|vif| *vif.name != *"a");
    station.commit(&config).unwrap();
    assert_eq!(ids(&station), before);
    station.check();
}

#[test]
fn all_ids_in_use_is_refused_and_freed_ids_are_enough() {
    let fib =
        Fib::new(station::fib::Limits { max_vrfs: 16, max_bytes: 1 << 20, ..Default::default() })
            .unwrap();
    let workers = Workers::new(fib.reader(), probes());
    let limits = Limits { vifs: 3, vrfs: 2, adjacencies: 1000, workers: 1, ports: 64 };
    let mut engine = Engine::new(fib, workers, limits);
    let facts = facts([true; 2]);
    engine.commit(&two_ways(), &facts).unwrap();
    let mut config = two_ways();
    let before = observe(&engine);
    config.vifs[2] = vif("d", "p1", 101, "blue", &["10.0.0.1/24"]);
    let error = engine.commit(&config, &facts).unwrap_err();
    assert_eq!(
        error.to_string(),
        "too many VIFs; if this change also removes some, remove those first"
    );
    assert_eq!(observe(&engine), before);
    let gone = config.vifs.pop().unwrap();
    engine.commit(&config, &facts).unwrap();
    config.vifs.push(gone);
    engine.commit(&config, &facts).unwrap();
}

#[test]
fn what_validation_should_have_refused_is_refused_here_too() {
    let mut station = Station::new(1 << 20);
    station.commit(&two_ways()).unwrap();
    let before = observe(&station.engine);
    let mut refuse = |change: &dyn Fn(&mut Config), expected: &str| {
        let mut config = two_ways();
        change(&mut config);
        let error = station.commit(&config).unwrap_err().to_string();
        assert!(error.starts_with(expected), "{error}");
        assert_eq!(observe(&station.engine), before);
    };
    let leak = RouteAction::Via(vec![hop("c", "10.0.0.2", 1)]);
    refuse(
        &|c| c.routes.push(route("red", "30.0.0.0/8", leak.clone())),
        "a next hop is on vif c, which is in another VRF",
    );
    refuse(&|c| c.vifs[1].tags.outer = 101, "the VLAN id of VIF");
    refuse(&|c| c.vifs[1].vrf = "none".into(), "there is no VRF none");
    refuse(&|c| c.vifs[1].port = "none".into(), "there is no port none");
    refuse(&|c| c.vifs.push(c.vifs[0].clone()), "VIF a is there twice");
    refuse(&|c| c.vrfs.push(vrf("red")), "VRF red is there twice");
    refuse(
        &|c| c.vifs[1].mtu = 9001,
        "vif b: mtu 9001 is more than the 9000 of port p1's interface",
    );
    refuse(&|c| drop(c.ports.pop()), "there is no port p1");
    refuse(&|c| c.ports[1].id = PortId(2), "nothing is known of port p1");
    refuse(&|c| c.ports[1].id = PortId(64), "the station has started with memory for 64 ports");
    refuse(&|c| c.station.max_vifs = 9, "needs a restart: max_vifs of [station] changed");
    refuse(&|c| c.station.max_ports = Some(9), "needs a restart: max_ports of [station] changed");
}

#[test]
fn a_port_comes_and_goes_and_no_other_changes_its_id() {
    let mut station = Station::new(1 << 20);
    let mut config = two_ways();
    station.commit(&config).unwrap();
    let before = observe(&station.engine);
    let place = |config: &mut Config, running: &Config| {
        let known = running.ports.iter().map(|port| (&*port.name, port.id));
        config.place_ports(known, &BTreeSet::new(), 64);
    };
    let of_port = |n: u64| PortFacts { mac: mac(0xf0 + n), mtu: 9000, link_up: true };
    let facts: Vec<PortFacts> = (0..4).map(of_port).collect();
    // In front of the others in the file: the ids of those stay.
    let running = config.clone();
    let new =
        PortConfig { name: "p2".into(), interface: "if-p2".into(), ..config.ports[0].clone() };
    config.ports.insert(0, new);
    config.vifs.push(vif("new", "p2", 100, "blue", &["10.77.0.1/24"]));
    place(&mut config, &running);
    assert_eq!(config.ports.iter().map(|port| port.id.0).collect::<Vec<_>>(), [2, 0, 1]);
    station.engine.commit(&config, &facts).unwrap();
    let id = station.engine.vif("new").unwrap();
    let tables = station.engine.tables();
    assert_eq!(tables.vif(id).unwrap().port, PortId(2));
    assert_eq!((&*tables.ports[2].name, tables.ports[2].up), ("p2", true));
    // Its id is free when it is gone, and means nothing meanwhile.
    let mut without = config.clone();
    without.ports.remove(0);
    without.vifs.pop();
    place(&mut without, &config);
    station.engine.commit(&without, &facts).unwrap();
    assert_eq!(observe(&station.engine), before);
    station.engine.link_changed(PortId(2), true);
    assert!(!station.engine.tables().ports.iter().any(|port| port.up && port.is_vacant()));
    let other = PortConfig { name: "p9".into(), ..config.ports[0].clone() };
    let running = without.clone();
    without.ports.push(other);
    place(&mut without, &running);
    assert_eq!(without.ports[2].id, PortId(2));
    // The first one goes: what has the others' ids stays, also beside a gap.
    without.vifs.retain(|vif| &*vif.port != "p0");
    without.ports.remove(0);
    without.routes.clear();
    without.neighbors.clear();
    let running = running.clone();
    place(&mut without, &running);
    station.engine.commit(&without, &facts).unwrap();
    assert!(station.engine.tables().ports[0].is_vacant());
    assert_eq!(station.engine.port("p1"), Some(PortId(1)));
}

#[test]
fn an_interface_that_shrank_stops_its_vifs_and_no_change() {
    let mut station = Station::new(1 << 20);
    let mut config = two_ways();
    station.commit(&config).unwrap();
    let engine = &mut station.engine;
    let mut facts = facts([true; 2]);
    facts[1].mtu = 1400;
    config.vifs.push(vif("d", "p0", 300, "blue", &["10.9.0.1/24"]));
    engine.commit(&config, &facts).unwrap();
    assert_eq!(engine.misfits(), [("b".into(), 1500, 1400), ("c".into(), 1500, 1400)]);
    let kind = |engine: &Engine<Workers>, vrf: &str, address: &str| {
        let route = engine.lookup(engine.vrf(vrf).unwrap(), ip(address)).unwrap();
        let kinds = engine.members(route.group).map(|(adjacency, _)| adjacency.kind);
        kinds.collect::<Vec<_>>()
    };
    let down = AdjacencyKind::EgressDown;
    assert_eq!(kind(engine, "blue", "10.0.0.77"), [down], "a connected subnet");
    assert_eq!(kind(engine, "red", "20.1.1.1"), [AdjacencyKind::Unresolved, down]);
    assert_eq!(kind(engine, "blue", "10.0.0.1"), [AdjacencyKind::Local]);
    engine.link_changed(PortId(1), false);
    engine.link_changed(PortId(1), true);
    assert_eq!(kind(engine, "blue", "10.0.0.77"), [down], "the link is not what is wrong");

    let mut refuse = |change: &dyn Fn(&mut Config)| {
        let mut config = config.clone();
        change(&mut config);
        let refused = engine.commit(&config, &facts).unwrap_err();
        assert!(matches!(refused, CommitError::Mtu { limit: 1400, .. }), "{refused}");
    };
    refuse(&|c| c.vifs[1].mtu = 1450);
    refuse(&|c| c.vifs[1].tags.outer = 77);
    refuse(&|c| c.vifs.push(vif("e", "p1", 301, "blue", &[])));
    // It may be set down, and up again.
    for up in [false, true] {
        config.vifs[1].up = up;
        engine.commit(&config, &facts).unwrap();
    }
    config.vifs[1].mtu = 1400;
    engine.commit(&config, &facts).unwrap();
    assert_eq!(engine.misfits(), [("c".into(), 1500, 1400)]);
    assert_eq!(kind(engine, "red", "20.1.1.1"), [AdjacencyKind::Unresolved; 2]);
    facts[1].mtu = 9000;
    engine.commit(&config, &facts).unwrap();
    assert_eq!(engine.misfits(), []);
    assert_eq!(kind(engine, "blue", "10.0.0.77"), [AdjacencyKind::Glean]);
    station.check();
}

#[test]
fn a_diff_reads_like_this() {
    let mut station = Station::new(1 << 20);
    let mut config = two_ways();
    let prefixes = many(100, 1);
    config.route_lists = vec![list("blue", &prefixes, &[("c", "10.0.0.2")])];
    config.neighbors =
        vec![NeighborConfig { vif: "a".into(), address: ip("10.0.0.2"), mac: mac(1) }];
    station.commit(&config).unwrap();
    config.vifs[0].mtu = 9000;
    config.vifs[0].up = false;
    config.vifs.push(vif("d", "p0", 300, "blue", &[]));
    config.neighbors.clear();
    config.routes[0].action = RouteAction::Blackhole;
    let shorter: Vec<IpNet> = prefixes.iter().skip(3).copied().collect();
    config.route_lists[0].prefixes = shorter.into();
    let diff = difference(station.engine.config(), &config).unwrap();
    assert_eq!(
        diff.to_string(),
        "~ vif a: state up -> down, mtu 1500 -> 9000\n\
         + vif d: port p0, vlan 300, vrf blue\n\
         ~ route 20.0.0.0/8 in vrf red: to via 10.0.0.2 (a), 10.0.1.2 (b) -> blackhole\n\
         ~ route_list blue.txt in vrf blue: 0 prefixes more, 3 less\n\
         - neighbor 10.0.0.2 on vif a: 02:00:00:00:01:01\n\
         1 added, 1 removed, 3 changed\n"
    );
    assert_eq!(
        difference(station.engine.config(), station.engine.config().unwrap()).unwrap().to_string(),
        "no changes\n"
    );
    assert_eq!(observe(&station.engine).vifs["a"].3, 1500, "a diff changes nothing");
}

#[test]
fn a_full_fib_still_forwards_to_new_neighbors_by_the_slow_path() {
    let mut station = Station::new(1 << 20);
    let mut config = two_ways();
    config.vifs[0].addresses.push(net("fd00::1/64"));
    station.commit(&config).unwrap();
    let vif = station.engine.vif("a").unwrap();
    let mut draw = Draw(1);
    let mut refused = 0;
    for _ in 0..20 {
        let events: Vec<_> = (0..1000)
            .map(|_| {
                let [a, b] = [draw.below(1 << 16), draw.below(1 << 16)];
                let address = ip(&format!("fd00::{a:x}:{b:x}:0:2"));
                NeighborEvent::Resolved { vif, address, mac: mac(1) }
            })
            .collect();
        let result = station.engine.neighbor_events(&events);
        station.workers.0.borrow().check();
        refused += usize::from(matches!(result, Err(CommitError::Fib { .. })));
    }
    assert!(refused > 0, "the FIB never filled up");
    let tables = station.engine.tables();
    let known = tables.neighbors.values().map(|&id| tables.adjacency(id));
    let red = station.engine.vrf("red").unwrap();
    let hosts = station.engine.routes(red).filter(|r| r.source == Source::Neighbor).count();
    assert!(known.clone().count() > hosts + 100, "{hosts}");
    let mut learned = known.filter(|a| a.address.is_ipv6());
    assert!(learned.all(|a| a.kind == AdjacencyKind::Forward));
}

#[test]
fn a_change_on_top_of_long_lists_costs_what_changes() {
    let mut station = Station::new(256 << 20);
    let mut config = two_ways();
    let via = [("a", "10.0.0.2"), ("b", "10.0.1.2")];
    config.route_lists = vec![list("red", &many(300_000, 1), &via)];
    let start = Instant::now();
    station.commit(&config).unwrap();
    let full = start.elapsed();
    let changes = (0..5).map(|n| {
        config.vifs.push(vif(
            &format!("n{n}"),
            "p0",
            200 + n,
            "red",
            &[&*format!("10.9.{n}.1/24")],
        ));
        let start = Instant::now();
        station.commit(&config).unwrap();
        start.elapsed()
    });
    let best = changes.min().unwrap();
    assert!(best * 10 < full, "{best:?} for a VIF, {full:?} for everything");
}

/// Two ports as [`facts`] has them, and a session on VIF a.
fn with_session(vlan: u16, session: &str) -> Config {
    let text = format!(
        r#"
[station]
name = "test"
[[port]]
name = "p0"
interface = "eth0"
role = "customer"
[[port]]
name = "p1"
interface = "eth1"
role = "core"
[[vrf]]
name = "red"
kind = "vpc"
[[vif]]
name = "a"
kind = "private"
port = "p0"
vlan = {vlan}
vrf = "red"
addresses = ["10.0.0.1/24"]
bgp = [{{ peer = "10.0.0.2", peer_as = 65001, local_as = 64512, {session} }}]
"#
    );
    station::config::parse(&text, &PathBuf::from("/")).unwrap()
}

#[test]
fn what_was_found_of_a_key_is_kept_while_the_session_stays_as_it_was() {
    let mut station = Station::new(8 << 20);
    let mut fault = |config: Config| {
        station.commit(&config).unwrap();
        let key = station.engine.tables().keys.get(&"a".into(), ip("10.0.0.2")).unwrap().clone();
        let before = key.fault().map(|(fault, _)| fault);
        key.judged(Some(KeyFault::Wrong), 1);
        before
    };
    let kept = Some(KeyFault::Wrong);
    assert_eq!(fault(with_session(100, "password = \"one\"")), None);
    assert_eq!(fault(with_session(100, "password = \"one\", hold_s = 30")), kept);
    assert_eq!(fault(with_session(100, "password = \"two\"")), None, "another password");
    assert_eq!(fault(with_session(101, "password = \"two\"")), None, "another wire");
    assert_eq!(fault(with_session(101, "hold_s = 30")), None, "no password");
    assert_eq!(fault(with_session(101, "hold_s = 90")), kept);
    let mut without = with_session(101, "hold_s = 90");
    without.vifs[0].bgp.clear();
    station.commit(&without).unwrap();
    assert!(station.engine.tables().keys.iter().next().is_none(), "no session, no key");
}
