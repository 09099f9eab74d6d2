//! What the tables and the FIB must hold for a configuration, worked out from scratch without ids,
//! sharing or order; and the same read back from the engine.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use ipnet::IpNet;
use station::config::model::{Config, NextHop, RouteAction, VifConfig};
use station::control::{Engine, PortFacts, Source};
use station::tables::{Adjacency, AdjacencyKind, GroupId, Pcp, VifId, VlanSlot, VrfId};
use station::wire::ethernet::Mac;

use super::workers::Workers;

/// An adjacency in words.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Way {
    kind: String,
    vif: String,
    address: String,
    mtu: u16,
    l2: Vec<u8>,
    static_neighbor: bool,
}

/// A route: where it comes from, and its ways with their weights.
pub type Target = (Source, Vec<(Way, u16)>);

/// Everything that packets can depend on.
#[derive(Debug, PartialEq)]
pub struct World {
    pub routes: BTreeMap<(String, IpNet), Target>,
    pub vifs: BTreeMap<String, (Vec<IpNet>, String, bool, u16)>,
    /// (port, outer, inner) -> VIF.
    pub vlans: BTreeMap<(String, u16, Option<u16>), String>,
    pub ports: Vec<(String, bool, Mac)>,
    pub vrfs: BTreeSet<String>,
    /// What the slow path knows of next hops.
    pub neighbors: BTreeMap<(String, IpAddr), Way>,
}

/// Learned neighbors by VIF name.
pub type Learned = BTreeMap<(String, IpAddr), Mac>;

pub fn link_local(address: IpAddr) -> bool {
    matches!(address, IpAddr::V6(v6) if v6.segments()[0] & 0xffc0 == 0xfe80)
}

fn eui64(Mac(m): Mac) -> IpNet {
    let ip = format!(
        "fe80::{:x}:{:x}:{:x}:{:x}/64",
        u16::from(m[0] ^ 2) << 8 | u16::from(m[1]),
        u16::from(m[2]) << 8 | 0xff,
        0xfe00 | u16::from(m[3]),
        u16::from(m[4]) << 8 | u16::from(m[5]),
    );
    ip.parse().unwrap()
}

pub struct Naive<'a> {
    pub config: &'a Config,
    pub facts: &'a [PortFacts],
    pub learned: &'a Learned,
}

