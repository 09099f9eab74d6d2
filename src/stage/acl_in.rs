//! The access list of the ingress VIF: it judges what is to be forwarded, before anything answers it. What is for the
//! router itself is none of its business, so no list cuts a BGP session: the stages for that have their own checks and
//! budgets.

use super::{Burst, Context, Flags, acl};
use crate::tables::{AdjacencyId, AdjacencyKind, Direction, Verdict};

/// Not 0 where the list denies the packet, or has yet to judge it.
#[inline(always)]
pub fn concerns(burst: &Burst, lane: usize) -> u32 {
    burst.flags[lane] & (Flags::DENIED_IN.0 | Flags::UNJUDGED.0)
}

/// Settles what the list denies.
///
/// # Errors
/// The lane's verdict.
pub fn verdict(burst: &Burst, c: &Context<'_>, lane: usize) -> Result<(), Verdict> {
    let flags = burst.flags(lane);
    if !flags.has(Flags::UNJUDGED) {
        return acl::settled(burst, lane, Direction::Rx);
    }
    let adjacency = c.tables.adjacency(AdjacencyId(burst.adjacency[lane]));
    // An IPv6 packet with a link-local address is the router's, or is answered: it goes nowhere else.
    let is_for_router = matches!(adjacency.kind, AdjacencyKind::Local | AdjacencyKind::Broadcast)
        || burst.v6.has(lane) && flags.has(Flags::LINK_LOCAL);
    match burst.vif(lane).filter(|_| !is_for_router) {
        Some(vif) => acl::judge_one(burst, c, lane, vif, Direction::Rx),
        None => Ok(()),
    }
}
