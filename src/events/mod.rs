//! Events: what happened, as one stream with numbers. Whatever notices something tells it to a [`Reporter`],
//! which never waits; a thread of its own numbers it, has it on disk, and only then shows it. So a number that
//! somebody has seen is never given to another event, whatever happens to the station or the server.
//!
//! Readers ([`Reader`]) each have a place in the one list that is kept: clients, the journal, the hook. One that is
//! too slow finds events missing, and is told how many; nobody waits for it.

#[macro_use]
mod define;
mod file;
mod hook;
mod journal;
mod keeper;
mod kinds;
mod ring;
mod spaced;
mod text;

pub use define::Severity;
pub use keeper::{Keeper, Reporter, Standing, Threads};
pub use kinds::{Event, Kind};
pub use ring::{Batch, CAPACITY, OF_ONE_VIF, Reader, Ring};
pub use spaced::Spaced;

use serde::{Deserialize, Serialize};

/// An event with its number.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// One more than that of the event before; it grows over restarts.
    pub seq: u64,
    /// When it was noticed: milliseconds since 1970.
    pub time_ms: u64,
    /// What happened.
    #[serde(flatten)]
    pub event: Event,
}
