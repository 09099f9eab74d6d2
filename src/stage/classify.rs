//! Ethernet and VLAN tags: which VIF does the frame belong to?

use super::{Burst, Context, Flags, Lanes, WIDTH, any_less};
use crate::cpu::prefetch;
use crate::port::Area;
use crate::tables::{DropReason, Ingress, Port, PuntReason, Verdict, VlanSlot, place_vif};
use crate::wire::ethernet::{
    ETHERTYPE_ARP, ETHERTYPE_IPV4, ETHERTYPE_IPV6, ETHERTYPE_SERVICE_TAG, ETHERTYPE_VLAN,
    HEADER_LEN, Mac, TAG_LEN, VID_MASK, be16, be64,
};

/// Finds each lane's VIF and network protocol; counts it as received by the port.
///
/// # Panics
/// Never where the caller receives only from ports that the tables have.
#[inline(always)]
pub fn run(burst: &mut Burst, c: &mut Context<'_>) {
    let port = &c.tables.ports[c.port.index()];
    ordinary(burst, c, port);
    burst.known = burst.v4.or(burst.v6);
    for lane in burst.live.without(burst.known) {
        examine(burst, c.pool.area(), port, lane);
    }
    let (counters, frames) = (c.counters.port(c.port), burst.frames.len());
    let octets = burst.octets.iter().take(frames);
    counters.rx_frames.add(frames as u64);
    counters.rx_octets.add(octets.map(|&octets| u64::from(octets)).sum());
    counters.to_vif.add(burst.known.count() as u64);
}

/// The longest header: MACs, two tags of a VIF, a priority tag, ethertype. Octets.
const HEADERS: usize = HEADER_LEN + 3 * TAG_LEN;
/// What an ordinary frame has at least, so that all that is read of it at once is its own. Octets.
const SHORTEST: u32 = 54;
/// Of the frame's second word, the end of the destination MAC, and the bit that says that the source MAC is a
/// group's.
const MIDDLE: u32 = 0xffff_0000 | 1 << 8;

/// Reads the headers of ordinary frames: from a host to the port, with the tags of a VIF that is up, IP inside. Those
/// become IPv4 and IPv6 lanes; the others are left to [`examine`].
#[inline(always)]
#[expect(clippy::cast_possible_truncation, reason = "words are taken apart")]
fn ordinary(burst: &mut Burst, c: &Context<'_>, port: &Port) {
    let all = burst.all();
    let lanes = all.eights();
    let Some(words) = burst.words.first_chunk_mut::<6>() else { return };
    c.pool.area().columns(lanes.clone(), &burst.at, words);
    let words = &burst.words;
    let word = |n: usize, i: usize| u32::from_be(words[n][i]);
    let mac = port.mac.to_bits();
    // As they are in memory: what is only compared need not be turned round.
    let (start, end) = (((mac >> 16) as u32).to_be(), ((mac << 16) as u32).to_be());
    let own = (mac as u32).to_be();

    let mut vids = [0; WIDTH];
    for i in lanes.clone() {
        vids[i] = word(3, i) & u32::from(VID_MASK);
    }
    let map = port.outer_map();
    let counters = c.counters.vifs().as_ptr();
    for i in lanes.clone() {
        let Ingress { place, rules } = map[vids[i] as usize % map.len()];
        (burst.place[i], burst.rules[i]) = (place, rules);
        // What is needed at the end, when all that became of the frame is counted.
        prefetch(counters.wrapping_add(place_vif(place)));
    }

    // What differs from an ordinary frame leaves bits; where there are none, it is one.
    let (mut not_v4, mut not_v6, mut not_double) = ([0; WIDTH], [0; WIDTH], [0; WIDTH]);
    for i in lanes {
        let (tag, rules) = (word(3, i), burst.rules[i]);
        let to_other = (words[0][i] ^ start) | (words[1][i] & MIDDLE.to_be() ^ end);
        // The source may be the port itself: `examine` looks at all of its octets.
        let may_be_looped = u32::from(words[2][i] == own);
        let tpid = if rules & Ingress::SERVICE != 0 { SERVICE } else { VLAN };
        let strange =
            to_other | may_be_looped | (tag >> 16 ^ tpid) | any_less([(burst.octets[i], SHORTEST)]);
        let ethertype = word(4, i) >> 16;
        let single = strange | !rules & (Ingress::VIF | Ingress::UP);
        not_v4[i] = single | (ethertype ^ IPV4);
        not_v6[i] = single | (ethertype ^ IPV6);
        not_double[i] = strange | !rules & Ingress::INNER | (ethertype ^ VLAN);
        burst.l3[i] = 18;
        burst.priority[i] = tag >> 12 & 15;
    }
    burst.v4 = Lanes::zero(&not_v4).and(all);
    burst.v6 = Lanes::zero(&not_v6).and(all);
    for i in Lanes::zero(&not_double).and(all) {
        let Some(map) = port.inner_map(burst.place[i] as u16) else { continue };
        let Ingress { place, rules } = map[(word(4, i) & u32::from(VID_MASK)) as usize];
        if !rules & (Ingress::VIF | Ingress::UP) != 0 {
            continue;
        }
        match word(5, i) >> 16 {
            IPV4 => burst.v4.insert(i),
            IPV6 => burst.v6.insert(i),
            _ => continue,
        }
        (burst.place[i], burst.rules[i], burst.l3[i]) = (place, rules, 22);
        prefetch(counters.wrapping_add(place_vif(place)));
    }
}

