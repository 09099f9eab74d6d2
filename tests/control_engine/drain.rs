//! Drains and drills: groups lead elsewhere where they can, at once; and what has no other way is known before.

use std::collections::BTreeSet;
use std::sync::Arc;

use proptest::prelude::*;
use station::config::model::{Config, NextHop, RouteAction};
use station::control::{Drained, Gone};
use station::mirror::{Change, Hop, Table, To};
use station::slowpath::NeighborEvent;

use super::Station;
use super::draw::{empty, hop, ip, mac, net, vif, vrf};
use super::scenarios::{route, two_ways};

/// VIFs of the random topologies, on two ports in turns.
const VIFS: usize = 4;
/// Next hops of those, two of each.
const HOPS: usize = 2 * VIFS;
/// Prefixes within each other.
const PREFIXES: [&str; 6] =
    ["30.0.0.0/8", "30.1.0.0/16", "30.1.1.0/24", "30.1.2.0/24", "30.2.0.0/16", "31.0.0.0/8"];

fn drained(vifs: &[&str]) -> Drained {
    Drained { vifs: vifs.iter().map(|&name| name.into()).collect(), ..Drained::default() }
}

/// The VIFs by which packets for an address leave.
fn leaves_by(station: &Station, prefix: &str) -> BTreeSet<String> {
    let engine = &station.engine;
    let Some(route) = engine.lookup(engine.vrf("red").unwrap(), net(prefix).addr()) else {
        return BTreeSet::new();
    };
    let tables = engine.tables();
    let buckets = tables.groups.buckets(route.group).iter();
    let vifs = buckets.filter_map(|&id| tables.vif(tables.adjacency(id).vif));
    vifs.map(|vif| vif.name.to_string()).collect()
}

fn names(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|&name| name.to_owned()).collect()
}

fn resolve(station: &mut Station, vifs: &[(&str, &str)]) {
    let events: Vec<_> = vifs
        .iter()
        .map(|&(vif, address)| NeighborEvent::Resolved {
            vif: station.engine.vif(vif).unwrap(),
            address: ip(address),
            mac: mac(1),
        })
        .collect();
    station.engine.neighbor_events(&events).unwrap();
}

#[test]
fn a_group_leaves_a_drained_vif_where_it_has_another_way() {
    let mut station = Station::new(1 << 20);
    station.commit(&two_ways()).unwrap();
    resolve(&mut station, &[("a", "10.0.0.2"), ("b", "10.0.1.2")]);
    assert_eq!(leaves_by(&station, "20.0.0.0/8"), names(&["a", "b"]));
    let published = station.engine.tables().generation;
    station.engine.drain(drained(&["a"]));
    assert_eq!(station.engine.tables().generation, published + 1, "one publication");
    assert_eq!(leaves_by(&station, "20.0.0.0/8"), names(&["b"]));
    // The other way is lost: what is drained is still better than none.
    station.link(1, false);
    assert_eq!(leaves_by(&station, "20.0.0.0/8"), names(&["a"]));
    station.link(1, true);
    assert_eq!(leaves_by(&station, "20.0.0.0/8"), names(&["b"]));
    station.engine.drain(drained(&["a", "b"]));
    assert_eq!(leaves_by(&station, "20.0.0.0/8"), names(&["a", "b"]), "neither is better");
    station.engine.drain(Drained { ports: ["p0".into()].into(), ..Drained::default() });
    assert_eq!(leaves_by(&station, "20.0.0.0/8"), names(&["b"]), "a is on p0");
    station.engine.drain(Drained::default());
    assert_eq!(leaves_by(&station, "20.0.0.0/8"), names(&["a", "b"]));
}

