//! `show routes`: page by page, so that a full table holds the control thread for a page's time only.

use std::collections::{HashMap, VecDeque};
use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use super::answer::no;
use super::control_thread::Control;
use crate::admin::answer::Answer;
use crate::admin::protocol::{Family, RouteFilter};
use crate::admin::rows::{Member, RouteRow, Row};
use crate::control::{Route, Source};
use crate::tables::{AdjacencyKind, GroupId, VrfId};

/// The first prefix of each family.
pub(super) const FIRST: [IpNet; 2] = [
    IpNet::V4(Ipv4Net::new_assert(Ipv4Addr::UNSPECIFIED, 0)),
    IpNet::V6(Ipv6Net::new_assert(Ipv6Addr::UNSPECIFIED, 0)),
];

/// Routes of a page: less than a millisecond of the control thread's time.
const PAGE: usize = 512;

/// `show routes`. Routes that change meanwhile are shown as they are when their page is made.
pub(super) fn show(control: &Control, filter: &RouteFilter) -> Answer {
    let Some(vrf) = control.engine.vrf(&filter.vrf) else { return no("vrf", &filter.vrf) };
    let mut pages =
        Pages { vrf, filter: filter.clone(), starts: starts(filter).into(), rows: VecDeque::new() };
    let desk = control.desk.clone();
    let rows = std::iter::from_fn(move || {
        while pages.rows.is_empty() {
            let start = pages.starts.pop_front()?;
            let (vrf, filter) = (pages.vrf, pages.filter.clone());
            let page = desk.ask(move |control| page(control, vrf, &filter, start))?;
            pages.starts.extend(page.next);
            pages.starts.rotate_right(usize::from(page.next.is_some()));
            pages.rows = page.rows(&pages.filter.vrf);
        }
        pages.rows.pop_front()
    });
    Answer::Rows(Box::new(rows))
}

/// What is left to show.
struct Pages {
    vrf: VrfId,
    filter: RouteFilter,
    /// Where pages begin: the current one's family first.
    starts: VecDeque<Start>,
    rows: VecDeque<Row>,
}

/// Where a page begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Start {
    At(IpNet),
    After(IpNet),
}

/// The first prefix of each family that can match.
fn starts(filter: &RouteFilter) -> Vec<Start> {
    if let Some(prefix) = filter.prefix {
        return vec![Start::At(prefix.trunc())];
    }
    let [v4, v6] = FIRST.map(Start::At);
    match filter.family {
        Some(Family::Ipv4) => vec![v4],
        Some(Family::Ipv6) => vec![v6],
        None => vec![v4, v6],
    }
}

struct Page {
    routes: Vec<Route>,
    groups: HashMap<GroupId, (AdjacencyKind, Arc<[Member]>)>,
    /// Where the next one begins, if there may be one.
    next: Option<Start>,
}

/// A page of the routes of a VRF.
fn page(control: &Control, vrf: VrfId, filter: &RouteFilter, start: Start) -> Page {
    let (from, skipped) = match start {
        Start::At(prefix) => (prefix, None),
        Start::After(prefix) => (prefix, Some(prefix)),
    };
    // The routes within a prefix follow it.
    let routes: Vec<Route> = control
        .engine
        .routes_from(vrf, from)
        .filter(|route| Some(route.prefix) != skipped)
        .take_while(|route| filter.matches(&route.prefix))
        .take(PAGE)
        .collect();
    let last = routes.last().filter(|_| routes.len() == PAGE);
    let next = last.map(|route| Start::After(route.prefix));
    let mut groups = HashMap::new();
    for route in &routes {
        groups.entry(route.group).or_insert_with(|| control.group(route.group));
    }
    Page { routes, groups, next }
}

impl Page {
    fn rows(&self, vrf: &str) -> VecDeque<Row> {
        let row = |route: &Route| {
            let (kind, via) = self.groups.get(&route.group)?;
            Some(Row::from(RouteRow {
                vrf: vrf.to_owned(),
                prefix: route.prefix,
                origin: origin(route.source).into(),
                action: action(*kind).into(),
                via: via.to_vec(),
            }))
        };
        self.routes.iter().filter_map(row).collect()
    }
}

/// The word for where a route comes from.
pub(super) fn origin(source: Source) -> &'static str {
    match source {
        Source::Local => "local",
        Source::Connected => "connected",
        Source::Static => "static",
        Source::List => "list",
        Source::Neighbor => "neighbor",
        Source::Mapping => "mapping",
        Source::Bgp => "bgp",
        Source::Exchange => "exchange",
    }
}

/// The word for what a route does.
pub(super) fn action(kind: AdjacencyKind) -> &'static str {
    match kind {
        AdjacencyKind::Local => "local",
        AdjacencyKind::Broadcast => "broadcast",
        AdjacencyKind::Blackhole => "blackhole",
        AdjacencyKind::Unreachable => "unreachable",
        AdjacencyKind::Prohibited => "prohibit",
        AdjacencyKind::Exchange(_) => "exchange",
        _ => "forward",
    }
}
