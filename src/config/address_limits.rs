//! `[[address_limit]]`, and `address_limits_in` and `address_limits_out` of a VIF.

use std::collections::HashSet;
use std::sync::Arc;

use ipnet::IpNet;

use super::address::{overlap, unroutable};
use super::bandwidth::{rate_only_of, rate_text};
use super::diff::{Side, Table, symmetric_difference};
use super::fields::{At, Fields};
use super::labels::changes;
use super::model::VifConfig;
use super::names::Named;
use crate::tables::Direction;
use crate::tables::address_limit::{By, MAX_ADDRESSES, MAX_OF_VIF, Terms};
use crate::tables::meter::Pace;

/// Most limits of a station, and most prefixes of one.
const MAX_LIMITS: usize = 1_024;
const MAX_PREFIXES: usize = 4_096;
const KIND: &str = "address_limit";
const EXAMPLE: &str = "[\"198.51.100.0/24\", \"2001:db8::/120\"]";
/// By [`Direction`].
const FIELDS: [&str; 2] = ["address_limits_in", "address_limits_out"];

/// `[[address_limit]]`.
#[derive(Clone, Debug, PartialEq)]
pub struct AddressLimitConfig {
    /// The operator's name for it.
    pub name: Arc<str>,
    /// What is limited how.
    pub terms: Arc<Terms>,
}

pub(super) fn address_limits(root: &Fields<'_>) -> Named<AddressLimitConfig> {
    let mut limits = Named::new(KIND);
    let tables = root.tables(KIND, "[{ ... }]");
    if let Some(extra) = tables.get(MAX_LIMITS) {
        let message = format!("there are {} limits of addresses", tables.len());
        root.problems.add(&extra.span, KIND, message, format!("use at most {MAX_LIMITS}"));
    }
    for fields in tables {
        let before = fields.problems.found();
        let name = limits.name(&fields);
        let by = fields.need_choice("by", &By::WORDS);
        let limit = rate_only_of(&fields);
        let length = |key, most: u8| fields.integer(key, 1..=most).map_or(most, |at| at.value);
        let per = [length("per_ipv4", 32), length("per_ipv6", 128)];
        let prefixes = prefixes(&fields, per);
        let pace = limit.and_then(|limit| Some(Pace::new(limit.rate?, limit.burst_octets)));
        let terms = by.zip(pace).map(|(by, pace)| Terms { by: by.value, pace, prefixes, per });
        if let Some(sum) = terms.as_ref().map(Terms::addresses).filter(|&sum| sum > MAX_ADDRESSES) {
            let message = format!("there are {sum} addresses in them");
            let help = format!(
                "use at most {MAX_ADDRESSES}: longer prefixes, or a shorter per_ipv4 or per_ipv6"
            );
            fields.refuse(&fields.span_of("prefixes"), "prefixes", message, help);
        }
        fields.finish();
        let fine = root.problems.found() == before;
        let limit = name.clone().zip(terms).filter(|_| fine);
        let limit = limit.map(|(name, terms)| AddressLimitConfig { name, terms: Arc::new(terms) });
        limits.add(name.as_ref(), limit);
    }
    limits
}

fn prefixes(fields: &Fields<'_>, per: [u8; 2]) -> Arc<[IpNet]> {
    const KEY: &str = "prefixes";
    let (texts, span) = (fields.strings(KEY, EXAMPLE), fields.span_of(KEY));
    if !fields.has(KEY) {
        fields.missing(KEY, &format!("prefixes = {EXAMPLE}"));
    } else if fields.is_empty_array(KEY) {
        fields.refuse(&span, KEY, "there is none", format!("write prefixes like {EXAMPLE}"));
    } else if texts.len() > MAX_PREFIXES {
        let message = format!("there are {}", texts.len());
        fields.refuse(
            &span,
            KEY,
            message,
            format!("use at most {MAX_PREFIXES}, with shorter ones"),
        );
    }
    let mut nets: Vec<IpNet> = Vec::new();
    for At { value, span } in texts.into_iter().take(MAX_PREFIXES) {
        let refuse = |message: String, help: &str| fields.refuse(&span, KEY, message, help);
        let Ok(net) = value.parse::<IpNet>() else {
            refuse(format!("{value:?} is no prefix"), "write one like \"198.51.100.0/24\"");
            continue;
        };
        let (key, most) = match net {
            IpNet::V4(_) => ("per_ipv4", per[0]),
            IpNet::V6(_) => ("per_ipv6", per[1]),
        };
        if let Some(why) = unroutable(&net, None) {
            refuse(why, "write prefixes that hosts use");
        } else if net.prefix_len() > most {
            let message = format!("{net} is longer than {key}, which is {most}");
            refuse(message, "write a prefix that holds whole blocks, or let blocks be smaller");
        } else {
            nets.push(net);
        }
    }
    nets.sort_unstable();
    let overlapping = nets.windows(2).find_map(|pair| match pair {
        [one, other] if overlap(one, other) => Some((*one, *other)),
        _ => None,
    });
    if let Some((one, other)) = overlapping {
        let message = format!("{one} and {other} overlap");
        fields.refuse(&span, KEY, message, "write prefixes that share no address");
    }
    nets.into()
}

