//! Properties of the packet path over generated bursts: the oracle of `common/oracle.rs` predicts each
//! frame's VIF, verdict and bytes; every frame is accounted for; nothing leaves its VRF; nothing panics.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::cast_possible_truncation)]

mod acl;
#[path = "../common/mod.rs"]
mod common;
mod exchanges;
mod explained;
mod plan;
mod reachability;
mod translations;

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};

use common::oracle::{Fate, Oracle};
use common::packets::{Icmp, Seen, arp, edited, frame, udp_flow, with_extension, with_options};
use common::rig::Rig;
use common::{A, CONFIG, HOSTS, Lab, SECOND, parse};
use plan::plan;
use proptest::prelude::*;
use proptest::sample::select;
use proptest::test_runner::{Config, TestRunner};
use station::port::memory::MemoryPort;
use station::tables::{PortId, PuntReason, SlowOutcome, Verdict};
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
    runner(if cfg!(debug_assertions) { 1300 } else { 4000 })
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
        "drop looped_back",
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
    // ARP and ND come first; within a reason the order is the frames'.
    let mut punted = rig.take_punted();
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
                let first = punted.iter().position(|(label, _)| label.reason.name() == reason);
                let (_, copy) = punted.remove(first.expect("a parcel"));
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
fn vrf(port: &str, vlans: &[(u16, u16)]) -> Option<&'static str> {
    let host = HOSTS.iter().find(|host| host.port == port && host.tags == vlans)?;
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
        _ => seen.packet[0] >> 4 == 6 && seen.packet[6] == 58 && seen.packet.get(40) == Some(&135),
    }
}

#[test]
fn nothing_leaves_its_vrf_with_the_slow_path_either() {
    let lab = RefCell::new((Lab::with(&config()), 0u32));
    runner(10_000)
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
                let left = vrf(["cust0", "cust1", "core0"][port.index()], &seen.vlans());
                let host = HOSTS.iter().find(|host| Some(host.vif) == entered.as_deref());
                let came = host.and_then(|host| vrf(host.port, host.tags));
                prop_assert!(left.is_some() && left == came, "{:?} -> {:02x?}", entered, frame);
            }
            lab.station.check_conservation().map_err(TestCaseError::fail)
        })
        .unwrap();
    assert!(lab.into_inner().1 > 1000);
}

/// A group of a large and a small member for either family, and one of two that nobody resolves.
const UNEQUAL: &str = r#"
[[route]]
vrf = "vpc-a"
prefix = "10.80.0.0/16"
via = [{ address = "10.255.1.2" }, { address = "10.255.2.2" }]
[[route]]
vrf = "vpc-a"
prefix = "fd00:80::/32"
via = [{ address = "fd00:255:1::2" }, { address = "fd00:255:2::2" }]
[[route]]
vrf = "vpc-a"
prefix = "10.81.0.0/16"
via = [{ address = "10.9.1.200" }, { address = "10.9.1.201" }]
"#;

/// Where a packet of tenant A leaves, and how: the VLAN, or nothing.
#[derive(Debug, PartialEq, Eq)]
enum Left {
    /// As it is, or in fragments.
    Forwarded(u16),
    /// The sender is told this MTU.
    TooBig(u32),
}

fn left(lab: &mut Lab, packet: &[u8]) -> Left {
    lab.now += SECOND;
    let report = lab.send("cust0", &A.frame(packet));
    lab.check();
    let mut seen = report.sent.iter().map(|(_, frame)| Seen::read(frame));
    match report.outcome {
        Some(SlowOutcome::Answered) => {
            let answer = Icmp::read(&seen.next().unwrap().packet);
            assert!(matches!((answer.kind, answer.code), (3, 4) | (2, 0)), "{answer:?}");
            return Left::TooBig(u32::from_be_bytes(answer.word));
        }
        None | Some(SlowOutcome::Forwarded) => {}
        other => panic!("{other:?}: {packet:02x?}"),
    }
    let vlans: Vec<u16> = seen.map(|seen| seen.vlans()[0].1).collect();
    assert!(!vlans.is_empty() && vlans.iter().all(|vlan| *vlan == vlans[0]), "{vlans:?}");
    Left::Forwarded(vlans[0])
}

