//! Changes to a configuration file's text. Comments and layout stay. The new text is not validated
//! here: it goes the way of any other file.

use std::net::IpAddr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use toml_edit::{Array, ArrayOfTables, DocumentMut, InlineTable, Item, Table, value};

use super::model::{Config, RouteAction};
use crate::tables::{SourceCheck, VifKind};

/// Most users of a VIF that a refusal names.
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
    /// Its share; 1 if not given.
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

/// A new VIF. What is not given has the configuration file's default.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VifAdd {
    /// Its name.
    pub name: String,
    /// Name of its port.
    pub port: String,
    /// `100` or `100.200`.
    pub vlan: String,
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
    table["port"] = value(&vif.port);
    table["vlan"] = value(&vif.vlan);
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
        table["source_check"] = value(match check {
            SourceCheck::Strict => "strict",
            SourceCheck::Loose => "loose",
            SourceCheck::Off => "off",
        });
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
    let users = users(config, name);
    if !users.is_empty() {
        let mut list = users.iter().take(NAMED).cloned().collect::<Vec<_>>().join(", ");
        if users.len() > NAMED {
            list.push_str(&format!(" and {} more", users.len() - NAMED));
        }
        let message = format!("vif {name:?} is still used by {list}: delete that first");
        return Err(EditError::Conflict(message));
    }
    let mut document = read(text)?;
    match delete(&mut document, "vif", |table| field(table, "name") == Some(name))? {
        true => Ok(document.to_string()),
        false => Err(no_vif(name)),
    }
}

/// Sets a VIF up or down.
pub fn vif_set_up(text: &str, name: &str, up: bool) -> Result<String, EditError> {
    let mut document = read(text)?;
    let tables = tables(&mut document, "vif")?;
    let vif = tables.iter_mut().find(|table| field(table, "name") == Some(name));
    let vif = vif.ok_or_else(|| no_vif(name))?;
    match vif.get_mut("up").and_then(Item::as_value_mut) {
        Some(old) => {
            let decor = old.decor().clone();
            *old = up.into();
            *old.decor_mut() = decor;
        }
        // The default.
        None if up => {}
        None => vif["up"] = value(false),
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

fn no_vif(name: &str) -> EditError {
    EditError::NotFound(format!("there is no vif {name:?}"))
}

fn read(text: &str) -> Result<DocumentMut, EditError> {
    text.parse().map_err(|error: toml_edit::TomlError| {
        EditError::Conflict(format!("the file is not valid: {}", error.message()))
    })
}

fn field<'a>(table: &'a Table, key: &str) -> Option<&'a str> {
    table.get(key)?.as_str()
}

/// The array of tables under `key`, made if it is not there. An array of inline tables becomes one.
fn tables<'a>(
    document: &'a mut DocumentMut,
    key: &str,
) -> Result<&'a mut ArrayOfTables, EditError> {
    let item = document.entry(key).or_insert(Item::ArrayOfTables(ArrayOfTables::new()));
    if !item.is_array_of_tables() {
        item.make_value();
        let made = std::mem::take(item).into_array_of_tables();
        *item = made.map_or_else(|item| item, Item::ArrayOfTables);
    }
    item.as_array_of_tables_mut()
        .ok_or_else(|| EditError::Conflict(format!("{key} is not a list of tables")))
}

fn append(document: &mut DocumentMut, key: &str, mut table: Table) -> Result<(), EditError> {
    // What stands after the last table, comments for example, stays before the new one.
    let mut before = document.trailing().as_str().unwrap_or_default().to_owned();
    before.push('\n');
    document.set_trailing("");
    table.decor_mut().set_prefix(before);
    table.set_position(Some(last_position(document) + 1));
    tables(document, key)?.push(table);
    Ok(())
}

/// Deletes the first table under `key` that matches, with the comment right above it; comments that
/// a blank line sets apart stay. False where none matches.
fn delete(
    document: &mut DocumentMut,
    key: &str,
    matches: impl Fn(&Table) -> bool,
) -> Result<bool, EditError> {
    let tables = tables(document, key)?;
    let Some(index) = tables.iter().position(matches) else { return Ok(false) };
    let table = tables.get(index).cloned().unwrap_or_default();
    tables.remove(index);
    if tables.is_empty() {
        document.remove(key);
    }
    let prefix = table.decor().prefix().and_then(|prefix| prefix.as_str()).unwrap_or_default();
    let kept = match prefix.rfind("\n\n") {
        Some(blank) => &prefix[..=blank],
        None => "",
    };
    if !kept.trim().is_empty() {
        keep_comment(document, kept, table.position().unwrap_or_default());
    }
    Ok(true)
}

/// Puts a comment before the first table after `position`, or at the end of the file.
fn keep_comment(document: &mut DocumentMut, comment: &str, position: isize) {
    let next = all_positions(document).into_iter().filter(|&at| at > position).min();
    match next.and_then(|next| table_at(document.as_table_mut(), next)) {
        Some(next) => {
            let old = next.decor().prefix().and_then(|prefix| prefix.as_str()).unwrap_or_default();
            let prefix = format!("{comment}{old}");
            next.decor_mut().set_prefix(prefix);
        }
        None => {
            let old = document.trailing().as_str().unwrap_or_default();
            let trailing = format!("{comment}{old}");
            document.set_trailing(trailing);
        }
    }
}

/// The positions of a table's header and of those below it.
fn positions(table: &Table, into: &mut Vec<isize>) {
    into.extend(table.position());
    for (_, item) in table.iter() {
        match item {
            Item::Table(table) => positions(table, into),
            Item::ArrayOfTables(array) => array.iter().for_each(|table| positions(table, into)),
            _ => {}
        }
    }
}

/// The table whose header is at `position`.
fn table_at(table: &mut Table, position: isize) -> Option<&mut Table> {
    if table.position() == Some(position) {
        return Some(table);
    }
    table.iter_mut().find_map(|(_, item)| match item {
        Item::Table(table) => table_at(table, position),
        Item::ArrayOfTables(array) => array.iter_mut().find_map(|table| table_at(table, position)),
        _ => None,
    })
}

/// The positions of all headers in the file.
fn all_positions(document: &DocumentMut) -> Vec<isize> {
    let mut all = Vec::new();
    for (_, item) in document.as_table().iter() {
        match item {
            Item::Table(table) => positions(table, &mut all),
            Item::ArrayOfTables(array) => array.iter().for_each(|table| positions(table, &mut all)),
            _ => {}
        }
    }
    all
}

fn last_position(document: &DocumentMut) -> isize {
    all_positions(document).into_iter().max().unwrap_or_default()
}
