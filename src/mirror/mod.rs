//! The routes that the routing daemon wrote to the kernel, mirrored: what netlink tells becomes changes
//! for the control plane, and what it does not tell is found out by dumps.
//!
//! Notifications are hints and dumps are the truth. The kernel does not tell of IPv4 routes that go with
//! a link or an address, and drops notifications where nobody takes them fast enough. So whatever may
//! have happened in silence marks the VRFs that it concerns, and their tables are dumped again; all are
//! in turn, to audit. A dump becomes [`Range`]s: "the kernel has exactly these routes from here to
//! there", and the control plane changes, and counts, what differs.
//!
//! Nothing here trusts the kernel's tables to be right about tenants: a next hop counts only where its
//! device is the TAP of a VIF, and the control plane takes it only where that VIF is in the route's VRF.
//!
//! - `message` reads rtnetlink's messages; no input panics;
//! - `follow` and `dump` decide what to tell and when to dump; they know the kernel only as a trait;
//! - `kernel` is that trait's real side: sockets;
//! - `thread` runs it all.

mod devices;
mod dump;
mod follow;
mod kernel;
mod message;
mod status;
mod thread;

use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;

use crate::tables::VrfId;

pub use follow::{Follower, Kernel, Timing};
pub use kernel::{NetlinkKernel, Options};
pub use message::{Hint, Leg, Notice, RouteMessage};
pub use status::{FamilyStatus, Status, Statuses};
pub use thread::{Mirror, spawn};

/// Which of a VRF's two kernel tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Table {
    /// What the routing daemon decided.
    Best,
    /// Every next hop of a prefix that could be used.
    Alternates,
}

/// A next hop.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Hop {
    /// Name of the VIF whose TAP is the device.
    pub vif: Arc<str>,
    /// The neighbor.
    pub address: IpAddr,
    /// Its share.
    pub weight: u16,
}

/// The next hops of a route, sorted. Routes with the same ones share them.
pub type Hops = Arc<[Hop]>;

/// What became of a route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum To {
    /// It leads there.
    Hops(Hops),
    /// It leads there no more, but to its other next hops (IPv6 alone tells of single ones).
    Without(Hops),
    /// It is gone.
    Gone,
}

/// A change of a route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// In which VRF.
    pub vrf: VrfId,
    /// In which of its tables.
    pub table: Table,
    /// The destination.
    pub prefix: IpNet,
    /// What became of it.
    pub to: To,
}

/// Why tables were dumped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// Something may have changed in silence: differences are expected.
    Resync,
    /// It was their turn: a difference is a fault.
    Audit,
}

/// What a kernel table has from one prefix up to, and without, another: these routes and no others.
#[derive(Clone, Debug)]
pub struct Range {
    /// Of which VRF.
    pub vrf: VrfId,
    /// Which of its tables.
    pub table: Table,
    /// The first prefix.
    pub from: IpNet,
    /// The prefix after the last; `None` is the family's end.
    pub until: Option<IpNet>,
    /// The routes, sorted by prefix.
    pub routes: Vec<(IpNet, Hops)>,
    /// Prefixes of which nothing is said here: they changed during the dump, and the changes follow.
    pub unsure: Arc<BTreeSet<IpNet>>,
    /// Why the table was dumped.
    pub reason: Reason,
}

/// What the mirror tells. The order counts.
#[derive(Clone, Debug)]
pub enum Update {
    /// Changes, in order.
    Changes(Vec<Change>),
    /// A part of a dump.
    Range(Range),
}

/// Whose routes are mirrored.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// The kernel tables.
    pub tables: HashMap<u32, (VrfId, Table)>,
    /// TAPs by name.
    pub taps: HashMap<String, Tap>,
}

/// The VIF of a TAP.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Tap {
    /// Its VRF.
    pub vrf: VrfId,
    /// Its name.
    pub vif: Arc<str>,
    /// The router's addresses there: with others, other next hops can be taken.
    pub addresses: Arc<[IpNet]>,
}
