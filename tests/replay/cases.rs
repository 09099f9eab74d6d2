//! Captures of what customers' equipment sends (`tests/cases`), each with what a router that follows the
//! RFCs makes of it. The first seven frames of each teach the peers' MACs; frames count from 1.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use station::replay::capture::{Options, run};

use crate::common::packets::{Icmp, Seen};
use crate::{Out, read, scratch};

const CUST0: &str = "02:53:00:00:00:01";
const CUST1: &str = "02:53:00:00:00:02";
const CORE0: &str = "02:53:00:00:00:03";

/// What became of a frame.
struct Fate {
    time: Duration,
    comment: String,
    /// What left because of it.
    sent: Vec<Out>,
}

/// What becomes of the frames of a case, by their numbers, and what leaves at any time.
struct Case {
    fates: BTreeMap<u32, Fate>,
    sent: Vec<Out>,
}

impl Case {
    fn new(name: &str, config: &str) -> Case {
        let at = scratch(name);
        let inputs = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
        let mac = |(port, mac): (&str, &str)| (port.to_owned(), mac.parse().unwrap());
        let macs = [("cust0", CUST0), ("cust1", CUST1), ("core0", CORE0)].map(mac).to_vec();
        let options = Options { macs, ..Options::default() };
        let capture: PathBuf = inputs.join(format!("cases/{name}.pcapng"));
        run(&inputs.join(config), &capture, &at.join("out.pcapng"), &options).unwrap();
        let (mut fates, mut sent) = (BTreeMap::new(), Vec::new());
        for out in read(&at) {
            let number = |text: &str| text.split(['\u{20}', ':']).next()?.parse().ok();
            if !out.sent {
                let rest = out.comment.strip_prefix("frame ").unwrap_or_default();
                let (time, comment) = (out.time, out.comment.clone());
                let fate = Fate { time, comment, sent: Vec::new() };
                fates.insert(number(rest).unwrap(), fate);
            } else if let Some(rest) = out.comment.strip_prefix("sent because of frame ") {
                fates.get_mut(&number(rest).unwrap()).unwrap().sent.push(out);
            } else {
                sent.push(out);
            }
        }
        Case { fates, sent }
    }

    fn of(name: &str) -> Case {
        Case::new(name, "lab/station.toml")
    }

    #[track_caller]
    fn forwarded(&self, number: u32) -> &Out {
        let fate = &self.fates[&number];
        let forwarded = fate.comment.contains(": forward") || fate.comment.contains("slow_forward");
        assert!(forwarded, "{}", fate.comment);
        assert_eq!(fate.sent.len(), 1, "{} {:?}", fate.comment, fate.sent);
        &fate.sent[0]
    }

    #[track_caller]
    fn answered(&self, number: u32) -> &Out {
        let fate = &self.fates[&number];
        assert!(fate.comment.contains("Outcome answered"), "{}", fate.comment);
        assert_eq!(fate.sent.len(), 1, "{} {:?}", fate.comment, fate.sent);
        &fate.sent[0]
    }

    #[track_caller]
    fn dropped(&self, number: u32) {
        let fate = &self.fates[&number];
        assert!(fate.comment.contains(": drop("), "{}", fate.comment);
        assert!(fate.sent.is_empty(), "{:?}", fate.sent);
    }

    /// Who it was sent to.
    #[track_caller]
    fn to(&self, number: u32) -> String {
        Seen::read(&self.forwarded(number).frame).to.to_string()
    }
}

/// The type and code of the ICMP message that answered a frame.
#[track_caller]
fn icmp(answer: &Out) -> (u8, u8) {
    let icmp = Icmp::read(&Seen::read(&answer.frame).packet);
    (icmp.kind, icmp.code)
}

/// RFC 826 compares nothing with the frame; RFC 9568 8.1.2: a VRRP router answers with its virtual MAC
/// in a frame from its own.
#[test]
fn c01_a_vrrp_masters_arp_reply_counts() {
    for name in ["c01-vrrp-arp-reply", "c01-control"] {
        let case = Case::of(name);
        assert!(case.fates[&7].comment.contains("Outcome consumed"), "{}", case.fates[&7].comment);
        assert_eq!(case.to(8), "00:00:5e:00:01:0a", "{name}");
    }
}

/// RFC 826; RFC 4861 7.1.1 and 7.2.4: the sender may have any address.
#[test]
fn c02_who_asks_from_a_loopback_address_is_answered_and_not_learned() {
    let case = Case::of("c02-off-subnet-sender");
    for number in 8..=11 {
        let answer = Seen::read(&case.answered(number).frame);
        assert_eq!(answer.to.to_string(), "02:68:00:00:00:01", "frame {number}");
    }
}

