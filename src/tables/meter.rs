//! Meters: what polices a VIF's octets, by direction, in a hierarchy of VIF, meter group and port.
//!
//! Each limit has one word that all workers share: a bucket by the generic cell rate algorithm (ITU-T I.371). No
//! worker writes it per packet. A worker takes a *lease*, what the rate gives in 100 microseconds, from every limit over a
//! VIF at once, and spends that alone: an ordinary packet costs a subtraction, however many limits there are. So the sum of
//! all workers keeps to the rate wherever the packets arrive, and is off by one unspent lease a worker at most.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;

use super::ids::VifId;

/// Which way octets go, seen from the station.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Direction {
    /// Received: from the customer, or from the provider's network.
    Rx,
    /// Sent.
    Tx,
}

impl Direction {
    /// Both, in the order of their numbers.
    pub const BOTH: [Direction; 2] = [Direction::Rx, Direction::Tx];

    /// Its word in tables and labels.
    pub const fn name(self) -> &'static str {
        match self {
            Direction::Rx => "rx",
            Direction::Tx => "tx",
        }
    }
}

/// What a lease is worth: time at the rate that it was taken from, in nanoseconds.
const LEASE_NS: u64 = 100_000;
/// Time in a bucket has steps of a sixteenth of a nanosecond, so that a word lasts 36 years.
const TICKS: u64 = 16;
/// A tick's fraction in [`Pace::octet`], as a power of two.
const FRACTION: u32 = 16;
/// The least and the most that a rate can be, in bit/s.
pub const RATES: std::ops::RangeInclusive<u64> = 64_000..=400_000_000_000;
/// The least and the most that a burst can be, in octets. The least holds the longest frame.
pub const BURSTS: std::ops::RangeInclusive<u64> = 10_000..=12_500_000_000;
/// The burst that a rate has by itself: this time of it, in milliseconds, and so many octets at least. On a short path a
/// TCP at its rate has a few segments under way, too few for fast retransmit, so that a loss costs it the least timeout,
/// 200 ms in Linux (RFC 6298 asks for a second): the burst is what it makes up for that with.
const BURST_MS: u64 = 250;
const LEAST_BURST: u64 = 65_536;
/// Most meter groups of a station.
pub const MAX_GROUPS: usize = 4_096;

/// The burst of a rate that is configured without one, in octets.
pub fn default_burst(rate: u64) -> u64 {
    (rate / 8 * BURST_MS / 1000).max(LEAST_BURST).min(*BURSTS.end())
}

/// A rate and a burst, as buckets count them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    /// Bit/s.
    pub rate: u64,
    /// Octets that may pass at once, after as long a time without.
    pub burst: u64,
    /// Ticks that an octet takes, times 2^[`FRACTION`].
    octet: u64,
    /// Ticks that the burst takes.
    full: u64,
}

impl Pace {
    /// What is beyond [`RATES`] and [`BURSTS`] is as near as they come.
    pub fn new(rate: u64, burst: u64) -> Pace {
        let rate = rate.clamp(*RATES.start(), *RATES.end());
        let burst = burst.clamp(*BURSTS.start(), *BURSTS.end());
        let octet = ((8 * 1_000_000_000 * TICKS) << FRACTION) / rate;
        let mut pace = Pace { rate, burst, octet, full: 0 };
        pace.full = pace.ticks(burst);
        pace
    }

    fn ticks(&self, octets: u64) -> u64 {
        let ticks = (u128::from(octets) * u128::from(self.octet)) >> FRACTION;
        u64::try_from(ticks).unwrap_or(u64::MAX)
    }

    /// Octets that the rate gives in the time of a lease, and no more than a part of the burst.
    fn lease(&self) -> u64 {
        (self.rate / 8 * LEASE_NS / 1_000_000_000).min(self.burst / 8)
    }

    /// Takes `octets` of a bucket, which says when it is full again, in ticks; or says when there will be as many, in
    /// nanoseconds.
    ///
    /// # Errors
    /// From when on there may be as many.
    #[inline]
    pub(super) fn take(&self, bucket: &AtomicU64, octets: u64, now_ns: u64) -> Result<(), u64> {
        let (now, cost) = (now_ns.saturating_mul(TICKS), self.ticks(octets));
        let taken = bucket.fetch_update(Relaxed, Relaxed, |full_at| {
            let full_at = full_at.max(now).saturating_add(cost);
            (full_at - now <= self.full).then_some(full_at)
        });
        let until = |full_at: u64| full_at.saturating_add(cost).saturating_sub(self.full);
        taken.map(drop).map_err(|full_at| until(full_at).div_ceil(TICKS))
    }

    /// Puts back what was taken of a bucket just now.
    pub(super) fn give_back(&self, bucket: &AtomicU64, octets: u64) {
        let cost = self.ticks(octets);
        let less = |full_at: u64| Some(full_at.saturating_sub(cost));
        let _ = bucket.fetch_update(Relaxed, Relaxed, less);
    }

    /// How much of the burst a bucket lacks, in percent.
    pub(super) fn lacking(&self, bucket: &AtomicU64, now_ns: u64) -> u64 {
        let lack = bucket.load(Relaxed).saturating_sub(now_ns.saturating_mul(TICKS));
        lack.saturating_mul(100).checked_div(self.full).unwrap_or(0).min(100)
    }
}

/// A rate, and the bucket that it fills and all workers share. A clone shares it too.
#[derive(Clone, Debug)]
pub struct Limit {
    /// The rate.
    pub pace: Pace,
    /// When the bucket is full again, in ticks. It starts full.
    full_at: Arc<AtomicU64>,
}

