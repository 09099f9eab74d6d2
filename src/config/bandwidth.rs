//! `bandwidth` of a port, a VIF or a `[[meter_group]]`.

use std::collections::HashMap;
use std::sync::Arc;

use super::diff::Table;
use super::fields::{At, Fields};
use super::labels::changes;
use super::labels::{Labels, label_changes, labels};
use super::model::PortConfig;
use super::names::Named;
use crate::tables::Direction;
use crate::tables::meter::{BURSTS, MAX_GROUPS, RATES, default_burst};

/// `[[meter_group]]`: VIFs that share a rate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MeterGroupConfig {
    /// The operator's name for it.
    pub name: Arc<str>,
    /// Whose it is.
    pub labels: Labels,
    /// What its VIFs have together.
    pub bandwidth: Bandwidth,
}

/// What may pass, by [`Direction`]; `None` is no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bandwidth(pub [Option<RateLimit>; 2]);

impl Bandwidth {
    /// What may pass that way.
    pub const fn of(&self, direction: Direction) -> Option<RateLimit> {
        self.0[direction as usize]
    }
}

/// Rates in bit/s (RFC 2698).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RateLimit {
    /// The most; of a VIF `None` where only what is above it limits it.
    pub rate: Option<u64>,
    /// What a VIF has whatever others of its meter group and its port do.
    pub committed: Option<u64>,
    /// What may pass at once, in octets.
    pub burst_octets: u64,
}

const EXAMPLE: &str = "\"500M\"";
const RATE_HELP: &str = "write bit/s from \"64k\" to \"400G\", like \"500M\" or \"1.5G\"";

/// What is limited, which decides what may be said of it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Of {
    /// A VIF: it may have a committed rate.
    Vif,
    /// A port or a group: it only has a rate.
    Others,
}

/// The field, if it is there.
pub(super) fn bandwidth(fields: &Fields<'_>, of: Of) -> Bandwidth {
    const KEY: &str = "bandwidth";
    if !fields.has(KEY) {
        return Bandwidth::default();
    }
    if !fields.is_table(KEY) {
        let limit = fields.string(KEY).and_then(|text| rate_only(fields, KEY, &text));
        return Bandwidth([limit; 2]);
    }
    let Some(table) = fields.table(KEY) else { return Bandwidth::default() };
    let by_direction = table.has("rx") || table.has("tx");
    let limits = if by_direction {
        Direction::BOTH.map(|direction| {
            let key = direction.name();
            if !table.is_table(key) {
                return rate_only(&table, key, &table.string(key)?);
            }
            let inner = table.table(key)?;
            let limit = limit(&inner, of);
            inner.finish();
            limit
        })
    } else {
        [limit(&table, of); 2]
    };
    table.finish();
    Bandwidth(limits)
}

/// The field where it is one rate for one direction. It has to be there.
pub(super) fn rate_only_of(fields: &Fields<'_>) -> Option<RateLimit> {
    const KEY: &str = "bandwidth";
    if !fields.has(KEY) {
        fields.missing(KEY, &format!("{KEY} = {EXAMPLE}"));
        return None;
    }
    if !fields.is_table(KEY) {
        return fields.string(KEY).and_then(|text| rate_only(fields, KEY, &text));
    }
    let table = fields.table(KEY)?;
    let limit = limit(&table, Of::Others);
    table.finish();
    limit
}

/// The field of what has one direction only, if it is there.
pub(super) fn rate_limit(fields: &Fields<'_>) -> Option<RateLimit> {
    const KEY: &str = "bandwidth";
    if !fields.is_table(KEY) {
        return rate_only(fields, KEY, &fields.string(KEY)?);
    }
    let table = fields.table(KEY)?;
    let limit = limit(&table, Of::Others);
    table.finish();
    limit
}

fn rate_only(fields: &Fields<'_>, key: &'static str, text: &At<&str>) -> Option<RateLimit> {
    let rate = rate(fields, key, text)?;
    Some(RateLimit { rate: Some(rate), committed: None, burst_octets: default_burst(rate) })
}

fn limit(fields: &Fields<'_>, of: Of) -> Option<RateLimit> {
    let peak = fields.string("rate").and_then(|text| rate(fields, "rate", &text));
    let committed = match of {
        Of::Vif => fields.string("committed"),
        Of::Others => None,
    };
    let span = committed.as_ref().map(|text| text.span.clone());
    let committed = committed.and_then(|text| rate(fields, "committed", &text));
    let burst = fields.integer("burst_octets", BURSTS).map(|burst| burst.value);
    if let (Some(peak), Some(committed), Some(span)) = (peak, committed, span)
        && committed > peak
    {
        fields.refuse(&span, "committed", "is more than rate", "write at most what rate says");
    }
    if !(fields.has("rate") || of == Of::Vif && fields.has("committed")) {
        fields.missing("rate", &format!("rate = {EXAMPLE}"));
    }
    let rate = peak.or(committed)?;
    let burst_octets = burst.unwrap_or_else(|| default_burst(rate));
    Some(RateLimit { rate: peak, committed, burst_octets })
}