/// What VIFs have taken so far of the addresses that can be limited: each limit, in each VRF and direction, has its own.
#[derive(Default)]
pub(super) struct Limited {
    seen: HashSet<(Arc<str>, Arc<str>, Direction)>,
    addresses: u64,
}

/// The names that a VIF has in both directions.
pub(super) fn of_vif(
    fields: &Fields<'_>,
    limits: &Named<AddressLimitConfig>,
    vrf: Option<&Arc<str>>,
    limited: &mut Limited,
) -> [Vec<Arc<str>>; 2] {
    Direction::BOTH.map(|direction| {
        let key = FIELDS[direction as usize];
        let (texts, span) = (fields.strings(key, "[\"NAME\"]"), fields.span_of(key));
        if texts.len() > MAX_OF_VIF {
            let message = format!("there are {}", texts.len());
            fields.refuse(&span, key, message, format!("use at most {MAX_OF_VIF}"));
        }
        let mut names: Vec<Arc<str>> = Vec::new();
        for text in texts {
            let Some(limit) = limits.find_name(fields, key, &text) else { continue };
            let Some(limit) = limits.items().get(limit) else { continue };
            if names.contains(&limit.name) {
                let message = format!("{:?} is there twice", text.value);
                fields.refuse(&text.span, key, message, "remove one of the two");
                continue;
            }
            names.push(limit.name.clone());
            let Some(vrf) = vrf else { continue };
            if limited.seen.insert((limit.name.clone(), vrf.clone(), direction)) {
                let before = limited.addresses;
                limited.addresses += limit.terms.addresses();
                if before <= MAX_ADDRESSES && limited.addresses > MAX_ADDRESSES {
                    let sum = limited.addresses;
                    let message = format!(
                        "with {:?} there are {sum} limited addresses, of all VRFs and directions",
                        text.value
                    );
                    let help = format!("use at most {MAX_ADDRESSES}: longer prefixes, or a shorter per_ipv4 or per_ipv6");
                    fields.refuse(&text.span, key, message, help);
                }
            }
        }
        names
    })
}

/// What changes of a VIF's.
pub(super) fn vif_changes(a: &VifConfig, b: &VifConfig) -> [(&'static str, String, String); 2] {
    Direction::BOTH.map(|direction| {
        let at = direction as usize;
        let text = |vif: &VifConfig| format!("[{}]", vif.address_limits[at].join(", "));
        (FIELDS[at], text(a), text(b))
    })
}

/// How limits are compared.
pub(super) fn table() -> Table<AddressLimitConfig, Arc<str>> {
    Table {
        key: |limit| limit.name.clone(),
        name: |limit| limit.name.to_string(),
        detail: |limit| {
            let Terms { by, pace, .. } = &*limit.terms;
            format!(
                "{} by {}, {} addresses",
                rate_text(pace.rate),
                by.name(),
                limit.terms.addresses()
            )
        },
        change: |a, b| {
            let field =
                |name, value: fn(&Terms) -> String| (name, value(&a.terms), value(&b.terms));
            let fields = changes(&[
                field("by", |terms| terms.by.name().to_owned()),
                field("bandwidth", |terms| rate_text(terms.pace.rate)),
                field("burst_octets", |terms| terms.pace.burst.to_string()),
                field("per_ipv4", |terms| terms.per[0].to_string()),
                field("per_ipv6", |terms| terms.per[1].to_string()),
            ]);
            let (mut gone, mut come) = (0, 0);
            symmetric_difference(&a.terms.prefixes, &b.terms.prefixes, &mut |_, side| match side {
                Side::Old => gone += 1,
                Side::New => come += 1,
            });
            let prefixes = (gone + come > 0).then(|| format!("{come} prefixes more, {gone} less"));
            let both: Vec<String> = fields.into_iter().chain(prefixes).collect();
            (!both.is_empty()).then(|| both.join(", "))
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_changes_of_a_limit_is_said_in_a_line() {
        let limit = |rate, prefixes: &[&str]| {
            let prefixes = prefixes.iter().map(|net| net.parse().unwrap()).collect();
            let pace = Pace::new(rate, 65_536);
            let terms = Terms { by: By::Source, pace, prefixes, per: [32, 128] };
            AddressLimitConfig { name: "h".into(), terms: Arc::new(terms) }
        };
        let a = limit(1_000_000, &["10.0.0.0/24", "10.0.1.0/24"]);
        let b = limit(2_000_000, &["10.0.1.0/24", "10.0.2.0/24", "fd00::/120"]);
        let table = table();
        assert_eq!((table.change)(&a, &a), None);
        let said = (table.change)(&a, &b).unwrap();
        assert_eq!(said, "bandwidth 1M -> 2M, 2 prefixes more, 1 less");
        assert_eq!((table.detail)(&b), "2M by source, 768 addresses");
    }
}
