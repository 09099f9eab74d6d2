//! What one configuration changes of another, for a person to read before and after it happens.

use std::cmp::Ordering;
use std::collections::HashMap;
use std::fmt;
use std::hash::Hash;
use std::sync::Arc;

use ipnet::IpNet;

use super::acls::acl_change;
use super::bandwidth::{bandwidth_change, meter_group_table};
use super::exchanges;
use super::labels::{changes, label_changes};
use super::model::{
    AclConfig, AllowedPrefix, BgpConfig, Community, Config, NextHop, PortConfig, RouteAction,
    RouteConfig, RouteListConfig, VifConfig, VrfConfig, VtepConfig,
};
use super::ports::port_change;
use super::vteps::{tunnel_changes, vtep_change};
use crate::tables::Pcp;

/// What happens to a thing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Op {
    /// It is new.
    Added,
    /// It goes.
    Removed,
    /// It stays, but not as it is.
    Changed,
}

/// One line of a [`Diff`].
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Change {
    /// What happens.
    pub op: Op,
    /// To what kind of thing: a table of the configuration.
    pub what: &'static str,
    /// To which one.
    pub name: String,
    /// What it is, or what changes of it.
    pub detail: String,
}

/// All changes, in the order of the tables.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Diff {
    /// The changes.
    pub changes: Vec<Change>,
}

impl Diff {
    /// Nothing changes.
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }

    fn count(&self, op: Op) -> usize {
        self.changes.iter().filter(|change| change.op == op).count()
    }

    /// What changes of a table that there is once.
    fn settings(&mut self, what: &'static str, change: Option<String>) {
        let (op, name) = (Op::Changed, "settings".to_owned());
        self.changes.extend(change.map(|detail| Change { op, what, name, detail }));
    }

    fn table<T, K: Eq + Hash>(
        &mut self,
        what: &'static str,
        old: &[T],
        new: &[T],
        of: &Table<T, K>,
    ) {
        let mut before: HashMap<K, &T> = old.iter().map(|item| ((of.key)(item), item)).collect();
        for item in new {
            let (op, detail) = match before.remove(&(of.key)(item)) {
                None => (Op::Added, (of.detail)(item)),
                Some(old) => match (of.change)(old, item) {
                    Some(change) => (Op::Changed, change),
                    None => continue,
                },
            };
            self.changes.push(Change { op, what, name: (of.name)(item), detail });
        }
        for item in old.iter().filter(|item| before.contains_key(&(of.key)(item))) {
            let (name, detail) = ((of.name)(item), (of.detail)(item));
            self.changes.push(Change { op: Op::Removed, what, name, detail });
        }
    }
}

/// How to compare and to describe the entries of one table.
pub(super) struct Table<T, K> {
    pub(super) key: fn(&T) -> K,
    pub(super) name: fn(&T) -> String,
    pub(super) detail: fn(&T) -> String,
    pub(super) change: fn(&T, &T) -> Option<String>,
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = match self.op {
            Op::Added => '+',
            Op::Removed => '-',
            Op::Changed => '~',
        };
        write!(f, "{sign} {} {}: {}", self.what, self.name, self.detail)
    }
}

impl fmt::Display for Diff {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_empty() {
            return writeln!(f, "no changes");
        }
        for change in &self.changes {
            writeln!(f, "{change}")?;
        }
        let [added, removed, changed] =
            [Op::Added, Op::Removed, Op::Changed].map(|op| self.count(op));
        writeln!(f, "{added} added, {removed} removed, {changed} changed")
    }
}

