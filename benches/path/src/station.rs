//! A station as `stationd` makes one: a configuration, the control engine's tables and FIB, its workers.

use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicU32;

use ipnet::IpNet;
use station::config;
use station::config::model::{NextHop, RouteListConfig};
use station::control::{Engine, Limits, PortFacts};
use station::fib::{self, Fib};
use station::port::stamp::Stamping;
use station::port::{FrameSize, LONGEST, Pool};
use station::publish::Publisher;
use station::tables::counters::WorkerCounters;
use station::tables::meter::Limit;
use station::tables::mirrors::{Destination, Mirror, MirrorCounters, Mirrored};
use station::tables::{Network, PortId, Snapshot, Vif, VifId};
use station::wire::ethernet::Mac;
use station::worker::flows::{FlowChannel, Flows};
use station::worker::latency::{Latency, LatencyChannel};
use station::worker::talkers::{TalkerChannel, Talkers};
use station::worker::{Handoffs, Worker};

use crate::acl::{self, Rules};
use crate::data::{Family, Route};
use crate::measure::now_ns;
use crate::wire::Wire;

/// The neighbors on the core port that the full table's routes are dealt to.
pub const UPSTREAMS: u16 = 16;
/// Destinations of a small VRF.
pub const SMALL: u16 = 8;
/// Packet buffers of the worker, as the default for two ports.
pub const FRAMES: usize = 8192;

/// What the routes are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Vrfs {
    /// One public VRF with the full table, shared by all VIFs.
    Full,
    /// A VPC of its own for each VIF: 14 routes of both families, its own VIF on the core port.
    Small,
}

/// What has to do with tunnels, of an IPv4 underlay.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Tunnels {
    None,
    /// The upstreams are VTEPs, and routes lead into tunnels to them.
    Out,
    /// Customers' VIFs are VNIs, and packets come in tunnels from one VTEP.
    In,
}

/// The station's VTEP.
pub const VTEP: u32 = 0x0aff_0001;
/// The one that packets come from.
pub const REMOTE: u32 = 0x0aff_0002;
/// To which MAC packets in tunnels are sent.
pub const INNER_MAC: Mac = Mac([2, 0, 0, 2, 1, 0]);

/// The VNI of a customer's VIF.
pub fn vni(vif: u16) -> u32 {
    1 + u32::from(vif)
}

/// What the station is like.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Shape {
    pub vrfs: Vrfs,
    pub vifs: u16,
    /// Customers' VIFs have two tags.
    pub qinq: bool,
    /// Customers' VIFs have a bandwidth.
    pub metered: bool,
    /// Each of the customers' addresses has a limit.
    pub limited: bool,
    /// Customers' VIFs keep track of their largest addresses.
    pub talkers: bool,
    /// Customers' VIFs translate.
    pub translated: bool,
    /// Flows of customers' VIFs are logged, of one of so many packets; 0: none.
    pub logged: u16,
    /// One of so many packets is timed; 0: none.
    pub timed: u32,
    /// One of the customers' VIFs is mirrored, both ways, to a VLAN of the other port.
    pub mirrored: bool,
    /// The upstream VIF of the full table has a policy of classes.
    pub classed: bool,
    pub tunnels: Tunnels,
    /// An access list judges what enters by customers' VIFs: its kind, and how many rules it has.
    pub acl: Option<(Rules, usize)>,
}

pub struct Station {
    /// Keeps what the workers read alive.
    _engine: Engine<Publisher<Snapshot>>,
    pub workers: Vec<Worker<Wire>>,
}

/// The MAC of a port.
pub fn port_mac(port: u8) -> Mac {
    Mac([2, 0, 0, 0, 1, port])
}

/// The VLAN tags of a customer's VIF, outermost first.
pub fn tags(shape: Shape, vif: u16) -> Vec<u16> {
    if shape.qinq { vec![1 + vif / 1000, 1 + vif % 1000] } else { vec![1 + vif] }
}

impl Shape {
    /// One VIF with one tag and small VRFs, and nothing besides.
    pub const PLAIN: Shape = Shape {
        vrfs: Vrfs::Small,
        vifs: 1,
        qinq: false,
        metered: false,
        limited: false,
        talkers: false,
        translated: false,
        logged: 0,
        timed: 0,
        mirrored: false,
        classed: false,
        tunnels: Tunnels::None,
        acl: None,
    };

    /// How frames of the customers' port are stamped, if they are.
    pub fn stamping(self) -> Option<Stamping> {
        (self.timed > 0).then(|| Stamping::new(self.timed))
    }

    /// A customer's number in addresses: in small VRFs all have the same.
    pub fn number(self, vif: u16) -> u16 {
        if self.vrfs == Vrfs::Small { 0 } else { vif }
    }