const VLAN: u32 = ETHERTYPE_VLAN as u32;
const SERVICE: u32 = ETHERTYPE_SERVICE_TAG as u32;
const IPV4: u32 = ETHERTYPE_IPV4 as u32;
const IPV6: u32 = ETHERTYPE_IPV6 as u32;

/// Looks at a frame that is not ordinary.
#[cold]
fn examine(burst: &mut Burst, area: &Area, port: &Port, lane: usize) {
    let tagged = match parse(burst.packet(area, lane), port) {
        Ok(tagged) => tagged,
        Err(reason) => return burst.drop_unknown(lane, reason),
    };
    burst.known.insert(lane);
    (burst.place[lane], burst.rules[lane]) = (tagged.ingress.place, tagged.ingress.rules);
    (burst.l3[lane], burst.priority[lane]) = (tagged.l3, tagged.priority);
    burst.flags[lane] = tagged.flags.0;
    if tagged.looped {
        return burst.drop(lane, DropReason::LoopedBack);
    }
    if tagged.ingress.rules & Ingress::UP == 0 {
        return burst.drop(lane, DropReason::VifDown);
    }
    match tagged.ethertype {
        ETHERTYPE_IPV4 => burst.v4.insert(lane),
        ETHERTYPE_IPV6 => burst.v6.insert(lane),
        ETHERTYPE_ARP => burst.settle(lane, Verdict::Punt(PuntReason::Arp)),
        _ => burst.drop(lane, DropReason::UnknownEthertype),
    }
}

/// A frame whose tags name a VIF.
struct Tagged {
    ingress: Ingress,
    ethertype: u16,
    l3: u32,
    /// As [`Burst::priority`].
    priority: u32,
    flags: Flags,
    /// The source is the port itself.
    looped: bool,
}

