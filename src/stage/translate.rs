//! What the two stages of translation share. Whole TCP and UDP packets without options or extension headers get their
//! address and checksums where they are; all others are taken apart by [`Translations::translate`].

use super::{Burst, Column, Context, Lanes, WIDTH, any_less};
use crate::cpu::{Work, widest};
use crate::port::{Around, FRONT};
use crate::tables::counters::WorkerCounters;
use crate::tables::{Direction, DropReason, Snapshot, Translations, place_vif};
use crate::wire::ethernet::{MIN_PAYLOAD, be32, be64};
use crate::wire::ipv4::{self, TCP, UDP};
use crate::wire::ipv6;

/// Translates these lanes, which all enter, or all leave, by VIFs that translate: what is received where `SENT` is false,
/// what is sent where it is true.
#[inline(always)]
pub(super) fn run<const SENT: bool>(burst: &mut Burst, c: &mut Context<'_>, lanes: Lanes) {
    let (v4, v6) = (lanes.and(burst.v4), lanes.and(burst.v6));
    if v4 != Lanes(0) {
        widest(Run4::<SENT> { burst, c, lanes: v4 });
    }
    if v6 != Lanes(0) {
        run6::<SENT>(burst, c, v6);
    }
}

/// The direction that `SENT` stands for.
const fn direction(sent: bool) -> Direction {
    if sent { Direction::Tx } else { Direction::Rx }
}

/// Where checksums of TCP and UDP are in packets without options.
const TCP_SUM: u32 = 20 + 16;
const UDP_SUM: u32 = 20 + 6;
/// What the first octets of a whole packet without options have: version and length of the header, no fragment but for DF.
const WHOLE: u64 = 0x4500_0000_0000_0000;
const WHOLE_MASK: u64 = 0xff00_0000_0000_bfff;

/// The protocol in a header's edit, between TTL and checksum.
const PROTOCOL: u32 = u32::from_ne_bytes([0, 0xff, 0, 0]);
const IS_TCP: u32 = u32::from_ne_bytes([0, TCP, 0, 0]);
const IS_UDP: u32 = u32::from_ne_bytes([0, UDP, 0, 0]);

struct Run4<'a, 'b, const SENT: bool> {
    burst: &'a mut Burst,
    c: &'a mut Context<'b>,
    lanes: Lanes,
}

impl<const SENT: bool> Work for Run4<'_, '_, SENT> {
    #[inline(always)]
    fn run(self) {
        run4::<SENT>(self.burst, self.c, self.lanes);
    }
}

#[inline(always)]
fn run4<const SENT: bool>(burst: &mut Burst, c: &mut Context<'_>, lanes: Lanes) {
    let mut editor = c.pool.editor();
    let (mut places, mut sums) = ([Around::NONE; WIDTH], [0; WIDTH]);
    let (mut strange, mut grows) = ([0; WIDTH], [0; WIDTH]);
    for i in lanes.eights() {
        places[i] = editor.locate(burst.l3_at(i));
    }
    for i in lanes.eights() {
        let protocol = burst.edit[i] & PROTOCOL;
        let (tcp, udp) = (protocol ^ IS_TCP, protocol ^ IS_UDP);
        sums[i] = if tcp == 0 { TCP_SUM } else { UDP_SUM };
        let other = if tcp == 0 { 0 } else { udp };
        strange[i] = other | any_less([(burst.ip_len[i], sums[i] + 2)]);
    }
    let ordinary = lanes.and(Lanes::zero(&strange));
    let mut others = lanes.without(ordinary);
    let (of, addresses, at): (&Column, _, _) = match direction(SENT) {
        Direction::Rx => (&burst.place, &mut burst.v4_addresses.source, 12),
        Direction::Tx => (&burst.to_place, &mut burst.v4_addresses.destination, 16),
    };
    for lane in ordinary {
        let vif = place_vif(of[lane]);
        let Some(translations) = translations(c.tables, vif) else { continue };
        let Some(mapping) = translations.v4(direction(SENT), addresses[lane]) else { continue };
        let packet = editor.octets(places[lane]).and_then(|octets| octets.last_chunk_mut());
        let Some(packet) = packet else {
            others.insert(lane);
            continue;
        };
        let packet: &mut [u8; MIN_PAYLOAD] = packet;
        let is_tcp = sums[lane] == TCP_SUM;
        let sum_at = if is_tcp { TCP_SUM } else { UDP_SUM } as usize;
        let sum = u16::from_ne_bytes([packet[sum_at], packet[sum_at + 1]]);
        // A sum of UDP that is 0 is none (RFC 768).
        if be64(packet, 0) & WHOLE_MASK != WHOLE || sum == 0 {
            others.insert(lane);
            continue;
        }
        let new = mapping.checksum(sum);
        let new = if new == 0 && !is_tcp { u16::MAX } else { new };
        packet[sum_at..sum_at + 2].copy_from_slice(&new.to_ne_bytes());
        let header = u16::from_ne_bytes([packet[10], packet[11]]);
        packet[10..12].copy_from_slice(&mapping.checksum(header).to_ne_bytes());
        addresses[lane] = mapping.apply(addresses[lane]);
        packet[at..at + 4].copy_from_slice(&addresses[lane].to_be_bytes());
        grows[lane] = mapping.grows().into();
        count(c.counters, vif, direction(SENT));
    }
    for i in lanes.eights() {
        burst.edit[i] = grown(burst.edit[i], grows[i]);
    }
    for lane in others {
        any(burst, c, lane, direction(SENT));
    }
}

