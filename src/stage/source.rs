//! Source address validation (RFC 3704, RFC 8704 feasible-path): what enters by a customer's VIF must
//! come from an address that the VRF would route back to it.

use super::{Burst, Context};
use crate::tables::{AdjacencyKind, DropReason, GroupId, Snapshot, SourceCheck, VifId};

/// Drops lanes whose source does not belong to their VIF.
#[inline(never)]
pub fn run(burst: &mut Burst, c: &mut Context<'_>) {
    for lane in burst.live.and(burst.checked).and(burst.odd) {
        let state = &burst.lanes[lane];
        let Some(id) = state.vif else { continue };
        let group = burst.source_group(lane);
        if let Err(reason) = check(c.tables, group, id, state.ingress.source_check) {
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