/// A number of bit/s with a decimal unit.
fn rate(fields: &Fields<'_>, key: &'static str, text: &At<&str>) -> Option<u64> {
    let parsed = parse(text.value);
    if parsed.is_none_or(|rate| !RATES.contains(&rate)) {
        let message = match parsed {
            Some(_) => format!("{:?} is out of range", text.value),
            None => format!("{:?} is no rate", text.value),
        };
        fields.refuse(&text.span, key, message, RATE_HELP);
        return None;
    }
    parsed
}

/// A rate that is written as in the file, in bit/s.
///
/// # Errors
/// What to write instead.
pub fn rate_of(text: &str) -> Result<u64, String> {
    let rate = parse(text).filter(|rate| RATES.contains(rate));
    rate.ok_or_else(|| format!("{text:?} is no rate: {RATE_HELP}"))
}

/// `500M` and `1.5G` as numbers; three digits behind the point at most, and only where the unit makes them whole.
fn parse(text: &str) -> Option<u64> {
    let (number, unit) = match text.char_indices().next_back()? {
        (at, 'k') => (&text[..at], 1_000),
        (at, 'M') => (&text[..at], 1_000_000),
        (at, 'G') => (&text[..at], 1_000_000_000),
        _ => (text, 1),
    };
    let (whole, part) = number.split_once('.').unwrap_or((number, ""));
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty()
        || !digits(whole)
        || !digits(part)
        || number.ends_with('.')
        || part.len() > 3
        || (unit == 1 && !part.is_empty())
    {
        return None;
    }
    let thousandths: u64 = format!("{part:0<3}").parse().ok()?;
    whole.parse::<u64>().ok()?.checked_mul(unit)?.checked_add(thousandths * (unit / 1_000))
}

/// A rate as the file has it.
pub fn rate_text(rate: u64) -> String {
    let (unit, letter) = match rate {
        1_000_000_000.. => (1_000_000_000, "G"),
        1_000_000.. => (1_000_000, "M"),
        1_000.. => (1_000, "k"),
        _ => (1, ""),
    };
    let thousandths = rate % unit * 1_000;
    if !thousandths.is_multiple_of(unit) {
        return rate.to_string();
    }
    let thousandths = thousandths / unit;
    let part = format!(".{thousandths:03}");
    let part = part.trim_end_matches('0').trim_end_matches('.');
    format!("{}{part}{letter}", rate / unit)
}

pub(super) fn meter_groups(root: &Fields<'_>) -> Named<MeterGroupConfig> {
    let mut groups = Named::new("meter_group");
    let tables = root.tables("meter_group", "[{ ... }]");
    if let Some(extra) = tables.get(MAX_GROUPS) {
        let message = format!("there are {} meter groups", tables.len());
        root.problems.add(&extra.span, "meter_group", message, format!("use at most {MAX_GROUPS}"));
    }
    for fields in tables {
        let name = groups.name(&fields);
        let labels = labels(&fields);
        let bandwidth = bandwidth(&fields, Of::Others);
        if !fields.has("bandwidth") {
            fields.missing("bandwidth", &format!("bandwidth = {EXAMPLE}"));
        }
        let group = name.clone().map(|name| MeterGroupConfig { name, labels, bandwidth });
        groups.add(name.as_ref(), group);
        fields.finish();
    }
    groups
}

/// The group that a VIF names, if it does. One package is one customer's.
pub(super) fn group_of<'a>(
    fields: &Fields<'_>,
    groups: &'a Named<MeterGroupConfig>,
    customer: Option<&str>,
) -> Option<&'a MeterGroupConfig> {
    let name = fields.string("meter_group")?;
    let group = groups.items().get(groups.find_name(fields, "meter_group", &name)?)?;
    match (customer, group.labels.customer.as_deref()) {
        (Some(one), Some(other)) if one != other => {
            let message = format!("{:?} is of customer {other:?}, the VIF of {one:?}", name.value);
            let help = "use a group of the same customer";
            fields.refuse(&name.span, "meter_group", message, help);
            None
        }
        _ => Some(group),
    }
}

