//! Ethernet and VLAN tags: which VIF does the frame belong to?

use super::{Burst, Context, Flags, Lanes};
use crate::tables::{DropReason, Port, PuntReason, Verdict, VifId, VlanSlot};
use crate::wire::ethernet::{
    ETHERTYPE_ARP, ETHERTYPE_IPV4, ETHERTYPE_IPV6, ETHERTYPE_SERVICE_TAG, ETHERTYPE_VLAN,
    HEADER_LEN, Mac, TAG_LEN, VID_MASK, be16, be32, be64,
};

/// Finds each lane's VIF and network protocol; counts it as received by the port.
///
/// # Panics
/// Never where the caller receives only from ports that the tables have.
#[inline(never)]
#[expect(clippy::cast_possible_truncation, reason = "a frame has at most 4096 octets")]
pub fn run(burst: &mut Burst, c: &mut Context<'_>) {
    let port = &c.tables.ports[c.port.index()];
    let mac = port.mac.to_bits();
    let (mut octets, mut unknown) = (0, 0);
    let (mut v4, mut v6) = (Lanes::default(), Lanes::default());
    for lane in burst.live {
        let packet = c.pool.area().packet(&burst.frames[lane]);
        octets += packet.len() as u64;
        let header = packet.first_chunk();
        let tagged = match header.and_then(|header| ordinary(header, port, mac)) {
            Some(tagged) => tagged,
            None => match examine(packet, port, mac) {
                Ok(tagged) => tagged,
                Err(reason) => {
                    unknown += 1;
                    burst.lanes[lane].vif = None;
                    burst.drop(lane, reason);
                    continue;
                }
            },
        };
        let state = &mut burst.lanes[lane];
        // What is needed at the end, when all that became of the frame is counted.
        c.counters.prefetch_vif(tagged.vif);
        state.vif = Some(tagged.vif);
        state.octets = packet.len() as u16;
        state.ingress = c.tables.vifs.ingress(tagged.vif);
        state.l3 = tagged.l3;
        state.pcp = tagged.pcp;
        state.flags = tagged.flags;
        if !state.ingress.up {
            burst.drop(lane, DropReason::VifDown);
        } else if tagged.ethertype == ETHERTYPE_IPV4 {
            v4.insert(lane);
        } else if tagged.ethertype == ETHERTYPE_IPV6 {
            v6.insert(lane);
        } else if tagged.ethertype == ETHERTYPE_ARP {
            burst.settle(lane, Verdict::Punt(PuntReason::Arp));
        } else {
            burst.drop(lane, DropReason::UnknownEthertype);
        }
    }
    (burst.v4, burst.v6) = (v4, v6);
    let (counters, frames) = (c.counters.port(c.port), burst.frames.len() as u64);
    counters.rx_frames.add(frames);
    counters.rx_octets.add(octets);
    counters.to_vif.add(frames - unknown);
}

/// A frame whose tags name a VIF.
#[derive(Debug, PartialEq, Eq)]
struct Tagged {
    vif: VifId,
    ethertype: u16,
    l3: u8,
    pcp: u8,
    flags: Flags,
}

/// The longest header: MACs, two tags, ethertype. Octets.
const HEADERS: usize = HEADER_LEN + 2 * TAG_LEN;

/// Reads the headers of an ordinary frame: from a host to the port, with the tags of a VIF, IP inside. `mac`
/// is the port's. Gives `None` for all others, which [`examine`] looks at.
#[inline(always)]
#[expect(clippy::cast_possible_truncation, reason = "words are taken apart")]
fn ordinary(header: &[u8; HEADERS], port: &Port, mac: u64) -> Option<Tagged> {
    let (destination, source) = (be64(header, 0) >> 16, be64(header, 4) & MAC_BITS);
    if destination != mac || source == mac || source & GROUP != 0 {
        return None;
    }
    let (tag, next) = (be32(header, 12), be32(header, 16));
    let has_tpid = |service| tag >> 16 == u32::from(tpid(service));
    let (vif, ethertype, l3) = match port.outer(tag as u16 & VID_MASK) {
        VlanSlot::Vif { id, service } if has_tpid(service) => (id, (next >> 16) as u16, 18),
        VlanSlot::Inner { map, service } if has_tpid(service) => {
            if next >> 16 != u32::from(ETHERTYPE_VLAN) {
                return None;
            }
            (port.inner(map, next as u16 & VID_MASK)?, be16(header, 20), 22)
        }
        _ => return None,
    };
    let pcp = (tag >> 13) as u8 & 7;
    let tagged = Tagged { vif, ethertype, l3, pcp, flags: Flags::default() };
    matches!(ethertype, ETHERTYPE_IPV4 | ETHERTYPE_IPV6).then_some(tagged)
}

