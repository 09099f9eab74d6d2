//! Source address validation (RFC 3704, RFC 8704 feasible-path): what enters by a customer's VIF must
//! come from an address that the VRF would route back to it.

use super::{Burst, Context, Flags};
use crate::tables::{AdjacencyKind, DropReason, GroupId, Snapshot, SourceCheck, VifId};

/// Drops lanes whose source does not belong to their VIF.
#[inline]
pub fn run(burst: &mut Burst, c: &mut Context<'_>) {
    for lane in burst.live {
        let state = &burst.lanes[lane];
        let Some(id) = state.vif else { continue };
        let Some(vif) = c.tables.vif(id) else { continue };
        let link_local6 = burst.v6.0 & (1 << lane) != 0 && state.flags.has(Flags::LINK_LOCAL);
        if vif.source_check == SourceCheck::Off || link_local6 {
            continue;
        }
        let group = GroupId(state.source_group);
        if let Err(reason) = check(c.tables, group, id, vif.source_check) {
            burst.drop(lane, reason);
        }
    }
}

#[inline(always)]
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
