//! Every pool that tenants share: one tenant takes all that it can, and the next gets what it needs.

use std::fs;
use std::path::Path;

use station::mappings;
use station::mirror::{Change, Hop, Table, To};
use station::shares::Pool;
use station::slowpath::NeighborEvent;
use station::stage::police::Budgets;
use station::tables::{AdjacencyKind, PortId, PuntReason, SlowOutcome, Verdict, VifId};
use station::wire::ethernet::Mac;
use station::worker::handoff::{Handoff, Label};

use crate::common::packets::{Icmp, Seen, discovery, packet, udp, with_ttl};
use crate::common::{A, A_CORE, A2, CONFIG, Host, INTERNET, Lab, SECOND, UNDERLAY};

/// How many the newcomer wants of a pool, and how many it gets.
fn newcomer(pool: Pool) -> (usize, usize) {
    match pool {
        Pool::UnresolvedNeighbors => unresolved_neighbors(),
        Pool::Neighbors => neighbors(),
        Pool::IcmpErrors => icmp_errors(),
        Pool::Exceptions => exceptions(),
        Pool::BgpBulk => bgp_bulk(),
        Pool::Parcels => parcels(),
        Pool::LearnedAdjacencies => learned_adjacencies(),
        Pool::LearnedNextHops => learned_next_hops(),
        Pool::MappedNextHops => mapped_next_hops(),
    }
}

#[test]
fn whoever_comes_last_finds_its_share_of_every_pool() {
    for &pool in Pool::ALL {
        let (wanted, got) = newcomer(pool);
        assert_eq!(got, wanted, "{pool:?}");
    }
}

#[test]
fn every_pool_is_used_by_its_name() {
    let mut sources = String::new();
    let mut directories = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("src")];
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            match path.is_dir() {
                true => directories.push(path),
                false if path.ends_with("shares.rs") => {}
                false => sources += &fs::read_to_string(path).unwrap_or_default(),
            }
        }
    }
    let sources: String = sources.split_whitespace().collect();
    for pool in Pool::ALL {
        let uses = [format!("Pool::{pool:?}.may_take("), format!("pool:Pool::{pool:?},")];
        assert!(uses.iter().any(|text| sources.contains(text)), "{pool:?} is used nowhere");
    }
}

/// A host of the core's subnet, by number.
fn core_host(n: usize) -> String {
    format!("fd00:255:1::5:{n:x}")
}

/// Sends a packet to a host of the core's subnet; whether it waits for the host's MAC.
fn waits(lab: &mut Lab, from: Host, n: usize) -> bool {
    let source = if from.vif == A.vif { "fd00:a1::9" } else { "fd00:101::2" };
    let frame = from.frame(&packet(source, &core_host(n)));
    lab.send(from.port, &frame).outcome == Some(SlowOutcome::Queued)
}

/// Two tenants' VIFs send to new hosts behind the same core VIF.
fn unresolved_neighbors() -> (usize, usize) {
    let mut lab = Lab::new();
    let hog = (0..1_000).filter(|n| waits(&mut lab, A, *n)).count();
    assert_eq!(hog, 64);
    (20, (2_000..2_020).filter(|n| waits(&mut lab, A2, *n)).count())
}

/// The same, and every host answers.
fn neighbors() -> (usize, usize) {
    let mut lab = Lab::new();
    let mut meets = |from: Host, n: usize| {
        if n.is_multiple_of(40) {
            lab.wait(SECOND / 10);
        }
        let waits = waits(&mut lab, from, n);
        let host = core_host(n);
        let answer = discovery(136, &host, "fd00:255:1::1", 0x60, &host, A_CORE.mac);
        lab.send("core0", &A_CORE.frame(&answer));
        waits
    };
    let hog = (0..1_200).filter(|n| meets(A, *n)).count();
    assert_eq!(hog, 1_024);
    (30, (2_000..2_030).filter(|n| meets(A2, *n)).count())
}

/// A packet whose TTL runs out floods at this interval; what else is answered?
fn beside_expired_ttls(interval_ns: u64, flood: &[u8], from: Host, other: &[u8]) -> (usize, usize) {
    let mut lab = Lab::new();
    let (mut wanted, mut got) = (0, 0);
    let mut since = 0;
    for _ in 0..2 * SECOND / interval_ns {
        lab.now += interval_ns;
        since += interval_ns;
        lab.send(from.port, flood);
        if since >= SECOND / 20 {
            since = 0;
            wanted += 1;
            let report = lab.send(from.port, other);
            let answered = report.outcome == Some(SlowOutcome::Answered);
            got += usize::from(answered && matches!(report.verdict, Verdict::Punt(_)));
            if let Some((_, frame)) = report.sent.first() {
                assert!(matches!(Icmp::read(&Seen::read(frame).packet).kind, 2 | 3 | 11));
            }
        }
    }
    (wanted, got)
}

/// Packets that are too big beside expired TTLs, and those for one customer of a public VRF beside those
/// for another.
fn of_kinds_and_tenants(interval_ns: u64) -> (usize, usize) {
    let expired = A.frame(&with_ttl(packet("fd00:a1::9", "fd00:64::1"), 1));
    let too_big = A.frame(&udp("fd00:a1::9", "fd00:65::1", 1_400));
    let kinds = beside_expired_ttls(interval_ns, &expired, A, &too_big);
    let [for_p1, for_p2] = ["198.51.100.9", "203.0.113.9"]
        .map(|to| INTERNET.frame(&with_ttl(packet("8.8.8.8", to), 1)));
    let tenants = beside_expired_ttls(interval_ns, &for_p1, INTERNET, &for_p2);
    (kinds.0 + tenants.0, kinds.1 + tenants.1)
}

