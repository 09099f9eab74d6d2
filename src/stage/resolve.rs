//! What the chosen adjacency means for the packet.

use std::net::{IpAddr, Ipv4Addr};

use super::{Burst, Context, Flags};
use crate::tables::rules::{AddressKind, is_on_subnet_of, meet};
use crate::tables::{
    AdjacencyId, AdjacencyKind, DropReason, Facts, GroupId, Ingress, PuntReason, Verdict,
};

/// Pairs of flags: a packet is to be looked at that has one, and whose way out has the same bit.
const MEET: u32 = Ingress::CUSTOMER | Ingress::FROM_STATION | Ingress::STAYS;

/// Not 0 where the packet would leave its VRF (an adjacency that does not send is in none), passes from one customer's
/// VIF to another's, may not pass between stations, or is confined to a link.
#[inline(always)]
pub fn concerns(burst: &Burst, lane: usize) -> u32 {
    const { assert!(Facts::CUSTOMER | Facts::STAYS | Facts::TO_STATION == MEET) };
    (burst.to_place[lane] ^ burst.place[lane]) >> 16
        | burst.rules[lane] & burst.to_rules[lane] & MEET
        | burst.flags[lane] & (Flags::LINK_LOCAL.0 | Flags::DISCOVERY.0)
}

/// Settles a lane that no adjacency forwards.
///
/// # Errors
/// The lane's verdict.
pub fn verdict(burst: &Burst, c: &Context<'_>, lane: usize) -> Result<(), Verdict> {
    let Some(id) = burst.vif(lane) else { return Ok(()) };
    let adjacency = c.tables.adjacency(AdjacencyId(burst.adjacency[lane]));
    let flags = burst.flags(lane);
    if flags.has(Flags::LINK_LOCAL) {
        confined(burst, c, lane, adjacency.kind)?;
    }
    match meet(c.tables, id, burst.permit(lane), adjacency) {
        Ok(_) => Ok(()),
        Err(Verdict::Punt(PuntReason::Local)) if flags.has(Flags::DISCOVERY) => {
            Err(Verdict::Punt(PuntReason::NeighborDiscovery))
        }
        Err(verdict) => Err(verdict),
    }
}

/// What becomes of a packet with a link-local address that would leave its link.
fn confined(
    burst: &Burst,
    c: &Context<'_>,
    lane: usize,
    kind: AdjacencyKind,
) -> Result<(), Verdict> {
    if burst.v6.has(lane) {
        // RFC 4291 2.5.6: it means something on its link alone. The slow path knows which addresses are ours.
        let to = AddressKind::of6(burst.v6_addresses.destination[lane]);
        let local = to != AddressKind::LinkLocal && kind == AdjacencyKind::Local;
        return if local { Ok(()) } else { Err(Verdict::Punt(PuntReason::LinkLocal)) };
    }
    if !matches!(kind, AdjacencyKind::Local | AdjacencyKind::Broadcast)
        && leaves_link(burst, c, lane)
    {
        return Err(Verdict::Drop(DropReason::LinkLocalOffLink));
    }
    Ok(())
}

/// Whether a packet of 169.254/16 would leave the subnets on which RFC 3927 2.7 holds it. Those that the operator
/// configured are none of them: links of cloud interconnects are numbered so, and what their routers have to say of a packet
/// (RFC 1191, RFC 1812 4.3.2) must reach its sender.
fn leaves_link(burst: &Burst, c: &Context<'_>, lane: usize) -> bool {
    let (source, destination) =
        (burst.v4_addresses.source[lane], burst.v4_addresses.destination[lane]);
    let beyond = |address: u32, route: GroupId| {
        AddressKind::of4(address) == AddressKind::LinkLocal
            && !is_on_subnet_of(c.tables, route, IpAddr::V4(Ipv4Addr::from_bits(address)))
    };
    beyond(destination, GroupId(burst.to_group[lane]))
        || beyond(source, GroupId(c.fib.lookup4(burst.vrf[lane], source)))
}
