//! Exchanges as they are edited, and the columns of `show exchanges`.

use std::io::{self, Write};

use clap::Subcommand;
use ipnet::IpNet;

use super::edits::{FieldArgs, fields};
use super::output::Show;
use super::table::{self, Look, number, prose, text};
use super::units::{count, octets};
use crate::admin::protocol::{Place, Request};
use crate::admin::rows::ExchangeRow;

#[derive(Subcommand, Debug)]
pub(super) enum Exchange {
    /// Let a VRF reach prefixes of another one: one direction, and nothing else
    Add {
        /// Its name
        name: String,
        /// Name of the VRF whose prefixes are reached
        #[arg(long, value_name = "VRF")]
        from: String,
        /// Name of the VRF that reaches them
        #[arg(long, value_name = "VRF")]
        to: String,
        /// A destination; may be repeated
        #[arg(long = "prefix", value_name = "PREFIX", required = true)]
        prefixes: Vec<IpNet>,
        /// A customer that has agreed; needed of each where the VRFs are not of the same one
        #[arg(long = "accepted-by", value_name = "NAME")]
        accepted_by: Vec<String>,
    },
    /// Delete an exchange
    Del {
        /// Its name
        name: String,
    },
    /// Change fields of an exchange
    ///
    /// Lists are written as in the file: prefixes='["10.1.0.0/16"]'.
    Set {
        /// Its name
        name: String,
        #[command(flatten)]
        fields: FieldArgs,
    },
}

impl Exchange {
    pub(super) fn request(&self) -> Request {
        let place = |name: &String| Place::Exchange(name.clone());
        match self {
            Exchange::Add { name, from, to, prefixes, accepted_by } => {
                let prefixes: Vec<String> = prefixes.iter().map(ToString::to_string).collect();
                let mut set = vec![
                    ("from".to_owned(), from.clone()),
                    ("to".to_owned(), to.clone()),
                    ("prefixes".to_owned(), list(&prefixes)),
                ];
                if !accepted_by.is_empty() {
                    set.push(("accepted_by".to_owned(), list(accepted_by)));
                }
                Request::Add(fields(place(name), &set, &[]))
            }
            Exchange::Del { name } => Request::Del { place: place(name) },
            Exchange::Set { name, fields } => fields.of(place(name)),
        }
    }
}

/// A list of texts as the file has it.
pub(super) fn list(texts: &[String]) -> String {
    toml_edit::Array::from_iter(texts).to_string().trim().to_owned()
}

impl Show for ExchangeRow {
    fn show(rows: &[Self], look: &Look, out: &mut impl Write) -> io::Result<()> {
        let headings = [
            text("EXCHANGE", 0),
            text("FROM VRF", 0),
            text("TO VRF", 0),
            number("PACKETS", 0),
            number("OCTETS", 1),
            prose("ACCEPTED BY", 2),
            prose("PREFIXES", 1),
        ];
        let rows = rows.iter().map(|row| {
            let prefixes: Vec<String> = row.prefixes.iter().map(ToString::to_string).collect();
            let accepted = if row.accepted_by.is_empty() {
                "-".to_owned()
            } else {
                row.accepted_by.join(", ")
            };
            vec![
                row.name.clone(),
                row.from.clone(),
                row.to.clone(),
                count(row.packets),
                octets(row.ip_octets),
                accepted,
                prefixes.join(" "),
            ]
        });
        table::write(out, look, &headings, rows)
    }
}
