//! IPv4 header checks (RFC 1812 5.2.2, 5.3.7), the addresses to look up, and the header's edit.

use super::{Burst, Context, Flags, Lanes, WIDTH, any_less};
use crate::tables::rules::AddressKind;
use crate::tables::{DropReason, Ingress, Vrf};
use crate::wire::Start;
use crate::wire::checksum;
use crate::wire::ethernet::be32;
use crate::wire::ipv4::{
    HEADER_LEN, HEADER_LEN32, Ipv4, Malformed, Options, TCP, classify_options, decremented,
};

/// Checks the IPv4 lanes; what stays live has its addresses in `v4_addresses`.
#[inline(always)]
pub fn run(burst: &mut Burst, c: &mut Context<'_>) {
    if burst.v4 == Lanes(0) {
        return;
    }
    let lanes = burst.v4.eights();
    let mut places = [0; WIDTH];
    for i in lanes.clone() {
        places[i] = burst.l3_at(i);
    }
    let Some(words) = burst.words.first_chunk_mut::<5>() else { return };
    c.pool.area().columns(lanes.clone(), &places, words);
    let mut strange = [0; WIDTH];
    for i in lanes {
        let word = |n: usize| u32::from_be(burst.words[n][i]);
        let header = [word(0), word(1), word(2), word(3), word(4)];
        let room = burst.octets[i].wrapping_sub(burst.l3[i]);
        strange[i] = burst.flags[i] | differs(header, room, Ingress::mtu(burst.rules[i]));
        burst.vrf[i] = burst.place[i] >> 16;
        take(burst, i, header);
    }
    for lane in burst.v4.without(Lanes::zero(&strange)) {
        if burst.live.has(lane) {
            examine_lane(burst, c, lane);
        }
    }
}

/// Keeps what later stages need of a header.
#[inline(always)]
fn take(burst: &mut Burst, lane: usize, header: [u32; 5]) {
    let [first, _, ttl, source, destination] = header;
    burst.ip_len[lane] = first & 0xffff;
    burst.ttl[lane] = ttl >> 24;
    burst.edit[lane] = decremented(ttl).to_be();
    burst.v4_addresses.source[lane] = source;
    burst.v4_addresses.destination[lane] = destination;
}

/// Where a header is such that [`examine`] would have nothing to say, 0: no options, no later fragment, addresses in
/// ordinary ranges, everything else right. `room`: octets that there are for the packet.
#[inline(always)]
fn differs(header: [u32; 5], room: u32, mtu: u32) -> u32 {
    let [first, fragment, _, source, destination] = header;
    let total = first & 0xffff;
    // The ranges that `check` treats in any other way than the rest, by first octet.
    let special = |address: u32| {
        let octet = address >> 24;
        u32::from(octet == 0)
            | u32::from(octet == 127)
            | u32::from(octet == 169)
            | u32::from(octet >= 224)
    };
    (first >> 24 ^ 0x45)
        | fragment & 0x1fff
        | any_less([(total, HEADER_LEN32), (room, total), (mtu, total), (room, ROOM)])
        | special(source)
        | special(destination)
        | u32::from(source == destination)
        | u32::from(!checksum::is_right(header))
}

/// What an ordinary packet has behind its Ethernet header at least, so that all that is read of it at once is its own.
/// Octets.
const ROOM: u32 = 32;

/// Looks at a lane that is not ordinary.
#[cold]
fn examine_lane(burst: &mut Burst, c: &Context<'_>, lane: usize) {
    let mut flags = burst.flags(lane);
    let vrf = c.tables.vrfs.get(burst.vrf[lane] as usize).and_then(Option::as_ref);
    match examine(burst.l3(c.pool.area(), lane), burst.mtu(lane), vrf, &mut flags) {
        Ok(header) => take(burst, lane, header),
        Err(reason) => burst.drop(lane, reason),
    }
    burst.flags[lane] = flags.0;
}

/// A header without its options, as words.
fn words(header: &[u8; HEADER_LEN]) -> [u32; 5] {
    let word = |at| be32(header, at);
    [word(0), word(4), word(8), word(12), word(16)]
}

