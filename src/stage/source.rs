//! Source address validation (RFC 3704, RFC 8704 feasible-path): what enters by a customer's VIF must
//! come from an address that the VRF would route back to it.

use super::{Burst, Context};
use crate::tables::{AdjacencyKind, DropReason, GroupId, Snapshot, SourceCheck, VifId};

/// Drops lanes whose source does not belong to their VIF.
#[inline(always)]
pub fn run(burst: &mut Burst, c: &mut Context<'_>) {
    for lane in burst.live.and(burst.odd) {
        let Some(id) = burst.vif(lane).filter(|_| burst.is_checked(lane)) else { continue };
        let mode = c.tables.vif(id).map_or(SourceCheck::Strict, |vif| vif.source_check);
        let group = GroupId(burst.back_group[lane]);
        if let Err(reason) = check(c.tables, group, id, mode) {
            burst.drop(lane, reason);
        }
    }
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