impl Naive<'_> {
    fn vif(&self, name: &str) -> &VifConfig {
        self.config.vifs.iter().find(|vif| *vif.name == *name).unwrap()
    }

    fn port(&self, vif: &VifConfig) -> PortFacts {
        self.facts[self.config.ports.iter().position(|port| port.name == vif.port).unwrap()]
    }

    pub fn addresses(&self, vif: &VifConfig) -> Vec<IpNet> {
        let mut addresses = vif.addresses.clone();
        if !addresses.iter().any(|net| link_local(net.addr())) {
            addresses.push(eui64(self.port(vif).mac));
        }
        addresses
    }

    /// The address is one that a neighbor on the VIF's subnets may have.
    pub fn on_subnet(&self, vif: &VifConfig, address: IpAddr) -> bool {
        vif.up
            && !link_local(address)
            && vif.addresses.iter().any(|net| net.contains(&address))
            && !vif.addresses.iter().any(|net| net.addr() == address)
            && !vif.addresses.iter().any(|net| {
                matches!(net, IpNet::V4(v4) if v4.prefix_len() < 31 && v4.broadcast() == address)
                    || matches!(net, IpNet::V6(v6) if v6.prefix_len() < 127 && v6.network() == address)
            })
    }

    /// The address is one that a neighbor on the VIF may have.
    pub fn neighborly(&self, vif: &VifConfig, address: IpAddr) -> bool {
        let own = self.addresses(vif).iter().any(|net| net.addr() == address);
        let fe80: IpAddr = "fe80::".parse().unwrap();
        let anycast = address == fe80; // all link-local addresses here are of a /64
        self.on_subnet(vif, address) || vif.up && link_local(address) && !own && !anycast
    }

    fn way(&self, kind: &str, name: &str, address: IpAddr) -> Way {
        let vif = self.vif(name);
        let mut way = Way {
            kind: kind.to_owned(),
            vif: name.to_owned(),
            address: address.to_string(),
            mtu: vif.mtu,
            l2: Vec::new(),
            static_neighbor: false,
        };
        if kind == "Forward" {
            let same = |n: &&station::config::model::NeighborConfig| {
                *n.vif == *name && n.address == address
            };
            let configured = self.config.neighbors.iter().find(same);
            let learned = self.learned.get(&(name.to_owned(), address));
            way.static_neighbor = configured.is_some();
            match configured.map(|n| n.mac).or(learned.copied()) {
                Some(mac) => way.l2 = self.l2(vif, mac),
                None => way.kind = "Unresolved".to_owned(),
            }
        }
        if ["Forward", "Unresolved", "Glean"].contains(&&*way.kind)
            && !(vif.up && self.port(vif).link_up)
        {
            way.kind = "EgressDown".to_owned();
        }
        way
    }

    fn l2(&self, vif: &VifConfig, mac: Mac) -> Vec<u8> {
        let mut l2 = [mac.0, self.port(vif).mac.0].concat();
        let pcp = if let Pcp::Set(pcp) = vif.pcp { u16::from(pcp) << 13 } else { 0 };
        let outer: u16 = if vif.tags.service { 0x88a8 } else { 0x8100 };
        l2.extend(outer.to_be_bytes());
        l2.extend((vif.tags.outer | pcp).to_be_bytes());
        if let Some(inner) = vif.tags.inner {
            l2.extend([0x81, 0]);
            l2.extend((inner | pcp).to_be_bytes());
        }
        l2
    }

    fn via(&self, hops: &[NextHop]) -> Vec<(Way, u16)> {
        let way = |hop: &NextHop| (self.way("Forward", &hop.vif, hop.address), hop.weight);
        let mut ways: Vec<_> = hops.iter().map(way).collect();
        ways.sort();
        ways
    }

    /// Routes that the addresses of VIFs make.
    fn connected(&self) -> Vec<(String, IpNet, Target)> {
        let mut all: Vec<(String, IpNet, Target)> = Vec::new();
        for pass in ["Local", "Anycast", "Broadcast", "Glean"] {
            for vif in self.config.vifs.iter().filter(|vif| vif.up) {
                for net in vif.addresses.iter().filter(|net| !link_local(net.addr())) {
                    let (prefix, source) = match (pass, net) {
                        ("Local", _) => (IpNet::from(net.addr()), Source::Local),
                        ("Glean", _) => (net.trunc(), Source::Connected),
                        ("Anycast", IpNet::V6(v6)) if v6.prefix_len() < 127 => {
                            (IpNet::from(IpAddr::from(v6.network())), Source::Local)
                        }
                        ("Broadcast", IpNet::V4(v4)) if v4.prefix_len() < 31 => {
                            (IpNet::from(IpAddr::from(v4.broadcast())), Source::Connected)
                        }
                        _ => continue,
                    };
                    let kind = if pass == "Anycast" { "Local" } else { pass };
                    let target = vec![(self.way(kind, &vif.name, net.addr()), 1)];
                    all.push((vif.vrf.to_string(), prefix, (source, target)));
                }
            }
        }
        all
    }

    /// Routes from the strongest source to the weakest; the first of a prefix stays.
    fn routes(&self) -> BTreeMap<(String, IpNet), Target> {
        let mut all = self.connected();
        for route in &self.config.routes {
            let special = |kind: &str| {
                let (vif, address) = (String::new(), "0.0.0.0".to_owned());
                let way = Way {
                    kind: kind.to_owned(),
                    vif,
                    address,
                    mtu: 0,
                    l2: vec![],
                    static_neighbor: false,
                };
                vec![(way, 1)]
            };
            let target = match &route.action {
                RouteAction::Via(hops) => self.via(hops),
                RouteAction::Blackhole => special("Blackhole"),
                RouteAction::Unreachable => special("Unreachable"),
                RouteAction::Prohibit => special("Prohibited"),
            };
            all.push((route.vrf.to_string(), route.prefix, (Source::Static, target)));
        }
        for list in &self.config.route_lists {
            for prefix in &*list.prefixes {
                let hops = if prefix.addr().is_ipv4() { &list.via4 } else { &list.via6 };
                if !hops.is_empty() {
                    all.push((list.vrf.to_string(), *prefix, (Source::List, self.via(hops))));
                }
            }
        }
        let mut routes = BTreeMap::new();
        for (vrf, prefix, target) in all {
            routes.entry((vrf, prefix)).or_insert(target);
        }
        // Neighbors are no routes: the longest route to one has to be that of its connected subnet.
        let mut hosts = BTreeMap::new();
        for (name, address) in self.neighbors() {
            let vif = self.vif(&name);
            let vrf = vif.vrf.to_string();
            let here =
                routes.iter().filter(|((v, prefix), _)| *v == vrf && prefix.contains(&address));
            let longest = here.max_by_key(|((_, prefix), _)| prefix.prefix_len());
            let refines = longest.is_some_and(|(_, (source, ways))| {
                *source == Source::Connected && ways[0].0.vif == name
            });
            if self.on_subnet(vif, address) && refines {
                let target = vec![(self.way("Forward", &name, address), 1)];
                hosts.insert((vrf, address.into()), (Source::Neighbor, target));
            }
        }
        routes.extend(hosts);
        routes
    }

    /// Next hops of routes, and neighbors that are known.
    fn neighbors(&self) -> BTreeSet<(String, IpAddr)> {
        let connected = self.connected();
        let beaten = |vrf: &str, prefix| connected.iter().any(|(v, p, _)| v == vrf && *p == prefix);
        let routes = self.config.routes.iter().filter_map(|route| match &route.action {
            RouteAction::Via(hops) if !beaten(&route.vrf, route.prefix) => Some(hops),
            _ => None,
        });
        let lists = self.config.route_lists.iter().flat_map(|list| [&list.via4, &list.via6]);
        let hops = routes.chain(lists).flatten().map(|hop| (hop.vif.to_string(), hop.address));
        let configured = self.config.neighbors.iter().map(|n| (n.vif.to_string(), n.address));
        hops.chain(configured).chain(self.learned.keys().cloned()).collect()
    }

    pub fn world(&self) -> World {
        let port = |name: &str| self.config.ports.iter().position(|p| *p.name == *name).unwrap();
        World {
            routes: self.routes(),
            vifs: self
                .config
                .vifs
                .iter()
                .map(|vif| {
                    let what = (self.addresses(vif), vif.vrf.to_string(), vif.up, vif.mtu);
                    (vif.name.to_string(), what)
                })
                .collect(),
            vlans: self
                .config
                .vifs
                .iter()
                .map(|vif| {
                    let port = self.config.ports[port(&vif.port)].name.to_string();
                    ((port, vif.tags.outer, vif.tags.inner), vif.name.to_string())
                })
                .collect(),
            ports: self
                .config
                .ports
                .iter()
                .zip(self.facts)
                .map(|(port, facts)| (port.name.to_string(), facts.link_up, facts.mac))
                .collect(),
            vrfs: self.config.vrfs.iter().map(|vrf| vrf.name.to_string()).collect(),
            neighbors: self
                .neighbors()
                .into_iter()
                .map(|key| (key.clone(), self.way("Forward", &key.0, key.1)))
                .collect(),
        }
    }
}

