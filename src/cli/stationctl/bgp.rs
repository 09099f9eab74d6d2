//! BGP: its commands, and the columns of sessions and their routes.

use std::io::{self, Write};
use std::net::IpAddr;

use clap::Subcommand;

use super::edits::Yes;
use super::output::Show;
use super::table;
use super::tables::or_dash;
use super::units::{count, seconds};
use crate::admin::protocol::{Request, Terms};
use crate::admin::rows::{BgpRouteRow, BgpRow};

#[derive(Subcommand, Debug)]
pub(super) enum Bgp {
    /// End the sessions of a VIF and start them again, also those that max_prefixes shut
    Reset {
        /// Name of the VIF
        vif: String,
        /// Only the session with this peer
        peer: Option<IpAddr>,
        #[command(flatten)]
        yes: Yes,
    },
}

impl Bgp {
    /// What goes to the station.
    pub(super) fn request(&self) -> Request {
        match self {
            Bgp::Reset { vif, peer, .. } => Request::BgpReset { vif: vif.clone(), peer: *peer },
        }
    }
}

impl Bgp {
    /// What goes with it.
    pub(super) fn terms(&self) -> Terms {
        match self {
            Bgp::Reset { yes, .. } => yes.terms(),
        }
    }
}

impl Show for BgpRow {
    fn show(rows: &[Self], out: &mut impl Write) -> io::Result<()> {
        let headings = [
            "VIF",
            "PEER",
            ">AS",
            "STATE",
            ">SINCE",
            "BFD",
            ">ACCEPTED",
            ">MAX",
            ">REJECTED",
            ">ADVERTISED",
            "LAST ERROR",
        ];
        let rows = rows.iter().map(|session| {
            let rejected =
                session.rejected.iter().map(|(cause, n)| format!("{} {cause}", count(*n)));
            let rejected = rejected.collect::<Vec<_>>().join("\n");
            vec![
                session.vif.clone(),
                session.peer.to_string(),
                session.peer_as.to_string(),
                session.state.clone(),
                or_dash(session.since_s.map(seconds)),
                or_dash(session.bfd.as_ref()),
                count(session.accepted),
                count(session.max_prefixes.into()),
                if rejected.is_empty() { "0".to_owned() } else { rejected },
                count(session.advertised),
                session.last_error.clone(),
            ]
        });
        table::write(out, &headings, rows)
    }
}

impl Show for BgpRouteRow {
    fn show(rows: &[Self], out: &mut impl Write) -> io::Result<()> {
        let headings = [
            "PREFIX",
            "PEER",
            "STATE",
            "CAUSE",
            "NEXT HOP",
            ">PREFERENCE",
            ">MED",
            "AS PATH",
            "ORIGIN",
            "COMMUNITIES",
        ];
        let rows = rows.iter().map(|route| {
            vec![
                route.prefix.to_string(),
                route.peer.to_string(),
                route.state.clone(),
                or_dash(route.cause.as_ref()),
                or_dash(route.next_hop),
                or_dash(route.local_preference),
                or_dash(route.med),
                route.as_path.join(" "),
                route.origin.clone(),
                route.communities.join(" "),
            ]
        });
        table::write(out, &headings, rows)
    }
}
