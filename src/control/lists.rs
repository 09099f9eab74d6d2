//! The access lists of a configuration, each with what its rules have counted before.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::commit::CommitError;
use super::state::State;
use crate::config::model::{AclConfig, Config};
use crate::tables::AccessList;

/// Access lists by name.
pub(super) type Lists = Arc<BTreeMap<Arc<str>, Arc<AccessList>>>;

/// The most memory that compiled access lists may take, in MiB.
const LISTS: usize = 1024;

/// The access lists; those that are as they were are what they were.
pub(super) fn lists(state: &State, config: &Config) -> Result<Lists, CommitError> {
    let old = &state.tables.acls.named;
    let list = |acl: &AclConfig| {
        let old = old.get(&acl.name);
        let list = match old.filter(|old| old.list == acl.list) {
            Some(same) => same.clone(),
            None => {
                let (name, list) = (acl.name.clone(), acl.list.clone());
                Arc::new(AccessList::new(name, list, state.workers, old.map(|old| &**old)))
            }
        };
        (acl.name.clone(), list)
    };
    let lists: BTreeMap<_, _> = config.acls.iter().map(list).collect();
    let mebibytes = |octets: usize| octets.div_ceil(1 << 20);
    let sizes = lists.values().map(|list| (list.list.classifier().bytes(), &list.name));
    let sum: usize = sizes.clone().map(|(size, _)| size).sum();
    match sizes.max().filter(|_| sum > LISTS << 20) {
        Some((size, name)) => {
            Err(CommitError::Lists(mebibytes(sum), LISTS, name.clone(), mebibytes(size)))
        }
        None => Ok(Arc::new(lists)),
    }
}

/// The list that a VIF names, if it names one.
pub(super) fn named(
    lists: &Lists,
    name: Option<&Arc<str>>,
) -> Result<Option<Arc<AccessList>>, CommitError> {
    let found = name.map(|name| {
        let list = lists.get(name).cloned();
        list.ok_or_else(|| CommitError::Unknown("access list", name.clone()))
    });
    found.transpose()
}
