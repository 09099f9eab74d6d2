//! `[[acl]]`: access lists, a rule a string.

use std::collections::HashMap;
use std::sync::Arc;

use super::fields::Fields;
use super::names::Named;
use crate::acl::{List, MAX_RULES, Rule};

/// Most lists of a station.
const MAX_LISTS: usize = 4096;
/// Most rules of all lists together.
const MAX_ALL: usize = 250_000;

const EXAMPLE: &str = "[\"permit tcp from 10.0.0.0/8 to any port 443\"]";

/// `[[acl]]`. Equal lists share what they are compiled to.
#[derive(Clone, Debug, PartialEq)]
pub struct AclConfig {
    /// The operator's name for it.
    pub name: Arc<str>,
    /// Its rules.
    pub list: Arc<List>,
}

/// Takes over what lists that ran were compiled to, where they are the same.
pub(super) fn share(lists: &mut [AclConfig], running: &[AclConfig]) {
    let running: HashMap<&str, &AclConfig> = running.iter().map(|acl| (&*acl.name, acl)).collect();
    for acl in lists {
        if let Some(same) = running.get(&*acl.name).filter(|old| old.list == acl.list) {
            acl.list = same.list.clone();
        }
    }
}

pub(super) fn acls(root: &Fields<'_>) -> Named<AclConfig> {
    let mut acls = Named::new("acl");
    let tables = root.tables("acl", "[{ ... }]");
    if let Some(extra) = tables.get(MAX_LISTS) {
        let message = format!("there are {} access lists", tables.len());
        root.problems.add(&extra.span, "acl", message, format!("use at most {MAX_LISTS}"));
    }
    let mut all = 0;
    for fields in tables {
        let before = fields.problems.found();
        let name = acls.name(&fields);
        let rules = rules(&fields);
        all += rules.len();
        if all > MAX_ALL {
            let message = format!("there are over {MAX_ALL} rules in all lists up to this one");
            fields.refuse(&fields.span_of("rules"), "rules", message, "use fewer rules");
            all = 0;
        }
        fields.finish();
        let fine = root.problems.found() == before;
        let list = name.clone().filter(|_| fine);
        let list = list.map(|name| AclConfig { name, list: Arc::new(List::new(rules.into())) });
        acls.add(name.as_ref(), list);
    }
    acls
}

/// How many rules come and go, and whether those that stay are in another order.
pub(super) fn acl_change(a: &AclConfig, b: &AclConfig) -> Option<String> {
    let (old, new) = (a.list.rules(), b.list.rules());
    if old == new {
        return None;
    }
    let mut counts: HashMap<&Rule, i64> = HashMap::new();
    old.iter().for_each(|rule| *counts.entry(rule).or_default() -= 1);
    new.iter().for_each(|rule| *counts.entry(rule).or_default() += 1);
    let more: i64 = counts.values().filter(|count| **count > 0).sum();
    let less: i64 = counts.values().filter(|count| **count < 0).map(|count| -count).sum();
    Some(match (more, less) {
        (0, 0) => "rules in another order".to_owned(),
        _ => format!("{more} rules more, {less} less"),
    })
}

fn rules(fields: &Fields<'_>) -> Vec<Rule> {
    let span = fields.span_of("rules");
    let texts = fields.strings("rules", EXAMPLE);
    if !fields.has("rules") {
        fields.missing("rules", &format!("rules = {EXAMPLE}"));
    } else if fields.is_empty_array("rules") {
        let help = "write \"deny ip\" for a list that denies all, or remove the list";
        fields.refuse(&span, "rules", "there is none", help);
    } else if texts.len() > MAX_RULES {
        let message = format!("there are {}", texts.len());
        fields.refuse(&span, "rules", message, format!("use at most {MAX_RULES} in a list"));
    }
    let mut rules = Vec::with_capacity(texts.len());
    for (number, text) in (1..).zip(texts) {
        match text.value.parse() {
            Ok(rule) => rules.push(rule),
            Err(error) => {
                let error: crate::acl::RuleError = error;
                let message = format!("rule {number}, {:?}, {}", text.value, said(&error.message));
                fields.refuse(&text.span, "rules", message, error.help);
            }
        }
    }
    rules
}

/// A message about a rule as the rest of a sentence about it.
fn said(message: &str) -> String {
    let is_verb = ["is ", "begins", "ends", "has "].iter().any(|verb| message.starts_with(verb));
    if is_verb { message.to_owned() } else { format!("is wrong: {message}") }
}
