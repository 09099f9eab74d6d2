//! Packet stages: one file each, run over a whole burst in the order of [`crate::path`]. A stage reads
//! the lanes that are still live, and settles some of them with a verdict.

pub mod classify;
pub mod group;
pub mod ipv4;
pub mod ipv6;
pub mod mtu;
pub mod plain;
pub mod police;
pub mod resolve;
pub mod rewrite;
pub mod route;
pub mod routing;
pub mod source;
pub mod ttl;

use crate::fib::FibReader;
use crate::port::{Area, BURST, Frame, Pool};
use crate::tables::counters::WorkerCounters;
use crate::tables::{
    AdjacencyId, DropReason, GroupId, Ingress, PortId, Snapshot, Verdict, VifId, VrfId,
};

/// What stages know of one frame.
#[derive(Clone, Copy, Debug)]
#[repr(align(32))]
pub struct Lane {
    /// Where it entered; `None` until the tags are known.
    pub vif: Option<VifId>,
    /// What the VIF says about it.
    pub ingress: Ingress,
    /// Octets of the frame as it came.
    pub octets: u16,
    /// Offset of the IP (or ARP) header in the frame, in octets.
    pub l3: u8,
    /// Priority of the outer tag.
    pub pcp: u8,
    /// TTL or hop limit.
    pub ttl: u8,
    /// What later stages must heed.
    pub flags: Flags,
    /// Octets of the IP packet.
    pub ip_len: u16,
    /// Which of the family's [`Keys`] is the destination; the next one is the source, where it is checked.
    pub key: u8,
    /// The egress, once chosen.
    pub adjacency: AdjacencyId,
    /// The one way back to a checked source; 0 where there is none or more than one.
    pub back: AdjacencyId,
}

/// Facts about a frame, one bit each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flags(u8);

impl Flags {
    /// Sent to a broadcast or multicast MAC.
    pub const GROUP_MAC: Flags = Flags(1);
    /// Source or destination is link-local.
    pub const LINK_LOCAL: Flags = Flags(2);
    /// Has IPv4 options that the slow path must see.
    pub const OPTIONS: Flags = Flags(4);
    /// Is an ICMPv6 neighbor discovery message.
    pub const DISCOVERY: Flags = Flags(8);

    /// Whether `flag` is set.
    #[inline(always)]
    pub const fn has(self, flag: Flags) -> bool {
        self.0 & flag.0 != 0
    }

    /// Sets `flag`.
    #[inline(always)]
    pub const fn set(&mut self, flag: Flags) {
        self.0 |= flag.0;
    }
}

/// A set of lanes, one bit each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lanes(pub u64);

impl Lanes {
    /// The first `count` lanes.
    #[inline(always)]
    pub const fn first(count: usize) -> Lanes {
        Lanes(if count >= 64 { u64::MAX } else { (1 << count) - 1 })
    }

    /// Adds a lane.
    #[inline(always)]
    pub const fn insert(&mut self, lane: usize) {
        self.0 |= 1 << lane;
    }

    /// Whether a lane is in the set.
    #[inline(always)]
    pub const fn has(self, lane: usize) -> bool {
        self.0 >> lane & 1 == 1
    }

    /// The lanes that are in both sets.
    #[inline(always)]
    pub const fn and(self, other: Lanes) -> Lanes {
        Lanes(self.0 & other.0)
    }

    /// The lanes that are in either set.
    #[inline(always)]
    pub const fn or(self, other: Lanes) -> Lanes {
        Lanes(self.0 | other.0)
    }

    /// Removes a lane.
    #[inline(always)]
    pub const fn remove(&mut self, lane: usize) {
        self.0 &= !(1 << lane);
    }
}

impl Iterator for Lanes {
    type Item = usize;

    #[inline(always)]
    fn next(&mut self) -> Option<usize> {
        if self.0 == 0 {
            return None;
        }
        let lane = self.0.trailing_zeros() as usize;
        self.0 &= self.0 - 1;
        Some(lane)
    }
}

/// The addresses of one family that are to be looked up: destinations and checked sources alike, so
/// that a burst costs one FIB call per family.
#[derive(Debug)]
pub struct Keys<A> {
    count: usize,
    vrfs: [u32; KEYS],
    addresses: [A; KEYS],
    groups: [u32; KEYS],
}

/// Most keys of a burst: two a lane. A power of two.
const KEYS: usize = 2 * BURST;

impl<A: Copy + Default> Default for Keys<A> {
    fn default() -> Self {
        Keys { count: 0, vrfs: [0; KEYS], addresses: [A::default(); KEYS], groups: [0; KEYS] }
    }
}

impl<A> Keys<A> {
    /// Asks for the route to a destination in a VRF; gives the number of the key.
    #[inline(always)]
    #[expect(clippy::cast_possible_truncation, reason = "keys are below 128")]
    pub fn ask(&mut self, vrf: VrfId, destination: A) -> u8 {
        let key = self.count % KEYS;
        self.put(key, vrf, destination);
        self.count = key + 1;
        key as u8
    }

