//! Properties of the packet path over generated bursts: the oracle of `common/oracle.rs` predicts each
//! frame's VIF, verdict and bytes; every frame is accounted for; nothing leaves its VRF; nothing panics.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::cast_possible_truncation)]

#[path = "../common/mod.rs"]
mod common;
mod plan;

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};

use common::oracle::{Fate, Oracle};
use common::packets::{Seen, frame};
use common::rig::Rig;
use common::{CONFIG, HOSTS, Lab, SECOND, parse};
use plan::plan;
use proptest::prelude::*;
use proptest::sample::select;
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
    runner(4000)
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
                let left = vrf(["cust0", "cust1", "core0"][port.index()], &seen);
                let host = HOSTS.iter().find(|host| Some(host.vif) == entered.as_deref());
                let came =
                    host.and_then(|host| vrf(host.port, &Seen::read(&host.frame(&[0x45; 20]))));
                prop_assert!(left.is_some() && left == came, "{:?} -> {:02x?}", entered, frame);
            }
            lab.station.check_conservation().map_err(TestCaseError::fail)
        })
        .unwrap();
    assert!(lab.into_inner().1 > 1000);
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
