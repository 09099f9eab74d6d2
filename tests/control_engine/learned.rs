//! Learned routes: groups of what two tables say, behind all that is configured, and never out of
//! their VRF; and what the loss of a peer costs.

use std::collections::BTreeMap;

use std::sync::Arc;

use ipnet::IpNet;
use proptest::prelude::*;
use station::config::model::{Config, RouteAction};
use station::control::{MAX_NEXT_HOPS, Source};
use station::mirror::{Change, Hop, Hops, Range, Reason, Table, To};
use station::slowpath::NeighborEvent;
use station::tables::{AdjacencyKind, Role, VrfId};

use super::Station;
use super::draw::{hop, ip, mac, net};
use super::scenarios::{route, two_ways};

/// Next hops by VIF and address, with weights.
type Ways = Vec<(&'static str, &'static str, u16)>;

fn hops(ways: &[(&str, &str, u16)]) -> Hops {
    let hop = |&(vif, address, weight): &(&str, &str, u16)| Hop {
        vif: vif.into(),
        address: ip(address),
        weight,
    };
    let mut hops: Vec<Hop> = ways.iter().map(hop).collect();
    hops.sort();
    hops.into()
}

fn change(vrf: VrfId, table: Table, prefix: &str, ways: &[(&str, &str, u16)]) -> Change {
    let to = if ways.is_empty() { To::Gone } else { To::Hops(hops(ways)) };
    Change { vrf, table, prefix: net(prefix), to }
}

const A: (&str, &str, u16) = ("a", "10.0.0.2", 1);
const B: (&str, &str, u16) = ("b", "10.0.1.2", 1);

/// What a route leads to: VIF, next hop, weight, whether a backup.
fn members(station: &Station, prefix: &str) -> Vec<(String, String, u16, bool)> {
    let engine = &station.engine;
    let red = engine.vrf("red").unwrap();
    let route = engine.routes(red).find(|route| route.prefix == net(prefix));
    let Some(route) = route else { return Vec::new() };
    let name = |id| engine.tables().vif(id).map_or(String::new(), |vif| vif.name.to_string());
    let mut members: Vec<_> = engine
        .members(route.group)
        .map(|(a, m)| (name(a.vif), a.address.to_string(), m.weight, m.role == Role::Backup))
        .collect();
    members.sort();
    members
}

/// VIFs that a route's packets leave by now.
fn carrying(station: &Station, prefix: &str) -> Vec<String> {
    let engine = &station.engine;
    let red = engine.vrf("red").unwrap();
    let route = engine.lookup(red, net(prefix).addr()).unwrap();
    let tables = engine.tables();
    let mut vifs: Vec<String> = tables
        .groups
        .buckets(route.group)
        .iter()
        .map(|&id| tables.vif(tables.adjacency(id).vif).unwrap().name.to_string())
        .collect();
    vifs.sort();
    vifs.dedup();
    vifs
}

fn resolve(station: &mut Station) {
    let events: Vec<_> = [("a", A.1), ("b", B.1)]
        .map(|(vif, address)| NeighborEvent::Resolved {
            vif: station.engine.vif(vif).unwrap(),
            address: ip(address),
            mac: mac(1),
        })
        .to_vec();
    station.engine.neighbor_events(&events).unwrap();
}

/// VRF "red" with VIFs "a" and "b" on two ports, and primary A with backup B for some prefixes.
fn protected(routes: u32) -> Station {
    let mut station = Station::new(64 << 20);
    station.commit(&two_ways()).unwrap();
    let red = station.engine.vrf("red").unwrap();
    let (best, both) = (hops(&[A]), hops(&[A, B]));
    let prefixes =
        (0..routes).map(|n| IpNet::new((0x1e00_0000 + (n << 8)).to_be_bytes().into(), 24));
    let changes = prefixes.flat_map(|prefix| {
        let prefix = prefix.unwrap();
        let to =
            |table, hops: &Hops| Change { vrf: red, table, prefix, to: To::Hops(hops.clone()) };
        [to(Table::Best, &best), to(Table::Alternates, &both)]
    });
    let changes: Vec<Change> = changes.collect();
    changes.chunks(4096).for_each(|part| station.engine.learned(part.to_vec()));
    resolve(&mut station);
    station
}

