//! The control plane: configuration in, tables and FIB out. It publishes generations and never
//! touches a worker or a port's rings.

mod address_limits;
mod addresses;
mod candidate;
mod commit;
mod compile;
mod drain;
mod exchanges;
mod ids;
mod isolation;
pub mod kernel;
mod keys;
mod learn;
mod learned;
mod lists;
mod mapped;
mod meters;
mod neighbor;
mod path_mtu;
mod qos;
mod query;
mod rib;
mod state;
mod underlay;
mod vifs;

pub use candidate::{Base, Candidate, difference};
pub use commit::{CommitError, Engine, Limits, PortFacts, Publish};
pub use drain::{Dark, Drained, Gone};
pub use learn::{Learning, MAX_NEXT_HOPS};
pub use path_mtu::Lowered;
pub use query::Route;
pub use rib::Source;