/// RFC 1191, RFC 1812 4.3.2: interconnects of clouds are numbered from 169.254/16, and a configured subnet
/// of it is not what RFC 3927 keeps on its link.
#[test]
fn c03_icmp_of_configured_169_254_subnets_passes() {
    let case = Case::of("c03-169254-icmp");
    for number in [8, 9, 11, 12, 13] {
        case.forwarded(number);
    }
}

/// RFC 5227, RFC 4861 7.2.5: an address that moved without a word from its old MAC is followed within
/// 100 ms, in both families and for good.
#[test]
fn c04_an_address_that_moves_is_followed() {
    let case = Case::of("c04-garp-failover");
    let announced = case.fates[&8].time;
    for (&number, fate) in case.fates.range(14..).filter(|(number, _)| !matches!(number, 27 | 28)) {
        if fate.time >= announced + Duration::from_millis(110) {
            assert_eq!(case.to(number), "02:68:00:00:00:99", "frame {number}");
        }
    }
}

/// RFC 4443 2.4 (e) makes no exception for fragments that are not the first.
#[test]
fn c05_later_fragments_get_their_errors() {
    let case = Case::new("c05-later-fragment", "cases/c05.toml");
    case.forwarded(8);
    for (number, error) in [(9, (2, 0)), (10, (3, 0)), (11, (1, 0)), (12, (2, 0)), (13, (2, 0))] {
        assert_eq!(icmp(case.answered(number)), error, "frame {number}");
    }
}

/// RFC 4291 2.6.1, RFC 4861 7.2.4: a router has its subnets' anycast addresses, answers for them without
/// override, and never from them.
#[test]
fn c06_the_subnet_router_anycast_address_is_answered_for() {
    let case = Case::of("c06-subnet-router-anycast");
    let advertisement = Icmp::read(&Seen::read(&case.answered(8).frame).packet);
    assert_eq!((advertisement.kind, advertisement.word[0] & 0x20), (136, 0));
    for number in [9, 10, 11] {
        let reply = Icmp::read(&Seen::read(&case.answered(number).frame).packet);
        assert_eq!(reply.kind, 129, "frame {number}");
        assert_ne!(reply.source, "fd00:a::", "frame {number}");
    }
}

/// The ports that the frames of flows left by.
fn ports_of(case: &Case, flow: impl Fn(u32) -> u32) -> BTreeMap<u32, BTreeSet<String>> {
    let mut ports: BTreeMap<u32, BTreeSet<String>> = BTreeMap::new();
    for (&number, fate) in case.fates.range(8..) {
        assert!(!fate.sent.is_empty(), "{}", fate.comment);
        let ports = ports.entry(flow(number)).or_default();
        ports.extend(fate.sent.iter().map(|out| out.port.clone()));
    }
    ports
}

/// What needs software goes the same way as what does not.
#[test]
fn c07_a_flow_leaves_by_one_member_whatever_its_packets_need() {
    let case = Case::new("c07-ecmp-slow-path", "cases/c07.toml");
    let flows = ports_of(&case, |number| (number - 8) / 2);
    assert_eq!(flows.len(), 32);
    let split: Vec<_> = flows.iter().filter(|(_, ports)| ports.len() > 1).collect();
    assert!(split.is_empty(), "{split:?}");
    let used: BTreeSet<_> = flows.values().flatten().collect();
    assert_eq!(used.len(), 2, "both members carry flows");
}

/// Linux changes a connection's flow label after a timeout (`net.core.txrehash`).
#[test]
fn c08_a_tcp_connection_stays_on_its_member_whatever_its_flow_label() {
    let case = Case::new("c08-flow-label", "cases/c07.toml");
    let flows = ports_of(&case, |_| 0);
    assert_eq!(flows[&0].len(), 1, "{flows:?}");
}

/// IEEE 802.1Q table 9-2: VID 0 is no VLAN but a priority.
#[test]
fn c13_a_priority_tag_inside_is_no_vlan() {
    let case = Case::of("c13-inner-priority-tag");
    case.forwarded(8);
    case.dropped(9);
    case.dropped(10);
    let sent = Seen::read(&case.forwarded(11).frame);
    assert_eq!(sent.tags, [(0x8100, 0x1000 | 1100)], "DEI is kept");
}

/// RFC 5227 2.4, RFC 7527: what the station sent itself is a loop, and no other's claim of its address.
#[test]
fn c14_a_looped_circuit_is_no_security_alarm() {
    let case = Case::of("c14-looped-circuit");
    for number in 8..=12 {
        let Fate { comment, sent, .. } = &case.fates[&number];
        assert_eq!(comment.contains("address_conflict"), number == 12, "{comment}");
        assert!(sent.is_empty(), "{comment}");
    }
    case.dropped(11);
    // Nothing was learned: no question and no announcement follows the frames.
    let first = case.fates[&8].time;
    assert!(case.sent.iter().all(|out| out.time < first), "{:?}", case.sent);
}
