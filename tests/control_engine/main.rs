//! The control engine against a naive compiler: after every configuration, neighbor event and link
//! event, in any order, the tables and the FIB hold what compiling from scratch would give; and at
//! no moment in between can a worker meet an id that means nothing, or another VRF's.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::cast_possible_truncation)]

mod drain;
mod draw;
mod learned;
mod mappings;
mod naive;
mod neighbors;
mod scenarios;
mod workers;

use std::net::IpAddr;
use std::sync::Arc;

use draw::{Draw, VIFS, facts, ip, mac};
use naive::{Learned, Naive, observe};
use proptest::prelude::*;
use station::config::model::Config;
use station::control::{CommitError, Engine, Limits};
use station::fib::Fib;
use station::slowpath::NeighborEvent;
use station::tables::PortId;
use station::wire::ethernet::Mac;
use workers::Workers;

/// The engine, and what the test knows about it.
struct Station {
    engine: Engine<Workers>,
    workers: Workers,
    links: [bool; 2],
    learned: Learned,
}

impl Station {
    fn new(max_bytes: u64) -> Station {
        let limits = Limits { vifs: 64, vrfs: 16, adjacencies: 1 << 20, workers: 1, ports: 64 };
        let fib = Fib::new(station::fib::Limits { max_vrfs: 16, max_bytes, ..Default::default() })
            .unwrap();
        let workers = Workers::new(fib.reader(), draw::probes());
        let engine = Engine::new(fib, workers.clone(), limits);
        Station { engine, workers, links: [true; 2], learned: Learned::new() }
    }

    fn commit(&mut self, config: &Config) -> Result<(), CommitError> {
        self.commit_among(config, &[])
    }

    /// Commits a candidate, while links change: after it was compiled, and between its slices.
    fn commit_among(
        &mut self,
        config: &Config,
        links: &[(usize, bool)],
    ) -> Result<(), CommitError> {
        let old = self.engine.config().cloned();
        let diff = if links.is_empty() {
            self.engine.commit(config, &facts(self.links))?
        } else {
            let mut links = links.iter().copied();
            let base = self.engine.base();
            let candidate = base.compile(Arc::new(config.clone()), &facts(self.links))?;
            links.next().into_iter().for_each(|(port, up)| self.link(port, up));
            self.engine.begin(candidate, &facts(self.links))?;
            loop {
                links.next().into_iter().for_each(|(port, up)| self.link(port, up));
                self.workers.0.borrow().check();
                if let Some(diff) = self.engine.step()? {
                    break diff;
                }
            }
        };
        let stays = |name: &str, address: IpAddr| {
            let same = |old: &Config| {
                let find = |c: &Config| c.vifs.iter().find(|vif| *vif.name == *name).cloned();
                let (Some(a), Some(b)) = (find(old), find(config)) else { return false };
                let naive = Naive { config, facts: &facts(self.links), learned: &Learned::new() };
                let configured = |n: &station::config::model::NeighborConfig| {
                    *n.vif == *name && n.address == address
                };
                (&a.port, a.tags, &a.vrf) == (&b.port, b.tags, &b.vrf)
                    && naive.neighborly(&b, address)
                    && !config.neighbors.iter().any(configured)
            };
            old.as_ref().is_some_and(same)
        };
        self.learned.retain(|(vif, address), _| stays(vif, *address));
        let nothing = || Config { ports: Vec::new(), ..draw::empty() };
        assert_eq!(diff.is_empty(), same_text(&old.unwrap_or_else(nothing), config), "{diff}");
        Ok(())
    }

    fn neighbors(&mut self, events: &[(String, IpAddr, Option<Mac>)]) {
        let config = self.engine.config().unwrap().clone();
        let facts = facts(self.links);
        let mut sent = Vec::new();
        for (name, address, mac) in events {
            let Some(id) = self.engine.vif(name) else { continue };
            sent.push(match *mac {
                Some(mac) => NeighborEvent::Resolved { vif: id, address: *address, mac },
                None => NeighborEvent::Lost { vif: id, address: *address },
            });
            let vif = config.vifs.iter().find(|vif| *vif.name == **name).unwrap();
            let configured = |n: &&station::config::model::NeighborConfig| {
                *n.vif == **name && n.address == *address
            };
            let naive = Naive { config: &config, facts: &facts, learned: &self.learned };
            if config.neighbors.iter().find(configured).is_none() && naive.neighborly(vif, *address)
            {
                match mac {
                    Some(mac) => self.learned.insert((name.clone(), *address), *mac),
                    None => self.learned.remove(&(name.clone(), *address)),
                };
            }
        }
        self.engine.neighbor_events(&sent).unwrap();
    }

