//! A TAP per VIF that has routing peers: where a routing daemon's sockets see the VIF as a host on its
//! wire would. [`crate::slowpath`] decides what passes; this module keeps the interfaces.
//!
//! **Who resolves.** The station does, for the kernel too. A TAP is `NOARP`: the kernel never asks who
//! has an address, neither by ARP nor by neighbor discovery, and puts the interface's own MAC into
//! every frame. The slow path reads the destination from the IP header and finds the neighbor as it does
//! for all other packets. So there is one neighbor table, nothing to keep equal, and no ARP or ND on a
//! TAP in either direction. (Answering the kernel's ARP would need a second one with timers of its own;
//! permanent entries would have to follow the first.)
//!
//! **What the kernel may do.** TAPs are in a network namespace of their own, with the routing daemon and
//! nothing else: see [`crate::netns`]. Many have the same addresses and subnets, also crosswise (one VIF's
//! peer has the address that another VIF's own is), so sockets must be bound to their TAP. The kernel does
//! not forward, answer or announce anything here: see `sysctl.rs`.
//!
//! **Lives.** A TAP is named after its port and tags and is persistent: it outlives a killed `stationd`
//! with its addresses and the sockets bound to it, and the next one takes it over. (Its carrier goes
//! meanwhile: that is the kernel's doing.) All is kept by comparing what should be with what the kernel
//! says there is, so that a start, a change, a repair after somebody's hand, and the removal of leftovers
//! are the same steps.

mod device;
mod keeper;
mod links;
mod reader;
mod sysctl;

pub use device::Device;
pub use keeper::{Keeper, remove_all};
pub use links::loopback_up;
pub use reader::{Reader, Stop};

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use ipnet::IpNet;

use crate::tables::{PortId, Tags};
use crate::wire::ethernet::Mac;

/// What a TAP belongs to, whatever its VIF is called and whose id it has: frames of one wire never come
/// to the TAP of another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Wire {
    /// The port.
    pub port: PortId,
    /// The tags on it.
    pub tags: Tags,
}

/// A TAP that there should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// Whose frames it carries.
    pub wire: Wire,
    /// Its name in the kernel.
    pub name: String,
    /// The VIF's name, for people who list interfaces.
    pub vif: Arc<str>,
    /// The port's MAC; zero while nobody knows it.
    pub mac: Mac,
    /// The VIF's MTU, in octets.
    pub mtu: u16,
    /// The VIF's addresses with their subnets.
    pub addresses: Arc<[IpNet]>,
    /// The VIF and its port are up.
    pub carrier: bool,
}

/// The TAPs that are open.
#[derive(Debug, Default)]
pub struct Devices(RwLock<HashMap<Wire, Arc<Device>>>);

impl Devices {
    /// The TAP of a wire.
    pub fn get(&self, wire: Wire) -> Option<Arc<Device>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).get(&wire).cloned()
    }

    // Closing a TAP takes the kernel milliseconds, in which nobody should wait for the lock.

    fn put(&self, wire: Wire, device: Arc<Device>) {
        let old = self.0.write().unwrap_or_else(PoisonError::into_inner).insert(wire, device);
        drop(old);
    }

    fn keep(&self, wanted: impl Fn(Wire) -> bool) {
        let mut open = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let gone: Vec<Arc<Device>> =
            open.extract_if(|wire, _| !wanted(*wire)).map(|(_, device)| device).collect();
        drop(open);
        drop(gone);
    }
}
