//! Properties of the packet path over generated bursts: the oracle of `common/oracle.rs` predicts each
//! frame's VIF, verdict and bytes; every frame is accounted for; nothing leaves its VRF; nothing panics.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::cast_possible_truncation)]

mod common;

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};

use common::oracle::{Fate, Oracle};
use common::packets::{Seen, frame, seal, udp, with_extension, with_options};
use common::rig::Rig;
use common::{CONFIG, HOSTS, Lab, SECOND, parse, port_mac};
use proptest::prelude::*;
use proptest::sample::{Index, select};
use proptest::test_runner::{Config, TestRunner};
use station::port::memory::MemoryPort;
use station::tables::{PortId, Verdict};
use station::wire::ethernet::Mac;

/// The lab's configuration with routes shared by two ways, a loose and an unchecked VIF, and a next hop
/// that nobody knows.
fn config() -> String {
    let text = CONFIG
        .replace("name = \"a2\"\n", "name = \"a2\"\nsource_check = \"loose\"\n")
        .replace("name = \"p2\"\n", "name = \"p2\"\nsource_check = \"off\"\n");
    format!(
        "{text}\n[[route]]\nvrf = \"vpc-b\"\nprefix = \"10.71.0.0/16\"\n\
         via = [{{ address = \"10.255.1.2\" }}, {{ address = \"10.9.3.2\", weight = 2 }}]\n\
         [[route]]\nvrf = \"vpc-a\"\nprefix = \"10.72.0.0/16\"\nvia = [{{ address = \"10.9.1.200\" }}]\n"
    )
}

const V4: [&str; 38] = [
    "10.1.0.9",
    "10.1.255.255",
    "10.2.0.9",
    "10.3.0.9",
    "10.64.0.1",
    "10.127.255.255",
    "10.65.0.1",
    "10.66.0.1",
    "10.67.0.1",
    "10.68.0.1",
    "10.70.0.0",
    "10.71.0.1",
    "10.72.0.1",
    "10.0.255.255",
    "10.128.0.0",
    "10.9.1.0",
    "10.9.1.1",
    "10.9.1.2",
    "10.9.1.77",
    "10.9.1.255",
    "10.9.3.2",
    "10.255.1.1",
    "10.255.1.2",
    "10.255.2.2",
    "169.254.100.1",
    "169.254.100.2",
    "169.254.100.3",
    "169.254.9.9",
    "192.0.2.0",
    "192.0.2.1",
    "198.51.100.9",
    "203.0.113.9",
    "8.8.8.8",
    "0.0.0.0",
    "127.0.0.1",
    "224.0.0.5",
    "240.0.0.1",
    "255.255.255.255",
];
const V6: [&str; 20] = [
    "fd00:a1::9",
    "fd00:a1:ffff:ffff:ffff:ffff:ffff:ffff",
    "fd00:a2::",
    "fd00:64::1",
    "fd00:65::1",
    "fd00:66::1",
    "fd00:67::1",
    "fd00:68::1",
    "fd00:100::1",
    "fd00:100::2",
    "fd00:100::77",
    "fd00:101::2",
    "fd00:255:1::2",
    "2001:db8::1",
    "fe80::2",
    "fe80::ff:fe00:1",
    "ff02::1",
    "::",
    "::1",
    "::ffff:10.1.0.9",
];

/// Where each of the hosts' own packets come from, by family.
const OWN: [(&str, &str); HOSTS.len()] = [
    ("10.1.0.9", "fd00:a1::9"),
    ("10.2.0.9", "fd00:101::2"),
    ("10.64.0.1", "fd00:64::1"),
    ("10.65.0.1", "fd00:65::1"),
    ("10.1.0.9", "fd00:a1::9"),
    ("10.3.0.9", "2001:db8::1"),
    ("10.200.0.1", "2001:db8::1"),
    ("198.51.100.9", "2001:db8::1"),
    ("203.0.113.9", "2001:db8::1"),
    ("8.8.8.8", "2001:db8::1"),
];

/// A frame to be built: mostly good, with a fault or two.
#[derive(Clone, Debug)]
struct Plan {
    host: usize,
    v6: bool,
    /// `None`: the host's own.
    source: Option<Index>,
    destination: Index,
    octets: usize,
    ttl: u8,
    options: &'static [u8],
    tags: Option<Vec<(u16, u16)>>,
    to: Option<Mac>,
    from: Option<Mac>,
    priority: u16,
    ethertype: Option<u16>,
    faults: Vec<Fault>,
    padding: usize,
}

