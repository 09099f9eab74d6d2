//! The reachability that is computed is what frames do: over random configurations, with exchanges and tunnels, every
//! frame that leaves does by a row, for the prefix that it names; and for every prefix of every row there is a frame that does.
//! Addresses are the edges of all prefixes, where whatever is left of one begins.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;
use proptest::prelude::*;
use station::config::model::{Config, ExchangeConfig, NextHop, RouteAction, RouteConfig};
use station::explain::{Explainer, Synthetic, framed};
use station::port::memory::MemoryPort;
use station::tables::reach::{Reachability, Survey};
use station::tables::rules::{LINK_LOCAL, NO_HOSTS, is_host_in, is_on_subnet_of};
use station::tables::{
    DropReason, ExchangeId, GroupId, PuntReason, Translation, Verdict, VifId, VrfId,
};

use crate::common::rig::Rig;
use crate::common::{CONFIG, UNDERLAY, facts, parse};
use crate::explained::{PREFIXES, change, changed, route};

/// Flows that a destination gets where one member of several is looked for.
const FLOWS: u16 = 48;

/// An exchange between the two tenants: into which, and by which of [`PREFIXES`].
type DrawnExchange = (bool, Vec<usize>);

/// Which tunnels lead to other stations, and which VIFs join these.
type DrawnStations = ([bool; 2], Vec<bool>);

fn exchange() -> impl Strategy<Value = DrawnExchange> {
    (any::<bool>(), prop::collection::vec(0..PREFIXES.len(), 1..4))
}

/// Adds exchanges where the VRF that they lead into has no such subnet, and no prefix twice.
fn add_exchanges(config: &mut Config, drawn: &[DrawnExchange]) {
    let mut taken = BTreeSet::new();
    for (number, (into_a, prefixes)) in drawn.iter().enumerate() {
        let (from, to) = if *into_a { ("vpc-b", "vpc-a") } else { ("vpc-a", "vpc-b") };
        let subnets = config.vifs.iter().filter(|vif| &*vif.vrf == to);
        let subnets: Vec<IpNet> = subnets.flat_map(|vif| vif.addresses.to_vec()).collect();
        let prefixes = prefixes.iter().map(|at| PREFIXES[*at].parse::<IpNet>().unwrap());
        let prefixes: Vec<IpNet> = prefixes
            .filter(|net| !subnets.iter().any(|subnet| subnet.contains(net)))
            .filter(|net| taken.insert((to, *net)))
            .collect();
        if !prefixes.is_empty() {
            config.exchanges.push(ExchangeConfig {
                name: format!("e{number}").into(),
                from: from.into(),
                to: to.into(),
                prefixes,
                accepted_by: Vec::new(),
            });
        }
    }
}

/// Has routes of the first tenant lead into tunnels, beside what they led to.
fn add_tunnels(config: &mut Config, drawn: &[(usize, usize)]) {
    const REMOTES: [(&str, &str); 3] =
        [("a-vx", "10.255.0.2"), ("a-vx", "10.255.0.3"), ("a-vx6", "fd00:255::2")];
    for (prefix, remote) in drawn {
        let prefix: IpNet = PREFIXES[*prefix].parse().unwrap();
        let (vif, address) = REMOTES[*remote];
        let hop = NextHop { vif: vif.into(), address: address.parse().unwrap(), weight: 1 };
        let same = |route: &&mut RouteConfig| &*route.vrf == "vpc-a" && route.prefix == prefix;
        match config.routes.iter_mut().find(same).map(|route| &mut route.action) {
            Some(RouteAction::Via(hops)) => {
                if !hops.contains(&hop) {
                    hops.push(hop);
                }
            }
            Some(action) => *action = RouteAction::Via(vec![hop]),
            None => config.routes.push(RouteConfig {
                vrf: "vpc-a".into(),
                prefix,
                action: RouteAction::Via(vec![hop]),
            }),
        }
    }
}

