//! Whose reachability to show.

use serde::{Deserialize, Serialize};

/// Whose reachability to show. A name is a VIF's, or else a VRF's; `vrf:NAME` is a VRF's.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReachabilityFilter {
    /// Only what this VIF, or those of this VRF, reach.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// Only who reaches this VIF, or those of this VRF.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<String>,
}

impl ReachabilityFilter {
    /// Both ends are named: all prefixes are told, in as many rows as they take.
    pub const fn is_whole(&self) -> bool {
        self.from.is_some() && self.to.is_some()
    }
}
