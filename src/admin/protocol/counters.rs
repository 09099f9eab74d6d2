//! Counters and drops, as they are asked for.

use serde::{Deserialize, Serialize};

/// Which counters to show.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CounterFilter {
    /// Only those of this VIF.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vif: Option<String>,
    /// Only those of this port.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<String>,
    /// Those that are zero too.
    #[serde(default)]
    pub all: bool,
}

/// Which drops to show.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DropFilter {
    /// Only those of this VIF.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vif: Option<String>,
    /// Only those of this port and of the VIFs on it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<String>,
    /// Senders of each reason, at most.
    pub last: usize,
}
