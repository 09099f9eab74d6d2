//! The limits over a packet, in words.

use std::net::IpAddr;

use crate::config::rate_text;
use crate::tables::{Direction, Snapshot, VifId};

/// The limits over a packet of a VIF. Whether they have room now is not said: it changes all the time.
pub(super) fn bandwidth(tables: &Snapshot, id: Option<VifId>, direction: Direction) -> String {
    let plan = id.and_then(|id| Some((tables.vif(id)?, tables.meters.plan(id, direction)?)));
    let Some((vif, plan)) = plan else { return String::new() };
    let named = [("its own", &plan.own), ("its group's", &plan.group), ("its port's", &plan.port)];
    let limits = named.iter().filter_map(|(whose, limit)| {
        Some(format!("{whose} {}", rate_text(limit.as_ref()?.pace.rate)))
    });
    let limits = limits.collect::<Vec<_>>().join(", ");
    format!("{} of vif {}: {limits}", direction.name(), vif.name)
}

/// The limits over the addresses of a packet from one VIF to another, by direction: source and destination as it came.
pub(super) fn address_limits(
    tables: &Snapshot,
    ways: [Option<VifId>; 2],
    [source, destination]: [Option<IpAddr>; 2],
) -> String {
    let from = ways[0].and_then(|id| tables.vif(id)?.translations.as_ref());
    // Addresses are the VRF's.
    let source = source.and_then(|source| match from {
        Some(translations) => translations.apply(Direction::Rx, source),
        None => Some(source),
    });
    let (Some(source), Some(destination)) = (source, destination) else { return String::new() };
    let limits = ways.into_iter().zip(Direction::BOTH).flat_map(|(id, direction)| {
        let limits = id.map_or(&[][..], |id| tables.address_limits.of(id.index(), direction));
        let vif = id.and_then(|id| tables.vif(id)).map_or("", |vif| &*vif.name);
        limits.iter().map(move |limit| {
            let (by, address) = (limit.terms.by, limit.terms.by.of(source, destination));
            let what = match limit.slot_of(address) {
                Some(_) => rate_text(limit.terms.pace.rate),
                None => "no limit".to_owned(),
            };
            let (way, name, by) = (direction.name(), &limit.name, by.name());
            format!("{way} of vif {vif}: {name} has {what} for the {by} {address}")
        })
    });
    limits.collect::<Vec<_>>().join("; ")
}
