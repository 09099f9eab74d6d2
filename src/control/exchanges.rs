//! Exchanges of a configuration: their ids, their permits, and the routes that lead to these.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use super::commit::CommitError;
use super::compile::{put, vrf_id};
use super::state::{Egress, State};
use crate::config::model::{Config, ExchangeConfig};
use crate::tables::exchange::{Exchange, Passed};
use crate::tables::{AdjacencyKind, ExchangeId, GroupId, VifId, VrfId};

/// What an id stands for: never another pair of VRFs.
pub(super) type ExchangeKey = (Arc<str>, VrfId, VrfId);

fn key(state: &State, exchange: &ExchangeConfig) -> Result<ExchangeKey, CommitError> {
    let vrf = |name: &Arc<str>| {
        let id = state.vrfs.get(&**name).map(vrf_id);
        let id = id.filter(|id| state.tables.vrfs.get(id.index()).is_some_and(Option::is_some));
        id.ok_or_else(|| CommitError::Unknown("VRF", name.clone()))
    };
    Ok((exchange.name.clone(), vrf(&exchange.from)?, vrf(&exchange.to)?))
}

/// Gives each exchange its id and its place in the tables. What has passed stays with its name.
pub(super) fn exchanges(state: &mut State, config: &Config) -> Result<(), CommitError> {
    let mut table = Vec::new();
    for exchange in &config.exchanges {
        let key = key(state, exchange)?;
        let (name, exporter, importer) = key.clone();
        let (id, _) = state.exchanges.want(key).ok_or(CommitError::Full("exchanges"))?;
        let mut old = state.tables.exchanges.iter().flatten();
        let passed = old.find(|old| old.name == name).map(|old| old.passed.clone());
        let passed = passed.unwrap_or_else(|| Arc::new(Passed::new(state.workers)));
        put(&mut table, id, Exchange { name, exporter, importer, passed });
    }
    state.tables.exchanges = table.into();
    Ok(())
}

/// The VRF that an exchange leads into, and the group of its permit, wanted once more.
pub(super) fn permit(
    state: &mut State,
    exchange: &ExchangeConfig,
) -> Result<(VrfId, GroupId), CommitError> {
    let key = key(state, exchange)?;
    let id = state.exchanges.get(&key).and_then(|id| u16::try_from(id).ok());
    let id = id.ok_or_else(|| CommitError::Unknown("exchange", exchange.name.clone()))?;
    let egress = Egress {
        kind: AdjacencyKind::Exchange(ExchangeId(id)),
        vrf: key.2,
        vif: VifId(0),
        address: IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        mac: None,
    };
    Ok((key.2, state.want_single(egress)?))
}