/// What `new` changes of `old`, but for what needs a restart ([`super::restart`]).
pub(crate) fn diff(old: Option<&Config>, new: &Config) -> Diff {
    let mut diff = Diff::default();
    let ports = Table {
        key: |port: &PortConfig| port.name.clone(),
        name: |port| port.name.to_string(),
        detail: |port| port.interface.clone(),
        change: port_change,
    };
    diff.table("port", old.map_or(&[], |old| &old.ports), &new.ports, &ports);
    let vrfs = Table {
        key: |vrf: &VrfConfig| vrf.name.clone(),
        name: |vrf| vrf.name.to_string(),
        detail: |vrf| word(vrf.kind),
        change: |a, b| {
            let [customer, description, circuit] = label_changes(&a.labels, &b.labels);
            let kind = ("kind", word(a.kind), word(b.kind));
            changes(&[kind, customer, description, circuit])
        },
    };
    diff.table("vrf", old.map_or(&[], |old| &old.vrfs), &new.vrfs, &vrfs);
    let vteps = Table {
        key: |vtep: &VtepConfig| vtep.name.clone(),
        name: |vtep| vtep.name.to_string(),
        detail: |vtep| format!("{} in vrf {}", vtep.address, vtep.vrf),
        change: vtep_change,
    };
    diff.table("vtep", old.map_or(&[], |old| &old.vteps), &new.vteps, &vteps);
    let before = old.map_or(&[][..], |old| &old.meter_groups);
    diff.table("meter_group", before, &new.meter_groups, &meter_group_table());
    let before = old.map_or(&[][..], |old| &old.address_limits);
    diff.table("address_limit", before, &new.address_limits, &super::address_limits::table());
    diff.table("qos", old.map_or(&[], |old| &old.qos), &new.qos, &super::qos::table());
    let acls = Table {
        key: |acl: &AclConfig| acl.name.clone(),
        name: |acl| acl.name.to_string(),
        detail: |acl| format!("{} rules", acl.list.rules().len()),
        change: acl_change,
    };
    diff.table("acl", old.map_or(&[], |old| &old.acls), &new.acls, &acls);
    let vifs = Table {
        key: |vif: &VifConfig| vif.name.clone(),
        name: |vif| vif.name.to_string(),
        detail: |vif| format!("{}, vrf {}", vif.network(), vif.vrf),
        change: vif_change,
    };
    diff.table("vif", old.map_or(&[], |old| &old.vifs), &new.vifs, &vifs);
    let sessions = Table {
        key: |(vif, session): &Session| (vif.clone(), session.peer),
        name: |(vif, session)| format!("{} on vif {vif}", session.peer),
        detail: |(_, session)| format!("AS {}, ours {}", session.peer_as, session.local_as),
        change: |(_, a), (_, b)| session_change(a, b),
    };
    let (before, after) = (old.map_or_else(Vec::new, bgp), bgp(new));
    diff.table("bgp", &before, &after, &sessions);
    let routes = Table {
        key: |route: &RouteConfig| (route.vrf.clone(), route.prefix),
        name: |route| format!("{} in vrf {}", route.prefix, route.vrf),
        detail: |route| action(&route.action),
        change: |a, b| {
            let differ = a.action != b.action;
            differ.then(|| format!("to {} -> {}", action(&a.action), action(&b.action)))
        },
    };
    diff.table("route", old.map_or(&[], |old| &old.routes), &new.routes, &routes);
    let lists = Table {
        key: |list: &RouteListConfig| (list.vrf.clone(), list.file.clone()),
        name: |list| format!("{} in vrf {}", list.file.display(), list.vrf),
        detail: |list| format!("{} prefixes {}", list.prefixes.len(), list_action(list)),
        change: list_change,
    };
    diff.table("route_list", old.map_or(&[], |old| &old.route_lists), &new.route_lists, &lists);
    let before = old.map_or(&[][..], |old| &old.neighbors);
    diff.table("neighbor", before, &new.neighbors, &super::routes::neighbor_table());
    let before = old.map_or(&[][..], |old| &old.exchanges);
    diff.table("exchange", before, &new.exchanges, &exchanges::table());
    diff.table("rpki", old.map_or(&[], |old| &old.rpki), &new.rpki, &super::rpki::table());
    diff.table("probe", old.map_or(&[], |old| &old.probes), &new.probes, &super::probes::table());
    if let Some(old) = old {
        diff.settings("station", super::station::change(&old.station, &new.station));
        diff.settings("events", super::events::change(&old.events, &new.events));
        diff.settings("billing", super::billing::change(old.billing, new.billing));
        diff.settings("flow_log", super::flow_log::change(&old.flow_log, &new.flow_log));
        diff.settings("latency", super::latency::change(old.latency, new.latency));
    }
    diff
}

