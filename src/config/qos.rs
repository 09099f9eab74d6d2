//! `[[qos]]`: policies of what leaves by VIFs, with classes by DSCP or PCP.

use std::collections::HashMap;
use std::sync::Arc;

use toml::Spanned;
use toml::de::DeValue;

use super::bandwidth::{RateLimit, rate_limit, rate_text};
use super::fields::{At, Fields};
use super::labels::changes;
use super::model::{VifConfig, VrfConfig};
use super::names::Named;
use crate::tables::VrfKind;
use crate::tables::qos::{BEST_EFFORT, CLASSES, Class, MAX_POLICIES, Order, WEIGHTS};

/// `[[qos]]`: a policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QosConfig {
    /// The operator's name for it.
    pub name: Arc<str>,
    /// Its classes in the file's order.
    pub classes: Vec<ClassConfig>,
}

/// `[[qos.class]]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClassConfig {
    /// What it takes, how it marks that, and when it is served.
    pub class: Class,
    /// What each VIF with the policy may send by it.
    pub bandwidth: Option<RateLimit>,
}

/// The words for DSCPs: RFC 2474 4.2.2.2, RFC 2597, RFC 3246, RFC 5865, RFC 8622.
const WORDS: [(&str, u8); 24] = [
    ("be", 0),
    ("le", 1),
    ("cs0", 0),
    ("cs1", 8),
    ("af11", 10),
    ("af12", 12),
    ("af13", 14),
    ("cs2", 16),
    ("af21", 18),
    ("af22", 20),
    ("af23", 22),
    ("cs3", 24),
    ("af31", 26),
    ("af32", 28),
    ("af33", 30),
    ("cs4", 32),
    ("af41", 34),
    ("af42", 36),
    ("af43", 38),
    ("cs5", 40),
    ("va", 44),
    ("ef", 46),
    ("cs6", 48),
    ("cs7", 56),
];
const DSCP_HELP: &str = "write 0 to 63, or a word: be, le, cs0 to cs7, af11 to af43, va, ef";
const PCP_HELP: &str = "write 0 to 7";
const DSCP_EXAMPLE: &str = "[\"ef\", 40]";
const PCP_EXAMPLE: &str = "[5]";
const CLASS_EXAMPLE: &str = "[{ name = \"voice\", dscp = [\"ef\"], priority = \"strict\" }]";

/// A DSCP as the file has it.
fn dscp(value: &DeValue<'_>) -> Option<u8> {
    let word = |text: &str| WORDS.iter().find(|(word, _)| *word == text).map(|(_, dscp)| *dscp);
    value.as_str().map_or_else(|| number(value, 63), word)
}

/// A PCP as the file has it.
fn pcp(value: &DeValue<'_>) -> Option<u8> {
    number(value, 7)
}

fn number(value: &DeValue<'_>, most: u8) -> Option<u8> {
    let integer = value.as_integer()?;
    let number = u8::from_str_radix(integer.as_str(), integer.radix()).ok();
    number.filter(|number| *number <= most)
}

/// What a value is called where it is wrong.
fn shown(value: &DeValue<'_>) -> String {
    match value {
        DeValue::String(text) => format!("{text:?}"),
        DeValue::Integer(integer) => integer.to_string(),
        other => format!("a {}", other.type_str()),
    }
}

/// Values that classes of a policy have taken: which class.
type Taken = HashMap<u8, Arc<str>>;

