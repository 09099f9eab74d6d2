//! VTEPs as they are edited, and the columns of `show tunnels`.

use std::io::{self, Write};
use std::net::IpAddr;

use clap::Subcommand;

use super::edits::{FieldArgs, added, assignment};
use super::filter::Subject;
use super::output::Show;
use super::table::{self, Look, number, text};
use super::tables::or_dash;
use super::units::moment;
use crate::admin::protocol::{Place, RemoteAdd, Request};
use crate::admin::rows::TunnelRow;

#[derive(Subcommand, Debug)]
pub(super) enum Vtep {
    /// Add a VTEP: an end of tunnels, whose VNIs can be VIFs then
    Add {
        /// Its name
        name: String,
        /// Its address, which a VIF of the underlay has
        #[arg(long, value_name = "ADDRESS")]
        address: IpAddr,
        /// More of its fields, as station.toml(5) names them: vrf=UNDERLAY mac=MAC
        #[arg(value_name = "FIELD=VALUE", value_parser = assignment)]
        set: Vec<(String, String)>,
    },
    /// Delete a VTEP that no VIF is on
    Del {
        /// Its name
        name: String,
    },
    /// Change fields of a VTEP
    Set {
        /// Its name
        name: String,
        #[command(flatten)]
        fields: FieldArgs,
    },
}

impl Vtep {
    pub(super) fn request(&self) -> Request {
        let place = |name: &String| Place::Vtep(name.clone());
        match self {
            Vtep::Add { name, address, set } => {
                added(place(name), ("address", &address.to_string()), set)
            }
            Vtep::Del { name } => Request::Del { place: place(name) },
            Vtep::Set { name, fields } => fields.of(place(name)),
        }
    }
}

/// The other end of a tunnel: `10.255.0.2,02:00:00:00:00:02`.
pub(super) fn remote(text: &str) -> Result<RemoteAdd, String> {
    let (address, mac) = text.split_once(',').ok_or("write ADDRESS,MAC")?;
    let address = address.parse().map_err(|_| format!("{address:?} is not an address"))?;
    Ok(RemoteAdd { address, mac: mac.to_owned() })
}

impl Show for TunnelRow {
    fn subject(&self) -> Option<Subject<'_>> {
        Some(Subject::Vif(&self.vif))
    }

    fn state(&self) -> Option<&str> {
        Some(&self.state)
    }

    fn show(rows: &[Self], look: &Look, out: &mut impl Write) -> io::Result<()> {
        let headings = [
            text("VIF", 0),
            text("VRF", 1),
            text("VTEP", 2),
            number("VNI", 0),
            text("LOCAL", 3),
            text("REMOTE", 0),
            text("STATION", 2),
            text("MAC", 2),
            number("MTU", 1),
            text("LOWERED UNTIL", 2),
            text("STATE", 0),
            text("VIA", 1),
        ];
        let rows = rows.iter().map(|row| {
            vec![
                row.vif.clone(),
                row.vrf.clone(),
                row.vtep.clone(),
                row.vni.to_string(),
                row.local.to_string(),
                row.remote.to_string(),
                or_dash(row.station.clone()),
                row.mac.clone(),
                row.mtu.to_string(),
                or_dash(row.lowered_until_ms.map(moment)),
                row.state.clone(),
                row.via.join(", "),
            ]
        });
        table::write(out, look, &headings, rows)
    }
}
