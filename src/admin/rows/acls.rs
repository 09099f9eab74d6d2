//! Access lists.

use serde::{Deserialize, Serialize};

/// `show acl`. Hits count from the last clear, or from when the rule came into the list.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AclRow {
    /// The operator's name for it.
    pub name: String,
    /// How many rules it has.
    pub rules: u64,
    /// What it was compiled to: `tables`, or `vectors` where these would have been too large.
    pub structure: String,
    /// Octets of that.
    pub octets: u64,
    /// How long it took to compile.
    pub build_us: u64,
    /// VIFs whose packets it judges as they enter.
    pub vifs_in: Vec<String>,
    /// VIFs whose packets it judges as they leave.
    pub vifs_out: Vec<String>,
    /// Packets that entered and were permitted.
    pub permitted_in: u64,
    /// Packets that were to leave and were permitted.
    pub permitted_out: u64,
    /// Packets that entered and were denied silently.
    pub denied_in: u64,
    /// Packets that were to leave and were denied silently.
    pub denied_out: u64,
    /// Packets that entered and were denied, their senders to be told.
    pub rejected_in: u64,
    /// Packets that were to leave and were denied, their senders to be told.
    pub rejected_out: u64,
    /// Its rules; only where one list is asked for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub entries: Vec<AclEntry>,
}

/// A rule of a list, or what comes behind all of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AclEntry {
    /// Its number, from 1; `null` for what comes behind the rules.
    pub number: Option<u64>,
    /// What it says.
    pub rule: String,
    /// Packets that entered and that it matched first.
    pub hits_in: u64,
    /// Packets that were to leave and that it matched first.
    pub hits_out: u64,
}