/// What a flow's packets look like that the fast path cannot forward by itself, beside one that it can.
#[test]
fn a_flow_leaves_by_one_member_whatever_its_packets_way_through_the_station() {
    let lab = RefCell::new((Lab::with(&format!("{CONFIG}{UNEQUAL}")), BTreeMap::new()));
    let kinds = select(vec!["udp", "tcp", "sctp", "gre", "fragment"]);
    let flows = (any::<bool>(), kinds, any::<(u16, u16)>(), 0..9u8, 0..9u8);
    runner(2000)
        .run(&flows, |(v6, kind, ports, from, to)| {
            let (lab, tally) = &mut *lab.borrow_mut();
            let (source, destination) = match v6 {
                false => (format!("10.1.0.{}", from + 1), format!("10.80.0.{to}")),
                true => (format!("fd00:a1::{}", from + 1), format!("fd00:80::{to}")),
            };
            // `more`: what differs between packets of one flow.
            let packet = |octets: usize, more: u8| {
                let packet = udp_flow(&source, &destination, ports, octets);
                let packet = edited(packet, |p| {
                    let (next, data) = if v6 { (6, 48) } else { (9, 28) };
                    match kind {
                        "tcp" => p[next] = 6,
                        "sctp" => p[next] = 132,
                        "gre" => p[next] = 47,
                        _ => {}
                    }
                    p[data] = more;
                    if kind == "fragment" {
                        // Ports are there in the first part only.
                        p[data - 8] = more;
                    }
                    match (v6, kind) {
                        (false, "fragment") => p[6..8].copy_from_slice(&[0x20, more]),
                        (false, _) => p[6] = 0,
                        // A host may change the label of a connection.
                        (true, "tcp") => p[3] = more,
                        (true, _) => {}
                    }
                });
                match (v6, kind) {
                    (true, "fragment") => {
                        with_extension(packet, 44, &[0, more << 3 | 1, 1, 1, 1, 1])
                    }
                    _ => packet,
                }
            };
            let short = left(lab, &packet(100, 0));
            let mtu = match short {
                Left::Forwarded(1101) => 1280,
                _ => 1500,
            };
            *tally.entry(format!("{kind} {short:?}")).or_insert(0) += 1;
            prop_assert_eq!(&left(lab, &packet(101, 1)), &short);
            let long = packet(1400, 2);
            if v6 {
                let expected = if mtu < 1400 { &Left::TooBig(1280) } else { &short };
                prop_assert_eq!(&left(lab, &long), expected);
            } else {
                prop_assert_eq!(&left(lab, &long), &short, "fragmented where it must be");
                // Of fragments the first alone may be answered (RFC 1122 3.2.2).
                let whole = edited(long, |p| (p[6], p[7]) = (p[6] | 0x40, 0));
                let expected = if mtu < 1400 { &Left::TooBig(1280) } else { &short };
                prop_assert_eq!(&left(lab, &whole), expected, "told the MTU of its own member");
                let alert = with_options(packet(100, 3), &[148, 4, 0, 0]);
                prop_assert_eq!(&left(lab, &alert), &short, "options");
            }
            Ok(())
        })
        .unwrap();
    let tally = lab.into_inner().1;
    for kind in ["udp", "tcp", "sctp", "gre", "fragment"] {
        for left in ["Forwarded(1100)", "Forwarded(1101)"] {
            assert!(tally.contains_key(&format!("{kind} {left}")), "{kind} {left}: {tally:?}");
        }
    }
}

/// The punt's label names the member that the fast path chose.
#[test]
fn the_label_of_a_punt_carries_the_adjacency() {
    let ports = (0..3).map(|_| MemoryPort::new(256)).collect();
    let mut rig = Rig::new(&format!("{CONFIG}{UNEQUAL}"), ports, 1024, 64);
    let mut seen = std::collections::HashSet::new();
    for port in 0..200 {
        let short = udp_flow("10.1.0.9", "10.80.0.1", (port, 443), 100);
        let alert = A.frame(&with_options(short.clone(), &[148, 4, 0, 0]));
        rig.burst(u64::from(port) * SECOND, PortId(0), &[A.frame(&short), alert]);
        let sent = rig.take_sent(PortId(2));
        let (label, _) = rig.take_punted().remove(0);
        let choice = label.choice.expect("a choice");
        let tables = rig.engine.tables();
        assert_eq!(choice.generation, tables.generation);
        let front = choice.in_tables(tables).unwrap().l2().to_vec();
        assert_eq!(sent[0][..front.len()], front);
        seen.insert(choice.adjacency);
    }
    assert_eq!(seen.len(), 2);
    // Members that nobody resolves are chosen by the flow as any others, and the label says which it was.
    let mut asked = std::collections::HashSet::new();
    for port in 200..264 {
        let short = udp_flow("10.1.0.9", "10.81.0.1", (port, 443), 100);
        let alert = A.frame(&with_options(short.clone(), &[148, 4, 0, 0]));
        rig.burst(u64::from(port) * SECOND, PortId(0), &[A.frame(&short), alert]);
        let punted = rig.take_punted();
        assert_eq!(punted[0].0.reason, PuntReason::NextHopUnresolved);
        assert_eq!(punted[0].0.choice, punted[1].0.choice);
        let choice = punted[0].0.choice.unwrap();
        asked.insert(choice.in_tables(rig.engine.tables()).unwrap().address.to_string());
    }
    assert_eq!(asked, ["10.9.1.200", "10.9.1.201"].map(str::to_owned).into());
    // What no route led to has none.
    let question = arp(1, (A.mac, "169.254.100.2"), (Mac::default(), "169.254.100.1"));
    rig.burst(SECOND * 300, PortId(0), &[A.frame_to(Mac::BROADCAST, &question)]);
    assert_eq!(rig.take_punted()[0].0.choice, None);
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
