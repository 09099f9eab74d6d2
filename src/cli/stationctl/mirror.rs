//! `mirror` and `show mirrors`: their arguments, and what they print.

use std::io::{self, Write};
use std::net::IpAddr;

use clap::{ArgGroup, Args as ClapArgs, Subcommand};

use super::args::words;
use super::filter::Subject;
use super::output::Show;
use super::table::{self, Look, number, prose, text};
use super::units::{bits, count, moment, octets};
use super::{Failure, libpcap};
use crate::admin::protocol::{Direction, MirrorRequest, MirrorTo, Request, Terms};
use crate::admin::rows::MirrorRow;

/// Copy a VIF's or a port's frames to a port, or to an address in VXLAN or ERSPAN
///
/// For who may: root and members of the group station-mirror. A mirror is no part of the configuration. It lasts over
/// restarts and crashes until it is stopped, its time is over, or what it is of is gone or another customer's; each begin
/// and end is an event. station-mirror(7) says what copies look like and what they may cost.
#[derive(Subcommand, Debug)]
pub(super) enum MirrorCommand {
    Start(Box<Start>),
    /// End a mirror
    Stop {
        /// Its name
        #[arg(value_name = "NAME")]
        mirror: String,
    },
}

/// Start a mirror
///
/// What comes in is copied as it came, also what is dropped; what leaves is copied as it leaves, what the station itself
/// sends among it. The originals neither wait nor change their order: where there is no room for a copy, there is none,
/// and `show mirrors` counts it.
#[derive(ClapArgs, Debug)]
#[command(
    group = ArgGroup::new("of").required(true).args(["vif", "port"]),
    group = ArgGroup::new("to").required(true).args(["to_port", "vxlan", "erspan"]),
)]
pub(super) struct Start {
    /// Its name
    name: String,
    /// Frames of this VIF
    #[arg(long, value_name = "NAME")]
    vif: Option<String>,
    /// Frames of this port, also those that no VIF gets
    #[arg(long, value_name = "NAME")]
    port: Option<String>,
    /// As they came, as they leave, or both
    #[arg(long, default_value = "both", value_parser = words(&Direction::WORDS))]
    direction: Direction,
    /// Only those that this expression takes (pcap-filter(7)); tags are looked behind where it does not name them
    #[arg(long, value_name = "EXPRESSION")]
    filter: Option<String>,
    /// Octets of each frame at most, 64 to 9238
    #[arg(long, value_name = "OCTETS")]
    snap: Option<usize>,
    /// What copies may take with all headers, in bit/s, like 500M
    #[arg(long, value_name = "RATE", default_value = "100M")]
    rate: String,
    /// It ends by itself after this time, like 30m or 2h
    #[arg(long = "for", value_name = "TIME", value_parser = humantime::parse_duration)]
    lasts: Option<std::time::Duration>,
    /// To this port, with one 802.1Q tag more
    #[arg(long, value_name = "PORT", requires = "vlan")]
    to_port: Option<String>,
    /// That tag's VID, which no VIF of the port has
    #[arg(long, value_name = "VID", requires = "to_port")]
    vlan: Option<u16>,
    /// To this address in VXLAN
    #[arg(long, value_name = "ADDRESS", requires_all = ["vni", "vrf"])]
    vxlan: Option<IpAddr>,
    /// The VNI
    #[arg(long, value_name = "N", requires = "vxlan")]
    vni: Option<u32>,
    /// To this address in ERSPAN
    #[arg(long, value_name = "ADDRESS", requires = "vrf")]
    erspan: Option<IpAddr>,
    /// ERSPAN's type: 2 or 3
    #[arg(long = "type", value_name = "TYPE", default_value_t = 2, requires = "erspan")]
    version: u8,
    /// The session, 0 to 1023
    #[arg(long, value_name = "N", default_value_t = 1, requires = "erspan")]
    session: u16,
    /// The VRF whose routes lead to the address
    #[arg(long, value_name = "NAME", conflicts_with = "to_port")]
    vrf: Option<String>,
    /// Why: one line, an order's number for example
    #[arg(long, value_name = "TEXT")]
    comment: Option<String>,
}

