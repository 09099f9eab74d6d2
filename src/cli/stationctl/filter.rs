//! `--customer`, `--port` and `--state`: only the rows that are wanted.

use std::collections::HashSet;
use std::path::Path;

use clap::Args as ClapArgs;

use super::Failure;
use super::args::Args;
use super::named::named;
use super::output::Show;
use crate::admin::client;
use crate::admin::protocol::{ErrorKind, Refusal, Request};

/// What a row is about.
pub(super) enum Subject<'a> {
    /// A port.
    Port(&'a str),
    /// A VIF.
    Vif(&'a str),
    /// A VRF.
    Vrf(&'a str),
    /// What belongs to a customer, or to nobody, and is none of these.
    Customer(Option<&'a str>),
    /// Everything.
    Station,
}

impl<'a> Subject<'a> {
    /// By the words of the protocol: `port` or `vif`.
    pub(super) fn of(scope: &str, name: &'a str) -> Subject<'a> {
        if scope == "port" { Subject::Port(name) } else { Subject::Vif(name) }
    }
}

/// Ports, VIFs and VRFs that are meant alone.
#[derive(Default)]
pub(super) struct Group {
    customer: Option<String>,
    ports: HashSet<String>,
    vifs: HashSet<String>,
    vrfs: HashSet<String>,
}

impl Group {
    /// What a customer has, as the station says.
    pub(super) fn of_customer(socket: &Path, name: &str) -> Result<Group, Failure> {
        let its = |request| -> Result<HashSet<String>, client::Failure> {
            let mut all = named(socket, &request)?;
            all.retain(|row| row.labels.customer.as_deref() == Some(name));
            Ok(all.into_iter().map(|row| row.name).collect())
        };
        let ports = its(Request::ShowPorts)?;
        let vifs = its(Request::ShowVifs)?;
        let vrfs = its(Request::ShowVrfs)?;
        if ports.is_empty() && vifs.is_empty() && vrfs.is_empty() {
            return Err(absent(format!("no port, VIF or VRF has the customer {name:?}")));
        }
        Ok(Group { customer: Some(name.to_owned()), ports, vifs, vrfs })
    }

    /// A port with its VIFs.
    fn of_port(socket: &Path, name: &str) -> Result<Group, Failure> {
        if named(socket, &Request::ShowPorts)?.iter().all(|port| port.name != name) {
            return Err(absent(format!("there is no port {name:?}")));
        }
        let mut vifs = named(socket, &Request::ShowVifs)?;
        vifs.retain(|vif| vif.port.as_deref() == Some(name));
        let vifs = vifs.into_iter().map(|vif| vif.name).collect();
        Ok(Group { ports: [name.to_owned()].into(), vifs, ..Group::default() })
    }

    /// Whether what a row is about concerns them.
    pub(super) fn has(&self, subject: &Subject<'_>) -> bool {
        match *subject {
            Subject::Port(name) => self.ports.contains(name),
            Subject::Vif(name) => self.vifs.contains(name),
            Subject::Vrf(name) => self.vrfs.contains(name),
            Subject::Customer(name) => name.is_some() && name == self.customer.as_deref(),
            Subject::Station => true,
        }
    }
}

fn absent(message: String) -> Failure {
    client::Failure::Refused(Refusal::new(ErrorKind::NotFound, message)).into()
}

/// Of one port.
#[derive(ClapArgs, Clone, Debug, Default)]
pub(super) struct OfPort {
    /// Only what is of this port and the VIFs on it
    #[arg(long, value_name = "NAME")]
    pub(super) port: Option<String>,
}

/// In one state.
#[derive(ClapArgs, Clone, Debug, Default)]
pub(super) struct InState {
    /// Only what is in this state, as the table names it
    #[arg(long, value_name = "STATE")]
    pub(super) state: Option<String>,
}

/// Which rows are wanted.
pub(super) struct Filter<'a> {
    customer: Option<Group>,
    port: Option<Group>,
    state: Option<&'a str>,
}

impl<'a> Filter<'a> {
    /// As the command line says; the station knows who has what.
    pub(super) fn ask(args: &'a Args) -> Result<Filter<'a>, Failure> {
        let (port, state) = args.port_and_state();
        Ok(Filter {
            customer: (args.customer())
                .map(|name| Group::of_customer(&args.socket, name))
                .transpose()?,
            port: port.map(|name| Group::of_port(&args.socket, name)).transpose()?,
            state,
        })
    }

    /// Leaves out rows that are not wanted.
    pub(super) fn keep<R: Show>(&self, rows: &mut Vec<R>) -> Result<(), Failure> {
        if self.customer.is_some() && rows.iter().any(|row| row.subject().is_none()) {
            let message = "this belongs to no customer: leave --customer out";
            return Err(Failure::Usage(message.to_owned()));
        }
        for group in self.customer.iter().chain(&self.port) {
            rows.retain(|row| row.subject().is_some_and(|subject| group.has(&subject)));
        }
        if let Some(state) = self.state {
            rows.retain(|row| row.state() == Some(state));
        }
        Ok(())
    }
}
