//! Support of the data-path tests: a station in memory made from a configuration's text, hosts on its
//! VIFs, and every counter by name, so that a test can say "this one grew by one, and no other".

#![allow(dead_code, clippy::unwrap_used, clippy::expect_used, clippy::cast_possible_truncation)]

pub mod oracle;
pub mod packets;
pub mod rig;

use std::collections::BTreeMap;
use std::path::Path;

use station::config;
use station::config::model::Config;
use station::control::PortFacts;
use station::replay::{MemoryStation, Report};
use station::tables::{DropReason, PortId, PuntReason, SlowOutcome, VifId};
use station::wire::ethernet::Mac;

use packets::{Icmp, Seen, ethertype_of, frame, padded};

/// Two tenants with the same addresses, a public VRF, a core port; every next hop is static.
pub const CONFIG: &str = include_str!("station.toml");

/// An underlay and tunnels, to stand behind [`CONFIG`].
pub const UNDERLAY: &str = include_str!("underlay.toml");

pub const SECOND: u64 = 1_000_000_000;

/// A host behind a VIF: where its frames enter, and how they look.
#[derive(Clone, Copy, Debug)]
pub struct Host {
    pub vif: &'static str,
    pub port: &'static str,
    pub router: Mac,
    pub mac: Mac,
    /// (TPID, TCI), outermost first.
    pub tags: &'static [(u16, u16)],
}

/// The MAC of a port of the lab, by its index.
pub const fn port_mac(index: u8) -> Mac {
    Mac([2, 0, 0, 0, 0, index + 1])
}

