//! Path MTU discovery of tunnels (RFC 1191, RFC 8201, RFC 4459 3.2): what routers of an underlay say of a tunnel's packets
//! that were too long for them.
//!
//! Anybody in an underlay can write such a message. It is believed if it quotes a packet that the station may have sent,
//! and names an MTU that can be; it makes nothing longer, and lasts for a time. What is believed the control plane is told.

use super::egress::{self, Ingress};
use super::packet::{Packet, ipv4_at, ipv6_at};
use super::{Output, SlowPath, Told};
use crate::limit::{Rate, TokenBucket};
use crate::tables::tunnel::{HAS_VNI, UDP_AND_VXLAN, VXLAN_PORT};
use crate::tables::{Overlay, SlowOutcome, Tunnel, TunnelPath};
use crate::wire::ethernet::{be16, be32};
use crate::wire::{ipv4, ipv6};

/// Least MTU that a message may name: of IPv4 what every host takes (RFC 791 3.2), of IPv6 the least of a link (RFC 8201 4).
const LEAST4: u32 = 576;
const LEAST6: u32 = 1280;
/// Messages that are believed, of all underlays together: each makes a generation of the tables.
const BELIEVED: Rate = Rate::new(20, 50);

/// A router of an underlay says how long packets from one VTEP to another may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooBig {
    /// From which VTEP to which.
    pub path: TunnelPath,
    /// Longest outer IP packet, in octets.
    pub mtu: u16,
}

/// How many messages may be believed.
#[derive(Debug, Default)]
pub(super) struct Believed(TokenBucket);

/// A packet in a tunnel as an ICMP error quotes it, which may cut it short.
struct Quote {
    path: TunnelPath,
    octets: u16,
    /// As far as the quote has it.
    vni: Option<u32>,
    /// Its header is one that the station writes.
    ours: bool,
}

impl SlowPath {
    /// Takes an ICMP error about a tunnel's packet that was too long. `None` where it is not one.
    pub(super) fn too_big(
        &mut self,
        from: &Ingress<'_>,
        packet: &Packet<'_>,
        message: &[u8],
        out: &mut Vec<Output>,
    ) -> Option<SlowOutcome> {
        if from.vif.overlay != Overlay::Underlay {
            return None;
        }
        let (head, quoted) = message.split_at_checked(8)?;
        // RFC 1191 4, RFC 4443 3.2.
        let (mtu, least) = match (packet.source.is_ipv4(), head[0], head[1]) {
            (true, 3, 4) => (u32::from(be16(head, 6)), LEAST4),
            (false, 2, _) => (be32(head, 4), LEAST6),
            _ => return None,
        };
        let quote = quote(from, quoted)?;
        let known = longest(from, &quote).filter(|_| {
            let ours = quote.ours && quote.path.local == packet.destination;
            ours && (least..u32::from(quote.octets)).contains(&mtu)
        });
        let mtu = u16::try_from(mtu).unwrap_or(u16::MAX);
        Some(match known {
            Some((ever, now)) if quote.octets <= ever => {
                if mtu >= now {
                    // About packets of before.
                    SlowOutcome::Consumed
                } else if self.believed.0.take(from.view.now_ns, &BELIEVED) {
                    out.push(Output::Tell(Told::TooBig(TooBig { path: quote.path, mtu })));
                    SlowOutcome::Consumed
                } else {
                    SlowOutcome::TooBigRate
                }
            }
            _ => SlowOutcome::ForgedTooBig,
        })
    }
}

/// Reads what an ICMP error quotes; `None` where that is no VXLAN.
fn quote(from: &Ingress<'_>, quoted: &[u8]) -> Option<Quote> {
    let (at, local, remote, protocol, octets, ours) = match quoted.first()? >> 4 {
        4 => {
            let (local, remote) = (ipv4_at(quoted, 12)?.into(), ipv4_at(quoted, 16)?.into());
            // No options, DF, whole.
            let ours = quoted[0] == 0x45 && be16(quoted, 6) == 0x4000;
            (ipv4::HEADER_LEN, local, remote, quoted[9], be16(quoted, 2), ours)
        }
        6 => {
            let (local, remote) = (ipv6_at(quoted, 8)?.into(), ipv6_at(quoted, 24)?.into());
            let octets = be16(quoted, 4).saturating_add(40);
            (ipv6::HEADER_LEN, local, remote, quoted[6], octets, true)
        }
        _ => return None,
    };
    let udp = quoted.get(at..).filter(|udp| udp.len() >= 8)?;
    if protocol != ipv4::UDP || be16(udp, 2) != VXLAN_PORT {
        return None;
    }
    let vxlan = udp.get(8..UDP_AND_VXLAN);
    let path = TunnelPath { underlay: from.vif.vrf, local, remote };
    let vni = vxlan.map(|vxlan| be32(vxlan, 4) >> 8);
    Some(Quote { path, octets, vni, ours: ours && vxlan.is_none_or(|vxlan| vxlan[0] == HAS_VNI) })
}

/// Octets of the longest outer packets that the tunnels of a quoted packet may ever have sent, and that they send now;
/// `None` where there is no such tunnel.
fn longest(from: &Ingress<'_>, quote: &Quote) -> Option<(u16, u16)> {
    let tables = from.view.snapshot;
    let path = quote.path;
    let sends = |tunnel: &Tunnel| {
        tunnel.path(path.remote) == path
            && quote.vni.is_none_or(|vni| vni == tunnel.vni)
            && tunnel.remotes.contains(&path.remote)
    };
    let tunnels = tables.vifs_by_id().filter(|(_, vif)| vif.tunnel().is_some_and(sends));
    let outer = |mtu: u16| mtu.saturating_add(Tunnel::overhead(path.local));
    let lengths = tunnels
        .map(|(id, vif)| (outer(vif.mtu), outer(egress::mtu(tables, (id, path.remote), vif))));
    lengths.reduce(|a, b| (a.0.max(b.0), a.1.max(b.1)))
}
