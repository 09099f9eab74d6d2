//! Limits of addresses: each address of some prefixes, or each block of them, has a bucket of its own.
//!
//! Buckets lie in arrays, so that what a packet finds its own by is its address' place in a prefix: there is no hash to
//! collide in, and nothing that a sender could make grow. All workers share a bucket, by one word, and each frame takes
//! from it: a lease ([`super::meter`]) of the rates that addresses have would be less than a frame, and would hold up what
//! other workers have of the same address. So limits are exact, and an address is 32 octets, however many workers there are.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;

use ipnet::IpNet;

use super::ids::VifId;
use super::meter::{Direction, Pace};
use super::translation::find;
use crate::cpu::prefetch;

/// Most buckets of a station.
pub const MAX_ADDRESSES: u64 = 65_536;
/// Most limits of a VIF in one direction.
pub const MAX_OF_VIF: usize = 4;

/// Which address of a packet a limit is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum By {
    /// Where it comes from.
    Source,
    /// Where it goes.
    Destination,
}

impl By {
    /// Each with its word.
    pub const WORDS: [(&str, By); 2] =
        [(By::Source.name(), By::Source), (By::Destination.name(), By::Destination)];

    /// Its word.
    pub const fn name(self) -> &'static str {
        match self {
            By::Source => "source",
            By::Destination => "destination",
        }
    }

    /// That one of two.
    #[inline(always)]
    pub const fn of<A: Copy>(self, source: A, destination: A) -> A {
        match self {
            By::Source => source,
            By::Destination => destination,
        }
    }
}

/// What is limited how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Terms {
    /// Which address.
    pub by: By,
    /// What each may have.
    pub pace: Pace,
    /// The prefixes, which share no address.
    pub prefixes: Arc<[IpNet]>,
    /// Addresses that have this many bits in common share a bucket: IPv4, IPv6.
    pub per: [u8; 2],
}

impl Terms {
    /// How many buckets there are.
    pub fn addresses(&self) -> u64 {
        self.prefixes.iter().fold(0, |sum: u64, net| sum.saturating_add(buckets(net, self.per)))
    }
}

/// The length of the blocks in a prefix.
const fn per(net: &IpNet, per: [u8; 2]) -> u8 {
    per[matches!(net, IpNet::V6(_)) as usize]
}

/// Buckets of a prefix.
fn buckets(net: &IpNet, lengths: [u8; 2]) -> u64 {
    let bits = per(net, lengths).saturating_sub(net.prefix_len());
    1_u64.checked_shl(bits.into()).unwrap_or(u64::MAX)
}

/// What an address had. Any worker adds to it.
#[derive(Debug, Default)]
struct Counts {
    passed_octets: AtomicU64,
    exceeded_frames: AtomicU64,
    exceeded_octets: AtomicU64,
}

/// A prefix with the buckets of its addresses.
#[derive(Debug)]
struct Block<A> {
    first: A,
    mask: A,
    /// Bits of an address behind those that its bucket is found by.
    shift: u32,
    net: IpNet,
    /// When each bucket is full again, as [`Pace::take`] has it.
    buckets: Arc<[AtomicU64]>,
    counts: Arc<[Counts]>,
}

impl<A> Block<A> {
    /// With full buckets, but for those of `old` where it is of the same addresses. `same_pace`: they fill as fast.
    fn new(
        net: IpNet,
        (first, mask, shift): (A, A, u32),
        old: Option<&Self>,
        same_pace: bool,
    ) -> Self {
        let bits = u32::from(net.max_prefix_len() - net.prefix_len()).saturating_sub(shift);
        let old = old.filter(|old| (old.net, old.shift) == (net, shift));
        let buckets = || (0..1_usize << bits).map(|_| AtomicU64::new(0)).collect();
        let counts = || (0..1_usize << bits).map(|_| Counts::default()).collect();
        Block {
            first,
            mask,
            shift,
            net,
            buckets: old.filter(|_| same_pace).map_or_else(buckets, |old| old.buckets.clone()),
            counts: old.map_or_else(counts, |old| old.counts.clone()),
        }
    }

