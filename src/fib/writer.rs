//! The writer: VRFs, route changes, and reclamation.

use super::head::{Head, Heads};
use super::heap::Heap;
use super::key::Key;
use super::raw::Region;
use super::slab::PAGE_WORDS;
use super::tree::{Routes, Tree, Update};
use super::{FamilyStats, FibError, FibReader, Layout, Limits, MAX_VALUE, Stats, VrfStats};
use ipnet::IpNet;
use std::net::IpAddr;
use std::sync::Arc;

/// One VRF's routes of both families.
#[derive(Clone, Copy)]
struct Vrf {
    v4: Routes,
    v6: Routes,
}

/// The routes of all VRFs, and the lookup structure that they are compiled into.
///
/// One for the station, on the control thread. A change is visible to every lookup that begins after the call
/// has returned.
pub struct Fib {
    heap: Heap,
    heads: Heads,
    vrfs: Vec<Option<Vrf>>,
    v4: Tree<u32>,
    v6: Tree<u128>,
    max_bytes: u64,
}

impl Fib {
    /// Reserves address space for `limits`.
    pub fn new(limits: Limits) -> Result<Fib, FibError> {
        let too_small =
            FibError::LimitsTooSmall { max_bytes: limits.max_bytes, max_vrfs: limits.max_vrfs };
        let words = u32::try_from(limits.max_bytes / 8).unwrap_or(u32::MAX).min((1 << 31) - 1);
        let Some(head_words) = limits.max_vrfs.checked_mul(3) else { return Err(too_small) };
        let region = Arc::new(Region::new(words)?);
        let mut heap = Heap::new(region);
        let Some(table) = heap.alloc(head_words.max(PAGE_WORDS)) else { return Err(too_small) };
        let heads = Heads { table, vrfs: limits.max_vrfs };
        Ok(Fib {
            heap,
            heads,
            vrfs: Vec::new(),
            v4: Tree::new(limits.flat_at),
            v6: Tree::new(usize::MAX),
            max_bytes: limits.max_bytes,
        })
    }

    /// One whose VRFs change shape at other numbers of routes, so that short tests see every shape.
    #[cfg(test)]
    pub(super) fn with_shapes(limits: Limits, grow: usize, shrink: usize) -> Fib {
        let mut fib = Fib::new(limits).unwrap();
        (fib.v4.grow_at, fib.v4.shrink_at) = (grow, shrink);
        (fib.v6.grow_at, fib.v6.shrink_at) = (grow, shrink);
        fib
    }

    /// A reader of this FIB, for a worker; it stays valid when the FIB is dropped.
    pub fn reader(&self) -> FibReader {
        FibReader::new(Arc::clone(&self.heap.region), self.heads)
    }

    /// Makes a VRF without routes.
    pub fn add_vrf(&mut self, vrf: u32) -> Result<(), FibError> {
        if vrf >= self.heads.vrfs {
            return Err(FibError::VrfOutOfRange { vrf, max_vrfs: self.heads.vrfs });
        }
        let index = vrf as usize;
        if self.vrfs.len() <= index {
            self.vrfs.resize(index + 1, None);
        }
        if self.vrfs[index].is_some() {
            return Err(FibError::VrfExists(vrf));
        }
        self.vrfs[index] = Some(Vrf { v4: Routes::EMPTY, v6: Routes::EMPTY });
        self.heads.publish4(&self.heap.region, vrf, Head::none());
        self.heads.publish6(&self.heap.region, vrf, Head::none());
        Ok(())
    }

    /// Removes a VRF with its routes; lookups in it then find none.
    pub fn remove_vrf(&mut self, vrf: u32) -> Result<(), FibError> {
        let gone = self
            .vrfs
            .get_mut(vrf as usize)
            .and_then(Option::take)
            .ok_or(FibError::NoSuchVrf(vrf))?;
        self.heads.publish4(&self.heap.region, vrf, Head::none());
        self.heads.publish6(&self.heap.region, vrf, Head::none());
        self.v4.clear(&mut self.heap, &gone.v4);
        self.v6.clear(&mut self.heap, &gone.v6);
        Ok(())
    }

    /// Adds or replaces a route; gives the value that it had. Host bits of `prefix` do not count.
    pub fn insert(&mut self, vrf: u32, prefix: IpNet, value: u32) -> Result<Option<u32>, FibError> {
        self.change(vrf, prefix, Some(value))
    }

    /// Withdraws a route; gives the value that it had.
    ///
    /// This too may need memory, for which inserting leaves a reserve.
    pub fn remove(&mut self, vrf: u32, prefix: IpNet) -> Result<Option<u32>, FibError> {
        self.change(vrf, prefix, None)
    }

