//! `show acl`: arguments and columns.

use std::io::{self, Write};

use super::output::Show;
use super::table::{self, Look, number, prose, text};
use super::tables::or_dash;
use super::units::{count, octets};
use crate::admin::protocol::{AclFilter, Request};
use crate::admin::rows::AclRow;

/// Access lists: how often their rules matched, and who uses them
///
/// Hits count from the last `clear counters`, or from when the rule came into the list: a list that is
/// replaced keeps the hits of the rules that stand in both. `tables`: a packet's cost does not depend on
/// the number of rules; `vectors`: it grows with it, because the tables would have been too large.
#[derive(clap::Args, Debug)]
pub(super) struct AclArgs {
    /// Only this list, with its rules
    name: Option<String>,
}

impl AclArgs {
    pub(super) fn request(&self) -> Request {
        Request::ShowAcl(AclFilter { name: self.name.clone() })
    }
}

impl Show for AclRow {
    fn show(rows: &[Self], look: &Look, out: &mut impl Write) -> io::Result<()> {
        let headings = [
            text("ACL", 0),
            number("RULES", 0),
            number("PERMITTED IN", 1),
            number("DENIED IN", 0),
            number("PERMITTED OUT", 1),
            number("DENIED OUT", 0),
            text("STRUCTURE", 2),
            number("MEMORY", 3),
            number("BUILT IN", 4),
            prose("VIFS IN", 2),
            prose("VIFS OUT", 2),
        ];
        let lines = rows.iter().map(|list| {
            vec![
                list.name.clone(),
                count(list.rules),
                count(list.permitted_in),
                count(list.denied_in + list.rejected_in),
                count(list.permitted_out),
                count(list.denied_out + list.rejected_out),
                list.structure.clone(),
                octets(list.octets),
                format!("{}.{:03} ms", list.build_us / 1000, list.build_us % 1000),
                names(&list.vifs_in),
                names(&list.vifs_out),
            ]
        });
        table::write(out, look, &headings, lines)?;
        for list in rows.iter().filter(|list| !list.entries.is_empty()) {
            writeln!(out)?;
            let lines = list.entries.iter().map(|entry| {
                let [entered, left] = [entry.hits_in, entry.hits_out].map(count);
                vec![or_dash(entry.number), entry.rule.clone(), entered, left]
            });
            let headings =
                [number("RULE", 0), text("", 0), number("HITS IN", 0), number("HITS OUT", 0)];
            table::write(out, look, &headings, lines)?;
        }
        Ok(())
    }
}

fn names(vifs: &[String]) -> String {
    if vifs.is_empty() { "-".to_owned() } else { vifs.join(" ") }
}
