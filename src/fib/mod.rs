//! Longest-prefix match for thousands of VRFs: one writer on the control thread, lock-free readers on the
//! workers. How it is laid out and why that is correct: `DESIGN.md` beside this file.
//!
//! The writer keeps the routes as they were given (`rib`, `tree`) and compiles them (`sync`) into chunks (`chunk`, `compact`)
//! in one shared region (`raw`), which readers (`reader`, `burst`, `scalar`) search. Nothing here knows the rest of the crate.

mod burst;
mod chunk;
mod compact;
mod head;
mod heap;
mod key;
mod raw;
mod reader;
mod rib;
mod root;
mod scalar;
mod shape;
mod single;
mod slab;
mod sync;
#[cfg(test)]
mod tests;
mod traffic;
mod tree;
mod walk;
mod writer;

pub use raw::Choice;
pub use reader::FibReader;
pub use writer::Fib;

/// What a lookup answers where no route matches.
pub const NO_ROUTE: u32 = 0;

/// The largest value of a route; values are next-hop group ids from 1.
pub const MAX_VALUE: u32 = 0xFF_FFFF;

/// How much a [`Fib`] may grow. Address space is reserved at once, memory is taken as it is used.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// VRF ids are below this.
    pub max_vrfs: u32,
    /// Octets of memory for the lookup structures of all VRFs and both families, retired parts included.
    /// At most 16 GiB count.
    pub max_bytes: u64,
    /// From how many IPv4 routes on a VRF has a flat table besides, which takes 32 MiB and makes lookups of much-used
    /// addresses twice as fast (a reader whose addresses are spread does not take it); below half of it it has none.
    /// `usize::MAX` is for never.
    pub flat_at: usize,
}

impl Default for Limits {
    /// Room for full tables in a few VRFs and routes in tens of thousands of small ones.
    fn default() -> Limits {
        Limits { max_vrfs: 1 << 16, max_bytes: 4 << 30, flat_at: 1 << 19 }
    }
}

/// Why a change was refused. Nothing has changed then.
#[derive(Debug, thiserror::Error)]
pub enum FibError {
    /// The address space could not be reserved.
    #[error("cannot reserve memory for the FIB: {0}")]
    Reserve(#[from] std::io::Error),
    /// The limits leave no room for a single route.
    #[error("a FIB of {max_bytes} bytes has no room for {max_vrfs} VRFs")]
    LimitsTooSmall {
        /// As given.
        max_bytes: u64,
        /// As given.
        max_vrfs: u32,
    },
    /// A VRF id at or above [`Limits::max_vrfs`].
    #[error("VRF id {vrf} is out of range: ids are below {max_vrfs}")]
    VrfOutOfRange {
        /// As given.
        vrf: u32,
        /// The limit.
        max_vrfs: u32,
    },
    /// No such VRF.
    #[error("there is no VRF {0}")]
    NoSuchVrf(u32),
    /// The VRF is there already.
    #[error("VRF {0} exists")]
    VrfExists(u32),
    /// A value that is 0 or above [`MAX_VALUE`].
    #[error("next-hop group id {0} is out of range: ids are 1 to 16777215")]
    ValueOutOfRange(u32),
    /// The memory limit is reached; withdraw routes or wait for retired memory to be reclaimed.
    #[error(
        "the FIB's memory of {max_bytes} bytes is exhausted ({retired_bytes} await reclamation)"
    )]
    Exhausted {
        /// The limit.
        max_bytes: u64,
        /// What waits for readers to be quiescent.
        retired_bytes: u64,
    },
}

/// Sizes of one family.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FamilyStats {
    /// Routes in all VRFs.
    pub routes: usize,
    /// VRFs that are large enough for a root table.
    pub large_vrfs: usize,
    /// Octets of lookup structure that readers can reach.
    pub fib_bytes: u64,
    /// Octets of the routes as the writer holds them.
    pub rib_bytes: u64,
}

/// Sizes of a [`Fib`], and how full it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// VRFs.
    pub vrfs: usize,
    /// VRFs whose IPv4 routes have a flat table.
    pub flat_vrfs: usize,
    /// IPv4.
    pub v4: FamilyStats,
    /// IPv6.
    pub v6: FamilyStats,
    /// Octets that lookup structures may take in all: [`Limits::max_bytes`].
    pub max_bytes: u64,
    /// Octets of these that nothing uses, and that can serve any size.
    pub free_bytes: u64,
    /// Octets of lookup structure that wait for readers to be quiescent.
    pub retired_bytes: u64,
    /// Octets of memory ever touched for lookup structures.
    pub touched_bytes: u64,
    /// Chunks in use, retired ones included.
    pub chunks: u32,
    /// Chunks that have room beside these, without taking from `free_bytes`: as many of their sizes.
    pub free_chunks: u32,
}

/// How a VRF's routes of one family are laid out for lookups.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// Chunks of six bits each: a small VRF.
    Chunks,
    /// A root table, and chunks below it.
    Table,
    /// The same, and a flat table beside it: the largest IPv4 VRFs.
    Flat,
}

impl Layout {
    /// The name in output for operators.
    pub fn name(self) -> &'static str {
        match self {
            Layout::Chunks => "chunks",
            Layout::Table => "table",
            Layout::Flat => "flat",
        }
    }
}

/// One VRF's part of a [`Fib`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VrfStats {
    /// IPv4 routes.
    pub v4_routes: usize,
    /// IPv6 routes.
    pub v6_routes: usize,
    /// Of the IPv4 routes.
    pub v4_layout: Layout,
    /// Of the IPv6 routes.
    pub v6_layout: Layout,
}
