//! Valid configurations drawn at random from a small world, so that names, addresses and prefixes
//! meet again and again.

use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;

use ipnet::IpNet;
use station::config::model::{
    Bandwidth, BillingConfig, Config, EventsConfig, Labels, NeighborConfig, NextHop, PortConfig,
    RouteAction, RouteConfig, RouteListConfig, StationConfig, VifConfig, VrfConfig, XdpMode,
    ZeroCopy,
};
use station::control::PortFacts;
use station::tables::{Pcp, PortId, PortRole, SourceCheck, Tags, VrfKind};
use station::wire::ethernet::Mac;

/// A sequence of numbers from a seed (splitmix64).
pub struct Draw(pub u64);

impl Draw {
    pub fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % n
    }

    fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }
}

pub const VIFS: u64 = 6;

pub fn net(text: &str) -> IpNet {
    text.parse().unwrap()
}

pub fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

pub fn mac(n: u64) -> Mac {
    Mac([2, 0, 0, 0, 1, n as u8])
}

pub fn facts(up: [bool; 2]) -> Vec<PortFacts> {
    let port = |n: u64| PortFacts { mac: mac(0xf0 + n), mtu: 9000, link_up: up[n as usize] };
    vec![port(0), port(1)]
}

/// Two ports and nothing else.
pub fn empty() -> Config {
    let port = |id, name: &str, role| PortConfig {
        id: PortId(id),
        name: name.into(),
        labels: Labels::default(),
        up: true,
        interface: format!("if-{name}"),
        role,
        bandwidth: Bandwidth::default(),
        xdp: XdpMode::Auto,
        zero_copy: ZeroCopy::Auto,
        busy_poll_us: 0,
        to_kernel: Vec::new(),
    };
    Config {
        events: EventsConfig::default(),
        billing: BillingConfig::default(),
        flow_log: None,
        latency: None,
        probes: Vec::new(),
        station: StationConfig {
            name: "test".into(),
            socket: PathBuf::from("/run/s"),
            bpffs: PathBuf::from("/sys/fs/bpf/s"),
            state: PathBuf::from("/var/lib/s"),
            history: 100,
            frame_overhead_octets: 0,
            max_vifs: 64,
            max_ports: None,
            cpus: Vec::new(),
            frames: None,
            ring: 2048,
            router_id: [10, 0, 0, 1].into(),
            metrics: None,
            bird: PathBuf::from("/usr/sbin/bird"),
        },
        ports: vec![port(0, "p0", PortRole::Customer), port(1, "p1", PortRole::Core)],
        vrfs: Vec::new(),
        vteps: Vec::new(),
        meter_groups: Vec::new(),
        address_limits: Vec::new(),
        qos: Vec::new(),
        acls: Vec::new(),
        vifs: Vec::new(),
        routes: Vec::new(),
        route_lists: Vec::new(),
        neighbors: Vec::new(),
        rpki: Vec::new(),
        exchanges: Vec::new(),
    }
}

pub fn vif(name: &str, port: &str, vid: u16, vrf: &str, addresses: &[&str]) -> VifConfig {
    VifConfig {
        name: name.into(),
        labels: Labels::default(),
        port: port.into(),
        tags: Tags { outer: vid, inner: None, service: false },
        tunnel: None,
        join_stations: false,
        kind: None,
        vrf: vrf.into(),
        addresses: addresses.iter().map(|a| net(a)).collect(),
        mtu: 1500,
        up: true,
        source_check: SourceCheck::Off,
        acl_in: None,
        acl_out: None,
        translate: Vec::new(),
        flow_log: None,
        twamp_reflector: false,
        pcp: Pcp::Preserve,
        bandwidth: Bandwidth::default(),
        meter_group: None,
        address_limits: Default::default(),
        top_talkers: false,
        qos: None,
        bfd: None,
        bgp: Vec::new(),
    }
}

pub fn vrf(name: &str) -> VrfConfig {
    VrfConfig { name: name.into(), labels: Labels::default(), kind: VrfKind::Vpc }
}

pub fn hop(vif: &str, address: &str, weight: u16) -> NextHop {
    NextHop { vif: vif.into(), address: ip(address), weight }
}

/// A configuration. `lists` are the prefix lists that exist, shared between configurations.
pub fn config(draw: &mut Draw, lists: &[Arc<[IpNet]>]) -> Config {
    let mut config = empty();
    for name in ["v0", "v1", "v2"] {
        if !draw.one_in(4) {
            config.vrfs.push(vrf(name));
        }
    }
    if config.vrfs.is_empty() {
        return config;
    }
    for n in 0..VIFS {
        if !draw.one_in(4) {
            config.vifs.push(random_vif(draw, &config, n));
        }
    }
    for at in 0..config.vrfs.len() {
        let vrf = config.vrfs[at].name.clone();
        for prefix in PREFIXES.iter().map(|p| net(p)) {
            if draw.one_in(3)
                && let Some(action) = action(draw, &config, &vrf, prefix.addr().is_ipv4())
            {
                config.routes.push(RouteConfig { vrf: vrf.clone(), prefix, action });
            }
        }
        for list in 0..2 {
            if draw.one_in(3) {
                continue;
            }
            let [via4, via6] = [true, false].map(|v4| match action(draw, &config, &vrf, v4) {
                Some(RouteAction::Via(hops)) => hops,
                _ => Vec::new(),
            });
            // Lists 0 and 1 are one file's versions, 2 and 3 the other's; at times the file is
            // read again without a change.
            let mut prefixes = lists[2 * list + draw.below(2) as usize].clone();
            if draw.one_in(3) {
                prefixes = prefixes.to_vec().into();
            }
            let file = PathBuf::from(format!("list{list}"));
            let vrf = vrf.clone();
            config.route_lists.push(RouteListConfig { vrf, file, prefixes, via4, via6 });
        }
    }
    for vif in &config.vifs {
        for address in hops(vif) {
            if draw.one_in(4) {
                let mac = mac(draw.below(4));
                config.neighbors.push(NeighborConfig { vif: vif.name.clone(), address, mac });
            }
        }
    }
    config
}

