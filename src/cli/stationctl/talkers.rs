//! `show talkers`: arguments and columns.

use std::io::{self, Write};

use super::args::words;
use super::filter::Subject;
use super::output::Show;
use super::table::{self, Look, number, text};
use super::units::octets;
use crate::admin::protocol::{Request, TalkerFilter};
use crate::admin::rows::{TalkerRow, bits_per_second};
use crate::tables::Direction;
use crate::tables::address_limit::By;

/// The largest addresses of a VIF over the last minute (station-talkers(7))
///
/// Of what it receives the sources, and of what it sends the destinations: the customer's addresses, as they are in the VRF.
/// LEAST and MOST are bounds: where all packets are looked at they hold for sure, otherwise in 19 of 20 cases. The VIF has to
/// keep track: `stationctl vif set VIF top_talkers=true`.
#[derive(clap::Args, Debug)]
pub(super) struct TalkerArgs {
    /// Name of the VIF
    #[arg(value_name = "VIF")]
    vif: String,
    /// By this address of a packet
    #[arg(long, value_parser = words(&By::WORDS))]
    by: Option<By>,
    /// Only of what the VIF receives (rx) or sends (tx)
    #[arg(long, value_parser = words(&[("rx", Direction::Rx), ("tx", Direction::Tx)]))]
    direction: Option<Direction>,
    /// So many addresses
    #[arg(
        short = 'n', long, value_name = "NUMBER", default_value_t = 10,
        value_parser = clap::value_parser!(u32).range(1..=128),
    )]
    count: u32,
}

impl TalkerArgs {
    pub(super) fn request(&self) -> Request {
        Request::ShowTalkers(TalkerFilter {
            vif: self.vif.clone(),
            direction: self.direction,
            by: self.by,
            count: Some(self.count),
        })
    }
}

impl Show for TalkerRow {
    fn subject(&self) -> Option<Subject<'_>> {
        Some(Subject::Vif(&self.vif))
    }

    fn show(rows: &[Self], look: &Look, out: &mut impl Write) -> io::Result<()> {
        for (place, row) in rows.iter().enumerate() {
            if place > 0 {
                writeln!(out)?;
            }
            let sampled = match row.interval {
                1 => "all packets".to_owned(),
                interval => format!("1:{interval} packets or more"),
            };
            writeln!(
                out,
                "{} {} by {}: {} in {:.0} s, {sampled} looked at; no other address had over {}",
                row.vif,
                row.direction.name(),
                row.by.name(),
                octets(row.octets),
                row.measured_s,
                octets(row.others_most_octets),
            )?;
            if row.missed_octets > 0 {
                writeln!(out, "{} are in no number here", octets(row.missed_octets))?;
            }
            let headings = [
                text("ADDRESS", 0),
                number("RATE", 0),
                number("SHARE", 0),
                number("OCTETS", 0),
                number("LEAST", 1),
                number("MOST", 1),
            ];
            let lines = row.talkers.iter().map(|talker| {
                vec![
                    talker.address.to_string(),
                    bits_per_second(talker.bits_per_s),
                    format!("{:.1} %", talker.share_percent),
                    octets(talker.octets),
                    octets(talker.least_octets),
                    octets(talker.most_octets),
                ]
            });
            table::write(out, look, &headings, lines)?;
        }
        Ok(())
    }
}
