//! What is taken out of service without loss, and put back.

use std::fmt;

use serde::{Deserialize, Serialize};

/// How much is drained.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DrainScope {
    /// All VIFs.
    Station,
    /// The VIFs of a port.
    Port,
    /// One VIF.
    Vif,
}

impl DrainScope {
    /// As in JSON.
    pub const fn word(self) -> &'static str {
        match self {
            DrainScope::Station => "station",
            DrainScope::Port => "port",
            DrainScope::Vif => "vif",
        }
    }
}

/// What is drained.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct DrainTarget {
    /// How much.
    pub scope: DrainScope,
    /// Name of the port or VIF; absent for the station.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}

impl fmt::Display for DrainTarget {
    /// `vif a`, `the station`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.name {
            Some(name) => write!(f, "{} {name}", self.scope.word()),
            None => f.write_str("the station"),
        }
    }
}

/// Takes something out of service without loss.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DrainRequest {
    /// What.
    #[serde(flatten)]
    pub target: DrainTarget,
    /// Also where prefixes have no other way.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub anyway: bool,
    /// It is quiet where no more frames a second pass than this.
    #[serde(default)]
    pub at_most: u64,
}
