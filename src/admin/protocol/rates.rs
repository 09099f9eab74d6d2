//! Rates, as they are asked for.

use serde::{Deserialize, Serialize};

/// Which rates to show.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RateFilter {
    /// Of what.
    pub of: RateScope,
    /// Also with what frames take on the wire beside the octets that are counted.
    #[serde(default)]
    pub l1: bool,
}

/// Whose rates.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RateScope {
    /// All VIFs.
    Vifs,
    /// All ports.
    Ports,
}
