//! The billing series: octets and frames of each VIF in bins of five minutes, on disk for months, and what is billed of
//! them. station-billing(7) says what counts as what.
//!
//! Octets are those of the counters: from the destination MAC to the end of the payload, tags included, without FCS. A VIF
//! is known by its name, whatever its id; with each bin is kept whose it was then.

mod block;
mod keeper;
mod meter;
mod report;
#[cfg(test)]
mod tests;

pub use block::{BIN_S, Block, Marks, Owner};
pub use keeper::{Commit, Keeper, Standing, Told};
pub use report::{Billed, Report, Scope, Wanted, bits_per_second};

use crate::blocks;

/// Bins of a period.
pub type Series<D> = blocks::Series<Block, D>;
/// The files of bins.
type Store<D> = blocks::Store<Block, D>;
/// Bins that are not in the files yet.
type Unwritten = blocks::Unwritten<Block>;