/// The engine's world.
pub fn observe(engine: &Engine<Workers>) -> World {
    let tables = engine.tables();
    let name = |vif: VifId| tables.vif(vif).map_or(String::new(), |vif| vif.name.to_string());
    let way = |a: &Adjacency| {
        let special = matches!(
            a.kind,
            AdjacencyKind::Blackhole | AdjacencyKind::Unreachable | AdjacencyKind::Prohibited
        );
        Way {
            kind: format!("{:?}", a.kind),
            vif: if special { String::new() } else { name(a.vif) },
            address: a.address.to_string(),
            mtu: a.mtu,
            l2: a.l2().to_vec(),
            static_neighbor: a.static_neighbor,
        }
    };
    let mut routes = BTreeMap::new();
    for (id, vrf) in tables.vrfs.iter().enumerate() {
        let Some(vrf) = vrf else { continue };
        let id = VrfId(id as u16);
        assert_eq!(engine.vrf(&vrf.name), Some(id));
        for route in engine.routes(id) {
            let mut ways: Vec<_> =
                engine.members(route.group).map(|(a, member)| (way(a), member.weight)).collect();
            ways.sort();
            for (adjacency, _) in engine.members(route.group) {
                assert_eq!(adjacency.vrf, id, "a route leads out of its VRF");
            }
            check_buckets(engine, route.group);
            let old = routes.insert((vrf.name.to_string(), route.prefix), (route.source, ways));
            assert_eq!(old, None);
            assert_eq!(
                engine
                    .lookup(id, route.prefix.addr())
                    .map(|r| r.prefix.contains(&route.prefix.addr())),
                Some(true)
            );
        }
    }
    let mut vlans = BTreeMap::new();
    for port in &*tables.ports {
        for vid in 0..4096 {
            match port.outer(vid) {
                VlanSlot::Empty => {}
                VlanSlot::Vif { id, .. } => {
                    drop(vlans.insert((port.name.to_string(), vid, None), name(id)))
                }
                VlanSlot::Inner { map, .. } => {
                    for inner in 0..4096 {
                        if let Some(id) = port.inner(map, inner) {
                            vlans.insert((port.name.to_string(), vid, Some(inner)), name(id));
                        }
                    }
                }
            }
        }
    }
    let vif = |(at, vif): (usize, &station::tables::Vif)| {
        assert_eq!(engine.vif(&vif.name), Some(VifId(at as u16)));
        let vrf = tables.vrfs[vif.vrf.index()].as_ref().unwrap().name.to_string();
        (vif.name.to_string(), (vif.addresses.to_vec(), vrf, vif.up, vif.mtu))
    };
    World {
        routes,
        vifs: tables
            .vifs
            .iter()
            .enumerate()
            .filter_map(|(at, v)| Some((at, v.as_ref()?)))
            .map(vif)
            .collect(),
        vlans,
        ports: tables.ports.iter().map(|port| (port.name.to_string(), port.up, port.mac)).collect(),
        vrfs: tables.vrfs.iter().flatten().map(|vrf| vrf.name.to_string()).collect(),
        neighbors: tables
            .neighbors
            .iter()
            .map(|(&(vif, address), &id)| ((name(vif), address), way(tables.adjacency(id))))
            .collect(),
    }
}