/// 500 a second: more than are answered, fewer than the worker lets through.
fn icmp_errors() -> (usize, usize) {
    of_kinds_and_tenants(SECOND / 500)
}

/// 20,000 a second.
fn exceptions() -> (usize, usize) {
    of_kinds_and_tenants(SECOND / 20_000)
}

fn bgp_bulk() -> (usize, usize) {
    let mut budgets = Budgets::new(3);
    let (mut hog, mut wanted, mut got) = (0, 0, 0);
    for tenth in 0..100 {
        let mut take =
            |vif| budgets.take(VifId(vif), PuntReason::Bgp, VifId(0), SECOND + tenth * SECOND / 10);
        hog += (0..10_000).filter(|_| take(1)).count();
        wanted += 500;
        got += (0..500).filter(|_| take(2)).count();
    }
    assert!((100_000..110_000).contains(&hog), "{hog} in 10 s");
    (wanted, got)
}

/// One VIF's frames wait for the slow path, and then another's, both ways alike.
fn parcels() -> (usize, usize) {
    let queue = Handoff::new(2_048, 2_048, 3);
    let send = |vif| queue.send(Label::to_port(PortId(0), VifId(vif)), &[0; 60][..]);
    assert_eq!((0..10_000).filter(|_| send(1)).count(), 1_024);
    (400, (0..400).filter(|_| send(2)).count())
}

/// A station with room for few adjacencies: 640.
fn small() -> Lab {
    Lab::with(&CONFIG.replace("max_vifs = 64", "max_vifs = 10"))
}

fn learned_adjacencies() -> (usize, usize) {
    let mut lab = small();
    let engine = lab.station.engine();
    let [hog, other] = ["a2", "b-s"].map(|name| engine.vif(name).unwrap());
    let resolved = |vif, address: String| {
        let (address, mac) = (address.parse().unwrap(), Mac([2, 0, 0, 0, 7, 7]));
        NeighborEvent::Resolved { vif, address, mac }
    };
    let scan: Vec<_> = (0..1_000).map(|n| resolved(hog, format!("fd00:101::9:{n:x}"))).collect();
    assert!(engine.neighbor_events(&scan).is_err());
    let few: Vec<_> = (10..60).map(|n| resolved(other, format!("10.9.3.{n}"))).collect();
    assert!(engine.neighbor_events(&few).is_ok());
    let tables = engine.tables();
    let known = |vif| {
        let here = tables.neighbors.iter().filter(|(key, _)| key.0 == vif);
        let kinds = here.map(|(_, id)| tables.adjacency(*id));
        kinds.filter(|a| a.kind == AdjacencyKind::Forward && !a.static_neighbor).count()
    };
    assert_eq!(known(hog), 160, "half of the half that is not the operator's");
    (50, known(other))
}

fn learned_next_hops() -> (usize, usize) {
    let mut lab = small();
    let engine = lab.station.engine();
    let mut learn = |vrf: &str, vif: &str, count: usize, address: &dyn Fn(usize) -> String| {
        let at = engine.vif(vif).unwrap().0;
        let vrf = engine.vrf(vrf).unwrap();
        let change = |n: usize| {
            let address: std::net::IpAddr = address(n).parse().unwrap();
            let prefix = if address.is_ipv4() {
                format!("30.{n}.0.0/16")
            } else {
                format!("fd30:{at:x}:{n:x}::/48")
            };
            let hop = Hop { vif: vif.into(), address, weight: 1 };
            let to = To::Hops([hop].into());
            Change { vrf, table: Table::Best, prefix: prefix.parse().unwrap(), to }
        };
        let before = engine.learning(vrf, address(1).contains(':')).refused;
        engine.learned((0..count).map(change).collect());
        count
            - usize::try_from(engine.learning(vrf, address(1).contains(':')).refused - before)
                .unwrap()
    };
    let mut taken = Vec::new();
    for (vrf, vif, subnet) in [
        ("vpc-a", "a", "fd00:100"),
        ("vpc-a", "a2", "fd00:101"),
        ("vpc-a", "a-core", "fd00:255:1"),
        ("vpc-a", "a-small", "fd00:255:2"),
        ("vpc-b", "b", "fd00:100"),
        ("vpc-b", "b-core", "fd00:255:1"),
    ] {
        taken.push(learn(vrf, vif, 100, &|n| format!("{subnet}::7:{n:x}")));
    }
    assert!(taken.iter().sum::<usize>() < 64 * taken.len(), "the pool is not used up: {taken:?}");
    (2, learn("vpc-b", "b-s", 2, &|n| format!("10.9.3.{}", 10 + n)))
}

/// Mappings of two tenants, each to MACs of their own behind a VTEP: one an adjacency.
fn mapped_next_hops() -> (usize, usize) {
    let config = [CONFIG, UNDERLAY].concat();
    let mut lab = Lab::with(&config.replace("max_vifs = 64", "max_vifs = 14"));
    let engine = lab.station.engine();
    let mut map = |vrf: &str, vtep: &str, count: u16| {
        let move_to = |n: u16| {
            let mac = Some(Mac([2, 0, 0, 9, (n >> 8) as u8, n as u8]));
            let hops =
                vec![mappings::Hop { vtep: vtep.parse().unwrap(), vif: None, mac, weight: 1 }];
            (format!("30.{}.{}.0/24", n >> 8, n & 255).parse().unwrap(), Some(hops.into()))
        };
        (0..count).filter(|n| engine.map(vrf, &[move_to(*n)]).is_ok()).count()
    };
    let hog = map("vpc-a", "10.255.0.2", 1_000);
    assert!((150..220).contains(&hog), "half of what was free of 448: {hog}");
    (30, map("vpc-b", "10.255.0.9", 30))
}
