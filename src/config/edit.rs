//! Changes to a configuration file's text. Comments and layout stay. The new text is not validated
//! here: it goes the way of any other file.

use std::fmt::Display;
use std::net::IpAddr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use toml_edit::{Array, InlineTable, Table, value};

use super::document::{append, delete, field, named, put, read};
use super::model::{Config, RouteAction};
use crate::tables::{SourceCheck, VifKind};

/// Most users of a thing that a refusal names.
const NAMED: usize = 5;

/// A next hop as the configuration file has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Via {
    /// The neighbor.
    pub address: IpAddr,
    /// Its VIF, where the address alone does not say it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vif: Option<String>,
    /// Its share, 1 if not given; 0 for a backup.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weight: Option<u16>,
}

/// What a route without next hops does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    /// Drops silently.
    Blackhole,
    /// Answers with ICMP unreachable.
    Unreachable,
    /// Answers with ICMP administratively prohibited.
    Prohibit,
}

impl Action {
    /// As in the configuration file.
    pub const fn word(self) -> &'static str {
        match self {
            Action::Blackhole => "blackhole",
            Action::Unreachable => "unreachable",
            Action::Prohibit => "prohibit",
        }
    }
}

/// A new route: `via` or `action`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RouteAdd {
    /// Name of the VRF.
    pub vrf: String,
    /// The destination.
    pub prefix: IpNet,
    /// The next hops.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub via: Vec<Via>,
    /// What to do instead of forwarding.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub action: Option<Action>,
}

/// A route that is to go.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RouteDel {
    /// Name of the VRF.
    pub vrf: String,
    /// The destination.
    pub prefix: IpNet,
}

/// The other end of a tunnel as the configuration file has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RemoteAdd {
    /// The VTEP's address.
    pub address: IpAddr,
    /// The MAC of the router there.
    pub mac: String,
}

/// A new VIF: a VLAN of a port, or a VNI of a VTEP. What is not given has the configuration file's default.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VifAdd {
    /// Its name.
    pub name: String,
    /// Name of its port.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<String>,
    /// `100` or `100.200`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vlan: Option<String>,
    /// Name of its VTEP, in place of a port.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vtep: Option<String>,
    /// VXLAN's network identifier.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vni: Option<u32>,
    /// The VTEPs at the other ends of its tunnels.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub remotes: Vec<RemoteAdd>,
    /// The other station whose these are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub station: Option<String>,
    /// Its packets may go to other stations, and theirs come to it.
    #[serde(default)]
    pub join_stations: bool,
    /// The outer tag is 802.1ad.
    #[serde(default)]
    pub service_tag: bool,
    /// The product, on customer ports.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<VifKind>,
    /// Name of its VRF.
    pub vrf: String,
    /// The router's addresses with their subnets.
    pub addresses: Vec<IpNet>,
    /// Longest IP packet, in octets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mtu: Option<u16>,
    /// The check of source addresses.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source_check: Option<SourceCheck>,
    /// A fixed priority, 0-7.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pcp: Option<u8>,
    /// Starts administratively down.
    #[serde(default)]
    pub down: bool,
    /// The customer whose it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub customer: Option<String>,
    /// What it is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// The circuit, order or service that it belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub circuit: Option<String>,
}

/// Why a change cannot be made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EditError {
    /// What it is about does not exist.
    #[error("{0}")]
    NotFound(String),
    /// Something else stands against it.
    #[error("{0}")]
    Conflict(String),
}

/// Appends a route.
pub fn route_add(text: &str, route: &RouteAdd) -> Result<String, EditError> {
    let mut document = read(text)?;
    let mut table = Table::new();
    table["vrf"] = value(&route.vrf);
    table["prefix"] = value(route.prefix.to_string());
    if !route.via.is_empty() {
        let members = route.via.iter().map(|via| {
            let mut member = InlineTable::new();
            member.insert("address", via.address.to_string().into());
            if let Some(vif) = &via.vif {
                member.insert("vif", vif.into());
            }
            if let Some(weight) = via.weight {
                member.insert("weight", i64::from(weight).into());
            }
            member
        });
        table["via"] = value(Array::from_iter(members));
    }
    if let Some(action) = route.action {
        table["action"] = value(action.word());
    }
    append(&mut document, "route", table)?;
    Ok(document.to_string())
}

