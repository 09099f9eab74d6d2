//! `show ports`: arguments, and the columns of `--detail`.

use std::io::{self, Write};

use clap::Args;

use super::filter::Subject;
use super::output::Show;
use super::rates::RateArgs;
use super::table::{self, Look, state, text};
use super::tables::or_dash;
use super::units::{count, milliseconds};
use crate::admin::protocol::{RateScope, Request};
use crate::admin::rows::{Module, PortDetailRow, Quantity, Reading, bits_per_second, word};

/// Totals, rates, or what drivers and modules tell.
#[derive(Args, Debug)]
pub(super) struct PortArgs {
    #[command(flatten)]
    pub(super) rate: RateArgs,
    /// What drivers and modules tell: speed, FEC, CRC and other errors, light levels with the module's limits, why a
    /// link is down
    ///
    /// The drivers are asked for it by ethtool's netlink, at most once a second; what has not answered within 5 seconds
    /// is shown as it was read before, with its age. What a driver does not tell is a dash, and absent in JSON: veth and
    /// virtio tell little. Modules are decoded by SFF-8472 (SFP, with internal and external calibration), SFF-8636
    /// (QSFP) and CMIS; an alarm compares the value with the module's own limits. A power that the module cannot tell
    /// from none is -40 dBm.
    #[arg(long, conflicts_with = "rate")]
    detail: bool,
}

impl PortArgs {
    /// What goes to the station.
    pub(super) fn request(&self) -> Request {
        match self.detail {
            true => Request::ShowPortDetails,
            false => self.rate.or(Request::ShowPorts, RateScope::Ports),
        }
    }
}

impl Show for PortDetailRow {
    fn subject(&self) -> Option<Subject<'_>> {
        Some(Subject::Port(&self.name))
    }

    fn show(rows: &[Self], look: &Look, out: &mut impl Write) -> io::Result<()> {
        for (number, port) in rows.iter().enumerate() {
            if number > 0 {
                writeln!(out)?;
            }
            show_port(port, look, out)?;
        }
        Ok(())
    }
}

fn show_port(port: &PortDetailRow, look: &Look, out: &mut impl Write) -> io::Result<()> {
    let age = port
        .age_ms
        .map_or_else(|| "not read yet".to_owned(), |ms| format!("read {} ago", milliseconds(ms)));
    writeln!(out, "{} ({}): {}, {age}", port.name, port.interface, port.link)?;
    let autonegotiation = port.autonegotiation.map(|on| if on { "on" } else { "off" });
    let changes = port.carrier_ups.zip(port.carrier_downs);
    let lines = [
        ("down because", port.down_reason.clone()),
        ("speed", port.speed_mbps.map(|mbps| bits_per_second(f64::from(mbps) * 1e6))),
        ("duplex", port.duplex.clone()),
        ("autonegotiation", autonegotiation.map(str::to_owned)),
        ("lanes", port.lanes.map(|lanes| lanes.to_string())),
        (
            "FEC",
            port.fec.as_ref().map(|fec| {
                let told = |n: Option<u64>| or_dash(n.map(count));
                format!(
                    "configured {}, active {}; blocks corrected {}, uncorrected {}",
                    or_dash(Some(fec.configured.join(" ")).filter(|modes| !modes.is_empty())),
                    or_dash(fec.active.as_ref()),
                    told(fec.corrected_blocks),
                    told(fec.uncorrected_blocks),
                )
            }),
        ),
        ("errors", {
            let errors = port.errors.iter().map(|(name, n)| format!("{name} {}", count(*n)));
            Some(errors.collect::<Vec<_>>().join(", ")).filter(|text| !text.is_empty())
        }),
        (
            "carrier",
            changes.map(|(ups, downs)| format!("up {}x, down {}x", count(ups), count(downs))),
        ),
        ("connector", port.connector.clone()),
        ("driver", port.driver.clone()),
        ("firmware", port.firmware.clone()),
        ("bus", port.bus.clone()),
        ("module", port.module.as_ref().map(identity)),
    ];
    // Of what only some ports ever have no dash stands.
    let rare = ["down because", "lanes"];
    for (name, value) in lines {
        if value.is_some() || !rare.contains(&name) {
            writeln!(out, "  {name:<16}{}", or_dash(value))?;
        }
    }
    if let Some(module) = &port.module {
        show_readings(module, look, out)?;
    }
    let notes = port.notes.iter().chain(port.module.iter().flat_map(|module| &module.notes));
    notes.into_iter().try_for_each(|note| writeln!(out, "  note: {note}"))
}

/// A module in a line.
fn identity(module: &Module) -> String {
    let wavelength = module.wavelength_nm.map(|nm| format!("{nm} nm"));
    let serial = module.serial.as_ref().map(|serial| format!("serial {serial}"));
    let revision = module.revision.as_ref().map(|revision| format!("rev {revision}"));
    let maker: Vec<String> =
        [module.vendor.clone(), module.part.clone(), revision].into_iter().flatten().collect();
    let maker = Some(maker.join(" ")).filter(|maker| !maker.is_empty());
    let kind = Some(module.kind.clone());
    let parts = [kind, module.media.clone(), module.connector.clone(), wavelength, maker, serial];
    parts.into_iter().flatten().collect::<Vec<_>>().join(", ")
}

fn show_readings(module: &Module, look: &Look, out: &mut impl Write) -> io::Result<()> {
    if !module.readings.is_empty() {
        let headings = [
            text("  READING", 0),
            table::number("LANE", 0),
            table::number("VALUE", 0),
            state("STATE", 0),
            table::number("ALARM <", 1),
            table::number("WARN <", 2),
            table::number("WARN >", 2),
            table::number("ALARM >", 1),
        ];
        let rows = module.readings.iter().map(|reading| {
            let limit = |limit: Option<f64>| or_dash(limit.map(|limit| number(reading, limit)));
            let limits = reading.limits;
            vec![
                format!("  {}", quantity(reading.quantity)),
                or_dash(reading.lane),
                number(reading, reading.value),
                or_dash(reading.alarm.map(|alarm| word(alarm).replace('_', " "))),
                limit(limits.map(|limits| limits.low_alarm)),
                limit(limits.map(|limits| limits.low_warning)),
                limit(limits.map(|limits| limits.high_warning)),
                limit(limits.map(|limits| limits.high_alarm)),
            ]
        });
        table::write(out, look, &headings, rows)?;
    }
    for (flag, lanes) in [
        ("no light received", &module.rx_loss_lanes),
        ("transmitter failed", &module.tx_fault_lanes),
    ] {
        if !lanes.is_empty() {
            let lanes: Vec<String> = lanes.iter().map(u8::to_string).collect();
            writeln!(out, "  {flag} (the module's own flag): lane {}", lanes.join(", "))?;
        }
    }
    Ok(())
}

const fn quantity(quantity: Quantity) -> &'static str {
    match quantity {
        Quantity::TemperatureC => "temperature C",
        Quantity::VoltageV => "voltage V",
        Quantity::TxBiasMa => "tx bias mA",
        Quantity::TxPowerDbm => "tx power dBm",
        Quantity::RxPowerDbm => "rx power dBm",
    }
}

fn number(reading: &Reading, value: f64) -> String {
    match reading.quantity {
        Quantity::TemperatureC => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}