#[test]
fn alternates_that_are_not_best_are_backups() {
    let mut station = Station::new(1 << 20);
    station.commit(&two_ways()).unwrap();
    let red = station.engine.vrf("red").unwrap();
    let mut learn = |table, ways: &[(&str, &str, u16)]| {
        station.engine.learned(vec![change(red, table, "30.0.0.0/8", ways)]);
        members(&station, "30.0.0.0/8")
    };
    let of = |(vif, address, weight): (&str, &str, u16), backup| {
        (vif.to_owned(), address.to_owned(), if backup { 0 } else { weight }, backup)
    };
    assert_eq!(learn(Table::Alternates, &[A, B]), [], "nothing was decided yet");
    assert_eq!(learn(Table::Best, &[A]), [of(A, false), of(B, true)]);
    let heavy = ("b", "10.0.1.2", 3);
    assert_eq!(learn(Table::Best, &[A, heavy]), [of(A, false), of(heavy, false)]);
    assert_eq!(learn(Table::Best, &[B]), [of(A, true), of(B, false)]);
    assert_eq!(learn(Table::Alternates, &[B]), [of(B, false)]);
    assert_eq!(learn(Table::Alternates, &[]), [of(B, false)]);
    assert_eq!(learn(Table::Best, &[]), []);
    assert_eq!(station.engine.learning(red, false).routes, 0);
}

#[test]
fn a_static_next_hop_without_weight_is_a_backup() {
    let mut station = Station::new(1 << 20);
    let via = vec![hop("b", B.1, 0), hop("a", A.1, 2)];
    let routes = vec![route("red", "30.0.0.0/24", RouteAction::Via(via))];
    station.commit(&Config { routes, ..two_ways() }).unwrap();
    resolve(&mut station);
    let of = |(vif, address, _): (&str, &str, u16), weight: u16| {
        (vif.to_owned(), address.to_owned(), weight, weight == 0)
    };
    assert_eq!(members(&station, "30.0.0.0/24"), [of(A, 2), of(B, 0)]);
    assert_eq!(carrying(&station, "30.0.0.0/24"), ["a"]);
    station.link(0, false);
    assert_eq!(carrying(&station, "30.0.0.0/24"), ["b"]);
    station.link(0, true);
    assert_eq!(carrying(&station, "30.0.0.0/24"), ["a"]);
    station.engine.peer_states([("a", ip(A.1), false)]);
    assert_eq!(carrying(&station, "30.0.0.0/24"), ["b"]);
}

#[test]
fn a_lost_peer_or_link_costs_one_publication_and_no_route_whatever_their_number() {
    let mut costs = Vec::new();
    for routes in [10, 100_000] {
        let mut station = protected(routes);
        assert_eq!(carrying(&station, "30.0.0.0/24"), ["a"]);
        let routes_of = |station: &Station| -> Vec<(IpNet, u32)> {
            let red = station.engine.vrf("red").unwrap();
            station.engine.routes(red).map(|route| (route.prefix, route.group.0)).collect()
        };
        let before = routes_of(&station);
        let counts = |station: &Station| {
            let held = station.workers.0.borrow();
            (held.publications, held.waits)
        };
        let start = counts(&station);
        station.engine.peer_states([("a", ip(A.1), false)]);
        assert_eq!(carrying(&station, "30.0.0.0/24"), ["b"]);
        station.engine.peer_states([("a", ip(A.1), true)]);
        assert_eq!(carrying(&station, "30.0.0.0/24"), ["a"]);
        station.link(0, false);
        assert_eq!(carrying(&station, "30.0.0.0/24"), ["b"]);
        station.link(0, true);
        let lost = [("a".to_owned(), ip(A.1), None)];
        station.neighbors(&lost);
        assert_eq!(carrying(&station, "30.0.0.0/24"), ["b"]);
        // A change of a route would have had to wait for the workers: only the lost neighbor's own
        // host route did.
        let end = counts(&station);
        costs.push((end.0 - start.0, end.1 - start.1));
        let host = |(prefix, _): &(IpNet, u32)| prefix.addr() != ip(A.1);
        let (old, new) =
            (before.into_iter().filter(host), routes_of(&station).into_iter().filter(host));
        assert!(old.eq(new), "a route was changed");
    }
    assert_eq!(costs[0], costs[1]);
    assert!(costs[0].0 <= 6, "{costs:?}");
}

