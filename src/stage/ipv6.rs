//! IPv6 header checks (RFC 8200, RFC 4291), the addresses to look up, and the header's edit.

use super::{Burst, Context, Flags, Lanes, WIDTH, any_less};
use crate::port::Area;
use crate::tables::rules::AddressKind;
use crate::tables::{DropReason, Ingress, PuntReason, Verdict};
use crate::wire::Start;
use crate::wire::ethernet::be32;
use crate::wire::ipv6::{HEADER_LEN, HOP_BY_HOP, ICMPV6, Ipv6, Malformed, address, decremented};

/// Checks the IPv6 lanes; what stays live has its addresses in `v6_addresses`.
#[inline(always)]
pub fn run(burst: &mut Burst, c: &mut Context<'_>) {
    if burst.v6 == Lanes(0) {
        return;
    }
    let (area, lanes) = (c.pool.area(), burst.v6.eights());
    let mut places = [0; WIDTH];
    for i in lanes.clone() {
        places[i] = burst.l3_at(i);
    }
    area.columns(lanes.clone(), &places, &mut burst.words);
    let mut strange = [0; WIDTH];
    for i in lanes {
        let word = |n: usize| u32::from_be(burst.words[n][i]);
        let words = [word(0), word(1), word(2), word(3), word(4), word(5), word(6), word(7)];
        let room = burst.octets[i].wrapping_sub(burst.l3[i]);
        strange[i] = burst.flags[i] | differs(words, room, Ingress::mtu(burst.rules[i]));
        burst.vrf[i] = burst.place[i] >> 16;
        take(burst, i, words[1]);
    }
    for lane in burst.v6 {
        let Some(header) = burst.l3(area, lane).octets.first_chunk::<HEADER_LEN>() else {
            continue;
        };
        burst.v6_addresses.source[lane] = address(header, 8);
        burst.v6_addresses.destination[lane] = address(header, 24);
    }
    for lane in burst.v6.without(Lanes::zero(&strange)) {
        if burst.live.has(lane) {
            examine_lane(burst, area, lane);
        }
    }
}

/// Keeps what later stages need of a header's second word.
#[inline(always)]
fn take(burst: &mut Burst, lane: usize, second: u32) {
    burst.ip_len[lane] = LEN + (second >> 16);
    burst.ttl[lane] = second & 0xff;
    burst.edit[lane] = decremented(second).to_be();
}

/// Octets of the fixed header, as a length in a packet.
const LEN: u32 = 40;

/// Where a header is such that [`examine`] would have nothing to say, 0: both addresses global or unique local and
/// not of the same /64, neither ICMPv6 nor hop-by-hop options, everything else right. `room`: octets that there are
/// for the packet. The words are those of the first 32 octets.
#[inline(always)]
fn differs(words: [u32; 8], room: u32, mtu: u32) -> u32 {
    let [first, second, source0, source1, _, _, destination0, destination1] = words;
    let (total, next) = (LEN + (second >> 16), second >> 8 & 0xff);
    // 2000::/3 and fc00::/7 (RFC 4291 2.4, RFC 4193 3.1).
    let common = |word: u32| word >> 29 == 1 || word >> 25 == 0x7e;
    (first >> 28 ^ 6)
        | any_less([(room, total), (mtu, total)])
        | u32::from(next == u32::from(HOP_BY_HOP))
        | u32::from(next == u32::from(ICMPV6))
        | u32::from(!common(source0))
        | u32::from(!common(destination0))
        | u32::from((source0 ^ destination0) | (source1 ^ destination1) == 0)
}

/// Looks at a lane that is not ordinary.
#[cold]
fn examine_lane(burst: &mut Burst, area: &Area, lane: usize) {
    let mut flags = burst.flags(lane);
    let (packet, mtu) = (burst.l3(area, lane), burst.mtu(lane));
    match examine(packet, mtu, &mut flags) {
        Ok(()) => take(burst, lane, be32(packet.octets, 4)),
        Err(verdict) => burst.settle(lane, verdict),
    }
    burst.flags[lane] = flags.0;
}