/// Has the tunnels of two VIFs lead to other stations, or not, and VIFs of the first tenant join these.
fn add_stations(config: &mut Config, (stations, joins): &DrawnStations) {
    for (name, is_station) in ["a-vx", "a-vx6"].iter().zip(stations) {
        let vif = config.vifs.iter_mut().find(|vif| &*vif.name == *name).expect("a VIF");
        if let Some(tunnel) = vif.tunnel.as_mut().filter(|_| *is_station) {
            tunnel.station = Some((*name).into());
        }
    }
    let vifs = config.vifs.iter_mut().filter(|vif| &*vif.vrf == "vpc-a");
    for (vif, joins) in vifs.zip(joins) {
        let is_station = vif.tunnel.as_ref().is_some_and(|tunnel| tunnel.station.is_some());
        vif.join_stations = *joins && !is_station;
    }
}

/// Inside and outside prefixes around those that routes have.
const PAIRS: [&str; 8] = [
    "10.1.0.0/24 as 192.0.2.0/24",
    "10.0.0.0/8 as 11.0.0.0/8",
    "10.64.0.0/16 as 172.20.0.0/16",
    "172.20.0.0/16 as 10.64.0.0/16",
    "10.1.0.9/32 as 10.70.0.0/32",
    "fd00::/16 as fd01::/16",
    "fd07::/64 as fd00:64::/64",
    "2001:db8::/32 as fd00:64::/32",
];

/// Has VIFs translate one of [`PAIRS`] each.
fn add_translations(config: &mut Config, drawn: &[(usize, usize)]) {
    let vifs = config.vifs.len();
    for (vif, pair) in drawn {
        config.vifs[vif % vifs].translate = vec![PAIRS[*pair].parse().unwrap()];
    }
}

/// The first and last address of a prefix, and those beside them.
fn edges(net: &IpNet) -> Vec<IpAddr> {
    match net {
        IpNet::V4(net) => {
            let (first, last) = (net.network().to_bits(), net.broadcast().to_bits());
            let all = [first.wrapping_sub(1), first, last, last.wrapping_add(1)];
            all.map(|bits| Ipv4Addr::from_bits(bits).into()).to_vec()
        }
        IpNet::V6(net) => {
            let (first, last) = (net.network().to_bits(), net.broadcast().to_bits());
            let all = [first.wrapping_sub(1), first, last, last.wrapping_add(1)];
            all.map(|bits| Ipv6Addr::from_bits(bits).into()).to_vec()
        }
    }
}

/// Where a packet left, and by which exchange.
type Left = (VifId, Option<ExchangeId>);

struct World {
    rig: Rig<MemoryPort>,
    explainer: Explainer,
    tally: BTreeMap<&'static str, u32>,
}

impl World {
    fn new() -> World {
        let text = format!("{CONFIG}\n{UNDERLAY}");
        let rig = Rig::new(&text, (0..3).map(|_| MemoryPort::new(8)).collect(), 64, 8);
        let explainer = Explainer::new(rig.engine.tables().ports.len(), 64).unwrap();
        World { rig, explainer, tally: BTreeMap::new() }
    }

    fn count(&mut self, what: &'static str) {
        *self.tally.entry(what).or_default() += 1;
    }

    /// As the daemon reads it, in pages.
    fn reachability(&self) -> Reachability {
        let engine = &self.rig.engine;
        let mut survey = Survey::default();
        for vrf in vrfs(engine.tables().vrfs.len()) {
            for first in ["0.0.0.0/0", "::/0"] {
                let routes: Vec<_> = engine.groups_from(vrf, first.parse().unwrap()).collect();
                for page in routes.chunks(7) {
                    survey.take(engine.tables(), vrf, page);
                }
            }
        }
        survey.finish(engine.tables().clone())
    }

