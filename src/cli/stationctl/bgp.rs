//! BGP: its commands, and the columns of sessions and their routes.

use std::io::{self, Write};
use std::net::IpAddr;

use clap::Subcommand;

use super::edits::{FieldArgs, TermsArgs, Yes, assignment, fields};
use super::filter::Subject;
use super::output::Show;
use super::table::{self, Look, number, prose, state, text};
use super::tables::or_dash;
use super::units::{count, seconds};
use crate::admin::protocol::{Place, Request, Terms};
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
    /// Add a session
    ///
    /// A key never stands on the command line, where other users see it: `password=@FILE` reads it from a file,
    /// `password=@-` from standard input.
    Add {
        /// Name of the VIF
        vif: String,
        /// The peer's address
        peer: IpAddr,
        /// Its fields, as station.toml(5) names them: peer_as=65001 local_as=64512 and more. `password=@FILE` takes
        /// it from a file, `password=@-` from standard input
        #[arg(value_name = "FIELD=VALUE", value_parser = assignment, required = true)]
        set: Vec<(String, String)>,
        #[command(flatten)]
        terms: TermsArgs,
    },
    /// Delete a session
    Del {
        /// Name of the VIF
        vif: String,
        /// The peer's address
        peer: IpAddr,
        #[command(flatten)]
        terms: TermsArgs,
    },
    /// Change fields of a session
    Set {
        /// Name of the VIF
        vif: String,
        /// The peer's address
        peer: IpAddr,
        #[command(flatten)]
        fields: FieldArgs,
        #[command(flatten)]
        terms: TermsArgs,
    },
}

fn place(vif: &str, peer: IpAddr) -> Place {
    Place::Bgp { vif: vif.to_owned(), peer }
}

impl Bgp {
    /// What goes to the station.
    pub(super) fn request(&self) -> Request {
        match self {
            Bgp::Reset { vif, peer, .. } => Request::BgpReset { vif: vif.clone(), peer: *peer },
            Bgp::Add { vif, peer, set, .. } => Request::Add(fields(place(vif, *peer), set, &[])),
            Bgp::Del { vif, peer, .. } => Request::Del { place: place(vif, *peer) },
            Bgp::Set { vif, peer, fields, .. } => fields.of(place(vif, *peer)),
        }
    }
}

impl Bgp {
    /// What goes with it.
    pub(super) fn terms(&self) -> Terms {
        match self {
            Bgp::Reset { yes, .. } => yes.terms(),
            Bgp::Add { terms, .. } | Bgp::Del { terms, .. } | Bgp::Set { terms, .. } => {
                terms.terms()
            }
        }
    }
}

impl Show for BgpRow {
    fn subject(&self) -> Option<Subject<'_>> {
        Some(Subject::Vif(&self.vif))
    }

    fn state(&self) -> Option<&str> {
        Some(&self.state)
    }

    fn show(rows: &[Self], look: &Look, out: &mut impl Write) -> io::Result<()> {
        let headings = [
            text("VIF", 0),
            text("PEER", 0),
            number("AS", 2),
            state("STATE", 0),
            number("FOR", 1),
            state("BFD", 4),
            number("ACCEPTED", 1),
            number("MAX", 6),
            number("REJECTED", 3),
            number("ADVERTISED", 5),
            prose("LAST ERROR", 1),
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
        table::write(out, look, &headings, rows)
    }
}

impl Show for BgpRouteRow {
    fn subject(&self) -> Option<Subject<'_>> {
        Some(Subject::Vif(&self.vif))
    }

    fn state(&self) -> Option<&str> {
        Some(&self.state)
    }

    fn show(rows: &[Self], look: &Look, out: &mut impl Write) -> io::Result<()> {
        let headings = [
            text("PREFIX", 0),
            text("PEER", 4),
            state("STATE", 0),
            text("CAUSE", 1),
            text("NEXT HOP", 2),
            number("PREFERENCE", 6),
            number("MED", 7),
            prose("AS PATH", 3),
            text("ORIGIN", 8),
            prose("COMMUNITIES", 5),
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
        table::write(out, look, &headings, rows)
    }
}
