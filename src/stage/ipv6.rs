//! IPv6 header checks (RFC 8200, RFC 4291) and the addresses to look up.

use super::{Burst, Context, Flags};
use crate::tables::{DropReason, PuntReason, SourceCheck, Verdict};
use crate::wire::ipv6::{Ipv6, Malformed};

/// Checks the IPv6 lanes; what stays live has its addresses in `keys6`.
#[inline]
pub fn run(burst: &mut Burst, c: &mut Context<'_>) {
    for lane in burst.v6 {
        let Some(vif) = burst.lanes[lane].vif.and_then(|id| c.tables.vif(id)) else { continue };
        let packet = match Ipv6::parse(burst.l3(c.pool.area(), lane)) {
            Ok(packet) => packet,
            Err(malformed) => {
                burst.drop(lane, reason(malformed));
                continue;
            }
        };
        let state = &mut burst.lanes[lane];
        match check(&packet, vif.mtu, &mut state.flags) {
            Ok(ip_len) => state.ip_len = ip_len,
            Err(verdict) => {
                burst.settle(lane, verdict);
                continue;
            }
        }
        let (source, destination) = (packet.source(), packet.destination());
        state.ttl = packet.hop_limit();
        state.flow = super::resolve::flow_hash(
            fold(source) ^ fold(destination).rotate_left(16),
            packet.ports() ^ packet.flow_label(),
        );
        let vrf = u32::from(vif.vrf.0);
        burst.keys6.destination(lane, vrf, destination);
        if vif.source_check != SourceCheck::Off && !is_link_local(source) {
            burst.keys6.source(lane, vrf, source);
        }
    }
}

#[inline(always)]
fn check(packet: &Ipv6<'_>, mtu: u16, flags: &mut Flags) -> Result<u16, Verdict> {
    let (source, destination) = (packet.source(), packet.destination());
    let ip_len = match u16::try_from(packet.total_len()) {
        Ok(ip_len) if ip_len <= mtu => ip_len,
        _ => return Err(Verdict::Drop(DropReason::FrameTooLong)),
    };
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
    Ok(ip_len)
}

/// ::, ::1 (RFC 4291 2.5.2, 2.5.3) and IPv4-mapped addresses, which are no addresses on a wire.
#[inline(always)]
fn is_martian(address: u128) -> bool {
    address <= 1 || address >> 32 == 0xffff
}

/// 128 bits in 32.
#[inline(always)]
fn fold(address: u128) -> u32 {
    let [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p] = address.to_be_bytes();
    u32::from_be_bytes([a, b, c, d])
        ^ u32::from_be_bytes([e, f, g, h])
        ^ u32::from_be_bytes([i, j, k, l])
        ^ u32::from_be_bytes([m, n, o, p])
}

/// fe80::/10.
#[inline(always)]
fn is_link_local(address: u128) -> bool {
    address >> 118 == 0xfe80 >> 6
}

#[cold]
fn reason(malformed: Malformed) -> DropReason {
    match malformed {
        Malformed::Version => DropReason::BadVersion,
        Malformed::HeaderLength => DropReason::BadHeaderLength,
        Malformed::PayloadLength => DropReason::BadTotalLength,
        Malformed::Jumbogram => DropReason::Jumbogram,
    }
}
