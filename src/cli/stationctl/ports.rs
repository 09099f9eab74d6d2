//! `port`: what is added, deleted and changed of ports.

use clap::Subcommand;

use super::edits::{FieldArgs, added, assignment, fields};
use crate::admin::protocol::{Place, Request};

#[derive(Subcommand, Debug)]
pub(super) enum Port {
    /// Add a port: its NIC is opened, and no other port notices
    Add {
        /// Its name
        name: String,
        /// The Linux interface
        #[arg(long)]
        interface: String,
        /// Who is at the other end
        #[arg(long, value_parser = ["customer", "core"])]
        role: String,
        /// More of its fields, as station.toml(5) names them
        #[arg(value_name = "FIELD=VALUE", value_parser = assignment)]
        set: Vec<(String, String)>,
    },
    /// Delete a port that no VIF uses
    ///
    /// Its interface stays closed to the kernel until `stationd detach --interface`.
    Del {
        /// Its name
        name: String,
    },
    /// Set a port up, and with it those of its VIFs that are not down themselves
    Up {
        /// Its name
        name: String,
    },
    /// Set a port down: all of its VIFs are down
    ///
    /// Its interface and its light stay as they are: to darken it too, set the interface down (`ip link set
    /// eth1 down`).
    Down {
        /// Its name
        name: String,
    },
    /// Change fields of a port
    ///
    /// What says how its NIC is used (`interface`, `xdp`, `zero_copy`, `busy_poll_us`, `to_kernel`) has it opened anew,
    /// within a second or so; all else changes without a lost frame.
    Set {
        /// Its name
        name: String,
        #[command(flatten)]
        fields: FieldArgs,
    },
}

impl Port {
    pub(super) fn request(&self) -> Request {
        let up = |name: &String, up: bool| {
            let set = [("up".to_owned(), up.to_string())];
            Request::Set(fields(Place::Port(name.clone()), &set, &[]))
        };
        match self {
            Port::Add { name, interface, role, set } => {
                let mut set = set.clone();
                set.push(("interface".to_owned(), interface.clone()));
                added(Place::Port(name.clone()), ("role", role), &set)
            }
            Port::Del { name } => Request::Del { place: Place::Port(name.clone()) },
            Port::Up { name } => up(name, true),
            Port::Down { name } => up(name, false),
            Port::Set { name, fields } => fields.of(Place::Port(name.clone())),
        }
    }
}
