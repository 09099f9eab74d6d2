//! Flows and options as records.

use std::time::Duration;

use super::element::{self, FLOW_OTHER, FLOW4, FLOW6};
use super::message::{Message, Packer};
use super::names::{Interface, Names};
use super::sink::Counts;
use super::status::forwarding_status;
use crate::wire::ipv4::ICMP;
use crate::wire::ipv6::ICMPV6;
use crate::worker::flows::{Family, Flow};

/// informationElementDataType of RFC 5610 for strings, and informationElementSemantics for what is none of the others.
const STRING: u8 = 13;
const DEFAULT_SEMANTICS: u8 = 0;

/// What all records of a station have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Format {
    /// The observation domain.
    pub domain: u32,
    /// The operator's private enterprise number.
    pub enterprise: Option<u32>,
}

/// Where a flow's packets came from and went to, and when the worker's time began.
#[derive(Clone, Copy, Debug)]
pub struct Seen {
    /// By which VIF they came.
    pub from: Interface,
    /// By which VIF they left.
    pub to: Interface,
    /// Milliseconds since 1970 at which the worker's time was 0.
    pub epoch_ms: u64,
}

impl Format {
    /// Adds a flow's record.
    pub fn flow(&self, to: &mut Packer, flow: &Flow, seen: &Seen) {
        let key = &flow.key;
        let mut record = Record::default();
        let time = |ns: u64| {
            let ms = u64::try_from(Duration::from_nanos(ns).as_millis()).unwrap_or(u64::MAX);
            seen.epoch_ms.saturating_add(ms)
        };
        record.put(time(flow.counts.start_ns).to_be_bytes());
        record.put(time(flow.counts.last_ns).to_be_bytes());
        let template = match key.family {
            Family::V4 => {
                for address in [key.source, key.destination] {
                    record.put(low32(address).to_be_bytes());
                }
                FLOW4
            }
            Family::V6 => {
                record.put(key.source.to_be_bytes());
                record.put(key.destination.to_be_bytes());
                FLOW6
            }
            Family::Other => {
                record.put(low16(key.ports).to_be_bytes());
                FLOW_OTHER
            }
        };
        if template != FLOW_OTHER {
            let is_icmp = matches!(key.protocol, ICMP | ICMPV6);
            let (ports, icmp) = if is_icmp { (0, low16(key.ports)) } else { (key.ports, 0) };
            record.put(ports.to_be_bytes());
            record.put([key.protocol, flow.counts.class]);
            record.put([flow.counts.flags]);
            record.put(icmp.to_be_bytes());
        }
        for number in [seen.from.vif, seen.to.vif, seen.from.vrf, seen.to.vrf] {
            record.put(number.to_be_bytes());
        }
        for number in [
            flow.counts.packets,
            flow.counts.ip_octets,
            flow.counts.rx_octets,
            flow.counts.tx_octets,
        ] {
            record.put(number.to_be_bytes());
        }
        // samplingPopulation and samplingInterval.
        (0..2).for_each(|_| record.put(u32::from(key.interval).to_be_bytes()));
        let verdict = key.verdict();
        record.put([forwarding_status(verdict), flow.end as u8]);
        if self.enterprise.is_some() {
            record.text(&verdict.to_string());
        }
        to.record(template, &record.0, true);
    }

    /// What a session begins with: templates, types and names, and what it has been sent so far.
    pub(super) fn preamble(&self, names: &Names, counts: &Counts) -> Vec<Message> {
        let mut to = Packer::default();
        to.templates(self.enterprise);
        if let Some(number) = self.enterprise {
            let mut record = Record::default();
            record.put(number.to_be_bytes());
            record.put(element::VERDICT.to_be_bytes());
            record.put([STRING, DEFAULT_SEMANTICS]);
            record.text("verdict");
            to.record(element::TYPE, &record.0, false);
        }
        for (template, names) in [element::INTERFACE, element::VRF].into_iter().zip(names.told()) {
            for (number, name) in names {
                let mut record = Record::default();
                record.put(number.to_be_bytes());
                record.text(name);
                to.record(template, &record.0, false);
            }
        }
        let mut record = Record::default();
        record.put(self.domain.to_be_bytes());
        for count in [
            counts.messages,
            counts.records,
            counts.unlogged_frames,
            counts.unlogged_octets,
            counts.lost_records,
        ] {
            record.put(count.to_be_bytes());
        }
        to.record(element::EXPORTED, &record.0, false);
        to.take(true)
    }
}

#[expect(clippy::cast_possible_truncation, reason = "an IPv4 address")]
const fn low32(address: u128) -> u32 {
    address as u32
}

#[expect(clippy::cast_possible_truncation, reason = "an ethertype, or type and code of ICMP")]
const fn low16(ports: u32) -> u16 {
    ports as u16
}

/// The octets of a record.
#[derive(Default)]
struct Record(Vec<u8>);

impl Record {
    fn put<const N: usize>(&mut self, octets: [u8; N]) {
        self.0.extend(octets);
    }

    /// A string with its length in front (RFC 7011 section 7). Names have at most 254 octets.
    fn text(&mut self, text: &str) {
        let octets = &text.as_bytes()[..text.len().min(254)];
        self.0.push(u8::try_from(octets.len()).unwrap_or(u8::MAX));
        self.0.extend(octets);
    }
}