impl Start {
    /// Where copies go, as the groups of arguments have it.
    fn to(&self) -> MirrorTo {
        let vrf = self.vrf.clone().unwrap_or_default();
        match (&self.to_port, self.vxlan, self.erspan) {
            (Some(port), ..) => {
                MirrorTo::Vlan { port: port.clone(), vlan: self.vlan.unwrap_or_default() }
            }
            (None, Some(address), _) => {
                MirrorTo::Vxlan { vrf, address, vni: self.vni.unwrap_or_default() }
            }
            (None, None, address) => MirrorTo::Erspan {
                vrf,
                address: address.unwrap_or(IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED)),
                version: self.version,
                session: self.session,
            },
        }
    }
}

impl MirrorCommand {
    /// What goes to the station, but for the filter.
    pub(super) fn request(&self) -> Request {
        match self {
            MirrorCommand::Start(start) => Request::MirrorStart(Box::new(MirrorRequest {
                name: start.name.clone(),
                vif: start.vif.clone(),
                port: start.port.clone(),
                direction: start.direction,
                filter: None,
                snap: start.snap,
                rate: start.rate.clone(),
                seconds: start.lasts.map(|lasts| lasts.as_secs()),
                to: start.to(),
            })),
            MirrorCommand::Stop { mirror } => Request::MirrorStop { name: mirror.clone() },
        }
    }

    /// What goes to the station.
    pub(super) fn compiled(&self) -> Result<Request, Failure> {
        let mut request = self.request();
        if let MirrorCommand::Start(start) = self
            && let Request::MirrorStart(wanted) = &mut request
            && let Some(expression) = &start.filter
        {
            wanted.filter = Some(libpcap::filter(expression)?);
        }
        Ok(request)
    }

    /// What goes with it.
    pub(super) fn terms(&self) -> Terms {
        let comment = match self {
            MirrorCommand::Start(start) => start.comment.clone(),
            MirrorCommand::Stop { .. } => None,
        };
        Terms { comment, ..Terms::default() }
    }
}

impl Show for MirrorRow {
    fn subject(&self) -> Option<Subject<'_>> {
        match (&self.vif, &self.port) {
            (Some(vif), _) => Some(Subject::Vif(vif)),
            (None, port) => Some(Subject::Port(port.as_deref().unwrap_or_default())),
        }
    }

    fn show(rows: &[Self], look: &Look, out: &mut impl Write) -> io::Result<()> {
        let headings = [
            text("MIRROR", 0),
            text("OF", 0),
            text("WAY", 0),
            text("TO", 0),
            text("FILTER", 1),
            number("RATE", 0),
            number("COPIES", 0),
            number("OCTETS", 1),
            number("CUT", 1),
            text("MISSED", 0),
            text("SINCE", 1),
            text("UNTIL", 1),
            prose("COMMENT", 2),
        ];
        let rows = rows.iter().map(|row| {
            let missed = row.missed.iter().filter(|(_, missed)| **missed > 0);
            let missed: Vec<String> =
                missed.map(|(why, missed)| format!("{why} {}", count(*missed))).collect();
            vec![
                row.name.clone(),
                match (&row.vif, &row.port) {
                    (Some(vif), _) => format!("vif {vif}"),
                    (None, port) => format!("port {}", port.as_deref().unwrap_or_default()),
                },
                row.direction.word().to_owned(),
                row.to.clone(),
                row.filter.clone().unwrap_or_else(|| "-".to_owned()),
                bits(row.rate),
                count(row.copies),
                octets(row.octets),
                count(row.truncated),
                if missed.is_empty() { "-".to_owned() } else { missed.join(", ") },
                moment(row.since_ms),
                row.until_ms.map_or_else(|| "-".to_owned(), moment),
                row.comment.clone().unwrap_or_default(),
            ]
        });
        table::write(out, look, &headings, rows)
    }
}
