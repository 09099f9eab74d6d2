//! VXLAN (RFC 7348): what comes to one of the station's VTEPs is taken out of its tunnel and goes on as a frame of the
//! VIF that the VNI is. Only from the VTEPs that the VIF names: in an underlay anybody can write a VNI.

use super::meter::marked;
use super::{Burst, Context, Flags};
use crate::tables::tunnel::{Ends, HAS_VNI, UDP_AND_VXLAN, VXLAN_PORT};
use crate::tables::{DropReason, Exit, Ingress, NoExit, place_vif};
use crate::wire::checksum;
use crate::wire::ethernet::{ETHERTYPE_IPV4, ETHERTYPE_IPV6, HEADER_LEN, Mac, be16, be32, be64};
use crate::wire::ipv4::{self, Ipv4};
use crate::wire::ipv6::{self, Ipv6};

/// Takes frames out of tunnels. Costs nothing where the station has none.
#[inline(always)]
pub fn run(burst: &mut Burst, c: &mut Context<'_>) {
    if c.tables.tunnels.is_empty() {
        return;
    }
    let lanes = burst.live.and(burst.v4.or(burst.v6));
    for lane in marked(lanes, &burst.rules, Ingress::UNDERLAY) {
        if burst.flags(lane).has(Flags::GROUP_MAC) {
            continue;
        }
        let outer = burst.l3(c.pool.area(), lane);
        // What is not for a VTEP, or has a broken header, goes on as it came, as what was sent to a group does.
        let Some(found) = read(outer, burst.place[lane] >> 16, c) else { continue };
        match found {
            Ok(inner) => enter(burst, c, lane, &inner),
            Err(reason) => burst.drop(lane, reason),
        }
    }
}

/// A frame in a tunnel.
struct Inner {
    exit: Exit,
    /// Offset of the inner frame behind the outer IP header's first octet.
    at: usize,
    /// Where the outer packet ends.
    end: usize,
    destination: Mac,
    ethertype: u16,
    /// ECN of the outer header.
    ecn: u8,
}

/// Congestion experienced, and the field (RFC 3168).
const CE: u8 = 3;

/// The ends of a tunnel by an outer header, the underlay and the VNI.
type EndsOf = fn(&[u8], u32, u32) -> Ends;

/// Reads the outer headers of a packet. `None` where it is no VXLAN for the station.
#[inline(always)]
fn read(outer: &[u8], underlay: u32, c: &Context<'_>) -> Option<Result<Inner, DropReason>> {
    let (at, end, ecn, whole, ends): (_, _, _, _, EndsOf) = match outer.first()? >> 4 {
        4 => {
            let packet = Ipv4::parse(outer).ok().filter(|packet| packet.options().is_empty())?;
            if packet.protocol() != ipv4::UDP {
                return None;
            }
            let ends = |outer: &[u8], underlay, vni| {
                Ends::v4(underlay, vni, be32(outer, 16), be32(outer, 12))
            };
            (ipv4::HEADER_LEN, packet.total_len(), outer[1] & CE, !packet.is_fragment(), ends)
        }
        6 => {
            let packet = Ipv6::parse(outer).ok()?;
            if packet.next_header() != ipv4::UDP {
                return None;
            }
            let ends = |outer: &[u8], underlay, vni| {
                let address =
                    |at| u128::from(be64(outer, at)) << 64 | u128::from(be64(outer, at + 8));
                Ends::v6(underlay, vni, address(24), address(8))
            };
            (ipv6::HEADER_LEN, packet.total_len(), outer[1] >> 4 & CE, true, ends)
        }
        _ => return None,
    };
    let udp = outer.get(at..end)?;
    // Of fragments that are not the first, what stands here is no port.
    if udp.len() < 8 || be16(udp, 2) != VXLAN_PORT {
        return None;
    }
    let vni = udp.get(12..UDP_AND_VXLAN).map(|word| be32(word, 0) >> 8);
    let exit = c.tables.tunnels.exit(ends(outer, underlay, vni.unwrap_or(0)));
    let exit = match exit {
        Err(NoExit::NotOurs) => return None,
        _ if vni.is_none() || !whole || udp[8] & HAS_VNI == 0 => Err(DropReason::BadTunnel),
        Err(NoExit::UnknownVni) => Err(DropReason::UnknownVni),
        Err(NoExit::UnknownVtep) => Err(DropReason::UnknownVtep),
        Ok(exit) => Ok(exit),
    };
    let length = usize::from(be16(udp, 4));
    Some(exit.and_then(|exit| match udp.get(UDP_AND_VXLAN..length) {
        // Not longer than the packet, and what is behind is nobody's.
        Some(frame) if frame.len() >= HEADER_LEN => Ok(Inner {
            exit,
            at: at + UDP_AND_VXLAN,
            end: at + length,
            destination: Mac::from_bits(be64(frame, 0) >> 16),
            ethertype: be16(frame, 12),
            ecn,
        }),
        _ => Err(DropReason::BadTunnel),
    }))
}

/// The lane is a frame of the VIF of its VNI from here on; the underlay's VIF has received and forwarded it.
#[inline(always)]
#[expect(clippy::cast_possible_truncation, reason = "a frame has at most 4096 octets")]
fn enter(burst: &mut Burst, c: &mut Context<'_>, lane: usize, inner: &Inner) {
    if let Some(through) = c.counters.vifs().get(place_vif(burst.place[lane])) {
        through.rx_frames.add(1);
        through.rx_octets.add(burst.octets[lane].into());
        through.forwarded.add(1);
    }
    let Ingress { place, rules } = inner.exit.ingress;
    (burst.place[lane], burst.rules[lane]) = (place, rules);
    burst.flags[lane] = Flags::default().bits();
    // No length within the inner packet reaches beyond the outer one.
    burst.octets[lane] = burst.octets[lane].min(burst.l3[lane] + inner.end as u32);
    burst.l3[lane] += (inner.at + HEADER_LEN) as u32;
    burst.v4.remove(lane);
    burst.v6.remove(lane);
    if rules & Ingress::UP == 0 {
        return burst.drop(lane, DropReason::VifDown);
    }
    if inner.destination != inner.exit.mac {
        return burst.drop(lane, DropReason::NotRouterMac);
    }
    match inner.ethertype {
        ETHERTYPE_IPV4 => burst.v4.insert(lane),
        ETHERTYPE_IPV6 => burst.v6.insert(lane),
        _ => return burst.drop(lane, DropReason::InnerEthertype),
    }
    if inner.ecn == CE && !congested(burst, c, lane) {
        burst.drop(lane, DropReason::BadTunnel);
    }
}

/// Tells a packet's receiver what its tunnel went through (RFC 6040 4.2). False where it cannot be told: it has to be
/// dropped.
#[cold]
fn congested(burst: &Burst, c: &mut Context<'_>, lane: usize) -> bool {
    let mut editor = c.pool.editor();
    let place = editor.locate(burst.l3_at(lane));
    let Some(around) = editor.octets(place) else { return false };
    let packet = &mut around[crate::port::FRONT..];
    match packet[0] >> 4 {
        4 if packet[1] & CE != 0 => {
            let old = be16(packet, 0);
            packet[1] |= CE;
            let sum = checksum::update(be16(packet, 10), old, be16(packet, 0));
            packet[10..12].copy_from_slice(&sum.to_be_bytes());
            true
        }
        6 if packet[1] >> 4 & CE != 0 => {
            packet[1] |= CE << 4;
            true
        }
        // One that is not IP is seen to later.
        4 | 6 => false,
        _ => true,
    }
}