const fn host(
    vif: &'static str,
    port: (&'static str, u8),
    id: u8,
    tags: &'static [(u16, u16)],
) -> Host {
    Host { vif, port: port.0, router: port_mac(port.1), mac: Mac([2, 0, 0, 0, id, 2]), tags }
}

const CUST0: (&str, u8) = ("cust0", 0);
const CUST1: (&str, u8) = ("cust1", 1);
const CORE0: (&str, u8) = ("core0", 2);
pub const A: Host = host("a", CUST0, 0x0a, &[(0x8100, 100)]);
pub const A2: Host = host("a2", CUST0, 0xa2, &[(0x8100, 101)]);
pub const A_CORE: Host = host("a-core", CORE0, 0xac, &[(0x8100, 1100)]);
pub const A_SMALL: Host = host("a-small", CORE0, 0xa5, &[(0x8100, 1101)]);
pub const B: Host = host("b", CUST0, 0x0b, &[(0x8100, 200), (0x8100, 7)]);
pub const B_S: Host = host("b-s", CUST1, 0xb3, &[(0x88a8, 300)]);
pub const B_CORE: Host = host("b-core", CORE0, 0xbc, &[(0x8100, 1200)]);
pub const P1: Host = host("p1", CUST0, 0xf1, &[(0x8100, 400)]);
pub const P2: Host = host("p2", CUST1, 0xf2, &[(0x8100, 400)]);
pub const INTERNET: Host = host("internet", CORE0, 0x1e, &[(0x8100, 1000)]);
pub const HOSTS: [Host; 10] = [A, A2, A_CORE, A_SMALL, B, B_S, B_CORE, P1, P2, INTERNET];

impl Host {
    /// A frame from this host to the router.
    pub fn frame(&self, packet: &[u8]) -> Vec<u8> {
        frame(self.router, self.mac, self.tags, ethertype_of(packet), packet)
    }

    /// The same to another MAC, such as a group's.
    pub fn frame_to(&self, to: Mac, packet: &[u8]) -> Vec<u8> {
        frame(to, self.mac, self.tags, ethertype_of(packet), packet)
    }

    /// What the router sends to this host.
    pub fn receives(&self, packet: &[u8]) -> Vec<u8> {
        padded(frame(self.mac, self.router, self.tags, ethertype_of(packet), packet))
    }
}

/// Parses a configuration, or shows why it is refused.
pub fn parse(text: &str) -> Config {
    config::parse(text, Path::new(".")).unwrap_or_else(|error| panic!("{}", error.report()))
}

/// The facts about a configuration's ports in the lab.
pub fn facts(config: &Config) -> Vec<PortFacts> {
    (0..config.ports.len() as u8)
        .map(|index| PortFacts { mac: port_mac(index), mtu: 9216, link_up: true })
        .collect()
}

/// A station in memory with its clock, and the counters as of the last look.
pub struct Lab {
    pub station: MemoryStation,
    pub now: u64,
    seen: BTreeMap<String, u64>,
}

impl Lab {
    /// A station that runs [`CONFIG`].
    pub fn new() -> Lab {
        Lab::with(CONFIG)
    }

    /// A station that runs another configuration. What it sends at the start is thrown away.
    pub fn with(text: &str) -> Lab {
        let config = parse(text);
        let station = MemoryStation::new(&config, &facts(&config)).unwrap();
        let mut lab = Lab { station, now: SECOND, seen: BTreeMap::new() };
        lab.wait(0);
        lab.seen = lab.counters();
        lab
    }

    /// Takes another configuration into use, as a reload does.
    pub fn commit(&mut self, text: &str) {
        self.station.commit(&parse(text)).unwrap();
        self.wait(0);
        self.seen = self.counters();
    }

    pub fn port(&mut self, name: &str) -> PortId {
        self.station.engine().port(name).unwrap_or_else(|| panic!("no port {name}"))
    }

    fn port_name(&mut self, id: PortId) -> String {
        self.station.engine().tables().ports[id.index()].name.to_string()
    }

    pub fn vif_name(&mut self, id: VifId) -> String {
        self.station.engine().tables().vif(id).unwrap().name.to_string()
    }

    /// Lets time pass, in steps of the slow path's ticks; returns what was sent meanwhile.
    pub fn wait(&mut self, ns: u64) -> Vec<(String, Vec<u8>)> {
        let end = self.now + ns;
        let mut sent = Vec::new();
        loop {
            sent.extend(self.station.tick(self.now));
            if self.now >= end {
                break;
            }
            self.now = (self.now + SECOND / 100).min(end);
        }
        self.named(sent)
    }

    fn named(&mut self, sent: Vec<(PortId, Vec<u8>)>) -> Vec<(String, Vec<u8>)> {
        sent.into_iter().map(|(port, frame)| (self.port_name(port), frame)).collect()
    }

    /// Sends a frame into a port.
    pub fn send(&mut self, port: &str, frame: &[u8]) -> Report {
        let port = self.port(port);
        self.station.frame(self.now, port, frame).expect("the frame fits the memory")
    }

    /// Every counter of a port's or VIF's frames that is not 0, by name.
    fn counters(&mut self) -> BTreeMap<String, u64> {
        let tables = self.station.engine().tables().clone();
        let mut all = BTreeMap::new();
        let mut count = |name: String, n: u64| {
            if n > 0 {
                all.insert(name, n);
            }
        };
        for (counters, port) in self.station.counters().ports().iter().zip(&*tables.ports) {
            for &reason in DropReason::ALL {
                let name = format!("port {} drop {}", port.name, reason.name());
                count(name, counters.drops[reason.index()].get());
            }
        }
        for (id, vif) in (0..).map(VifId).zip(tables.vifs.iter()) {
            let Some(vif) = vif else { continue };
            let counters = self.station.counters().vif(id);
            for &reason in DropReason::ALL {
                let name = format!("vif {} drop {}", vif.name, reason.name());
                count(name, counters.rare.drops[reason.index()].get());
            }
            for &reason in PuntReason::ALL {
                let name = format!("vif {} punt {}", vif.name, reason.name());
                count(name, counters.rare.punted[reason.index()].get());
            }
            for &outcome in SlowOutcome::ALL {
                let name = format!("vif {} outcome {}", vif.name, outcome.name());
                count(name, self.station.slow_counters().outcome(id, outcome).get());
            }
            count(format!("vif {} forwarded", vif.name), counters.forwarded.get());
            count(format!("vif {} originated_lost", vif.name), counters.rare.originated_lost.get());
        }
        all
    }

    /// The counters that grew since the last look; "name +n" where by more than one.
    pub fn grown(&mut self) -> Vec<String> {
        let now = self.counters();
        let grown = now.iter().filter_map(|(name, &n)| {
            match n - self.seen.get(name).copied().unwrap_or(0) {
                0 => None,
                1 => Some(name.clone()),
                more => Some(format!("{name} +{more}")),
            }
        });
        let grown = grown.collect();
        self.seen = now;
        grown
    }

    /// Sends one frame and asserts which counters grew, each by exactly one, and that every frame is
    /// accounted for. Returns what was sent.
    pub fn expect(&mut self, port: &str, frame: &[u8], grown: &[&str]) -> Vec<(String, Vec<u8>)> {
        self.grown();
        let report = self.send(port, frame);
        let mut expected: Vec<&str> = grown.to_vec();
        expected.sort_unstable();
        assert_eq!(self.grown(), expected, "{report:?}\n{frame:02x?}");
        self.station.check_conservation().unwrap();
        self.named(report.sent)
    }

    /// Asserts that a frame is dropped: one counter, and nothing is sent.
    #[track_caller]
    pub fn drops(&mut self, port: &str, frame: &[u8], counter: &str) {
        assert_eq!(self.expect(port, frame, &[counter]), []);
    }

    /// Asserts that a punted frame gets no answer.
    #[track_caller]
    pub fn ignores(&mut self, from: Host, frame: &[u8], punt: &str, outcome: &str) {
        let (punt, outcome) =
            (format!("vif {} {punt}", from.vif), format!("vif {} {outcome}", from.vif));
        assert_eq!(self.expect(from.port, frame, &[&punt, &outcome]), []);
    }

    /// Asserts that a host's packet leaves to another host, one TTL less and otherwise unchanged.
    #[track_caller]
    pub fn forwards(&mut self, from: Host, packet: &[u8], to: Host) {
        let counter = format!("vif {} forwarded", from.vif);
        let sent = self.expect(from.port, &from.frame(packet), &[&counter]);
        assert_eq!(sent, [(to.port.to_owned(), expected(packet, to))]);
    }

    /// Asserts that a host's packet is answered by exactly one ICMP message, to that host.
    #[track_caller]
    pub fn answers(&mut self, from: Host, packet: &[u8], punt: &str) -> Icmp {
        self.answers_frame(from, &from.frame(packet), punt)
    }

    #[track_caller]
    pub fn answers_frame(&mut self, from: Host, frame: &[u8], punt: &str) -> Icmp {
        let (punt, outcome) =
            (format!("vif {} {punt}", from.vif), format!("vif {} outcome answered", from.vif));
        let sent = self.expect(from.port, frame, &[&punt, &outcome]);
        let [(port, frame)] = &sent[..] else { panic!("{} frames sent", sent.len()) };
        assert_eq!(port, from.port);
        let seen = Seen::read(frame);
        assert_eq!((seen.to, seen.from), (from.mac, from.router));
        assert_eq!(seen.vlans(), from.tags.iter().map(|t| (t.0, t.1 & 0xfff)).collect::<Vec<_>>());
        Icmp::read(&seen.packet)
    }

    /// Every frame is accounted for.
    #[track_caller]
    pub fn check(&mut self) {
        self.station.check_conservation().unwrap();
    }
}

/// A routed packet as `to` receives it.
pub fn expected(packet: &[u8], to: Host) -> Vec<u8> {
    let mut frame = to.receives(&packets::routed(packet));
    if to.vif == A_SMALL.vif {
        frame[14] |= 5 << 5;
    }
    frame
}