    fn change(
        &mut self,
        vrf: u32,
        prefix: IpNet,
        value: Option<u32>,
    ) -> Result<Option<u32>, FibError> {
        let inserts = value.is_some();
        match prefix {
            IpNet::V4(_) => {
                let updates = [update(&prefix, value)?];
                let routes = self.vrf(vrf)?.v4;
                let room = self.v4.reserve(&mut self.heap, &routes, &updates);
                self.make_sure_of(room, inserts)?;
                Ok(self.commit4(vrf, &updates))
            }
            IpNet::V6(_) => {
                let updates = [update(&prefix, value)?];
                let routes = self.vrf(vrf)?.v6;
                let room = self.v6.reserve(&mut self.heap, &routes, &updates);
                self.make_sure_of(room, inserts)?;
                let replaced = self.commit6(vrf, &updates);
                self.heap.return_stock();
                Ok(replaced)
            }
        }
    }

    /// Applies changes in order (`None` withdraws), or none of them if one is refused.
    ///
    /// Each part of the structure is compiled once for the whole batch, so a batch is cheaper than its changes
    /// one by one. Readers see single routes change during the call, all of them after it.
    pub fn apply(&mut self, vrf: u32, updates: &[(IpNet, Option<u32>)]) -> Result<(), FibError> {
        let mut v4 = Vec::new();
        let mut v6 = Vec::new();
        for (prefix, value) in updates {
            match prefix {
                IpNet::V4(_) => v4.push(update(prefix, *value)?),
                IpNet::V6(_) => v6.push(update(prefix, *value)?),
            }
        }
        coalesce(&mut v4);
        coalesce(&mut v6);
        let Vrf { v4: routes4, v6: routes6 } = *self.vrf(vrf)?;
        let room4 = self.v4.reserve(&mut self.heap, &routes4, &v4);
        let room6 = self.v6.reserve(&mut self.heap, &routes6, &v6);
        let room = room4.zip(room6).map(|(room4, room6)| room4 + room6);
        self.make_sure_of(room, updates.iter().any(|(_, value)| value.is_some()))?;
        self.commit4(vrf, &v4);
        self.commit6(vrf, &v6);
        self.heap.return_stock();
        Ok(())
    }

    fn commit4(&mut self, vrf: u32, updates: &[Update<u32>]) -> Option<u32> {
        let routes = &mut self.vrfs.get_mut(vrf as usize)?.as_mut()?.v4;
        let (head, replaced) = self.v4.apply(&mut self.heap, routes, updates);
        self.heads.publish4(&self.heap.region, vrf, head);
        replaced
    }

    fn commit6(&mut self, vrf: u32, updates: &[Update<u128>]) -> Option<u32> {
        let routes = &mut self.vrfs.get_mut(vrf as usize)?.as_mut()?.v6;
        let (head, replaced) = self.v6.apply(&mut self.heap, routes, updates);
        self.heads.publish6(&self.heap.region, vrf, head);
        replaced
    }

    /// Refuses what could run out of memory halfway. Inserting leaves a part for withdrawals.
    fn make_sure_of(&mut self, chunks: Option<u64>, inserts: bool) -> Result<(), FibError> {
        let kept = if inserts { self.heap.all_chunks() / 16 } else { 0 };
        if chunks.is_some_and(|chunks| self.heap.free_chunks() >= chunks + kept) {
            return Ok(());
        }
        self.heap.return_stock();
        Err(FibError::Exhausted {
            max_bytes: self.max_bytes,
            retired_bytes: self.heap.retired_octets(),
        })
    }

    fn vrf(&self, vrf: u32) -> Result<&Vrf, FibError> {
        self.vrfs.get(vrf as usize).and_then(Option::as_ref).ok_or(FibError::NoSuchVrf(vrf))
    }

    /// The value of exactly this prefix.
    pub fn get(&self, vrf: u32, prefix: &IpNet) -> Option<u32> {
        let routes = self.vrf(vrf).ok()?;
        match prefix {
            IpNet::V4(_) => self.v4.get(&routes.v4, Key::from_net(prefix)?, prefix.prefix_len()),
            IpNet::V6(_) => self.v6.get(&routes.v6, Key::from_net(prefix)?, prefix.prefix_len()),
        }
    }

    /// The longest match of an address, with its prefix.
    pub fn lookup(&self, vrf: u32, addr: IpAddr) -> Option<(IpNet, u32)> {
        let routes = self.vrf(vrf).ok()?;
        let (len, value) = match addr {
            IpAddr::V4(addr) => self.v4.longest(&routes.v4, addr.to_bits()),
            IpAddr::V6(addr) => self.v6.longest(&routes.v6, addr.to_bits()),
        }?;
        IpNet::new(addr, len).ok().map(|net| (net.trunc(), value))
    }

