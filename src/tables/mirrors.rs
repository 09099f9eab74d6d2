//! Mirrors (SPAN): copies of what passes a VIF or a port, for somebody who looks on. Whose frames are copied and where copies
//! go is known by ids; ids may be another's in the next tables, so a mirror is held against each generation.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicU32;

use super::counters::Counter;
use super::ids::{PortId, VifId, VrfId};
use super::meter::Limit;
use super::port::VlanSlot;
use super::snapshot::Snapshot;
use super::vif::Network;
use crate::wire::bpf::Program;

/// Mirrors at a time.
pub const MAX_MIRRORS: usize = 8;

/// Whose frames are copied.
#[derive(Clone, Debug)]
pub enum Mirrored {
    /// Those of a port.
    Port(PortId, Arc<str>),
    /// Those of a VIF: its id, its name, and where its frames are.
    Vif(VifId, Arc<str>, Network),
}

/// Where copies go.
#[derive(Clone, Debug)]
pub enum Destination {
    /// To a port, with one tag more (RSPAN).
    Vlan {
        /// The port.
        port: PortId,
        /// Its name.
        name: Arc<str>,
        /// The tag's VID.
        vlan: u16,
        /// Octets of a frame at most.
        room: usize,
    },
    /// To an address of a VRF.
    Tunnel {
        /// The VRF.
        vrf: VrfId,
        /// Its name.
        name: Arc<str>,
        /// The address.
        remote: IpAddr,
        /// In what.
        carrier: Carrier,
    },
}

/// What copies are carried in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Carrier {
    /// VXLAN (RFC 7348), with this VNI.
    Vxlan(u32),
    /// ERSPAN type II, with this session.
    Erspan2(u16),
    /// ERSPAN type III, with this session.
    Erspan3(u16),
}

/// Why there is no copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Missed {
    /// The mirror's rate is used up.
    Rate,
    /// Mirrors have used up their part of the worker's time.
    Time,
    /// No frame of the worker's is free.
    Memory,
    /// The transmit ring is half full: the other half is for what is forwarded.
    Ring,
    /// Nothing leads there: no route, no neighbor, or the port is down.
    NoWay,
}

impl Missed {
    /// How many there are.
    pub const COUNT: usize = 5;
    /// All of them, each with its word.
    pub const WORDS: [(&str, Missed); Missed::COUNT] = [
        ("rate", Missed::Rate),
        ("time", Missed::Time),
        ("memory", Missed::Memory),
        ("ring", Missed::Ring),
        ("no_way", Missed::NoWay),
    ];
}

/// What a worker counts of a mirror.
#[derive(Debug, Default)]
#[repr(align(64))]
pub struct MirrorCounters {
    /// Copies that were put on a transmit ring.
    pub copies: Counter,
    /// Their octets, with all headers.
    pub octets: Counter,
    /// Those of them that lack the end of their frame.
    pub truncated: Counter,
    /// Copies that were wanted and not sent, by [`Missed`].
    pub missed: [Counter; Missed::COUNT],
}

/// A mirror, shared by all workers.
#[derive(Debug)]
pub struct Mirror {
    /// The operator's name for it.
    pub name: Arc<str>,
    /// Whose frames.
    pub of: Mirrored,
    /// What comes is copied, as it came.
    pub inbound: bool,
    /// What leaves is copied, as it leaves.
    pub outbound: bool,
    /// Only what this takes.
    pub filter: Option<Program>,
    /// Octets of each frame, at most.
    pub snap: usize,
    /// Where to.
    pub to: Destination,
    /// The rate of copies, with their headers.
    pub limit: Limit,
    /// Copies that were numbered.
    pub numbered: AtomicU32,
    /// By worker.
    pub counters: Box<[MirrorCounters]>,
}

/// Why a mirror is none in some tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unfit {
    /// The VIF whose frames are copied is gone, or another.
    Vif,
    /// The port whose frames are copied is gone.
    Port,
    /// The port to which copies go is gone.
    To,
    /// The VLAN in which copies go is a VIF's.
    Vlan,
    /// The VRF in which copies go is gone.
    Vrf,
}

impl Unfit {
    /// In words.
    pub const fn reason(self) -> &'static str {
        match self {
            Unfit::Vif => "the VIF is gone, or another one now",
            Unfit::Port => "the port is gone, or another one now",
            Unfit::To => "the port to which copies go is gone",
            Unfit::Vlan => "the VLAN in which copies go is a VIF's now",
            Unfit::Vrf => "the VRF in which copies go is gone",
        }
    }
}

impl Mirror {
    /// Why it is none in these tables; `None` where it is one.
    pub fn unfit(&self, tables: &Snapshot) -> Option<Unfit> {
        let has_port = |id: &PortId, name: &Arc<str>| tables.port_name(*id) == &**name;
        let of = match &self.of {
            Mirrored::Port(id, name) => (!has_port(id, name)).then_some(Unfit::Port),
            Mirrored::Vif(id, name, network) => {
                let vif = tables.vif(*id);
                let is = vif.is_some_and(|vif| vif.name == *name && Network::of(vif) == *network);
                (!is).then_some(Unfit::Vif)
            }
        };
        let to = match &self.to {
            Destination::Vlan { port, name, .. } if !has_port(port, name) => Some(Unfit::To),
            Destination::Vlan { port, vlan, .. } => {
                let taken = tables.ports[port.index()].outer(*vlan) != VlanSlot::Empty;
                taken.then_some(Unfit::Vlan)
            }
            Destination::Tunnel { vrf, name, .. } => {
                let is_there = tables.vrfs.get(vrf.index()).and_then(Option::as_ref);
                is_there.is_none_or(|vrf| vrf.name != *name).then_some(Unfit::Vrf)
            }
        };
        of.or(to)
    }

    /// The sum of what workers count.
    pub fn sum(&self, of: impl Fn(&MirrorCounters) -> u64) -> u64 {
        self.counters.iter().map(of).sum()
    }
}
