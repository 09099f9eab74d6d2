//! Which access lists to show.

use serde::{Deserialize, Serialize};

/// Which access lists to show.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AclFilter {
    /// Only this one, with its rules.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}
