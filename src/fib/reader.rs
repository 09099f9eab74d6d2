//! What workers hold: lookups that take no lock and write nothing.

use super::NO_ROUTE;
use super::chunk::{is_leaf, run};
use super::head::{Head, Heads};
use super::key::{Key, STRIDE};
use super::raw::Region;
use std::net::IpAddr;
use std::sync::Arc;

/// The low bits of a leaf.
const VALUE: u32 = 0xFF_FFFF;

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
    region: Arc<Region>,
    heads: Heads,
}

impl FibReader {
    pub(super) fn new(region: Arc<Region>, heads: Heads) -> FibReader {
        FibReader { region, heads }
    }

    /// The value of the longest match of `addr` (host order), or [`NO_ROUTE`]; also where there is no such VRF.
    #[inline]
    pub fn lookup4(&self, vrf: u32, addr: u32) -> u32 {
        self.search(self.heads.load4(&self.region, vrf), addr)
    }

    /// The value of the longest match of `addr`, or [`NO_ROUTE`]; also where there is no such VRF.
    #[inline]
    pub fn lookup6(&self, vrf: u32, addr: u128) -> u32 {
        self.search(self.heads.load6(&self.region, vrf), addr)
    }

    /// As [`FibReader::lookup4`] or [`FibReader::lookup6`], by the address's family.
    pub fn lookup(&self, vrf: u32, addr: IpAddr) -> u32 {
        match addr {
            IpAddr::V4(addr) => self.lookup4(vrf, u32::from(addr)),
            IpAddr::V6(addr) => self.lookup6(vrf, u128::from(addr)),
        }
    }

    #[inline(always)]
    fn search<K: Key>(&self, head: Head, key: K) -> u32 {
        let mut entry = head.entry();
        let mut depth = 0;
        while !is_leaf(entry) && depth < K::BITS {
            let index = 2 + run(self.region.load64(entry), key.slot(depth));
            entry = self.region.acquire32(entry, index);
            depth += STRIDE;
        }
        match entry & VALUE {
            NO_ROUTE => head.default(),
            value => value,
        }
    }

    /// Looks up `addrs[i]` in `vrfs[i]` into `out[i]`. Slices of different lengths: the shortest counts.
    pub fn lookup4_burst(&self, vrfs: &[u32], addrs: &[u32], out: &mut [u32]) {
        for ((out, &vrf), &addr) in out.iter_mut().zip(vrfs).zip(addrs) {
            *out = self.lookup4(vrf, addr);
        }
    }

    /// Looks up `addrs[i]` in `vrfs[i]` into `out[i]`. Slices of different lengths: the shortest counts.
    pub fn lookup6_burst(&self, vrfs: &[u32], addrs: &[u128], out: &mut [u32]) {
        for ((out, &vrf), &addr) in out.iter_mut().zip(vrfs).zip(addrs) {
            *out = self.lookup6(vrf, addr);
        }
    }
}
