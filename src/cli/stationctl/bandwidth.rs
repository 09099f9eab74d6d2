//! Meter groups as they are edited, and the columns of `show bandwidth`.

use std::io::{self, Write};

use clap::Subcommand;

use super::edits::{FieldArgs, added, assignment};
use super::filter::Subject;
use super::output::Show;
use super::table::{self, Look, number, text};
use super::tables::or_dash;
use super::units::bits;
use crate::admin::protocol::{Place, Request};
use crate::admin::rows::{BandwidthNow, BandwidthRow, bits_per_second};

#[derive(Subcommand, Debug)]
pub(super) enum MeterGroup {
    /// Add a meter group
    Add {
        /// Its name
        name: String,
        /// What its VIFs have together: a rate like 500M, or a table as the file has it
        #[arg(long, value_name = "RATE")]
        bandwidth: String,
        /// More of its fields, as station.toml(5) names them
        #[arg(value_name = "FIELD=VALUE", value_parser = assignment)]
        set: Vec<(String, String)>,
    },
    /// Delete a meter group that no VIF is in
    Del {
        /// Its name
        name: String,
    },
    /// Change fields of a meter group
    Set {
        /// Its name
        name: String,
        #[command(flatten)]
        fields: FieldArgs,
    },
}

impl MeterGroup {
    pub(super) fn request(&self) -> Request {
        let place = |name: &String| Place::MeterGroup(name.clone());
        match self {
            MeterGroup::Add { name, bandwidth, set } => {
                added(place(name), ("bandwidth", bandwidth), set)
            }
            MeterGroup::Del { name } => Request::Del { place: place(name) },
            MeterGroup::Set { name, fields } => fields.of(place(name)),
        }
    }
}

impl Show for BandwidthRow {
    fn subject(&self) -> Option<Subject<'_>> {
        Some(match self.scope.as_str() {
            "meter_group" => Subject::Customer(self.labels.customer.as_deref()),
            scope => Subject::of(scope, &self.name),
        })
    }

    fn show(rows: &[Self], look: &Look, out: &mut impl Write) -> io::Result<()> {
        let headings = [
            text("OF", 0),
            text("NAME", 0),
            text("DIR", 0),
            number("RATE", 0),
            number("COMMITTED", 3),
            text("GROUP", 3),
            number("OFFERED", 1),
            number("PASSED", 0),
            number("EXCEEDED", 1),
            number("PEAK", 2),
            number("FRAMES DROPPED", 2),
        ];
        let rows = rows.iter().map(|row| {
            let now = |of: fn(&BandwidthNow) -> f64| {
                or_dash(row.now.as_ref().map(|now| bits_per_second(of(now))))
            };
            vec![
                row.scope.clone(),
                row.name.clone(),
                row.direction.name().to_owned(),
                or_dash(row.rate_bits_per_s.map(bits)),
                or_dash(row.committed_bits_per_s.map(bits)),
                or_dash(row.meter_group.clone()),
                now(|now| now.offered_bits_per_s),
                now(|now| now.passed_bits_per_s),
                now(|now| now.exceeded_bits_per_s),
                now(|now| now.peak_bits_per_s),
                row.exceeded_frames.to_string(),
            ]
        });
        table::write(out, look, &headings, rows)
    }
}