#[test]
fn a_peer_without_an_alternative_is_still_tried() {
    let mut station = protected(1);
    station.engine.peer_states([("a", ip(A.1), false), ("b", ip(B.1), false)]);
    assert_eq!(carrying(&station, "30.0.0.0/24"), ["a"], "what BIRD said last");
}

#[test]
fn what_comes_by_a_backup_has_a_route_back() {
    let station = protected(1);
    let red = station.engine.vrf("red").unwrap();
    let tables = station.engine.tables();
    let group = station.engine.lookup(red, ip("30.0.0.1")).unwrap().group;
    let vifs = |ids: &[station::tables::AdjacencyId]| {
        let mut vifs: Vec<_> = ids.iter().map(|&id| tables.adjacency(id).vif).collect();
        vifs.sort();
        vifs.dedup();
        vifs
    };
    assert_eq!(vifs(tables.groups.buckets(group)), [station.engine.vif("a").unwrap()]);
    // RFC 8704: the source check asks for the members.
    let both = ["a", "b"].map(|name| station.engine.vif(name).unwrap());
    assert_eq!(vifs(tables.groups.members(group)), both);
}

#[test]
fn what_is_configured_wins_and_gives_the_learned_route_back() {
    let mut station = protected(10);
    let red = station.engine.vrf("red").unwrap();
    let source = |station: &Station| station.engine.lookup(red, ip("30.0.0.1")).unwrap().source;
    assert_eq!(source(&station), Source::Bgp);
    let mut config = two_ways();
    config.routes.push(route("red", "30.0.0.0/24", RouteAction::Blackhole));
    station.commit(&config).unwrap();
    assert_eq!(source(&station), Source::Static);
    // It changes behind the configured one.
    station.engine.learned(vec![change(red, Table::Best, "30.0.0.0/24", &[B])]);
    assert_eq!(source(&station), Source::Static);
    station.commit(&two_ways()).unwrap();
    assert_eq!(source(&station), Source::Bgp);
    assert_eq!(carrying(&station, "30.0.0.0/24"), ["b"]);
    // A peer does not take over a connected subnet nor an address of the router.
    for prefix in ["10.0.0.0/24", "10.0.0.1/32"] {
        station.engine.learned(vec![change(red, Table::Best, prefix, &[B])]);
        let route = station.engine.lookup(red, net(prefix).addr()).unwrap();
        assert_ne!(route.source, Source::Bgp, "{prefix}");
    }
}