    /// The tags of a VIF on the core port: two where there are more VIFs than VLANs.
    fn core_tags(self, vif: u16) -> String {
        if self.vifs > 4000 {
            format!("{}.{}", 1 + vif / 1000, 1 + vif % 1000)
        } else {
            (1 + vif).to_string()
        }
    }

    fn text(self) -> String {
        let mut text = format!("[station]\nmax_vifs = {}\n", 2 * self.vifs + 1);
        let customers = if self.tunnels == Tunnels::In { "core" } else { "customer" };
        for (name, role) in [("cust0", customers), ("core0", "core")] {
            let _ = writeln!(
                text,
                "[[port]]\nname = \"{name}\"\ninterface = \"{name}\"\nrole = \"{role}\""
            );
        }
        if self.logged > 0 {
            text += "[flow_log]\ncollectors = [\"udp://192.0.2.1:4739\"]\n";
        }
        if self.limited {
            // Those of up to 128 customers; in a VRF for each, a customer's share one.
            let per = if self.vrfs == Vrfs::Full { 32 } else { 24 };
            let _ = writeln!(
                text,
                "[[address_limit]]\nname = \"each\"\nby = \"source\"\nprefixes = [\"{}/17\"]\nper_ipv4 = {per}\nbandwidth = \"400G\"",
                ipv4(customer4(0))
            );
        }
        if let Some((kind, count)) = self.acl {
            let (sources, destinations) =
                ([(customer4(0), 24), (0, 0)], [(0x0a40_0000, 13), (0, 0)]);
            let rules = acl::rules(kind, count, &sources, &destinations);
            let _ = writeln!(text, "[[acl]]\nname = \"list\"\nrules = {rules:?}");
        }
        if self.vrfs == Vrfs::Full {
            text += "[[vrf]]\nname = \"public\"\nkind = \"public\"\n";
            let out = self.tunnels == Tunnels::Out;
            let (vif, vrf) = if out { ("fabric", "fabric") } else { ("internet", "public") };
            if out {
                text += FABRIC;
            }
            let _ = writeln!(
                text,
                "[[vif]]\nname = \"{vif}\"\nport = \"core0\"\nvlan = 1\nvrf = \"{vrf}\"\n\
                 addresses = [\"10.255.0.1/24\", \"fd00:ffff::1/64\"]{}",
                if self.classed { CLASSED } else { "" }
            );
            for n in 0..UPSTREAMS {
                neighbors(&mut text, vif, &upstream(n), 0x300 + n);
            }
            if out {
                let remote = |n| {
                    let [address, _] = upstream(n);
                    format!("{{ address = \"{address}\", mac = \"02:00:00:02:00:{n:02x}\" }}")
                };
                let remotes: Vec<String> = (0..UPSTREAMS).map(remote).collect();
                let _ = writeln!(
                    text,
                    "[[vif]]\nname = \"internet\"\nvtep = \"vtep\"\nvni = 77\nvrf = \"public\"\n\
                     addresses = [\"192.0.2.1/32\"]\nremotes = [{}]",
                    remotes.join(", ")
                );
            }
        }
        if self.tunnels == Tunnels::In {
            text += FABRIC;
            text += "[[vif]]\nname = \"fabric\"\nport = \"cust0\"\nvlan = 1\nvrf = \"fabric\"\n\
                     addresses = [\"10.255.0.1/24\"]\n";
            for vif in 0..self.vifs {
                let _ = writeln!(
                    text,
                    "[[vif]]\nname = \"c{vif}\"\nvtep = \"vtep\"\nvni = {}\nvrf = \"public\"\n\
                     addresses = [\"{}/32\"]\n\
                     remotes = [{{ address = \"{}\", mac = \"02:00:00:02:00:00\" }}]",
                    vni(vif),
                    ipv4(0xc000_0201 + u32::from(vif)),
                    ipv4(REMOTE)
                );
            }
            return text;
        }
        for vif in 0..self.vifs {
            let n = self.number(vif);
            let (vrf, kind) = match self.vrfs {
                Vrfs::Full => ("public".to_owned(), "public"),
                Vrfs::Small => (format!("vpc{vif}"), "private"),
            };
            let tags: Vec<String> = tags(self, vif).iter().map(u16::to_string).collect();
            let link = 0x0a00_0000 + 4 * u32::from(n);
            let (ours, theirs) = (ipv4(link + 1), ipv4(link + 2));
            let (ours6, theirs6) = (format!("fd00:{n:x}::1"), format!("fd00:{n:x}::2"));
            if self.vrfs == Vrfs::Small {
                let _ = writeln!(text, "[[vrf]]\nname = \"{vrf}\"\nkind = \"vpc\"");
                let _ = writeln!(
                    text,
                    "[[vif]]\nname = \"core{vif}\"\nport = \"core0\"\nvlan = \"{}\"\nvrf = \"{vrf}\"\n\
                     addresses = [\"10.255.0.1/30\", \"fd00:ffff::1/64\"]",
                    self.core_tags(vif)
                );
                neighbors(&mut text, &format!("core{vif}"), &upstream(0), vif);
                for d in 0..SMALL {
                    let _ = writeln!(
                        text,
                        "[[route]]\nvrf = \"{vrf}\"\nprefix = \"10.{}.0.0/16\"\nvia = [{{ address = \"10.255.0.2\" }}]\n\
                         [[route]]\nvrf = \"{vrf}\"\nprefix = \"fd80:{d:x}::/32\"\nvia = [{{ address = \"fd00:ffff::2\" }}]",
                        64 + d
                    );
                }
            }
            let _ = writeln!(
                text,
                "[[vif]]\nname = \"c{vif}\"\nport = \"cust0\"\nvlan = \"{}\"\nkind = \"{kind}\"\nvrf = \"{vrf}\"\n\
                 addresses = [\"{ours}/30\", \"{ours6}/64\"]",
                tags.join(".")
            );
            if self.metered {
                text += "bandwidth = { rx = \"400G\" }\n";
            }
            if self.limited {
                text += "address_limits_in = [\"each\"]\n";
            }
            if self.talkers {
                text += "top_talkers = true\n";
            }
            if self.translated {
                let (inside4, inside6) = (ipv4(inside4(n)), Ipv6Addr::from_bits(inside6(n)));
                let (outside4, outside6) = (ipv4(customer4(n)), Ipv6Addr::from_bits(customer6(n)));
                let _ = writeln!(
                    text,
                    "translate = [\"{inside4}/24 as {outside4}/24\", \"{inside6}/48 as {outside6}/48\"]"
                );
            }
            if self.logged > 0 {
                let _ = writeln!(text, "flow_log = \"1:{}\"", self.logged);
            }
            if self.acl.is_some() {
                text += "acl_in = \"list\"\n";
            }
            neighbors(&mut text, &format!("c{vif}"), &[theirs.clone(), theirs6.clone()], vif);
            let _ = writeln!(
                text,
                "[[route]]\nvrf = \"{vrf}\"\nprefix = \"{}/24\"\nvia = [{{ address = \"{theirs}\" }}]\n\
                 [[route]]\nvrf = \"{vrf}\"\nprefix = \"fd01:{n:x}::/48\"\nvia = [{{ address = \"{theirs6}\" }}]",
                ipv4(customer4(n))
            );
        }
        text
    }
}

