//! IPv4 header checks (RFC 1812 5.2.2, 5.3.7) and the addresses to look up.

use super::{Burst, Context, Flags, Lane, Lanes};
use crate::tables::{DropReason, SourceCheck};
use crate::wire::checksum;
use crate::wire::ethernet::be32;
use crate::wire::ipv4::{HEADER_LEN, Ipv4, Malformed, Options, TCP, classify_options};

/// Checks the IPv4 lanes; what stays live has its addresses in `keys4`.
#[inline(never)]
pub fn run(burst: &mut Burst, c: &mut Context<'_>) {
    let mut checked = Lanes::default();
    for lane in burst.v4 {
        let packet = burst.l3(c.pool.area(), lane);
        let state = &mut burst.lanes[lane];
        let header = packet.first_chunk().map(words);
        let header = match header.filter(|header| is_ordinary(header, packet.len(), state)) {
            Some(header) => header,
            None => match examine(packet, state) {
                Ok(header) => header,
                Err(reason) => {
                    burst.drop(lane, reason);
                    continue;
                }
            },
        };
        let [length, _, ttl, source, destination] = header;
        state.ip_len = (length & 0xffff) as u16;
        state.ttl = (ttl >> 24) as u8;
        let vrf = state.ingress.vrf;
        state.key = if state.ingress.source_check != SourceCheck::Off {
            checked.insert(lane);
            burst.keys4.ask_both(vrf, destination, source)
        } else {
            burst.keys4.ask(vrf, destination)
        };
    }
    burst.checked = burst.checked.or(checked);
}

/// A header without its options, as words.
#[inline(always)]
fn words(header: &[u8; HEADER_LEN]) -> [u32; 5] {
    let word = |at| be32(header, at);
    [word(0), word(4), word(8), word(12), word(16)]
}

/// Whether a header is such that [`examine`] has nothing to say: no options, no later fragment, addresses
/// in ordinary ranges, everything else right.
#[inline(always)]
fn is_ordinary(words: &[u32; 5], octets: usize, state: &Lane) -> bool {
    /// By first octet: the ranges that `check` treats in any other way than the rest.
    const SPECIAL: [bool; 256] = {
        let mut special = [false; 256];
        let mut octet = 224;
        while octet < 256 {
            special[octet] = true;
            octet += 1;
        }
        special[0] = true;
        special[127] = true;
        special[169] = true;
        special
    };
    let [first, fragment, _, source, destination] = *words;
    let total = (first & 0xffff) as usize;
    first >> 24 == 0x45
        && (HEADER_LEN..=octets.min(state.ingress.mtu.into())).contains(&total)
        && fragment & 0x1fff == 0
        && !SPECIAL[(source >> 24) as usize]
        && !SPECIAL[(destination >> 24) as usize]
        && source != destination
        && state.flags == Flags::default()
        && checksum::is_right(*words)
}

/// All checks, one at a time, for headers that are not ordinary.
#[cold]
fn examine(packet: &[u8], state: &mut Lane) -> Result<[u32; 5], DropReason> {
    let parsed = Ipv4::parse(packet).map_err(reason)?;
    check(&parsed, state.ingress.mtu, &mut state.flags)?;
    packet.first_chunk().map(words).ok_or(DropReason::BadHeaderLength)
}

/// The checks of a well-formed packet's contents.
fn check(packet: &Ipv4<'_>, mtu: u16, flags: &mut Flags) -> Result<(), DropReason> {
    let (source, destination) = (packet.source(), packet.destination());
    if packet.total_len() > usize::from(mtu) {
        return Err(DropReason::FrameTooLong);
    }
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
            let mut burst = Burst::default();
            let state = &mut burst.lanes[0];
            state.ingress.mtu = mtu;
            if let Some(header) = packet.first_chunk().map(words)
                && is_ordinary(&header, packet.len(), state)
            {
                prop_assert_eq!(examine(&packet, state), Ok(header));
                prop_assert_eq!(state.flags, Flags::default());
            }
        }
    }
}
