//! Mappings: prefixes of VRFs and the tunnels that they lead into, as controllers stream them. Who said what and in which
//! sync is here, with the protocol's lines and what becomes of a batch; tables and the FIB are the engine's ([`Tables`]).
//!
//! A source is a controller's name: it outlives connections, and what it said holds until it says otherwise. A sync names
//! all of its mappings again and sweeps, at its end mark and only there, what it did not name.

mod book;
mod bring;
mod intake;
mod line;
mod lines;
mod plan;
mod saved;
mod table;

use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::IpAddr;
use std::ops::Deref;
use std::sync::Arc;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

pub use book::{Book, Limits, Mapping, SourceRow};
pub use intake::{Answer, Intake, Refused, Shared};
pub use lines::{Lines, Marked};
pub use saved::Saved;
pub use table::{Set, Table};

use crate::tables::VrfKind;
use crate::wire::ethernet::Mac;

/// The tunnel that packets of a mapping leave in.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Hop {
    /// The VTEP at the other end, one of the remotes that the configuration has for a VIF of the VRF.
    pub vtep: IpAddr,
    /// Name of that VIF, where several lead to the VTEP.
    pub vif: Option<Arc<str>>,
    /// The MAC of the router there; none for the one that the configuration has.
    pub mac: Option<Mac>,
    /// Its share of the flows; 0 for a backup.
    pub weight: u16,
}

/// The next hops of a mapping, in order and without duplicates. Tables look them up many times for each prefix, so they keep
/// the number that they are found by.
#[derive(Clone, Debug)]
pub struct Hops {
    hash: u64,
    hops: Arc<[Hop]>,
}

impl From<Vec<Hop>> for Hops {
    fn from(hops: Vec<Hop>) -> Hops {
        Hops { hash: hash(&hops), hops: hops.into() }
    }
}

impl Deref for Hops {
    type Target = [Hop];

    fn deref(&self) -> &[Hop] {
        &self.hops
    }
}

impl Hash for Hops {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.hash);
    }
}

impl PartialEq for Hops {
    fn eq(&self, other: &Hops) -> bool {
        self.hash == other.hash && (Arc::ptr_eq(&self.hops, &other.hops) || self.hops == other.hops)
    }
}

impl Eq for Hops {}

/// The number by which next hops are found.
fn hash(hops: &[Hop]) -> u64 {
    let mut hasher = DefaultHasher::new();
    hops.hash(&mut hasher);
    hasher.finish()
}

/// Where a prefix is to lead; `None`: not by a mapping any more.
pub type Move = (IpNet, Option<Hops>);

/// The most next hops of a mapping.
pub const MAX_HOPS: usize = 64;
/// The most changes of a batch.
pub const MAX_BATCH: usize = 8192;

/// The engine, as a batch is brought to it. Every call is short; the caller is on a thread of its own.
pub trait Tables {
    /// Says of each VRF of a batch its kind, or what is wrong with it or some of the next hops that it is to have: their
    /// number in the list, and what to write.
    ///
    /// # Errors
    /// That the station ends.
    fn check(&mut self, vrfs: Vec<(Arc<str>, Vec<Hops>)>) -> Result<Vec<Checked>, String>;

    /// Leads prefixes of a VRF elsewhere: all of them or none.
    ///
    /// # Errors
    /// Why none was.
    fn lead(&mut self, vrf: &Arc<str>, moves: &[Move]) -> Result<(), String>;
}

/// What the engine says of a VRF and next hops in it.
pub struct Checked {
    /// The kind of the VRF, where there is one of the name.
    pub kind: Option<VrfKind>,
    /// Next hops that no mapping of it may have, by their number in the list.
    pub refused: Vec<(usize, String)>,
}

/// A next hop as lines, rows and the file have it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HopText {
    /// The address of the VTEP at the other end.
    pub vtep: IpAddr,
    /// Name of the tunnel's VIF, where several lead to the VTEP.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vif: Option<String>,
    /// The MAC of the router there; the configuration's if not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mac: Option<String>,
    /// Its share of the flows; 0 for a backup.
    pub weight: u16,
}

impl From<&Hop> for HopText {
    fn from(hop: &Hop) -> HopText {
        HopText {
            vtep: hop.vtep,
            vif: hop.vif.as_deref().map(str::to_owned),
            mac: hop.mac.map(|mac| mac.to_string()),
            weight: hop.weight,
        }
    }
}

impl HopText {
    fn hop(&self) -> Option<Hop> {
        let mac = match &self.mac {
            Some(mac) => Some(mac.parse().ok()?),
            None => None,
        };
        Some(Hop {
            vtep: self.vtep,
            vif: self.vif.as_deref().map(Arc::from),
            mac,
            weight: self.weight,
        })
    }
}
