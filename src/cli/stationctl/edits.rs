//! Commands that edit the configuration, and what goes with each.

use std::io;

use clap::{Args, Subcommand};
use ipnet::IpNet;

use super::args::words;
use super::tunnels::remote;
use crate::admin::protocol::{
    Action, Fields, Place, RemoteAdd, Request, RouteAdd, RouteDel, Terms, Via, VifAdd, VifName,
};
use crate::tables::{SourceCheck, VifKind};

/// Commands that edit, and what goes with them.
#[derive(Args, Debug)]
pub(super) struct Edit<C: Subcommand> {
    #[command(flatten)]
    pub(super) terms: TermsArgs,
    #[command(subcommand)]
    pub(super) command: C,
}

#[derive(Args, Debug)]
pub(super) struct TermsArgs {
    /// Why, for the history: one line, an order's number for example
    #[arg(long, global = true, value_name = "TEXT")]
    comment: Option<String>,
    #[command(flatten)]
    yes: Yes,
    /// Do not wait for BIRD
    ///
    /// A change is answered when BIRD does as it says, or after 10 s with what is pending. With this it is answered
    /// when it is committed. The event routing_followed says when BIRD has followed.
    #[arg(long, global = true)]
    no_wait: bool,
}

#[derive(Args, Debug)]
pub(super) struct Yes {
    /// Go on where live service is cut; otherwise a terminal is asked, and all else refused
    #[arg(long, global = true)]
    yes: bool,
}

impl Yes {
    pub(super) fn terms(&self) -> Terms {
        Terms { yes: self.yes, ..Terms::default() }
    }
}

impl TermsArgs {
    pub(super) fn terms(&self) -> Terms {
        Terms { comment: self.comment.clone(), yes: self.yes.yes, no_wait: self.no_wait }
    }
}

#[derive(Subcommand, Debug)]
pub(super) enum Route {
    /// Add a route, at once and in the configuration file
    #[command(group = clap::ArgGroup::new("what").required(true).args(["via", "action"]))]
    Add {
        /// Name of the VRF
        #[arg(long, value_name = "NAME")]
        vrf: String,
        /// The destination
        prefix: IpNet,
        /// A next hop; several share the traffic by weight (1-64; 0 is a backup). Link-local ones need their VIF
        #[arg(long, value_name = "ADDRESS[%VIF][,WEIGHT]", value_parser = via)]
        via: Vec<Via>,
        /// What to do instead of forwarding
        #[arg(long, value_parser = words(&[
            ("blackhole", Action::Blackhole), ("unreachable", Action::Unreachable),
            ("prohibit", Action::Prohibit),
        ]))]
        action: Option<Action>,
    },
    /// Delete a route, at once and in the configuration file
    Del {
        /// Name of the VRF
        #[arg(long, value_name = "NAME")]
        vrf: String,
        /// The destination
        prefix: IpNet,
    },
}

#[derive(Subcommand, Debug)]
pub(super) enum Vif {
    /// Add a VIF, at once and in the configuration file
    Add(Box<NewVif>),
    /// Delete a VIF that no route or neighbor uses
    Del {
        /// Its name
        name: String,
    },
    /// Set a VIF up
    Up {
        /// Its name
        name: String,
    },
    /// Set a VIF down: its frames are dropped and counted
    Down {
        /// Its name
        name: String,
    },
    /// Change fields of a VIF
    ///
    /// All that the configuration file has, but for its name and its sessions. Lists are written as in the
    /// file: addresses='["192.0.2.1/30"]'.
    Set {
        /// Its name
        name: String,
        #[command(flatten)]
        fields: FieldArgs,
    },
}

#[derive(Subcommand, Debug)]
pub(super) enum Vrf {
    /// Add a VRF
    Add {
        /// Its name
        name: String,
        /// What it is for
        #[arg(long, value_parser = ["vpc", "public", "transit", "underlay"])]
        kind: String,
        /// More of its fields, as station.toml(5) names them
        #[arg(value_name = "FIELD=VALUE", value_parser = assignment)]
        set: Vec<(String, String)>,
    },
    /// Delete a VRF that no VIF or route uses
    Del {
        /// Its name
        name: String,
    },
    /// Change fields of a VRF
    Set {
        /// Its name
        name: String,
        #[command(flatten)]
        fields: FieldArgs,
    },
}

