//! An explanation is the truth: over random configurations it says what a worker does with the same frame,
//! to the octet, and by the lookups that decided.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::net::IpAddr;

use proptest::prelude::*;
use proptest::sample::select;
use station::config::model::{Config, NextHop, RouteAction, RouteConfig};
use station::explain::{Explainer, Explanation, Lookup};
use station::port::memory::MemoryPort;
use station::tables::{AdjacencyKind, GroupId, Pcp, PortId, SourceCheck, Verdict};

use crate::common::rig::Rig;
use crate::common::{CONFIG, SECOND, facts, parse};
use crate::plan::{Plan, plan};

/// Frames of a port between two changes of the configuration, at most: below every budget.
const FRAMES: usize = 48;

/// A change of the lab's configuration.
#[derive(Clone, Debug)]
pub struct Change {
    check: SourceCheck,
    up: bool,
    mtu: u16,
    pcp: Pcp,
}

pub fn change() -> impl Strategy<Value = Change> {
    let checks = select(vec![SourceCheck::Strict, SourceCheck::Loose, SourceCheck::Off]);
    let mtus = select(vec![1280, 1500, 1400, 3000]);
    let pcps = select(vec![Pcp::Preserve, Pcp::Set(5)]);
    (checks, prop::bool::weighted(0.9), mtus, pcps).prop_map(|(check, up, mtu, pcp)| Change {
        check,
        up,
        mtu,
        pcp,
    })
}

/// A route of a VRF, by numbers that choose its prefix and its next hops.
pub type Drawn = (usize, usize, usize, Vec<(usize, u16)>);

pub fn route() -> impl Strategy<Value = Drawn> {
    (0..3usize, 0..PREFIXES.len(), 0..9usize, prop::collection::vec((0..20usize, 1..5u16), 2..6))
}

/// Around the addresses that frames are drawn from.
pub const PREFIXES: [&str; 14] = [
    "0.0.0.0/0",
    "10.0.0.0/8",
    "10.1.0.0/24",
    "10.1.0.9/32",
    "10.2.0.8/31",
    "10.64.0.0/16",
    "10.70.0.0/32",
    "192.0.2.0/24",
    "240.0.0.0/8",
    "::/0",
    "fd00::/16",
    "fd00:64::1/128",
    "fd00:a1::/64",
    "2001:db8::/33",
];

/// A configuration of the lab's VIFs after these changes.
pub fn changed(mut config: Config, changes: &[Change], routes: &[Drawn]) -> Config {
    for (vif, change) in config.vifs.iter_mut().zip(changes) {
        // Checked as the configuration's parser would: customers of a public VRF always are.
        let public = vif.kind.is_some() && &*vif.vrf == "public";
        vif.source_check = if public { SourceCheck::Strict } else { change.check };
        (vif.up, vif.mtu, vif.pcp) = (change.up, change.mtu, change.pcp);
    }
    for (vrf, prefix, action, hops) in routes {
        let vrf = &config.vrfs[*vrf].name;
        let prefix: ipnet::IpNet = PREFIXES[*prefix].parse().unwrap();
        let of_family = |address: &IpAddr| address.is_ipv4() == prefix.addr().is_ipv4();
        let of_vrf = |vif: &str| config.vifs.iter().any(|v| *v.name == *vif && v.vrf == *vrf);
        let mut known: Vec<NextHop> = Vec::new();
        let neighbors = config.neighbors.iter().filter(|n| of_family(&n.address) && of_vrf(&n.vif));
        let neighbors: Vec<_> = neighbors.collect();
        for (hop, weight) in hops {
            let Some(neighbor) = neighbors.get(hop % neighbors.len().max(1)) else { continue };
            let (vif, address) = (neighbor.vif.clone(), neighbor.address);
            if !known.iter().any(|hop| (&hop.vif, hop.address) == (&vif, address)) {
                known.push(NextHop { vif, address, weight: *weight });
            }
        }
        let action = match action {
            0 => RouteAction::Blackhole,
            1 => RouteAction::Unreachable,
            2 => RouteAction::Prohibit,
            _ if known.is_empty() => continue,
            _ => RouteAction::Via(known),
        };
        let same = |route: &&mut RouteConfig| (&route.vrf, route.prefix) == (vrf, prefix);
        let vrf = vrf.clone();
        match config.routes.iter_mut().find(same) {
            Some(route) => route.action = action,
            None => config.routes.push(RouteConfig { vrf, prefix, action }),
        }
    }
    config
}

struct World {
    rig: Rig<MemoryPort>,
    explainer: Explainer,
    now: u64,
    frames: u32,
    tally: BTreeMap<&'static str, u32>,
    several: u32,
}