    /// What each of its buckets is of, what it had, and how much of the burst it lacks.
    fn rows(&self, pace: Pace, now_ns: u64) -> impl Iterator<Item = Address> {
        let length = self.net.max_prefix_len() - u8::try_from(self.shift).unwrap_or(0);
        let first = self.net.network();
        let shift = self.shift;
        let all = (0..).zip(self.buckets.iter().zip(self.counts.iter()));
        all.filter_map(move |(at, (bucket, counts)): (u64, _)| {
            let at = u128::from(at) << shift;
            let address: IpAddr = match first {
                IpAddr::V4(first) => {
                    Ipv4Addr::from_bits(first.to_bits() + u32::try_from(at).ok()?).into()
                }
                IpAddr::V6(first) => Ipv6Addr::from_bits(first.to_bits() + at).into(),
            };
            Some(Address {
                net: IpNet::new(address, length).ok()?,
                passed_octets: counts.passed_octets.load(Relaxed),
                exceeded_frames: counts.exceeded_frames.load(Relaxed),
                exceeded_octets: counts.exceeded_octets.load(Relaxed),
                burst_used_percent: pace.lacking(bucket, now_ns),
            })
        })
    }
}

/// An address of a limit, or a block of addresses that share a bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Address {
    /// Which.
    pub net: IpNet,
    /// Octets that passed.
    pub passed_octets: u64,
    /// Frames that were dropped.
    pub exceeded_frames: u64,
    /// Their octets.
    pub exceeded_octets: u64,
    /// How much of the burst is used up now.
    pub burst_used_percent: u64,
}

/// A limit with its buckets. VIFs of one VRF that name it in the same direction share them: only within a VRF an address
/// is one host.
#[derive(Debug)]
pub struct AddressLimit {
    /// The operator's name for it.
    pub name: Arc<str>,
    /// Name of the VRF.
    pub vrf: Arc<str>,
    /// Whether it is about what VIFs receive or what they send.
    pub direction: Direction,
    /// What is limited how.
    pub terms: Arc<Terms>,
    v4: Box<[Block<u32>]>,
    v6: Box<[Block<u128>]>,
}

impl AddressLimit {
    /// A limit in the place of `old`: prefixes that both have keep what they count, and, where the rate is the same, their
    /// buckets. With another rate all begin with full ones, so that no debt at the old one holds up the new one.
    pub fn new(
        (name, vrf, direction): (Arc<str>, Arc<str>, Direction),
        terms: Arc<Terms>,
        old: Option<&AddressLimit>,
    ) -> AddressLimit {
        let same_pace = old.is_some_and(|old| old.terms.pace == terms.pace);
        let shift = |net: &IpNet| u32::from(net.max_prefix_len() - per(net, terms.per));
        let (mut v4, mut v6) = (Vec::new(), Vec::new());
        for net in terms.prefixes.iter() {
            match net {
                IpNet::V4(of) => {
                    let place = (of.network().to_bits(), of.netmask().to_bits(), shift(net));
                    let old = old.and_then(|old| block(&old.v4, place.0));
                    v4.push(Block::new(*net, place, old, same_pace));
                }
                IpNet::V6(of) => {
                    let place = (of.network().to_bits(), of.netmask().to_bits(), shift(net));
                    let old = old.and_then(|old| block(&old.v6, place.0));
                    v6.push(Block::new(*net, place, old, same_pace));
                }
            }
        }
        v4.sort_unstable_by_key(|block| block.first);
        v6.sort_unstable_by_key(|block| block.first);
        AddressLimit { name, vrf, direction, terms, v4: v4.into(), v6: v6.into() }
    }