#[test]
fn what_is_drained_stays_so_over_commits_and_before_the_first() {
    let mut station = Station::new(1 << 20);
    station.engine.drain(Drained { ports: ["p0".into()].into(), ..Drained::default() });
    station.commit(&two_ways()).unwrap();
    resolve(&mut station, &[("a", "10.0.0.2"), ("b", "10.0.1.2")]);
    assert_eq!(leaves_by(&station, "20.0.0.0/8"), names(&["b"]));
    // A VIF that comes to the port is drained with it.
    let mut config = two_ways();
    config.vifs.push(vif("new", "p0", 7, "red", &["10.0.7.1/24"]));
    station.commit_among(&config, &[(0, false), (0, true)]).unwrap();
    assert!(station.engine.is_drained(station.engine.vif("new").unwrap()));
    assert_eq!(leaves_by(&station, "20.0.0.0/8"), names(&["b"]));
    // A candidate of before a drain is not what follows it.
    let base = station.engine.base();
    station.engine.drain(Drained::default());
    let facts = super::draw::facts([true; 2]);
    let stale = base.compile(Arc::new(two_ways()), &facts).unwrap();
    assert!(station.engine.begin(stale, &facts).is_err());
}

/// Where a prefix leads: to these next hops, by a static route or a learned one.
#[derive(Clone, Debug)]
struct Way {
    hops: BTreeSet<usize>,
    learned: bool,
}

fn way() -> impl Strategy<Value = Option<Way>> {
    let hops = proptest::collection::btree_set(0..HOPS, 1..=3);
    proptest::option::weighted(0.8, (hops, any::<bool>()))
        .prop_map(|way| way.map(|(hops, learned)| Way { hops, learned }))
}

fn name(vif: usize) -> String {
    format!("v{vif}")
}

/// The VIF and the address of a next hop: each VIF has two.
fn next_hop(hop: usize) -> (String, String) {
    (name(hop / 2), format!("10.0.{}.{}", hop / 2, 2 + hop % 2))
}

fn topology(ways: &[Option<Way>]) -> Config {
    let made = |at: usize| {
        vif(&name(at), ["p0", "p1"][at % 2], 100 + at as u16, "red", &[&format!("10.0.{at}.1/24")])
    };
    let via = |way: &Way| -> Vec<NextHop> {
        let hops = way.hops.iter().map(|&at| next_hop(at));
        hops.map(|(vif, address)| hop(&vif, &address, 1)).collect()
    };
    let routes = PREFIXES.iter().zip(ways).filter_map(|(prefix, way)| {
        let way = way.as_ref().filter(|way| !way.learned)?;
        Some(route("red", prefix, RouteAction::Via(via(way))))
    });
    Config {
        vrfs: vec![vrf("red")],
        vifs: (0..VIFS).map(made).collect(),
        routes: routes.collect(),
        ..empty()
    }
}

/// Has BIRD learn what ways say, but by these next hops.
fn learn(station: &mut Station, ways: &[Option<Way>], but: &BTreeSet<usize>) {
    let red = station.engine.vrf("red").unwrap();
    let changes = PREFIXES.iter().zip(ways).filter_map(|(prefix, way)| {
        let way = way.as_ref().filter(|way| way.learned)?;
        let hops = way.hops.difference(but).map(|&at| next_hop(at));
        let hops: Vec<Hop> = hops
            .map(|(vif, address)| Hop {
                vif: vif.as_str().into(),
                address: ip(&address),
                weight: 1,
            })
            .collect();
        let to = if hops.is_empty() { To::Gone } else { To::Hops(hops.into()) };
        Some(Change { vrf: red, table: Table::Best, prefix: net(prefix), to })
    });
    station.engine.learned(changes.collect());
}

/// The prefixes of ways for whose first addresses, which are in no other prefix within, packets leave by some VIF that is
/// not among these.
fn reached(station: &Station, ways: &[Option<Way>], but: &BTreeSet<String>) -> BTreeSet<String> {
    let own = PREFIXES.iter().zip(ways).filter(|(_, way)| way.is_some()).map(|(prefix, _)| prefix);
    let lit = own.filter(|prefix| !leaves_by(station, prefix).is_subset(but));
    lit.map(|prefix| (*prefix).to_owned()).collect()
}