const CLASSED: &str = "\nqos = \"gold\"\n[[qos]]\nname = \"gold\"\n\
    [[qos.class]]\nname = \"voice\"\ndscp = [\"ef\"]\npriority = \"strict\"\n";

const FABRIC: &str = "[[vrf]]\nname = \"fabric\"\nkind = \"underlay\"\n\
    [[vtep]]\nname = \"vtep\"\nvrf = \"fabric\"\naddress = \"10.255.0.1\"\nmac = \"02:00:00:02:01:00\"\n";

/// The customers' IPv4 prefixes: /24s of 100.64.0.0/10, which no full table has.
pub fn customer4(n: u16) -> u32 {
    0x6440_0000 | u32::from(n) << 8
}

/// The customers' IPv6 prefixes: /48s of fd01::/16.
pub fn customer6(n: u16) -> u128 {
    0xfd01 << 112 | u128::from(n) << 96
}

/// What customers have in place of [`customer4`] where that is translated: /24s of 172.16.0.0/12.
pub fn inside4(n: u16) -> u32 {
    0xac10_0000 | u32::from(n) << 8
}

/// What they have in place of [`customer6`]: /48s of fd02::/16.
pub fn inside6(n: u16) -> u128 {
    0xfd02 << 112 | u128::from(n) << 96
}

fn ipv4(address: u32) -> String {
    Ipv4Addr::from_bits(address).to_string()
}

fn upstream(n: u16) -> [String; 2] {
    [format!("10.255.0.{}", 2 + n), format!("fd00:ffff::{:x}", 2 + n)]
}

fn neighbors(text: &mut String, vif: &str, addresses: &[String], n: u16) {
    for address in addresses {
        let _ = writeln!(
            text,
            "[[neighbor]]\nvif = \"{vif}\"\naddress = \"{address}\"\nmac = \"02:00:00:01:{:02x}:{:02x}\"",
            n >> 8,
            n & 0xff
        );
    }
}

fn net(route: &Route, bits: u8) -> IpNet {
    let address = match bits {
        32 => IpAddr::from(Ipv4Addr::from_bits((route.key >> 96) as u32)),
        _ => IpAddr::from(Ipv6Addr::from_bits(route.key)),
    };
    IpNet::new_assert(address, route.len)
}

