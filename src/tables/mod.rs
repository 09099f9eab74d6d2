//! The tables that a packet is looked up in: dense arrays tied by ids, held together by [`Snapshot`].
//! The control plane writes them, workers read them; nothing here does I/O.

pub mod acl;
pub mod address_limit;
pub mod adjacency;
pub mod counters;
pub mod exchange;
pub mod flow_log;
pub mod group;
pub mod ids;
mod keys;
pub mod last_drops;
mod loss;
pub mod meter;
pub mod mirrors;
pub mod port;
pub mod qos;
pub mod reach;
pub mod rules;
mod snapshot;
pub mod translation;
pub mod tunnel;
pub mod verdict;
pub mod vif;

pub use acl::{AccessList, AccessLists};
pub use address_limit::{AddressLimit, AddressLimits};
pub use adjacency::{Adjacency, AdjacencyKind, AdjacencyTable, Facts, MAX_L2};
pub use exchange::Exchange;
pub use flow_log::FlowLog;
pub use group::{GroupTable, Member, Role, Way};
pub use ids::{AdjacencyId, ExchangeId, GroupId, PortId, VifId, VrfId};
pub use keys::{KeyFault, Keys, Password, SessionKey};
pub use loss::Loss;
pub use meter::{Direction, Meters};
pub use port::{Port, PortRole, VlanSlot};
pub use qos::Qos;
pub use rules::Choice;
pub use snapshot::{Snapshot, Vrf, VrfKind};
pub use translation::{Translation, Translations};
pub use tunnel::{Exit, NoExit, Overlay, Tunnel, TunnelPath, Tunnels};
pub use verdict::{DropReason, PuntClass, PuntReason, SlowOutcome, TapEvent, Urgency, Verdict};
pub use vif::{
    Ingress, NOWHERE, Network, Pcp, Routing, SourceCheck, Tags, Vif, VifKind, place_vif,
};
