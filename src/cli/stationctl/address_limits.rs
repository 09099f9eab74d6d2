//! Limits of addresses as they are edited, and the columns of `show address-limits`.

use std::io::{self, Write};

use clap::Subcommand;
use ipnet::IpNet;

use super::args::words;
use super::edits::{FieldArgs, assignment, fields};
use super::exchanges::list;
use super::output::Show;
use super::table::{self, Look, number, prose, text};
use super::units::{bits, count, octets};
use crate::admin::protocol::{AddressLimitFilter, MAX_SHOWN, Place, Request};
use crate::admin::rows::AddressLimitRow;
use crate::tables::address_limit::By;

#[derive(Subcommand, Debug)]
pub(super) enum AddressLimitCommand {
    /// Add a limit: VIFs name it in address_limits_in and address_limits_out
    Add {
        /// Its name
        name: String,
        /// Which address of a packet
        #[arg(long, value_parser = words(&By::WORDS))]
        by: By,
        /// What each address may have: a rate like 10M, or a table as the file has it
        #[arg(long, value_name = "RATE")]
        bandwidth: String,
        /// Addresses; may be repeated
        #[arg(long = "prefix", value_name = "PREFIX", required = true)]
        prefixes: Vec<IpNet>,
        /// More of its fields, as station.toml(5) names them
        #[arg(value_name = "FIELD=VALUE", value_parser = assignment)]
        set: Vec<(String, String)>,
    },
    /// Delete a limit that no VIF has
    Del {
        /// Its name
        name: String,
    },
    /// Change fields of a limit
    ///
    /// Lists are written as in the file: prefixes='["198.51.100.0/24"]'.
    Set {
        /// Its name
        name: String,
        #[command(flatten)]
        fields: FieldArgs,
    },
}

impl AddressLimitCommand {
    pub(super) fn request(&self) -> Request {
        let place = |name: &String| Place::AddressLimit(name.clone());
        match self {
            AddressLimitCommand::Add { name, by, bandwidth, prefixes, set } => {
                let prefixes: Vec<String> = prefixes.iter().map(ToString::to_string).collect();
                let first = [
                    ("prefixes".to_owned(), list(&prefixes)),
                    ("by".to_owned(), by.name().to_owned()),
                    ("bandwidth".to_owned(), bandwidth.clone()),
                ];
                Request::Add(fields(place(name), &[&first[..], set].concat(), &[]))
            }
            AddressLimitCommand::Del { name } => Request::Del { place: place(name) },
            AddressLimitCommand::Set { name, fields } => fields.of(place(name)),
        }
    }
}

/// Limits of addresses: what passed and what was dropped, by limit or by address
///
/// A row for each limit, VRF and direction. With a name also its addresses: those that exceeded most first, then those that
/// had most. USED is how much of the burst is used up now: at 100 % the address is held to its rate. Octets are as bandwidths
/// count them (station-address-limit(7)).
#[derive(clap::Args, Debug)]
pub(super) struct AddressLimitArgs {
    /// Only this limit, with its addresses
    #[arg(value_name = "NAME")]
    address_limit: Option<String>,
    /// Only addresses of which frames were dropped
    #[arg(long, requires = "address_limit")]
    over: bool,
    /// So many addresses
    #[arg(
        short = 'n', long, value_name = "NUMBER", default_value_t = 20, requires = "address_limit",
        value_parser = clap::value_parser!(u32).range(1..=i64::from(MAX_SHOWN)),
    )]
    count: u32,
}

impl AddressLimitArgs {
    pub(super) fn request(&self) -> Request {
        let name = self.address_limit.clone();
        let count = name.is_some().then_some(self.count);
        Request::ShowAddressLimits(AddressLimitFilter { name, over: self.over, count })
    }
}

impl Show for AddressLimitRow {
    fn show(rows: &[Self], look: &Look, out: &mut impl Write) -> io::Result<()> {
        let headings = [
            text("LIMIT", 0),
            text("VRF", 1),
            text("DIR", 0),
            text("BY", 0),
            number("RATE", 0),
            number("ADDRESSES", 1),
            number("OVER", 0),
            number("PASSED", 0),
            number("EXCEEDED", 0),
            number("FRAMES DROPPED", 2),
            number("BURST", 3),
            prose("VIFS", 2),
        ];
        let lines = rows.iter().map(|row| {
            vec![
                row.name.clone(),
                row.vrf.clone(),
                row.direction.name().to_owned(),
                row.by.name().to_owned(),
                bits(row.rate_bits_per_s),
                count(row.addresses),
                count(row.addresses_over),
                octets(row.passed_octets),
                octets(row.exceeded_octets),
                count(row.exceeded_frames),
                octets(row.burst_octets),
                row.vifs.join(" "),
            ]
        });
        table::write(out, look, &headings, lines)?;
        for row in rows.iter().filter(|row| !row.entries.is_empty()) {
            writeln!(out, "\n{} of vrf {}, {}:", row.name, row.vrf, row.direction.name())?;
            let headings = [
                text("ADDRESS", 0),
                number("PASSED", 0),
                number("EXCEEDED", 0),
                number("FRAMES DROPPED", 0),
                number("USED", 0),
            ];
            let lines = row.entries.iter().map(|entry| {
                let net = entry.address;
                let is_host = net.prefix_len() == net.max_prefix_len();
                vec![
                    if is_host { net.addr().to_string() } else { net.to_string() },
                    octets(entry.passed_octets),
                    octets(entry.exceeded_octets),
                    count(entry.exceeded_frames),
                    format!("{} %", entry.burst_used_percent),
                ]
            });
            table::write(out, look, &headings, lines)?;
        }
        Ok(())
    }
}
