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
    /// Everything.
    Station,
}

impl<'a> Subject<'a> {
    /// By the words of the protocol: `port` or `vif`.
    pub(super) fn of(scope: &str, name: &'a str) -> Subject<'a> {
        if scope == "port" { Subject::Port(name) } else { Subject::Vif(name) }
    }
}

/// What a customer has.
pub(super) struct Customer {
    ports: HashSet<String>,
    vifs: HashSet<String>,
    vrfs: HashSet<String>,
}

impl Customer {
    /// Asks the station for it.
    pub(super) fn ask(socket: &Path, name: &str) -> Result<Customer, Failure> {
        let its = |request| -> Result<HashSet<String>, client::Failure> {
            let mut all = named(socket, &request)?;
            all.retain(|row| row.labels.customer.as_deref() == Some(name));
            Ok(all.into_iter().map(|row| row.name).collect())
        };
        let ports = its(Request::ShowPorts)?;
        let vifs = its(Request::ShowVifs)?;
        let vrfs = its(Request::ShowVrfs)?;
        if ports.is_empty() && vifs.is_empty() && vrfs.is_empty() {
            let message = format!("no port, VIF or VRF has the customer {name:?}");
            let refusal = Refusal::new(ErrorKind::NotFound, message);
            return Err(client::Failure::Refused(refusal).into());
        }
        Ok(Customer { ports, vifs, vrfs })
    }

    /// Whether what a row is about concerns the customer.
    pub(super) fn has(&self, subject: &Subject<'_>) -> bool {
        match *subject {
            Subject::Port(name) => self.ports.contains(name),
            Subject::Vif(name) => self.vifs.contains(name),
            Subject::Vrf(name) => self.vrfs.contains(name),
            Subject::Station => true,
        }
    }
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

/// A port with its VIFs.
struct PortVifs {
    port: String,
    vifs: HashSet<String>,
}

impl PortVifs {
    fn ask(socket: &Path, name: &str) -> Result<PortVifs, Failure> {
        if named(socket, &Request::ShowPorts)?.iter().all(|port| port.name != name) {
            let message = format!("there is no port {name:?}");
            return Err(client::Failure::Refused(Refusal::new(ErrorKind::NotFound, message)).into());
        }
        let mut vifs = named(socket, &Request::ShowVifs)?;
        vifs.retain(|vif| vif.port.as_deref() == Some(name));
        let vifs = vifs.into_iter().map(|vif| vif.name).collect();
        Ok(PortVifs { port: name.to_owned(), vifs })
    }

    fn has(&self, subject: &Subject<'_>) -> bool {
        match *subject {
            Subject::Port(name) => name == self.port,
            Subject::Vif(name) => self.vifs.contains(name),
            Subject::Vrf(_) => false,
            Subject::Station => true,
        }
    }
}

/// Which rows are wanted.
pub(super) struct Filter<'a> {
    customer: Option<Customer>,
    port: Option<PortVifs>,
    state: Option<&'a str>,
}

impl<'a> Filter<'a> {
    /// As the command line says; the station knows who has what.
    pub(super) fn ask(args: &'a Args) -> Result<Filter<'a>, Failure> {
        let (port, state) = args.port_and_state();
        Ok(Filter {
            customer: args.customer().map(|name| Customer::ask(&args.socket, name)).transpose()?,
            port: port.map(|name| PortVifs::ask(&args.socket, name)).transpose()?,
            state,
        })
    }

    /// Leaves out rows that are not wanted.
    pub(super) fn keep<R: Show>(&self, rows: &mut Vec<R>) -> Result<(), Failure> {
        if let Some(customer) = &self.customer {
            if rows.iter().any(|row| row.subject().is_none()) {
                let message = "this belongs to no customer: leave --customer out";
                return Err(Failure::Usage(message.to_owned()));
            }
            rows.retain(|row| row.subject().is_some_and(|subject| customer.has(&subject)));
        }
        if let Some(port) = &self.port {
            rows.retain(|row| row.subject().is_some_and(|subject| port.has(&subject)));
        }
        if let Some(state) = self.state {
            rows.retain(|row| row.state() == Some(state));
        }
        Ok(())
    }
}