#[test]
fn an_explanation_is_what_a_worker_does() {
    let ports = (0..3).map(|_| MemoryPort::new(256)).collect();
    let rig = Rig::new(CONFIG, ports, 1024, 64);
    let vifs = rig.engine.tables().vifs.len();
    let explainer = Explainer::new(3, vifs).unwrap();
    let tally = BTreeMap::new();
    let world = RefCell::new(World { rig, explainer, now: SECOND, frames: 0, tally, several: 0 });
    let links = prop::array::uniform3(prop::bool::weighted(0.9));
    let routes = prop::collection::vec(route(), 0..12);
    let plans = prop::collection::vec(plan(), 130);
    let drawn = (prop::collection::vec(change(), 10), routes, links, plans);
    crate::runner(100)
        .run(&drawn, |(changes, routes, links, plans)| {
            let world = &mut *world.borrow_mut();
            let config = changed(parse(CONFIG), &changes, &routes);
            let mut facts = facts(&config);
            facts.iter_mut().zip(links).for_each(|(port, up)| port.link_up = up);
            world.rig.engine.commit(&config, &facts).unwrap();
            world.compare(&plans)
        })
        .unwrap();
    let World { frames, tally, several, .. } = world.into_inner();
    assert!(
        frames >= 10_000 && several > 50,
        "{frames} frames, {several} by one of several members"
    );
    for stage in ["classify", "ipv4", "ipv6", "source", "resolve", "ttl", "mtu", "ready", "rewrite"]
    {
        assert!(tally.get(stage).is_some_and(|n| *n >= 3), "{stage} rarely decides: {tally:?}");
    }
}

impl World {
    fn compare(&mut self, plans: &[Plan]) -> Result<(), TestCaseError> {
        let mut by_port: [Vec<Vec<u8>>; 3] = Default::default();
        for plan in plans {
            let (port, frame) = plan.build();
            by_port[port].push(frame);
        }
        for (port, frames) in (0..).map(PortId).zip(&by_port) {
            for frames in frames.chunks(FRAMES) {
                self.now += SECOND;
                self.one_burst(port, frames)?;
            }
        }
        Ok(())
    }

    fn one_burst(&mut self, port: PortId, frames: &[Vec<u8>]) -> Result<(), TestCaseError> {
        let told: Vec<Explanation> = {
            let (tables, fib) = (self.rig.engine.tables(), self.rig.engine.fib_reader());
            let tell = |frame: &Vec<u8>| self.explainer.explain(tables, &fib, port, frame);
            frames.iter().map(tell).map(|told| told.expect("a frame of a port")).collect()
        };
        let verdicts = self.rig.burst(self.now, port, frames);
        let mut sent: [Vec<Vec<u8>>; 3] = [0, 1, 2].map(|port| self.rig.take_sent(PortId(port)));
        let punted = self.rig.take_punted();
        for ((frame, told), worker) in frames.iter().zip(&told).zip(verdicts) {
            prop_assert_eq!((told.vif, told.verdict), worker, "{:02x?}", frame);
            if let Some((port, octets)) = &told.sent {
                let left = sent[port.index()].remove(0);
                prop_assert_eq!(octets, &left, "{:02x?}", frame);
            }
            prop_assert_eq!(told.sent.is_some(), told.verdict == Verdict::Forward);
            self.check_steps(told)?;
            self.check_lookups(told)?;
            self.frames += 1;
        }
        prop_assert!(sent.iter().all(Vec::is_empty), "more was sent than explained");
        // The member that a worker tells the slow path of is the one that was explained.
        for (label, octets) in &punted {
            let at =
                frames.iter().position(|frame| frame == octets).expect("a frame that was sent");
            if let Some(choice) = label.choice {
                prop_assert_eq!(Some(choice.adjacency), told[at].adjacency);
            }
        }
        self.rig.check();
        Ok(())
    }

    fn check_steps(&mut self, told: &Explanation) -> Result<(), TestCaseError> {
        let last = told.steps.last().expect("a step");
        let ended = (told.verdict != Verdict::Forward).then_some(told.verdict);
        prop_assert_eq!(last.verdict, ended, "{:?}", told);
        // The stage that first gave a verdict; those for punts may have changed it.
        let first = told.steps.iter().find(|step| step.verdict.is_some()).unwrap_or(last);
        *self.tally.entry(first.stage).or_default() += 1;
        Ok(())
    }

    /// The routes that are shown are those that decided.
    fn check_lookups(&mut self, told: &Explanation) -> Result<(), TestCaseError> {
        let engine = &self.rig.engine;
        for Lookup { vrf, address, group } in told.destination.iter().chain(&told.source).copied() {
            let route = engine.lookup(vrf, address).map_or(GroupId(0), |route| route.group);
            prop_assert_eq!(route, group, "{} {:?}", address, told);
        }
        let Some(destination) = told.destination else { return Ok(()) };
        let tables = engine.tables();
        let members = tables.groups.members(destination.group);
        let chosen = told.adjacency.expect("an adjacency");
        prop_assert!(members.contains(&chosen), "{:?}", told);
        prop_assert_eq!(told.flow.is_some(), members.len() > 1);
        self.several += u32::from(told.flow.is_some());
        let by_source = told.steps.iter().any(|step| step.stage == "source");
        prop_assert!(by_source, "a looked up frame passes the source check: {:?}", told);
        if told.verdict == Verdict::Forward {
            prop_assert_eq!(tables.adjacency(chosen).kind, AdjacencyKind::Forward);
        }
        Ok(())
    }
}