/// A station whose ways are all there.
fn complete(ways: &[Option<Way>]) -> Station {
    let mut station = Station::new(1 << 20);
    station.commit(&topology(ways)).unwrap();
    learn(&mut station, ways, &BTreeSet::new());
    let all: Vec<(String, String)> = (0..HOPS).map(next_hop).collect();
    resolve(&mut station, &all.iter().map(|(vif, peer)| (&**vif, &**peer)).collect::<Vec<_>>());
    station
}

/// The prefixes that are said to go dark.
fn said(station: &Station, gone: &Gone) -> BTreeSet<String> {
    let dark = station.engine.base().dark(gone);
    dark.into_iter().map(|dark| dark.prefix.to_string()).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: if cfg!(debug_assertions) { 150 } else { 300 }, failure_persistence: None, ..ProptestConfig::default() })]

    /// The prefixes that are said to go dark are those that do once the VIFs are gone and BIRD has heard of it.
    #[test]
    fn what_is_said_to_go_dark_does_and_nothing_else(
        ways in proptest::collection::vec(way(), PREFIXES.len()),
        gone in proptest::collection::btree_set(0..VIFS, 1..=VIFS),
    ) {
        let (mut station, everywhere) = (complete(&ways), BTreeSet::new());
        let named: BTreeSet<String> = gone.iter().map(|&at| name(at)).collect();
        let drains = drained(&named.iter().map(String::as_str).collect::<Vec<_>>());
        let said = said(&station, &Gone { drained: drains.clone(), ..Gone::default() });
        let before = reached(&station, &ways, &everywhere);
        // While they are drained nothing is lost, and what can leaves by others.
        station.engine.drain(drains);
        prop_assert_eq!(&reached(&station, &ways, &everywhere), &before);
        let elsewhere = reached(&station, &ways, &named);
        // They are unplugged: their sessions end.
        learn(&mut station, &ways, &gone.iter().flat_map(|vif| [2 * vif, 2 * vif + 1]).collect());
        let after = reached(&station, &ways, &named);
        prop_assert!(elsewhere.is_subset(&after), "{:?} {:?}", elsewhere, after);
        let dark: BTreeSet<String> = before.difference(&after).cloned().collect();
        prop_assert_eq!(said, dark);
    }

    /// The same of a drill: sessions end, and the VIFs stay.
    #[test]
    fn what_a_drill_is_said_to_leave_dark_is_dark_and_nothing_else(
        ways in proptest::collection::vec(way(), PREFIXES.len()),
        gone in proptest::collection::btree_set(0..HOPS, 1..=HOPS),
    ) {
        let (mut station, everywhere) = (complete(&ways), BTreeSet::new());
        let peers: Vec<_> = gone.iter().map(|&at| next_hop(at)).collect();
        let named = peers.iter().map(|(vif, address)| (vif.as_str().into(), ip(address)));
        let said = said(&station, &Gone { peers: named.collect(), ..Gone::default() });
        let before = reached(&station, &ways, &everywhere);
        // Before BIRD has withdrawn anything, nothing is lost.
        station.engine.peer_states(peers.iter().map(|(vif, address)| (&**vif, ip(address), false)));
        prop_assert_eq!(&reached(&station, &ways, &everywhere), &before);
        learn(&mut station, &ways, &gone);
        let after = reached(&station, &ways, &everywhere);
        let dark: BTreeSet<String> = before.difference(&after).cloned().collect();
        prop_assert_eq!(said, dark);
        // They are back.
        station.engine.peer_states(peers.iter().map(|(vif, address)| (&**vif, ip(address), true)));
        learn(&mut station, &ways, &BTreeSet::new());
        prop_assert_eq!(&reached(&station, &ways, &everywhere), &before);
    }
}