#[test]
fn a_neighbor_is_no_route_and_no_longer_route_gives_way_to_it() {
    // Of what the operator, a list or a peer says of parts of the subnet, before the station knows the
    // neighbor and after: the longest route holds (RFC 1812 5.2.4.3).
    let neighbor = |station: &mut Station, known: bool| {
        let vif = station.engine.vif("a").unwrap();
        for address in ["10.0.0.6", "fd00::6"] {
            let (address, mac) = (ip(address), mac(1));
            let event = match known {
                true => NeighborEvent::Resolved { vif, address, mac },
                false => NeighborEvent::Lost { vif, address },
            };
            station.engine.neighbor_events(&[event]).unwrap();
        }
        station.workers.0.borrow().check();
    };
    let seen = |station: &Station| {
        let red = station.engine.vrf("red").unwrap();
        ["10.0.0.6", "fd00::6"].map(|address| {
            let route = station.engine.lookup(red, ip(address)).unwrap();
            let kind = station.engine.members(route.group).next().unwrap().0.kind;
            (route.prefix, route.source, kind)
        })
    };
    let mut base = two_ways();
    base.vifs[0].addresses.push(net("fd00::1/64"));
    let mut routed = base.clone();
    let (v4, v6) = ("10.0.0.4/30", "fd00::4/126");
    let at = [net(v4), net(v6)];
    for (action, kind) in [
        (RouteAction::Blackhole, AdjacencyKind::Blackhole),
        (RouteAction::Unreachable, AdjacencyKind::Unreachable),
        (RouteAction::Via(vec![hop("a", "10.0.0.9", 1)]), AdjacencyKind::Unresolved),
    ] {
        routed.routes = base.routes.clone();
        for prefix in at {
            routed.routes.push(route("red", &prefix.to_string(), action.clone()));
        }
        let expected = at.map(|prefix| (prefix, Source::Static, kind));
        let mut station = Station::new(1 << 20);
        station.commit(&routed).unwrap();
        assert_eq!(seen(&station), expected);
        neighbor(&mut station, true);
        assert_eq!(seen(&station), expected, "the neighbor answered");
        // Without the route the neighbor is reached as itself, at once; and back.
        station.commit(&base).unwrap();
        assert_eq!(seen(&station).map(|(_, source, _)| source), [Source::Neighbor; 2]);
        station.commit(&routed).unwrap();
        assert_eq!(seen(&station), expected);
        neighbor(&mut station, false);
        assert_eq!(seen(&station), expected);
    }

    let mut station = Station::new(1 << 20);
    station.commit(&base).unwrap();
    let red = station.engine.vrf("red").unwrap();
    neighbor(&mut station, true);
    for (prefix4, prefix6) in
        [(v4, v6), ("10.0.0.6/32", "fd00::6/128"), ("10.0.0.0/25", "fd00::/65")]
    {
        let learn = |station: &mut Station, ways: &[(&str, &str, u16)]| {
            let changes = [prefix4, prefix6].map(|p| change(red, Table::Best, p, ways));
            station.engine.learned(changes.to_vec());
            station.workers.0.borrow().check();
        };
        for known in [true, false, true] {
            neighbor(&mut station, known);
            learn(&mut station, &[B]);
            let found = seen(&station).map(|(prefix, source, _)| (prefix, source));
            assert_eq!(found, [prefix4, prefix6].map(|p| (net(p), Source::Bgp)), "{known}");
            learn(&mut station, &[]);
            let source = if known { Source::Neighbor } else { Source::Connected };
            assert_eq!(seen(&station).map(|(_, source, _)| source), [source; 2]);
        }
        // The neighbor comes and goes behind the learned route.
        learn(&mut station, &[B]);
        for known in [false, true] {
            neighbor(&mut station, known);
            assert_eq!(seen(&station).map(|(_, source, _)| source), [Source::Bgp; 2]);
        }
        learn(&mut station, &[]);
        assert_eq!(seen(&station).map(|(_, source, _)| source), [Source::Neighbor; 2]);
    }
}

#[test]
fn a_commit_costs_nothing_for_what_is_learned() {
    let mut costs = Vec::new();
    for routes in [10, 100_000] {
        let mut station = protected(routes);
        let mut config = two_ways();
        config.routes.push(route("red", "40.0.0.0/8", RouteAction::Blackhole));
        station.commit(&config).unwrap();
        let start = std::time::Instant::now();
        for _ in 0..20 {
            station.engine.commit(&two_ways(), &super::draw::facts([true; 2])).unwrap();
            station.engine.commit(&config, &super::draw::facts([true; 2])).unwrap();
        }
        costs.push(start.elapsed());
    }
    // 10,000 times as many routes; a walk over them alone would take many times as long.
    assert!(costs[1] < 10 * costs[0] + std::time::Duration::from_millis(40), "{costs:?}");
}

#[test]
fn a_next_hop_outside_its_vrf_or_subnet_is_refused_and_counted() {
    let mut station = Station::new(1 << 20);
    station.commit(&two_ways()).unwrap();
    let engine = &mut station.engine;
    let red = engine.vrf("red").unwrap();
    let blue = VrfId(u16::from(red.0 == 0));
    let bad = [
        ("a", "10.0.1.2", 1),    // another VIF's subnet
        ("a", "10.0.0.1", 1),    // the router itself
        ("a", "203.0.113.1", 1), // nobody's
        ("nosuch", "10.0.0.2", 1),
    ];
    for way in bad {
        engine.learned(vec![change(red, Table::Best, "30.0.0.0/8", &[way])]);
        assert_eq!(engine.lookup(red, ip("30.0.0.1")).map(|route| route.source), None, "{way:?}");
    }
    let learning = engine.learning(red, false);
    assert_eq!((learning.routes, learning.refused), (0, 4));
    assert!(learning.last_error.is_some());
    // A VRF that there is not, or that has no such VIF.
    engine.learned(vec![change(blue, Table::Best, "30.0.0.0/8", &[A])]);
    assert_eq!(engine.lookup(red, ip("30.0.0.1")).map(|route| route.prefix), None);
}

