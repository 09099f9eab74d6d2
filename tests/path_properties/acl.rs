//! Access lists: over random lists and packets, fragments and extension headers among them, a packet meets the first rule
//! that a scan finds, of each list once, and every hit is counted where it belongs.

use proptest::prelude::*;
use proptest::sample::select;
use station::acl::{Action, Fields, first_match};
use station::port::memory::MemoryPort;
use station::tables::{AccessList, Direction, PortId, Verdict};

use crate::common::rig::Rig;
use crate::common::{A, CONFIG, SECOND, facts, parse};
use crate::runner;

const FROM4: [&str; 5] = ["10.1.0.0/16", "10.1.0.9", "10.1.0.8/30", "0.0.0.0/0", "10.1.128.0/17"];
const TO4: [&str; 5] = ["10.64.0.0/10", "10.64.0.1", "10.64.0.0/31", "10.64.0.2/31", "10.0.0.0/8"];
const FROM6: [&str; 4] = ["fd00:a1::/32", "fd00:a1::9", "fd00:a1::8/125", "::/0"];
const TO6: [&str; 4] = ["fd00:64::/32", "fd00:64::1", "fd00:64::/126", "fd00::/16"];

fn rule() -> impl Strategy<Value = String> {
    let action = select(vec!["permit", "permit", "deny", "reject"]);
    let end4 = (select(&FROM4[..]), select(&TO4[..]));
    let end6 = (select(&FROM6[..]), select(&TO6[..]));
    let ends = prop_oneof![
        Just(("any", "any")),
        end4.clone(),
        end4.prop_map(|(from, _)| (from, "any")),
        end6.clone(),
        end6.prop_map(|(_, to)| ("any", to)),
    ];
    let rest = select(vec![
        ("ip", "", ""),
        ("ip", "", " fragment"),
        ("udp", "", ""),
        ("tcp", "", ""),
        ("tcp", "", " established"),
        ("tcp", "", " flags syn,!ack"),
        ("tcp", " port 80", ""),
        ("tcp", " port 1-443", ""),
        ("udp", " port 53", ""),
        ("udp", " port 0-52", ""),
        ("udp", "", " fragment"),
        ("protocol 47", "", ""),
        ("protocol 58", "", ""),
        ("icmp", "", " type 8"),
        ("icmp6", "", " type 128 code 0"),
    ]);
    (action, ends, rest, any::<bool>()).prop_map(
        |(action, (from, to), (protocol, port, option), at_source)| {
            let (protocol, option) = match protocol {
                "icmp" if from.contains(':') || to.contains(':') => ("icmp6", " type 128"),
                "icmp6" if from.contains('.') || to.contains('.') => ("icmp", " type 8 code 0"),
                _ => (protocol, option),
            };
            let (source, destination) = if at_source { (port, "") } else { ("", port) };
            format!("{action} {protocol} from {from}{source} to {to}{destination}{option}")
        },
    )
}

/// A packet of VIF a for the core, by what it is drawn from.
#[derive(Clone, Debug)]
pub struct Draw {
    six: bool,
    hosts: (u8, u8),
    protocol: u8,
    words: [u16; 2],
    flags: u8,
    octets: usize,
    /// IPv4: flags and offset; options. IPv6: extension headers.
    fragment: u16,
    extra: usize,
}

pub fn draw() -> impl Strategy<Value = Draw> {
    let port = select(vec![0u16, 1, 52, 53, 54, 80, 443, 444, 0x0800, 0x8000, 0x8001, 65535]);
    let fragment = select(vec![0u16, 0, 0, 0x2000, 0x2002, 7]);
    let octets = select(vec![0usize, 1, 2, 3, 4, 13, 14, 15, 20, 36, 80]);
    (
        any::<bool>(),
        (0u8..12, 0u8..5),
        select(vec![6u8, 6, 17, 17, 1, 47, 58, 132]),
        [port.clone(), port],
        select(vec![0x02u8, 0x10, 0x12, 0x04, 0x01]),
        octets,
        fragment,
        0..4usize,
    )
        .prop_map(|(six, hosts, protocol, words, flags, octets, fragment, extra)| Draw {
            six,
            hosts,
            protocol,
            words,
            flags,
            octets,
            fragment,
            extra,
        })
}

impl Draw {
    pub fn packet(&self) -> Vec<u8> {
        let mut upper = [
            &self.words[0].to_be_bytes()[..],
            &self.words[1].to_be_bytes(),
            &[0; 9],
            &[self.flags],
            &[7; 80],
        ]
        .concat();
        upper.truncate(self.octets);
        if self.six { self.packet6(&upper) } else { self.packet4(&upper) }
    }

    fn packet4(&self, upper: &[u8]) -> Vec<u8> {
        let options = [1u8; 8];
        let options = if self.extra == 3 { &options[..] } else { &[] };
        let mut packet = vec![0x45 + options.len() as u8 / 4, 0];
        packet.extend(((20 + options.len() + upper.len()) as u16).to_be_bytes());
        packet.extend([0, 1]);
        packet.extend(self.fragment.to_be_bytes());
        packet.extend([64, self.protocol, 0, 0, 10, 1, 0, self.hosts.0, 10, 64, 0, self.hosts.1]);
        packet.extend(options);
        let sum = !packet.chunks(2).fold(0u32, |sum, pair| {
            let sum = sum + u32::from(u16::from_be_bytes([pair[0], pair[1]]));
            (sum & 0xffff) + (sum >> 16)
        }) as u16;
        packet[10..12].copy_from_slice(&sum.to_be_bytes());
        packet.extend(upper);
        packet
    }

