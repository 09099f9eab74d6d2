//! Limits of addresses, as metrics: by limit, never by address.

use std::fmt;

use super::families::Family;
use super::page::Page;
use crate::admin::rows::AddressLimitRow;

impl Page<'_> {
    pub(super) fn address_limits(&mut self, rows: &[AddressLimitRow]) -> fmt::Result {
        let mut each = |family, value: fn(&AddressLimitRow) -> u64| {
            let sample = |row: &AddressLimitRow| {
                let direction = row.direction.name().to_owned();
                ([row.name.clone(), row.vrf.clone(), direction], value(row))
            };
            self.family(family, rows.iter().map(sample))
        };
        each(Family::AddressesOver, |row| row.addresses_over)?;
        each(Family::AddressPassed, |row| row.passed_octets)?;
        each(Family::AddressExceededFrames, |row| row.exceeded_frames)?;
        each(Family::AddressExceededBytes, |row| row.exceeded_octets)
    }
}
