//! The request for events.

use serde::{Deserialize, Serialize};

/// Which events.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EventFilter {
    /// From where on; those to come if not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Since>,
    /// Only what is older than this: milliseconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until_ms: Option<u64>,
    /// Those to come too, until the client closes its sending half.
    #[serde(default)]
    pub follow: bool,
    /// Only those about this VIF, and those about the station that concern it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vif: Option<String>,
    /// Only those about this port and its VIFs, and those about the station that concern it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<String>,
    /// Only these kinds; all where there is none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub kinds: Vec<String>,
}

/// From where on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Since {
    /// What came after the event with this number.
    Seq(u64),
    /// What is not older than this: milliseconds since 1970.
    TimeMs(u64),
}
