//! Changes of single fields of the file's tables, and new and deleted ones: every field that the file has can
//! be set by its name there, and the file's own errors say what is wrong with a value.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};
use toml_edit::{DocumentMut, Table, Value};

use super::document::{self, field};
use super::edit::{self, EditError};
use super::model::{Config, ExchangeConfig, VifConfig};
use super::secrets::is_secret;

/// Fields whose values are texts, whatever they look like: a customer may be called 007.
const TEXTS: [&str; 19] = [
    "customer",
    "description",
    "circuit",
    "password",
    "interface",
    "port",
    "vlan",
    "vrf",
    "peer",
    "meter_group",
    "qos",
    "acl_in",
    "acl_out",
    "vtep",
    "station",
    "address",
    "mac",
    "from",
    "to",
];

/// A table of the file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Place {
    /// The `[[port]]` of this name.
    Port(String),
    /// The `[[vrf]]` of this name.
    Vrf(String),
    /// The `[[vtep]]` of this name.
    Vtep(String),
    /// The `[[meter_group]]` of this name.
    MeterGroup(String),
    /// The `[[address_limit]]` of this name.
    AddressLimit(String),
    /// The `[[exchange]]` of this name.
    Exchange(String),
    /// The `[[vif]]` of this name.
    Vif(String),
    /// A `[[vif.bgp]]`.
    Bgp {
        /// Name of the VIF.
        vif: String,
        /// The peer.
        peer: IpAddr,
    },
}

/// What is set in a table, or the table itself.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fields {
    /// Which table.
    pub place: Place,
    /// Values by field, as in the file; a text needs no quotes.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub set: BTreeMap<String, String>,
    /// Fields that get their defaults.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unset: Vec<String>,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use Place::{AddressLimit, Bgp, Exchange, MeterGroup, Port, Vif, Vrf, Vtep};
        match self {
            Port(name) | Vrf(name) | Vtep(name) | MeterGroup(name) | AddressLimit(name)
            | Exchange(name) | Vif(name) => {
                write!(f, "{} {name}", self.kind())
            }
            Bgp { vif, peer } => write!(f, "{} {vif} {peer}", self.kind()),
        }
    }
}

impl Place {
    /// What the file calls tables of this kind.
    const fn kind(&self) -> &'static str {
        match self {
            Place::Port(_) => "port",
            Place::Vrf(_) => "vrf",
            Place::Vtep(_) => "vtep",
            Place::MeterGroup(_) => "meter_group",
            Place::AddressLimit(_) => "address_limit",
            Place::Exchange(_) => "exchange",
            Place::Vif(_) => "vif",
            Place::Bgp { .. } => "bgp",
        }
    }
}

impl Fields {
    /// What is set, secrets apart.
    fn shown(&self) -> impl Iterator<Item = (&str, &str)> {
        let shown = |value, secret| if secret { "(hidden)" } else { value };
        self.set.iter().map(move |(key, value)| (&**key, shown(&**value, is_secret(key))))
    }
}

impl fmt::Display for Fields {
    /// As it is typed, secrets apart.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.shown().try_for_each(|(key, value)| write!(f, " {key}={value}"))?;
        self.unset.iter().try_for_each(|key| write!(f, " --unset {key}"))
    }
}

impl fmt::Debug for Fields {
    /// The log has requests so: secrets apart.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let set: BTreeMap<&str, &str> = self.shown().collect();
        let mut fields = f.debug_struct("Fields");
        fields.field("place", &self.place).field("set", &set).field("unset", &self.unset).finish()
    }
}

/// Changes fields of a table.
///
/// # Errors
/// There is no such table or field, or the field is what the table is found by.
pub fn set(text: &str, fields: &Fields) -> Result<String, EditError> {
    let mut file = document::read(text)?;
    let table = table(&mut file, &fields.place)?;
    write(table, fields)?;
    Ok(file.to_string())
}

/// Appends a port, a VRF, a VTEP, a meter group, a limit of addresses or an exchange, or a BGP session to its VIF.
///
/// # Errors
/// It is there already, or is another kind of thing.
pub fn add(text: &str, fields: &Fields) -> Result<String, EditError> {
    let mut file = document::read(text)?;
    if table(&mut file, &fields.place).is_ok() {
        let message = format!("{} is there already: `set` changes it", fields.place);
        return Err(EditError::Conflict(message));
    }
    let mut new = Table::new();
    match &fields.place {
        Place::Port(name)
        | Place::Vrf(name)
        | Place::Vtep(name)
        | Place::MeterGroup(name)
        | Place::AddressLimit(name)
        | Place::Exchange(name) => {
            document::put(&mut new, "name", name.into());
            write(&mut new, fields)?;
            document::append(&mut file, fields.place.kind(), new)?;
        }
        Place::Bgp { vif, peer } => {
            document::put(&mut new, "peer", peer.to_string().into());
            write(&mut new, fields)?;
            new.decor_mut().set_prefix("\n");
            let vif = document::named(&mut file, "vif", vif)?;
            // Without a position it is written behind what the VIF has already.
            document::tables(vif, "bgp")?.push(new);
        }
        Place::Vif(_) => {
            return Err(EditError::Conflict(format!("{} cannot be added so", fields.place)));
        }
    }
    Ok(file.to_string())
}