/// What is set of a table of the configuration file.
#[derive(Args, Debug)]
#[group(required = true, multiple = true)]
pub(super) struct FieldArgs {
    /// Fields as station.toml(5) names them, and their values; a text needs no quotes of its own. `password=@FILE`
    /// takes it from a file, `password=@-` from standard input
    #[arg(value_name = "FIELD=VALUE", value_parser = assignment)]
    set: Vec<(String, String)>,
    /// Give a field its default
    #[arg(long, value_name = "FIELD")]
    unset: Vec<String>,
}

impl FieldArgs {
    /// The change.
    pub(super) fn of(&self, place: Place) -> Request {
        Request::Set(fields(place, &self.set, &self.unset))
    }
}

/// Fields of a place.
pub(super) fn fields(place: Place, set: &[(String, String)], unset: &[String]) -> Fields {
    Fields { place, set: set.iter().cloned().collect(), unset: unset.to_vec() }
}

/// A new table, with the field that it has to have.
pub(super) fn added(place: Place, (key, value): (&str, &str), set: &[(String, String)]) -> Request {
    let mut fields = fields(place, set, &[]);
    fields.set.insert(key.to_owned(), value.to_owned());
    Request::Add(fields)
}

/// `FIELD=VALUE`. A secret is not given here, where other users of the machine and the shell's history see it.
pub(super) fn assignment(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("write FIELD=VALUE")?;
    let (key, value) = (key.trim().to_owned(), value.trim());
    if key != "password" {
        return Ok((key, value.to_owned()));
    }
    let read = match value.strip_prefix('@') {
        None => {
            return Err("write password=@FILE, or password=@- and give it on standard input".into());
        }
        Some("-") => io::read_to_string(io::stdin()),
        Some(file) => std::fs::read_to_string(file),
    };
    match read {
        Ok(text) => Ok((key, text.trim_end_matches(['\n', '\r']).to_owned())),
        Err(error) => Err(format!("cannot read {value}: {error}")),
    }
}

#[derive(Args, Debug)]
pub(super) struct NewVif {
    /// Its name
    name: String,
    /// Name of its port
    #[arg(long, value_name = "NAME", required_unless_present = "vtep", conflicts_with = "vtep")]
    port: Option<String>,
    /// Its VLAN id, or OUTER.INNER
    #[arg(long, required_unless_present = "vtep", conflicts_with = "vtep")]
    vlan: Option<String>,
    /// Name of its VTEP, where its frames come and go in tunnels (station-vxlan(7))
    #[arg(long, value_name = "NAME", requires = "vni", requires = "remotes")]
    vtep: Option<String>,
    /// VXLAN's network identifier
    #[arg(long, requires = "vtep")]
    vni: Option<u32>,
    /// A VTEP at the other end, and the MAC of the router there; may be repeated
    #[arg(long = "remote", value_name = "ADDRESS,MAC", value_parser = remote, requires = "vtep")]
    remotes: Vec<RemoteAdd>,
    /// The other station whose these are
    #[arg(long, value_name = "NAME", requires = "vtep")]
    station: Option<String>,
    /// Let its packets go to other stations, and theirs to it
    #[arg(long, conflicts_with = "station")]
    join_stations: bool,
    /// The outer tag is 802.1ad (0x88a8)
    #[arg(long)]
    service_tag: bool,
    /// The product; needed on customer ports
    #[arg(long, value_parser = words(&[
        ("private", VifKind::Private), ("public", VifKind::Public), ("transit", VifKind::Transit),
    ]))]
    kind: Option<VifKind>,
    /// Name of its VRF
    #[arg(long, value_name = "NAME")]
    vrf: String,
    /// The router's address with its prefix length, like 169.254.0.1/30; may be repeated
    #[arg(long = "address", value_name = "ADDRESS/LENGTH", required = true)]
    addresses: Vec<IpNet>,
    /// Longest IP packet, in octets
    #[arg(long)]
    mtu: Option<u16>,
    /// The check of source addresses
    #[arg(long, value_parser = words(&SourceCheck::WORDS))]
    source_check: Option<SourceCheck>,
    /// A fixed 802.1p priority for what leaves
    #[arg(long, value_parser = clap::value_parser!(u8).range(0..=7))]
    pcp: Option<u8>,
    /// Leave it down
    #[arg(long)]
    down: bool,
    /// The customer whose it is
    #[arg(long, value_name = "TEXT")]
    customer: Option<String>,
    /// What it is for
    #[arg(long, value_name = "TEXT")]
    description: Option<String>,
    /// The circuit, order or service that it belongs to
    #[arg(long, value_name = "TEXT")]
    circuit: Option<String>,
}