/// Members that are resolved share the buckets by weight; where none is, those that are not down; all
/// where all are.
fn check_buckets(engine: &Engine<Workers>, group: GroupId) {
    let tables = engine.tables();
    let buckets: Vec<&Adjacency> =
        tables.groups.buckets(group).iter().map(|&id| tables.adjacency(id)).collect();
    let members: Vec<_> = engine.members(group).map(|(a, member)| (a, member.weight)).collect();
    let resolved = members.iter().any(|(a, _)| a.kind == AdjacencyKind::Forward);
    let is_up = |a: &Adjacency| match a.kind {
        AdjacencyKind::EgressDown => false,
        kind => kind == AdjacencyKind::Forward || !resolved,
    };
    let any = members.iter().any(|(a, _)| is_up(a));
    let live: Vec<_> = members.iter().filter(|(a, _)| is_up(a) || !any).collect();
    let total: usize = live.iter().map(|(_, weight)| usize::from(*weight)).sum();
    let mut seen = 0;
    for (adjacency, weight) in &live {
        let count = buckets.iter().filter(|bucket| *bucket == adjacency).count();
        let share = usize::from(*weight) * buckets.len();
        // The buckets of each lost member are dealt on by themselves, whoever else is lost: that keeps
        // flows where they are, and rounds once for each order in which any of the lost can be left out.
        let lost = members.len() - live.len();
        let orders = (0..lost).scan(1, |orders, n| {
            *orders *= lost - n;
            Some(*orders)
        });
        let rounded = 1 + orders.sum::<usize>();
        assert!(
            (count * total).abs_diff(share) <= total * rounded,
            "{count} of {} buckets for {adjacency:?}",
            buckets.len()
        );
        seen += count;
    }
    assert_eq!(seen, buckets.len(), "a bucket leads to no live member");
}