/// Deletes a `[[route]]`.
pub fn route_del(text: &str, config: &Config, route: &RouteDel) -> Result<String, EditError> {
    let mut document = read(text)?;
    let found = delete(&mut document, "route", |table| {
        let prefix = field(table, "prefix").and_then(|prefix| prefix.parse().ok());
        field(table, "vrf") == Some(&route.vrf) && prefix == Some(route.prefix)
    })?;
    if found {
        return Ok(document.to_string());
    }
    let list = config
        .route_lists
        .iter()
        .find(|list| *list.vrf == *route.vrf && list.prefixes.binary_search(&route.prefix).is_ok());
    let (prefix, vrf) = (route.prefix, &route.vrf);
    Err(match list {
        Some(list) => EditError::Conflict(format!(
            "{prefix} comes from {}: edit that file and reload",
            list.file.display()
        )),
        None => EditError::NotFound(format!("vrf {vrf:?} has no [[route]] for {prefix}")),
    })
}

/// Appends a VIF.
pub fn vif_add(text: &str, vif: &VifAdd) -> Result<String, EditError> {
    let mut document = read(text)?;
    let mut table = Table::new();
    table["name"] = value(&vif.name);
    let texts = [
        ("customer", &vif.customer),
        ("description", &vif.description),
        ("circuit", &vif.circuit),
        ("port", &vif.port),
        ("vlan", &vif.vlan),
        ("vtep", &vif.vtep),
    ];
    for (key, text) in texts {
        if let Some(text) = text {
            table[key] = value(text);
        }
    }
    if let Some(vni) = vif.vni {
        table["vni"] = value(i64::from(vni));
    }
    if !vif.remotes.is_empty() {
        let remotes = vif.remotes.iter().map(|remote| {
            let mut table = InlineTable::new();
            table.insert("address", remote.address.to_string().into());
            table.insert("mac", remote.mac.as_str().into());
            table
        });
        table["remotes"] = value(Array::from_iter(remotes));
    }
    if let Some(station) = &vif.station {
        table["station"] = value(station);
    }
    if vif.join_stations {
        table["join_stations"] = value(true);
    }
    if vif.service_tag {
        table["service_tag"] = value(true);
    }
    if let Some(kind) = vif.kind {
        table["kind"] = value(match kind {
            VifKind::Private => "private",
            VifKind::Public => "public",
            VifKind::Transit => "transit",
        });
    }
    table["vrf"] = value(&vif.vrf);
    table["addresses"] = value(Array::from_iter(vif.addresses.iter().map(ToString::to_string)));
    if let Some(mtu) = vif.mtu {
        table["mtu"] = value(i64::from(mtu));
    }
    if let Some(check) = vif.source_check {
        table["source_check"] = value(check.name());
    }
    if let Some(pcp) = vif.pcp {
        table["pcp"] = value(i64::from(pcp));
    }
    if vif.down {
        table["up"] = value(false);
    }
    append(&mut document, "vif", table)?;
    Ok(document.to_string())
}

/// Deletes a VIF that nothing uses.
pub fn vif_del(text: &str, config: &Config, name: &str) -> Result<String, EditError> {
    refuse_used(&format!("vif {name:?}"), &users(config, name))?;
    let mut document = read(text)?;
    match delete(&mut document, "vif", |table| field(table, "name") == Some(name))? {
        true => Ok(document.to_string()),
        false => Err(EditError::NotFound(format!("there is no vif {name:?}"))),
    }
}

/// Refuses to delete what is still used.
pub(super) fn refuse_used(what: &impl Display, users: &[String]) -> Result<(), EditError> {
    if users.is_empty() {
        return Ok(());
    }
    let mut list = users.iter().take(NAMED).cloned().collect::<Vec<_>>().join(", ");
    if users.len() > NAMED {
        list.push_str(&format!(" and {} more", users.len() - NAMED));
    }
    Err(EditError::Conflict(format!("{what} is still used by {list}: delete that first")))
}

/// Sets a VIF up or down.
pub fn vif_set_up(text: &str, name: &str, up: bool) -> Result<String, EditError> {
    let mut document = read(text)?;
    let vif = named(&mut document, "vif", name)?;
    // The default is not written.
    if !up || vif.contains_key("up") {
        put(vif, "up", up.into());
    }
    Ok(document.to_string())
}

/// What of the configuration leads to or stands on a VIF.
fn users(config: &Config, vif: &str) -> Vec<String> {
    let routes = config.routes.iter().filter_map(|route| match &route.action {
        RouteAction::Via(hops) if hops.iter().any(|hop| *hop.vif == *vif) => {
            Some(format!("route {} of vrf {}", route.prefix, route.vrf))
        }
        _ => None,
    });
    let lists = config
        .route_lists
        .iter()
        .filter(|list| list.via4.iter().chain(&list.via6).any(|hop| *hop.vif == *vif));
    let lists = lists.map(|list| format!("route list {}", list.file.display()));
    let neighbors = config.neighbors.iter().filter(|neighbor| *neighbor.vif == *vif);
    let neighbors = neighbors.map(|neighbor| format!("neighbor {}", neighbor.address));
    routes.chain(lists).chain(neighbors).collect()
}