/// Prefixes of static routes: among them a connected subnet, parts of some, neighbors' and the
/// router's addresses.
const PREFIXES: [&str; 13] = [
    "0.0.0.0/0",
    "10.0.1.0/24",
    "10.0.2.2/32",
    "10.0.1.1/32",
    "10.0.3.255/32",
    "10.0.1.0/30",
    "10.0.3.0/29",
    "fd00:2::/126",
    "fd00:3::/65",
    "10.128.0.0/9",
    "::/0",
    "fd00:1::2/128",
    "2001:db8::/32",
];

/// The prefixes of route lists, disjoint between the two files.
pub fn lists() -> Vec<Arc<[IpNet]>> {
    let list = |prefixes: &[&str]| {
        let mut prefixes: Vec<IpNet> = prefixes.iter().map(|p| net(p)).collect();
        prefixes.sort();
        Arc::<[IpNet]>::from(prefixes)
    };
    vec![
        list(&[
            "20.0.0.0/8",
            "20.1.0.0/16",
            "10.0.0.0/24",
            "10.0.4.2/32",
            "10.0.5.0/30",
            "2001:db8:1::/48",
        ]),
        list(&["20.0.0.0/8", "20.2.0.0/16", "10.0.4.2/32", "fd00:4::/64"]),
        list(&["30.0.0.0/8", "10.0.5.0/31", "fd00:4::/100", "2001:db8:2::/48"]),
        list(&["30.0.0.0/8", "30.0.0.0/9", "2001:db8:3::/48", "fd00:5::2/128"]),
    ]
}

/// Addresses that lookups are tried with: in and around all of the above.
pub fn probes() -> Vec<IpAddr> {
    let mut probes: Vec<IpAddr> =
        lists().iter().flat_map(|list| list.iter().map(IpNet::addr).collect::<Vec<_>>()).collect();
    probes.extend(PREFIXES.iter().map(|p| net(p).addr()));
    for n in 0..VIFS {
        probes.extend([0, 1, 2, 3, 255].map(|host| ip(&format!("10.0.{n}.{host}"))));
        probes.extend([0, 1, 2, 3].map(|host| ip(&format!("fd00:{n}::{host}"))));
    }
    probes
}

fn random_vif(draw: &mut Draw, config: &Config, n: u64) -> VifConfig {
    let name = format!("vif{n}");
    let port = ["p0", "p1"][draw.below(2) as usize];
    let vrf = config.vrfs[draw.below(config.vrfs.len() as u64) as usize].name.clone();
    let vid = 100 + n as u16 + if draw.one_in(4) { 100 } else { 0 };
    let v4 = [format!("10.0.{n}.1/24"), format!("10.0.{n}.1/30"), format!("10.0.{n}.1/31")];
    let v6 = format!("fd00:{n}::1/64");
    let mut addresses = Vec::new();
    if !draw.one_in(5) {
        addresses.push(&*v4[draw.below(3) as usize]);
    }
    if draw.one_in(2) {
        addresses.push(&v6);
    }
    if draw.one_in(3) {
        addresses.push("fe80::1/64");
    }
    let mut vif = vif(&name, port, vid, &vrf, &addresses);
    if draw.one_in(4) {
        vif.tags = Tags { outer: 300, inner: Some(vid), service: true };
    }
    vif.up = !draw.one_in(5);
    vif.mtu = [1500, 9000][draw.below(2) as usize];
    vif.pcp = [Pcp::Preserve, Pcp::Set(5)][draw.below(2) as usize];
    vif
}

/// Addresses of possible neighbors on a VIF, link-local and not.
pub fn hops(vif: &VifConfig) -> Vec<IpAddr> {
    let mut hops = vec![ip("fe80::2")];
    for net in vif.addresses.iter().filter(|net| !super::naive::link_local(net.addr())) {
        hops.push(match net {
            IpNet::V4(v4) if v4.prefix_len() == 31 => v4.network().into(),
            IpNet::V4(v4) => IpAddr::from((v4.network().to_bits() + 2).to_be_bytes()),
            IpNet::V6(v6) => IpAddr::from((v6.network().to_bits() + 2).to_be_bytes()),
        });
    }
    hops
}

fn action(draw: &mut Draw, config: &Config, vrf: &str, v4: bool) -> Option<RouteAction> {
    match draw.below(8) {
        0 => return Some(RouteAction::Blackhole),
        1 => return Some(RouteAction::Unreachable),
        2 => return Some(RouteAction::Prohibit),
        _ => {}
    }
    let mut via = Vec::new();
    for vif in config.vifs.iter().filter(|vif| *vif.vrf == *vrf) {
        for address in hops(vif).into_iter().filter(|address| address.is_ipv4() == v4) {
            if draw.one_in(2) {
                // The first of them is no backup.
                let least = u64::from(via.is_empty());
                let weight = (least + draw.below(4 - least)) as u16;
                via.push(NextHop { vif: vif.name.clone(), address, weight });
            }
        }
    }
    // The order of members must not matter.
    if draw.one_in(2) {
        via.reverse();
    }
    (!via.is_empty()).then_some(RouteAction::Via(via))
}
