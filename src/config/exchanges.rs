//! `[[exchange]]`: which prefixes of one VRF another one reaches.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use ipnet::IpNet;

use super::address;
use super::diff::Table;
use super::fields::{At, Fields};
use super::labels::changes;
use super::model::VrfConfig;
use super::names::Named;
use super::vifs::Vifs;
use crate::tables::VrfKind;

/// Most exchanges of a station.
const MAX_EXCHANGES: usize = 4096;
/// Most prefixes of one.
const MAX_PREFIXES: usize = 1000;

const EXAMPLE: &str = "[\"10.1.0.0/16\"]";

/// `[[exchange]]`: one direction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExchangeConfig {
    /// The operator's name for it.
    pub name: Arc<str>,
    /// Name of the VRF whose prefixes are reached.
    pub from: Arc<str>,
    /// Name of the VRF that reaches them.
    pub to: Arc<str>,
    /// The destinations.
    pub prefixes: Vec<IpNet>,
    /// The customers that it joins, each of which has agreed.
    pub accepted_by: Vec<String>,
}

impl ExchangeConfig {
    /// Its prefixes, each with the VRF that reaches it.
    pub(super) fn destinations(&self) -> impl Iterator<Item = (&str, IpNet)> {
        self.prefixes.iter().map(|net| (&*self.to, *net))
    }
}

pub(super) fn exchanges(
    root: &Fields<'_>,
    vrfs: &Named<VrfConfig>,
    vifs: &Vifs,
) -> Named<ExchangeConfig> {
    let mut exchanges = Named::new("exchange");
    let mut taken: HashMap<(Arc<str>, IpNet), Range<usize>> = HashMap::new();
    let tables = root.tables("exchange", "[{ ... }]");
    if let Some(extra) = tables.get(MAX_EXCHANGES) {
        let message = format!("there are {} exchanges", tables.len());
        let help = format!("use at most {MAX_EXCHANGES}");
        root.problems.add(&extra.span, "exchange", message, help);
    }
    for fields in tables {
        let name = exchanges.name(&fields);
        let [from, to] = ["from", "to"].map(|key| tenant(&fields, key, vrfs));
        let prefixes = prefixes(&fields, to, vifs, &mut taken);
        let accepted_by = accepted_by(&fields, from, to, vifs);
        if let (Some(from), Some(to)) = (from, to)
            && from.name == to.name
        {
            let help = "name the other VRF: within one no exchange is needed";
            fields.refuse(&fields.span_of("to"), "to", "is the same VRF as from", help);
        }
        let exchange = match (&name, from, to) {
            (Some(name), Some(from), Some(to)) => Some(ExchangeConfig {
                name: name.clone(),
                from: from.name.clone(),
                to: to.name.clone(),
                prefixes,
                accepted_by,
            }),
            _ => None,
        };
        exchanges.add(name.as_ref(), exchange);
        fields.finish();
    }
    exchanges
}

/// A VRF of one tenant. In a public VRF customers are kept apart by other rules, and the underlay is nobody's.
fn tenant<'v>(
    fields: &Fields<'_>,
    key: &'static str,
    vrfs: &'v Named<VrfConfig>,
) -> Option<&'v VrfConfig> {
    let vrf = vrfs.find(fields, key).and_then(|index| vrfs.items().get(index))?;
    if matches!(vrf.kind, VrfKind::Vpc | VrfKind::Transit) {
        return Some(vrf);
    }
    let message = format!("vrf {:?} is of another kind", vrf.name);
    let help = "an exchange joins VRFs of kind \"vpc\" and \"transit\"";
    fields.refuse(&fields.span_of(key), key, message, help);
    None
}

fn prefixes(
    fields: &Fields<'_>,
    to: Option<&VrfConfig>,
    vifs: &Vifs,
    taken: &mut HashMap<(Arc<str>, IpNet), Range<usize>>,
) -> Vec<IpNet> {
    let texts = fields.strings("prefixes", EXAMPLE);
    let span = fields.span_of("prefixes");
    if !fields.has("prefixes") {
        fields.missing("prefixes", &format!("prefixes = {EXAMPLE}"));
    } else if fields.is_empty_array("prefixes") {
        fields.refuse(&span, "prefixes", "there is none", format!("write {EXAMPLE}"));
    } else if texts.len() > MAX_PREFIXES {
        let message = format!("there are {}", texts.len());
        fields.refuse(&span, "prefixes", message, format!("use at most {MAX_PREFIXES}"));
    }
    let mut prefixes = Vec::new();
    for At { value, span } in texts {
        let refuse = |message: String, help: String| {
            fields.refuse(&span, "prefixes", message, help);
        };
        let Ok(net) = value.parse::<IpNet>() else {
            let help = match value.split_once(" le ") {
                Some((net, _)) => format!(
                    "write {net:?}: every destination within it is reached that the VRF in from has a route to"
                ),
                None => "write a prefix like \"10.1.0.0/16\"".to_owned(),
            };
            refuse(format!("{value:?} is not a prefix"), help);
            continue;
        };
        if let Some(why) = address::unroutable(&net, to.map(|vrf| vrf.kind)) {
            refuse(why, format!("write \"{}\", or another prefix that is routed", net.trunc()));
            continue;
        }
        let Some(to) = to else { continue };
        let subnet = vifs.subnets(&to.name).and_then(|subnets| subnets.of(net.network()));
        if let Some(subnet) = subnet.filter(|subnet| subnet.net.contains(&net)) {
            let vif = vifs.items().get(subnet.vif).map_or("", |vif| &*vif.name);
            let message = format!("{net} is in the subnet {} of vif {vif:?}", subnet.net);
            refuse(message, format!("use addresses that vrf {:?} has not itself", to.name));
        } else if let Some(first) = taken.get(&(to.name.clone(), net)) {
            let line = fields.problems.line(first);
            let message = format!("vrf {:?} reaches {net} by line {line} already", to.name);
            refuse(message, "remove one of the two".to_owned());
        } else {
            taken.insert((to.name.clone(), net), span.clone());
            prefixes.push(net);
        }
    }
    prefixes
}

