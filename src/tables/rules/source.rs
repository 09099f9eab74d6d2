//! Source address validation (RFC 3704, RFC 8704 feasible-path).

use super::super::adjacency::AdjacencyKind;
use super::super::ids::{GroupId, VifId};
use super::super::snapshot::Snapshot;
use super::super::verdict::DropReason;
use super::super::vif::SourceCheck;

/// Whether a source whose route is this group may enter by a VIF: any way back is right for the kind of check.
///
/// # Errors
/// `ForeignSource` or `SpoofedSource`. Whether there is a check at all, the caller knows.
pub fn admit(
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
