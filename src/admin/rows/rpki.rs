//! Validating caches of RPKI.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

/// `show rpki`: a cache that says which AS may announce which prefix.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RpkiRow {
    /// Its name.
    pub cache: String,
    /// Where it is.
    pub server: SocketAddr,
    /// `up`: it has said all, and says what changes; or `down`.
    pub state: String,
    /// Seconds since it has been so; `null` where BIRD does not ask it.
    pub since_s: Option<u64>,
    /// Prefixes that it vouches for, each with an AS and a longest length (VRPs, RFC 6811). Those of a cache that is down
    /// are kept until they expire.
    pub prefixes: u64,
    /// Why it is down.
    pub last_error: String,
}