/// A header's edit whose checksum, its last two octets, is of an address that a sum grew with. Both in the order of memory.
#[inline(always)]
fn grown(edit: u32, grows: u32) -> u32 {
    let [a, b, c, d] = edit.to_ne_bytes();
    let sum = u32::from(u16::from_ne_bytes([c, d])).wrapping_sub(grows);
    // What is below 0 by as much as is borrowed from behind (RFC 1624, eqn. 4).
    let sum = sum.wrapping_sub(sum >> 31);
    let [low, high, ..] = sum.to_le_bytes();
    let [c, d] = u16::from_le_bytes([low, high]).to_ne_bytes();
    u32::from_ne_bytes([a, b, c, d])
}

#[inline(never)]
fn run6<const SENT: bool>(burst: &mut Burst, c: &mut Context<'_>, lanes: Lanes) {
    let direction = direction(SENT);
    let mut editor = c.pool.editor();
    let (of, at): (&Column, _) = match direction {
        Direction::Rx => (&burst.place, FRONT + 8),
        Direction::Tx => (&burst.to_place, FRONT + 24),
    };
    let (mut others, mut refused) = (Lanes(0), Lanes(0));
    for lane in lanes {
        let next = (u32::from_be(burst.edit[lane]) >> 8).to_be_bytes()[3];
        if !matches!(next, TCP | UDP) {
            others.insert(lane);
            continue;
        }
        let around = editor.locate(burst.l3_at(lane));
        let address = match direction {
            Direction::Rx => &mut burst.v6_addresses.source[lane],
            Direction::Tx => &mut burst.v6_addresses.destination[lane],
        };
        let vif = place_vif(of[lane]);
        let Some(translations) = translations(c.tables, vif) else { continue };
        let Some(mapping) = translations.v6(direction, *address) else { continue };
        match (mapping.apply(*address), editor.octets(around)) {
            (Some(new), Some(octets)) => {
                octets[at..at + 16].copy_from_slice(&new.to_be_bytes());
                *address = new;
                count(c.counters, vif, direction);
            }
            _ => refused.insert(lane),
        }
    }
    refused.for_each(|lane| burst.drop(lane, DropReason::Untranslatable));
    for lane in others {
        any(burst, c, lane, direction);
    }
}

/// A VIF's translations.
#[inline(always)]
fn translations(tables: &Snapshot, vif: usize) -> Option<&Translations> {
    tables.vifs.get(vif)?.as_ref()?.translations.as_deref()
}

/// Counts a translated frame; [`crate::explain`] counts none.
#[inline(always)]
fn count(counters: &WorkerCounters, vif: usize, direction: Direction) {
    if let Some(counters) = counters.vifs().get(vif) {
        counters.rare.translated[direction as usize].add(1);
    }
}

/// Translates whatever is no ordinary packet.
#[cold]
fn any(burst: &mut Burst, c: &mut Context<'_>, lane: usize, direction: Direction) {
    let vif = place_vif(match direction {
        Direction::Rx => burst.place[lane],
        Direction::Tx => burst.to_place[lane],
    });
    let Some(translations) = translations(c.tables, vif) else { return };
    let packet = burst.ip_mut(c.pool, lane);
    match translations.translate(direction, packet) {
        Ok(false) => return,
        Ok(true) => {}
        Err(_) => return burst.drop(lane, DropReason::Untranslatable),
    }
    count(c.counters, vif, direction);
    if burst.v4.has(lane) {
        burst.edit[lane] = ipv4::decremented(be32(packet, 8)).to_be();
        burst.v4_addresses.source[lane] = be32(packet, 12);
        burst.v4_addresses.destination[lane] = be32(packet, 16);
    } else {
        burst.v6_addresses.source[lane] = ipv6::address(packet, 8);
        burst.v6_addresses.destination[lane] = ipv6::address(packet, 24);
    }
}
