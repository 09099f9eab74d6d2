//! `show reachability`: arguments and columns.

use std::io::{self, Write};

use clap::Args;
use serde::{Deserialize, Serialize};

use super::filter::Subject;
use super::output::Show;
use super::table::{self, Look, number, prose, text};
use super::units::count;
use crate::admin::protocol::{ReachabilityFilter, Request};
use crate::admin::rows::ReachabilityRow;

/// Prefixes of a row that are shown.
const SHOWN: usize = 3;

/// Which VIF reaches which other, by which prefixes, as the tables and routes say now
///
/// Computed for all addresses, not tried with some: `station-operations(7)` says by what rules. Of a VIF and a VRF of one
/// name the VIF is meant; `vrf:NAME` is the VRF.
#[derive(Args, Debug)]
pub(super) struct ReachabilityArgs {
    /// Only what this VIF, or the VIFs of this VRF, reach
    #[arg(long, value_name = "VIF|VRF")]
    from: Option<String>,
    /// Only who reaches this VIF, or the VIFs of this VRF; with --from, all prefixes, each on a line
    #[arg(long, value_name = "VIF|VRF")]
    to: Option<String>,
}

impl ReachabilityArgs {
    pub(super) fn request(&self) -> Request {
        let ReachabilityArgs { from, to } = self;
        Request::ShowReachability(ReachabilityFilter { from: from.clone(), to: to.clone() })
    }
}

impl Show for ReachabilityRow {
    fn subject(&self) -> Option<Subject<'_>> {
        Some(Subject::Vif(&self.from))
    }

    fn show(rows: &[Self], look: &Look, out: &mut impl Write) -> io::Result<()> {
        let headings = [
            text("FROM", 0),
            text("FROM VRF", 2),
            text("TO", 0),
            text("TO VRF", 2),
            text("EXCHANGE", 1),
            number("IPV4", 0),
            number("IPV6", 0),
            text("SOURCE CHECK", 3),
            text("FILTERED", 3),
            prose("PREFIXES", 1),
        ];
        let rows = rows.iter().map(|row| {
            let mut prefixes: Vec<String> =
                row.prefixes.iter().take(SHOWN).map(ToString::to_string).collect();
            let all = row.ipv4_prefixes + row.ipv6_prefixes;
            if all > prefixes.len() as u64 {
                prefixes.push(format!("and {} more", count(all - prefixes.len() as u64)));
            }
            vec![
                row.from.clone(),
                row.from_vrf.clone(),
                row.to.clone(),
                row.to_vrf.clone(),
                by(row),
                count(row.ipv4_prefixes),
                count(row.ipv6_prefixes),
                row.source_check.name().to_owned(),
                if row.filtered { "yes" } else { "-" }.to_owned(),
                prefixes.join(" "),
            ]
        });
        table::write(out, look, &headings, rows)
    }
}

/// A row of which all prefixes are shown.
#[derive(Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct Whole(ReachabilityRow);

impl Show for Whole {
    fn subject(&self) -> Option<Subject<'_>> {
        self.0.subject()
    }

    fn show(rows: &[Self], look: &Look, out: &mut impl Write) -> io::Result<()> {
        let headings = [
            text("FROM", 0),
            text("TO", 0),
            text("EXCHANGE", 1),
            text("PREFIX", 0),
            text("SOURCE CHECK", 2),
            text("FILTERED", 2),
        ];
        let rows = rows.iter().flat_map(|Whole(row)| {
            row.prefixes.iter().map(|prefix| {
                vec![
                    row.from.clone(),
                    row.to.clone(),
                    by(row),
                    prefix.to_string(),
                    row.source_check.name().to_owned(),
                    if row.filtered { "yes" } else { "-" }.to_owned(),
                ]
            })
        });
        table::write(out, look, &headings, rows)
    }
}

fn by(row: &ReachabilityRow) -> String {
    row.exchange.clone().unwrap_or_else(|| "-".to_owned())
}