    /// A VRF's routes, IPv4 first, each family by address and then length. None if there is no such VRF.
    pub fn routes(&self, vrf: u32) -> impl Iterator<Item = (IpNet, u32)> + '_ {
        let routes = self.vrf(vrf).ok();
        let v4 = routes.map(|routes| self.v4.walk(&routes.v4)).into_iter().flatten();
        let v6 = routes.map(|routes| self.v6.walk(&routes.v6)).into_iter().flatten();
        v4.chain(v6)
    }

    /// As [`Fib::routes`], from a prefix of one family on and without the other family.
    pub fn routes_from(
        &self,
        vrf: u32,
        from: IpNet,
    ) -> Box<dyn Iterator<Item = (IpNet, u32)> + '_> {
        let Ok(routes) = self.vrf(vrf) else { return Box::new(std::iter::empty()) };
        let len = from.prefix_len();
        match from {
            IpNet::V4(net) => Box::new(self.v4.walk_from(&routes.v4, net.network().to_bits(), len)),
            IpNet::V6(net) => Box::new(self.v6.walk_from(&routes.v6, net.network().to_bits(), len)),
        }
    }

    /// How many IPv4 and IPv6 routes a VRF has.
    pub fn counts(&self, vrf: u32) -> (usize, usize) {
        self.vrf(vrf).map_or((0, 0), |routes| (routes.v4.count, routes.v6.count))
    }

    /// Sizes, and how full it is. It takes a step for each VRF, none for a route.
    pub fn stats(&self) -> Stats {
        let (mut vrfs, mut flat_vrfs, mut large) = (0, 0, [0; 2]);
        for vrf in self.vrfs.iter().flatten() {
            vrfs += 1;
            flat_vrfs += usize::from(vrf.v4.layout() == Layout::Flat);
            large[0] += usize::from(vrf.v4.layout() != Layout::Chunks);
            large[1] += usize::from(vrf.v6.layout() != Layout::Chunks);
        }
        let (chunks, free_chunks) = self.heap.blocks();
        Stats {
            vrfs,
            flat_vrfs,
            v4: FamilyStats {
                routes: self.v4.routes,
                large_vrfs: large[0],
                fib_bytes: self.v4.fib_octets,
                rib_bytes: self.v4.rib_octets(),
            },
            v6: FamilyStats {
                routes: self.v6.routes,
                large_vrfs: large[1],
                fib_bytes: self.v6.fib_octets,
                rib_bytes: self.v6.rib_octets(),
            },
            max_bytes: self.max_bytes,
            free_bytes: self.heap.free_octets(),
            retired_bytes: self.heap.retired_octets(),
            touched_bytes: self.heap.touched_octets(),
            chunks,
            free_chunks,
        }
    }

    /// A VRF's number of routes and their layout, without a look at the routes. None if there is no
    /// such VRF.
    pub fn vrf_stats(&self, vrf: u32) -> Option<VrfStats> {
        let Vrf { v4, v6 } = self.vrf(vrf).ok()?;
        Some(VrfStats {
            v4_routes: v4.count,
            v6_routes: v6.count,
            v4_layout: v4.layout(),
            v6_layout: v6.layout(),
        })
    }

    /// Frees what no reader can be reading.
    ///
    /// Memory unlinked since the last call gets the tag `sealed`; memory with a tag up to `quiescent` is freed for
    /// reuse. The caller promises that every lookup that began before the call that gave a tag has ended when
    /// `quiescent` reaches it, and that it has seen so with acquire ordering: each worker, between bursts, stores
    /// (release) the newest tag that it has seen, and `quiescent` is the least of those. Tags never decrease. A
    /// broken promise makes lookups answer wrong routes.
    pub fn reclaim(&mut self, sealed: u64, quiescent: u64) {
        self.heap.reclaim(sealed, quiescent);
    }
}

fn update<K: Key>(prefix: &IpNet, value: Option<u32>) -> Result<Update<K>, FibError> {
    if let Some(value) = value
        && !(1..=MAX_VALUE).contains(&value)
    {
        return Err(FibError::ValueOutOfRange(value));
    }
    // The caller has chosen K by the prefix's family.
    let key = K::from_net(prefix).unwrap_or_default();
    Ok(Update { key, len: prefix.prefix_len(), value: value.unwrap_or(0) })
}

/// Sorts, and of several changes of one prefix keeps the last.
fn coalesce<K: Key>(updates: &mut Vec<Update<K>>) {
    updates.sort_by_key(|update| (update.key, update.len));
    updates.dedup_by(|later, kept| {
        let same = (later.key, later.len) == (kept.key, kept.len);
        if same {
            kept.value = later.value;
        }
        same
    });
}
