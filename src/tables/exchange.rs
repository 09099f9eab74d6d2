//! Exchanges: which prefixes of one VRF another one reaches. A permit is an adjacency of the VRF that reaches them
//! ([`super::AdjacencyKind::Exchange`]), and routes lead to it as to any other. What meets one is looked up once more, in
//! the VRF that it names. Nothing else takes a packet from one VRF into another.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;

use crossbeam::utils::CachePadded;

use super::counters::Counter;
use super::ids::VrfId;

/// One exchange: one direction.
#[derive(Clone, Debug)]
pub struct Exchange {
    /// The operator's name for it.
    pub name: Arc<str>,
    /// The VRF whose prefixes are reached.
    pub exporter: VrfId,
    /// The VRF that reaches them.
    pub importer: VrfId,
    /// What has passed.
    pub passed: Arc<Passed>,
}

/// Packets that have passed and their octets, from the IP header on.
#[derive(Debug)]
pub struct Passed {
    /// Of each worker, and of the slow path behind the last.
    writers: Box<[CachePadded<[Counter; 2]>]>,
    /// From where on they are shown.
    zero: [AtomicU64; 2],
}

impl Passed {
    /// Nothing, of so many workers.
    pub fn new(workers: usize) -> Passed {
        let writers = (0..=workers).map(|_| CachePadded::default()).collect();
        Passed { writers, zero: Default::default() }
    }

    /// Counts a packet. Only the worker of this number may call it; one that there is no room for counts nothing.
    #[inline(always)]
    pub fn count(&self, worker: usize, octets: u64) {
        if let Some([packets, sum]) = self.writers.get(worker).map(|writer| &**writer) {
            packets.add(1);
            sum.add(octets);
        }
    }

    /// Counts a packet that was forwarded in software. Only the slow path may call it.
    pub fn count_slow(&self, octets: u64) {
        self.count(self.writers.len() - 1, octets);
    }

    fn sum(&self) -> [u64; 2] {
        std::array::from_fn(|i| self.writers.iter().map(|writer| writer[i].get()).sum())
    }

    /// Packets and octets since the last clear.
    pub fn get(&self) -> [u64; 2] {
        let sum = self.sum();
        std::array::from_fn(|i| sum[i].wrapping_sub(self.zero[i].load(Relaxed)))
    }

    /// Makes all count from zero. Workers notice nothing.
    pub fn clear(&self) {
        self.zero.iter().zip(self.sum()).for_each(|(zero, sum)| zero.store(sum, Relaxed));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn workers_and_the_slow_path_count_each_for_itself() {
        let passed = Passed::new(2);
        passed.count(0, 100);
        passed.count(1, 10);
        passed.count_slow(1);
        passed.count(3, 1000);
        assert_eq!(passed.get(), [3, 111]);
        passed.clear();
        passed.count(1, 5);
        assert_eq!(passed.get(), [1, 5]);
    }
}