    /// What the packet path does with a packet that enters by a VIF.
    fn fate(&mut self, id: VifId, from: IpAddr, to: IpAddr, flow: u16) -> (Verdict, Option<Left>) {
        let engine = &self.rig.engine;
        let tables = engine.tables();
        let vif = tables.vif(id).unwrap();
        let packet = Synthetic {
            from,
            to,
            protocol: 17,
            source_port: 1024 + flow,
            destination_port: 443,
            ttl: 64,
            length: Some(100),
        };
        let inner = packet.frame(&tables.ports[vif.port.index()], vif).unwrap();
        let (port, frame) = match vif.tunnel() {
            None => (vif.port, inner),
            Some(tunnel) => {
                let outer = tunnel.received(tunnel.remotes[0], &inner);
                let fabric = tables.vif(engine.vif("fabric").unwrap()).unwrap();
                let port = &tables.ports[fabric.port.index()];
                (fabric.port, framed(port, fabric, tunnel.remotes[0].is_ipv4(), &outer))
            }
        };
        let told = self.explainer.explain(tables, &engine.fib_reader(), port, &frame).unwrap();
        let leaves =
            matches!(told.verdict, Verdict::Forward | Verdict::Punt(PuntReason::NextHopUnresolved));
        let left = leaves.then(|| {
            assert_eq!(told.vif, Some(id), "{told:?}");
            (tables.adjacency(told.adjacency.unwrap()).vif, told.crossed.map(|(by, _)| by))
        });
        (told.verdict, left)
    }

    /// The prefix by which a packet to an address is said to leave: the longest of the ingress VRF, or behind it of the
    /// exporting one, whichever is longer.
    fn named(&self, vrf: VrfId, to: IpAddr, by: Option<ExchangeId>) -> Option<IpNet> {
        let engine = &self.rig.engine;
        let own = engine.lookup(vrf, to)?.prefix;
        let Some(by) = by else { return Some(own) };
        let beyond = engine.lookup(engine.tables().exchange(by)?.exporter, to)?.prefix;
        Some(if beyond.prefix_len() > own.prefix_len() { beyond } else { own })
    }

    /// The edges of all prefixes that decide about packets of a VRF, where a host can be.
    fn addresses(&self, vrf: VrfId) -> Vec<IpAddr> {
        let engine = &self.rig.engine;
        let exchanges = engine.tables().exchanges.iter().flatten();
        let exporters = exchanges.filter(|exchange| exchange.importer == vrf);
        let vrfs = exporters.map(|exchange| exchange.exporter).chain([vrf]);
        let nets = vrfs.flat_map(|vrf| engine.routes(vrf).map(|route| route.prefix));
        let blocks = NO_HOSTS.iter().map(|(net, _)| *net).chain(LINK_LOCAL);
        let pairs = PAIRS.map(|pair| pair.parse::<Translation>().unwrap());
        let pairs = pairs.into_iter().flat_map(|pair| [pair.inside, pair.outside]);
        let nets = nets.chain(pairs);
        let all: BTreeSet<IpAddr> = nets.chain(blocks).flat_map(|net| edges(&net)).collect();
        all.into_iter().collect()
    }

    fn check(&mut self) -> Result<(), TestCaseError> {
        let reachability = self.reachability();
        let tables = self.rig.engine.tables().clone();
        for id in (0..).map(VifId).take(tables.vifs.len()) {
            let Some(vif) = tables.vif(id) else { continue };
            let fabric = tables.vif(self.rig.engine.vif("fabric").unwrap()).unwrap();
            let is_up = [Some(vif), vif.tunnel().map(|_| fabric)]
                .into_iter()
                .flatten()
                .all(|vif| vif.up && tables.ports[vif.port.index()].up);
            let mut rows: BTreeMap<Left, BTreeSet<IpNet>> = BTreeMap::new();
            for reached in reachability.of(id) {
                let prefixes = reached.prefixes.concat();
                let sorted = prefixes.is_sorted() && !prefixes.is_empty();
                prop_assert!(sorted, "{:?}", prefixes);
                let set: BTreeSet<IpNet> = prefixes.iter().copied().collect();
                prop_assert_eq!(set.len(), prefixes.len());
                prop_assert!(rows.insert((reached.to, reached.by), set).is_none(), "one row");
            }
            if !is_up {
                prop_assert!(rows.is_empty(), "{} is down", vif.name);
                self.count("down");
                continue;
            }
            self.check_vif(id, vif.vrf, &rows)?;
        }
        Ok(())
    }

