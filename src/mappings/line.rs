//! A line of a controller: what it asks for, or what is wrong with it and what to write instead.

use std::borrow::Cow;
use std::net::IpAddr;

use ipnet::IpNet;
use serde::Deserialize;

use super::{Hop, MAX_HOPS};
use crate::config::{MAX_WEIGHT, unroutable, wrong_weights};
use crate::wire::ethernet::Mac;

const EXAMPLE: &str =
    r#"{"add":{"vrf":"acme","prefix":"10.2.0.0/24","via":[{"vtep":"10.255.1.2"}]}}"#;

/// What a line is.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(super) enum Line<'a> {
    /// A prefix leads into tunnels from now on.
    #[serde(borrow)]
    Add(Add<'a>),
    /// It does not any more.
    #[serde(borrow)]
    Del(Del<'a>),
    /// A sync begins.
    Begin(Mark),
    /// What came since the last is to hold.
    Commit(Commit),
    /// The sync has named all.
    End(End),
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Add<'a> {
    #[serde(borrow)]
    pub vrf: Cow<'a, str>,
    #[serde(borrow)]
    prefix: Cow<'a, str>,
    #[serde(borrow)]
    via: Vec<Via<'a>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Via<'a> {
    #[serde(borrow)]
    vtep: Cow<'a, str>,
    #[serde(borrow, default)]
    vif: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    mac: Option<Cow<'a, str>>,
    #[serde(default = "one")]
    weight: u64,
}

const fn one() -> u64 {
    1
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Del<'a> {
    #[serde(borrow)]
    pub vrf: Cow<'a, str>,
    #[serde(borrow)]
    prefix: Cow<'a, str>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Mark {
    pub generation: u64,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Commit {
    #[serde(default)]
    pub position: Option<u64>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct End {
    pub generation: u64,
    #[serde(default)]
    pub position: Option<u64>,
}

/// Reads a line.
pub(super) fn read(line: &[u8]) -> Result<Line<'_>, String> {
    serde_json::from_slice(line).map_err(|error| {
        format!("{error}; write one of add, del, begin, commit and end, like {EXAMPLE}")
    })
}

impl Add<'_> {
    pub fn prefix(&self) -> Result<IpNet, String> {
        prefix(&self.prefix)
    }

    /// The next hops, in order.
    pub fn hops(&self) -> Result<Vec<Hop>, String> {
        if self.via.is_empty() {
            return Err(r#"via: there is none; write [{"vtep":"10.255.1.2"}], or a del"#.to_owned());
        }
        if self.via.len() > MAX_HOPS {
            return Err(format!("via: there are {}; use at most {MAX_HOPS}", self.via.len()));
        }
        let hops: Result<Vec<Hop>, String> = self.via.iter().map(Via::hop).collect();
        let mut hops = hops?;
        if let Some((message, help)) = wrong_weights(hops.iter().map(|hop| hop.weight)) {
            return Err(format!("via: {message}; {help}"));
        }
        if hops.len() == 1 {
            return Ok(hops);
        }
        let key = |hop: &Hop| (hop.vtep, hop.vif.clone(), hop.mac.map(Mac::to_bits));
        hops.sort_by_cached_key(key);
        if let Some(two) = hops.windows(2).find(|two| key(&two[0]) == key(&two[1])) {
            return Err(format!(
                "via: vtep {} is there twice; write it once, with a weight",
                two[0].vtep
            ));
        }
        Ok(hops)
    }
}

impl Del<'_> {
    pub fn prefix(&self) -> Result<IpNet, String> {
        prefix(&self.prefix)
    }
}

impl Via<'_> {
    fn hop(&self) -> Result<Hop, String> {
        let vtep: IpAddr = self.vtep.parse().map_err(|_| {
            format!("vtep: {:?} is not an address; write one like \"10.255.1.2\"", self.vtep)
        })?;
        let mac = match self.mac.as_deref() {
            None => None,
            Some(text) => Some(router_mac(text)?),
        };
        let weight = u16::try_from(self.weight).ok().filter(|weight| *weight <= MAX_WEIGHT);
        let weight = weight.ok_or_else(|| {
            format!("weight: {} is none; write 1 to {MAX_WEIGHT}, or 0 for a backup", self.weight)
        })?;
        Ok(Hop { vtep, vif: self.vif.as_deref().map(Into::into), mac, weight })
    }
}

fn router_mac(text: &str) -> Result<Mac, String> {
    let mac = text.parse::<Mac>().ok().filter(|mac| !mac.is_group() && *mac != Mac::default());
    mac.ok_or_else(|| {
        format!("mac: {text:?} is not the MAC of one router; write one like \"02:00:00:00:00:01\"")
    })
}

/// A prefix that some VRF can have a route to.
fn prefix(text: &str) -> Result<IpNet, String> {
    let net: IpNet = text.parse().map_err(|_| {
        format!("prefix: {text:?} is none; write an address and a length, like \"10.2.0.0/24\"")
    })?;
    if net.trunc() != net {
        return Err(format!(
            "prefix: {net} has bits set after /{}; write \"{}\"",
            net.prefix_len(),
            net.trunc()
        ));
    }
    match unroutable(&net, None) {
        Some(why) => Err(format!("prefix: {why}; leave it out")),
        None => Ok(net),
    }
}