pub(super) fn up(up: bool) -> String {
    if up { "up" } else { "down" }.to_owned()
}

fn vif_change(a: &VifConfig, b: &VifConfig) -> Option<String> {
    if a == b {
        return None;
    }
    let tags = |vif: &VifConfig| {
        format!("{}{}", vif.tags, if vif.tags.service { " (service tag)" } else { "" })
    };
    let kind = |vif: &VifConfig| vif.kind.map_or_else(|| "none".to_owned(), word);
    let pcp = |pcp| if let Pcp::Set(pcp) = pcp { pcp.to_string() } else { "preserve".into() };
    let addresses = |vif: &VifConfig| {
        format!("[{}]", vif.addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "))
    };
    let bfd = |vif: &VifConfig| match vif.bfd {
        Some(bfd) => format!("{} ms x {}", bfd.interval_ms, bfd.multiplier),
        None => "off".to_owned(),
    };
    let named = |name: &Option<Arc<str>>| name.as_deref().unwrap_or("none").to_owned();
    let [customer, description, circuit] = label_changes(&a.labels, &b.labels);
    let [vni, remotes, station] = tunnel_changes(a, b);
    let [limits_in, limits_out] = super::address_limits::vif_changes(a, b);
    let yes_or_no = |yes| if yes { "yes" } else { "no" }.to_owned();
    changes(&[
        ("state", up(a.up), up(b.up)),
        ("port", a.port.to_string(), b.port.to_string()),
        ("vlan", tags(a), tags(b)),
        vni,
        remotes,
        station,
        ("join_stations", yes_or_no(a.join_stations), yes_or_no(b.join_stations)),
        ("kind", kind(a), kind(b)),
        ("vrf", a.vrf.to_string(), b.vrf.to_string()),
        ("addresses", addresses(a), addresses(b)),
        ("mtu", a.mtu.to_string(), b.mtu.to_string()),
        ("source_check", word(a.source_check), word(b.source_check)),
        ("pcp", pcp(a.pcp), pcp(b.pcp)),
        ("acl_in", named(&a.acl_in), named(&b.acl_in)),
        ("acl_out", named(&a.acl_out), named(&b.acl_out)),
        super::translations::translate_change(a, b),
        super::flow_log::vif_change(a, b),
        ("twamp_reflector", yes_or_no(a.twamp_reflector), yes_or_no(b.twamp_reflector)),
        ("bfd", bfd(a), bfd(b)),
        bandwidth_change(&a.bandwidth, &b.bandwidth),
        ("meter_group", named(&a.meter_group), named(&b.meter_group)),
        limits_in,
        limits_out,
        ("top_talkers", yes_or_no(a.top_talkers), yes_or_no(b.top_talkers)),
        super::qos::vif_change(a, b),
        customer,
        description,
        circuit,
    ])
}

/// A BGP session and its VIF's name.
type Session = (Arc<str>, BgpConfig);

fn bgp(config: &Config) -> Vec<Session> {
    let of = |vif: &VifConfig| {
        let name = vif.name.clone();
        vif.bgp.clone().into_iter().map(move |session| (name.clone(), session))
    };
    config.vifs.iter().flat_map(of).collect()
}

fn session_change(a: &BgpConfig, b: &BgpConfig) -> Option<String> {
    if a == b {
        return None;
    }
    fn list<T: fmt::Display>(items: &[T]) -> String {
        format!("[{}]", items.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "))
    }
    let prefixes = |list_of: &Option<Vec<AllowedPrefix>>| match list_of {
        Some(prefixes) => list(prefixes),
        None => "any".to_owned(),
    };
    let preference = |session: &BgpConfig| {
        let one = |(community, preference): &(Community, u32)| format!("{community} {preference}");
        list(&session.preference.iter().map(one).collect::<Vec<_>>())
    };
    let number = |number: u32| number.to_string();
    let field = |name, value: &dyn Fn(&BgpConfig) -> String| (name, value(a), value(b));
    let changed = changes(&[
        field("local", &|s| s.local.to_string()),
        field("peer_as", &|s| number(s.peer_as)),
        field("local_as", &|s| number(s.local_as)),
        field("hold_s", &|s| number(s.hold_s.into())),
        field("keepalive_s", &|s| number(s.keepalive_s.into())),
        field("connect_retry_s", &|s| number(s.connect_retry_s.into())),
        field("passive", &|s| s.passive.to_string()),
        field("ttl_security", &|s| s.ttl_security.to_string()),
        field("graceful_restart_s", &|s| number(s.graceful_restart_s.into())),
        field("max_prefixes", &|s| number(s.max_prefixes)),
        field("at_max", &|s| word(s.at_max)),
        field("import", &|s| prefixes(&s.import)),
        field("export", &|s| prefixes(&s.export)),
        field("local_preference", &|s| s.local_preference.map_or("as received".into(), number)),
        field("preference", &preference),
        field("suppress", &|s| list(&s.suppress)),
        field("tag", &|s| list(&s.tag)),
        field("no_export", &|s| s.no_export.to_string()),
        field("prepend", &|s| number(s.prepend.into())),
        field("rpki", &|s| s.rpki.word().to_owned()),
        field("verified", &|s| super::rpki::text(&s.verified)),
    ]);
    // A secret is not shown, but that it changed is.
    let password = (a.password != b.password).then(|| "password changed".to_owned());
    let both: Vec<String> = changed.into_iter().chain(password).collect();
    (!both.is_empty()).then(|| both.join(", "))
}

fn list_change(a: &RouteListConfig, b: &RouteListConfig) -> Option<String> {
    let (mut gone, mut come) = (0, 0);
    if !Arc::ptr_eq(&a.prefixes, &b.prefixes) {
        symmetric_difference(&a.prefixes, &b.prefixes, &mut |_, side| match side {
            Side::Old => gone += 1,
            Side::New => come += 1,
        });
    }
    let prefixes = (gone + come > 0).then(|| format!("{come} prefixes more, {gone} less"));
    let to = changes(&[("to", list_action(a), list_action(b))]);
    let both: Vec<String> = prefixes.into_iter().chain(to).collect();
    (!both.is_empty()).then(|| both.join(", "))
}

fn list_action(list: &RouteListConfig) -> String {
    let hops: Vec<NextHop> = list.via4.iter().chain(&list.via6).cloned().collect();
    action(&RouteAction::Via(hops))
}

fn action(action: &RouteAction) -> String {
    let hops = match action {
        RouteAction::Via(hops) => hops,
        RouteAction::Blackhole => return "blackhole".to_owned(),
        RouteAction::Unreachable => return "unreachable".to_owned(),
        RouteAction::Prohibit => return "prohibit".to_owned(),
    };
    let hop = |hop: &NextHop| match hop.weight {
        0 => format!("{} ({}) backup", hop.address, hop.vif),
        1 => format!("{} ({})", hop.address, hop.vif),
        weight => format!("{} ({}) weight {weight}", hop.address, hop.vif),
    };
    format!("via {}", hops.iter().map(hop).collect::<Vec<_>>().join(", "))
}

/// The name of an enum's variant, as the configuration file spells it.
pub(super) fn word(variant: impl fmt::Debug) -> String {
    format!("{variant:?}").to_lowercase()
}

/// Which of two lists something is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    Old,
    New,
}

/// Calls `visit` with what is in one of two sorted lists only.
pub(crate) fn symmetric_difference(
    mut old: &[IpNet],
    mut new: &[IpNet],
    visit: &mut impl FnMut(IpNet, Side),
) {
    while let ([x, rest_old @ ..], [y, rest_new @ ..]) = (old, new) {
        match x.cmp(y) {
            Ordering::Equal => (old, new) = (rest_old, rest_new),
            Ordering::Less => {
                visit(*x, Side::Old);
                old = rest_old;
            }
            Ordering::Greater => {
                visit(*y, Side::New);
                new = rest_new;
            }
        }
    }
    old.iter().for_each(|prefix| visit(*prefix, Side::Old));
    new.iter().for_each(|prefix| visit(*prefix, Side::New));
}