    fn check_vif(
        &mut self,
        id: VifId,
        vrf: VrfId,
        rows: &BTreeMap<Left, BTreeSet<IpNet>>,
    ) -> Result<(), TestCaseError> {
        let addresses = self.addresses(vrf);
        let mut missing: BTreeSet<(Left, IpNet)> = BTreeSet::new();
        for (left, prefixes) in rows {
            missing.extend(prefixes.iter().map(|prefix| (*left, *prefix)));
        }
        for is_v4 in [true, false] {
            let family = addresses.iter().filter(|address| address.is_ipv4() == is_v4);
            let family: Vec<IpAddr> = family.copied().collect();
            // What the check of the VIF admits: the path says, with a destination that it looks up.
            let tables = self.rig.engine.tables().clone();
            let is_ordinary = |address: &&IpAddr| {
                is_host_in(&tables, vrf, **address)
                    && !LINK_LOCAL.iter().any(|net| net.contains(*address))
            };
            let probes: Vec<IpAddr> = family.iter().filter(is_ordinary).take(2).copied().collect();
            let sources: Vec<IpAddr> = family
                .iter()
                .copied()
                .filter(|from| {
                    let to = probes.iter().find(|to| *to != from).expect("a destination");
                    let (verdict, _) = self.fate(id, *from, *to, 0);
                    use DropReason::{ForeignSource, MartianSource, SpoofedSource, Untranslatable};
                    ![SpoofedSource, ForeignSource, MartianSource, Untranslatable]
                        .map(Verdict::Drop)
                        .contains(&verdict)
                })
                .collect();
            for (at, to) in family.iter().enumerate() {
                // Three sources for each destination, in turn.
                for turn in 0..sources.len().min(3) {
                    let from = sources[(3 * at + turn) % sources.len()];
                    self.one(id, vrf, rows, &mut missing, [from, *to], 0)?;
                }
            }
            // What no frame has done so far, in all ways.
            let wanted: BTreeSet<(Left, IpNet)> = missing
                .iter()
                .filter(|(_, prefix)| prefix.addr().is_ipv4() == is_v4)
                .copied()
                .collect();
            'wanted: for ((egress, by), prefix) in wanted {
                for to in &family {
                    if self.named(vrf, *to, by) != Some(prefix) {
                        continue;
                    }
                    let flows = if self.members(vrf, *to, by) > 1 { FLOWS } else { 1 };
                    for from in &sources {
                        for flow in 0..flows {
                            self.one(id, vrf, rows, &mut missing, [*from, *to], flow)?;
                            if !missing.contains(&((egress, by), prefix)) {
                                continue 'wanted;
                            }
                        }
                    }
                }
            }
        }
        prop_assert!(missing.is_empty(), "no frame does: {:?} of {:?}", missing, rows);
        Ok(())
    }

    /// How many members the group has that packets to an address come to.
    fn members(&self, vrf: VrfId, to: IpAddr, by: Option<ExchangeId>) -> usize {
        let engine = &self.rig.engine;
        let exchange = by.and_then(|by| engine.tables().exchange(by));
        let vrf = exchange.map_or(vrf, |exchange| exchange.exporter);
        let group = engine.lookup(vrf, to).map_or(GroupId(0), |route| route.group);
        engine.tables().groups.members(group).len()
    }

    /// One frame, against the rows of its VIF.
    fn one(
        &mut self,
        id: VifId,
        vrf: VrfId,
        rows: &BTreeMap<Left, BTreeSet<IpNet>>,
        missing: &mut BTreeSet<(Left, IpNet)>,
        [from, to]: [IpAddr; 2],
        flow: u16,
    ) -> Result<(), TestCaseError> {
        if from == to {
            return Ok(());
        }
        let (verdict, left) = self.fate(id, from, to, flow);
        let tables = self.rig.engine.tables().clone();
        let name = |id: VifId| tables.vif(id).map(|vif| vif.name.to_string());
        if let Some(left) = left {
            let prefix = self.named(vrf, to, left.1).expect("a route");
            let said = rows.get(&left).is_some_and(|prefixes| prefixes.contains(&prefix));
            prop_assert!(said, "{} > {} from {:?} to {:?}", from, to, name(id), name(left.0));
            missing.remove(&(left, prefix));
            if [left.0, id]
                .iter()
                .any(|id| tables.vif(*id).is_some_and(|vif| vif.station().is_some()))
            {
                self.count("to a station or from one");
            }
            self.count(match left.1 {
                Some(_) => "by exchange",
                None if left.0 == id => "back",
                None => "own",
            });
            return Ok(());
        }
        // Nothing left: no row may say of this very address that it does, but where another member or another source
        // would; and what is a host's, as `resolve` has it.
        self.count("none");
        if matches!(verdict, Verdict::Drop(DropReason::StationLoop | DropReason::NotJoined)) {
            self.count("not between stations");
        }
        // Single addresses of a prefix that is reached.
        if verdict == Verdict::Drop(DropReason::Untranslatable) {
            self.count("untranslatable");
            return Ok(());
        }
        let group = self.rig.engine.lookup(vrf, to).map_or(GroupId(0), |route| route.group);
        let tables = self.rig.engine.tables();
        let is_link_local = LINK_LOCAL.iter().any(|net| net.contains(&to));
        let is_host = is_host_in(tables, vrf, to)
            && (!is_link_local || to.is_ipv4() && is_on_subnet_of(tables, group, to));
        let is_off_link = |address: &IpAddr| {
            let route = self.rig.engine.lookup(vrf, *address).map_or(GroupId(0), |r| r.group);
            LINK_LOCAL.iter().any(|net| net.contains(address))
                && (address.is_ipv6() || !is_on_subnet_of(tables, route, *address))
        };
        if !is_host || is_off_link(&from) || !is_host_in(tables, vrf, from) {
            return Ok(());
        }
        let Some(prefix) = self.named(vrf, to, None) else { return Ok(()) };
        if tables.groups.members(group).len() == 1 {
            for ((egress, by), prefixes) in rows.iter().filter(|((_, by), _)| by.is_none()) {
                prop_assert!(
                    !prefixes.contains(&prefix),
                    "{} > {} from {:?} to {:?} {:?}: {}",
                    from,
                    to,
                    name(id),
                    name(*egress),
                    by,
                    verdict
                );
            }
        }
        Ok(())
    }
}