#[derive(Clone, Debug)]
enum Fault {
    /// An octet of the packet; the checksum is made right again, or not.
    Octet {
        at: Index,
        value: u8,
        sealed: bool,
    },
    /// One of the first 20 octets, where IPv4's fields are.
    Header {
        at: usize,
        value: u8,
        sealed: bool,
    },
    Cut(Index),
    /// The frame itself.
    Raw {
        at: Index,
        value: u8,
    },
}

fn fault() -> impl Strategy<Value = Fault> {
    prop_oneof![
        (any::<Index>(), any::<u8>(), any::<bool>()).prop_map(|(at, value, sealed)| Fault::Octet {
            at,
            value,
            sealed
        }),
        (0..20usize, prop_oneof![any::<u8>(), 0..4u8], any::<bool>())
            .prop_map(|(at, value, sealed)| Fault::Header { at, value, sealed }),
        any::<Index>().prop_map(Fault::Cut),
        (any::<Index>(), any::<u8>()).prop_map(|(at, value)| Fault::Raw { at, value }),
    ]
}

fn tags() -> impl Strategy<Value = Vec<(u16, u16)>> {
    let tpid = select(vec![0x8100u16, 0x8100, 0x88a8, 0x9100]);
    let vid = select(vec![0u16, 7, 100, 101, 102, 200, 300, 400, 1000, 1100, 1101, 1200, 4095]);
    proptest::collection::vec((tpid, vid), 0..4)
}

fn rarely<T: std::fmt::Debug + Clone + 'static>(
    some: impl Strategy<Value = T> + 'static,
) -> BoxedStrategy<Option<T>> {
    prop_oneof![12 => Just(None), 1 => some.prop_map(Some)].boxed()
}

fn mac() -> impl Strategy<Value = Mac> {
    select(vec![
        Mac::BROADCAST,
        Mac([1, 0x80, 0xc2, 0, 0, 2]),
        Mac([1, 0, 0x5e, 0, 0, 5]),
        Mac([0x33, 0x33, 0, 0, 0, 1]),
        port_mac(0),
        port_mac(1),
        port_mac(2),
        Mac([2, 9, 9, 9, 9, 9]),
    ])
}

const OPTIONS: [&[u8]; 9] = [
    &[],
    &[],
    &[],
    &[],
    &[1, 1, 1, 0],
    &[148, 4, 0, 0],
    &[131, 7, 4, 10, 1, 1, 1, 0],
    &[7, 1, 0, 0],
    &[130, 4, 0, 0, 68, 8, 5, 0, 0, 0, 0, 0],
];

fn plan() -> impl Strategy<Value = Plan> {
    let addresses =
        (any::<bool>(), proptest::option::weighted(0.3, any::<Index>()), any::<Index>());
    let sizes = prop_oneof![8 => 60..200usize, 1 => 1270..1290usize, 1 => 1490..1510usize];
    let ttl = prop_oneof![6 => Just(64u8), 1 => 0..3u8];
    let l2 = (
        rarely(tags()),
        rarely(mac()),
        rarely(mac()),
        0..8u16,
        rarely(select(vec![0x0806u16, 0x8847, 0x86dd, 0x0800])),
    );
    let faults = prop_oneof![
        5 => Just(vec![]),
        3 => proptest::collection::vec(fault(), 1..3)
    ];
    let padding = prop_oneof![3 => Just(0usize), 1 => 0..60usize];
    (0..HOSTS.len(), addresses, sizes, ttl, select(OPTIONS.to_vec()), l2, faults, padding).prop_map(
        |(host, (v6, source, destination), octets, ttl, options, l2, faults, padding)| {
            let (tags, to, from, priority, ethertype) = l2;
            Plan {
                host,
                v6,
                source,
                destination,
                octets,
                ttl,
                options,
                tags,
                to,
                from,
                priority,
                ethertype,
                faults,
                padding,
            }
        },
    )
}