/// What VIFs of one group or port are committed to have together, and where that stands.
#[derive(Default)]
pub(super) struct Commitments(HashMap<(&'static str, Arc<str>), [u64; 2]>);

impl Commitments {
    /// Adds a VIF's, and refuses what its group or its port has not.
    pub(super) fn add(
        &mut self,
        fields: &Fields<'_>,
        vif: &Bandwidth,
        port: Option<&PortConfig>,
        group: Option<&MeterGroupConfig>,
    ) {
        let span = fields.span_of("bandwidth");
        let above = [
            group.map(|group| ("meter_group", &group.name, &group.bandwidth)),
            port.map(|port| ("port", &port.name, &port.bandwidth)),
        ];
        let mut unlimited = false;
        for direction in Direction::BOTH {
            let Some(limit) = vif.of(direction) else { continue };
            let mut any = limit.rate.is_some();
            for (kind, name, bandwidth) in above.iter().flatten() {
                let Some(most) = bandwidth.of(direction).and_then(|limit| limit.rate) else {
                    continue;
                };
                any = true;
                let sum = self.0.entry((kind, Arc::clone(name))).or_default();
                let sum = &mut sum[direction as usize];
                *sum = sum.saturating_add(limit.committed.unwrap_or(0));
                if *sum > most {
                    let (sum, most) = (rate_text(*sum), rate_text(most));
                    let way = direction.name();
                    let message = format!(
                        "{way}: {sum} are committed with this in {kind} {name:?}, which has {most}"
                    );
                    fields.refuse(&span, "bandwidth", message, "commit less, or give it more");
                }
            }
            unlimited |= !any;
        }
        if unlimited {
            let message = "commits to a share of what has no limit";
            fields.refuse(&span, "bandwidth", message, "add rate, or a meter_group");
        }
    }
}

/// The field as a person reads it.
fn bandwidth_text(bandwidth: &Bandwidth) -> String {
    let limit = |limit: &RateLimit| {
        let rate = limit.rate.map(|rate| format!("rate {}", rate_text(rate)));
        let committed = limit.committed.map(|rate| format!("committed {}", rate_text(rate)));
        let burst = format!("burst {} octets", limit.burst_octets);
        let parts = rate.into_iter().chain(committed).chain([burst]);
        parts.collect::<Vec<_>>().join(" ")
    };
    let of = |one: &Option<RateLimit>| one.as_ref().map_or_else(|| "any".to_owned(), limit);
    match &bandwidth.0 {
        [rx, tx] if rx == tx => of(rx),
        [rx, tx] => format!("rx ({}) tx ({})", of(rx), of(tx)),
    }
}

/// What changes of it.
pub(super) fn bandwidth_change(a: &Bandwidth, b: &Bandwidth) -> (&'static str, String, String) {
    ("bandwidth", bandwidth_text(a), bandwidth_text(b))
}

/// What changes of a meter group.
fn meter_group_change(a: &MeterGroupConfig, b: &MeterGroupConfig) -> Option<String> {
    let [customer, description, circuit] = label_changes(&a.labels, &b.labels);
    changes(&[bandwidth_change(&a.bandwidth, &b.bandwidth), customer, description, circuit])
}

/// How meter groups are compared.
pub(super) fn meter_group_table() -> Table<MeterGroupConfig, Arc<str>> {
    Table {
        key: |group| group.name.clone(),
        name: |group| group.name.to_string(),
        detail: |group| bandwidth_text(&group.bandwidth),
        change: meter_group_change,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_numbers_with_a_unit() {
        for (text, rate) in [
            ("64k", 64_000),
            ("500M", 500_000_000),
            ("1.5G", 1_500_000_000),
            ("1.544M", 1_544_000),
            ("2.048M", 2_048_000),
            ("100000", 100_000),
            ("400G", 400_000_000_000),
        ] {
            assert_eq!(parse(text), Some(rate), "{text}");
            let back = rate_text(rate);
            assert_eq!(parse(&back), Some(rate), "{text} -> {back}");
        }
        for bad in [
            "",
            "M",
            ".5M",
            "1.M",
            "1.2345G",
            "1.5",
            "-1M",
            "1 M",
            "1m",
            "1Mbit/s",
            "1e9",
            "１M",
            "99999999999999999999G",
            "0x10",
            "+1M",
            "1..5M",
        ] {
            assert_eq!(parse(bad), None, "{bad}");
        }
        assert_eq!(rate_text(1_234_567_891), "1234567891");
        assert_eq!(rate_text(1_234_000_000), "1.234G");
    }
}
