//! What is counted of a target in a span of time: it can be added to that of another span.

use std::collections::BTreeMap;

use super::super::{Counts, Target};
use crate::blocks::packed::{put, take};

/// The bits of a round trip that are kept: it is known to 1 %.
const BITS: u32 = 8;

/// The bucket of a round trip. Up to 255 us each has its own.
fn bucket(us: u32) -> u16 {
    let shift = (u32::BITS - us.leading_zeros()).saturating_sub(BITS);
    u16::try_from((shift << (BITS - 1)) + (us >> shift)).unwrap_or(u16::MAX)
}

/// The longest round trip of a bucket, in microseconds.
fn longest_of(bucket: u16) -> u64 {
    let bucket = u64::from(bucket);
    let shift = (bucket >> (BITS - 1)).saturating_sub(1);
    ((bucket - (shift << (BITS - 1)) + 1) << shift) - 1
}

/// What was sent, and what came of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Questions that left.
    pub sent: u64,
    /// Those that were answered.
    pub received: u64,
    /// Those that were not, in time, or with an error.
    pub lost: u64,
    /// The longest round trip: microseconds.
    pub max_us: u64,
    /// How much round trips differ from one to the next, in sum (microseconds), and how many differences there are.
    differences: (u64, u64),
    /// Answers by bucket of their round trip.
    rtts: BTreeMap<u16, u64>,
}

impl Tally {
    /// Takes in what a target counted since it stood at `before`, with that last round trip.
    pub fn note(&mut self, (before, last_us): (&Counts, Option<u32>), target: &Target) {
        let now = target.counts();
        self.sent += now.sent - before.sent;
        self.lost += now.lost - before.lost;
        if let (true, Some(us)) = (now.received > before.received, target.last_us()) {
            self.answered(us, last_us);
        }
    }

    /// An answer, and the round trip of the one before.
    pub(super) fn answered(&mut self, us: u32, last_us: Option<u32>) {
        self.received += 1;
        self.max_us = self.max_us.max(us.into());
        *self.rtts.entry(bucket(us)).or_default() += 1;
        if let Some(last_us) = last_us {
            self.differences.0 += u64::from(us.abs_diff(last_us));
            self.differences.1 += 1;
        }
    }

    /// Takes in another span's.
    pub fn join(&mut self, other: &Tally) {
        self.sent += other.sent;
        self.received += other.received;
        self.lost += other.lost;
        self.max_us = self.max_us.max(other.max_us);
        self.differences.0 += other.differences.0;
        self.differences.1 += other.differences.1;
        for (bucket, count) in &other.rtts {
            *self.rtts.entry(*bucket).or_default() += count;
        }
    }

    /// So many thousandths of the round trips took no longer: microseconds, to 1 %. `None` where there is none.
    pub fn quantile_us(&self, thousandths: u64) -> Option<u64> {
        let place = (self.received * thousandths).div_ceil(1000).max(1);
        let mut counted = 0;
        let at = self.rtts.iter().find(|(_, count)| {
            counted += *count;
            counted >= place
        });
        at.map(|(bucket, _)| longest_of(*bucket).min(self.max_us))
    }

    /// How much round trips differ from one to the next, in the mean (RFC 3550's D): microseconds.
    pub fn jitter_us(&self) -> Option<u64> {
        let (sum, count) = self.differences;
        sum.checked_div(count)
    }

    /// Of what was answered or lost, the part that was lost: in percent.
    #[expect(clippy::cast_precision_loss, reason = "a ratio for people")]
    pub fn loss_percent(&self) -> Option<f64> {
        let known = self.received + self.lost;
        (known > 0).then(|| 100.0 * self.lost as f64 / known as f64)
    }

    pub(super) fn encode(&self, octets: &mut Vec<u8>) {
        let (sum, count) = self.differences;
        let numbers = [self.sent, self.received, self.lost, self.max_us, sum, count];
        numbers.into_iter().chain([self.rtts.len() as u64]).for_each(|number| put(octets, number));
        let mut before = 0;
        for (bucket, count) in &self.rtts {
            put(octets, u64::from(bucket - before));
            put(octets, *count);
            before = *bucket;
        }
    }

    pub(super) fn decode(from: &mut &[u8]) -> Option<Tally> {
        let mut number = || take(from);
        let mut tally = Tally {
            sent: number()?,
            received: number()?,
            lost: number()?,
            max_us: number()?,
            differences: (number()?, number()?),
            rtts: BTreeMap::new(),
        };
        let mut bucket = 0_u16;
        for _ in 0..number()? {
            bucket = bucket.checked_add(u16::try_from(number()?).ok()?)?;
            tally.rtts.insert(bucket, number()?);
        }
        Some(tally)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_has_what_is_within_one_percent() {
        let edges = (0..=32).map(|bit| 1_u64 << bit).flat_map(|edge| [edge - 1, edge, edge + 1]);
        for us in (0..70_000).chain(edges).filter_map(|us| u32::try_from(us).ok()) {
            let longest = longest_of(bucket(us));
            assert!(longest >= u64::from(us), "{us} {longest}");
            assert!(longest - u64::from(us) <= u64::from(us) / 100, "{us} {longest}");
        }
        for us in 1..70_000 {
            assert!(bucket(us) - bucket(us - 1) <= 1, "{us}");
        }
    }
}
