//! SFP and SFP+: SFF-8472. A0h is what the module is, A2h what it measures.

use super::page::{Octets, Page, lanes_of, limits, scaled};
use super::{Limits, Module, Quantity, Reading, dbm, words};

/// Of A0h, octet 92: the type of diagnostics.
const DIAGNOSTICS: u8 = 1 << 6;
const EXTERNAL: u8 = 1 << 4;
const ADDRESS_CHANGE: u8 = 1 << 2;

/// Where a quantity's limits and value are in A2h.
const MEASURED: [(Quantity, usize, usize); 5] = [
    (Quantity::TemperatureC, 0, 96),
    (Quantity::VoltageV, 8, 98),
    (Quantity::TxBiasMa, 16, 100),
    (Quantity::TxPowerDbm, 24, 102),
    (Quantity::RxPowerDbm, 32, 104),
];

pub(super) fn decode(a0: &Octets, page: &mut dyn FnMut(Page, &str) -> Octets) -> Module {
    let mut notes = Vec::new();
    if a0.checks(0, 63) == Some(false) || a0.checks(64, 95) == Some(false) {
        notes.push("the checksum of its identity is wrong: do not rely on it".to_owned());
    }
    // Of a copper cable (octet 8) the octets are about the cable.
    let copper = a0.has(8, 0x0c);
    let wavelength = a0.u16(60).filter(|&nm| nm != 0 && !copper).map(f64::from);
    let mut module = Module {
        media: words::sfp_media(a0.u8(3), a0.u8(6), a0.u8(8), a0.u8(36)),
        connector: words::connector(a0.u8(2)),
        vendor: a0.text(20, 16),
        part: a0.text(40, 16),
        revision: a0.text(56, 4),
        serial: a0.text(68, 16),
        wavelength_nm: wavelength,
        ..Module::default()
    };
    if a0.has(92, ADDRESS_CHANGE) {
        notes.push("its diagnostics need an address change (SFF-8472): not read".to_owned());
    } else if a0.has(92, DIAGNOSTICS) {
        let a2 = page(Page::DIAGNOSTICS, "diagnostics (A2h)");
        diagnose(&a2, a0.has(92, EXTERNAL), &mut module, &mut notes);
    }
    module.notes = notes;
    module
}

fn diagnose(a2: &Octets, external: bool, module: &mut Module, notes: &mut Vec<String>) {
    // Status, octet 110.
    if a2.has(110, 1) {
        notes.push("its measurements are not ready yet".to_owned());
        return;
    }
    let sound = a2.checks(0, 95) == Some(true);
    if a2.checks(0, 95) == Some(false) {
        let without = if external { "measurements, which need its calibration" } else { "limits" };
        notes.push(format!("the checksum of its diagnostics is wrong: shown without {without}"));
    }
    if external && !sound {
        return;
    }
    for (quantity, limits_at, value_at) in MEASURED {
        let convert = |raw: u16| match external {
            true => calibrated(a2, quantity, raw),
            false => Some(scaled(quantity, raw)),
        };
        // The limits are raw too: with external calibration they take the same way.
        let limits: Option<Limits> = if sound { limits(a2, limits_at, convert) } else { None };
        let lane = (quantity > Quantity::VoltageV).then_some(1);
        match a2.u16(value_at).map(convert) {
            Some(Some(value)) => {
                module.readings.push(Reading::new(quantity, lane, value, limits));
            }
            Some(None) => notes.push(format!("its calibration of {quantity:?} makes no sense")),
            None => {}
        }
    }
    let flag = |bit: u8| lanes_of(a2.has(110, bit).into());
    (module.rx_loss_lanes, module.tx_fault_lanes) = (flag(1 << 1), flag(1 << 2));
}

/// External calibration (SFF-8472, "External Calibration"): a slope in 1/256 and an offset in the quantity's own unit; of the received
/// power a polynomial of the fourth degree, its coefficients IEEE 754.
fn calibrated(a2: &Octets, quantity: Quantity, raw: u16) -> Option<f64> {
    let linear = |raw: f64, at: usize| {
        Some(raw * f64::from(a2.u16(at)?) / 256.0 + f64::from(a2.i16(at + 2)?))
    };
    let x = f64::from(raw);
    let value = match quantity {
        Quantity::TemperatureC => linear(f64::from(raw.cast_signed()), 84)? / 256.0,
        Quantity::VoltageV => linear(x, 88)? / 10_000.0,
        Quantity::TxBiasMa => linear(x, 76)? * 0.002,
        Quantity::TxPowerDbm => dbm(linear(x, 80)? * 1e-4),
        Quantity::RxPowerDbm => {
            // From the fourth power's coefficient (octet 56) down to the constant (octet 72).
            let term = |sum: f64, at: usize| Some(sum * x + f64::from(a2.f32(at)?));
            let tenths_of_uw = (56..=72).step_by(4).try_fold(0.0, term)?;
            if !tenths_of_uw.is_finite() {
                return None;
            }
            dbm(tenths_of_uw * 1e-4)
        }
    };
    value.is_finite().then_some(value)
}