/// Reads MACs and tags of any packet. Each length is checked before what it covers counts.
#[cold]
fn examine(packet: &[u8], port: &Port, mac: u64) -> Result<Tagged, DropReason> {
    let len = packet.len();
    let mut header = [0; HEADERS];
    for (to, from) in header.iter_mut().zip(packet) {
        *to = *from;
    }
    let header = &header;
    let flags = check_macs(header, len, mac)?;
    let tpid = be16(header, 12);
    if !is_tag(tpid) {
        return Err(DropReason::Untagged);
    }
    if len < HEADER_LEN + TAG_LEN {
        return Err(DropReason::TruncatedTag);
    }
    let vid = be16(header, 14) & VID_MASK;
    let ethertype = be16(header, 16);
    let service_frame = tpid == ETHERTYPE_SERVICE_TAG;
    let pcp = header[14] >> 5;
    match port.outer(vid) {
        VlanSlot::Vif { id, service } => {
            check_service(service, service_frame)?;
            if is_tag(ethertype) {
                return Err(surplus_tag(header, len));
            }
            Ok(Tagged { vif: id, ethertype, l3: 18, pcp, flags })
        }
        VlanSlot::Inner { map, service } => {
            check_service(service, service_frame)?;
            if !is_tag(ethertype) {
                return Err(DropReason::UnknownVlan);
            }
            if len < HEADERS {
                return Err(DropReason::TruncatedTag);
            }
            let inner_ethertype = be16(header, 20);
            if is_tag(inner_ethertype) {
                return Err(DropReason::TooManyTags);
            }
            if ethertype == ETHERTYPE_SERVICE_TAG {
                return Err(DropReason::UnexpectedServiceTag);
            }
            let inner = be16(header, 18) & VID_MASK;
            match port.inner(map, inner) {
                Some(vif) => Ok(Tagged { vif, ethertype: inner_ethertype, l3: 22, pcp, flags }),
                None => Err(no_vif(inner, false)),
            }
        }
        VlanSlot::Empty => Err(no_vif(vid, service_frame)),
    }
}

/// The outer TPID of VIFs with or without a service tag.
#[inline(always)]
fn tpid(service: bool) -> u16 {
    if service { ETHERTYPE_SERVICE_TAG } else { ETHERTYPE_VLAN }
}

/// The bits of a MAC in a number, and the one that says group.
const MAC_BITS: u64 = (1 << 48) - 1;
const GROUP: u64 = 1 << 40;

/// Is the frame for the port, or for a group?
fn check_macs(header: &[u8; HEADERS], len: usize, mac: u64) -> Result<Flags, DropReason> {
    let (destination, source) = (be64(header, 0) >> 16, be64(header, 4) & MAC_BITS);
    if len < HEADER_LEN {
        return Err(DropReason::Runt);
    }
    if source & GROUP != 0 {
        return Err(DropReason::SourceMacMulticast);
    }
    if destination == source {
        return Err(DropReason::MacLoop);
    }
    if destination & GROUP == 0 {
        return if destination == mac { Ok(Flags::default()) } else { Err(DropReason::NotOurMac) };
    }
    if Mac::from_bits(destination).is_reserved() {
        return Err(DropReason::ReservedMac);
    }
    Ok(Flags::GROUP_MAC)
}

/// Why no VIF has a VLAN id.
fn no_vif(vid: u16, service_frame: bool) -> DropReason {
    match vid {
        0 => DropReason::PriorityTag,
        4095 => DropReason::ReservedVlan,
        _ if service_frame => DropReason::UnexpectedServiceTag,
        _ => DropReason::UnknownVlan,
    }
}

fn is_tag(ethertype: u16) -> bool {
    ethertype == ETHERTYPE_VLAN || ethertype == ETHERTYPE_SERVICE_TAG
}

/// The outer TPID must be the one that the VIFs on this VID have.
fn check_service(expected: bool, found: bool) -> Result<(), DropReason> {
    match (expected, found) {
        (false, true) => Err(DropReason::UnexpectedServiceTag),
        (true, false) => Err(DropReason::UnknownVlan),
        _ => Ok(()),
    }
}

/// A tag behind the tag of a single-tagged VIF: two, or more?
fn surplus_tag(header: &[u8; HEADERS], len: usize) -> DropReason {
    match len {
        ..HEADERS => DropReason::TruncatedTag,
        _ if is_tag(be16(header, 20)) => DropReason::TooManyTags,
        _ => DropReason::UnexpectedInnerTag,
    }
}
