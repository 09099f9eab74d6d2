//! Neighbors that are learned: the engine together with the slow path, and within their limits.

use std::net::IpAddr;
use std::sync::Arc;

use station::slowpath::{NeighborEvent, Output, Punted, SlowPath, View};
use station::tables::counters::SlowCounters;
use station::tables::{
    AdjacencyKind, GroupId, PortId, PuntReason, SlowOutcome, Snapshot, VifId, VrfId,
};
use station::wire::ethernet::Mac;

use super::Station;
use super::draw::{ip, mac};
use super::scenarios::two_ways;

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
            Output::Neighbor(event) => done.0.push(event),
            Output::Transmit { .. } => done.1 += 1,
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
    let mut slow = SlowPath::new(Arc::new(SlowCounters::new(64)));
    let old = station.engine.tables().clone();
    assert_eq!(call(|view, out| slow.tick(view, out), 1, &old), (vec![], 2));
    let frame = arp_reply(mac(1), old.ports[0].mac);
    let (port, reason) = (PortId(0), PuntReason::Arp);
    let punted = Punted { port, vif: a, reason, l3: 18, frame: &frame };
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
