//! Which limits of addresses to show.

use serde::{Deserialize, Serialize};

/// Addresses that an answer has at most, of each limit.
pub const MAX_SHOWN: u32 = 1_000;

/// Which limits of addresses to show.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AddressLimitFilter {
    /// Only this one, with its addresses.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Only addresses of which frames were dropped.
    #[serde(default)]
    pub over: bool,
    /// So many addresses at most; 20 if not given, and never more than [`MAX_SHOWN`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub count: Option<u32>,
}
