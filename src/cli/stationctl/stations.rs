//! The columns of `show stations`.

use std::io::{self, Write};

use super::filter::Subject;
use super::output::Show;
use super::table::{self, Look, number, text};
use super::units::{count, octets};
use crate::admin::rows::StationRow;

impl Show for StationRow {
    fn subject(&self) -> Option<Subject<'_>> {
        Some(Subject::Station)
    }

    fn state(&self) -> Option<&str> {
        Some(&self.state)
    }

    fn show(rows: &[Self], look: &Look, out: &mut impl Write) -> io::Result<()> {
        let headings = [
            text("STATION", 0),
            text("STATE", 0),
            number("TUNNELS", 1),
            number("UP", 1),
            number("RX FRAMES", 0),
            number("RX OCTETS", 1),
            number("TX FRAMES", 0),
            number("TX OCTETS", 1),
            number("DROPPED", 0),
            text("VIFS", 2),
        ];
        let rows = rows.iter().map(|row| {
            vec![
                row.station.clone(),
                row.state.clone(),
                count(row.tunnels),
                count(row.tunnels_up),
                count(row.traffic.rx_frames),
                octets(row.traffic.rx_octets),
                count(row.traffic.tx_frames),
                octets(row.traffic.tx_octets),
                count(row.dropped),
                row.vifs.join(", "),
            ]
        });
        table::write(out, look, &headings, rows)
    }
}
