//! Packet stages: one file each, run over a whole burst in the order of [`crate::path`]. A stage reads
//! the lanes that are still live, and settles some of them with a verdict.

pub mod classify;
pub mod ipv4;
pub mod ipv6;
pub mod mtu;
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
use crate::tables::{AdjacencyId, DropReason, PortId, Snapshot, Verdict, VifId};

/// What stages know of one frame.
#[derive(Clone, Copy, Debug)]
pub struct Lane {
    /// Where it entered; `None` until the tags are known.
    pub vif: Option<VifId>,
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
    /// Next-hop group of the destination.
    pub group: u32,
    /// Next-hop group of the source, where it is checked.
    pub source_group: u32,
    /// Spreads flows over the members of a group.
    pub flow: u32,
    /// The egress, once resolved.
    pub adjacency: AdjacencyId,
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
    owner: [u8; 2 * BURST],
    vrfs: [u32; 2 * BURST],
    addresses: [A; 2 * BURST],
    groups: [u32; 2 * BURST],
}

/// Set in an owner: the key is the lane's source address.
const IS_SOURCE: u8 = 0x80;

impl<A: Copy + Default> Default for Keys<A> {
    fn default() -> Self {
        Keys {
            count: 0,
            owner: [0; 2 * BURST],
            vrfs: [0; 2 * BURST],
            addresses: [A::default(); 2 * BURST],
            groups: [0; 2 * BURST],
        }
    }
}

impl<A> Keys<A> {
    #[inline(always)]
    #[expect(clippy::cast_possible_truncation, reason = "a lane is below 64")]
    fn push(&mut self, lane: usize, tag: u8, vrf: u32, address: A) {
        self.owner[self.count] = lane as u8 | tag;
        self.vrfs[self.count] = vrf;
        self.addresses[self.count] = address;
        self.count += 1;
    }

    /// Asks for the route to a lane's destination.
    #[inline(always)]
    pub fn destination(&mut self, lane: usize, vrf: u32, address: A) {
        self.push(lane, 0, vrf, address);
    }

    /// Asks for the route back to a lane's source.
    #[inline(always)]
    pub fn source(&mut self, lane: usize, vrf: u32, address: A) {
        self.push(lane, IS_SOURCE, vrf, address);
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
    /// IPv4 addresses to look up.
    pub keys4: Keys<u32>,
    /// IPv6 addresses to look up.
    pub keys6: Keys<u128>,
}

impl Default for Burst {
    fn default() -> Self {
        const LANE: Lane = Lane {
            vif: None,
            l3: 0,
            pcp: 0,
            ttl: 0,
            flags: Flags(0),
            ip_len: 0,
            group: 0,
            source_group: 0,
            flow: 0,
            adjacency: AdjacencyId(0),
        };
        Burst {
            frames: Vec::with_capacity(BURST),
            lanes: [LANE; BURST],
            verdicts: [Verdict::Forward; BURST],
            live: Lanes(0),
            v4: Lanes(0),
            v6: Lanes(0),
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
        self.keys4.count = 0;
        self.keys6.count = 0;
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
        area.packet(&self.frames[lane]).get(usize::from(self.lanes[lane].l3)..).unwrap_or(&[])
    }
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
