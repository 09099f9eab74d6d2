//! IPv4 header checks (RFC 1812 5.2.2, 5.3.7) and the addresses to look up.

use super::{Burst, Context, Flags};
use crate::tables::{DropReason, SourceCheck};
use crate::wire::ipv4::{Ipv4, Malformed, Options, TCP, classify_options};

/// Checks the IPv4 lanes; what stays live has its addresses in `keys4`.
#[inline]
pub fn run(burst: &mut Burst, c: &mut Context<'_>) {
    for lane in burst.v4 {
        let Some(vif) = burst.lanes[lane].vif.and_then(|id| c.tables.vif(id)) else { continue };
        let packet = match Ipv4::parse(burst.l3(c.pool.area(), lane)) {
            Ok(packet) => packet,
            Err(malformed) => {
                burst.drop(lane, reason(malformed));
                continue;
            }
        };
        let (source, destination) = (packet.source(), packet.destination());
        let state = &mut burst.lanes[lane];
        match check(&packet, vif.mtu, &mut state.flags) {
            Ok(ip_len) => state.ip_len = ip_len,
            Err(reason) => {
                burst.drop(lane, reason);
                continue;
            }
        }
        state.ttl = packet.ttl();
        state.flow = super::resolve::flow_hash(
            source ^ destination.rotate_left(16),
            packet.ports() ^ u32::from(packet.protocol()),
        );
        let vrf = u32::from(vif.vrf.0);
        burst.keys4.destination(lane, vrf, destination);
        if vif.source_check != SourceCheck::Off {
            burst.keys4.source(lane, vrf, source);
        }
    }
}

/// The checks of a well-formed packet's contents. Returns its length.
#[inline(always)]
fn check(packet: &Ipv4<'_>, mtu: u16, flags: &mut Flags) -> Result<u16, DropReason> {
    let (source, destination) = (packet.source(), packet.destination());
    let ip_len = match u16::try_from(packet.total_len()) {
        Ok(ip_len) if ip_len <= mtu => ip_len,
        _ => return Err(DropReason::FrameTooLong),
    };
    // RFC 1812 5.3.7: 0/8, 127/8, multicast, class E and broadcast are no sources.
    if matches!(source >> 24, 0 | 127 | 224..) {
        return Err(DropReason::MartianSource);
    }
    match destination >> 24 {
        0 | 127 => return Err(DropReason::MartianDestination),
        224..=239 => return Err(DropReason::Multicast),
        240.. if destination == u32::MAX => return Err(DropReason::Multicast),
        240.. => return Err(DropReason::MartianDestination),
        _ => {}
    }
    if flags.has(Flags::GROUP_MAC) {
        return Err(DropReason::UnicastInGroupMac);
    }
    if source == destination {
        return Err(DropReason::Land);
    }
    const LINK_LOCAL: u32 = 0xa9fe; // 169.254/16, RFC 3927
    if source >> 16 == LINK_LOCAL || destination >> 16 == LINK_LOCAL {
        flags.set(Flags::LINK_LOCAL);
    }
    // RFC 1858 section 4: the fragment that would overwrite TCP flags.
    if packet.fragment_offset() == 1 && packet.protocol() == TCP {
        return Err(DropReason::TinyFragment);
    }
    if !packet.options().is_empty() {
        match classify_options(packet.options()) {
            Options::Ignore => {}
            Options::SourceRoute => return Err(DropReason::SourceRoute),
            Options::SlowPath => flags.set(Flags::OPTIONS),
        }
    }
    Ok(ip_len)
}

#[cold]
fn reason(malformed: Malformed) -> DropReason {
    match malformed {
        Malformed::Version => DropReason::BadVersion,
        Malformed::HeaderLength => DropReason::BadHeaderLength,
        Malformed::TotalLength => DropReason::BadTotalLength,
        Malformed::Checksum => DropReason::BadChecksum,
    }
}