/// The full table as route lists, one an upstream.
fn lists(families: &[Family; 2], tunnels: Tunnels) -> Vec<RouteListConfig> {
    let mut prefixes = vec![Vec::new(); usize::from(UPSTREAMS)];
    for family in families {
        for route in &family.routes {
            let of = route.value as usize % prefixes.len();
            prefixes[of].push(net(route, family.bits));
        }
    }
    let hop = |address: &str| NextHop {
        vif: "internet".into(),
        address: address.parse().unwrap(),
        weight: 1,
    };
    let list = |(n, mut prefixes): (u16, Vec<IpNet>)| {
        prefixes.sort();
        let [via4, via6] = upstream(n);
        RouteListConfig {
            vrf: "public".into(),
            file: format!("upstream{n}").into(),
            prefixes: prefixes.into(),
            via4: vec![hop(&via4)],
            via6: vec![hop(if tunnels == Tunnels::Out { &via4 } else { &via6 })],
        }
    };
    (0..).zip(prefixes).map(list).collect()
}

impl Station {
    /// A station of this shape. `fib` chooses among the FIB's kinds of vector code by name.
    pub fn new(shape: Shape, families: &[Family; 2], fib: Option<&str>, workers: usize) -> Station {
        let mut config = config::parse(&shape.text(), Path::new("."))
            .unwrap_or_else(|error| panic!("{}", error.report()));
        if shape.vrfs == Vrfs::Full {
            config.route_lists = lists(families, shape.tunnels);
        }
        let facts: Vec<_> = (0..2)
            .map(|port| PortFacts { mac: port_mac(port), mtu: 3500, link_up: true })
            .collect();
        let vifs = config.station.max_vifs;
        let table = Fib::new(fib::Limits::default()).unwrap();
        let reader = match fib {
            None => table.reader(),
            Some(name) => {
                let found = table.reader().variants().find(|(kind, _)| *kind == name);
                found.unwrap_or_else(|| panic!("no {name} here")).1
            }
        };
        let (publisher, subscribers) = Publisher::new(workers, Snapshot::default());
        let mut engine = Engine::new(table, publisher, Limits::for_vifs(vifs));
        engine.commit(&config, &facts).unwrap();
        let worker = |subscriber| {
            let mut worker = Worker::new(
                Pool::new(FRAMES, FrameSize::Small).unwrap(),
                2,
                vifs.into(),
                reader.clone(),
                subscriber,
                Arc::new(WorkerCounters::new(2, vifs.into())),
                Arc::new(Handoffs::new(64, LONGEST, vifs.into())),
            );
            for port in 0..2 {
                *worker.port_mut(PortId(port)).1.unwrap() = Some(Wire::default());
            }
            if shape.logged > 0 {
                let channel = Arc::new(FlowChannel::new(vifs.into()));
                channel.set_timeouts(60_000_000_000, 15_000_000_000);
                let flows = Flows::new(1 << 16, vifs.into(), channel, [0x5eed; 8]);
                worker.exchange_flows(Some(Box::new(flows)));
            }
            if shape.talkers {
                let channel = Arc::new(TalkerChannel::new(vifs.into()));
                let talkers = Talkers::new(vifs.into(), channel, 0x5eed << 32);
                worker.exchange_talkers(Some(Box::new(talkers)));
            }
            if let Some(stamping) = shape.stamping() {
                let channel = Arc::new(LatencyChannel::new(2));
                let mut latency = Latency::new(2, channel, Box::new(now_ns));
                latency.follow(PortId(0), Some(stamping));
                worker.exchange_latency(Some(Box::new(latency)));
                if let Some(Some(wire)) = worker.port_mut(PortId(0)).1 {
                    wire.stamping = Some(stamping);
                }
            }
            if shape.mirrored {
                worker.mirror(&[Arc::new(mirror(&engine))]);
            }
            worker.tables_mut().wake();
            worker
        };
        let workers = subscribers.into_iter().map(worker).collect();
        Station { _engine: engine, workers }
    }
}

/// A mirror of the first customer's VIF.
fn mirror(engine: &Engine<Publisher<Snapshot>>) -> Mirror {
    let is_customer = |(_, vif): &(VifId, &Vif)| vif.kind.is_some();
    let (id, vif) = engine.tables().vifs_by_id().find(is_customer).expect("a customer");
    let name = engine.tables().port_name(PortId(1)).into();
    Mirror {
        name: "mirror".into(),
        of: Mirrored::Vif(id, vif.name.clone(), Network::of(vif)),
        inbound: true,
        outbound: true,
        filter: None,
        snap: 4096,
        to: Destination::Vlan { port: PortId(1), name, vlan: 4094, room: 1522 },
        limit: Limit::new(400_000_000_000, 12_500_000_000),
        numbered: AtomicU32::new(0),
        counters: [MirrorCounters::default()].into(),
    }
}
