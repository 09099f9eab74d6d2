//! Transceiver modules: what their EEPROMs say, by SFF-8472 (SFP), SFF-8636 (QSFP) and CMIS (QSFP-DD, OSFP and
//! others). Nothing here reads a device: whoever decodes brings a function that gives pages.
//!
//! A module is a stranger's. Nothing panics; what is too short, fails its checksum or makes no sense is left out, and
//! [`Module::notes`] says so.

mod cmis;
mod page;
mod sff8472;
mod sff8636;
mod words;

use serde::{Deserialize, Serialize};

use page::Octets;
pub use page::{HALF, Page};

/// A module, as its EEPROM says.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Module {
    /// What it is by its identifier (SFF-8024): `SFP`, `QSFP28` ...
    pub kind: String,
    /// Ethernet by its compliance codes: `10GBASE-SR`. Absent where the codes say none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub media: Option<String>,
    /// `LC`, `MPO 1x12` ...
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connector: Option<String>,
    /// The vendor's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vendor: Option<String>,
    /// The vendor's part number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub part: Option<String>,
    /// The part's revision.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<String>,
    /// The serial number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub serial: Option<String>,
    /// The laser's nominal wavelength in nanometres.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wavelength_nm: Option<f64>,
    /// What it measures.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub readings: Vec<Reading>,
    /// The lanes (from 1) without a signal at the receiver, by the module's own flag (LOS).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rx_loss_lanes: Vec<u8>,
    /// The lanes (from 1) whose transmitter failed, by the module's own flag.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tx_fault_lanes: Vec<u8>,
    /// What could not be read or believed, in words.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
}

/// A quantity that a module measures, with its unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Quantity {
    /// The module's temperature, degrees Celsius.
    TemperatureC,
    /// Its supply voltage, volts.
    VoltageV,
    /// A laser's bias current, milliamperes.
    TxBiasMa,
    /// The power that is sent, dBm.
    TxPowerDbm,
    /// The power that is received, dBm.
    RxPowerDbm,
}

/// How a value stands to its limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Alarm {
    /// Within all limits.
    Ok,
    /// Below the lower warning limit.
    LowWarning,
    /// Above the upper warning limit.
    HighWarning,
    /// Below the lower alarm limit.
    LowAlarm,
    /// Above the upper alarm limit.
    HighAlarm,
}

/// The module's own limits of a quantity, in the quantity's unit.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Limits {
    /// Below it is an alarm.
    pub low_alarm: f64,
    /// Below it is a warning.
    pub low_warning: f64,
    /// Above it is a warning.
    pub high_warning: f64,
    /// Above it is an alarm.
    pub high_alarm: f64,
}

impl Limits {
    /// How a value stands to them.
    pub fn judge(&self, value: f64) -> Alarm {
        match value {
            v if v < self.low_alarm => Alarm::LowAlarm,
            v if v > self.high_alarm => Alarm::HighAlarm,
            v if v < self.low_warning => Alarm::LowWarning,
            v if v > self.high_warning => Alarm::HighWarning,
            _ => Alarm::Ok,
        }
    }
}

/// A measured value. A power below what the unit can tell (0.1 uW) is -40 dBm.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Reading {
    /// What is measured.
    pub quantity: Quantity,
    /// The lane, from 1; absent where the quantity is the whole module's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lane: Option<u8>,
    /// The value.
    pub value: f64,
    /// How it stands to the limits; absent where the module has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alarm: Option<Alarm>,
    /// The limits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limits: Option<Limits>,
}

impl Reading {
    /// A value, judged by its limits.
    fn new(quantity: Quantity, lane: Option<u8>, value: f64, limits: Option<Limits>) -> Reading {
        let alarm = limits.map(|limits| limits.judge(value));
        Reading { quantity, lane, value, alarm, limits }
    }

    /// A power in watts.
    pub fn watts(dbm: f64) -> f64 {
        10_f64.powf(dbm / 10.0) / 1000.0
    }
}

/// Milliwatts in dBm. What the unit of 0.1 uW cannot tell is -40.
fn dbm(milliwatts: f64) -> f64 {
    if milliwatts > 1e-4 { 10.0 * milliwatts.log10() } else { -40.0 }
}

/// Decodes a module by the pages that `read` gives.
///
/// # Errors
/// That of the first page: then nothing is known of the module. Later ones are noted.
pub fn decode<E: std::fmt::Display>(
    mut read: impl FnMut(Page) -> Result<Vec<u8>, E>,
) -> Result<Module, E> {
    let first = Octets(read(Page::LOWER)?);
    let Some(identifier) = first.u8(0) else {
        let notes = vec!["the module gave no octet".to_owned()];
        return Ok(Module { kind: "unknown".to_owned(), notes, ..Module::default() });
    };
    let mut notes = Vec::new();
    let mut page = |page: Page, what: &str| match read(page) {
        Ok(octets) => {
            if octets.len() < HALF {
                notes.push(format!("{what}: {} of {HALF} octets", octets.len()));
            }
            Octets(octets)
        }
        Err(error) => {
            notes.push(format!("{what}: {error}"));
            Octets(Vec::new())
        }
    };
    let mut module = match words::map(identifier) {
        Some(words::Map::Sff8472) => sff8472::decode(&first, &mut page),
        Some(words::Map::Sff8636) => sff8636::decode(&first, &mut page),
        Some(words::Map::Cmis) => cmis::decode(&first, &mut page),
        None => Module {
            notes: vec!["its memory is laid out by none of SFF-8472, SFF-8636 and CMIS".to_owned()],
            ..Module::default()
        },
    };
    module.kind = words::kind(identifier);
    module.notes.append(&mut notes);
    if first.0.len() < HALF {
        module.notes.push(format!("first page: {} of {HALF} octets", first.0.len()));
    }
    Ok(module)
}

#[cfg(test)]
mod tests;