/// Deletes a port, a VRF, a VTEP, a meter group or a limit of addresses that nothing uses, an exchange, or a BGP session.
///
/// # Errors
/// It is not there, is used, or is another kind of thing.
pub fn del(text: &str, config: &Config, place: &Place) -> Result<String, EditError> {
    let mut file = document::read(text)?;
    let found = match place {
        Place::Port(name)
        | Place::Vrf(name)
        | Place::Vtep(name)
        | Place::MeterGroup(name)
        | Place::AddressLimit(name)
        | Place::Exchange(name) => {
            edit::refuse_used(place, &users(config, place))?;
            document::delete(&mut file, place.kind(), |table| field(table, "name") == Some(name))?
        }
        Place::Bgp { vif, peer } => {
            let within = document::named(&mut file, "vif", vif)?;
            let taken = document::take(within, "bgp", |table| is_session(table, *peer))?;
            taken.iter().for_each(|table| document::keep_comments(&mut file, table));
            taken.is_some()
        }
        Place::Vif(_) => {
            return Err(EditError::Conflict(format!("{place} cannot be deleted so")));
        }
    };
    if found { Ok(file.to_string()) } else { Err(not_found(place)) }
}

fn table<'a>(document: &'a mut DocumentMut, place: &Place) -> Result<&'a mut Table, EditError> {
    use Place::{AddressLimit, Bgp, Exchange, MeterGroup, Port, Vif, Vrf, Vtep};
    match place {
        Port(name) | Vrf(name) | Vtep(name) | MeterGroup(name) | AddressLimit(name)
        | Exchange(name) | Vif(name) => document::named(document, place.kind(), name),
        Bgp { vif, peer } => {
            let vif = document::named(document, "vif", vif)?;
            let found =
                document::tables(vif, "bgp")?.iter_mut().find(|table| is_session(table, *peer));
            found.ok_or_else(|| not_found(place))
        }
    }
}

fn is_session(table: &Table, peer: IpAddr) -> bool {
    field(table, "peer").and_then(|text| text.parse().ok()) == Some(peer)
}

fn not_found(place: &Place) -> EditError {
    EditError::NotFound(format!("there is no {place}"))
}

fn write(table: &mut Table, fields: &Fields) -> Result<(), EditError> {
    let key_of = match fields.place {
        Place::Bgp { .. } => "peer",
        _ => "name",
    };
    for key in fields.set.keys().chain(&fields.unset) {
        let message = match key.as_str() {
            key if key == key_of => {
                format!("{key} stays: delete the {} and add another", fields.place)
            }
            "bgp" => "sessions have commands of their own: `stationctl bgp add|del|set`".to_owned(),
            _ => continue,
        };
        return Err(EditError::Conflict(message));
    }
    if let Some(key) = fields.unset.iter().find(|key| !table.contains_key(key)) {
        let message = format!("{} has no {key} that could be unset", fields.place);
        return Err(EditError::NotFound(message));
    }
    fields.unset.iter().for_each(|key| drop(table.remove(key)));
    for (key, text) in &fields.set {
        document::put(table, key, parsed(key, text));
    }
    Ok(())
}

/// A value as the file would have it; what is none is a text.
fn parsed(key: &str, text: &str) -> Value {
    match text.parse() {
        Ok(value) if !TEXTS.contains(&key) => value,
        _ => text.into(),
    }
}

/// What of the configuration is in a VRF or a meter group, on a port or a VTEP, or has a limit of addresses.
fn users(config: &Config, place: &Place) -> Vec<String> {
    let vrf = if let Place::Vrf(name) = place { Some(&**name) } else { None };
    let is_in = |vif: &VifConfig| match place {
        Place::Vrf(name) => *vif.vrf == **name,
        // No port is called as a VTEP.
        Place::Port(name) | Place::Vtep(name) => *vif.port == **name,
        Place::MeterGroup(name) => vif.meter_group.as_deref() == Some(name),
        Place::AddressLimit(name) => {
            vif.address_limits.iter().flatten().any(|limit| **limit == **name)
        }
        Place::Vif(_) | Place::Exchange(_) | Place::Bgp { .. } => false,
    };
    let vifs = config.vifs.iter().filter(|vif| is_in(vif));
    let vifs = vifs.map(|vif| format!("vif {}", vif.name));
    let vteps = config.vteps.iter().filter(|vtep| vrf == Some(&*vtep.vrf));
    let vteps = vteps.map(|vtep| format!("vtep {}", vtep.name));
    let routes = config.routes.iter().filter(|route| vrf == Some(&*route.vrf));
    let routes = routes.map(|route| format!("route {}", route.prefix));
    let lists = config.route_lists.iter().filter(|list| vrf == Some(&*list.vrf));
    let lists = lists.map(|list| format!("route list {}", list.file.display()));
    let joins =
        |exchange: &&ExchangeConfig| vrf == Some(&*exchange.from) || vrf == Some(&*exchange.to);
    let exchanges = config.exchanges.iter().filter(joins);
    let exchanges = exchanges.map(|exchange| format!("exchange {}", exchange.name));
    vifs.chain(vteps).chain(routes).chain(lists).chain(exchanges).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_shows_a_password_that_is_set() {
        let place = Place::Bgp { vif: "a".into(), peer: "10.0.0.2".parse().unwrap() };
        let set = [("hold_s", "30"), ("password", "S3CR3T")];
        let set = set.map(|(key, value)| (key.to_owned(), value.to_owned())).into();
        let fields = Fields { place, set, unset: Vec::new() };
        for text in [format!("{fields}"), format!("{fields:?}"), format!("{fields:#?}")] {
            assert!(text.contains("hidden") && text.contains("30"), "{text}");
            assert!(!text.contains("S3CR3T"), "{text}");
        }
    }
}
