//! `show reachability`. The control thread reads out the routes, page by page as `show routes` does; who reaches whom is
//! found on the connection's own thread.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use ipnet::IpNet;

use super::answer::no_such;
use super::change::stopping;
use super::control_thread::Control;
use super::desk::Desk;
use super::routes::FIRST;
use super::view::vrfs;
use crate::admin::answer::Answer;
use crate::admin::protocol::{ErrorKind, ReachabilityFilter, Refusal};
use crate::admin::rows::{MAX_PREFIXES, ReachabilityRow};
use crate::config::model::Config;
use crate::tables::reach::{Reach, Reachability, Survey};
use crate::tables::{GroupId, Snapshot, Vif, VifId, VrfId};

/// Routes of a page: less than a millisecond of the control thread's time.
const PAGE: usize = 1024;
/// VRFs of a page at most: a walk costs by nodes of the tree, of which small tables have many for a route.
const VRFS: usize = 16;
/// How often routes are read again because a commit has come between, and how long that may take.
const TRIES: usize = 50;
const COMMIT: Duration = Duration::from_millis(100);

/// Who reaches whom. Routes that change meanwhile count as they were when their page was read.
pub(super) fn show(control: &Control, filter: &ReachabilityFilter) -> Answer {
    let (desk, filter) = (control.desk.clone(), filter.clone());
    Answer::later(move || match find(&desk, &filter) {
        Ok((reachability, ends)) => rows(reachability, ends, filter.is_whole()),
        Err(refusal) => Answer::Refused(refusal),
    })
}

/// One end, or all.
#[derive(Clone, Copy)]
enum End {
    Any,
    Vif(VifId),
    Vrf(VrfId),
}

impl End {
    fn of(tables: &Snapshot, name: Option<&str>) -> Result<End, Refusal> {
        let Some(name) = name else { return Ok(End::Any) };
        let vif = tables.vifs_by_id().find(|(_, vif)| *vif.name == *name);
        let of_vrf = name.strip_prefix("vrf:").unwrap_or(name);
        let vrf = vrfs(tables).find(|(_, vrf)| *vrf.name == *of_vrf);
        match (vif, vrf) {
            (Some((id, _)), _) => Ok(End::Vif(id)),
            (None, Some((id, _))) => Ok(End::Vrf(id)),
            (None, None) => Err(no_such("vif or vrf", name)),
        }
    }

    fn has(self, id: VifId, vif: &Vif) -> bool {
        match self {
            End::Any => true,
            End::Vif(wanted) => id == wanted,
            End::Vrf(wanted) => vif.vrf == wanted,
        }
    }

    /// The VRF that it is in.
    fn vrf(self, tables: &Snapshot) -> Option<VrfId> {
        match self {
            End::Any => None,
            End::Vif(id) => tables.vif(id).map(|vif| vif.vrf),
            End::Vrf(id) => Some(id),
        }
    }
}

/// The VRFs whose routes decide what is asked: those that packets enter, and those that exchanges lead into them from.
fn wanted(tables: &Snapshot, [from, to]: [End; 2]) -> Vec<VrfId> {
    let exchanges = || tables.exchanges.iter().flatten();
    let entered: BTreeSet<VrfId> = match (from.vrf(tables), to.vrf(tables)) {
        (Some(from), _) => [from].into(),
        (None, Some(to)) => {
            let importers = exchanges().filter(|exchange| exchange.exporter == to);
            importers.map(|exchange| exchange.importer).chain([to]).collect()
        }
        (None, None) => vrfs(tables).map(|(id, _)| id).collect(),
    };
    let into = exchanges().filter(|exchange| entered.contains(&exchange.importer));
    let from: BTreeSet<VrfId> = into.map(|exchange| exchange.exporter).collect();
    entered.union(&from).copied().collect()
}

/// Where a page begins: a VRF's place in the list, a family, and the last prefix that was read of it.
#[derive(Clone, Copy, Default)]
struct Start {
    vrf: usize,
    family: usize,
    after: Option<IpNet>,
}

/// Routes of some VRFs with the tables that they were read beside.
struct Page {
    config: Arc<Config>,
    tables: Snapshot,
    routes: Vec<(VrfId, Vec<(IpNet, GroupId)>)>,
    /// Where the next one begins, if there is one.
    next: Option<Start>,
}