/// All checks, one at a time.
fn examine(packet: Start<'_>, mtu: u16, flags: &mut Flags) -> Result<(), Verdict> {
    let parsed = Ipv6::parse(packet).map_err(|malformed| Verdict::Drop(reason(malformed)))?;
    check(&parsed, mtu, flags)
}

/// The checks of a well-formed packet's contents.
fn check(packet: &Ipv6<'_>, mtu: u16, flags: &mut Flags) -> Result<(), Verdict> {
    let (source, destination) = (packet.source(), packet.destination());
    if packet.total_len() > usize::from(mtu) {
        return Err(Verdict::Drop(DropReason::FrameTooLong));
    }
    let (from, to) = (AddressKind::of6(source), AddressKind::of6(destination));
    // RFC 4861: types 133 to 137. The slow path checks the rest, hop limit 255 included.
    if matches!(packet.icmp_type(), Some(133..=137)) {
        flags.set(Flags::DISCOVERY);
        if matches!(to, AddressKind::Group | AddressKind::LinkLocal) {
            return Err(Verdict::Punt(PuntReason::NeighborDiscovery));
        }
    }
    if matches!(from, AddressKind::Group | AddressKind::Unusable) {
        return Err(Verdict::Drop(DropReason::MartianSource));
    }
    match to {
        AddressKind::Group => return Err(Verdict::Drop(DropReason::Multicast)),
        AddressKind::Unusable => return Err(Verdict::Drop(DropReason::MartianDestination)),
        AddressKind::Host | AddressKind::LinkLocal => {}
    }
    if flags.has(Flags::GROUP_MAC) {
        return Err(Verdict::Drop(DropReason::UnicastInGroupMac));
    }
    if source == destination {
        return Err(Verdict::Drop(DropReason::Land));
    }
    // Not settled here: the source check comes first, also for what is sent to the router's link-local address.
    if from == AddressKind::LinkLocal || to == AddressKind::LinkLocal {
        flags.set(Flags::LINK_LOCAL);
    }
    Ok(())
}

fn reason(malformed: Malformed) -> DropReason {
    match malformed {
        Malformed::Version => DropReason::BadVersion,
        Malformed::HeaderLength => DropReason::BadHeaderLength,
        Malformed::PayloadLength => DropReason::BadTotalLength,
        Malformed::Jumbogram => DropReason::Jumbogram,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// The short way never lets a packet through that the checks refuse or flag.
        #[test]
        fn what_is_ordinary_passes_all_checks(
            first in prop_oneof![Just(0x60u8), any::<u8>()],
            payload in 0u16..50,
            next in prop_oneof![Just(17u8), Just(HOP_BY_HOP), Just(ICMPV6), any::<u8>()],
            heads in prop::array::uniform2(prop_oneof![
                Just(0u8), Just(0x1f), Just(0x20), Just(0x3f), Just(0x40), Just(0xfb), Just(0xfc), Just(0xfd), Just(0xfe), Just(0xff)
            ]),
            low in prop::array::uniform2(0u8..3),
            len in HEADER_LEN..HEADER_LEN + 50,
            mtu in 40u16..90,
            body: u8,
        ) {
            let mut packet = vec![body; len];
            packet[0] = first;
            packet[4..6].copy_from_slice(&payload.to_be_bytes());
            packet[6] = next;
            for (at, (head, low)) in [8, 24].into_iter().zip(heads.into_iter().zip(low)) {
                packet[at..at + 16].fill(0);
                (packet[at], packet[at + 15]) = (head, low);
            }
            let words = std::array::from_fn(|n| be32(&packet, 4 * n));
            let mut flags = Flags::default();
            if differs(words, u32::try_from(len).unwrap(), mtu.into()) == 0 {
                prop_assert_eq!(examine((&packet).into(), mtu, &mut flags), Ok(()));
                prop_assert_eq!(flags, Flags::default());
            }
        }
    }
}