    /// The bucket of an IPv4 packet; `None` where its address is in no prefix.
    #[inline(always)]
    pub fn slot4(&self, source: u32, destination: u32) -> Option<Slot<'_>> {
        let address = self.terms.by.of(source, destination);
        let block = block(&self.v4, address)?;
        self.slot(block, ((address - block.first) >> block.shift) as usize)
    }

    /// That of an IPv6 packet.
    #[inline(always)]
    pub fn slot6(&self, source: u128, destination: u128) -> Option<Slot<'_>> {
        let address = self.terms.by.of(source, destination);
        let block = block(&self.v6, address)?;
        self.slot(block, usize::try_from((address - block.first) >> block.shift).ok()?)
    }

    /// The bucket of an address.
    pub fn slot_of(&self, address: IpAddr) -> Option<Slot<'_>> {
        match address {
            IpAddr::V4(address) => self.slot4(address.to_bits(), address.to_bits()),
            IpAddr::V6(address) => self.slot6(address.to_bits(), address.to_bits()),
        }
    }

    #[inline(always)]
    fn slot<'a, A>(&'a self, block: &'a Block<A>, at: usize) -> Option<Slot<'a>> {
        let (bucket, counts) = (block.buckets.get(at)?, block.counts.get(at)?);
        prefetch(bucket);
        prefetch(counts);
        Some(Slot { pace: &self.terms.pace, bucket, counts })
    }

    /// All its addresses.
    pub fn addresses(&self, now_ns: u64) -> impl Iterator<Item = Address> {
        let pace = self.terms.pace;
        let v4 = self.v4.iter().flat_map(move |block| block.rows(pace, now_ns));
        v4.chain(self.v6.iter().flat_map(move |block| block.rows(pace, now_ns)))
    }

    /// Counts from zero again.
    pub fn clear(&self) {
        let counts = self.v4.iter().map(|block| &block.counts);
        let counts = counts.chain(self.v6.iter().map(|block| &block.counts));
        for counts in counts.flat_map(|counts| counts.iter()) {
            counts.passed_octets.store(0, Relaxed);
            counts.exceeded_frames.store(0, Relaxed);
            counts.exceeded_octets.store(0, Relaxed);
        }
    }
}

#[inline(always)]
fn block<A: Copy + Ord + std::ops::BitAnd<Output = A>>(
    blocks: &[Block<A>],
    address: A,
) -> Option<&Block<A>> {
    find(blocks, address, |block| (block.first, block.mask))
}

/// An address' bucket.
#[derive(Clone, Copy, Debug)]
pub struct Slot<'a> {
    pace: &'a Pace,
    bucket: &'a AtomicU64,
    counts: &'a Counts,
}

impl Slot<'_> {
    /// Takes a frame's octets. False, and counted, where there are not as many.
    #[inline(always)]
    pub fn take(&self, octets: u64, now_ns: u64) -> bool {
        if self.pace.take(self.bucket, octets, now_ns).is_ok() {
            self.counts.passed_octets.fetch_add(octets, Relaxed);
            return true;
        }
        self.exceed(octets);
        false
    }

    /// Puts back what another limit has no room for.
    pub fn give_back(&self, octets: u64) {
        self.pace.give_back(self.bucket, octets);
        self.counts.passed_octets.fetch_sub(octets, Relaxed);
    }

    #[cold]
    fn exceed(&self, octets: u64) {
        self.counts.exceeded_frames.fetch_add(1, Relaxed);
        self.counts.exceeded_octets.fetch_add(octets, Relaxed);
    }
}

/// Limits of a VIF, by direction.
type OfVif = [Box<[Arc<AddressLimit>]>; 2];

/// The limits of all VIFs, as one generation has them.
#[derive(Clone, Debug, Default)]
pub struct AddressLimits {
    /// All of them.
    pub all: Vec<Arc<AddressLimit>>,
    /// There is one about what some VIF sends.
    pub send: bool,
    by_vif: Vec<Option<Box<OfVif>>>,
}

impl AddressLimits {
    /// Makes these the limits of a VIF.
    pub fn set(&mut self, vif: VifId, limits: OfVif) {
        if self.by_vif.len() <= vif.index() {
            self.by_vif.resize(vif.index() + 1, None);
        }
        self.send |= !limits[Direction::Tx as usize].is_empty();
        self.by_vif[vif.index()] = Some(Box::new(limits));
    }

    /// Those of a direction of the VIF with this index.
    #[inline(always)]
    pub fn of(&self, vif: usize, direction: Direction) -> &[Arc<AddressLimit>] {
        match self.by_vif.get(vif) {
            Some(Some(limits)) => &limits[direction as usize],
            _ => &[],
        }
    }
}

#[cfg(test)]
mod tests;
