//! An hour, or a part of one, as it is kept.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use super::tally::Tally;
use crate::blocks::packed::{put, put_text, take, take_text};
use crate::blocks::{Kept, Names};

/// Who is asked what. What is asked otherwise is another, with round trips of its own.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Asked {
    /// Name of the probe.
    pub probe: Arc<str>,
    /// Name of the VIF that asks.
    pub vif: Arc<str>,
    /// Its customer at that time.
    pub customer: Option<Arc<str>>,
    /// The target.
    pub target: IpAddr,
    /// The kind of question, as the configuration has it.
    pub kind: Arc<str>,
    /// The port; none of ICMP.
    pub port: Option<u16>,
}

/// An hour, or a part of one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hour {
    /// Its number among all blocks.
    pub number: u64,
    /// When it begins, in hours since 1970.
    pub hour: u32,
    /// What each target counted.
    pub counts: BTreeMap<Arc<Asked>, Tally>,
}

impl Hour {
    /// An empty one.
    pub const fn new(number: u64, hour: u32) -> Hour {
        Hour { number, hour, counts: BTreeMap::new() }
    }

    /// Takes in what was counted in it.
    pub fn add(&mut self, counts: BTreeMap<Arc<Asked>, Tally>) {
        for (asked, tally) in counts {
            self.counts.entry(asked).or_default().join(&tally);
        }
    }
}

impl Kept for Hour {
    const MAGIC: [u8; 4] = *b"SPH1";
    const SUFFIX: &'static str = ".hours";
    const SPAN_S: u64 = 3600;

    fn number(&self) -> u64 {
        self.number
    }

    fn span(&self) -> u32 {
        self.hour
    }

    fn encode(&self, octets: &mut Vec<u8>) {
        let names = |asked: &'_ Arc<Asked>| {
            let Asked { probe, vif, customer, kind, .. } = &**asked;
            [Some(probe.clone()), Some(vif.clone()), customer.clone(), Some(kind.clone())]
        };
        let mut words: Vec<Arc<str>> = self.counts.keys().flat_map(names).flatten().collect();
        words.sort_unstable();
        words.dedup();
        put(octets, self.number);
        put(octets, words.len() as u64);
        words.iter().for_each(|word| put_text(octets, word));
        put(octets, self.counts.len() as u64);
        for (asked, tally) in &self.counts {
            for name in names(asked) {
                let at = name.and_then(|name| words.binary_search(&name).ok());
                put(octets, at.map_or(0, |at| at as u64 + 1));
            }
            put(octets, asked.port.map_or(0, u64::from));
            match asked.target {
                IpAddr::V4(address) => put_address(octets, &address.octets()),
                IpAddr::V6(address) => put_address(octets, &address.octets()),
            }
            tally.encode(octets);
        }
    }

    fn decode(hour: u32, octets: &[u8], names: &mut Names) -> Option<Hour> {
        let mut from = octets;
        let mut read = Hour::new(take(&mut from)?, hour);
        let mut words = Vec::new();
        for _ in 0..take(&mut from)? {
            words.push(names.get(take_text(&mut from)?));
        }
        for _ in 0..take(&mut from)? {
            let mut word = || match usize::try_from(take(&mut from)?).ok()? {
                0 => Some(None),
                at => Some(Some(words.get(at - 1)?.clone())),
            };
            let (probe, vif, customer, kind) = (word()??, word()??, word()?, word()??);
            let port = Some(u16::try_from(take(&mut from)?).ok()?).filter(|port| *port > 0);
            let target = take_address(&mut from)?;
            let asked = Asked { probe, vif, customer, target, kind, port };
            read.counts.insert(Arc::new(asked), Tally::decode(&mut from)?);
        }
        from.is_empty().then_some(read)
    }

    fn join(&mut self, other: Hour) {
        self.number = self.number.max(other.number);
        self.add(other.counts);
    }
}

fn put_address(octets: &mut Vec<u8>, address: &[u8]) {
    put(octets, address.len() as u64);
    octets.extend_from_slice(address);
}

fn take_address(from: &mut &[u8]) -> Option<IpAddr> {
    let length = usize::try_from(take(from)?).ok()?;
    let (address, rest) = from.split_at_checked(length)?;
    *from = rest;
    match length {
        4 => Some(Ipv4Addr::from(<[u8; 4]>::try_from(address).ok()?).into()),
        16 => Some(Ipv6Addr::from(<[u8; 16]>::try_from(address).ok()?).into()),
        _ => None,
    }
}
