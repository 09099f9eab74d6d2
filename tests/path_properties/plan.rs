//! Frames to try the path with: mostly good ones, with a fault or two.

use proptest::prelude::*;
use proptest::sample::{Index, select};
use station::wire::ethernet::Mac;

use crate::common::packets::{frame, seal, udp, with_extension, with_options};
use crate::common::{HOSTS, port_mac};

const V4: [&str; 42] = [
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
    "240.0.255.255",
    "240.1.0.0",
    "240.1.255.255",
    "240.2.0.0",
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
pub struct Plan {
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
    /// Priority and drop eligibility of the outer tag, and of a priority tag behind all.
    priority: (u16, Option<u16>),
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

/// No MAC of the station's, though it ends like one.
fn nearly_port_mac() -> Mac {
    let mut mac = port_mac(0);
    mac.0[1] ^= 4;
    mac
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
        nearly_port_mac(),
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

pub fn plan() -> impl Strategy<Value = Plan> {
    let addresses =
        (any::<bool>(), proptest::option::weighted(0.3, any::<Index>()), any::<Index>());
    let sizes = prop_oneof![8 => 60..200usize, 1 => 1270..1290usize, 1 => 1490..1510usize];
    let ttl = prop_oneof![6 => Just(64u8), 1 => 0..3u8];
    let l2 = (
        rarely(tags()),
        rarely(mac()),
        rarely(mac()),
        (0..16u16, prop_oneof![4 => Just(None), 1 => (0..16u16).prop_map(Some)]),
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
    pub fn build(&self) -> (usize, Vec<u8>) {
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
            tag.1 |= self.priority.0 << 12;
        }
        tags.extend(self.priority.1.map(|priority| (0x8100, priority << 12)));
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
