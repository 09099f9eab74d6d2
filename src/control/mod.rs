//! The control plane: configuration in, tables and FIB out. It publishes generations and never
//! touches a worker or a port's rings.

mod addresses;
pub mod answer;
mod candidate;
pub mod client;
mod commit;
mod compile;
pub mod config;
mod diff;
mod ids;
pub mod kernel;
mod learn;
mod learned;
pub mod model;
mod neighbor;
pub mod protocol;
mod query;
mod rib;
pub mod rows;
pub mod server;
mod state;

pub use candidate::{Base, Candidate, difference};
pub use commit::{CommitError, Engine, Limits, PortFacts, Publish};
pub use diff::{Change, Diff, Op};
pub use learn::{Learning, MAX_NEXT_HOPS};
pub use query::Route;
pub use rib::Source;
