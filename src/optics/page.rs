//! Pages of a module's memory, and what is in their octets.

use super::{Limits, Quantity, Reading, dbm};

/// Octets of half a page: what one read asks for.
pub const HALF: usize = 128;

/// Half a page of a module's memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Page {
    /// I2C address, 7 bits: 0x50 (A0h) or 0x51 (A2h).
    pub i2c: u8,
    /// The page that its upper half is switched to.
    pub page: u8,
    /// 0 or 128.
    pub offset: u8,
}

impl Page {
    /// The lower half, which all modules have.
    pub const LOWER: Page = Page { i2c: 0x50, page: 0, offset: 0 };
    /// The lower half of the diagnostics of an SFP (A2h).
    pub const DIAGNOSTICS: Page = Page { i2c: 0x51, page: 0, offset: 0 };

    /// The upper half of a page.
    pub const fn upper(page: u8) -> Page {
        Page { i2c: 0x50, page, offset: 128 }
    }
}

/// Octets from the beginning of half a page; there may be fewer than there should.
pub(super) struct Octets(pub(super) Vec<u8>);

impl Octets {
    pub(super) fn u8(&self, at: usize) -> Option<u8> {
        self.0.get(at).copied()
    }

    pub(super) fn has(&self, at: usize, bits: u8) -> bool {
        self.u8(at).is_some_and(|octet| octet & bits != 0)
    }

    pub(super) fn u16(&self, at: usize) -> Option<u16> {
        Some(u16::from_be_bytes([self.u8(at)?, self.u8(at + 1)?]))
    }

    pub(super) fn i16(&self, at: usize) -> Option<i16> {
        self.u16(at).map(u16::cast_signed)
    }

    pub(super) fn f32(&self, at: usize) -> Option<f32> {
        let octets = self.0.get(at..at + 4)?;
        Some(f32::from_be_bytes(octets.try_into().ok()?))
    }

    /// A text in printable ASCII, without the blanks around it; other octets are dots.
    pub(super) fn text(&self, at: usize, len: usize) -> Option<String> {
        let octets = self.0.get(at..at + len)?;
        let end = octets.iter().rposition(|&o| o != 0 && o != 0xff).map_or(0, |last| last + 1);
        let printable =
            |&octet: &u8| if (0x20..0x7f).contains(&octet) { octet.into() } else { '.' };
        let text: String = octets[..end].iter().map(printable).collect();
        let text = text.trim();
        (!text.is_empty()).then(|| text.to_owned())
    }

    /// Whether the octet at `at` is the low octet of the sum of those from `from` on; `None` where some are missing.
    pub(super) fn checks(&self, from: usize, at: usize) -> Option<bool> {
        let sum = self.0.get(from..at)?.iter().fold(0_u8, |sum, octet| sum.wrapping_add(*octet));
        Some(self.u8(at)? == sum)
    }
}

/// What turns a raw value into the quantity's unit. SFF-8636 and CMIS have only this; of SFP, see `sff8472`.
pub(super) fn scaled(quantity: Quantity, raw: u16) -> f64 {
    let (signed, raw) = (f64::from(raw.cast_signed()), f64::from(raw));
    match quantity {
        Quantity::TemperatureC => signed / 256.0,
        Quantity::VoltageV => raw / 10_000.0,
        Quantity::TxBiasMa => raw * 0.002,
        Quantity::TxPowerDbm | Quantity::RxPowerDbm => dbm(raw * 1e-4),
    }
}

/// Limits that stand as upper alarm, lower alarm, upper warning, lower warning. A module without limits has zeros or
/// ones there: what bounds nothing is none.
pub(super) fn limits(
    octets: &Octets,
    at: usize,
    convert: impl Fn(u16) -> Option<f64>,
) -> Option<Limits> {
    let value = |at| octets.u16(at).and_then(&convert);
    let [high_alarm, low_alarm, high_warning, low_warning] =
        [value(at)?, value(at + 2)?, value(at + 4)?, value(at + 6)?];
    let limits = Limits { low_alarm, low_warning, high_warning, high_alarm };
    (low_alarm < high_alarm && low_warning < high_warning).then_some(limits)
}

/// Readings of a quantity: of each lane, one `u16` after the other from `at` on.
pub(super) fn lanes(
    octets: &Octets,
    (quantity, at): (Quantity, usize),
    lanes: impl Iterator<Item = u8>,
    convert: impl Fn(u16) -> f64,
    limits: Option<Limits>,
) -> Vec<Reading> {
    let reading = |lane: u8| {
        let raw = octets.u16(at + 2 * usize::from(lane - 1))?;
        Some(Reading::new(quantity, Some(lane), convert(raw), limits))
    };
    lanes.filter_map(reading).collect()
}

/// The lanes (from 1) whose bit is set, the lowest being lane 1.
pub(super) fn lanes_of(bits: u8) -> Vec<u8> {
    (1..=8).filter(|lane| bits & (1 << (lane - 1)) != 0).collect()
}
