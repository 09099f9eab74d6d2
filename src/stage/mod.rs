//! Packet stages: one file each, run over a whole burst in the order of [`crate::path`]. A stage reads
//! the lanes that are still live, and settles some of them with a verdict. Ordinary packets go through loops over
//! columns; what is not ordinary is looked at a lane at a time. A stage between `group` and `rewrite` says of which lanes
//! it has something to say, see [`filter`].

pub mod acl;
pub mod acl_in;
pub mod acl_out;
pub mod address;
mod burst;
pub mod classify;
pub mod copy;
pub mod decapsulate;
pub mod encapsulate;
pub mod exchange;
pub mod exchanged;
pub mod filter;
pub mod group;
pub mod ipv4;
pub mod ipv6;
mod lanes;
pub mod meter;
pub mod meter_in;
pub mod meter_out;
pub mod mtu;
pub mod police;
pub mod qos;
pub mod ready;
pub mod resolve;
pub mod rewrite;
pub mod route;
pub mod routing;
pub mod source;
mod translate;
pub mod translate_in;
pub mod translate_out;
pub mod ttl;

use crate::fib::FibReader;
use crate::port::Pool;
use crate::tables::counters::WorkerCounters;
use crate::tables::{PortId, Snapshot};

pub use burst::{Addresses, Burst, Column, WIDTH};
pub use filter::Filtered;
pub use lanes::Lanes;

/// Facts about a frame, one bit each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flags(u32);

impl Flags {
    /// Sent to a broadcast or multicast MAC.
    pub const GROUP_MAC: Flags = Flags(1);
    /// Source or destination is link-local.
    pub const LINK_LOCAL: Flags = Flags(2);
    /// Has IPv4 options that the slow path must see.
    pub const OPTIONS: Flags = Flags(4);
    /// Is an ICMPv6 neighbor discovery message.
    pub const DISCOVERY: Flags = Flags(8);
    /// An access list is to judge it by itself, not with its burst.
    pub const UNJUDGED: Flags = Flags(16);
    /// The list of its ingress VIF denies it.
    pub const DENIED_IN: Flags = Flags(32);
    /// The list of its egress VIF denies it.
    pub const DENIED_OUT: Flags = Flags(64);
    /// The list that denies it wants its sender told.
    pub const REJECTED: Flags = Flags(128);
    /// Has an IPv4 header of more than 20 octets.
    pub const LONG_HEADER: Flags = Flags(256);

    /// The flags that these bits are.
    #[cfg(test)]
    pub const fn from_bits(bits: u32) -> Flags {
        Flags(bits)
    }

    /// The bits of a column that are these flags.
    #[inline(always)]
    pub const fn bits(self) -> u32 {
        self.0
    }

    /// Whether `flag` is set.
    #[inline(always)]
    pub const fn has(self, flag: Flags) -> bool {
        self.0 & flag.0 != 0
    }

    /// Sets `flag`.
    #[inline(always)]
    pub const fn set(&mut self, flag: Flags) {
        self.0 |= flag.0;
    }
}

/// Not 0 where of any pair of lengths in octets the first is less than the second: a difference below 0 has the highest bit,
/// since no length has it. A first one that is below 0 itself, wrapped, is less than any.
#[inline(always)]
fn any_less<const N: usize>(pairs: [(u32, u32); N]) -> u32 {
    pairs.into_iter().fold(0, |all, (one, other)| all | one.wrapping_sub(other)) & 1 << 31
}

/// What stages work with besides the burst.
pub struct Context<'a> {
    /// The generation this burst is on.
    pub tables: &'a Snapshot,
    /// The routes.
    pub fib: &'a FibReader,
    /// The worker's counters.
    pub counters: &'a WorkerCounters,
    /// The worker's frames.
    pub pool: &'a mut Pool,
    /// The worker's budgets for the slow path.
    pub budgets: &'a mut police::Budgets,
    /// The entrances of tunnels that the worker has found.
    pub entrances: &'a mut encapsulate::Entrances,
    /// The mirrors, and the copies that wait.
    pub copies: &'a mut copy::Copies,
    /// Where the burst entered.
    pub port: PortId,
    /// Monotonic time of this burst, in nanoseconds.
    pub now: u64,
}
