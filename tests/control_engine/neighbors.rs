//! Neighbors that are learned: the engine together with the slow path, and within their limits.

use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;
use station::config::model::RouteAction;
use station::control::{CommitError, Engine, Limits};
use station::fib::Fib;
use station::slowpath::{NeighborEvent, Output, Punted, SlowPath, Told, View};
use station::tables::counters::SlowCounters;
use station::tables::{
    AdjacencyKind, GroupId, PortId, PuntReason, SlowOutcome, Snapshot, VifId, VrfId,
};
use station::wire::ethernet::Mac;

use super::Station;
use super::draw::{Draw, facts, hop, ip, mac, net, probes};
use super::scenarios::{route, two_ways};
use super::workers::Workers;

/// What the slow path tells the control plane, and how many frames it sends.
type Done = (Vec<NeighborEvent>, usize);

/// Calls the slow path with tables; there is no route.
fn call(f: impl FnOnce(&View<'_>, &mut Vec<Output>), now_ns: u64, snapshot: &Snapshot) -> Done {
    let fib = |_: VrfId, _: IpAddr| GroupId(0);
    let mut out = Vec::new();
    f(&View { now_ns, snapshot, fib: &fib }, &mut out);
    let mut done = (Vec::new(), 0);
    for output in out {
        match output {
            Output::Tell(Told::Neighbor(event)) => done.0.push(event),
            Output::Tell(Told::TooBig(_)) => unreachable!("there is no underlay"),
            Output::Transmit { .. } => done.1 += 1,
            Output::ToKernel { .. } => unreachable!("no VIF here has a peer"),
        }
    }
    done
}

/// An ARP reply from 10.0.0.2 to VIF "a", VLAN 100 on the first port.
fn arp_reply(sender: Mac, port: Mac) -> Vec<u8> {
    let tag = [0x81, 0, 0, 100, 8, 6];
    let head = [0, 1, 8, 0, 6, 4, 0, 2];
    [&port.0[..], &sender.0, &tag, &head, &sender.0, &[10, 0, 0, 2], &port.0, &[10, 0, 0, 1]]
        .concat()
}

fn kind(station: &Station, vif: VifId, address: &str) -> AdjacencyKind {
    let tables = station.engine.tables();
    tables.adjacency(tables.neighbors[&(vif, ip(address))]).kind
}

#[test]
fn an_answer_from_before_a_vif_moved_does_not_outlive_the_move() {
    let mut station = Station::new(1 << 20);
    let mut config = two_ways();
    station.commit(&config).unwrap();
    let a = station.engine.vif("a").unwrap();
    let mut slow = SlowPath::new(Arc::new(SlowCounters::new(1, 64)));
    let old = station.engine.tables().clone();
    assert_eq!(call(|view, out| slow.tick(view, out), 1, &old), (vec![], 2));
    let frame = arp_reply(mac(1), old.ports[0].mac);
    let (port, reason) = (PortId(0), PuntReason::Arp);
    let punted = Punted { port, vif: a, reason, l3: 18, choice: None, frame: &frame };
    let answer = |view: &View<'_>, out: &mut Vec<Output>| {
        assert_eq!(slow.punted(view, &punted, out), SlowOutcome::Consumed);
    };
    let (late, _) = call(answer, 2, &old);
    assert_eq!(late, [NeighborEvent::Resolved { vif: a, address: ip("10.0.0.2"), mac: mac(1) }]);

    config.vifs[0].tags.outer = 500;
    station.commit(&config).unwrap();
    assert_eq!(kind(&station, a, "10.0.0.2"), AdjacencyKind::Unresolved);
    station.engine.neighbor_events(&late).unwrap();
    for now in [3, 4] {
        let tables = station.engine.tables().clone();
        let (events, _) = call(|view, out| slow.tick(view, out), now, &tables);
        station.engine.neighbor_events(&events).unwrap();
    }
    assert_eq!(kind(&station, a, "10.0.0.2"), AdjacencyKind::Unresolved);
    let asked = slow.neighbors(5).any(|row| (row.vif, row.address) == (a, ip("10.0.0.2")));
    assert!(asked, "the neighbor is asked for where the VIF is now");
    station.check();
}

