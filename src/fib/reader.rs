//! What workers hold: lookups that take no lock and write nothing.

use super::burst::Burst;
use super::head::Heads;
use super::raw::{Choice, Kernels, Region};
use super::scalar::{One, flat4};
use super::traffic::Traffic;
use std::net::IpAddr;
use std::sync::Arc;

/// Lookups for workers; cheap to clone, one for each.
///
/// A lookup never waits and writes no shared memory. It answers as of some moment within the call, each
/// address for itself; where no other route covers the address, the default route counts as it was when the
/// call began.
///
/// # Quiescence
///
/// Memory that a lookup may be reading is reused by [`Fib::reclaim`](super::Fib::reclaim), so whoever calls
/// that must know that every reader's lookups begun before have ended. A call that breaks this makes lookups
/// answer wrong routes; it cannot make them read outside the FIB's memory.
#[derive(Clone)]
pub struct FibReader {
    pub(super) region: Arc<Region>,
    pub(super) heads: Heads,
    pub(super) kernels: Kernels,
    /// Which layout suits what this reader looks up.
    pub(super) traffic: Traffic,
}

impl FibReader {
    pub(super) fn new(region: Arc<Region>, heads: Heads) -> FibReader {
        let choice = Choice::of_this_machine();
        let traffic = Traffic::new(choice.turn());
        FibReader { region, heads, kernels: choice.kernels(), traffic }
    }

    /// Which code the readers run on this machine, and why: for the log.
    pub fn choice(&self) -> &'static Choice {
        Choice::of_this_machine()
    }

    /// This reader with each kind of vector code that the processor has, and its name: for tests and benchmarks. Where
    /// there is a flat table, they take it.
    pub fn variants(&self) -> impl Iterator<Item = (&'static str, FibReader)> + '_ {
        let with = |kernels: Kernels| {
            let traffic = Traffic::new(u32::MAX);
            (kernels.name(), FibReader { kernels, traffic, ..self.clone() })
        };
        Kernels::available().into_iter().map(with)
    }

    /// The names of all kinds of vector code, the most plain last, whatever this processor has: for tests.
    pub const VARIANTS: [&str; 4] = ["avx512-popcnt", "avx512", "avx2", "scalar"];

    /// The value of the longest match of `addr` (host order), or [`NO_ROUTE`](super::NO_ROUTE); also where there is no such VRF.
    #[inline]
    pub fn lookup4(&self, vrf: u32, addr: u32) -> u32 {
        let head = self.heads.load4(self.region.view(), vrf);
        // A flat table needs no particular processor, so that this can be inlined.
        flat4(self.region.view(), head, addr)
            .unwrap_or_else(|| self.kernels.run(One { region: self.region.view(), head, addr }))
    }

    /// The value of the longest match of `addr`, or [`NO_ROUTE`](super::NO_ROUTE); also where there is no such VRF.
    #[inline]
    pub fn lookup6(&self, vrf: u32, addr: u128) -> u32 {
        let head = self.heads.load6(self.region.view(), vrf);
        self.kernels.run(One { region: self.region.view(), head, addr })
    }

    /// The value of the longest match of an address of either family.
    #[inline]
    pub fn lookup(&self, vrf: u32, addr: IpAddr) -> u32 {
        match addr {
            IpAddr::V4(addr) => self.lookup4(vrf, addr.to_bits()),
            IpAddr::V6(addr) => self.lookup6(vrf, addr.to_bits()),
        }
    }

    /// A number that is another one after every change of a VRF's routes. What was looked up after it was read holds, as if it
    /// were looked up again, until it changes.
    #[inline(always)]
    pub fn changes(&self, vrf: u32) -> u64 {
        self.heads.changes(self.region.view(), vrf)
    }

    /// Looks up `addrs[i]` in `vrfs[i]` into `out[i]`. Slices of different lengths: the shortest counts.
    pub fn lookup4_burst(&self, vrfs: &[u32], addrs: &[u32], out: &mut [u32]) {
        self.lookup4_sets(vrfs, [addrs], [out]);
    }

    /// Looks up sets of addresses, `addrs[set][i]` in `vrfs[i]` into `out[set][i]`: a burst's destinations and its sources, say. The
    /// cache misses of the first set overlap with the work on the others.
    pub fn lookup4_sets<const SETS: usize>(
        &self,
        vrfs: &[u32],
        addrs: [&[u32]; SETS],
        out: [&mut [u32]; SETS],
    ) {
        self.kernels.run(Burst { reader: self, vrfs, addrs, out });
    }

    /// Looks up `addrs[i]` in `vrfs[i]` into `out[i]`. Slices of different lengths: the shortest counts.
    pub fn lookup6_burst(&self, vrfs: &[u32], addrs: &[u128], out: &mut [u32]) {
        self.lookup6_sets(vrfs, [addrs], [out]);
    }

    /// As [`FibReader::lookup4_sets`].
    pub fn lookup6_sets<const SETS: usize>(
        &self,
        vrfs: &[u32],
        addrs: [&[u128]; SETS],
        out: [&mut [u32]; SETS],
    ) {
        self.kernels.run(Burst { reader: self, vrfs, addrs, out });
    }
}
