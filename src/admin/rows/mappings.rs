//! Mappings, and whose they are.

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

pub use crate::mappings::{Answer as MappingAnswer, HopText, SourceRow};

/// `show mappings --vrf`: a mapping that holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MappingRow {
    /// Name of the VRF.
    pub vrf: String,
    /// The prefix.
    pub prefix: IpNet,
    /// The source's name.
    pub source: String,
    /// `active`: packets are led by it; `covered`: a configured route to the very prefix leads them; or `inactive`: the
    /// configuration has not the VRF, or none of the VTEPs.
    pub state: String,
    /// The tunnels that it names.
    pub via: Vec<HopText>,
}
