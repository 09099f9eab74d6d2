//! What targets of probes answered, by the hour, on disk for months: sent, answered, lost, and the round trips as a
//! histogram, so that the percentiles of a month are those of its round trips. station-probe(7) says what is kept.
//!
//! The thread that asks notes results in [`Notes`]. A thread of its own takes them from there and writes ([`Keeper`]): an
//! hour that is over is a block of its month's file ([`crate::blocks`]), and the open hour is a file of its own that is
//! replaced every five minutes.

mod hour;
mod keeper;
mod tally;
#[cfg(test)]
mod tests;

pub use hour::{Asked, Hour};
pub use keeper::{Keeper, Notes, Told};
pub use tally::Tally;