/// The customers that have agreed. Two VRFs are joined that are of the same customer or of nobody; else each customer that
/// owns one of them is named.
fn accepted_by(
    fields: &Fields<'_>,
    from: Option<&VrfConfig>,
    to: Option<&VrfConfig>,
    vifs: &Vifs,
) -> Vec<String> {
    let texts = fields.strings("accepted_by", "[\"acme\", \"other\"]");
    let accepted: Vec<String> = texts.iter().map(|text| text.value.to_owned()).collect();
    let (Some(from), Some(to)) = (from, to) else { return accepted };
    let owner = |vrf: &VrfConfig| vifs.owners.of(&vrf.name);
    let owners = [owner(from), owner(to)];
    for (at, text) in texts.iter().enumerate() {
        if !owners.contains(&Some(text.value)) {
            let message = format!("{:?} owns neither VRF", text.value);
            let help = "name the customers of the VRFs in from and to, and nobody else";
            fields.refuse(&text.span, "accepted_by", message, help);
        } else if accepted[..at].contains(&accepted[at]) {
            let message = format!("{:?} is there twice", text.value);
            fields.refuse(&text.span, "accepted_by", message, "remove one");
        }
    }
    if owners[0] == owners[1] {
        return accepted;
    }
    let missing: Vec<&str> = owners
        .into_iter()
        .flatten()
        .filter(|owner| accepted.iter().all(|accepted| accepted != owner))
        .collect();
    if !missing.is_empty() {
        let of = |vrf: &VrfConfig| match owner(vrf) {
            Some(customer) => format!("vrf {:?} of customer {customer:?}", vrf.name),
            None => format!("vrf {:?} of no customer", vrf.name),
        };
        let message = format!("joins {} and {}", of(from), of(to));
        let named: Vec<String> =
            owners.iter().flatten().map(|owner| format!("{owner:?}")).collect();
        let help = format!("write accepted_by = [{}] once each has agreed", named.join(", "));
        let span = if fields.has("accepted_by") {
            fields.span_of("accepted_by")
        } else {
            fields.span.clone()
        };
        fields.refuse(&span, "accepted_by", message, help);
    }
    accepted
}

/// How exchanges are compared and described.
pub(super) fn table() -> Table<ExchangeConfig, Arc<str>> {
    Table {
        key: |exchange| exchange.name.clone(),
        name: |exchange| exchange.name.to_string(),
        detail: |exchange| {
            let ExchangeConfig { from, to, prefixes, .. } = exchange;
            format!("{} prefixes of vrf {from} to vrf {to}", prefixes.len())
        },
        change: exchange_change,
    }
}

/// What changes of an exchange.
fn exchange_change(a: &ExchangeConfig, b: &ExchangeConfig) -> Option<String> {
    let list = |names: &[String]| if names.is_empty() { "none".into() } else { names.join(" ") };
    let sorted = |exchange: &ExchangeConfig| {
        let mut prefixes = exchange.prefixes.clone();
        prefixes.sort_unstable();
        prefixes.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
    };
    changes(&[
        ("from", a.from.to_string(), b.from.to_string()),
        ("to", a.to.to_string(), b.to.to_string()),
        ("prefixes", sorted(a), sorted(b)),
        ("accepted_by", list(&a.accepted_by), list(&b.accepted_by)),
    ])
}

/// What an exchange loses that is to become another, or none.
pub(super) fn exchange_loss(old: &ExchangeConfig, new: Option<&ExchangeConfig>) -> Option<String> {
    let Some(new) = new else { return Some("is deleted".to_owned()) };
    if (&old.from, &old.to) != (&new.from, &new.to) {
        return Some(format!("leads from vrf {} to vrf {}", new.from, new.to));
    }
    let gone = old.prefixes.iter().filter(|net| !new.prefixes.contains(net));
    let gone: Vec<String> = gone.map(ToString::to_string).collect();
    (!gone.is_empty()).then(|| format!("loses {}", gone.join(", ")))
}
