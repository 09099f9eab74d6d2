//! Source address validation (RFC 3704, RFC 8704 feasible-path): what enters by a customer's VIF must
//! come from an address that the VRF would route back to it.

use super::{Burst, Context};
use crate::tables::rules::AddressKind;
use crate::tables::{
    AdjacencyKind, DropReason, GroupId, Ingress, Snapshot, SourceCheck, Verdict, VifId,
};

/// Not 0 where the source is checked and the one way back to it is not where the packet came from, or there is no one
/// way.
#[inline(always)]
pub fn concerns(burst: &Burst, lane: usize) -> u32 {
    let checked = burst.rules[lane] & Ingress::CHECKED != 0;
    if checked { burst.back_place[lane] ^ burst.place[lane] } else { 0 }
}

/// Drops such a lane where its source does not belong to its VIF.
///
/// # Errors
/// The lane's verdict.
pub fn verdict(burst: &Burst, c: &Context<'_>, lane: usize) -> Result<(), Verdict> {
    let Some(id) = burst.vif(lane) else { return Ok(()) };
    // A link-local source has no route: it is on the link or goes nowhere, which `resolve` sees to.
    if burst.v6.has(lane)
        && AddressKind::of6(burst.v6_addresses.source[lane]) == AddressKind::LinkLocal
    {
        return Ok(());
    }
    let mode = c.tables.vif(id).map_or(SourceCheck::Strict, |vif| vif.source_check);
    let group = GroupId(burst.back_group[lane]);
    check(c.tables, group, id, mode).map_err(Verdict::Drop)
}

/// Whether any way back to the source is right for the VIF's kind of check.
fn check(
    tables: &Snapshot,
    group: GroupId,
    id: VifId,
    mode: SourceCheck,
) -> Result<(), DropReason> {
    let mut foreign = false;
    // Every member, not only those that carry now: what comes by a backup path is as genuine.
    for &member in tables.groups.members(group) {
        let adjacency = tables.adjacency(member);
        let reaches_host = matches!(
            adjacency.kind,
            AdjacencyKind::Forward | AdjacencyKind::Unresolved | AdjacencyKind::Glean
        );
        if reaches_host && (adjacency.vif == id || mode == SourceCheck::Loose) {
            return Ok(());
        }
        foreign |= reaches_host && tables.vif(adjacency.vif).is_some_and(|vif| vif.kind.is_some());
    }
    Err(if foreign { DropReason::ForeignSource } else { DropReason::SpoofedSource })
}
