//! Ports as their drivers and modules tell.

use serde::{Deserialize, Serialize};

use super::{Labels, Named};
pub use crate::optics::{Alarm, Limits, Module, Quantity, Reading};

/// `show ports --detail`. What a driver does not tell is absent.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct PortDetailRow {
    /// The operator's name for it.
    pub name: String,
    /// Whose it is.
    #[serde(flatten)]
    pub labels: Labels,
    /// The Linux interface.
    pub interface: String,
    /// `up`, `down`, or `missing`.
    pub link: String,
    /// Age of what follows, milliseconds; absent where nothing was read yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub age_ms: Option<u64>,
    /// Why there is no link, where the driver knows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub down_reason: Option<String>,
    /// Speed of the link, Mbit/s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub speed_mbps: Option<u32>,
    /// `full` or `half`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duplex: Option<String>,
    /// Autonegotiation is on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub autonegotiation: Option<bool>,
    /// Lanes in use.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lanes: Option<u32>,
    /// `fibre`, `twisted_pair`, `direct_attach` ...
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connector: Option<String>,
    /// Forward error correction.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fec: Option<FecInfo>,
    /// Errors of the wire and the MAC that the driver counts, by name: `crc`, `symbol`, `alignment` ...
    #[serde(default, skip_serializing_if = "Named::is_empty")]
    pub errors: Named,
    /// Times that the interface's carrier came, by the kernel's count.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub carrier_ups: Option<u64>,
    /// Times that it went.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub carrier_downs: Option<u64>,
    /// The driver's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub driver: Option<String>,
    /// Version of the NIC's firmware.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub firmware: Option<String>,
    /// Where the NIC is: `0000:01:00.0`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bus: Option<String>,
    /// The transceiver module.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub module: Option<Module>,
    /// What could not be read, and why.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
}

/// Forward error correction of a port.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct FecInfo {
    /// What is configured: `auto`, `off`, `rs`, `baser`, `llrs`.
    pub configured: Vec<String>,
    /// What runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub active: Option<String>,
    /// Blocks that were put right.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub corrected_blocks: Option<u64>,
    /// Blocks that could not be: frames are lost.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uncorrected_blocks: Option<u64>,
}
