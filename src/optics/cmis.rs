//! QSFP-DD, OSFP and others with the Common Management Interface Specification (OIF-CMIS 5.2), bank 0: eight lanes.

use super::page::{HALF, Octets, Page, lanes, lanes_of, limits, scaled};
use super::{Module, Quantity, Reading, words};

/// Octets of the upper halves are numbered from 128 in the specification.
const U: usize = HALF;

/// Pages by what they are for.
const ADVERTISED: Page = Page::upper(0x01);
const LIMITS: Page = Page::upper(0x02);
const LANES: Page = Page::upper(0x11);

/// A quantity, where its limits are in page 02h, where its values are (the lower half; page 11h), and the bit that
/// advertises it in octets 159 (of the module) and 160 (of lanes) of page 01h.
const OF_MODULE: [(Quantity, usize, usize, u8); 2] =
    [(Quantity::TemperatureC, 128 - U, 14, 1), (Quantity::VoltageV, 136 - U, 16, 1 << 1)];
const OF_LANES: [(Quantity, usize, usize, u8); 3] = [
    (Quantity::TxBiasMa, 184 - U, 170 - U, 1),
    (Quantity::TxPowerDbm, 176 - U, 154 - U, 1 << 1),
    (Quantity::RxPowerDbm, 192 - U, 186 - U, 1 << 2),
];

pub(super) fn decode(lower: &Octets, page: &mut dyn FnMut(Page, &str) -> Octets) -> Module {
    let upper = page(Page::upper(0), "identity (page 00h)");
    let mut notes = Vec::new();
    if upper.checks(0, 222 - U) == Some(false) {
        notes.push("the checksum of its identity is wrong: do not rely on it".to_owned());
    }
    let mut module = Module {
        media: words::cmis_media(lower.u8(85), lower.u8(87)),
        connector: words::connector(upper.u8(203 - U)),
        vendor: upper.text(129 - U, 16),
        part: upper.text(148 - U, 16),
        revision: upper.text(164 - U, 2),
        serial: upper.text(166 - U, 16),
        ..Module::default()
    };
    // Octet 2: a flat memory has no other page. Nobody measures then but the module's own sensors, which only page
    // 01h would advertise: zero is what there is without one.
    let flat = lower.has(2, 1 << 7);
    if flat {
        module.readings = of_module(lower, None, &Octets(Vec::new()));
    } else {
        let advertised = page(ADVERTISED, "what it measures (page 01h)");
        let limits_of = sound(page(LIMITS, "limits (page 02h)"), "limits", &mut notes);
        let copper = matches!(lower.u8(85), Some(3 | 5));
        let wavelength = advertised.u16(138 - U).filter(|&w| w != 0 && !copper);
        module.wavelength_nm = wavelength.map(|w| f64::from(w) / 20.0);
        module.readings = of_module(lower, Some(&advertised), &limits_of);
        if advertised.has(160 - U, 0b111) {
            let values = page(LANES, "lanes (page 11h)");
            // Octet 210 of page 00h: the media lanes that the module has not.
            let missing = upper.u8(210 - U).unwrap_or(0);
            of_lanes(&values, &advertised, &limits_of, missing, &mut module);
        }
    }
    module.notes = notes;
    module
}

/// A page whose last octet is the sum of those before it (page 02h); without it, nothing.
fn sound(page: Octets, what: &str, notes: &mut Vec<String>) -> Octets {
    if page.checks(0, 255 - U) != Some(false) {
        return page;
    }
    notes.push(format!("the checksum of its {what} is wrong: shown without"));
    Octets(Vec::new())
}

fn of_module(lower: &Octets, advertised: Option<&Octets>, limits_of: &Octets) -> Vec<Reading> {
    let reading = |(quantity, limits_at, at, bit)| {
        let raw = lower.u16(at)?;
        let told = advertised.map_or(raw != 0, |advertised| advertised.has(159 - U, bit));
        let limits = limits(limits_of, limits_at, |raw| Some(scaled(quantity, raw)));
        told.then(|| Reading::new(quantity, None, scaled(quantity, raw), limits))
    };
    OF_MODULE.into_iter().filter_map(reading).collect()
}

fn of_lanes(
    values: &Octets,
    advertised: &Octets,
    limits_of: &Octets,
    missing: u8,
    module: &mut Module,
) {
    // Octet 160, bits 4 and 3: the bias counts in units of 2, 4 or 8 uA; so do its limits.
    let factor = match advertised.u8(160 - U).map_or(0, |octet| octet >> 3 & 0b11) {
        1 => 2.0,
        2 => 4.0,
        _ => 1.0,
    };
    for (quantity, limits_at, at, bit) in OF_LANES {
        if advertised.has(160 - U, bit) {
            let unit = if quantity == Quantity::TxBiasMa { factor } else { 1.0 };
            let convert = |raw| scaled(quantity, raw) * unit;
            let limits = limits(limits_of, limits_at, |raw| Some(convert(raw)));
            let present = lanes_of(!missing).into_iter();
            module.readings.extend(lanes(values, (quantity, at), present, convert, limits));
        }
    }
    // Octets 147 and 135 of page 11h: loss of signal at the receiver, failure of the transmitter.
    let flags = |at: usize| lanes_of(values.u8(at - U).unwrap_or(0) & !missing);
    (module.rx_loss_lanes, module.tx_fault_lanes) = (flags(147), flags(135));
}