fn vrfs(count: usize) -> impl Iterator<Item = VrfId> {
    (0..).map(VrfId).take(count)
}

#[test]
fn the_computed_reachability_is_what_frames_do() {
    let world = RefCell::new(World::new());
    let links = prop::array::uniform3(prop::bool::weighted(0.9));
    let drawn = (
        prop::collection::vec(change(), 14),
        prop::collection::vec(route(), 0..12),
        prop::collection::vec(exchange(), 0..4),
        prop::collection::vec((0..PREFIXES.len(), 0..3usize), 0..4),
        prop::collection::vec((any::<usize>(), 0..PAIRS.len()), 0..6),
        (prop::array::uniform2(any::<bool>()), prop::collection::vec(any::<bool>(), 8)),
        links,
    );
    let often = ["own", "back", "by exchange", "none", "down"];
    let often = || often.into_iter().chain(["to a station or from one", "not between stations"]);
    // Where nothing is optimized a round is a few configurations, which happen not to have all of these.
    for round in 1.. {
        crate::runner(if cfg!(debug_assertions) { 6 } else { 100 })
            .run(&drawn, |(changes, routes, exchanges, tunnels, translations, stations, links)| {
                let world = &mut *world.borrow_mut();
                let mut config =
                    changed(parse(&format!("{CONFIG}\n{UNDERLAY}")), &changes, &routes);
                add_tunnels(&mut config, &tunnels);
                add_exchanges(&mut config, &exchanges);
                add_translations(&mut config, &translations);
                add_stations(&mut config, &stations);
                let mut facts = facts(&config);
                facts.iter_mut().zip(links).for_each(|(port, up)| port.link_up = up);
                world.rig.engine.commit(&config, &facts).unwrap();
                world.check()
            })
            .unwrap();
        let tally = &world.borrow().tally;
        println!("{tally:?}");
        match often().find(|often| tally.get(often).is_none_or(|n| *n < 5)) {
            None => break,
            Some(often) => assert!(round < 10, "{often} is rare: {tally:?}"),
        }
    }
}
