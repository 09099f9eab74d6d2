//! `report`: what a provider sends its customer of a month. One value ([`model::Report`]) is made of what the station
//! answers, and written as text, as JSON or as a page of HTML.

mod bins;
mod gather;
mod grids;
mod html;
mod model;
mod plot;
mod text;

use std::io::{self, Write};
use std::path::PathBuf;

use clap::Args as ClapArgs;

use super::args::Args;
use super::period::{Month, month, this_month};
use super::units::moment;
use super::{Failure, output};
use crate::clock::now_ms;

/// Make the report of a month for a customer: availability and outages, round trips, traffic
///
/// Of each of its VIFs and in sum, as `show sla`, `show outages`, `show probe-history` and `billing` have it: as text, as
/// JSON (--json), or as a page of HTML that needs nothing else. station-report(7) says what counts as what.
#[derive(ClapArgs, Debug)]
pub(super) struct ReportArgs {
    /// The customer, as `customer` of a VIF names it
    #[arg(long, value_name = "NAME")]
    customer: String,
    /// A calendar month in UTC, like 2026-11. Default: the one that is under way
    #[arg(long, value_name = "YYYY-MM", value_parser = month)]
    month: Option<Month>,
    /// Print HTML with plots, to be read on a screen or printed on A4
    #[arg(long)]
    html: bool,
    /// Where the page goes; `-`, and what is not given, is standard output
    #[arg(short, long, value_name = "FILE", requires = "html")]
    write: Option<PathBuf>,
}

impl ReportArgs {
    /// Gathers what there is, and writes it.
    pub(super) fn run(&self, args: &Args, out: &mut impl Write) -> Result<(), Failure> {
        if args.json && self.html {
            return Err(Failure::Usage("give --json or --html: not both".to_owned()));
        }
        let (current, now_ms) = (this_month(), now_ms());
        let month = match self.month {
            Some(Month(first, _)) if first > current => {
                let [asked, latest] = [first, current].map(name_of);
                let message =
                    format!("{asked} has not begun: give --month {latest} or an earlier one");
                return Err(Failure::Usage(message));
            }
            Some(month) => month,
            None => month(&name_of(current)).map_err(Failure::Usage)?,
        };
        let material = gather::ask(&args.socket, &self.customer, month, now_ms)?;
        let report = material.report();
        if args.json {
            return Ok(output::json(out, &report)?);
        }
        if !self.html {
            return Ok(text::write(&report, out)?);
        }
        let page = html::page(&report);
        match self.write.as_ref().filter(|path| path.as_os_str() != "-") {
            Some(path) => {
                let failed = |error| io::Error::other(format!("{}: {error}", path.display()));
                Ok(std::fs::write(path, page).map_err(failed)?)
            }
            None => Ok(out.write_all(page.as_bytes())?),
        }
    }
}

/// A month by its first moment.
fn name_of(first_ms: u64) -> String {
    moment(first_ms).chars().take("2026-11".len()).collect()
}

#[cfg(test)]
mod tests;
