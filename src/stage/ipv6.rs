//! IPv6 header checks (RFC 8200, RFC 4291) and the addresses to look up.

use super::{Burst, Context, Flags, Lane, Lanes};
use crate::tables::{DropReason, PuntReason, SourceCheck, Verdict};
use crate::wire::ethernet::{be16, be64};
use crate::wire::ipv6::{HEADER_LEN, HOP_BY_HOP, ICMPV6, Ipv6, Malformed, address};

/// Checks the IPv6 lanes; what stays live has its addresses in `keys6`.
#[inline(never)]
pub fn run(burst: &mut Burst, c: &mut Context<'_>) {
    let mut checked = Lanes::default();
    for lane in burst.v6 {
        let packet = burst.l3(c.pool.area(), lane);
        let state = &mut burst.lanes[lane];
        let header = packet.first_chunk();
        let header = match header.filter(|header| is_ordinary(header, packet.len(), state)) {
            Some(header) => header,
            None => match examine(packet, state) {
                Ok(header) => header,
                Err(verdict) => {
                    burst.settle(lane, verdict);
                    continue;
                }
            },
        };
        state.ip_len = LEN + be16(header, 4);
        state.ttl = header[7];
        let vrf = state.ingress.vrf;
        state.key = if state.ingress.source_check != SourceCheck::Off
            && !state.flags.has(Flags::LINK_LOCAL)
        {
            checked.insert(lane);
            burst.keys6.ask_both(vrf, address(header, 24), address(header, 8))
        } else {
            burst.keys6.ask(vrf, address(header, 24))
        };
    }
    burst.checked = burst.checked.or(checked);
}

/// Octets of the fixed header, as a length in a packet.
const LEN: u16 = 40;

/// Whether a header is such that [`examine`] has nothing to say: both addresses global or unique local,
/// neither ICMPv6 nor hop-by-hop options, everything else right.
#[inline(always)]
fn is_ordinary(header: &[u8; HEADER_LEN], octets: usize, state: &Lane) -> bool {
    // 2000::/3 and fc00::/7 (RFC 4291 2.4, RFC 4193 3.1).
    let common = |octet: u8| octet & 0xe0 == 0x20 || octet & 0xfe == 0xfc;
    header[0] >> 4 == 6
        && HEADER_LEN + usize::from(be16(header, 4)) <= octets.min(state.ingress.mtu.into())
        && header[6] != HOP_BY_HOP
        && header[6] != ICMPV6
        && common(header[8])
        && common(header[24])
        && (be64(header, 8), be64(header, 16)) != (be64(header, 24), be64(header, 32))
        && state.flags == Flags::default()
}

/// All checks, one at a time, for headers that are not ordinary.
#[cold]
fn examine<'a>(packet: &'a [u8], state: &mut Lane) -> Result<&'a [u8; HEADER_LEN], Verdict> {
    let parsed = Ipv6::parse(packet).map_err(|malformed| Verdict::Drop(reason(malformed)))?;
    check(&parsed, state.ingress.mtu, &mut state.flags)?;
    packet.first_chunk().ok_or(Verdict::Drop(DropReason::BadHeaderLength))
}

/// The checks of a well-formed packet's contents.
fn check(packet: &Ipv6<'_>, mtu: u16, flags: &mut Flags) -> Result<(), Verdict> {
    let (source, destination) = (packet.source(), packet.destination());
    if packet.total_len() > usize::from(mtu) {
        return Err(Verdict::Drop(DropReason::FrameTooLong));
    }
    // RFC 4861: types 133 to 137. The slow path checks the rest, hop limit 255 included.
    if matches!(packet.icmp_type(), Some(133..=137)) {
        flags.set(Flags::DISCOVERY);
        if destination >> 120 == 0xff || is_link_local(destination) {
            return Err(Verdict::Punt(PuntReason::NeighborDiscovery));
        }
    }
    if is_martian(source) || source >> 120 == 0xff {
        return Err(Verdict::Drop(DropReason::MartianSource));
    }
    if destination >> 120 == 0xff {
        return Err(Verdict::Drop(DropReason::Multicast));
    }
    if is_martian(destination) {
        return Err(Verdict::Drop(DropReason::MartianDestination));
    }
    if flags.has(Flags::GROUP_MAC) {
        return Err(Verdict::Drop(DropReason::UnicastInGroupMac));
    }
    if source == destination {
        return Err(Verdict::Drop(DropReason::Land));
    }
    if is_link_local(destination) {
        return Err(Verdict::Punt(PuntReason::LinkLocal));
    }
    if is_link_local(source) {
        flags.set(Flags::LINK_LOCAL);
    }
    Ok(())
}

/// ::, ::1 (RFC 4291 2.5.2, 2.5.3) and IPv4-mapped addresses, which are no addresses on a wire.
#[inline(always)]
fn is_martian(address: u128) -> bool {
    address <= 1 || address >> 32 == 0xffff
}

/// fe80::/10.
#[inline(always)]
fn is_link_local(address: u128) -> bool {
    address >> 118 == 0xfe80 >> 6
}

fn reason(malformed: Malformed) -> DropReason {
    match malformed {
        Malformed::Version => DropReason::BadVersion,
        Malformed::HeaderLength => DropReason::BadHeaderLength,
        Malformed::PayloadLength => DropReason::BadTotalLength,
        Malformed::Jumbogram => DropReason::Jumbogram,
    }
}
