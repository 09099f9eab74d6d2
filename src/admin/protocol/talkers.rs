//! Whose top talkers to show.

use serde::{Deserialize, Serialize};

use crate::tables::Direction;
use crate::tables::address_limit::By;

/// Which top talkers to show.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TalkerFilter {
    /// Name of the VIF.
    pub vif: String,
    /// Only of what it receives, or sends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub direction: Option<Direction>,
    /// By which address; if not given, sources of what it receives and destinations of what it sends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<By>,
    /// So many addresses at most; 10 if not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub count: Option<u32>,
}
