//! `--customer`: only what concerns one customer.

use std::collections::HashSet;
use std::path::Path;

use super::Failure;
use super::named::named;
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
