//! A VRF's head: the one word by which readers find its routes of a family.
//!
//! ```text
//! bits 0..31    the entry to start from, or the offset of the root table
//! bits 32..55   the default route's value
//! bit 56        whether there is a root table
//! bit 57        whether there are short routes beside it
//! bit 58        whether a flat table follows it
//! ```

use super::chunk::{LEAF, leaf};
use super::raw::{Region, View};
use super::root::Root;

/// Heads are in memory with this bit inverted: memory never written says that there is no route.
const NOWHERE: u64 = LEAF as u64;

/// A head word.
#[derive(Clone, Copy)]
pub(super) struct Head(u64);

#[expect(clippy::cast_possible_truncation, reason = "a head is taken apart")]
impl Head {
    pub(super) fn new(entry: u32, default: u32) -> Head {
        Head(u64::from(entry) | u64::from(default) << 32)
    }

    pub(super) fn with_root(root: Root, default: u32) -> Head {
        let flags = 1 | u64::from(root.short) << 1 | u64::from(root.flat) << 2;
        Head(u64::from(root.table) | u64::from(default) << 32 | flags << 56)
    }

    #[inline(always)]
    pub(super) fn has_table(self) -> bool {
        self.0 >> 56 & 1 == 1
    }

    #[inline(always)]
    pub(super) fn has_short(self) -> bool {
        self.0 >> 57 & 1 == 1
    }

    #[inline(always)]
    pub(super) fn has_flat(self) -> bool {
        self.0 >> 58 & 1 == 1
    }

    /// No VRF, or one without routes.
    pub(super) fn none() -> Head {
        Head::new(leaf(0), 0)
    }

    #[inline(always)]
    pub(super) fn entry(self) -> u32 {
        self.0 as u32
    }

    #[inline(always)]
    pub(super) fn default(self) -> u32 {
        (self.0 >> 32) as u32 & 0xFF_FFFF
    }
}

/// The table of heads: two words for each VRF id, and behind them all one that counts its changes.
#[derive(Clone, Copy)]
pub(super) struct Heads {
    pub(super) table: u32,
    pub(super) vrfs: u32,
}

impl Heads {
    #[inline(always)]
    pub(super) fn load4(self, region: View, vrf: u32) -> Head {
        self.load(region, vrf, 0)
    }

    #[inline(always)]
    pub(super) fn load6(self, region: View, vrf: u32) -> Head {
        self.load(region, vrf, 1)
    }

    #[inline(always)]
    fn load(self, region: View, vrf: u32, family: u32) -> Head {
        if vrf >= self.vrfs {
            return Head::none();
        }
        Head(region.acquire64(self.table + vrf * 2 + family) ^ NOWHERE)
    }

    /// How often a VRF has been published; 0 for one that cannot be.
    #[inline(always)]
    pub(super) fn changes(self, region: View, vrf: u32) -> u64 {
        if vrf < self.vrfs { region.acquire64(self.table + self.vrfs * 2 + vrf) } else { 0 }
    }

    pub(super) fn publish4(self, region: &Region, vrf: u32, head: Head) {
        self.publish(region, vrf, 0, head);
    }

    pub(super) fn publish6(self, region: &Region, vrf: u32, head: Head) {
        self.publish(region, vrf, 1, head);
    }

    /// Everything that a change has written is visible to who sees that it is counted.
    fn publish(self, region: &Region, vrf: u32, family: u32, head: Head) {
        region.publish64(self.table + vrf * 2 + family, head.0 ^ NOWHERE);
        let changes = self.changes(region.view(), vrf) + 1;
        region.publish64(self.table + self.vrfs * 2 + vrf, changes);
    }
}
