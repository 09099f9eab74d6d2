//! BGP and BFD of a VIF's configured peers, told apart from all else that is for the router: they have
//! budgets and a queue of their own, so that no flood at the same ports touches a session.

use crate::wire::Start;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::{Burst, Context};
use crate::tables::{PuntReason, Routing, Verdict, Vif};
use crate::wire::ipv4::Ipv4;
use crate::wire::ipv6::{self, Ipv6};

/// The TTL that proves that a packet crossed no router (RFC 5082, RFC 5881 section 5).
const ON_LINK: u8 = 255;

/// Names the routing protocol of punted lanes. Costs nothing where no lane is punted to the router.
#[inline(always)]
pub fn run(burst: &mut Burst, c: &mut Context<'_>) {
    for lane in burst.settled() {
        let Verdict::Punt(PuntReason::Local | PuntReason::LinkLocal) = burst.verdicts[lane] else {
            continue;
        };
        let Some(vif) = burst.vif(lane).and_then(|id| c.tables.vif(id)) else { continue };
        if vif.peers.is_empty() {
            continue;
        }
        if let Some(reason) = reason(vif, burst.l3(c.pool.area(), lane)) {
            burst.verdicts[lane] = Verdict::Punt(reason);
        }
    }
}

/// Packets with options, extension headers or in fragments are never routing's: their ports cannot be
/// seen here.
fn reason(vif: &Vif, l3: Start<'_>) -> Option<PuntReason> {
    let (peer, own, protocol, hops, upper): (IpAddr, IpAddr, _, _, _) =
        match l3.octets.first()? >> 4 {
            4 => {
                let packet = Ipv4::parse(l3).ok()?;
                if !packet.options().is_empty() || packet.is_fragment() {
                    return None;
                }
                let (peer, own) = (packet.source(), packet.destination());
                let addresses = (Ipv4Addr::from_bits(peer).into(), Ipv4Addr::from_bits(own).into());
                (addresses.0, addresses.1, packet.protocol(), packet.ttl(), packet.payload())
            }
            _ => {
                let packet = Ipv6::parse(l3).ok()?;
                let (peer, own) = (packet.source(), packet.destination());
                let addresses = (Ipv6Addr::from_bits(peer).into(), Ipv6Addr::from_bits(own).into());
                let upper = &packet.octets()[ipv6::HEADER_LEN..];
                (addresses.0, addresses.1, packet.next_header(), packet.hop_limit(), upper)
            }
        };
    match vif.routing(own, peer, protocol, upper)? {
        Routing::Bgp => Some(PuntReason::Bgp),
        Routing::Bfd => (hops == ON_LINK).then_some(PuntReason::Bfd),
    }
}
