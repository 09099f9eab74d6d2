//! Translations.

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::Labels;

/// `show translations`: addresses behind a VIF, and what they are in its VRF.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TranslationRow {
    /// Name of the VIF.
    pub vif: String,
    /// Whose it is.
    #[serde(flatten)]
    pub labels: Labels,
    /// Name of its VRF.
    pub vrf: String,
    /// The addresses behind the VIF.
    pub inside: IpNet,
    /// The same in the VRF.
    pub outside: IpNet,
}
