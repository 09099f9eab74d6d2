//! VXLAN (RFC 7348): what comes to one of the station's VTEPs is taken out of its tunnel and goes on as a frame of the
//! VIF that the VNI is. Only from the VTEPs that the VIF names: in an underlay anybody can write a VNI.

use super::meter::marked;
use super::{Burst, Context, Flags};
use crate::tables::tunnel::{Ends, HAS_VNI, UDP_AND_VXLAN, VXLAN_PORT, class};
use crate::tables::{DropReason, Exit, Ingress, NoExit, place_vif};
use crate::wire::Start;
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
        let underlay = burst.place[lane] >> 16;
        if let Some(inner) = plain(burst, c, lane, underlay) {
            enter(burst, c, lane, &inner);
            continue;
        }
        let outer = burst.l3(c.pool.area(), lane);
        // What is not for a VTEP, or has a broken header, goes on as it came, as what was sent to a group does.
        let Some(found) = read(outer, underlay, c) else { continue };
        match found {
            Ok(inner) => enter(burst, c, lane, &inner),
            Err(reason) => burst.drop(lane, reason),
        }
    }
}

/// A frame in a tunnel.
#[derive(Debug, PartialEq, Eq)]
struct Inner {
    exit: Exit,
    /// Offset of the inner frame behind the outer IP header's first octet.
    at: usize,
    /// Where the outer packet ends.
    end: usize,
    destination: Mac,
    ethertype: u16,
    /// DSCP and ECN of the outer header.
    class: u8,
}

/// Congestion experienced, and the field (RFC 3168).
const CE: u8 = 3;

/// The ends of a tunnel by an outer header, the underlay and the VNI.
type EndsOf = fn(&[u8], u32, u32) -> Ends;

/// Octets of the headers of a packet in a tunnel of an IPv4 underlay, to the inner ethertype.
const PLAIN: usize = ipv4::HEADER_LEN + UDP_AND_VXLAN + HEADER_LEN;

/// What most packets in tunnels are: sound, in IPv4 without options, of a tunnel that is known. `None` for all others, of
/// which [`read`] says what they are.
#[inline(always)]
fn plain(burst: &Burst, c: &Context<'_>, lane: usize, underlay: u32) -> Option<Inner> {
    const UDP_AT: usize = ipv4::HEADER_LEN;
    const INNER_AT: usize = UDP_AT + UDP_AND_VXLAN;
    let start = c.pool.area().at::<PLAIN>(burst.l3_at(lane))?;
    let (total, length) = (u32::from(be16(start, 2)), usize::from(be16(start, UDP_AT + 4)));
    let (head, _) = start.first_chunk::<UDP_AT>()?.as_chunks::<4>();
    let sum = checksum::halves(head.first_chunk::<5>()?.map(u32::from_ne_bytes));
    let is_plain = start[0] == 0x45
        && start[9] == ipv4::UDP
        && be16(start, 6) & 0x3fff == 0
        && be16(start, UDP_AT + 2) == VXLAN_PORT
        && start[UDP_AT + 8] & HAS_VNI != 0
        && length >= UDP_AND_VXLAN + HEADER_LEN
        && UDP_AT + length <= total as usize
        && burst.l3[lane] + total <= burst.octets[lane]
        && checksum::fold(sum) == 0xffff;
    if !is_plain {
        return None;
    }
    let vni = be32(start, UDP_AT + 12) >> 8;
    let ends = Ends::v4(underlay, vni, be32(start, 16), be32(start, 12));
    Some(Inner {
        exit: c.tables.tunnels.exit(ends).ok()?,
        at: INNER_AT,
        end: UDP_AT + length,
        destination: Mac::from_bits(be64(start, INNER_AT) >> 16),
        ethertype: be16(start, INNER_AT + 12),
        class: start[1],
    })
}

/// Reads the outer headers of a packet. `None` where it is no VXLAN for the station.
#[inline(always)]
fn read(outer: Start<'_>, underlay: u32, c: &Context<'_>) -> Option<Result<Inner, DropReason>> {
    let (at, end, whole, ends): (_, _, _, EndsOf) = match outer.octets.first()? >> 4 {
        4 => {
            let packet = Ipv4::parse(outer).ok().filter(|packet| packet.options().is_empty())?;
            if packet.protocol() != ipv4::UDP {
                return None;
            }
            let ends = |outer: &[u8], underlay, vni| {
                Ends::v4(underlay, vni, be32(outer, 16), be32(outer, 12))
            };
            (ipv4::HEADER_LEN, packet.total_len(), !packet.is_fragment(), ends)
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
            (ipv6::HEADER_LEN, packet.total_len(), true, ends)
        }
        _ => return None,
    };
    let outer = outer.octets;
    let udp = outer.get(at..end.min(outer.len()))?;
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
    // Not longer than the packet, and what is behind is nobody's.
    let within = at + length <= end;
    let frame = udp.get(UDP_AND_VXLAN..length.min(udp.len())).filter(|_| within);
    Some(exit.and_then(|exit| match frame {
        Some(frame) if frame.len() >= HEADER_LEN => Ok(Inner {
            exit,
            at: at + UDP_AND_VXLAN,
            end: at + length,
            destination: Mac::from_bits(be64(frame, 0) >> 16),
            ethertype: be16(frame, 12),
            class: class(outer),
        }),
        _ => Err(DropReason::BadTunnel),
    }))
}

