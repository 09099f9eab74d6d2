//! Ethernet and VLAN tags: which VIF does the frame belong to?

use super::{Burst, Context, Flags};
use crate::tables::{DropReason, Port, PuntReason, Verdict, VifId, VlanSlot};
use crate::wire::ethernet::{
    ETHERTYPE_ARP, ETHERTYPE_IPV4, ETHERTYPE_IPV6, ETHERTYPE_SERVICE_TAG, ETHERTYPE_VLAN,
    HEADER_LEN, Mac, TAG_LEN, VID_MASK, be16,
};

/// Finds each lane's VIF and network protocol; counts it as received by port and VIF.
///
/// # Panics
/// Never where the caller receives only from ports that the tables have.
#[inline]
pub fn run(burst: &mut Burst, c: &mut Context<'_>) {
    let port = &c.tables.ports[c.port.index()];
    let port_counters = c.counters.port(c.port);
    for lane in burst.live {
        let packet = c.pool.area().packet(&burst.frames[lane]);
        let octets = packet.len() as u64;
        port_counters.rx_frames.add(1);
        port_counters.rx_octets.add(octets);
        let state = &mut burst.lanes[lane];
        state.vif = None;
        state.flags = Flags::default();
        let tagged = match classify(packet, port) {
            Ok(tagged) => tagged,
            Err(reason) => {
                burst.drop(lane, reason);
                continue;
            }
        };
        state.vif = Some(tagged.vif);
        state.l3 = tagged.l3;
        state.pcp = tagged.pcp;
        if packet[0] & 1 == 1 {
            state.flags.set(Flags::GROUP_MAC);
        }
        port_counters.to_vif.add(1);
        let counters = c.counters.vif(tagged.vif);
        counters.rx_frames.add(1);
        counters.rx_octets.add(octets);
        if !c.tables.vif(tagged.vif).is_some_and(|vif| vif.up) {
            burst.drop(lane, DropReason::VifDown);
            continue;
        }
        match tagged.ethertype {
            ETHERTYPE_IPV4 => burst.v4.insert(lane),
            ETHERTYPE_IPV6 => burst.v6.insert(lane),
            ETHERTYPE_ARP => burst.settle(lane, Verdict::Punt(PuntReason::Arp)),
            _ => burst.drop(lane, DropReason::UnknownEthertype),
        }
    }
}

/// A frame whose tags name a VIF.
#[derive(Debug, PartialEq, Eq)]
struct Tagged {
    vif: VifId,
    ethertype: u16,
    l3: u8,
    pcp: u8,
}

/// Reads MACs and tags. Each length is checked before what it covers is read: no input panics.
#[inline(always)]
fn classify(packet: &[u8], port: &Port) -> Result<Tagged, DropReason> {
    if packet.len() < HEADER_LEN {
        return Err(DropReason::Runt);
    }
    check_macs(packet, port)?;
    let tpid = be16(packet, 12);
    if !is_tag(tpid) {
        return Err(DropReason::Untagged);
    }
    if packet.len() < HEADER_LEN + TAG_LEN {
        return Err(DropReason::TruncatedTag);
    }
    let tci = be16(packet, 14);
    let vid = check_vid(tci)?;
    let ethertype = be16(packet, 16);
    let service_frame = tpid == ETHERTYPE_SERVICE_TAG;
    let pcp = (packet[14] >> 5) & 7;
    match port.outer(vid) {
        VlanSlot::Vif { id, service } => {
            check_service(service, service_frame)?;
            if is_tag(ethertype) {
                return Err(surplus_tag(packet));
            }
            Ok(Tagged { vif: id, ethertype, l3: 18, pcp })
        }
        VlanSlot::Inner { map, service } => {
            check_service(service, service_frame)?;
            if !is_tag(ethertype) {
                return Err(DropReason::UnknownVlan);
            }
            if packet.len() < HEADER_LEN + 2 * TAG_LEN {
                return Err(DropReason::TruncatedTag);
            }
            let inner_ethertype = be16(packet, 20);
            if is_tag(inner_ethertype) {
                return Err(DropReason::TooManyTags);
            }
            if ethertype == ETHERTYPE_SERVICE_TAG {
                return Err(DropReason::UnexpectedServiceTag);
            }
            let inner = check_vid(be16(packet, 18))?;
            let vif = port.inner(map, inner).ok_or(DropReason::UnknownVlan)?;
            Ok(Tagged { vif, ethertype: inner_ethertype, l3: 22, pcp })
        }
        VlanSlot::Empty if service_frame => Err(DropReason::UnexpectedServiceTag),
        VlanSlot::Empty => Err(DropReason::UnknownVlan),
    }
}

/// The caller has checked that the packet has an Ethernet header.
#[inline(always)]
fn check_macs(packet: &[u8], port: &Port) -> Result<(), DropReason> {
    let (destination, source) = (&packet[..6], &packet[6..12]);
    if source[0] & 1 == 1 {
        return Err(DropReason::SourceMacMulticast);
    }
    if destination == source {
        return Err(DropReason::MacLoop);
    }
    if destination[0] & 1 == 0 {
        return if destination == port.mac.0 { Ok(()) } else { Err(DropReason::NotOurMac) };
    }
    let mut group = Mac::default();
    group.0.copy_from_slice(destination);
    if group.is_reserved() { Err(DropReason::ReservedMac) } else { Ok(()) }
}

#[inline(always)]
fn is_tag(ethertype: u16) -> bool {
    ethertype == ETHERTYPE_VLAN || ethertype == ETHERTYPE_SERVICE_TAG
}

#[inline(always)]
fn check_vid(tci: u16) -> Result<u16, DropReason> {
    match tci & VID_MASK {
        0 => Err(DropReason::PriorityTag),
        4095 => Err(DropReason::ReservedVlan),
        vid => Ok(vid),
    }
}

/// The outer TPID must be the one that the VIFs on this VID have.
#[inline(always)]
fn check_service(expected: bool, found: bool) -> Result<(), DropReason> {
    match (expected, found) {
        (false, true) => Err(DropReason::UnexpectedServiceTag),
        (true, false) => Err(DropReason::UnknownVlan),
        _ => Ok(()),
    }
}

/// A tag behind the tag of a single-tagged VIF: two, or more?
#[cold]
fn surplus_tag(packet: &[u8]) -> DropReason {
    match packet.get(20..22) {
        None => DropReason::TruncatedTag,
        Some(next) if is_tag(be16(next, 0)) => DropReason::TooManyTags,
        Some(_) => DropReason::UnexpectedInnerTag,
    }
}
