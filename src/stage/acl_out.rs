//! The access list of the egress VIF: it judges what would leave there, before it is answered for its length, fragmented,
//! or held for its next hop.

use super::{Burst, Context, Flags, acl};
use crate::tables::{AdjacencyId, Direction, Verdict};

/// Not 0 where the list denies the packet, or has yet to judge it.
#[inline(always)]
pub fn concerns(burst: &Burst, lane: usize) -> u32 {
    burst.flags[lane] & (Flags::DENIED_OUT.0 | Flags::UNJUDGED.0)
}

/// Settles what the list denies. `resolve` has let the packet pass: its adjacency is on a VIF.
///
/// # Errors
/// The lane's verdict.
pub fn verdict(burst: &Burst, c: &Context<'_>, lane: usize) -> Result<(), Verdict> {
    if !burst.flags(lane).has(Flags::UNJUDGED) {
        return acl::settled(burst, lane, Direction::Tx);
    }
    let adjacency = c.tables.adjacency(AdjacencyId(burst.adjacency[lane]));
    acl::judge_one(burst, c, lane, adjacency.vif, Direction::Tx)
}
