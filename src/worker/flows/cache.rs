//! The table of flows: buckets of seven, of fixed size. What finds a flow is one cache line a bucket, what is counted one a
//! flow; a third, what the flow is, is written once and read when its record is made.
//!
//! A flow is known by its signature: 57 to 64 bits of its key under secrets of the worker's. That two flows of a full table
//! of a million have the same is less likely than 2^-23, and no sender can look for such.

use crate::cpu;
use crate::tables::{DropReason, PuntReason, Verdict, VifId};

/// Flows of a bucket.
const SEVEN: usize = 7;
/// An octet of 1 eight times, and an octet of 128 for each of the seven that are flows'.
const ONES: u64 = 0x0101_0101_0101_0101;
const OF_FLOWS: u64 = 0x0080_8080_8080_8080;

/// In place of a VIF: what the station itself sends came by none, and what it keeps leaves by none.
pub const NO_VIF: u16 = u16::MAX;

/// What a flow's packets are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
pub enum Family {
    /// Neither of the others; the key's ports are the ethertype.
    #[default]
    Other,
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

/// What packets of one flow have in common.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct FlowKey {
    /// Where they come from; IPv4 addresses are in the lower 32 bits.
    pub source: u128,
    /// Where they go.
    pub destination: u128,
    /// Source and destination port; type and code of ICMP.
    pub ports: u32,
    /// The VIF by which they came; [`NO_VIF`] for none.
    pub from: u16,
    /// The VIF by which they left.
    pub to: u16,
    /// [`FlowKey::verdict`].
    pub(super) verdict: u16,
    /// One of so many packets was logged.
    pub interval: u16,
    /// The log in which the VIFs have these ids, see [`crate::tables::FlowLog::epoch`].
    pub epoch: u16,
    /// The upper-layer protocol.
    pub protocol: u8,
    /// The network protocol.
    pub family: Family,
}

impl FlowKey {
    /// What became of the packets.
    pub fn verdict(&self) -> Verdict {
        let index = usize::from(self.verdict & 0xff);
        let drop = || DropReason::ALL.get(index).map(|&reason| Verdict::Drop(reason));
        let punt = || PuntReason::ALL.get(index).map(|&reason| Verdict::Punt(reason));
        match self.verdict >> 8 {
            1 => punt(),
            2 => drop(),
            _ => None,
        }
        .unwrap_or(Verdict::Forward)
    }

    /// What became of packets, as a number.
    pub(super) const fn number(verdict: Verdict) -> u16 {
        match verdict {
            Verdict::Forward => 0,
            Verdict::Punt(reason) => 1 << 8 | reason as u16,
            Verdict::Drop(reason) => 2 << 8 | reason as u16,
        }
    }
}

/// Why a flow's record was made (RFC 5102 5.11.3, flowEndReason).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
pub enum EndReason {
    /// No packet came for as long as is configured.
    #[default]
    Idle = 1,
    /// It has lasted as long as is configured: another record follows, if it goes on.
    Active = 2,
    /// TCP said that it ends.
    Ended = 3,
    /// The configuration changed, or the station stops.
    Forced = 4,
    /// Its place was needed.
    Evicted = 5,
}

/// A flow's record.
#[derive(Clone, Copy, Debug, Default)]
pub struct Flow {
    /// Of which packets.
    pub key: FlowKey,
    /// What was counted of them.
    pub counts: Counts,
    /// Why its record was made.
    pub end: EndReason,
}

/// What is counted of a flow.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C, align(64))]
pub struct Counts {
    /// How many packets were logged.
    pub packets: u64,
    /// When the last came: the worker's time.
    pub last_ns: u64,
    /// Octets of the frames as they came; of those that the station sends, none.
    pub rx_octets: u64,
    /// Octets of the frames as they left.
    pub tx_octets: u64,
    /// Octets of the IP packets.
    pub ip_octets: u64,
    /// When the first came.
    pub start_ns: u64,
    /// The VIF as whose it is logged, in its epoch.
    pub owner: VifId,
    /// [`FlowKey::epoch`].
    pub(super) epoch: u16,
    /// Service octet or traffic class of the first packet.
    pub class: u8,
    /// All flags that TCP segments had.
    pub flags: u8,
}

/// What finds the flows of a bucket.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C, align(64))]
struct Head {
    /// An octet a flow, 0 where there is none.
    tags: u64,
    signatures: [u64; SEVEN],
}

/// The table.
#[derive(Debug)]
pub(super) struct Cache {
    heads: Box<[Head]>,
    /// Eight a bucket, the last of which is none: a flow's place is a sum of powers of two.
    counts: Box<[Counts]>,
    keys: Box<[FlowKey]>,
}