    fn packet6(&self, upper: &[u8]) -> Vec<u8> {
        // The next header of each, and the header.
        let mut chain: Vec<(u8, Vec<u8>)> = Vec::new();
        if self.extra & 1 == 1 {
            chain.push((60, vec![0, 0, 1, 4, 0, 0, 0, 0]));
        }
        if self.fragment != 0 {
            let [high, low] =
                ((self.fragment & 0x1fff) << 3 | u16::from(self.fragment >> 13 == 1)).to_be_bytes();
            chain.push((44, vec![0, 0, high, low, 0, 0, 0, 9]));
        }
        if self.extra == 2 {
            chain.push((43, vec![0, 0, 0, 0, 0, 0, 0, 0]));
        }
        let firsts: Vec<u8> = chain.iter().map(|(kind, _)| *kind).chain([self.protocol]).collect();
        let mut body = Vec::new();
        for ((_, mut header), next) in chain.into_iter().zip(&firsts[1..]) {
            header[0] = *next;
            body.extend(header);
        }
        body.extend(upper);
        let mut packet = vec![0x60, 0, 0, 0];
        packet.extend((body.len() as u16).to_be_bytes());
        packet.extend([firsts[0], 64]);
        let address = |second: u16, last: u8| {
            let mut octets = [0; 16];
            octets[..4].copy_from_slice(&[0xfd, 0, (second >> 8) as u8, second as u8]);
            octets[15] = last;
            octets
        };
        packet.extend(address(0x00a1, self.hosts.0));
        packet.extend(address(0x0064, self.hosts.1));
        packet.extend(body);
        packet
    }
}

/// What a scan says of a packet: the place in the list, and the action.
fn scan(list: &AccessList, packet: &[u8]) -> (usize, Action) {
    let rules = list.list.rules();
    match Fields::of(packet).map(|fields| first_match(rules, &fields)) {
        Ok(Some(at)) => (at, rules[at].action),
        Ok(None) => (rules.len(), Action::Deny),
        Err(_) => (rules.len() + 1, Action::Deny),
    }
}

#[test]
fn a_packet_meets_the_first_rule_that_a_scan_finds() {
    let list = || prop::collection::vec(rule(), 1..20);
    let draws = prop::collection::vec(draw(), 1..150);
    let (mut denied, mut passed) = (0, 0);
    let counts = std::cell::RefCell::new((&mut denied, &mut passed));
    let ports = (0..3).map(|_| MemoryPort::new(256)).collect();
    let rig = std::cell::RefCell::new((Rig::<MemoryPort>::new(CONFIG, ports, 1024, 256), SECOND));
    runner(150)
        .run(&(list(), list(), draws), |(entering, leaving, draws)| {
            let (rig, now) = &mut *rig.borrow_mut();
            let (denied, passed) = &mut *counts.borrow_mut();
            let text = CONFIG
                .replace("name = \"a\"\nport", "name = \"a\"\nacl_in = \"in\"\nport")
                .replace("name = \"a-core\"\nport", "name = \"a-core\"\nacl_out = \"out\"\nport");
            let text = format!(
                "{text}\n[[acl]]\nname = \"in\"\nrules = {entering:?}\n[[acl]]\nname = \"out\"\nrules = {leaving:?}\n"
            );
            let config = parse(&text);
            rig.engine.commit(&config, &facts(&config)).unwrap();
            let lists = rig.engine.tables().acls.named.clone();
            lists.values().for_each(|list| list.clear());
            let mut expected = [("in", Direction::Rx), ("out", Direction::Tx)]
                .map(|(name, _)| vec![0; lists[name].list.rules().len() + 2]);
            let packets: Vec<Vec<u8>> = draws.iter().map(Draw::packet).collect();
            for packets in packets.chunks(64) {
                *now += SECOND;
                let frames: Vec<Vec<u8>> = packets.iter().map(|packet| {
                    let mut frame = A.frame(packet);
                    frame.resize(frame.len().max(64), 0);
                    frame
                }).collect();
                let verdicts = rig.burst(*now, PortId(0), &frames);
                for (packet, (_, verdict)) in packets.iter().zip(verdicts) {
                    let mut said = Verdict::Forward.to_string();
                    for (name, direction) in [("in", Direction::Rx), ("out", Direction::Tx)] {
                        let (place, action) = scan(&lists[name], packet);
                        expected[direction as usize][place] += 1;
                        match action {
                            Action::Permit => continue,
                            Action::Deny => said = format!("drop(acl_denied_{name})"),
                            Action::Reject => said = "punt(acl_rejected)".to_owned(),
                        }
                        break;
                    }
                    **(if said == "forward" { &mut *passed } else { &mut *denied }) += 1;
                    prop_assert_eq!(verdict.to_string(), said, "{:02x?}\n{}", packet, text.split("[[acl]]").skip(1).collect::<String>());
                }
                rig.take_sent(PortId(2));
                rig.take_punted();
            }
            for (name, direction) in [("in", Direction::Rx), ("out", Direction::Tx)] {
                let hits: Vec<u64> = lists[name].hits().map(|hits| hits[direction as usize]).collect();
                prop_assert_eq!(&hits, &expected[direction as usize], "{}", name);
            }
            rig.check();
            Ok(())
        })
        .unwrap();
    assert!(denied > 1000 && passed > 200, "{denied} denied, {passed} passed");
}