impl Limit {
    /// A limit with a full bucket.
    pub fn new(rate: u64, burst: u64) -> Limit {
        Limit { pace: Pace::new(rate, burst), full_at: Arc::default() }
    }

    /// Octets that the rate gives in the time of a lease, and no more than a part of the burst.
    fn lease(&self) -> u64 {
        self.pace.lease()
    }

    /// As [`Pace::take`].
    fn take(&self, octets: u64, now_ns: u64) -> Result<(), u64> {
        self.pace.take(&self.full_at, octets, now_ns)
    }

    /// Takes `octets` of a worker's own lease, which is renewed where it has less. False where the rate gives no more now.
    pub fn spend(&self, leased: &mut u64, octets: u64, now_ns: u64) -> bool {
        if *leased < octets {
            let more = self.lease().max(octets - *leased);
            if self.take(more, now_ns).is_err() {
                return false;
            }
            *leased += more;
        }
        *leased -= octets;
        true
    }

    /// Takes `octets` whether there are as many or not: others wait the longer.
    fn owe(&self, octets: u64, now_ns: u64) {
        let (now, cost) = (now_ns.saturating_mul(TICKS), self.pace.ticks(octets));
        let add = |full_at: u64| Some(full_at.max(now).saturating_add(cost));
        let _ = self.full_at.fetch_update(Relaxed, Relaxed, add);
    }

    /// Puts back what was taken just now.
    fn give_back(&self, octets: u64) {
        self.pace.give_back(&self.full_at, octets);
    }
}

/// All limits over one direction of a VIF.
#[derive(Clone, Debug, Default)]
pub struct Plan {
    /// The VIF's own: the peak rate of RFC 2698.
    pub own: Option<Limit>,
    /// What the VIF has whatever others do, the committed rate of RFC 2698: within it neither group nor port refuses.
    pub committed: Option<Limit>,
    /// The VIF's meter group's.
    pub group: Option<Limit>,
    /// The port's.
    pub port: Option<Limit>,
}

/// What a worker got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lease {
    /// Octets to spend.
    pub octets: u64,
    /// They are within what the VIF is committed to have.
    pub committed: bool,
}

impl Plan {
    /// Whether anything is limited.
    pub fn is_empty(&self) -> bool {
        self.limits().next().is_none()
    }

    /// The limits that others share or that end a burst: all but the committed one.
    fn limits(&self) -> impl Iterator<Item = &Limit> {
        [&self.own, &self.group, &self.port].into_iter().flatten()
    }

    /// Takes at least `octets` from every limit, or from none.
    ///
    /// # Errors
    /// From when on there may be as many, in nanoseconds.
    fn lease(&self, octets: u64, now_ns: u64) -> Result<Lease, u64> {
        let lease = self.limits().chain(&self.committed).map(Limit::lease).min().unwrap_or(0);
        let octets = octets.max(lease);
        if let Some(own) = &self.own {
            own.take(octets, now_ns)?;
        }
        let committed = self.committed.as_ref();
        let committed = committed.is_some_and(|limit| limit.take(octets, now_ns).is_ok());
        let shared = [&self.group, &self.port];
        for (at, limit) in shared.into_iter().enumerate() {
            let Some(limit) = limit else { continue };
            if committed {
                limit.owe(octets, now_ns);
            } else if let Err(until) = limit.take(octets, now_ns) {
                let before = self.own.iter().chain(shared[..at].iter().copied().flatten());
                before.for_each(|limit| limit.give_back(octets));
                return Err(until);
            }
        }
        Ok(Lease { octets, committed })
    }
}

/// The meters of all VIFs, as one generation has them. The buckets outlive it.
#[derive(Clone, Debug, Default)]
pub struct Meters {
    /// Octets that each frame counts beyond those from its destination MAC to the end of its payload.
    pub overhead: u32,
    /// What some VIF sends is limited.
    pub send: bool,
    plans: Vec<Option<Box<[Plan; 2]>>>,
}

impl Meters {
    /// Meters of no VIF yet, of frames that each count so many octets more.
    pub fn new(overhead: u32) -> Meters {
        Meters { overhead, send: false, plans: Vec::new() }
    }

    /// Makes these the plans of a VIF, by direction.
    pub fn set(&mut self, vif: VifId, plans: [Plan; 2]) {
        if self.plans.len() <= vif.index() {
            self.plans.resize(vif.index() + 1, None);
        }
        self.send |= !plans[Direction::Tx as usize].is_empty();
        self.plans[vif.index()] = Some(Box::new(plans));
    }

    /// What limits a direction of a VIF, if anything does.
    pub fn plan(&self, vif: VifId, direction: Direction) -> Option<&Plan> {
        let plan = &self.plans.get(vif.index())?.as_ref()?[direction as usize];
        Some(plan).filter(|plan| !plan.is_empty())
    }

    /// A lease of at least `octets` for a direction of a VIF; of just those where nothing limits it.
    ///
    /// # Errors
    /// From when on there may be one, in nanoseconds.
    pub fn lease(
        &self,
        vif: VifId,
        direction: Direction,
        octets: u64,
        now_ns: u64,
    ) -> Result<Lease, u64> {
        match self.plan(vif, direction) {
            Some(plan) => plan.lease(octets, now_ns),
            None => Ok(Lease { octets, committed: false }),
        }
    }
}

#[cfg(test)]
mod tests;