/// A place in the table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Slot(usize);

impl Slot {
    #[inline(always)]
    const fn new(bucket: usize, place: usize) -> Slot {
        Slot(bucket << 3 | place)
    }
}

impl Cache {
    /// Room for at least `most` flows.
    pub fn new(most: usize) -> Cache {
        let buckets = most.div_ceil(SEVEN).next_power_of_two();
        Cache {
            heads: vec![Head::default(); buckets].into(),
            counts: vec![Counts::default(); buckets << 3].into(),
            keys: vec![FlowKey::default(); buckets << 3].into(),
        }
    }

    /// How many buckets there are: a power of two.
    pub fn buckets(&self) -> usize {
        self.heads.len()
    }

    /// How many flows there is room for.
    pub fn capacity(&self) -> usize {
        self.heads.len() * SEVEN
    }

    /// The bucket of what hashes to this.
    #[inline(always)]
    #[expect(clippy::cast_possible_truncation, reason = "masked")]
    pub fn bucket(&self, hash: u64) -> usize {
        hash as usize & (self.heads.len() - 1)
    }

    /// The tag of a signature. It is not 0: its highest bit is set.
    #[inline(always)]
    const fn tag(signature: u64) -> u64 {
        signature >> 57 | 0x80
    }

    /// Asks for the memory of a bucket that is looked at soon.
    #[inline(always)]
    pub fn prefetch(&self, bucket: usize) {
        if let Some(head) = self.heads.get(bucket) {
            cpu::prefetch(head);
        }
    }

    /// The flow with this signature, in its bucket. Asks for the memory of what is counted of it.
    #[inline(always)]
    pub fn find(&self, bucket: usize, signature: u64) -> Option<Slot> {
        let head = self.heads.get(bucket)?;
        let differ = head.tags ^ Cache::tag(signature).wrapping_mul(ONES);
        // An octet of 0 has its highest bit set here, and perhaps one above it: the signature tells.
        let mut same = differ.wrapping_sub(ONES) & !differ & OF_FLOWS;
        while same != 0 {
            let place = same.trailing_zeros() as usize / 8;
            if head.signatures.get(place) == Some(&signature) {
                let slot = Slot::new(bucket, place);
                cpu::prefetch(self.counts.get(slot.0)?);
                return Some(slot);
            }
            same &= same - 1;
        }
        None
    }

    /// Puts a flow in a free place of its bucket. False where there is none.
    pub fn insert(&mut self, bucket: usize, signature: u64, key: FlowKey, counts: Counts) -> bool {
        let head = &mut self.heads[bucket];
        let free = !head.tags & OF_FLOWS;
        if free == 0 {
            return false;
        }
        let place = free.trailing_zeros() as usize / 8;
        head.tags |= Cache::tag(signature) << (8 * place);
        head.signatures[place] = signature;
        let Slot(at) = Slot::new(bucket, place);
        (self.counts[at], self.keys[at]) = (counts, key);
        true
    }

    /// Of the flows of a bucket, the one whose last packet is the longest ago and that `may` name.
    pub fn oldest(&self, bucket: usize, may: impl Fn(&Counts) -> bool) -> Option<Slot> {
        let slots = self.slots(bucket).filter(|&slot| may(self.counts(slot)));
        slots.min_by_key(|&slot| self.counts(slot).last_ns)
    }

    /// The flows of a bucket.
    pub fn slots(&self, bucket: usize) -> impl Iterator<Item = Slot> + use<> {
        let mut used = self.heads[bucket].tags & OF_FLOWS;
        std::iter::from_fn(move || {
            let place = (used != 0).then(|| used.trailing_zeros() as usize / 8)?;
            used &= used - 1;
            Some(Slot::new(bucket, place))
        })
    }

    /// What is counted of a flow.
    pub fn counts(&self, slot: Slot) -> &Counts {
        &self.counts[slot.0]
    }

    /// The same, to count in.
    #[inline(always)]
    pub fn counts_mut(&mut self, slot: Slot) -> &mut Counts {
        &mut self.counts[slot.0]
    }

    /// A flow's record.
    pub fn record(&self, slot: Slot, end: EndReason) -> Flow {
        Flow { key: self.keys[slot.0], counts: self.counts[slot.0], end }
    }

    /// Empties a place.
    pub fn remove(&mut self, slot: Slot) {
        self.heads[slot.0 >> 3].tags &= !(0xff << (8 * (slot.0 & 7)));
    }
}