/// All checks, one at a time.
fn examine(
    packet: Start<'_>,
    mtu: u16,
    vrf: Option<&Vrf>,
    flags: &mut Flags,
) -> Result<[u32; 5], DropReason> {
    let parsed = Ipv4::parse(packet).map_err(reason)?;
    check(&parsed, mtu, vrf, flags)?;
    packet.octets.first_chunk().map(words).ok_or(DropReason::BadHeaderLength)
}

/// The checks of a well-formed packet's contents.
fn check(
    packet: &Ipv4<'_>,
    mtu: u16,
    vrf: Option<&Vrf>,
    flags: &mut Flags,
) -> Result<(), DropReason> {
    let (source, destination) = (packet.source(), packet.destination());
    if packet.total_len() > usize::from(mtu) {
        return Err(DropReason::FrameTooLong);
    }
    let (from, to) = (AddressKind::in_vrf4(vrf, source), AddressKind::in_vrf4(vrf, destination));
    // RFC 1812 5.3.7.
    if matches!(from, AddressKind::Group | AddressKind::Unusable) {
        return Err(DropReason::MartianSource);
    }
    match to {
        AddressKind::Group => return Err(DropReason::Multicast),
        AddressKind::Unusable => return Err(DropReason::MartianDestination),
        AddressKind::Host | AddressKind::LinkLocal => {}
    }
    if flags.has(Flags::GROUP_MAC) {
        return Err(DropReason::UnicastInGroupMac);
    }
    if source == destination {
        return Err(DropReason::Land);
    }
    if from == AddressKind::LinkLocal || to == AddressKind::LinkLocal {
        flags.set(Flags::LINK_LOCAL);
    }
    // RFC 1858 section 4: the fragment that would overwrite TCP flags.
    if packet.fragment_offset() == 1 && packet.protocol() == TCP {
        return Err(DropReason::TinyFragment);
    }
    if !packet.options().is_empty() {
        flags.set(Flags::LONG_HEADER);
        match classify_options(packet.options()) {
            Options::Ignore => {}
            Options::SourceRoute => return Err(DropReason::SourceRoute),
            Options::SlowPath => flags.set(Flags::OPTIONS),
        }
    }
    Ok(())
}

fn reason(malformed: Malformed) -> DropReason {
    match malformed {
        Malformed::Version => DropReason::BadVersion,
        Malformed::HeaderLength => DropReason::BadHeaderLength,
        Malformed::TotalLength => DropReason::BadTotalLength,
        Malformed::Checksum => DropReason::BadChecksum,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// The short way never lets a packet through that the checks refuse or flag, near the borders of
        /// what it looks at in particular.
        #[test]
        fn what_is_ordinary_passes_all_checks(
            first in prop_oneof![Just(0x45u8), any::<u8>()],
            total in 0u16..80,
            fragment in prop_oneof![Just(0u16), Just(1), any::<u16>()],
            protocol in prop_oneof![Just(TCP), any::<u8>()],
            octets in prop::array::uniform2(prop_oneof![
                Just(0u8), Just(127), Just(169), Just(223), Just(224), Just(240), any::<u8>()
            ]),
            low: [u8; 2],
            len in 0usize..80,
            mtu in 0u16..80,
            right in prop::bool::weighted(0.9),
        ) {
            let mut packet = vec![0; len.max(HEADER_LEN)];
            packet[0] = first;
            packet[2..4].copy_from_slice(&total.to_be_bytes());
            packet[6..8].copy_from_slice(&fragment.to_be_bytes());
            packet[9] = protocol;
            packet[12..16].copy_from_slice(&[octets[0], 254, 1, low[0]]);
            packet[16..20].copy_from_slice(&[octets[1], 254, 1, low[1]]);
            let sum = !checksum::sum(&packet[..HEADER_LEN]);
            packet[10..12].copy_from_slice(&(sum ^ u16::from(!right)).to_be_bytes());
            let header = packet.first_chunk().map(words).unwrap();
            let mut flags = Flags::default();
            if differs(header, u32::try_from(packet.len()).unwrap(), mtu.into()) == 0 {
                prop_assert_eq!(examine((&packet).into(), mtu, None, &mut flags), Ok(header));
                prop_assert_eq!(flags, Flags::default());
            }
        }
    }
}