/// The next page; `None` while a commit is under way, when routes may lead to what the tables do not have yet.
fn page(control: &Control, list: &[VrfId], start: Start) -> Option<Page> {
    if control.engine.is_committing() {
        return None;
    }
    let Start { vrf: first, family: at, mut after } = start;
    let mut page = Page {
        config: control.config().clone(),
        tables: control.engine.tables().clone(),
        routes: Vec::new(),
        next: None,
    };
    let mut room = PAGE;
    for (vrf, id) in list.iter().enumerate().skip(first) {
        let begun = if vrf == first { at } else { 0 };
        for (family, from) in FIRST.iter().enumerate().skip(begun) {
            if vrf - first == VRFS {
                page.next = Some(Start { vrf, family, after });
                return Some(page);
            }
            let skipped = after.take();
            let routes = control.engine.groups_from(*id, skipped.unwrap_or(*from));
            let routes = routes.filter(|(prefix, _)| Some(*prefix) != skipped).take(room);
            let routes: Vec<(IpNet, GroupId)> = routes.collect();
            room -= routes.len();
            let last = routes.last().filter(|_| room == 0).map(|(prefix, _)| *prefix);
            page.routes.push((*id, routes));
            if last.is_some() {
                page.next = Some(Start { vrf, family, after: last });
                return Some(page);
            }
        }
    }
    Some(page)
}

/// Reads the routes that decide, and finds who reaches whom.
fn find(desk: &Desk, filter: &ReachabilityFilter) -> Result<(Reachability, [End; 2]), Refusal> {
    for _ in 0..TRIES {
        let base = desk.ask(|control| (control.config().clone(), control.engine.tables().clone()));
        let (config, mut tables) = base.ok_or_else(stopping)?;
        let end = |name: &Option<String>| End::of(&tables, name.as_deref());
        let ends = [end(&filter.from)?, end(&filter.to)?];
        let list: Arc<[VrfId]> = wanted(&tables, ends).into();
        let mut survey = Survey::default();
        let mut next = Some(Start::default());
        while let Some(start) = next {
            let list = list.clone();
            let page = desk.ask(move |control| page(control, &list, start));
            let page = page.ok_or_else(stopping)?;
            let Some(page) = page.filter(|page| Arc::ptr_eq(&page.config, &config)) else { break };
            for (vrf, routes) in &page.routes {
                survey.take(&page.tables, *vrf, routes);
            }
            (tables, next) = (page.tables, page.next);
        }
        if next.is_none() {
            return Ok((survey.finish(tables), ends));
        }
        thread::sleep(COMMIT);
    }
    let message = "the configuration changes all the time: ask again when it does not";
    Err(Refusal::new(ErrorKind::Conflict, message))
}

/// The rows, each made when it is wanted.
fn rows(reachability: Reachability, [from, to]: [End; 2], whole: bool) -> Answer {
    let ids = reachability.tables().vifs_by_id().filter(|(id, vif)| from.has(*id, vif));
    let ids: Vec<VifId> = ids.map(|(id, _)| id).collect();
    Answer::rows(ids.into_iter().flat_map(move |id| {
        let tables = reachability.tables();
        let wanted =
            |reached: &Reach<'_>| tables.vif(reached.to).is_some_and(|vif| to.has(reached.to, vif));
        let reached = reachability.of(id).filter(wanted);
        reached.flat_map(|reached| rows_of(tables, id, &reached, whole)).collect::<Vec<_>>()
    }))
}

/// The row of two VIFs, or where all prefixes are wanted as many as have room for them.
fn rows_of(
    tables: &Snapshot,
    from: VifId,
    reached: &Reach<'_>,
    whole: bool,
) -> Vec<ReachabilityRow> {
    let (Some(entered), Some(left)) = (tables.vif(from), tables.vif(reached.to)) else {
        return Vec::new();
    };
    let vrf = |id: VrfId| {
        let vrf = tables.vrfs.get(id.index()).and_then(Option::as_ref);
        vrf.map_or_else(String::new, |vrf| vrf.name.to_string())
    };
    let exchange = reached.by.and_then(|id| tables.exchange(id));
    let [v4, v6] = reached.prefixes;
    let row = ReachabilityRow {
        from: entered.name.to_string(),
        from_vrf: vrf(entered.vrf),
        to: left.name.to_string(),
        to_vrf: vrf(left.vrf),
        exchange: exchange.map(|exchange| exchange.name.to_string()),
        source_check: entered.source_check,
        filtered: entered.acl_in.is_some() || left.acl_out.is_some(),
        ipv4_prefixes: v4.len() as u64,
        ipv6_prefixes: v6.len() as u64,
        prefixes: Vec::new(),
    };
    let prefixes: Vec<IpNet> = match whole {
        true => [v4, v6].concat(),
        false => v4.iter().chain(v6).take(MAX_PREFIXES).copied().collect(),
    };
    let rows = prefixes.chunks(MAX_PREFIXES);
    rows.map(|part| ReachabilityRow { prefixes: part.to_vec(), ..row.clone() }).collect()
}