#[test]
fn one_tenants_next_hops_are_limited() {
    let mut station = Station::new(4 << 20);
    station.commit(&two_ways()).unwrap();
    let red = station.engine.vrf("red").unwrap();
    let many: Vec<Change> = (0..200)
        .map(|n| {
            let address = format!("10.0.0.{}", 3 + n);
            change(red, Table::Best, &format!("30.{n}.0.0/16"), &[("a", &address, 1)])
        })
        .collect();
    station.engine.learned(many);
    let learning = station.engine.learning(red, false);
    assert_eq!(learning.routes, MAX_NEXT_HOPS);
    assert_eq!(learning.refused as usize, 200 - MAX_NEXT_HOPS);
    // Another VIF has its own.
    station.engine.learned(vec![change(red, Table::Best, "31.0.0.0/8", &[B])]);
    assert_eq!(members(&station, "31.0.0.0/8").len(), 1);
}

#[test]
fn a_full_fib_refuses_whole_changes_and_an_audit_makes_up_for_it() {
    let mut station = Station::new(1 << 20);
    station.commit(&two_ways()).unwrap();
    let red = station.engine.vrf("red").unwrap();
    let best = hops(&[A]);
    let prefixes: Vec<IpNet> = (0..40_000_u32)
        .map(|n| {
            // Far from each other, so that they share little.
            let far = n.wrapping_mul(0x9e37_79b1);
            let bits = u128::from(0x2001_0db8_u32) << 96 | u128::from(far) << 64;
            IpNet::new(std::net::Ipv6Addr::from(bits).into(), 64).unwrap()
        })
        .collect();
    let to = |prefix: &IpNet, to: To| Change { vrf: red, table: Table::Best, prefix: *prefix, to };
    for part in prefixes.chunks(4096) {
        let changes = part.iter().map(|prefix| to(prefix, To::Hops(best.clone())));
        station.engine.learned(changes.collect());
    }
    let learning = station.engine.learning(red, true);
    assert!(learning.no_room > 0, "the FIB never filled up");
    assert_eq!(learning.routes + learning.no_room as usize, prefixes.len());
    // Half of it goes; then there is room, and the audit finds what lacks.
    let (gone, stays) = prefixes.split_at(prefixes.len() - 2000);
    for part in gone.chunks(4096) {
        station.engine.learned(part.iter().map(|prefix| to(prefix, To::Gone)).collect());
    }
    let mut kernel: Vec<(IpNet, Hops)> = stays.iter().map(|p| (*p, best.clone())).collect();
    kernel.sort_by_key(|(prefix, _)| *prefix);
    station.engine.learned_range(&Range {
        vrf: red,
        table: Table::Best,
        from: net("::/0"),
        until: None,
        routes: kernel,
        unsure: Arc::default(),
        reason: Reason::Audit,
    });
    let learning = station.engine.learning(red, true);
    assert_eq!(learning.routes, stays.len());
    assert_eq!(learning.mismatches, learning.repaired);
    assert!(learning.repaired > 0);
    let found = station.engine.routes(red).filter(|route| route.source == Source::Bgp).count();
    assert_eq!(found, stays.len());
}

/// A neighbor's group that the FIB does not lead to yet is one that no worker may lack when a route takes it.
#[test]
fn a_route_may_take_the_group_of_a_neighbor_that_a_longer_route_hides() {
    let mut station = Station::new(16 << 20);
    station.commit(&config(false, true)).unwrap();
    let red = station.engine.vrf("red").unwrap();
    let to = |prefix, hop| change(red, Table::Best, prefix, &[hop]);
    station.engine.learned(vec![to("10.0.1.2/31", ("b", "10.0.1.3", 2))]);
    let vif = station.engine.vif("b").unwrap();
    let event = NeighborEvent::Resolved { vif, address: ip(B.1), mac: mac(1) };
    station.engine.neighbor_events(&[event]).unwrap();
    station.engine.learned(vec![to("0.0.0.0/0", ("b", B.1, 1))]);
    station.workers.0.borrow().check();
}