    fn link(&mut self, port: usize, up: bool) {
        self.links[port] = up;
        self.engine.link_changed(PortId(port as u8), up);
    }

    fn check(&self) {
        self.workers.0.borrow().check();
        let config = self.engine.config().unwrap();
        let naive = Naive { config, facts: &facts(self.links), learned: &self.learned };
        let (expected, found) = (naive.world(), observe(&self.engine));
        for (at, route) in &expected.routes {
            assert_eq!(found.routes.get(at), Some(route), "{at:?}");
        }
        for (at, way) in &expected.neighbors {
            assert_eq!(found.neighbors.get(at), Some(way), "{at:?}");
        }
        for at in found.neighbors.keys() {
            assert!(expected.neighbors.contains_key(at), "{at:?}");
        }
        assert_eq!(found, expected);
        let published = self.workers.0.borrow().snapshots.last().unwrap().clone();
        let tables = self.engine.tables();
        assert_eq!(published.generation, tables.generation);
        assert!(std::sync::Arc::ptr_eq(&published.groups, &tables.groups));
        assert!(std::sync::Arc::ptr_eq(&published.adjacencies, &tables.adjacencies));
    }
}

/// Whether two configurations say the same, apart from how often a list was read.
fn same_text(a: &Config, b: &Config) -> bool {
    let sorted = |config: &Config| {
        let mut config = config.clone();
        config.vrfs.sort_by(|a, b| a.name.cmp(&b.name));
        config
    };
    sorted(a) == sorted(b)
}

#[derive(Clone, Debug)]
enum Step {
    /// The configuration's seed, and the links that change while it is on its way.
    Commit(u64, Vec<(usize, bool)>),
    Neighbors(Vec<(u64, u64, Option<u64>)>),
    Link(usize, bool),
}

fn step() -> impl Strategy<Value = Step> {
    let event = (0..VIFS, 0..9u64, proptest::option::weighted(0.6, 0..3u64));
    prop_oneof![
        2 => (any::<u64>(), proptest::collection::vec((0..2usize, any::<bool>()), 0..5))
            .prop_map(|(seed, links)| Step::Commit(seed, links)),
        3 => proptest::collection::vec(event, 1..8).prop_map(Step::Neighbors),
        1 => (0..2usize, any::<bool>()).prop_map(|(port, up)| Step::Link(port, up)),
    ]
}

/// Addresses of neighbors, the router, broadcast, and of other subnets.
fn address(vif: u64, n: u64) -> IpAddr {
    match n {
        0 => ip(&format!("10.0.{vif}.2")),
        1 => ip(&format!("10.0.{vif}.0")),
        2 => ip(&format!("10.0.{vif}.1")),
        3 => ip(&format!("10.0.{vif}.255")),
        4 => ip(&format!("fd00:{vif}::2")),
        5 => ip("fe80::2"),
        6 => ip(&format!("10.0.{vif}.5")),
        7 => ip(&format!("fd00:{vif}::")),
        _ => ip("10.0.2.77"),
    }
}

#[test]
fn members_lost_together_leave_their_share_by_weight() {
    let mut station = Station::new(16 << 20);
    station.commit(&draw::empty()).unwrap();
    let config = draw::config(&mut Draw(5_868_140_257_632_337_868), &draw::lists());
    station.commit_among(&config, &[(1, false)]).unwrap();
    station.check();
}

proptest! {
    #![proptest_config(ProptestConfig { cases: if cfg!(debug_assertions) { 16 } else { 48 }, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_history_ends_where_a_fresh_compile_would(
        steps in proptest::collection::vec(step(), 1..20),
    ) {
        let mut station = Station::new(16 << 20);
        let lists = draw::lists();
        station.commit(&draw::empty()).unwrap();
        for step in steps {
            match step {
                Step::Commit(seed, links) => {
                    station.commit_among(&draw::config(&mut Draw(seed), &lists), &links).unwrap();
                }
                Step::Neighbors(events) => {
                    let event = |(vif, n, m): (u64, u64, Option<u64>)| {
                        (format!("vif{vif}"), address(vif, n), m.map(mac))
                    };
                    let events: Vec<_> = events.into_iter().map(event).collect();
                    station.neighbors(&events);
                }
                Step::Link(port, up) => station.link(port, up),
            }
            station.check();
        }
    }
}