/// The values of a list, none of which another class has.
fn list(
    fields: &Fields<'_>,
    (key, example, help): (&'static str, &str, &str),
    read: fn(&DeValue<'_>) -> Option<u8>,
    name: &Arc<str>,
    taken: &mut Taken,
) -> Vec<u8> {
    let mut found = Vec::new();
    if fields.is_empty_array(key) {
        let help = format!("write {key} = {example}, or leave it out");
        fields.refuse(&fields.span_of(key), key, "there is none", help);
    }
    for value in fields.array(key, example) {
        let refuse = |message: String, help: &str| {
            fields.refuse(&value.span(), key, message, help);
        };
        let Some(number) = read(value.get_ref()) else {
            refuse(format!("{} is no {}", shown(value.get_ref()), key.to_uppercase()), help);
            continue;
        };
        match taken.insert(number, name.clone()) {
            Some(other) if other == *name => {
                refuse(format!("{number} is there twice"), "remove one of the two");
            }
            Some(other) => {
                let message = format!("{number} is in class {other:?} already");
                refuse(message, "a packet is in one class: remove one of the two");
            }
            None => found.push(number),
        }
    }
    found
}

/// A mark, if the field is there.
fn mark(
    fields: &Fields<'_>,
    (key, help): (&'static str, &str),
    read: fn(&DeValue<'_>) -> Option<u8>,
) -> Option<u8> {
    let value: &Spanned<DeValue<'_>> = fields.value(key)?;
    let mark = read(value.get_ref());
    if mark.is_none() {
        let what = key.trim_start_matches("mark_").to_uppercase();
        let message = format!("{} is no {what}", shown(value.get_ref()));
        fields.refuse(&value.span(), key, message, help);
    }
    mark
}

/// `priority` or `weight`.
fn order(fields: &Fields<'_>) -> Order {
    let strict = fields.choice("priority", &[("strict", Order::Strict)]);
    let weight = fields.integer("weight", WEIGHTS);
    if let (Some(_), Some(At { span, .. })) = (&strict, &weight) {
        let message = "a strict class has none: it is served before those with a weight";
        fields.refuse(span, "weight", message, "remove weight or priority");
    }
    match (strict, weight) {
        (Some(strict), _) => strict.value,
        (None, weight) => Order::Weight(weight.map_or(1, |weight| weight.value)),
    }
}

pub(super) fn policies(root: &Fields<'_>) -> Named<QosConfig> {
    let mut policies = Named::new("qos");
    let tables = root.tables("qos", "[{ ... }]");
    if let Some(extra) = tables.get(MAX_POLICIES) {
        let message = format!("there are {} policies", tables.len());
        root.problems.add(&extra.span, "qos", message, format!("use at most {MAX_POLICIES}"));
    }
    for fields in tables {
        let name = policies.name(&fields);
        let before = fields.problems.found();
        let classes = classes(&fields);
        let fine = fields.problems.found() == before;
        let policy = name.clone().filter(|_| fine);
        let policy = policy.map(|name| QosConfig { name, classes });
        policies.add(name.as_ref(), policy);
        fields.finish();
    }
    policies
}

fn classes(fields: &Fields<'_>) -> Vec<ClassConfig> {
    let tables = fields.tables("class", CLASS_EXAMPLE);
    let most = tables.len();
    if tables.is_empty() && !fields.has("class") {
        fields.missing("class", &format!("class = {CLASS_EXAMPLE}"));
    }
    let (mut names, mut found) = (Named::new("class"), Vec::new());
    let (mut dscps, mut pcps) = (Taken::new(), Taken::new());
    let mut rest: Option<Arc<str>> = None;
    let mut last = fields.span_of("class");
    for fields in tables {
        last = fields.span.clone();
        let name = names.name(&fields);
        names.add(name.as_ref(), name.clone());
        let name = name.unwrap_or_default();
        let dscp_of = ("dscp", DSCP_EXAMPLE, DSCP_HELP);
        let class = Class {
            dscp: list(&fields, dscp_of, dscp, &name, &mut dscps),
            pcp: list(&fields, ("pcp", PCP_EXAMPLE, PCP_HELP), pcp, &name, &mut pcps),
            mark_dscp: mark(&fields, ("mark_dscp", DSCP_HELP), dscp),
            mark_pcp: mark(&fields, ("mark_pcp", PCP_HELP), pcp),
            order: order(&fields),
            name,
        };
        let bandwidth = rate_limit(&fields);
        if !fields.has("dscp") && !fields.has("pcp") {
            if let Some(other) = &rest {
                let message = format!("class {other:?} takes what no other class does already");
                fields.refuse(&fields.span, "dscp", message, format!("add dscp = {DSCP_EXAMPLE}"));
            }
            rest = Some(class.name.clone());
        } else if &*class.name == BEST_EFFORT {
            let message = format!("{BEST_EFFORT:?} is the class of what no other class takes");
            let help = "leave its dscp and pcp out, or call it otherwise";
            fields.refuse(&fields.span_of("name"), "name", message, help);
        }
        found.push(ClassConfig { class, bandwidth });
        fields.finish();
    }
    let room = if rest.is_some() { CLASSES } else { CLASSES - 1 };
    if most > room {
        let message = format!("there are {most} classes");
        let help = match rest {
            Some(_) => format!("use at most {CLASSES}"),
            None => format!("use at most {room}: what none of them takes is a class too"),
        };
        fields.refuse(&last, "class", message, help);
    }
    found
}

/// The policy that a VIF names, if it does.
pub(super) fn of_vif(
    fields: &Fields<'_>,
    policies: &Named<QosConfig>,
    vrf: Option<&VrfConfig>,
) -> Option<Arc<str>> {
    let name = fields.string("qos")?;
    if vrf.is_some_and(|vrf| vrf.kind == VrfKind::Underlay) {
        let message = "what leaves by a VIF of an underlay is in tunnels";
        let help = "give the policy to the VIFs whose VNIs the tunnels carry";
        fields.refuse(&name.span, "qos", message, help);
    }
    let at = policies.find_name(fields, "qos", &name)?;
    policies.items().get(at).map(|policy| policy.name.clone())
}

/// What changes of a VIF's.
pub(super) fn vif_change(a: &VifConfig, b: &VifConfig) -> (&'static str, String, String) {
    let text = |vif: &VifConfig| vif.qos.as_deref().unwrap_or("none").to_owned();
    ("qos", text(a), text(b))
}

/// A class as a person reads it.
fn class_text(ClassConfig { class, bandwidth }: &ClassConfig) -> String {
    let numbers = |what: &str, list: &[u8]| {
        let list: Vec<String> = list.iter().map(ToString::to_string).collect();
        (!list.is_empty()).then(|| format!("{what} {}", list.join(" ")))
    };
    let order = match class.order {
        Order::Strict => "strict".to_owned(),
        Order::Weight(weight) => format!("weight {weight}"),
    };
    let limit = bandwidth.map(|limit| {
        let rate = limit.rate.map(rate_text).unwrap_or_default();
        format!("bandwidth {rate} burst {} octets", limit.burst_octets)
    });
    let parts = [
        numbers("dscp", &class.dscp),
        numbers("pcp", &class.pcp),
        class.mark_dscp.map(|dscp| format!("mark_dscp {dscp}")),
        class.mark_pcp.map(|pcp| format!("mark_pcp {pcp}")),
        limit,
        Some(order),
    ];
    let parts: Vec<String> = parts.into_iter().flatten().collect();
    format!("{} ({})", class.name, parts.join(", "))
}

/// How policies are compared and described.
pub(super) fn table() -> super::diff::Table<QosConfig, Arc<str>> {
    fn classes(policy: &QosConfig) -> String {
        policy.classes.iter().map(class_text).collect::<Vec<_>>().join(", ")
    }
    super::diff::Table {
        key: |policy| policy.name.clone(),
        name: |policy| policy.name.to_string(),
        detail: classes,
        change: |a, b| changes(&[("classes", classes(a), classes(b))]),
    }
}