/// A next hop: `10.0.0.2`, `10.0.0.2,3` or `fe80::2%vif,3`.
fn via(text: &str) -> Result<Via, String> {
    let (rest, weight) = match text.split_once(',') {
        Some((rest, weight)) => {
            (rest, Some(weight.parse().map_err(|_| "the weight is no number")?))
        }
        None => (text, None),
    };
    let (address, vif) = match rest.split_once('%') {
        Some((address, vif)) => (address, Some(vif.to_owned())),
        None => (rest, None),
    };
    let address = address.parse().map_err(|_| format!("{address:?} is not an address"))?;
    Ok(Via { address, vif, weight })
}

impl Route {
    pub(super) fn request(&self) -> Request {
        match self {
            Route::Add { vrf, prefix, via, action } => Request::RouteAdd(RouteAdd {
                vrf: vrf.clone(),
                prefix: *prefix,
                via: via.clone(),
                action: *action,
            }),
            Route::Del { vrf, prefix } => {
                Request::RouteDel(RouteDel { vrf: vrf.clone(), prefix: *prefix })
            }
        }
    }
}

impl Vif {
    pub(super) fn request(&self) -> Request {
        let named = |name: &String| VifName { name: name.clone() };
        match self {
            Vif::Add(vif) => Request::VifAdd(Box::new(VifAdd {
                name: vif.name.clone(),
                port: vif.port.clone(),
                vlan: vif.vlan.clone(),
                vtep: vif.vtep.clone(),
                vni: vif.vni,
                remotes: vif.remotes.clone(),
                station: vif.station.clone(),
                join_stations: vif.join_stations,
                service_tag: vif.service_tag,
                kind: vif.kind,
                vrf: vif.vrf.clone(),
                addresses: vif.addresses.clone(),
                mtu: vif.mtu,
                source_check: vif.source_check,
                pcp: vif.pcp,
                down: vif.down,
                customer: vif.customer.clone(),
                description: vif.description.clone(),
                circuit: vif.circuit.clone(),
            })),
            Vif::Del { name } => Request::VifDel(named(name)),
            Vif::Up { name } => Request::VifUp(named(name)),
            Vif::Down { name } => Request::VifDown(named(name)),
            Vif::Set { name, fields } => fields.of(Place::Vif(name.clone())),
        }
    }
}

impl Vrf {
    pub(super) fn request(&self) -> Request {
        match self {
            Vrf::Add { name, kind, set } => added(Place::Vrf(name.clone()), ("kind", kind), set),
            Vrf::Del { name } => Request::Del { place: Place::Vrf(name.clone()) },
            Vrf::Set { name, fields } => fields.of(Place::Vrf(name.clone())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_next_hop_may_have_a_vif_and_a_weight() {
        let parsed = via("fe80::2%core,3").unwrap();
        assert_eq!(parsed.address.to_string(), "fe80::2");
        assert_eq!((parsed.vif.as_deref(), parsed.weight), (Some("core"), Some(3)));
        assert_eq!(via("10.0.0.2").unwrap().weight, None);
        for bad in ["", "10.0.0.2,", "10.0.0.2,x", "10.0.0.2,70000", "%a", "10.0.0.256"] {
            assert!(via(bad).is_err(), "{bad}");
        }
    }
}