fn pick(addresses: &[&'static str], at: Index) -> &'static str {
    addresses[at.index(addresses.len())]
}

impl Plan {
    /// The port's index and the frame.
    fn build(&self) -> (usize, Vec<u8>) {
        let host = HOSTS[self.host];
        let mut packet = match self.v6 {
            false => {
                let source = self.source.map_or(OWN[self.host].0, |at| pick(&V4, at));
                udp(source, pick(&V4, self.destination), self.octets)
            }
            true => {
                let source = self.source.map_or(OWN[self.host].1, |at| pick(&V6, at));
                udp(source, pick(&V6, self.destination), self.octets)
            }
        };
        packet[if self.v6 { 7 } else { 8 }] = self.ttl;
        if self.v6 {
            match self.options.len() {
                0 => {}
                4 => packet = with_extension(packet, 44, &[0, 1, 0, 0, 0, 9]),
                8 => packet = with_extension(packet, 0, &[1, 4, 0, 0, 0, 0]),
                // As discovery: ICMPv6 of type 135 and its neighbors in number.
                _ => (packet[6], packet[40]) = (58, 131 + self.ttl % 8),
            }
        } else {
            packet = with_options(packet, self.options);
        }
        let ethertype = self.ethertype.unwrap_or(if self.v6 { 0x86dd } else { 0x0800 });
        let mut raw = Vec::new();
        for fault in &self.faults {
            match fault {
                Fault::Octet { at, value, sealed } => {
                    let at = at.index(packet.len());
                    packet[at] = *value;
                    if *sealed {
                        seal(&mut packet);
                    }
                }
                Fault::Header { at, value, sealed } => {
                    packet[*at] = *value;
                    if *sealed {
                        seal(&mut packet);
                    }
                }
                Fault::Cut(_) | Fault::Raw { .. } => raw.push(fault),
            }
        }
        let mut tags = self.tags.clone().unwrap_or_else(|| host.tags.to_vec());
        if let Some(tag) = tags.first_mut() {
            tag.1 |= self.priority << 13;
        }
        let (to, from) = (self.to.unwrap_or(host.router), self.from.unwrap_or(host.mac));
        let mut bytes = frame(to, from, &tags, ethertype, &packet);
        bytes.resize(bytes.len() + self.padding, 0xee);
        for fault in raw {
            match fault {
                Fault::Cut(at) => bytes.truncate(at.index(bytes.len() + 1)),
                Fault::Raw { at, value } if !bytes.is_empty() => {
                    let at = at.index(bytes.len());
                    bytes[at] = *value;
                }
                _ => {}
            }
        }
        let port = ["cust0", "cust1", "core0"].iter().position(|name| *name == host.port).unwrap();
        (port, bytes)
    }
}

fn runner(cases: u32) -> TestRunner {
    TestRunner::new(Config { cases, failure_persistence: None, ..Config::default() })
}

/// What was predicted, and how often: a generator that only makes rubbish proves nothing.
type Tally = BTreeMap<String, u32>;

#[test]
fn the_path_does_what_the_oracle_says() {
    let text = config();
    let oracle = Oracle::new(&parse(&text));
    let ports = (0..3).map(|_| MemoryPort::new(256)).collect();
    let rig = RefCell::new((Rig::new(&text, ports, 1024, 64), SECOND, Tally::new()));
    let bursts = proptest::collection::vec(plan(), 1..100);
    runner(8000)
        .run(&bursts, |plans| {
            let (rig, now, tally) = &mut *rig.borrow_mut();
            let mut by_port: [Vec<Vec<u8>>; 3] = Default::default();
            for plan in &plans {
                let (port, frame) = plan.build();
                if by_port[port].len() < 64 {
                    by_port[port].push(frame);
                }
            }
            for (port, frames) in by_port.iter().enumerate() {
                // A second's budget for the slow path.
                *now += SECOND;
                one_burst(rig, &oracle, *now, port, frames, tally)?;
            }
            Ok(())
        })
        .unwrap();
    let tally = rig.into_inner().2;
    for often in [
        "forward",
        "punt local",
        "punt ttl_exceeded",
        "punt too_big",
        "punt neighbor_discovery",
        "punt next_hop_unresolved",
        "punt no_route",
        "punt ip_options",
        "drop spoofed_source",
        "drop foreign_source",
        "drop peer_isolation",
        "drop too_many_tags",
        "drop link_local_off_link",
        "drop bad_checksum",
    ] {
        assert!(tally.get(often).is_some_and(|n| *n >= 5), "{often} is rare: {tally:?}");
    }
    assert!(tally["forward"] > 1000, "{tally:?}");
}

fn one_burst(
    rig: &mut Rig<MemoryPort>,
    oracle: &Oracle,
    now: u64,
    port: usize,
    frames: &[Vec<u8>],
    tally: &mut Tally,
) -> Result<(), TestCaseError> {
    let verdicts = rig.burst(now, PortId(port as u8), frames);
    let mut sent: Vec<VecDeque<Vec<u8>>> =
        (0..3).map(|id| rig.take_sent(PortId(id)).into()).collect();
    let mut punted: VecDeque<_> = rig.take_punted().into();
    for (frame, (vif, verdict)) in frames.iter().zip(verdicts) {
        let vif = vif.map(|id| rig.engine.tables().vif(id).unwrap().name.to_string());
        let (expected_vif, fate) = oracle.fate(port, frame);
        prop_assert_eq!(&vif, &expected_vif, "{:02x?}", frame);
        let said = match verdict {
            Verdict::Forward => "forward".to_owned(),
            Verdict::Drop(reason) => format!("drop {}", reason.name()),
            Verdict::Punt(reason) => format!("punt {}", reason.name()),
        };
        match fate {
            Fate::Drop(reason) => {
                prop_assert_eq!(&said, &format!("drop {reason}"), "{:02x?}", frame)
            }
            Fate::Punt(reason) => {
                prop_assert_eq!(&said, &format!("punt {reason}"), "{:02x?}", frame);
                let (_, copy) = punted.pop_front().expect("a parcel");
                prop_assert_eq!(&copy, frame);
            }
            Fate::Forward(ways) => {
                prop_assert_eq!(&said, "forward", "{:02x?}", frame);
                let way = ways.iter().find(|(port, frame)| sent[*port].front() == Some(frame));
                let Some((port, _)) = way else {
                    return Err(TestCaseError::fail(format!(
                        "{frame:02x?}: none of {ways:02x?} in {sent:02x?}"
                    )));
                };
                sent[*port].pop_front();
            }
        }
        *tally.entry(said).or_default() += 1;
    }
    prop_assert!(
        sent.iter().all(VecDeque::is_empty) && punted.is_empty(),
        "more than was predicted"
    );
    rig.check();
    Ok(())
}

/// The VRF that a VIF's tags on a port belong to.
fn vrf(port: &str, seen: &Seen) -> Option<&'static str> {
    let host = HOSTS.iter().find(|host| host.port == port && host.tags == seen.vlans())?;
    Some(match host.vif.as_bytes()[0] {
        b'a' => "a",
        b'b' => "b",
        _ => "public",
    })
}

/// A question to a neighbor: the station asks on its own account, whenever a timer says so.
fn is_question(seen: &Seen) -> bool {
    match seen.ethertype {
        0x0806 => seen.packet[7] == 1,
        _ => seen.packet[0] >> 4 == 6 && seen.packet[6] == 58 && seen.packet[40] == 135,
    }
}

#[test]
fn nothing_leaves_its_vrf_with_the_slow_path_either() {
    let lab = RefCell::new((Lab::with(&config()), 0u32));
    runner(20_000)
        .run(&plan(), |plan| {
            let (lab, sent) = &mut *lab.borrow_mut();
            lab.now += SECOND / 50;
            let (port, frame) = plan.build();
            let name = ["cust0", "cust1", "core0"][port];
            let report = lab.send(name, &frame);
            let entered = report.vif.map(|id| lab.vif_name(id));
            for (port, frame) in report.sent {
                let seen = Seen::read(&frame);
                if is_question(&seen) {
                    continue;
                }
                *sent += 1;
                let left = vrf(["cust0", "cust1", "core0"][port.index()], &seen);
                let host = HOSTS.iter().find(|host| Some(host.vif) == entered.as_deref());
                let came =
                    host.and_then(|host| vrf(host.port, &Seen::read(&host.frame(&[0x45; 20]))));
                prop_assert!(left.is_some() && left == came, "{:?} -> {:02x?}", entered, frame);
            }
            lab.station.check_conservation().map_err(TestCaseError::fail)
        })
        .unwrap();
    assert!(lab.into_inner().1 > 3000);
}

#[test]
fn random_octets_never_panic() {
    let lab = RefCell::new(Lab::with(&config()));
    let bytes = proptest::collection::vec(any::<u8>(), 0..200);
    let head = prop_oneof![Just(0usize), Just(12), Just(18), Just(22)];
    let types = select(vec![0x0800u16, 0x0806, 0x86dd]);
    let group = any::<bool>();
    runner(10_000)
        .run(
            &(0..HOSTS.len(), head, types, group, bytes),
            |(host, head, ethertype, group, bytes)| {
                let lab = &mut *lab.borrow_mut();
                let host = HOSTS[host];
                let to = if group { Mac::BROADCAST } else { host.router };
                let mut random = frame(to, host.mac, host.tags, ethertype, &[]);
                random.truncate(head.min(random.len()));
                if head == 18 && ethertype != 0x0806 {
                    random.push(if ethertype == 0x0800 { 0x45 } else { 0x60 });
                }
                random.extend(bytes);
                lab.now += SECOND / 100;
                lab.send(host.port, &random);
                lab.station.check_conservation().map_err(TestCaseError::fail)
            },
        )
        .unwrap();
}