/// Reads MACs and tags of any packet. Each length is checked before what it covers counts.
#[expect(clippy::cast_possible_truncation, reason = "an offset in a header")]
fn parse(packet: &[u8], port: &Port) -> Result<Tagged, DropReason> {
    let len = packet.len();
    let mut header = [0; HEADERS];
    for (to, from) in header.iter_mut().zip(packet) {
        *to = *from;
    }
    let header = &header;
    let (flags, looped) = check_macs(header, len, port.mac.to_bits())?;
    let tpid = be16(header, 12);
    if !is_tag(tpid) {
        return Err(DropReason::Untagged);
    }
    if len < HEADER_LEN + TAG_LEN {
        return Err(DropReason::TruncatedTag);
    }
    let vid = be16(header, 14) & VID_MASK;
    let service_frame = tpid == ETHERTYPE_SERVICE_TAG;
    let outer = port.outer(vid);
    let (ingress, at) = match outer {
        VlanSlot::Empty => return Err(no_vif(vid, service_frame)),
        VlanSlot::Vif { service, .. } => {
            check_service(service, service_frame)?;
            (port.outer_map()[usize::from(vid)], HEADER_LEN + TAG_LEN)
        }
        VlanSlot::Inner { map, service } => {
            check_service(service, service_frame)?;
            (inner(header, len, port, map)?, HEADER_LEN + 2 * TAG_LEN)
        }
    };
    let (at, tci) = skip_priority_tag(header, len, at)?.unwrap_or((at, header[14]));
    let (ethertype, priority) = (be16(header, at - 2), u32::from(tci >> 4));
    Ok(Tagged { ingress, ethertype, l3: at as u32, priority, flags, looped })
}

/// What the second tag means behind one that names VIFs with two.
fn inner(header: &[u8; HEADERS], len: usize, port: &Port, map: u16) -> Result<Ingress, DropReason> {
    let tpid = be16(header, 16);
    if !is_tag(tpid) {
        return Err(DropReason::UnknownVlan);
    }
    if len < HEADER_LEN + 2 * TAG_LEN {
        return Err(DropReason::TruncatedTag);
    }
    let vid = be16(header, 18) & VID_MASK;
    match port.inner_map(map).map(|map| map[usize::from(vid)]) {
        _ if tpid == ETHERTYPE_SERVICE_TAG => Err(DropReason::UnexpectedServiceTag),
        Some(ingress) if ingress.rules & Ingress::VIF != 0 => Ok(ingress),
        _ => Err(no_vif(vid, false)),
    }
}

/// Where the packet begins behind a priority tag that follows a VIF's own tags, the last of which ends at `at`, and that
/// tag's first octet; `None` where there is no such tag. VID 0 names no VLAN: the tag says what priority and drop eligibility
/// the frame has (IEEE 802.1Q table 9-2).
fn skip_priority_tag(
    header: &[u8; HEADERS],
    len: usize,
    at: usize,
) -> Result<Option<(usize, u8)>, DropReason> {
    let tpid = be16(header, at - 2);
    if !is_tag(tpid) {
        return Ok(None);
    }
    if len < at + TAG_LEN {
        return Err(DropReason::TruncatedTag);
    }
    match be16(header, at) & VID_MASK {
        _ if is_tag(be16(header, at + 2)) => Err(DropReason::TooManyTags),
        0 if tpid == ETHERTYPE_VLAN => Ok(Some((at + TAG_LEN, header[at]))),
        _ if at > HEADER_LEN + TAG_LEN => Err(DropReason::TooManyTags),
        _ => Err(DropReason::UnexpectedInnerTag),
    }
}

/// The bits of a MAC in a number, and the one that says group.
const MAC_BITS: u64 = (1 << 48) - 1;
const GROUP: u64 = 1 << 40;

/// Is the frame for the port, or for a group, or does it come from the port itself?
fn check_macs(header: &[u8; HEADERS], len: usize, mac: u64) -> Result<(Flags, bool), DropReason> {
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
    if source == mac {
        return Ok((Flags::default(), true));
    }
    if destination & GROUP == 0 {
        let ours = destination == mac;
        return if ours { Ok((Flags::default(), false)) } else { Err(DropReason::NotOurMac) };
    }
    if Mac::from_bits(destination).is_reserved() {
        return Err(DropReason::ReservedMac);
    }
    Ok((Flags::GROUP_MAC, false))
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
