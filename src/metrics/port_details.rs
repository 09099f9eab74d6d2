//! What drivers and modules tell of ports, as metrics. What they do not tell has no series.

use std::fmt;

use super::families::Family;
use super::page::{Page, Value, seconds};
use crate::admin::rows::{Alarm, Module, PortDetailRow, Quantity, Reading};

/// The quantities of a module, as a label has them.
const QUANTITIES: [(Quantity, &str); 5] = [
    (Quantity::TemperatureC, "temperature"),
    (Quantity::VoltageV, "voltage"),
    (Quantity::TxBiasMa, "tx_bias"),
    (Quantity::TxPowerDbm, "tx_power"),
    (Quantity::RxPowerDbm, "rx_power"),
];

impl Page<'_> {
    pub(super) fn port_details(&mut self, rows: &[PortDetailRow]) -> fmt::Result {
        let errors = |row: &PortDetailRow| {
            let (port, errors) = (row.name.clone(), row.errors.clone());
            errors.into_iter().map(move |(error, number)| ([port.clone(), error], number))
        };
        self.family(Family::PortErrors, rows.iter().flat_map(errors))?;
        self.told(Family::PortAge, rows, |row| {
            row.age_ms.map(|ms| seconds(ms.saturating_mul(1_000_000)))
        })?;
        let octets = |mbps: u32| u64::from(mbps) * 1_000_000 / 8;
        self.told(Family::PortSpeed, rows, |row| row.speed_mbps.map(octets))?;
        self.told(Family::FecCorrected, rows, |row| row.fec.as_ref()?.corrected_blocks)?;
        self.told(Family::FecUncorrected, rows, |row| row.fec.as_ref()?.uncorrected_blocks)?;
        let info = |row: &PortDetailRow| {
            let Module { kind, media, vendor, part, serial, .. } = row.module.as_ref()?;
            let [media, vendor, part, serial] =
                [media, vendor, part, serial].map(|text| text.clone().unwrap_or_default());
            Some(([row.name.clone(), kind.clone(), media, vendor, part, serial], 1_u64))
        };
        self.family(Family::Module, rows.iter().filter_map(info))?;
        let of_module = |row: &PortDetailRow, quantity| Some(readings(row, quantity).next()?.value);
        self.told(Family::Temperature, rows, |row| of_module(row, Quantity::TemperatureC))?;
        self.told(Family::Voltage, rows, |row| of_module(row, Quantity::VoltageV))?;
        self.lanes(Family::TxBias, rows, Quantity::TxBiasMa, |ma| ma / 1000.0)?;
        self.lanes(Family::TxPower, rows, Quantity::TxPowerDbm, Reading::watts)?;
        self.lanes(Family::RxPower, rows, Quantity::RxPowerDbm, Reading::watts)?;
        let limits = |row: &PortDetailRow| {
            let limits = readings(row, Quantity::RxPowerDbm).find_map(|reading| reading.limits);
            let port = row.name.clone();
            let all = limits.map(|limits| {
                [
                    ("low_alarm", limits.low_alarm),
                    ("low_warning", limits.low_warning),
                    ("high_warning", limits.high_warning),
                    ("high_alarm", limits.high_alarm),
                ]
            });
            let series = move |(limit, dbm): (&str, f64)| {
                ([port.clone(), limit.to_owned()], Reading::watts(dbm))
            };
            all.into_iter().flatten().map(series)
        };
        self.family(Family::RxPowerLimit, rows.iter().flat_map(limits))?;
        self.family(Family::ModuleAlarm, rows.iter().flat_map(alarms))
    }

    fn told<V: Into<Value>>(
        &mut self,
        family: Family,
        rows: &[PortDetailRow],
        value: impl Fn(&PortDetailRow) -> Option<V>,
    ) -> fmt::Result {
        self.family(family, rows.iter().filter_map(|row| Some(([row.name.clone()], value(row)?))))
    }

    fn lanes(
        &mut self,
        family: Family,
        rows: &[PortDetailRow],
        quantity: Quantity,
        convert: fn(f64) -> f64,
    ) -> fmt::Result {
        let series = |row: &PortDetailRow| {
            let port = row.name.clone();
            let one = move |reading: &Reading| {
                let lane = reading.lane.unwrap_or(1).to_string();
                ([port.clone(), lane], convert(reading.value))
            };
            readings(row, quantity).map(one).collect::<Vec<_>>()
        };
        self.family(family, rows.iter().flat_map(series))
    }
}

/// What a port's module measures of a quantity.
fn readings(row: &PortDetailRow, quantity: Quantity) -> impl Iterator<Item = &Reading> {
    let all = row.module.iter().flat_map(|module| &module.readings);
    all.filter(move |reading| reading.quantity == quantity)
}

/// Of each quantity with limits, how far its worst lane is below and above them.
fn alarms(row: &PortDetailRow) -> Vec<([String; 3], u64)> {
    let mut found = Vec::new();
    for (quantity, word) in QUANTITIES {
        let degrees = readings(row, quantity).filter_map(|reading| {
            Some(match reading.alarm? {
                Alarm::Ok => [0, 0],
                Alarm::LowWarning => [1, 0],
                Alarm::HighWarning => [0, 1],
                Alarm::LowAlarm => [2, 0],
                Alarm::HighAlarm => [0, 2],
            })
        });
        let worst = degrees.reduce(|[a, b], [c, d]| [a.max(c), b.max(d)]);
        for (side, degree) in ["low", "high"].into_iter().zip(worst.into_iter().flatten()) {
            found.push(([row.name.clone(), word.to_owned(), side.to_owned()], degree));
        }
    }
    found
}
