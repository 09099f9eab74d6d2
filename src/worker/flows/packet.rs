//! What a flow log looks at in a packet.

use super::book::Fate;
use super::cache::Family;
#[cfg(doc)]
use super::cache::FlowKey;
use crate::port::Area;
use crate::stage::{Addresses, Burst};
use crate::tables::NOWHERE;
use crate::tables::tunnel::{UDP_AND_VXLAN, class};
use crate::wire::Start;
use crate::wire::ethernet::{ETHERTYPE_IPV4, ETHERTYPE_IPV6, be16, be32};
use crate::wire::ipv4::{self, ICMP, TCP, TCP_FLAGS, UDP};
use crate::wire::ipv6::{self, ICMPV6};
use crate::wire::outline::Outline;

/// Octets of an ordinary packet's headers that are read at once: up to TCP's flags.
const HEADERS4: usize = 36;
const HEADERS6: usize = 56;
/// The same, as lengths in a column.
const SHORTEST4: u32 = 36;
const SHORTEST6: u32 = 56;
const _: () = assert!(SHORTEST4 as usize == HEADERS4 && SHORTEST6 as usize == HEADERS6);

/// What is known of a packet until it is counted, but for its addresses.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Note {
    /// Of its addresses, ports, protocol, and the VIF by which it came.
    pub hash: u64,
    /// Octets of the IP packet, or of what stands behind the ethertype.
    pub ip_octets: u32,
    /// [`FlowKey::ports`].
    pub ports: u32,
    /// The upper-layer protocol.
    pub protocol: u8,
    pub family: Family,
    /// Service octet or traffic class.
    pub class: u8,
    /// Flags of a TCP segment.
    pub flags: u8,
}

/// Source and destination.
pub(super) type Ends = [u128; 2];

/// What makes hashes that no sender can foresee.
#[derive(Debug)]
pub(super) struct Secrets {
    ends: [u64; 4],
    rest: [u64; 2],
    signature: [u64; 2],
    /// The last of `signature`, in the log that is followed.
    log: u64,
}

impl Secrets {
    pub fn new(seed: [u64; 8]) -> Secrets {
        let [a, b, c, d, e, f, g, h] = seed;
        Secrets { ends: [a, b, c, d], rest: [e, f], signature: [g, h], log: h }
    }

    /// From now on signatures are of another log's flows.
    pub fn follow(&mut self, epoch: u16) {
        let [a, b] = self.signature;
        self.log = fold(a ^ u64::from(epoch), b);
    }

    #[inline(always)]
    fn of4(&self, ends: u64, note: &Note, place: u32) -> u64 {
        fold(ends ^ self.ends[0], rest(note, place) ^ self.rest[0])
    }

    #[inline(always)]
    fn of6(&self, [source, destination]: Ends, note: &Note, place: u32) -> u64 {
        let [a, b, c, d] = self.ends;
        let (source, destination) = (halves(source), halves(destination));
        let far = fold(source.0 ^ a, destination.0 ^ b);
        let near = fold(source.1 ^ c, destination.1 ^ d);
        fold(far ^ near.rotate_left(32) ^ self.rest[0], rest(note, place) ^ self.rest[1])
    }

    /// The signature of a flow that a packet of this hash is of: what became of it, `fate`, is added.
    #[inline(always)]
    pub fn signature(&self, hash: u64, fate: Fate) -> u64 {
        fold(hash ^ self.signature[0], fate.0 ^ self.log)
    }
}

/// All but the addresses: the VRF of a place tells nothing more than the VIF. Families have addresses of their own lengths.
#[inline(always)]
fn rest(note: &Note, place: u32) -> u64 {
    u64::from(note.ports) << 32 ^ u64::from(note.protocol) << 24 ^ u64::from(place)
}

#[expect(clippy::cast_possible_truncation, reason = "the lower and the upper half")]
const fn halves(address: u128) -> (u64, u64) {
    (address as u64, (address >> 64) as u64)
}

/// A product's upper half and its lower one, in one word.
#[inline(always)]
fn fold(a: u64, b: u64) -> u64 {
    let (low, high) = halves(u128::from(a) * u128::from(b));
    low ^ high
}

impl Note {
    /// Becomes that of a forwarded IPv4 packet without options that is no later fragment, and gives its hash; none of
    /// others. Its addresses are in the burst's columns.
    #[inline(always)]
    pub fn usual4(
        &mut self,
        burst: &Burst,
        area: &Area,
        lane: usize,
        secrets: &Secrets,
    ) -> Option<u64> {
        let header: &[u8; HEADERS4] = area.at(burst.l3_at(lane))?;
        let ip_octets = burst.ip_len[lane];
        let odd = header[0] != 0x45 || header[6] & 0x1f | header[7] != 0;
        if odd || ip_octets < SHORTEST4 {
            return None;
        }
        (self.family, self.class, self.ip_octets) = (Family::V4, header[1], ip_octets);
        self.look_above(header[9], &header[ipv4::HEADER_LEN..]);
        let Addresses { source, destination } = &burst.v4_addresses;
        let ends = u64::from(source[lane]) << 32 | u64::from(destination[lane]);
        self.hash = secrets.of4(ends, self, burst.place[lane]);
        Some(self.hash)
    }

