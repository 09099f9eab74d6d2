//! What keeps a packet that may leave from leaving at once: a next hop without a MAC, or options to process. It comes last,
//! because a packet that must be answered needs neither.

use super::{Burst, Context, Flags};
use crate::tables::{AdjacencyId, AdjacencyKind, NOWHERE, PuntReason, Verdict};

/// Not 0 where the adjacency does not send, or the packet has options.
#[inline(always)]
pub fn concerns(burst: &Burst, lane: usize) -> u32 {
    u32::from(burst.to_place[lane] == NOWHERE) | burst.flags[lane] & Flags::OPTIONS.0
}

/// Punts such a lane.
///
/// # Errors
/// The lane's verdict.
pub fn verdict(burst: &Burst, c: &Context<'_>, lane: usize) -> Result<(), Verdict> {
    let adjacency = c.tables.adjacency(AdjacencyId(burst.adjacency[lane]));
    if adjacency.kind != AdjacencyKind::Forward {
        return Err(Verdict::Punt(PuntReason::NextHopUnresolved));
    }
    Err(Verdict::Punt(PuntReason::IpOptions))
}