/// A kernel table's content in the words of the test.
type Kernel = BTreeMap<(Table, &'static str), Ways>;

const PREFIXES: [&str; 9] = [
    "0.0.0.0/0",
    "10.0.0.0/16",
    "10.0.0.0/30",
    "10.0.1.2/31",
    "30.0.0.0/8",
    "30.1.0.0/16",
    "10.0.0.2/32",
    "::/0",
    "fd77::/16",
];

#[derive(Clone, Debug)]
enum Step {
    Changes(Vec<(Table, &'static str, Ways)>),
    Dump(Table, bool, Vec<(&'static str, Ways)>),
    Commit(bool, bool),
    Link(usize, bool),
    Peer(&'static str, bool),
    Neighbor(&'static str, bool),
}

fn step() -> impl Strategy<Value = Step> {
    let ways = || {
        let all = [A, B, ("b", "10.0.1.3", 2), ("c", "10.0.0.2", 1)];
        proptest::sample::subsequence(all.to_vec(), 0..3)
    };
    let table = || prop_oneof![Just(Table::Best), Just(Table::Alternates)];
    let prefix = || proptest::sample::select(PREFIXES.to_vec());
    let change = (table(), prefix(), ways());
    let routes = proptest::collection::vec((prefix(), ways()), 0..5);
    let vif = || proptest::sample::select(vec!["a", "b"]);
    prop_oneof![
        4 => proptest::collection::vec(change, 1..6).prop_map(Step::Changes),
        2 => (table(), any::<bool>(), routes).prop_map(|(t, v6, r)| Step::Dump(t, v6, r)),
        1 => any::<(bool, bool)>().prop_map(|(a, b)| Step::Commit(a, b)),
        1 => (0..2usize, any::<bool>()).prop_map(|(port, up)| Step::Link(port, up)),
        1 => (vif(), any::<bool>()).prop_map(|(vif, up)| Step::Peer(vif, up)),
        1 => (vif(), any::<bool>()).prop_map(|(vif, up)| Step::Neighbor(vif, up)),
    ]
}

/// With or without a static route, and with or without VIF "b".
fn config(with_route: bool, with_b: bool) -> Config {
    let mut config = two_ways();
    config.routes.clear();
    if with_route {
        config.routes.push(route("red", "30.0.0.0/8", RouteAction::Blackhole));
    }
    config.vifs.retain(|vif| with_b || *vif.name != *"b");
    config.neighbors.clear();
    config.route_lists.clear();
    config
}

proptest! {
    #![proptest_config(ProptestConfig { cases: if cfg!(debug_assertions) { 42 } else { 128 }, failure_persistence: None, ..ProptestConfig::default() })]

    /// At every moment no worker meets what has no meaning (that is checked at each publication), and
    /// after each step the FIB has what the kernel has, where nothing that is configured beats it.
    #[test]
    fn any_history_of_learned_routes_ends_with_the_kernels(steps in proptest::collection::vec(step(), 1..25)) {
        let mut station = Station::new(16 << 20);
        station.commit(&config(false, true)).unwrap();
        let red = station.engine.vrf("red").unwrap();
        let mut kernel = Kernel::new();
        let mut now = (false, true);
        for step in steps {
            match step {
                Step::Changes(changes) => {
                    let of = |(t, p, w): &(Table, &'static str, Ways)| change(red, *t, p, w);
                    station.engine.learned(changes.iter().map(of).collect());
                    for (table, prefix, ways) in changes {
                        kernel.insert((table, prefix), ways);
                    }
                }
                Step::Dump(table, v6, routes) => {
                    kernel.retain(|(t, p), _| *t != table || net(p).addr().is_ipv6() != v6);
                    for (prefix, ways) in routes {
                        if net(prefix).addr().is_ipv6() == v6 {
                            kernel.insert((table, prefix), ways);
                        }
                    }
                    dump(&mut station, red, &kernel, table, v6);
                }
                Step::Commit(with_route, with_b) => {
                    now = (with_route, with_b);
                    station.commit(&config(with_route, with_b)).unwrap();
                    // The mirror dumps again: next hops on a VIF that is new count now.
                    for table in [Table::Best, Table::Alternates] {
                        dump(&mut station, red, &kernel, table, false);
                        dump(&mut station, red, &kernel, table, true);
                    }
                }
                Step::Link(port, up) => station.link(port, up),
                Step::Peer(vif, up) => {
                    let address = ip(if vif == "a" { A.1 } else { B.1 });
                    station.engine.peer_states([(vif, address, up)]);
                }
                Step::Neighbor(vif, up) => {
                    let Some(id) = station.engine.vif(vif) else { continue };
                    let address = ip(if vif == "a" { A.1 } else { B.1 });
                    let event = match up {
                        true => NeighborEvent::Resolved { vif: id, address, mac: mac(1) },
                        false => NeighborEvent::Lost { vif: id, address },
                    };
                    station.engine.neighbor_events(&[event]).unwrap();
                }
            }
            station.workers.0.borrow().check();
            check(&station, red, &kernel, now);
        }
    }
}

fn dump(station: &mut Station, vrf: VrfId, kernel: &Kernel, table: Table, v6: bool) {
    let here = kernel
        .iter()
        .filter(|((t, p), ways)| *t == table && net(p).addr().is_ipv6() == v6 && !ways.is_empty());
    let mut routes: Vec<(IpNet, Hops)> = here.map(|((_, p), ways)| (net(p), hops(ways))).collect();
    routes.sort_by_key(|(prefix, _)| *prefix);
    let from = net(if v6 { "::/0" } else { "0.0.0.0/0" });
    // In two parts, as a long one would be.
    let middle = routes.get(routes.len() / 2).map(|(prefix, _)| *prefix).filter(|p| *p > from);
    let rest = middle.map(|middle| routes.split_off(routes.partition_point(|(p, _)| *p < middle)));
    let mut range = Range {
        vrf,
        table,
        from,
        until: middle,
        routes,
        unsure: Arc::default(),
        reason: Reason::Resync,
    };
    station.engine.learned_range(&range);
    if let (Some(middle), Some(rest)) = (middle, rest) {
        (range.from, range.until, range.routes) = (middle, None, rest);
        station.engine.learned_range(&range);
    }
}

fn check(station: &Station, red: VrfId, kernel: &Kernel, (with_route, with_b): (bool, bool)) {
    let engine = &station.engine;
    let taken = |table, prefix| -> Ways {
        let ways = kernel.get(&(table, prefix)).cloned().unwrap_or_default();
        // VIF c is in another VRF.
        ways.into_iter().filter(|(vif, ..)| *vif == "a" || *vif == "b" && with_b).collect()
    };
    for prefix in PREFIXES {
        let (best, alternates) = (taken(Table::Best, prefix), taken(Table::Alternates, prefix));
        let found = engine.routes(red).find(|route| route.prefix == net(prefix));
        let beaten = with_route && prefix == "30.0.0.0/8"
            || found.is_some_and(|route| route.source == Source::Local)
            || best.is_empty() && found.is_some_and(|route| route.source == Source::Neighbor);
        if beaten {
            assert_ne!(found.unwrap().source, Source::Bgp);
            continue;
        }
        let mut expected: Vec<(String, String, u16, bool)> = Vec::new();
        if !best.is_empty() {
            let owned = |(v, a, w): &(&str, &str, u16), b| (v.to_string(), a.to_string(), *w, b);
            expected.extend(best.iter().map(|way| owned(way, false)));
            let is_best =
                |way: &&(&str, &str, u16)| best.iter().any(|b| (b.0, b.1) == (way.0, way.1));
            let backups = alternates.iter().filter(|way| !is_best(way));
            expected.extend(backups.map(|(v, a, _)| owned(&(*v, *a, 0), true)));
            expected.sort();
        }
        assert_eq!(members(station, prefix), expected, "{prefix}");
    }
    // The next hops, which are neighbors on connected subnets: reached by the longest route that a
    // peer announces within the subnet, else as neighbors.
    for (address, subnet, there) in [(A.1, 24, true), (B.1, 24, with_b)] {
        let covers = |p: &&&str| net(p).contains(&ip(address)) && net(p).prefix_len() > subnet;
        let announced = PREFIXES.iter().filter(covers);
        let announced = announced.filter(|p| !taken(Table::Best, p).is_empty());
        let longest = announced.max_by_key(|p| net(p).prefix_len());
        let found = engine.lookup(red, ip(address));
        match longest {
            Some(prefix) => assert_eq!(found.unwrap().prefix, net(prefix)),
            None if there => {
                let source = found.unwrap().source;
                assert!(matches!(source, Source::Neighbor | Source::Connected), "{source:?}");
            }
            None => {}
        }
    }
    for route in engine.routes(red) {
        for (adjacency, _) in engine.members(route.group) {
            assert_eq!(adjacency.vrf, red);
            assert_ne!(adjacency.kind, AdjacencyKind::NoRoute);
        }
    }
}