    /// As [`Note::usual4`], of an IPv6 packet without extension headers.
    #[inline(always)]
    pub fn usual6(
        &mut self,
        burst: &Burst,
        area: &Area,
        lane: usize,
        secrets: &Secrets,
    ) -> Option<u64> {
        let header: &[u8; HEADERS6] = area.at(burst.l3_at(lane))?;
        let (protocol, ip_octets) = (header[6], burst.ip_len[lane]);
        if !matches!(protocol, TCP | UDP | ICMPV6) || ip_octets < SHORTEST6 {
            return None;
        }
        (self.family, self.class, self.ip_octets) = (Family::V6, class(header), ip_octets);
        self.look_above(protocol, &header[ipv6::HEADER_LEN..]);
        let Addresses { source, destination } = &burst.v6_addresses;
        let ends = [source[lane], destination[lane]];
        self.hash = secrets.of6(ends, self, burst.place[lane]);
        Some(self.hash)
    }

    /// Of any other, by its frame, with its addresses: the burst's columns may be another's.
    #[cold]
    #[inline(never)]
    pub fn odd(
        burst: &Burst,
        area: &Area,
        lane: usize,
        secrets: &Secrets,
        ends: &mut Ends,
    ) -> Note {
        let (v4, v6, packet) = (burst.v4.has(lane), burst.v6.has(lane), burst.l3(area, lane));
        let mut note = Note { ip_octets: length(packet.len), ..Note::default() };
        *ends = Ends::default();
        if v4 {
            note.ports = ETHERTYPE_IPV4.into();
            note.look4(packet.octets, ends);
        } else if v6 {
            note.ports = ETHERTYPE_IPV6.into();
            note.look6(packet.octets, ends);
        } else {
            let frame = burst.packet(area, lane);
            note.look(Start { octets: frame, len: burst.octets[lane] as usize }, ends);
        }
        let place = burst.place[lane];
        note.hash = match (note.family, *ends) {
            (Family::V4, [source, destination]) => {
                secrets.of4(halves(source << 32 | destination).0, &note, place)
            }
            (_, ends) => secrets.of6(ends, &note, place),
        };
        note
    }

    /// Of a frame that the station itself sends, with its addresses.
    pub fn of_frame(frame: &[u8], tunnelled: bool, secrets: &Secrets) -> (Note, Ends) {
        let (mut note, mut ends) = (Note::default(), Ends::default());
        note.look(if tunnelled { inner(frame) } else { frame }.into(), &mut ends);
        note.hash = secrets.of6(ends, &note, NOWHERE);
        (note, ends)
    }

    /// Looks at a frame from its destination MAC on.
    fn look(&mut self, frame: Start<'_>, ends: &mut Ends) {
        let Start { octets: frame, len } = frame;
        let outline = Outline::of(frame);
        let packet = frame.get(outline.l3..).unwrap_or_default();
        let ethertype = outline.ethertype.unwrap_or(0);
        self.ports = ethertype.into();
        self.ip_octets = length(len.saturating_sub(outline.l3));
        match ethertype {
            ETHERTYPE_IPV4 => self.look4(packet, ends),
            ETHERTYPE_IPV6 => self.look6(packet, ends),
            _ => {}
        }
    }

    /// Looks at an IPv4 packet, sound or not: what is too short for a header stays what it was.
    fn look4(&mut self, packet: &[u8], ends: &mut Ends) {
        let Some(header) = packet.first_chunk::<{ ipv4::HEADER_LEN }>() else { return };
        let first = be16(header, 6) & 0x1fff == 0;
        let length = usize::from(header[0] & 0xf) * 4;
        *ends = [be32(header, 12).into(), be32(header, 16).into()];
        (self.protocol, self.family, self.ports) = (header[9], Family::V4, 0);
        self.class = header[1];
        self.ip_octets = self.ip_octets.min(be16(header, 2).into());
        if first {
            self.look_above(header[9], packet.get(length..).unwrap_or_default());
        }
    }

    /// Looks at an IPv6 packet, likewise.
    fn look6(&mut self, packet: &[u8], ends: &mut Ends) {
        let Some(header) = packet.first_chunk::<{ ipv6::HEADER_LEN }>() else { return };
        let address = |at: usize| header[at..].first_chunk().map_or(0, |a| u128::from_be_bytes(*a));
        let upper = ipv6::upper(packet);
        *ends = [address(8), address(24)];
        (self.protocol, self.family, self.ports) = (upper.next, Family::V6, 0);
        self.class = class(header);
        let total = ipv6::HEADER_LEN + usize::from(be16(header, 4));
        self.ip_octets = self.ip_octets.min(u32::try_from(total).unwrap_or(u32::MAX));
        if let Some((protocol, at)) = upper.protocol {
            self.look_above(protocol, packet.get(at..).unwrap_or_default());
        }
    }

    /// Looks at what stands behind the IP header.
    #[inline(always)]
    fn look_above(&mut self, protocol: u8, upper: &[u8]) {
        self.protocol = protocol;
        self.ports = match (protocol, upper.first_chunk()) {
            (ICMP | ICMPV6, Some([kind, code, _, _])) => u16::from_be_bytes([*kind, *code]).into(),
            _ => ipv4::ports(protocol, upper).unwrap_or(0),
        };
        self.flags = match upper.get(TCP_FLAGS) {
            Some(flags) if protocol == TCP => *flags,
            _ => 0,
        };
    }
}

fn length(octets: usize) -> u32 {
    u32::try_from(octets).unwrap_or(u32::MAX)
}

/// The frame in a VXLAN packet.
fn inner(frame: &[u8]) -> &[u8] {
    let upper = Outline::of(frame).upper;
    upper.and_then(|(_, at)| frame.get(at + UDP_AND_VXLAN..)).unwrap_or(frame)
}
