//! `show acl`: access lists, who uses them, and how often their rules matched.

use std::sync::Arc;

use super::answer::no;
use super::control_thread::Control;
use crate::acl::Action;
use crate::admin::answer::Answer;
use crate::admin::protocol::AclFilter;
use crate::admin::rows::{AclEntry, AclRow};
use crate::tables::{AccessList, Direction, Snapshot, Vif};

/// All lists, or one with its rules.
pub(super) fn show(control: &Control, filter: &AclFilter) -> Answer {
    let tables = control.engine.tables().clone();
    match &filter.name {
        None => Answer::later(move || Answer::rows(rows(&tables).into_iter().map(Box::new))),
        Some(name) => match tables.acls.named.get(&**name).cloned() {
            None => no("acl", name),
            Some(list) => Answer::later(move || {
                let row = AclRow { entries: entries(&list), ..row(&tables, &list) };
                Answer::rows([Box::new(row)])
            }),
        },
    }
}

/// A row for each list, without its rules.
pub(super) fn rows(tables: &Snapshot) -> Vec<AclRow> {
    tables.acls.named.values().map(|list| row(tables, list)).collect()
}

fn row(tables: &Snapshot, list: &AccessList) -> AclRow {
    let users = |of: fn(&Vif) -> &Option<Arc<AccessList>>| {
        let uses = |vif: &Vif| of(vif).as_ref().is_some_and(|used| used.name == list.name);
        let users = tables.vifs_by_id().filter(|(_, vif)| uses(vif));
        users.map(|(_, vif)| vif.name.to_string()).collect()
    };
    let classifier = list.list.classifier();
    let mut row = AclRow {
        name: list.name.to_string(),
        rules: classifier.rules() as u64,
        structure: classifier.kind().name().into(),
        octets: classifier.bytes() as u64,
        build_us: u64::try_from(list.list.build_time().as_micros()).unwrap_or(u64::MAX),
        vifs_in: users(|vif| &vif.acl_in),
        vifs_out: users(|vif| &vif.acl_out),
        ..AclRow::default()
    };
    for (place, [entered, left]) in list.hits().enumerate() {
        let (sum_in, sum_out) = match list.action(place) {
            Action::Permit => (&mut row.permitted_in, &mut row.permitted_out),
            Action::Deny => (&mut row.denied_in, &mut row.denied_out),
            Action::Reject => (&mut row.rejected_in, &mut row.rejected_out),
        };
        *sum_in += entered;
        *sum_out += left;
    }
    row
}

fn entries(list: &AccessList) -> Vec<AclEntry> {
    let entry = |(place, hits): (usize, [u64; 2])| {
        let is_rule = place < list.unmatched();
        AclEntry {
            number: is_rule.then_some(place as u64 + 1),
            rule: said(list, place),
            hits_in: hits[Direction::Rx as usize],
            hits_out: hits[Direction::Tx as usize],
        }
    };
    list.hits().enumerate().map(entry).collect()
}

/// What stands in a place of a list.
pub(super) fn said(list: &AccessList, place: usize) -> String {
    match list.list.rules().get(place) {
        Some(rule) => rule.to_string(),
        None if place == list.unmatched() => "deny (no rule matches)".into(),
        None => "deny (headers cut short)".into(),
    }
}