    /// Asks for the routes to a destination and back to the source, whose key is the next one; gives the number of
    /// the first.
    #[inline(always)]
    #[expect(clippy::cast_possible_truncation, reason = "keys are below 128")]
    pub fn ask_both(&mut self, vrf: VrfId, destination: A, source: A) -> u8 {
        let key = self.count % KEYS;
        self.put(key, vrf, destination);
        self.put((key + 1) % KEYS, vrf, source);
        self.count = key + 2;
        key as u8
    }

    #[inline(always)]
    fn put(&mut self, key: usize, vrf: VrfId, address: A) {
        self.vrfs[key] = u32::from(vrf.0);
        self.addresses[key] = address;
    }

    /// The next-hop group that a key's route leads to.
    #[inline(always)]
    pub fn group(&self, key: u8) -> GroupId {
        GroupId(self.groups[usize::from(key) % KEYS])
    }
}

/// Up to [`BURST`] frames on their way through the stages.
#[derive(Debug)]
pub struct Burst {
    /// The frames; their order never changes.
    pub frames: Vec<Frame>,
    /// What is known of each.
    pub lanes: [Lane; BURST],
    /// The verdict of each lane that is not live. Live lanes at the end are `Forward`.
    pub verdicts: [Verdict; BURST],
    /// Lanes without a verdict.
    pub live: Lanes,
    /// IPv4 lanes.
    pub v4: Lanes,
    /// IPv6 lanes.
    pub v6: Lanes,
    /// Lanes whose source is checked.
    pub checked: Lanes,
    /// Lanes that are not [`plain`]ly forwarded: a stage after it has a verdict for most. The others need not
    /// be looked at until [`rewrite`].
    pub odd: Lanes,
    /// IPv4 addresses to look up.
    pub keys4: Keys<u32>,
    /// IPv6 addresses to look up.
    pub keys6: Keys<u128>,
}

impl Default for Burst {
    fn default() -> Self {
        const LANE: Lane = Lane {
            vif: None,
            ingress: Ingress::NONE,
            octets: 0,
            l3: 0,
            pcp: 0,
            ttl: 0,
            flags: Flags(0),
            ip_len: 0,
            key: 0,
            adjacency: AdjacencyId(0),
            back: AdjacencyId(0),
        };
        Burst {
            frames: Vec::with_capacity(BURST),
            lanes: [LANE; BURST],
            verdicts: [Verdict::Forward; BURST],
            live: Lanes(0),
            v4: Lanes(0),
            v6: Lanes(0),
            checked: Lanes(0),
            odd: Lanes(0),
            keys4: Keys::default(),
            keys6: Keys::default(),
        }
    }
}

impl Burst {
    /// Makes every received frame a live lane.
    #[inline(always)]
    pub fn start(&mut self) {
        self.live = Lanes::first(self.frames.len());
        self.v4 = Lanes(0);
        self.v6 = Lanes(0);
        self.checked = Lanes(0);
        self.odd = Lanes(0);
        self.keys4.count = 0;
        self.keys6.count = 0;
    }

    /// The next-hop group of a checked lane's source.
    #[inline(always)]
    fn source_group(&self, lane: usize) -> GroupId {
        let key = self.lanes[lane].key + 1;
        if self.v4.has(lane) { self.keys4.group(key) } else { self.keys6.group(key) }
    }

    /// Ends a lane's way.
    #[inline(always)]
    pub fn settle(&mut self, lane: usize, verdict: Verdict) {
        self.verdicts[lane] = verdict;
        self.live.remove(lane);
    }

    /// Drops a lane's frame.
    #[inline(always)]
    pub fn drop(&mut self, lane: usize, reason: DropReason) {
        self.settle(lane, Verdict::Drop(reason));
    }

    /// Lanes that have a verdict.
    #[inline(always)]
    pub fn settled(&self) -> Lanes {
        Lanes(Lanes::first(self.frames.len()).0 & !self.live.0)
    }

    /// The packet of a lane from its IP header on.
    #[inline(always)]
    pub fn l3<'a>(&self, area: &'a Area, lane: usize) -> &'a [u8] {
        match area.packet(&self.frames[lane]).get(usize::from(self.lanes[lane].l3)..) {
            Some(packet) => packet,
            None => nothing(),
        }
    }
}

/// In a function of its own, so that the compiler branches to it and does not choose by arithmetic.
#[cold]
fn nothing<'a>() -> &'a [u8] {
    &[]
}

/// What stages work with besides the burst.
pub struct Context<'a> {
    /// The generation this burst is on.
    pub tables: &'a Snapshot,
    /// The routes.
    pub fib: &'a FibReader,
    /// The worker's counters.
    pub counters: &'a WorkerCounters,
    /// The worker's frames.
    pub pool: &'a mut Pool,
    /// The worker's budgets for the slow path.
    pub budgets: &'a mut police::Budgets,
    /// Where the burst entered.
    pub port: PortId,
    /// Monotonic time of this burst, in nanoseconds.
    pub now: u64,
}
