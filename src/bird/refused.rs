//! How many routes each cause has refused, for `show bgp`. BIRD's only thread speaks BGP too, so an answer about many
//! sessions costs it a bounded time, whatever their peers have sent: some 2 us for each refused route that it lists,
//! and some 2 us for each hundred routes of the table that it walks for that.

use std::collections::{BTreeMap, HashMap};

use super::client::{Client, ClientError};
use super::parse::{Protocol, Route, Routes};
use super::policy::INTERNAL;
use super::session::{Cause, Session, Withheld};

/// What the counts of one answer about several VIFs may cost BIRD, in refused routes: some 50 ms.
const BUDGET: u64 = 20_000;
/// Routes of a table that are walked in the time that one refused route takes.
const WALKED: u64 = 100;
/// The cause of those that were not counted: a question about their VIF alone counts all.
pub(super) const NOT_COUNTED: &str = "not_counted";

/// Routes by cause.
pub(super) type Counts = BTreeMap<String, u64>;

/// One question to BIRD.
#[derive(Debug, PartialEq, Eq)]
struct Question {
    table: String,
    /// One session's protocol, or all of the table's.
    protocol: Option<String>,
}

impl Question {
    /// Without attributes, which may be 4 kB a route.
    fn text(&self) -> String {
        let Question { table, protocol } = self;
        match protocol {
            Some(protocol) => filtered(table, protocol),
            None => format!("show route filtered table '{table}'"),
        }
    }
}

/// A table of BIRD.
#[derive(Default)]
struct Table<'a> {
    /// Those of the sessions that were asked about.
    routes: u64,
    /// Its sessions with refused routes: how many, and the protocol.
    refusing: Vec<(u64, &'a str)>,
}

impl Table<'_> {
    /// What all refused routes of it cost at once, in refused routes.
    fn cost(&self) -> u64 {
        self.routes / WALKED + self.refusing.iter().map(|(filtered, _)| filtered).sum::<u64>()
    }
}

/// The question for a session's refused routes.
pub(super) fn filtered(table: &str, protocol: &str) -> String {
    format!("show route filtered table '{table}' protocol '{protocol}'")
}

/// The question for the best routes of a table that BGP itself forbids to tell this session's peer: by their senders' wish
/// (RFC 1997), or because both are routers of our own AS. BIRD obeys before it asks a filter, so it lists them among neither
/// those that it exports nor those that a filter withholds. As there, the cause is left as the preference.
pub(super) fn forbidden(session: &Session) -> String {
    let (table, protocol) = (session.table(), &session.protocol);
    // NO_EXPORT, NO_ADVERTISE, NO_EXPORT_SUBCONFED.
    let any: Vec<_> = (1..=3).map(|n| format!("(65535, {}) ~ bgp_community", 65280 + n)).collect();
    let internal = match session.is_internal() {
        true => format!(
            " if station_from = {INTERNAL} then {{ preference = {}; accept; }}",
            Withheld::Internal as u32
        ),
        false => String::new(),
    };
    format!(
        "show route table '{table}' primary filter {{ if source != RTS_BGP || proto = \"{protocol}\" then reject; \
         if {} then accept;{internal} reject; }}",
        any.join(" || ")
    )
}

/// Why a route was refused.
pub(super) fn cause(route: &Route) -> &'static str {
    Cause::of(route.preference).map_or("unknown", Cause::name)
}

/// The counts of sessions, by protocol. `protocols`: what BIRD says of them.
///
/// # Errors
/// Where BIRD does not answer.
pub(super) fn counts(
    client: &mut Client,
    sessions: &[Session],
    protocols: &HashMap<String, Protocol>,
) -> Result<HashMap<String, Counts>, ClientError> {
    let (questions, mut counts) = plan(sessions, protocols);
    for question in questions {
        client.send(&question.text())?;
        let mut routes = Routes::default();
        let mut count = |route: Option<Route>| {
            if let Some(route) = route {
                let of: &mut Counts = counts.entry(route.protocol.clone()).or_default();
                *of.entry(cause(&route).to_owned()).or_insert(0) += 1;
            }
        };
        while let Some((code, line)) = client.answer()? {
            count(routes.line(code, &line));
        }
        count(routes.end());
    }
    Ok(counts)
}

