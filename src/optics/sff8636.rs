//! QSFP, QSFP+ and QSFP28: SFF-8636.

use super::page::{HALF, Octets, Page, lanes, lanes_of, limits, scaled};
use super::{Module, Quantity, Reading, words};

/// Octets of the upper halves are numbered from 128 in the specification.
const U: usize = HALF;

/// Where a quantity's limits are in page 03h, and its values in the lower half.
const OF_MODULE: [(Quantity, usize, usize); 2] =
    [(Quantity::TemperatureC, 128 - U, 22), (Quantity::VoltageV, 144 - U, 26)];
const OF_LANES: [(Quantity, usize, usize); 3] = [
    (Quantity::TxBiasMa, 184 - U, 42),
    (Quantity::TxPowerDbm, 192 - U, 50),
    (Quantity::RxPowerDbm, 176 - U, 34),
];

pub(super) fn decode(lower: &Octets, page: &mut dyn FnMut(Page, &str) -> Octets) -> Module {
    let upper = page(Page::upper(0), "identity (page 00h)");
    let mut notes = Vec::new();
    if upper.checks(0, 191 - U) == Some(false) || upper.checks(192 - U, 223 - U) == Some(false) {
        notes.push("the checksum of its identity is wrong: do not rely on it".to_owned());
    }
    // The technology's upper nibble (octet 147): from 0Ah on a copper cable, its first two without electronics.
    let technology = upper.u8(147 - U).map_or(0, |octet| octet >> 4);
    let (copper, passive) = (technology >= 0xa, matches!(technology, 0xa | 0xb));
    let wavelength = upper.u16(186 - U).filter(|&w| w != 0 && !copper);
    let mut module = Module {
        media: words::qsfp_media(upper.u8(131 - U), upper.u8(192 - U)),
        connector: words::connector(upper.u8(130 - U)),
        vendor: upper.text(148 - U, 16),
        part: upper.text(168 - U, 16),
        revision: upper.text(184 - U, 2),
        serial: upper.text(196 - U, 16),
        wavelength_nm: wavelength.map(|w| f64::from(w) / 20.0),
        ..Module::default()
    };
    // Status, octet 2: data not ready; flat memory has no page 03h.
    if lower.has(2, 1) {
        notes.push("its measurements are not ready yet".to_owned());
    } else if !passive {
        let flat = lower.has(2, 1 << 2);
        let limits_of = match flat {
            true => Octets(Vec::new()),
            false => page(Page::upper(3), "limits (page 03h)"),
        };
        module.readings = readings(lower, &upper, &limits_of, copper);
        // Octets 3 and 4: the lower nibbles are the receivers' loss of signal, and the transmitters' faults.
        let flags = |at| lanes_of(lower.u8(at).unwrap_or(0) & 0x0f);
        (module.rx_loss_lanes, module.tx_fault_lanes) = (flags(3), flags(4));
    }
    module.notes = notes;
    module
}

fn readings(lower: &Octets, upper: &Octets, limits_of: &Octets, copper: bool) -> Vec<Reading> {
    // Octet 220: what is measured. Before revision 2.8 (octet 1 below 8) nothing there speaks of temperature and
    // voltage, and zero is what a module has that does not measure.
    let recent = lower.u8(1).is_some_and(|revision| revision >= 8);
    let measured = |quantity: Quantity, raw: u16| match quantity {
        Quantity::TemperatureC if recent => upper.has(220 - U, 1 << 5),
        Quantity::VoltageV if recent => upper.has(220 - U, 1 << 4),
        _ => raw != 0,
    };
    let mut found = Vec::new();
    for (quantity, limits_at, at) in OF_MODULE {
        if let Some(raw) = lower.u16(at).filter(|&raw| measured(quantity, raw)) {
            let limits = limits(limits_of, limits_at, |raw| Some(scaled(quantity, raw)));
            found.push(Reading::new(quantity, None, scaled(quantity, raw), limits));
        }
    }
    for (quantity, limits_at, at) in OF_LANES {
        // An active copper cable has no light; a laser's power is optional.
        let told = quantity != Quantity::TxPowerDbm || upper.has(220 - U, 1 << 2);
        if !copper && told {
            let convert = |raw| scaled(quantity, raw);
            let limits = limits(limits_of, limits_at, |raw| Some(convert(raw)));
            found.extend(lanes(lower, (quantity, at), 1..=4, convert, limits));
        }
    }
    found
}