#[test]
fn learned_neighbors_leave_half_of_the_adjacencies_to_the_operator() {
    let fib =
        Fib::new(station::fib::Limits { max_vrfs: 16, max_bytes: 1 << 20, ..Default::default() })
            .unwrap();
    let workers = Workers::new(fib.reader(), probes());
    let limits = Limits { vifs: 3, vrfs: 2, adjacencies: 40, workers: 1, ports: 64 };
    let mut engine = Engine::new(fib, workers, limits);
    let facts = facts([true; 2]);
    engine.commit(&two_ways(), &facts).unwrap();
    let [a, b] = ["a", "b"].map(|name| engine.vif(name).unwrap());
    let resolved = |vif, address: &str| {
        let address = ip(address);
        NeighborEvent::Resolved { vif, address, mac: mac(1) }
    };
    let known = |engine: &Engine<Workers>| {
        let tables = engine.tables();
        let kinds = tables.neighbors.values().map(|&id| tables.adjacency(id).kind);
        kinds.filter(|kind| *kind == AdjacencyKind::Forward).count()
    };
    // One VIF alone gets half of that half.
    for hosts in [10..100, 100..200] {
        let scan: Vec<_> = hosts.map(|n| resolved(a, &format!("10.0.0.{n}"))).collect();
        let refused = engine.neighbor_events(&scan).unwrap_err();
        assert!(matches!(refused, CommitError::Full(_)), "{refused}");
        assert_eq!(known(&engine), 10);
    }

    // The operator's new next hops have room, and are resolved for all that is learned.
    let mut config = two_ways();
    let hops: Vec<String> = (100..108).map(|n| format!("10.0.1.{n}")).collect();
    let via = RouteAction::Via(hops.iter().map(|address| hop("b", address, 1)).collect());
    config.routes.push(route("red", "30.0.0.0/8", via));
    engine.commit(&config, &facts).unwrap();
    let answers: Vec<_> = hops.iter().map(|address| resolved(b, address)).collect();
    engine.neighbor_events(&answers).unwrap();
    assert_eq!(known(&engine), 10 + 8);

    // Without the route they are learned neighbors like others.
    engine.commit(&two_ways(), &facts).unwrap();
    assert_eq!(known(&engine), 10 + 8);
    engine.commit(&config, &facts).unwrap();
}

#[test]
fn a_route_that_the_fib_does_not_give_up_keeps_its_meaning_until_it_does() {
    let mut station = Station::new(1 << 20);
    let mut config = two_ways();
    config.vifs[0].addresses.push(net("fd00::1/64"));
    station.commit(&config).unwrap();
    let engine = &mut station.engine;
    let vif = engine.vif("a").unwrap();
    let red = engine.vrf("red").unwrap();
    let mut draw = Draw(1);
    let mut addresses = Vec::new();
    for _ in 0..12 {
        let new = (0..1000).map(|_| {
            let [a, b] = [draw.below(1 << 16), draw.below(1 << 16)];
            ip(&format!("fd00::{a:x}:{b:x}:0:2"))
        });
        let new: Vec<IpAddr> = new.collect();
        let event = |&address| NeighborEvent::Resolved { vif, address, mac: mac(1) };
        drop(engine.neighbor_events(&new.iter().map(event).collect::<Vec<_>>()));
        addresses.extend(new);
    }
    let hosts = |engine: &Engine<Workers>| {
        let subnet = net("fd00::/64");
        let kept: Vec<IpNet> = engine
            .routes(red)
            .filter(|route| route.prefix != subnet && subnet.contains(&route.prefix))
            .filter(|route| ![net("fd00::/128"), net("fd00::1/128")].contains(&route.prefix))
            .map(|route| {
                let ways: Vec<_> = engine.members(route.group).collect();
                assert_eq!(ways.len(), 1, "{route:?} leads nowhere");
                assert_eq!(IpNet::from(ways[0].0.address), route.prefix);
                route.prefix
            })
            .collect();
        kept.len()
    };
    let before = hosts(engine);
    let event = |&address| NeighborEvent::Lost { vif, address };
    let result = engine.neighbor_events(&addresses.iter().map(event).collect::<Vec<_>>());
    assert!(matches!(result, Err(CommitError::Fib { .. })), "the FIB refused nothing");
    let kept = hosts(engine);
    assert!(0 < kept && kept < before, "{kept} of {before}");
    engine.commit(&config, &facts([true; 2])).unwrap();
    assert_eq!(hosts(engine), kept, "the commit had other things to do");
    for _ in 0..10 {
        drop(engine.neighbor_events(&[]));
        hosts(engine);
    }
    assert_eq!(hosts(engine), 0);
    station.check();
}