/// What to ask, the cheapest first, and what is left uncounted.
fn plan(
    sessions: &[Session],
    protocols: &HashMap<String, Protocol>,
) -> (Vec<Question>, HashMap<String, Counts>) {
    let of_one_vif = sessions.windows(2).all(|two| two[0].vif == two[1].vif);
    let mut left = if of_one_vif { u64::MAX } else { BUDGET };
    let mut tables: BTreeMap<String, Table<'_>> = BTreeMap::new();
    for session in sessions {
        let Some(protocol) = protocols.get(&session.protocol) else { continue };
        let table = tables.entry(session.table()).or_default();
        table.routes += protocol.imported + protocol.filtered;
        if protocol.filtered > 0 {
            table.refusing.push((protocol.filtered, &session.protocol));
        }
    }
    let mut tables: Vec<_> = tables.into_iter().collect();
    tables.retain(|(_, table)| !table.refusing.is_empty());
    tables.sort_by_key(|(_, table)| table.cost());
    let mut fits = |cost: u64| left.checked_sub(cost).inspect(|rest| left = *rest).is_some();
    let (mut questions, mut uncounted) = (Vec::new(), HashMap::new());
    for (name, mut table) in tables {
        if !of_one_vif && fits(table.cost()) {
            questions.push(Question { table: name, protocol: None });
            continue;
        }
        // One session with many does not keep the others of its VRF from being counted.
        table.refusing.sort_unstable();
        for (filtered, protocol) in table.refusing {
            let protocol = protocol.to_owned();
            if fits(table.routes / WALKED + filtered) {
                questions.push(Question { table: name.clone(), protocol: Some(protocol) });
            } else {
                uncounted.insert(protocol, Counts::from([(NOT_COUNTED.to_owned(), filtered)]));
            }
        }
    }
    (questions, uncounted)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn session(vif: &str, vrf: &str) -> Session {
        let address = "192.0.2.1".parse().unwrap();
        Session {
            protocol: format!("b.{vif}"),
            tap: vif.into(),
            vif: vif.into(),
            vrf: vrf.into(),
            peer: address,
            local: address,
            peer_as: 1,
            local_as: 2,
            max_prefixes: 100,
            bfd: false,
        }
    }

    /// Sessions as (VIF, VRF, accepted, refused): what is asked, in short, and who is not counted.
    fn planned(all: &[(&str, &str, u64, u64)]) -> (Vec<String>, Vec<String>) {
        let sessions: Vec<_> = all.iter().map(|(vif, vrf, ..)| session(vif, vrf)).collect();
        let protocols = all.iter().map(|&(vif, _, imported, filtered)| {
            (format!("b.{vif}"), Protocol { imported, filtered, ..Protocol::default() })
        });
        let (questions, uncounted) = plan(&sessions, &protocols.collect());
        let short = |q: Question| q.protocol.unwrap_or(q.table);
        let mut not: Vec<_> = uncounted.into_keys().collect();
        not.sort();
        (questions.into_iter().map(short).collect(), not)
    }

    #[test]
    fn a_table_is_walked_once_and_only_where_something_was_refused() {
        let all = [("a", "pub", 900_000, 5), ("b", "pub", 10, 7), ("c", "c", 10, 0)];
        assert_eq!(planned(&all), (vec!["r4.pub".into()], vec![]));
    }

    #[test]
    fn many_refused_routes_are_not_counted_and_hide_nobody_elses() {
        let all = [("a", "pub", 10, BUDGET), ("b", "pub", 10, 7), ("c", "c", 10, 9)];
        assert_eq!(planned(&all), (vec!["r4.c".into(), "b.b".into()], vec!["b.a".into()]));
    }

    #[test]
    fn a_vif_alone_is_counted_whole() {
        let all = [("a", "pub", 900_000, 20 * BUDGET)];
        assert_eq!(planned(&all), (vec!["b.a".into()], vec![]));
    }

    #[test]
    fn walks_cost_too() {
        let names: Vec<String> = (0..10).map(|n| format!("t{n}")).collect();
        let all: Vec<_> = names.iter().map(|name| (&**name, &**name, 900_000, 1)).collect();
        let (asked, not) = planned(&all);
        assert_eq!((asked.len(), not.len()), (2, 8));
    }
}
