//! Other stations.

use serde::{Deserialize, Serialize};

use super::Traffic;

/// `show stations`: another station that tunnels lead to, with what its VIFs have counted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StationRow {
    /// Its name.
    pub station: String,
    /// `up`: the underlay leads to one of its VTEPs or more; or `down`.
    pub state: String,
    /// Names of the VIFs whose tunnels lead there.
    pub vifs: Vec<String>,
    /// Their tunnels.
    pub tunnels: u64,
    /// Those of them that are up.
    pub tunnels_up: u64,
    /// Frames and octets from it and to it.
    #[serde(flatten)]
    pub traffic: Traffic,
    /// Frames that came from it and were forwarded.
    pub forwarded: u64,
    /// Frames that came from it and were dropped.
    pub dropped: u64,
}