/// The lane is a frame of the VIF of its VNI from here on; the underlay's VIF has received and forwarded it.
#[inline(always)]
#[expect(clippy::cast_possible_truncation, reason = "a packet has at most 9,238 octets")]
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
    let congested = inner.class & CE == CE;
    if (congested || inner.exit.inwards) && !mark(burst, c, lane, inner) {
        burst.drop(lane, DropReason::BadTunnel);
    }
}

/// Gives an inner packet the outer one's DSCP, where its tunnel's model says so (RFC 2983 3), and tells its receiver what the
/// tunnel went through (RFC 6040 4.2). False where it cannot be told: the packet has to be dropped.
#[inline(never)]
fn mark(burst: &Burst, c: &mut Context<'_>, lane: usize, outer: &Inner) -> bool {
    let mut editor = c.pool.editor();
    let place = editor.locate(burst.l3_at(lane));
    let Some(around) = editor.octets(place) else { return false };
    let packet = &mut around[crate::port::FRONT..];
    if !matches!(packet[0] >> 4, 4 | 6) {
        // It is seen to later.
        return true;
    }
    let own = class(packet);
    let congested = outer.class & CE == CE;
    if congested && own & CE == 0 {
        return false;
    }
    let dscp = if outer.exit.inwards { outer.class } else { own } & !CE;
    let new = dscp | if congested { CE } else { own & CE };
    let old = be16(packet, 0);
    if packet[0] >> 4 == 4 {
        packet[1] = new;
        let sum = checksum::update(be16(packet, 10), old, be16(packet, 0));
        packet[10..12].copy_from_slice(&sum.to_be_bytes());
    } else {
        packet[..2].copy_from_slice(&(old & 0xf00f | u16::from(new) << 4).to_be_bytes());
    }
    true
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::fib::{self, Fib};
    use crate::port::{FrameSize, Pool};
    use crate::stage::copy::Copies;
    use crate::stage::encapsulate::Entrances;
    use crate::stage::police::Budgets;
    use crate::tables::counters::WorkerCounters;
    use crate::tables::tunnel::{Dscp, Marking, Tunnel, Tunnels};
    use crate::tables::{PortId, Snapshot, VrfId};

    const L3: u32 = 18;

    fn tunnel() -> Tunnel {
        Tunnel {
            vni: 7,
            underlay: VrfId(3),
            local: "10.255.0.1".parse().unwrap(),
            remotes: ["10.255.0.2".parse().unwrap()].into(),
            station: None,
            marking: Marking::new(Dscp::Copy),
        }
    }

    proptest! {
        /// Headers with octets changed, the checksum made right again or not, in frames that end too early or late.
        #[test]
        fn what_is_plain_is_read_the_same_and_all_else_is_read(
            changes in prop::collection::vec((0..52_usize, any::<u8>()), 0..3),
            seal in any::<bool>(),
            octets in 40..110_usize,
        ) {
            let tunnel = tunnel();
            let mut packet = tunnel.received("10.255.0.2".parse().unwrap(), &[8; 60]);
            for (at, octet) in changes {
                packet[at] = octet;
            }
            if seal {
                packet[10..12].fill(0);
                let sum = !checksum::sum(&packet[..20]);
                packet[10..12].copy_from_slice(&sum.to_be_bytes());
            }
            let mut frame = [&[0; L3 as usize][..], &packet].concat();
            frame.resize(L3 as usize + octets, 0);
            let ingress = Ingress { place: 0, rules: Ingress::VIF | Ingress::UP };
            let exit = Exit { ingress, mac: Mac([2; 6]), inwards: false };
            let tables = Snapshot {
                tunnels: std::sync::Arc::new(Tunnels::new([(&tunnel, exit)].into_iter())),
                ..Snapshot::default()
            };
            let limits = fib::Limits { max_vrfs: 4, max_bytes: 16 << 20, ..Default::default() };
            let mut pool = Pool::new(1, FrameSize::Small).unwrap();
            let mut burst = Burst::default();
            burst.frames.push(pool.take_with(&frame).unwrap());
            burst.start();
            burst.l3[0] = L3;
            let context = Context {
                tables: &tables,
                fib: &Fib::new(limits).unwrap().reader(),
                counters: &WorkerCounters::new(1, 1),
                pool: &mut pool,
                budgets: &mut Budgets::new(1),
                entrances: &mut Entrances::default(),
                copies: &mut Copies::default(),
                port: PortId(0),
                now: 1,
            };
            let read = read(frame[L3 as usize..].into(), 3, &context);
            match plain(&burst, &context, 0, 3) {
                Some(inner) => prop_assert_eq!(read, Some(Ok(inner))),
                None => prop_assert!(!matches!(read, Some(Ok(_))), "{:?}", read),
            }
        }
    }
}
