//! `show mappings`: arguments and columns.

use std::io::{self, Write};

use clap::Args;
use ipnet::IpNet;

use super::filter::Subject;
use super::output::Show;
use super::table::{self, Look, number, state, text};
use super::tables::or_dash;
use super::units::{count, moment};
use crate::admin::protocol::{MappingFilter, Request};
use crate::admin::rows::{HopText, MappingRow, SourceRow};

/// What controllers stream: by source how far it is and how much holds of it, or the mappings of a VRF
#[derive(Args, Debug)]
pub(super) struct MappingArgs {
    /// The mappings of this VRF
    #[arg(long, value_name = "NAME")]
    vrf: Option<String>,
    /// Only this prefix and those within it
    #[arg(requires = "vrf")]
    prefix: Option<IpNet>,
}

impl MappingArgs {
    pub(super) fn request(&self) -> Request {
        match &self.vrf {
            None => Request::ShowMappings,
            Some(vrf) => {
                Request::ShowVrfMappings(MappingFilter { vrf: vrf.clone(), prefix: self.prefix })
            }
        }
    }
}

impl Show for SourceRow {
    fn subject(&self) -> Option<Subject<'_>> {
        Some(Subject::Station)
    }

    fn state(&self) -> Option<&str> {
        Some(&self.state)
    }

    fn show(rows: &[Self], look: &Look, out: &mut impl Write) -> io::Result<()> {
        let headings = [
            text("SOURCE", 0),
            state("STATE", 0),
            text("SINCE", 3),
            number("MAPPINGS", 0),
            number("INACTIVE", 1),
            number("VRFS", 2),
            number("GENERATION", 1),
            text("END OF SYNC", 2),
            number("SYNCING", 3),
            number("POSITION", 2),
            number("REFUSED", 2),
        ];
        let rows = rows.iter().map(|row| {
            vec![
                row.source.clone(),
                row.state.clone(),
                moment(row.since_ms),
                count(row.mappings),
                count(row.inactive),
                count(row.vrfs),
                or_dash(row.generation),
                or_dash(row.end_of_sync_ms.map(moment)),
                or_dash(row.syncing),
                or_dash(row.position),
                count(row.refused_batches),
            ]
        });
        table::write(out, look, &headings, rows)
    }
}

impl Show for MappingRow {
    fn subject(&self) -> Option<Subject<'_>> {
        Some(Subject::Vrf(&self.vrf))
    }

    fn show(rows: &[Self], look: &Look, out: &mut impl Write) -> io::Result<()> {
        let headings = [text("PREFIX", 0), text("SOURCE", 1), text("STATE", 0), text("VIA", 0)];
        let rows = rows.iter().map(|row| {
            let via: Vec<String> = row.via.iter().map(hop).collect();
            vec![row.prefix.to_string(), row.source.clone(), row.state.clone(), via.join("\n")]
        });
        table::write(out, look, &headings, rows)
    }
}

/// `10.255.1.2 on acme-vpc, 02:00:00:00:00:01, weight 3`.
fn hop(hop: &HopText) -> String {
    let mut words = hop.vtep.to_string();
    if let Some(vif) = &hop.vif {
        words.push_str(&format!(" on {vif}"));
    }
    if let Some(mac) = &hop.mac {
        words.push_str(&format!(", {mac}"));
    }
    if hop.weight == 0 {
        words.push_str(", backup");
    } else if hop.weight != 1 {
        words.push_str(&format!(", weight {}", hop.weight));
    }
    words
}
